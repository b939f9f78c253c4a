#include "eval/divergence.h"

#include <math.h>

#include "base/mem.h"
#include "bench/stats.h"
#include "eval/greedy_pair.h"
#include "eval/model_side.h"
#include "eval/row_divergence.h"
#include "quant/rotation.h"

enum { STEP = QW_SIDE_ROWS, N_DRAWS = 2000, FEW_DB = 20 };
static const uint64_t bootstrap_seed = 1;

/** How the other model's residual stream lies to the reference's. */
typedef enum relation {
    NOT_KNOWN,
    AS_IT_IS,
    ROTATED,
    NOT_COMPARABLE,
} relation;

typedef struct comparison {
    const qw_divergence_args *args;
    qw_model_side reference, other;
    qw_divergence *out;
    int32_t *blocks; /* 0, 1, 2, ... */
    double *kl;      /* [n_tokens] */
    size_t n_kl;
    qw_paired_nll *stretches; /* [n_stretches], a step each */
    size_t n_stretches;
    // Residual streams
    size_t hidden, n_layers;
    float *residuals; /* the reference's: [n_layers][STEP][hidden] */
    size_t residuals_size;
    qw_signal *signals; /* [n_layers + 1] */
    relation relation;
    qw_rotation rotation;
    bool has_rotation;
    float *rotated;         /* [3 * hidden]: a row, and scratch */
    size_t n_done, n_total; /* tokens, for progress */
} comparison;

void qw_divergence_release(qw_divergence *d)
{
    qw_mem_free(d->parts_at);
    qw_mem_free(d->snr_db);
    *d = (qw_divergence){0};
}

// Residual streams

static float *residual_at(const comparison *c, int i_layer, int row)
{
    return c->residuals + ((size_t)i_layer * STEP + (size_t)row) * c->hidden;
}

static void keep_residual(void *ctx, int i_layer, qw_tap_point point, const float *x, size_t stride,
                          int n_rows)
{
    const comparison *c = ctx;
    if (point != QW_TAP_LAYER) return;
    for (int i = 0; i < n_rows; i++)
        memcpy(residual_at(c, i_layer, i), x + (size_t)i * stride, c->hidden * sizeof *x);
}

static const float *rotate(const comparison *c, const float *row)
{
    memcpy(c->rotated, row, c->hidden * sizeof *row);
    qw_rotation_apply(&c->rotation, c->rotated, c->rotated + c->hidden);
    return c->rotated;
}

// Embeddings are stored as they are, or rotated: which of both, is seen from the first rows.
static relation find_relation(const comparison *c, const float *x, size_t stride, int n_rows)
{
    qw_signal plain = {0}, rotated = {0};
    for (int i = 0; i < n_rows; i++) {
        const float *row = residual_at(c, 0, i);
        qw_signal_add(&plain, row, x + (size_t)i * stride, c->hidden);
        if (c->has_rotation)
            qw_signal_add(&rotated, rotate(c, row), x + (size_t)i * stride, c->hidden);
    }
    if (qw_signal_db(&plain) > FEW_DB) return AS_IT_IS;
    return c->has_rotation && qw_signal_db(&rotated) > FEW_DB ? ROTATED : NOT_COMPARABLE;
}

static void compare_residual(void *ctx, int i_layer, qw_tap_point point, const float *x,
                             size_t stride, int n_rows)
{
    comparison *c = ctx;
    if (point != QW_TAP_LAYER) return;
    if (c->relation == NOT_KNOWN) c->relation = find_relation(c, x, stride, n_rows);
    if (c->relation == NOT_COMPARABLE) return;
    for (int i = 0; i < n_rows; i++) {
        const float *row = residual_at(c, i_layer, i);
        if (c->relation == ROTATED) row = rotate(c, row);
        qw_signal_add(&c->signals[i_layer], row, x + (size_t)i * stride, c->hidden);
    }
}

// The tap tells what goes into each layer; what the last one leaves stays in the model.
static void compare_last(comparison *c, int n_rows)
{
    int last = (int)c->n_layers;
    for (int i = 0; i < n_rows && c->relation != NOT_COMPARABLE; i++) {
        const float *row = qw_model_hidden(c->reference.model, i);
        if (c->relation == ROTATED) row = rotate(c, row);
        qw_signal_add(&c->signals[last], row, qw_model_hidden(c->other.model, i), c->hidden);
    }
}

// Texts

