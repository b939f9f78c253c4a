#ifndef QW_EVAL_DIVERGENCE_H
#define QW_EVAL_DIVERGENCE_H

// How far a model is from another one with the same vocabulary: both read the same texts.
#include "engine/engine.h"
#include "eval/interval.h"
#include "format/ids.h"

/** Most texts that are gone on with. */
#define QW_DIVERGENCE_MAX_GREEDY 64

/** What comes out. */
typedef struct qw_divergence {
    size_t n_texts, n_tokens; /* tokens that were predicted */
    double kl_mean, kl_median, kl_p99, kl_max;
    size_t n_flips; /* tokens for which another one is the likeliest */
    double perplexity_reference, perplexity;
    double perplexity_change; /* 0.01: one percent higher; and its 95 % interval */
    qw_interval change;
    /**
     * Greedy texts that begin with the first half of each text: where they part, in tokens from
     * the end of that beginning; -1: not within greedy_tokens, or not before they end.
     */
    int32_t *parts_at; /* [n_greedy]; owned */
    size_t n_greedy, n_same;
    int32_t greedy_tokens;
    /** Signal to noise of the residual stream in dB, behind the embedding [0] and each layer;
     *  infinite: equal. NULL: other sizes, or a rotation that cannot be taken back. Owned. */
    double *snr_db; /* [n_layers + 1] */
    int n_layers;
    bool is_rotated; /* the residual stream is that of `quantize --scheme w4a4-laos` */
} qw_divergence;

/** All zero is fine. */
void qw_divergence_release(qw_divergence *d);

/** What is compared, and on what. Borrowed. */
typedef struct qw_divergence_args {
    const qw_engine_options *reference,
        *other;          /* model_dir, overrides, precision, threads, cache */
    const qw_ids *texts; /* [n_texts] */
    size_t n_texts;
    size_t n_greedy;       /* the first texts that are gone on with: at most the limit above */
    int32_t greedy_tokens; /* by how much */
    qw_model_progress_fn *progress; /* may be NULL; counts tokens of both models */
    void *progress_ctx;
} qw_divergence_args;

/**
 * Run both models over the texts in step, 64 tokens at a time. Both are in memory together.
 * QW_ERR_USAGE: vocabularies of different sizes, or a text without two tokens; QW_ERR_FORMAT: one
 * of them computes NaN or infinity.
 */
QW_MUST_CHECK qw_status qw_divergence_run(qw_divergence *out, const qw_divergence_args *args,
                                          qw_error *err);

#endif
