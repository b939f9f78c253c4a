#include "eval/eval_report.h"

#include <math.h>

#include "bench/json_fields.h"
#include "bench/stats.h"

void qw_eval_row_release(qw_eval_row *r)
{
    qw_task_result_release(&r->task);
    qw_divergence_release(&r->divergence);
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

// Where greedy texts part, of those that do: the median.
static double median_part(const qw_divergence *d)
{
    double places[QW_DIVERGENCE_MAX_GREEDY];
    size_t n = 0;
    for (size_t i = 0; i < d->n_greedy; i++)
        if (d->parts_at[i] >= 0) places[n++] = d->parts_at[i];
    return qw_stats_median(places, n);
}

static void put_divergences(const qw_eval_row *rows, size_t n, int width, qw_buf *out)
{
    qw_buf_printf(out, "%-*s %9s %8s %8s %8s %8s %7s %8s %24s %10s\n", width, "model", "MB",
                  "tok/s", "KL mean", "median", "99 %", "flips", "perpl.", "change, 95 % interval",
                  "same texts");
    for (size_t i = 0; i < n; i++) {
        const qw_divergence *d = &rows[i].divergence;
        put_common(&rows[i], width, out);
        qw_buf_printf(out, " %8.2g %8.2g %8.2g %6.2f%% %8.4g %+7.2f%% (%+6.2f, %+6.2f) %5zu/%zu",
                      d->kl_mean, d->kl_median, d->kl_p99,
                      100 * (double)d->n_flips / (double)d->n_tokens, d->perplexity,
                      100 * d->perplexity_change, 100 * d->change.low, 100 * d->change.high,
                      d->n_same, d->n_greedy);
        if (d->n_same < d->n_greedy) qw_buf_printf(out, ", others part after %g", median_part(d));
        qw_buf_putc(out, '\n');
    }
}

static void put_layers(const qw_eval_row *rows, size_t n, int width, qw_buf *out)
{
    qw_buf_puts(out, "\nsignal to noise in dB, behind the embedding and each layer\n");
    for (size_t i = 0; i < n; i++) {
        const qw_divergence *d = &rows[i].divergence;
        put_name(&rows[i], width, out);
        if (!d->snr_db) qw_buf_puts(out, "  not comparable: other sizes, or another rotation");
        for (int l = 0; d->snr_db && l <= d->n_layers; l++) {
            if (isfinite(d->snr_db[l]))
                qw_buf_printf(out, " %5.1f", d->snr_db[l]);
            else
                qw_buf_puts(out, " exact");
        }
        qw_buf_puts(out, d->is_rotated ? "  (rotated back)\n" : "\n");
    }
}

void qw_eval_report_table(const qw_eval_report *r, qw_buf *out)
{
    int width = name_width(r->rows, r->n);
    if (r->task_file) put_tasks(r->rows, r->n, width, out);
    if (!r->reference) return;
    if (r->task_file) qw_buf_putc(out, '\n');
    put_divergences(r->rows, r->n, width, out);
    put_layers(r->rows, r->n, width, out);
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

// A number that may be infinite, which JSON has not: null.
static void put_finite(qw_buf *out, const char *key, double value)
{
    if (isfinite(value))
        qw_fields_number(out, key, value);
    else
        qw_fields_null(out, key);
}

static void put_divergence(const qw_divergence *d, qw_buf *out)
{
    qw_fields_open(out, "divergence", '{');
    qw_fields_count(out, "texts", (int64_t)d->n_texts);
    qw_fields_count(out, "tokens", (int64_t)d->n_tokens);
    qw_fields_number(out, "kl_mean", d->kl_mean);
    qw_fields_number(out, "kl_median", d->kl_median);
    qw_fields_number(out, "kl_p99", d->kl_p99);
    qw_fields_number(out, "kl_max", d->kl_max);
    qw_fields_count(out, "flips", (int64_t)d->n_flips);
    put_finite(out, "perplexity_reference", d->perplexity_reference);
    put_finite(out, "perplexity", d->perplexity);
    put_finite(out, "perplexity_change", d->perplexity_change);
    put_finite(out, "perplexity_change_low", d->change.low);
    put_finite(out, "perplexity_change_high", d->change.high);
    qw_fields_count(out, "greedy_tokens", d->greedy_tokens);
    qw_fields_open(out, "parts_at", '[');
    for (size_t i = 0; i < d->n_greedy; i++) {
        if (d->parts_at[i] < 0)
            qw_fields_null(out, NULL);
        else
            qw_fields_count(out, NULL, d->parts_at[i]);
    }
    qw_fields_close(out, ']');
    qw_fields_flag(out, "is_rotated", d->is_rotated);
    if (!d->snr_db) qw_fields_null(out, "snr_db");
    if (d->snr_db) {
        qw_fields_open(out, "snr_db", '[');
        for (int l = 0; l <= d->n_layers; l++) put_finite(out, NULL, d->snr_db[l]);
        qw_fields_close(out, ']');
    }
    qw_fields_close(out, '}');
}

void qw_eval_report_json(const qw_eval_report *report, qw_buf *out)
{
    qw_fields_open(out, NULL, '{');
    if (report->task_file) qw_fields_text(out, "task_file", report->task_file);
    if (report->reference) qw_fields_text(out, "reference", report->reference);
    if (report->reference) qw_fields_text(out, "texts_file", report->texts_file);
    qw_fields_open(out, "models", '[');
    for (size_t i = 0; i < report->n; i++) {
        const qw_eval_row *r = &report->rows[i];
        qw_fields_open(out, NULL, '{');
        qw_fields_text(out, "model", r->model);
        qw_fields_count(out, "bytes", (int64_t)r->bytes);
        qw_fields_number(out, "decode_tokens_per_second", r->decode_tokens_per_second);
        if (r->has_task) put_task(r, out);
        if (r->has_divergence) put_divergence(&r->divergence, out);
        qw_fields_close(out, '}');
    }
    qw_fields_close(out, ']');
    qw_fields_close(out, '}');
}
