#include "bench/load_dataset.h"

#include "base/mem.h"
#include "bench/load_dataset_internal.h"

void qw_load_dataset_release(qw_load_dataset *d)
{
    for (size_t i = 0; i < d->n; i++) {
        qw_mem_free(d->requests[i].prompt);
        qw_mem_free(d->requests[i].media);
    }
    qw_mem_free(d->requests);
    *d = (qw_load_dataset){0};
}

qw_status qw_load_dataset_add(qw_load_dataset *d, qw_buf *text, int64_t n_prompt, int64_t n_output,
                              qw_error *err)
{
    if (d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 64, size;
        qw_load_request *grown =
            qw_mul_size(&size, cap, sizeof *grown) ? qw_mem_realloc(d->requests, size) : NULL;
        if (!grown) return qw_fail_memory(err, cap * sizeof *grown, "the prompts");
        d->requests = grown;
        d->cap = cap;
    }
    if (text->len == 0) qw_buf_puts(text, ""); // so that there is a text to take
    qw_status st = qw_buf_check(text, "a prompt", err);
    if (st != QW_OK) return st;
    qw_load_request r = {.n_prompt = n_prompt, .n_output = n_output};
    r.prompt = qw_buf_take(text, &r.prompt_size);
    d->requests[d->n++] = r;
    return QW_OK;
}

qw_status qw_load_count_tokens(int64_t *out, const qw_dataset_options *o, qw_str text,
                               qw_error *err)
{
    *out = 0;
    if (!o->tokenizer) return QW_OK;
    qw_ids ids = {0};
    qw_status st = qw_tokenizer_encode(o->tokenizer, text, 0, &ids, err);
    *out = (int64_t)ids.len;
    qw_ids_release(&ids);
    return st;
}

qw_status qw_load_apply_template(qw_buf *out, const qw_dataset_options *o, qw_str text,
                                 qw_error *err)
{
    if (!o->chat)
        return qw_fail(err, QW_ERR_USAGE,
                       "the tokenizer's directory has no chat template, which this dataset needs; "
                       "give --skip-chat-template if the prompts are complete");
    json_t *messages = json_array(), *message = json_object();
    json_t *content = json_stringn(text.ptr, text.len);
    bool ok = messages && message && content &&
              json_object_set_new(message, "role", json_string("user")) == 0 &&
              json_object_set(message, "content", content) == 0 &&
              json_array_append(messages, message) == 0;
    qw_status st = QW_OK;
    if (!ok)
        st = qw_fail(err, QW_ERR_FORMAT, "a prompt is no valid UTF-8");
    else
        st = qw_chat_prompt_render(
            o->chat, &(qw_chat_request){.messages = messages, .add_generation_prompt = true}, out,
            err);
    json_decref(content);
    json_decref(message);
    json_decref(messages);
    return st;
}

qw_status qw_load_dataset_shuffle(qw_load_dataset *d, const qw_dataset_options *o, qw_error *err)
{
    if (o->disable_shuffle || d->n < 2) return QW_OK;
    size_t *order = qw_mem_array(d->n, sizeof *order);
    qw_load_request *moved = qw_mem_array(d->n, sizeof *moved);
    qw_status st = order && moved ? QW_OK : qw_fail_memory(err, d->n * sizeof *moved, "a shuffle");
    if (st == QW_OK) {
        qw_draws draws;
        qw_draws_init(&draws, o->seed, 2);
        for (size_t i = 0; i < d->n; i++) order[i] = i;
        qw_draws_shuffle(&draws, order, d->n);
        for (size_t i = 0; i < d->n; i++) moved[i] = d->requests[order[i]];
        memcpy(d->requests, moved, d->n * sizeof *moved);
    }
    qw_mem_free(order);
    qw_mem_free(moved);
    return st;
}

// More of the same, drawn with replacement, until there are as many as were asked for.
static qw_status oversample(qw_load_dataset *d, const qw_dataset_options *o, qw_error *err)
{
    if (o->no_oversample || d->n == 0) return QW_OK;
    qw_draws draws;
    qw_draws_init(&draws, o->seed, 3);
    qw_status st = QW_OK;
    for (size_t n_own = d->n; d->n < o->n_requests && st == QW_OK;) {
        const qw_load_request r = d->requests[qw_draws_range(&draws, 0, (int64_t)n_own - 1)];
        qw_buf text;
        qw_buf_init(&text, r.prompt_size + 1);
        qw_buf_append(&text, r.prompt, r.prompt_size);
        st = qw_load_dataset_add(d, &text, r.n_prompt, r.n_output, err);
        qw_buf_release(&text);
    }
    return st;
}

static qw_status make(qw_load_dataset *d, const qw_dataset_options *o, qw_error *err)
{
    qw_status st = QW_OK;
    switch (o->kind) {
    case QW_DATASET_RANDOM: return qw_load_dataset_random(d, o, err);
    case QW_DATASET_RANDOM_MM:
        st = qw_load_dataset_random(d, o, err);
        return st == QW_OK ? qw_load_dataset_add_pictures(d, o, err) : st;
    case QW_DATASET_PREFIX_REPETITION: return qw_load_dataset_prefixes(d, o, err);
    case QW_DATASET_SONNET: return qw_load_dataset_sonnet(d, o, err);
    case QW_DATASET_SHAREGPT: st = qw_load_dataset_sharegpt(d, o, err); break;
    case QW_DATASET_CUSTOM: st = qw_load_dataset_custom(d, o, err); break;
    }
    return st == QW_OK ? oversample(d, o, err) : st;
}

qw_status qw_load_dataset_make(qw_load_dataset *out, const qw_dataset_options *o, qw_error *err)
{
    if (!o->tokenizer && (o->kind != QW_DATASET_CUSTOM || !o->skip_chat_template))
        return qw_fail(err, QW_ERR_USAGE,
                       "--skip-tokenizer-init: only --dataset-name custom with "
                       "--skip-chat-template can do without a tokenizer");
    qw_load_dataset d = {0};
    qw_status st = make(&d, o, err);
    if (st == QW_OK && d.n == 0)
        st = qw_fail(err, QW_ERR_USAGE, "the dataset '%s' holds no usable prompt",
                     o->path ? o->path : "");
    if (st == QW_OK)
        *out = d;
    else
        qw_load_dataset_release(&d);
    return st;
}