static qw_status compare_rows(comparison *c, const int32_t *targets, int n_rows, qw_error *err)
{
    int32_t rows[STEP];
    for (int i = 0; i < n_rows; i++) rows[i] = i;
    size_t p_stride, q_stride, vocab = (size_t)c->reference.config.vocab_size;
    const float *p = qw_model_logits(c->reference.model, rows, n_rows, &p_stride);
    const float *q = qw_model_logits(c->other.model, rows, n_rows, &q_stride);
    qw_paired_nll *stretch = &c->stretches[c->n_stretches++];
    for (int i = 0; i < n_rows; i++) {
        qw_row_divergence d;
        qw_row_divergence_compute(&d, p + (size_t)i * p_stride, q + (size_t)i * q_stride, vocab,
                                  targets[i]);
        if (!isfinite(d.kl))
            return qw_fail(err, QW_ERR_FORMAT, "'%s' computes NaN or infinity on these texts",
                           isfinite(d.nll_reference) ? c->args->other->model_dir
                                                     : c->args->reference->model_dir);
        c->kl[c->n_kl++] = d.kl;
        c->out->n_flips += d.top_reference != d.top_other;
        stretch->reference += d.nll_reference;
        stretch->other += d.nll_other;
        stretch->n_tokens++;
    }
    return QW_OK;
}

static qw_status read_text(comparison *c, const qw_ids *text, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t first = 0; first + 1 < text->len && st == QW_OK; first += STEP) {
        size_t left = text->len - 1 - first;
        int n = (int)(left < STEP ? left : STEP);
        const qw_seq_range seq = {.n_rows = n, .first_pos = (int)first, .block_table = c->blocks};
        qw_model_side_run(&c->reference, text->data + first, n, &seq, 1);
        qw_model_side_run(&c->other, text->data + first, n, &seq, 1);
        if (c->n_layers) compare_last(c, n);
        st = compare_rows(c, text->data + first + 1, n, err);
        c->n_done += (size_t)n;
        if (c->args->progress) c->args->progress(c->args->progress_ctx, c->n_done, c->n_total);
    }
    return st;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static qw_status summarize(comparison *c, qw_error *err)
{
    qw_divergence *d = c->out;
    double sum = 0, reference = 0, other = 0, n = (double)c->n_kl;
    for (size_t i = 0; i < c->n_kl; i++) sum += c->kl[i];
    for (size_t i = 0; i < c->n_stretches; i++) {
        reference += c->stretches[i].reference;
        other += c->stretches[i].other;
    }
    qsort(c->kl, c->n_kl, sizeof *c->kl, by_value);
    d->n_texts = c->args->n_texts;
    d->n_tokens = c->n_kl;
    d->kl_mean = sum / n;
    d->kl_median = qw_stats_percentile(c->kl, c->n_kl, 0.5);
    d->kl_p99 = qw_stats_percentile(c->kl, c->n_kl, 0.99);
    d->kl_max = c->kl[c->n_kl - 1];
    d->perplexity_reference = exp(reference / n);
    d->perplexity = exp(other / n);
    d->perplexity_change = qw_perplexity_change(c->stretches, c->n_stretches);
    d->is_rotated = c->relation == ROTATED;
    if (c->n_layers && c->relation != NOT_COMPARABLE) {
        d->n_layers = (int)c->n_layers;
        d->snr_db = qw_mem_array(c->n_layers + 1, sizeof *d->snr_db);
        if (!d->snr_db) return qw_fail_memory(err, 0, "the results");
        for (size_t i = 0; i <= c->n_layers; i++) d->snr_db[i] = qw_signal_db(&c->signals[i]);
    }
    return qw_interval_bootstrap(&d->change, c->stretches, c->n_stretches, N_DRAWS, bootstrap_seed,
                                 err);
}

// Preparing

static qw_status check_texts(comparison *c, size_t *longest, qw_error *err)
{
    *longest = 0;
    for (size_t i = 0; i < c->args->n_texts; i++) {
        size_t len = c->args->texts[i].len;
        if (len < 2)
            return qw_fail(err, QW_ERR_USAGE, "text %zu has no two tokens to compare at", i + 1);
        if (len > *longest) *longest = len;
        c->n_total += len - 1;
    }
    if (c->n_total == 0) return qw_fail(err, QW_ERR_USAGE, "there is no text to compare on");
    return QW_OK;
}

static qw_status check_sides(const comparison *c, size_t longest, qw_error *err)
{
    const qw_model_side *const sides[] = {&c->reference, &c->other};
    for (int i = 0; i < 2; i++)
        if ((int64_t)longest > qw_model_config_max_len(&sides[i]->config))
            return qw_fail(err, QW_ERR_USAGE, "a text of %zu tokens exceeds the context of %d",
                           longest, (int)qw_model_config_max_len(&sides[i]->config));
    int32_t a = c->reference.config.vocab_size, b = c->other.config.vocab_size;
    if (a == b) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE,
                   "'%s' has a vocabulary of %d and '%s' one of %d: their predictions cannot be "
                   "compared",
                   c->args->reference->model_dir, a, c->args->other->model_dir, b);
}

