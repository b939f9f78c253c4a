#ifndef QW_BENCH_BENCH_GROUP_H
#define QW_BENCH_BENCH_GROUP_H

#include "bench/bench_row.h"

/** Rows that are measured in turns, and what was recorded of them. */
typedef struct qw_bench_group {
    qw_bench_case *cases; /* owned */
    size_t n_cases, cap;
    struct qw_bench_recording *recordings; /* [n_cases], from the first round on */
} qw_bench_group;

void qw_bench_group_release(qw_bench_group *g);
/** `c` is moved in, also on failure. */
QW_MUST_CHECK qw_status qw_bench_group_add(qw_bench_group *g, qw_bench_case *c, qw_error *err);

/**
 * Run `rounds` rounds: limit, first row, limit, second row, ..., limit. `typical` are the limits
 * from the first block. *best_spin is raised to the best that the probes see. Once, and then the
 * memory that the rows ran on is freed.
 */
QW_MUST_CHECK qw_status qw_bench_group_run(qw_bench_group *g, qw_limit_meter *meter,
                                           const double typical[QW_N_LIMITS], int rounds,
                                           double *best_spin, qw_error *err);

/** What was recorded of row `i`; borrowed until release. */
qw_bench_record qw_bench_group_record(const qw_bench_group *g, size_t i);

#endif
