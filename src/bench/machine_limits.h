#ifndef QW_BENCH_MACHINE_LIMITS_H
#define QW_BENCH_MACHINE_LIMITS_H

#include "bench/limits.h"
#include "bench/machine.h"

/** What this machine can do, for predictions: measured once and kept. */
typedef struct qw_machine_limits {
    double limits[QW_N_LIMITS]; /* per second; 0: there is no such instruction */
    bool from_cache;
} qw_machine_limits;

/**
 * The limits for a number of threads and a kernel level, from the file that an earlier call left in
 * `cache_dir`, or measured in about 0.3 s (the median of a few slices) and written there. The file
 * is named after what decides: processor, cores, threads, level; one that is damaged is measured
 * again. `cache_dir` NULL: nothing is kept; `anew`: measure in any case. A file that cannot be
 * written is no failure.
 */
QW_MUST_CHECK qw_status qw_machine_limits_get(qw_machine_limits *out, const qw_machine *machine,
                                              const char *isa, int n_threads, const char *cache_dir,
                                              bool anew, qw_error *err);

#endif