// Residual streams of the same shape are compared, all others are not.
static qw_status make_residuals(comparison *c, qw_error *err)
{
    const qw_model_config *a = &c->reference.config, *b = &c->other.config;
    if (a->hidden_size != b->hidden_size || a->num_hidden_layers != b->num_hidden_layers)
        return QW_OK;
    size_t n = (size_t)a->num_hidden_layers;
    c->hidden = (size_t)a->hidden_size;
    c->residuals_size = n * STEP * c->hidden * sizeof *c->residuals;
    c->residuals = qw_mem_map(c->residuals_size, 64);
    c->signals = qw_mem_calloc(n + 1, sizeof *c->signals);
    c->rotated = qw_mem_array(3 * c->hidden, sizeof *c->rotated);
    if (!c->residuals || !c->signals || !c->rotated)
        return qw_fail_memory(err, c->residuals_size, "residual streams");
    c->has_rotation = qw_rotation_init(&c->rotation, c->hidden, QW_ROTATION_SEED, NULL) == QW_OK;
    c->n_layers = n;
    qw_model_set_tap(c->reference.model, keep_residual, c);
    qw_model_set_tap(c->other.model, compare_residual, c);
    return QW_OK;
}

static qw_status make_arrays(comparison *c, size_t n_blocks, qw_error *err)
{
    // A stretch for each step: at most one more than whole ones for each text.
    size_t n_stretches = c->n_total / STEP + c->args->n_texts;
    c->kl = qw_mem_array(c->n_total, sizeof *c->kl);
    c->stretches = qw_mem_calloc(n_stretches, sizeof *c->stretches);
    c->blocks = qw_mem_array(n_blocks, sizeof *c->blocks);
    if (!c->kl || !c->stretches || !c->blocks)
        return qw_fail_memory(err, c->n_total * sizeof *c->kl, "the comparison");
    for (size_t i = 0; i < n_blocks; i++) c->blocks[i] = (int32_t)i;
    return QW_OK;
}

static void release(comparison *c)
{
    qw_model_side_close(&c->reference);
    qw_model_side_close(&c->other);
    qw_mem_unmap(c->residuals, c->residuals_size);
    qw_mem_free(c->signals);
    qw_mem_free(c->rotated);
    if (c->has_rotation) qw_rotation_release(&c->rotation);
    qw_mem_free(c->kl);
    qw_mem_free(c->stretches);
    qw_mem_free(c->blocks);
}

static qw_status run(comparison *c, qw_backend *be, qw_error *err)
{
    const qw_divergence_args *a = c->args;
    size_t longest;
    qw_status st = check_texts(c, &longest, err);
    size_t n_greedy = a->greedy_tokens > 0 ? a->n_greedy : 0;
    const qw_greedy_pair greedy = {.reference = &c->reference,
                                   .other = &c->other,
                                   .texts = a->texts,
                                   .n = n_greedy < a->n_texts ? n_greedy : a->n_texts,
                                   .n_tokens = a->greedy_tokens,
                                   .generation_dir = a->reference->model_dir,
                                   .n_token_ids = a->reference->n_token_ids};
    if (st != QW_OK) return st;
    size_t n_blocks = longest / QW_SIDE_BLOCK + 1, more = qw_greedy_pair_blocks(&greedy);
    if (more > n_blocks) n_blocks = more;
    if (qw_greedy_pair_length(&greedy) > longest) longest = qw_greedy_pair_length(&greedy);
    st = make_arrays(c, n_blocks, err);
    if (st == QW_OK) st = qw_model_side_open(&c->reference, a->reference, err);
    if (st == QW_OK) st = qw_model_side_open(&c->other, a->other, err);
    if (st == QW_OK) st = check_sides(c, longest, err);
    if (st == QW_OK) st = qw_model_side_load(&c->reference, a->reference, be, n_blocks, err);
    if (st == QW_OK) st = qw_model_side_load(&c->other, a->other, be, n_blocks, err);
    if (st == QW_OK) st = make_residuals(c, err);
    for (size_t i = 0; i < a->n_texts && st == QW_OK; i++) st = read_text(c, &a->texts[i], err);
    if (st == QW_OK) st = summarize(c, err);
    if (st != QW_OK) return st;
    qw_model_set_tap(c->reference.model, NULL, NULL);
    qw_model_set_tap(c->other.model, NULL, NULL);
    c->out->n_greedy = greedy.n;
    c->out->greedy_tokens = greedy.n_tokens;
    st = qw_greedy_pair_run(&c->out->parts_at, &greedy, c->blocks, err);
    for (size_t i = 0; i < greedy.n && st == QW_OK; i++) c->out->n_same += c->out->parts_at[i] < 0;
    return st;
}

qw_status qw_divergence_run(qw_divergence *out, const qw_divergence_args *args, qw_error *err)
{
    qw_divergence result = {0};
    comparison c = {.args = args, .out = &result};
    qw_backend *be;
    const qw_cpu_options cpu = {.n_threads = args->reference->cpu_threads,
                                .isa = args->reference->cpu_isa};
    qw_status st = qw_backend_open_cpu(&be, &cpu, err);
    if (st != QW_OK) return st;
    st = run(&c, be, err);
    release(&c);
    qw_backend_close(be);
    if (st == QW_OK)
        *out = result;
    else
        qw_divergence_release(&result);
    return st;
}
