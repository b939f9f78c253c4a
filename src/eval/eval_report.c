#include "eval/eval_report.h"

#include "bench/json_fields.h"

void qw_eval_row_release(qw_eval_row *r)
{
    qw_task_result_release(&r->task);
    *r = (qw_eval_row){0};
}

qw_str qw_eval_row_name(const qw_eval_row *r)
{
    qw_str s = qw_str_of(r->model);
    while (s.len > 1 && s.ptr[s.len - 1] == '/') s.len--;
    for (size_t i = s.len; i-- > 1;)
        if (s.ptr[i - 1] == '/') return (qw_str){s.ptr + i, s.len - i};
    return s;
}

double qw_eval_row_score(const qw_eval_row *r, qw_interval *interval)
{
    size_t n = r->task.n, right = r->task.n_outcomes[QW_OUTCOME_RIGHT];
    *interval = qw_interval_wilson(right, n, QW_INTERVAL_Z95);
    return n ? (double)right / (double)n : 0;
}

static double batch_speed(const qw_task_result *t)
{
    return t->seconds > 0 ? (double)t->n_output_tokens / t->seconds : 0;
}

// Table

static int name_width(const qw_eval_row *rows, size_t n)
{
    size_t width = 5;
    for (size_t i = 0; i < n; i++) {
        size_t len = qw_eval_row_name(&rows[i]).len;
        if (len > width) width = len;
    }
    return (int)(width < 40 ? width : 40);
}

static void put_name(const qw_eval_row *r, int width, qw_buf *out)
{
    qw_str name = qw_eval_row_name(r);
    qw_buf_append(out, name.ptr, name.len);
    for (size_t i = name.len; i < (size_t)width; i++) qw_buf_putc(out, ' ');
}

static void put_common(const qw_eval_row *r, int width, qw_buf *out)
{
    put_name(r, width, out);
    qw_buf_printf(out, " %9.1f %8.1f", (double)r->bytes * 1e-6, r->decode_tokens_per_second);
}

static void put_tasks(const qw_eval_row *rows, size_t n, int width, qw_buf *out)
{
    qw_buf_printf(out, "%-*s %9s %8s %8s %7s %15s %6s %6s %9s %6s\n", width, "model", "MB", "tok/s",
                  "batch", "score", "95 % interval", "right", "wrong", "truncated", "empty");
    for (size_t i = 0; i < n; i++) {
        const qw_task_result *t = &rows[i].task;
        qw_interval ci;
        double score = qw_eval_row_score(&rows[i], &ci);
        put_common(&rows[i], width, out);
        qw_buf_printf(out, " %8.1f %6.1f%% %6.1f - %5.1f%% %6zu %6zu %9zu %6zu\n", batch_speed(t),
                      100 * score, 100 * ci.low, 100 * ci.high, t->n_outcomes[QW_OUTCOME_RIGHT],
                      t->n_outcomes[QW_OUTCOME_WRONG], t->n_outcomes[QW_OUTCOME_TRUNCATED],
                      t->n_outcomes[QW_OUTCOME_EMPTY]);
    }
}

void qw_eval_report_table(const qw_eval_row *rows, size_t n, qw_buf *out)
{
    int width = name_width(rows, n);
    if (n > 0 && rows[0].has_task) put_tasks(rows, n, width, out);
}

// JSON

static const char *text_of(const qw_buf *b)
{
    return b->data ? b->data : "";
}

static void put_task(const qw_eval_row *r, qw_buf *out)
{
    const qw_task_result *t = &r->task;
    qw_interval ci;
    double score = qw_eval_row_score(r, &ci);
    qw_fields_open(out, "task", '{');
    qw_fields_number(out, "score", score);
    qw_fields_number(out, "score_low", ci.low);
    qw_fields_number(out, "score_high", ci.high);
    qw_fields_count(out, "n", (int64_t)t->n);
    for (int o = 0; o < QW_N_OUTCOMES; o++)
        qw_fields_count(out, qw_outcome_name((qw_outcome)o), (int64_t)t->n_outcomes[o]);
    qw_fields_count(out, "truncated_right", (int64_t)t->n_truncated_right);
    qw_fields_number(out, "seconds", t->seconds);
    qw_fields_count(out, "prompt_tokens", t->n_prompt_tokens);
    qw_fields_count(out, "output_tokens", t->n_output_tokens);
    qw_fields_number(out, "tokens_per_second", batch_speed(t));
    qw_fields_open(out, "answers", '[');
    for (size_t i = 0; i < t->n; i++) {
        const qw_task_answer *a = &t->answers[i];
        qw_fields_open(out, NULL, '{');
        qw_fields_text(out, "outcome", qw_outcome_name(a->outcome));
        qw_fields_text(out, "found", text_of(&a->found));
        qw_fields_count(out, "tokens", a->n_tokens);
        qw_fields_text(out, "text", text_of(&a->text));
        qw_fields_close(out, '}');
    }
    qw_fields_close(out, ']');
    qw_fields_close(out, '}');
}

void qw_eval_report_json(const qw_eval_row *rows, size_t n, const char *task_file, qw_buf *out)
{
    qw_fields_open(out, NULL, '{');
    if (task_file) qw_fields_text(out, "task_file", task_file);
    qw_fields_open(out, "models", '[');
    for (size_t i = 0; i < n; i++) {
        const qw_eval_row *r = &rows[i];
        qw_fields_open(out, NULL, '{');
        qw_fields_text(out, "model", r->model);
        qw_fields_count(out, "bytes", (int64_t)r->bytes);
        qw_fields_number(out, "decode_tokens_per_second", r->decode_tokens_per_second);
        if (r->has_task) put_task(r, out);
        qw_fields_close(out, '}');
    }
    qw_fields_close(out, ']');
    qw_fields_close(out, '}');
}
