#include "cli/answer.h"

#include "format/json.h"

enum { MAX_LOGPROBS = 1 << 30 };

qw_status qw_answer_init(qw_answer *a, const qw_tokenizer *tokenizer,
                         const qw_sampling_params *params, const int32_t *prompt, size_t n_prompt,
                         qw_error *err)
{
    *a = (qw_answer){.tokenizer = tokenizer, .stop_id = -1};
    qw_buf_init(&a->logprobs, MAX_LOGPROBS);
    if (!tokenizer) return QW_OK;
    return qw_output_init(&a->output, tokenizer, params, prompt, n_prompt, err);
}

void qw_answer_release(qw_answer *a)
{
    qw_ids_release(&a->ids);
    if (a->tokenizer) qw_output_release(&a->output);
    qw_buf_release(&a->logprobs);
}

qw_status qw_answer_add(qw_answer *a, const qw_token_event *event, bool *stopped, qw_error *err)
{
    *stopped = false;
    a->finish = event->finish;
    a->stop_id = event->stop_id;
    if (event->id < 0) return QW_OK;
    qw_status st = qw_ids_push(&a->ids, event->id, err);
    if (st != QW_OK) return st;
    if (event->logprobs) {
        if (a->logprobs.len) qw_buf_puts(&a->logprobs, ", ");
        qw_logprobs_write(&a->logprobs, a->tokenizer, event->logprobs, event->n_logprobs);
        st = qw_buf_check(&a->logprobs, "the log-probabilities", err);
        if (st != QW_OK) return st;
    }
    if (!a->tokenizer) return QW_OK;
    st = qw_output_push(&a->output, event->id, event->finish == QW_FINISH_STOP, stopped, err);
    if (*stopped) a->finish = QW_FINISH_STOP;
    return st;
}

static void write_entry(qw_buf *out, const qw_tokenizer *tokenizer, const qw_logprob *e)
{
    qw_buf_printf(out, "\"%d\": {\"logprob\": ", e->id);
    qw_json_write_f64(out, e->logprob < -9999.0f ? -9999.0 : (double)e->logprob);
    qw_buf_printf(out, ", \"rank\": %d, \"decoded_token\": ", e->rank);
    if (tokenizer) {
        qw_buf text;
        qw_buf_init(&text, 1 << 20);
        qw_tokenizer_decode(tokenizer, &e->id, 1, false, &text);
        qw_json_write_string(out, (qw_str){text.data, text.len});
        if (text.failed) out->failed = text.failed; // the caller checks that one
        qw_buf_release(&text);
    } else {
        qw_buf_puts(out, "null");
    }
    qw_buf_putc(out, '}');
}

void qw_logprobs_write(qw_buf *out, const qw_tokenizer *tokenizer, const qw_logprob *entries,
                       size_t n)
{
    qw_buf_putc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && entries[i].id == entries[0].id) continue;
        if (i > 0) qw_buf_puts(out, ", ");
        write_entry(out, tokenizer, &entries[i]);
    }
    qw_buf_putc(out, '}');
}

static void write_ids(qw_buf *out, const char *name, const qw_ids *ids)
{
    qw_buf_printf(out, "\"%s\": [", name);
    for (size_t i = 0; i < ids->len; i++) qw_buf_printf(out, "%s%d", i ? ", " : "", ids->data[i]);
    qw_buf_puts(out, "], ");
}

static void write_stop_reason(qw_buf *out, const qw_answer *a)
{
    qw_buf_puts(out, "\"stop_reason\": ");
    if (a->tokenizer && a->output.i_stop >= 0)
        qw_json_write_string(out, qw_str_of(a->output.params->stop[a->output.i_stop]));
    else if (a->stop_id >= 0)
        qw_buf_printf(out, "%d", a->stop_id);
    else
        qw_buf_puts(out, "null");
}

void qw_answer_write(const qw_answer *a, int32_t index, const qw_ids *prompt,
                     const qw_buf *prompt_logprobs, qw_buf *out)
{
    qw_buf_printf(out, "{\"index\": %d, ", index);
    write_ids(out, "prompt_token_ids", prompt);
    write_ids(out, "token_ids", &a->ids);
    qw_buf_puts(out, "\"text\": ");
    if (a->tokenizer)
        qw_json_write_string(out, (qw_str){a->output.text.data, a->output.text.len});
    else
        qw_buf_puts(out, "null");
    qw_buf_printf(out, ", \"finish_reason\": \"%s\", ", qw_finish_reason_name(a->finish));
    write_stop_reason(out, a);
    if (a->logprobs.len) qw_buf_printf(out, ", \"logprobs\": [%s]", a->logprobs.data);
    if (prompt_logprobs) {
        qw_buf_puts(out, ", \"prompt_logprobs\": [null");
        if (prompt_logprobs->len) qw_buf_printf(out, ", %s", prompt_logprobs->data);
        qw_buf_putc(out, ']');
    }
    qw_buf_puts(out, "}\n");
}
