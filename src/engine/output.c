#include "engine/output.h"

enum { MAX_TEXT = 1 << 30 };

qw_status qw_output_init(qw_output *o, const qw_tokenizer *tokenizer,
                         const qw_sampling_params *params, const int32_t *prompt, size_t n_prompt,
                         qw_error *err)
{
    qw_output n = {.params = params, .i_stop = -1};
    qw_status st = qw_detokenizer_init(&n.detok, tokenizer, params->skip_special_tokens, prompt,
                                       n_prompt, err);
    if (st != QW_OK) return st;
    qw_buf_init(&n.text, MAX_TEXT);
    for (size_t i = 0; i < params->n_stop && !params->include_stop_str_in_output; i++) {
        size_t len = strlen(params->stop[i]);
        if (len > 0 && len - 1 > n.n_held) n.n_held = len - 1;
    }
    *o = n;
    return QW_OK;
}

void qw_output_release(qw_output *o)
{
    qw_detokenizer_release(&o->detok);
    qw_buf_release(&o->text);
}

// The first stop string, in the order given, that touches the newly added text.
static bool find_stop(qw_output *o, size_t n_new)
{
    qw_str text = {o->text.data, o->text.len};
    for (size_t i = 0; i < o->params->n_stop; i++) {
        qw_str stop = qw_str_of(o->params->stop[i]);
        size_t back = n_new + stop.len - 1;
        size_t at = qw_str_find(text, stop, back < text.len ? text.len - back : 0);
        if (at == SIZE_MAX) continue;
        o->i_stop = (int)i;
        o->text.len = o->params->include_stop_str_in_output ? at + stop.len : at;
        o->text.data[o->text.len] = '\0';
        return true;
    }
    return false;
}

qw_status qw_output_push(qw_output *o, int32_t id, bool is_stop_id, bool *stopped, qw_error *err)
{
    *stopped = false;
    o->n_tokens++;
    if (is_stop_id && !o->params->include_stop_str_in_output) return QW_OK;
    size_t before = o->text.len;
    qw_status st = qw_detokenizer_push(&o->detok, id, &o->text, err);
    if (st != QW_OK) return st;
    size_t n_new = o->text.len - before;
    if (n_new > 0 && o->n_tokens > o->params->min_tokens) *stopped = find_stop(o, n_new);
    return QW_OK;
}

qw_str qw_output_take(qw_output *o, bool finished)
{
    size_t end = o->text.len;
    if (!finished && o->i_stop < 0) {
        end = end > o->n_held ? end - o->n_held : 0;
        // Not inside a character.
        while (end > 0 && end < o->text.len && ((unsigned char)o->text.data[end] & 0xC0) == 0x80)
            end--;
    }
    if (end <= o->n_taken) return (qw_str){o->text.data, 0};
    qw_str fresh = {o->text.data + o->n_taken, end - o->n_taken};
    o->n_taken = end;
    return fresh;
}
