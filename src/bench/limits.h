#ifndef QW_BENCH_LIMITS_H
#define QW_BENCH_LIMITS_H

#include "base/status.h"
#include "bench/slices.h"

/**
 * Memory that kernels and limit loops read: at least 8 times the last-level cache, so that nothing
 * in it is ever found in a cache, filled with numbers of ordinary size whether they are read as
 * BF16, F16 or F32 (zeros would flatter, random bits are full of denormals and NaN).
 */
typedef struct qw_bench_buffer {
    uint8_t *data; /* 2 MiB-aligned, huge pages asked for */
    size_t size;   /* a multiple of 2 MiB */
} qw_bench_buffer;

/** The size that `last_cache` asks for, no more than a quarter of `memory`. */
size_t qw_bench_buffer_size(size_t last_cache, size_t memory);
QW_MUST_CHECK qw_status qw_bench_buffer_init(qw_bench_buffer *out, size_t size, qw_error *err);
void qw_bench_buffer_release(qw_bench_buffer *b);

/** Measures the limits of this machine for one number of threads and one kernel level. */
typedef struct qw_limit_meter qw_limit_meter;

/** `isa` as in qw_backend; `buffer` is borrowed and only read. */
QW_MUST_CHECK qw_status qw_limit_meter_new(qw_limit_meter **out, const char *isa, int n_threads,
                                           const qw_bench_buffer *buffer, qw_error *err);
/** NULL is fine. */
void qw_limit_meter_free(qw_limit_meter *m);
/** Pin the calling thread to the first CPU, as the workers are pinned to the others. */
void qw_limit_meter_pin_caller(const qw_limit_meter *m);

int qw_limit_meter_threads(const qw_limit_meter *m);
/** True if this level has the instruction at all. */
bool qw_limit_meter_has(const qw_limit_meter *m, qw_limit_kind kind);

/**
 * Look at the machine: spin clock of every core, handover between the first two, steal. Waits a
 * moment first, so that the threads of other pools have gone to sleep. About 2 ms.
 */
qw_probe qw_limit_meter_probe(qw_limit_meter *m);

/** One slice of about 25 ms on all threads: bytes or operations per second. */
double qw_limit_meter_measure(qw_limit_meter *m, qw_limit_kind kind);

/** Nanoseconds that a job without work takes: what each operation of a step pays for its threads.
 */
double qw_limit_meter_barrier_ns(qw_limit_meter *m);

/** Bytes per second of all threads, each reading `size` bytes of its own again and again. */
double qw_limit_meter_read_cached(qw_limit_meter *m, size_t size);

#endif
