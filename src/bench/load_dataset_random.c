// Prompts of made-up tokens: vLLM's RandomDataset and PrefixRepetitionRandomDataset.
#include <math.h>

#include "bench/load_dataset_internal.h"

enum { MAX_REPAIRS = 10, MAX_OFFSETS = 20, MAX_TEXT = 1 << 28 };

/** Ids that prompts are made of: all that have a token, special ones left out. */
typedef struct id_pool {
    qw_ids ids;
    qw_draws draws;
} id_pool;

static qw_status id_pool_init(id_pool *p, const qw_dataset_options *o, qw_error *err)
{
    *p = (id_pool){0};
    qw_draws_init(&p->draws, o->seed, 1);
    int32_t n = qw_tokenizer_get_info(o->tokenizer)->n_ids;
    qw_status st = QW_OK;
    for (int32_t id = 0; id < n && st == QW_OK; id++)
        if (qw_tokenizer_token_bytes(o->tokenizer, id).ptr &&
            !qw_tokenizer_is_added(o->tokenizer, id))
            st = qw_ids_push(&p->ids, id, err);
    if (st == QW_OK && p->ids.len == 0)
        st = qw_fail(err, QW_ERR_FORMAT, "the tokenizer has no ordinary tokens");
    return st;
}

static int32_t draw_id(id_pool *p)
{
    return p->ids.data[qw_draws_range(&p->draws, 0, (int64_t)p->ids.len - 1)];
}

static qw_status draw_ids(id_pool *p, int64_t n, qw_ids *out, qw_error *err)
{
    qw_status st = QW_OK;
    for (int64_t i = 0; i < n && st == QW_OK; i++) st = qw_ids_push(out, draw_id(p), err);
    return st;
}

/**
 * A text of exactly ids->len tokens, as near as that can be had: decoded, encoded again, and while
 * the length is another, made longer or cut (gen_prompt_decode_to_target_len). Afterwards `ids` are
 * those that the text has.
 */
static qw_status to_text(id_pool *p, const qw_dataset_options *o, qw_ids *ids, qw_buf *text,
                         qw_error *err)
{
    size_t target = ids->len;
    qw_status st = QW_OK;
    for (int n_left = MAX_REPAIRS; st == QW_OK; n_left--) {
        qw_buf_clear(text);
        qw_tokenizer_decode(o->tokenizer, ids->data, ids->len, false, text);
        st = qw_buf_check(text, "a prompt", err);
        ids->len = 0;
        if (st == QW_OK)
            st = qw_tokenizer_encode(o->tokenizer, (qw_str){text->data, text->len}, 0, ids, err);
        if (st != QW_OK || ids->len == target || n_left == 0) return st;
        if (ids->len < target)
            st = draw_ids(p, (int64_t)(target - ids->len), ids, err);
        else
            ids->len = target;
    }
    return st;
}

typedef struct length_range {
    int64_t low, high;
} length_range;

static length_range range_of(int64_t len, double ratio, int64_t least)
{
    length_range r = {(int64_t)floor((double)len * (1 - ratio)),
                      (int64_t)ceil((double)len * (1 + ratio))};
    if (r.low < least) r.low = least;
    if (r.high < least) r.high = least;
    return r;
}

// Token j of request i is allowed[(offset + i + j) mod n], behind the prefix.
static qw_status fill_ids(qw_ids *ids, const id_pool *p, const qw_ids *prefix, size_t start,
                          int64_t n, qw_error *err)
{
    ids->len = 0;
    qw_status st = qw_ids_append(ids, prefix->data, prefix->len, err);
    for (int64_t j = 0; j < n && st == QW_OK; j++)
        st = qw_ids_push(ids, p->ids.data[(start + (size_t)j) % p->ids.len], err);
    return st;
}

