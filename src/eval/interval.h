#ifndef QW_EVAL_INTERVAL_H
#define QW_EVAL_INTERVAL_H

#include "base/status.h"

/** Both ends of an interval of confidence. */
typedef struct qw_interval {
    double low, high;
} qw_interval;

/** Quantile of the normal distribution for intervals of 95 %. */
#define QW_INTERVAL_Z95 1.959963984540054

/** Wilson's score interval of a share: `k` of `n` (Wilson 1927). n == 0: 0 to 1. */
qw_interval qw_interval_wilson(size_t k, size_t n, double z);

/** What two models made of the same stretch of text. */
typedef struct qw_paired_nll {
    double reference, other; /* summed negative log-likelihoods, natural */
    size_t n_tokens;
} qw_paired_nll;

/** exp(sum of other - reference, by token) - 1: by how much the perplexity is higher. */
double qw_perplexity_change(const qw_paired_nll *pairs, size_t n);

/**
 * 95 % interval of the perplexity's change by a paired bootstrap: `n_draws` times n stretches are
 * drawn with replacement, each with both of its values. Draw i of round r is stretch w * n >> 32,
 * w = word i % 4 of philox4x32(counter (i / 4, r, 0, 0), key (seed low, seed high)): the same every
 * time.
 */
QW_MUST_CHECK qw_status qw_interval_bootstrap(qw_interval *out, const qw_paired_nll *pairs,
                                              size_t n, size_t n_draws, uint64_t seed,
                                              qw_error *err);

#endif
