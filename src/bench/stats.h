#ifndef QW_BENCH_STATS_H
#define QW_BENCH_STATS_H

#include "base/compiler.h"

/** Value at fraction p (0 .. 1) of `sorted` [n >= 1], ascending, interpolated between neighbours.
 */
double qw_stats_percentile(const double *sorted, size_t n, double p);

/** A distribution in four numbers; all 0 when n is 0. */
typedef struct qw_summary {
    size_t n;
    double min, p10, p50, p90;
} qw_summary;

/** Sorts `values` [n]. */
qw_summary qw_stats_summarize(double *values, size_t n);

/** Median; sorts `values` [n]. 0 when n is 0. */
double qw_stats_median(double *values, size_t n);

typedef enum qw_change {
    QW_CHANGE_UNKNOWN, /* too few pairs to tell */
    QW_CHANGE_NONE,    /* within the noise */
    QW_CHANGE_FASTER,
    QW_CHANGE_SLOWER,
} qw_change;

/** "?", "same", "faster" or "slower". */
const char *qw_change_name(qw_change change);

typedef struct qw_comparison {
    qw_change change;
    size_t n;      /* pairs */
    double median; /* of now[i] / before[i] */
    double spread; /* 2 * median absolute deviation / sqrt(n): what a difference must exceed */
} qw_comparison;

#define QW_STATS_MIN_PAIRS 15

/**
 * Compare two versions of a kernel by their ratios to the limit (more is faster), paired in order
 * (cpu-kernels.md 1.2): a difference counts if the median of the paired ratios is farther from 1
 * than `spread`, with at least 15 pairs. `scratch` has room for the smaller count.
 */
qw_comparison qw_stats_compare(const double *before, size_t n_before, const double *now,
                               size_t n_now, double *scratch);

#endif