static qw_status add_random(qw_load_dataset *d, id_pool *p, const qw_dataset_options *o,
                            const qw_ids *prefix, size_t i, qw_error *err)
{
    const length_range in = range_of(o->input_len, o->input_range_ratio, 0);
    const length_range out = range_of(o->output_len, o->output_range_ratio, 1);
    int64_t n_input = qw_draws_range(&p->draws, in.low, in.high);
    int64_t n_output = qw_draws_range(&p->draws, out.low, out.high);
    size_t target = prefix->len + (size_t)n_input;
    qw_ids ids = {0};
    qw_buf text;
    qw_buf_init(&text, MAX_TEXT);
    qw_status st = QW_OK;
    // Some stretches of the vocabulary never become a text of their length; another one does.
    for (int n_left = MAX_OFFSETS; st == QW_OK && n_left > 0 && ids.len != target; n_left--) {
        size_t offset = (size_t)qw_draws_range(&p->draws, 0, (int64_t)p->ids.len - 1);
        st = fill_ids(&ids, p, prefix, offset + i, n_input, err);
        if (st == QW_OK) st = to_text(p, o, &ids, &text, err);
    }
    if (st == QW_OK) st = qw_load_dataset_add(d, &text, (int64_t)ids.len, n_output, err);
    qw_buf_release(&text);
    qw_ids_release(&ids);
    return st;
}

qw_status qw_load_dataset_random(qw_load_dataset *d, const qw_dataset_options *o, qw_error *err)
{
    if (o->prefix_len + range_of(o->input_len, o->input_range_ratio, 0).low < 1)
        return qw_fail(err, QW_ERR_USAGE,
                       "--random-input-len %" PRId64 " with --random-range-ratio %g and "
                       "--random-prefix-len %" PRId64 " may give an empty prompt",
                       o->input_len, o->input_range_ratio, o->prefix_len);
    id_pool p;
    qw_ids prefix = {0};
    qw_status st = id_pool_init(&p, o, err);
    if (st == QW_OK) st = draw_ids(&p, o->prefix_len, &prefix, err);
    for (size_t i = 0; i < o->n_requests && st == QW_OK; i++)
        st = add_random(d, &p, o, &prefix, i, err);
    qw_ids_release(&prefix);
    qw_ids_release(&p.ids);
    return st;
}

// n tokens that survive being text.
static qw_status draw_stable(id_pool *p, const qw_dataset_options *o, int64_t n, qw_ids *out,
                             qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, MAX_TEXT);
    qw_status st = QW_OK;
    for (int n_left = MAX_OFFSETS; st == QW_OK && n_left > 0 && out->len != (size_t)n; n_left--) {
        out->len = 0;
        st = draw_ids(p, n, out, err);
        if (st == QW_OK) st = to_text(p, o, out, &text, err);
    }
    qw_buf_release(&text);
    return st;
}

static qw_status add_with_prefix(qw_load_dataset *d, id_pool *p, const qw_dataset_options *o,
                                 const qw_ids *prefix, qw_error *err)
{
    qw_ids ids = {0}, suffix = {0};
    qw_buf text;
    qw_buf_init(&text, MAX_TEXT);
    qw_status st = qw_ids_append(&ids, prefix->data, prefix->len, err);
    if (st == QW_OK) st = draw_stable(p, o, o->input_len, &suffix, err);
    if (st == QW_OK) st = qw_ids_append(&ids, suffix.data, suffix.len, err);
    if (st == QW_OK) {
        qw_tokenizer_decode(o->tokenizer, ids.data, ids.len, false, &text);
        st = qw_load_dataset_add(d, &text, (int64_t)ids.len, o->output_len, err);
    }
    qw_buf_release(&text);
    qw_ids_release(&suffix);
    qw_ids_release(&ids);
    return st;
}

qw_status qw_load_dataset_prefixes(qw_load_dataset *d, const qw_dataset_options *o, qw_error *err)
{
    int64_t n_each = (int64_t)o->n_requests / o->n_prefixes;
    if (n_each == 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "num_requests (%zu) must be greater than or equal to num_prefixes (%" PRId64
                       ")",
                       o->n_requests, o->n_prefixes);
    id_pool p;
    qw_status st = id_pool_init(&p, o, err);
    for (int64_t i = 0; i < o->n_prefixes && st == QW_OK; i++) {
        qw_ids prefix = {0};
        st = draw_stable(&p, o, o->prefix_len, &prefix, err);
        for (int64_t j = 0; j < n_each && st == QW_OK; j++)
            st = add_with_prefix(d, &p, o, &prefix, err);
        qw_ids_release(&prefix);
    }
    qw_ids_release(&p.ids);
    return st == QW_OK ? qw_load_dataset_shuffle(d, o, err) : st;
}
