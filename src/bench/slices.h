#ifndef QW_BENCH_SLICES_H
#define QW_BENCH_SLICES_H

#include "base/compiler.h"

#define QW_SLICE_MIN_CLEAN 5 /* a row with fewer clean rounds is noisy: its marks are undecided */

/**
 * Timing on a machine that others use too (cpu-kernels.md 1.2). Everything is timed in slices of 20
 * to 200 ms with a probe at each end. A slice counts only if it is clean; a kernel is divided by
 * the limits measured just before and just after it, never by those of another minute.
 */

/** The state of the machine at one edge of a slice. */
typedef struct qw_probe {
    double spin;        /* nops per ns of the slowest thread: the clock, and whether it is shared */
    double handover_ns; /* one way between two threads; 0: there is one thread only */
    int64_t steal;      /* qw_machine_steal */
    int64_t at_ns;      /* qw_clock_ns */
} qw_probe;

typedef struct qw_slice {
    qw_probe before, after;
    double value; /* seconds of a kernel; bytes or operations per second of a limit */
} qw_slice;

/** What the slices of a run are judged by. */
typedef struct qw_slice_rule {
    double best_spin; /* of all probes of the run with this number of threads */
    int n_threads;
    int64_t ticks_per_s;
} qw_slice_rule;

#define QW_SLICE_SPIN_TOLERANCE 0.07
#define QW_SLICE_MIN_HANDOVER_NS 40.0 /* less means that both threads sit on one core */

/**
 * Clean: the spin clock at both ends is within 7 % of the best, the handover is that of two cores,
 * and less than 1 % of the slice's CPU time was stolen. Up to 200 ms and 5 threads one tick of
 * 10 ms is more than that, so that nothing may be stolen.
 */
bool qw_slice_is_clean(const qw_slice *s, const qw_slice_rule *rule);

/** Steal during the slice in percent of its CPU time; may be rough, a tick is long. */
double qw_slice_steal_percent(const qw_slice *s, const qw_slice_rule *rule);

/** The limits that kernels are measured against. */
typedef enum qw_limit_kind {
    QW_LIMIT_READ, /* bytes per second from memory */
    QW_LIMIT_FMA,  /* fp32 operations per second */
    QW_LIMIT_BF16, /* operations per second of vdpbf16ps; 0 where there is none */
    QW_LIMIT_INT8, /* of int8 products: vpdpbusd, or vpmaddwd and vpaddd on 16-bit numbers */
    QW_LIMIT_INT4, /* of int4 with int8: the same, or vpmaddubsw and vpaddw */
    QW_N_LIMITS,
} qw_limit_kind;

/** "bw", "fma", "bf16", "int8", "int4". */
const char *qw_limit_name(qw_limit_kind kind);

/** What a kernel moves and computes in one run, and on which peak it computes its products. */
typedef struct qw_work {
    double bytes;                  /* read from memory */
    double product_ops;            /* of the Linears */
    double attention_ops;          /* always fp32 */
    qw_limit_kind peak;            /* what the products run on */
    double other_ops[QW_N_LIMITS]; /* of products that run on other peaks */
} qw_work;

/** All operations. */
double qw_work_ops(const qw_work *work);

/** One round of one row: the kernel, and the limits before and after it (value 0: not needed). */
typedef struct qw_sample {
    qw_slice run;
    double run_count; /* times that the kernel ran in the slice */
    qw_slice limits[2][QW_N_LIMITS];
} qw_sample;

/** Kinds as a set: bit 1 << kind. */
typedef unsigned qw_limit_set;

/**
 * The limits that can decide over `work` where the machine's are about `limits`: those of the
 * longer of moving and computing, and of the other unless it takes less than half as long.
 */
qw_limit_set qw_work_limits(const qw_work *work, const double limits[QW_N_LIMITS]);

/**
 * Least seconds for `work` at these limits (1.3): the longer of moving its bytes and of computing,
 * all products and attention one after the other. *decided_by (may be NULL) says which. A limit of
 * 0 was not measured and does not count.
 */
double qw_work_limit_s(const qw_work *work, const double limits[QW_N_LIMITS],
                       qw_limit_kind *decided_by);

/** Means of the limits before and after. */
void qw_sample_limits(double out[QW_N_LIMITS], const qw_sample *s);
/** Limit time / measured time. */
double qw_sample_ratio(const qw_sample *s, const qw_work *work);
/** True if the run and the limits of `kinds` beside it are clean. */
bool qw_sample_is_clean(const qw_sample *s, qw_limit_set kinds, const qw_slice_rule *rule);

#endif
