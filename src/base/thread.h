#ifndef QW_BASE_THREAD_H
#define QW_BASE_THREAD_H

#include "base/status.h"

/**
 * The compute pool: n - 1 workers and the thread that calls run or for, which takes part as thread
 * 0. Workers are pinned one per physical core when there are no more threads than usable CPUs. In
 * every thread denormals are flushed to zero while it computes (cpu-kernels 6.3).
 *
 * One owner: only one thread at a time may call run or for, and not from inside a job; both are
 * asserted. Starting a job neither allocates nor locks. Between jobs a worker spins for a while and
 * then sleeps, so a pool that has nothing to do costs nothing.
 */
typedef struct qw_thread_pool qw_thread_pool;

/** A job's work for one thread; called once for each i_thread in 0..n_threads-1. */
typedef void qw_thread_fn(void *ctx, int i_thread, int n_threads);
/** A job's work for the items begin..end-1, on thread i_thread. */
typedef void qw_range_fn(void *ctx, size_t begin, size_t end, int i_thread);

/**
 * Start a pool. n_threads 0: one per physical core within the affinity mask and the CPU quota.
 * Errors: a negative or absurd number (usage), no memory, a thread that cannot be started (io,
 * naming how many were asked for); then everything started is stopped again.
 *
 * $QWENCH_TEST_SHUFFLE=SEED, for tests: qw_thread_pool_for hands out its chunks in a shuffled
 * order, another one for each job. Results may not change.
 */
QW_MUST_CHECK qw_status qw_thread_pool_new(qw_thread_pool **out, int n_threads, qw_error *err);
/** Stop and join the workers. NULL is fine. No job may be running. */
void qw_thread_pool_free(qw_thread_pool *pool);
/** Threads that take part in a job, the caller included. */
int qw_thread_pool_size(const qw_thread_pool *pool);

/**
 * How long a thread spins before it sleeps, in microseconds: workers between jobs (default 1000)
 * and, at most 200, the caller waiting for the last worker. 0 is the default, and the best, when
 * there are more threads than CPUs.
 */
void qw_thread_pool_set_spin(qw_thread_pool *pool, int64_t spin_us);

/**
 * Pin the calling thread, the one that will run the jobs, to the pool's first CPU, if workers are
 * pinned. Threads that it starts later inherit that; call it on a thread that starts no others.
 */
void qw_thread_pool_pin_caller(const qw_thread_pool *pool);

/** Run fn once on every thread and wait for all. Everything they wrote is visible afterwards. */
void qw_thread_pool_run(qw_thread_pool *pool, qw_thread_fn *fn, void *ctx);

/**
 * Call fn for ranges that together cover 0..n_items-1, each item exactly once, and wait. Ranges
 * start at multiples of `grain` (>= 1) and hold `grain` items, the last one what is left. Each
 * thread owns a contiguous part, the same in every job of this size, and takes its ranges from the
 * front; when done it takes from the back of the others' parts. So which thread does what varies;
 * only what each range computes may matter. A single range runs on the caller alone.
 */
void qw_thread_pool_for(qw_thread_pool *pool, size_t n_items, size_t grain, qw_range_fn *fn,
                        void *ctx);

/** One parallel-for of a walk. */
typedef struct qw_thread_phase {
    qw_range_fn *fn;
    void *ctx;
    const size_t *n_items; /* read when the phase starts, by every thread; 0: skipped */
    size_t grain;
} qw_thread_phase;

/**
 * Run parallel-fors one after the other: all that a phase writes is there when the next one starts.
 * As n_phases calls of qw_thread_pool_for, but the workers are started once and wait for each other
 * in between; on a pool of one thread every phase is a single range. A phase of a single range is
 * run by the thread that finished the phase before it last, while the others wait: it costs no
 * meeting of its own. The item counts may not change during the walk.
 */
void qw_thread_pool_walk(qw_thread_pool *pool, const qw_thread_phase *phases, size_t n_phases);

/**
 * Flush denormal results to zero and read denormal operands as zero in the calling thread (x86
 * MXCSR FTZ and DAZ, aarch64 FPCR.FZ). Returns what qw_fp_mode_leave needs to restore the mode.
 */
uint64_t qw_fp_mode_enter(void);
void qw_fp_mode_leave(uint64_t saved);
bool qw_fp_mode_is_on(void);

#endif
