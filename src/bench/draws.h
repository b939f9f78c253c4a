#ifndef QW_BENCH_DRAWS_H
#define QW_BENCH_DRAWS_H

#include "base/compiler.h"

/**
 * Random numbers of a benchmark, one after the other: the same seed gives the same run. Philox with
 * a running counter (base/rng.h); seeds of different streams are never equal.
 */
typedef struct qw_draws {
    uint64_t seed, n_drawn;
} qw_draws;

/** `stream` names what the numbers are for, so that one use does not shift another. */
void qw_draws_init(qw_draws *d, uint64_t seed, uint64_t stream);
/** In [0, 1), 53 bits. */
double qw_draws_unit(qw_draws *d);
/** In [low, high], both included; low <= high. */
int64_t qw_draws_range(qw_draws *d, int64_t low, int64_t high);
/** Standard normal. */
double qw_draws_normal(qw_draws *d);
/** Gamma distribution of shape > 0 and scale 1 (Marsaglia and Tsang, 2000). */
double qw_draws_gamma(qw_draws *d, double shape);
/** Fisher and Yates: `indices` [n] in an order of its own. */
void qw_draws_shuffle(qw_draws *d, size_t *indices, size_t n);

#endif
