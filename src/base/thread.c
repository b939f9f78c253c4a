#include "base/thread.h"

#include "base/clock.h"
#include "base/cpus.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#elif !defined(__aarch64__)
#error "the floating-point mode of this processor is not known here"
#endif

#define LINE QW_ALIGNED(128) // two cache lines: processors fetch them in pairs
#define MAX_THREADS 4096
#define DEFAULT_SPIN_US 1000
#define MAX_JOIN_SPIN_US INT64_C(200)

// A counter that one side increments and the other waits on. The wait spins, then sleeps.
//
// No wake-up is lost: the waiter adds itself to n_asleep before the kernel compares `value`, the
// other side increments `value` before it reads n_asleep, all sequentially consistent. So either
// the waiter is seen and woken, or it sees the new value and does not sleep.
typedef struct signal_word {
    atomic_uint value;
    atomic_uint n_asleep;
} signal_word;

// What a thread owns of a parallel-for: chunks first .. first + n - 1.
//
// `taken` counts chunks taken from the front (low half) and from the back (high half); a take is
// one fetch_add, and it was granted if fewer than n had been taken before. The increments are
// totally ordered, so exactly the first n are granted, and those from the front get first,
// first + 1, ... while those from the back get first + n - 1, first + n - 2, ...: no two alike.
typedef struct thread_part {
    LINE atomic_uint_fast64_t taken;
    uint64_t first, n; /* written before anyone takes: by the caller, in a walk by the owner */
} thread_part;
#define FROM_FRONT UINT64_C(1)
#define FROM_BACK (UINT64_C(1) << 32)

typedef struct worker {
    qw_thread_pool *pool;
    pthread_t thread;
    int i_thread;
    int cpu; /* pinned to this one; -1 = not pinned */
} worker;

struct qw_thread_pool {
    int n_threads;
    int n_started;      /* workers to join */
    int caller_cpu;     /* -1: not pinned */
    size_t alloc_size;  /* of this struct and what follows it */
    worker *workers;    /* [n_threads - 1] */
    thread_part *parts; /* [2][n_threads]: a parallel-for uses the first set, a walk both in turn */
    bool is_shuffled;
    uint64_t shuffle_state; /* owner only */
    atomic_bool is_busy;    /* a job is running */
    atomic_int_least64_t spin_ns;

    // The job. Written by the caller before start.value, read by workers after it.
    LINE qw_thread_fn *fn;
    void *ctx;
    bool is_stopping;

    LINE signal_word start; /* value: jobs started */
    LINE signal_word done;  /* value: jobs finished by all workers */
    atomic_int n_working;   /* workers that have not finished this job; with `done`, on its line */

    LINE signal_word meeting; /* value: meetings of walks that are over */
    atomic_int n_missing;     /* threads that have not come to this meeting; on the same line */
};

// ---- floating-point mode ----

#if defined(__x86_64__)
#define FP_MODE_BITS 0x8040u // FTZ (15) and DAZ (6)

uint64_t qw_fp_mode_enter(void)
{
    unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | FP_MODE_BITS);
    return saved;
}

void qw_fp_mode_leave(uint64_t saved)
{
    _mm_setcsr((_mm_getcsr() & ~FP_MODE_BITS) | ((unsigned)saved & FP_MODE_BITS));
}

bool qw_fp_mode_is_on(void)
{
    return (_mm_getcsr() & FP_MODE_BITS) == FP_MODE_BITS;
}
#else
#define FP_MODE_BITS (UINT64_C(1) << 24) // FPCR.FZ

static uint64_t get_fpcr(void)
{
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
}

static void set_fpcr(uint64_t fpcr)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr) : "memory");
}

uint64_t qw_fp_mode_enter(void)
{
    uint64_t saved = get_fpcr();
    set_fpcr(saved | FP_MODE_BITS);
    return saved;
}

void qw_fp_mode_leave(uint64_t saved)
{
    set_fpcr((get_fpcr() & ~FP_MODE_BITS) | (saved & FP_MODE_BITS));
}

bool qw_fp_mode_is_on(void)
{
    return (get_fpcr() & FP_MODE_BITS) != 0;
}
#endif

// ---- waiting ----

static void cpu_relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#else
    __asm__ volatile("yield");
#endif
}

// An error of the futex calls only means that the value has to be looked at again.
static void futex(atomic_uint *word, int op, unsigned value)
{
    (void)syscall(SYS_futex, (void *)word, op, value, NULL, NULL, 0);
}

// Wait until s->value is no longer `old`.
static void signal_wait(signal_word *s, unsigned old, int64_t spin_ns)
{
    if (spin_ns > 0) {
        int64_t until = 0;
        for (unsigned round = 1;; round++) {
            if (atomic_load(&s->value) != old) return;
            cpu_relax();
            // The clock costs as much as several looks at the value.
            if (round % 64 != 0) continue;
            int64_t now = qw_clock_ns();
            if (until == 0) until = now + spin_ns;
            if (now >= until) break;
        }
    }
    while (atomic_load(&s->value) == old) {
        atomic_fetch_add(&s->n_asleep, 1);
        futex(&s->value, FUTEX_WAIT_PRIVATE, old);
        atomic_fetch_sub(&s->n_asleep, 1);
    }
}

static void signal_raise(signal_word *s)
{
    atomic_fetch_add(&s->value, 1);
    if (atomic_load(&s->n_asleep) > 0) futex(&s->value, FUTEX_WAKE_PRIVATE, INT_MAX);
}

// ---- workers ----

static void pin_this_thread(int cpu)
{
    if (cpu < 0 || cpu >= CPU_SETSIZE) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set); // refused: the system places it
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    qw_thread_pool *pool = w->pool;
    char name[16];
    snprintf(name, sizeof name, "qw-compute-%d", w->i_thread);
    (void)pthread_setname_np(pthread_self(), name);
    pin_this_thread(w->cpu);
    (void)qw_fp_mode_enter();
    for (unsigned seen = 0;; seen++) {
        signal_wait(&pool->start, seen, atomic_load(&pool->spin_ns));
        if (pool->is_stopping) return NULL;
        QW_ASSERT(qw_fp_mode_is_on());
        pool->fn(pool->ctx, w->i_thread, pool->n_threads);
        if (atomic_fetch_sub(&pool->n_working, 1) == 1) signal_raise(&pool->done);
    }
}

static void start_workers_on(qw_thread_pool *pool, qw_thread_fn *fn, void *ctx)
{
    pool->fn = fn;
    pool->ctx = ctx;
    atomic_store(&pool->n_working, pool->n_threads - 1);
    signal_raise(&pool->start);
}

// ---- life ----

// Signals belong to the main thread: workers start with all of them blocked.
static qw_status create_workers(qw_thread_pool *pool, qw_error *err)
{
    sigset_t all, saved;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    qw_status st = QW_OK;
    for (int i = 1; i < pool->n_threads && st == QW_OK; i++) {
        worker *w = &pool->workers[i - 1];
        int e = pthread_create(&w->thread, NULL, worker_main, w);
        if (e == 0)
            pool->n_started++;
        else
            st = qw_fail(err, QW_ERR_IO,
                         "cannot start compute thread %d of %d: %s; ask for fewer threads", i + 1,
                         pool->n_threads, strerror(e));
    }
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    return st;
}

static qw_thread_pool *alloc_pool(int n_threads)
{
    size_t n = (size_t)n_threads, parts_at = (sizeof(qw_thread_pool) + 127) / 128 * 128;
    size_t workers_at = parts_at + 2 * n * sizeof(thread_part);
    size_t size = workers_at + n * sizeof(worker); // n <= MAX_THREADS: no overflow
    char *block = qw_mem_map(size, 128);
    if (!block) return NULL;
    qw_thread_pool *pool = (qw_thread_pool *)(void *)block;
    pool->n_threads = n_threads;
    pool->alloc_size = size;
    pool->parts = (thread_part *)(void *)(block + parts_at);
    pool->workers = (worker *)(void *)(block + workers_at);
    return pool;
}

static void place_threads(qw_thread_pool *pool, const qw_cpus *cpus)
{
    size_t n = (size_t)pool->n_threads;
    bool is_pinned = n <= cpus->n;
    bool is_crowded = n > cpus->n || (cpus->quota > 0 && (double)n > cpus->quota);
    pool->caller_cpu = is_pinned ? cpus->ids[0] : -1;
    for (int i = 1; i < pool->n_threads; i++)
        pool->workers[i - 1] =
            (worker){.pool = pool, .i_thread = i, .cpu = is_pinned ? cpus->ids[i] : -1};
    qw_thread_pool_set_spin(pool, is_crowded ? 0 : DEFAULT_SPIN_US);
}

qw_status qw_thread_pool_new(qw_thread_pool **out, int n_threads, qw_error *err)
{
    if (n_threads < 0 || n_threads > MAX_THREADS)
        return qw_fail(err, QW_ERR_USAGE,
                       "cannot compute on %d threads; the number must be between 1 and %d, or 0 "
                       "for one per core",
                       n_threads, MAX_THREADS);
    qw_cpus cpus = {0};
    qw_thread_pool *pool = NULL;
    qw_status st = qw_cpus_detect(&cpus, err);
    if (st != QW_OK) return st;
    if (n_threads == 0) {
        n_threads = qw_cpus_default_threads(&cpus);
        if (n_threads > MAX_THREADS) n_threads = MAX_THREADS;
    }
    pool = alloc_pool(n_threads);
    if (!pool) {
        st = qw_fail(err, QW_ERR_NO_MEMORY, "cannot allocate memory for %d compute threads",
                     n_threads);
        goto out;
    }
    place_threads(pool, &cpus);
    const char *seed = getenv("QWENCH_TEST_SHUFFLE");
    if (seed && *seed) {
        pool->is_shuffled = true;
        pool->shuffle_state = strtoull(seed, NULL, 10);
    }
    st = create_workers(pool, err);
    if (st != QW_OK) goto out;
    *out = pool;
    pool = NULL;
out:
    qw_thread_pool_free(pool);
    qw_cpus_release(&cpus);
    return st;
}

void qw_thread_pool_free(qw_thread_pool *pool)
{
    if (!pool) return;
    pool->is_stopping = true;
    signal_raise(&pool->start);
    for (int i = 0; i < pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
    qw_mem_unmap(pool, pool->alloc_size);
}

int qw_thread_pool_size(const qw_thread_pool *pool)
{
    return pool->n_threads;
}

void qw_thread_pool_set_spin(qw_thread_pool *pool, int64_t spin_us)
{
    if (spin_us < 0) spin_us = 0;
    if (spin_us > INT64_MAX / 2000) spin_us = INT64_MAX / 2000;
    atomic_store(&pool->spin_ns, spin_us * 1000);
}

void qw_thread_pool_pin_caller(const qw_thread_pool *pool)
{
    pin_this_thread(pool->caller_cpu);
}

// ---- jobs ----

static uint64_t enter_job(qw_thread_pool *pool)
{
    bool was_busy = atomic_exchange(&pool->is_busy, true);
    QW_ASSERT(!was_busy); // a job inside a job, or two threads at once
    return qw_fp_mode_enter();
}

static void leave_job(qw_thread_pool *pool, uint64_t fp_mode)
{
    qw_fp_mode_leave(fp_mode);
    atomic_store(&pool->is_busy, false);
}

// How long a thread spins for the others of a job.
static int64_t join_spin_ns(const qw_thread_pool *pool)
{
    int64_t spin_ns = atomic_load(&pool->spin_ns);
    return spin_ns < MAX_JOIN_SPIN_US * 1000 ? spin_ns : MAX_JOIN_SPIN_US * 1000;
}

void qw_thread_pool_run(qw_thread_pool *pool, qw_thread_fn *fn, void *ctx)
{
    uint64_t fp_mode = enter_job(pool);
    unsigned n_done = atomic_load(&pool->done.value);
    if (pool->n_threads > 1) start_workers_on(pool, fn, ctx);
    fn(ctx, 0, pool->n_threads);
    if (pool->n_threads > 1) {
        signal_wait(&pool->done, n_done, join_spin_ns(pool));
    }
    leave_job(pool, fp_mode);
}

typedef struct for_job {
    qw_thread_pool *pool;
    qw_range_fn *fn;
    void *ctx;
    size_t n_items, grain;
    uint64_t n_chunks;
    uint64_t stride, offset; /* chunk number = (ticket * stride + offset) mod n_chunks */
} for_job;

static bool take_chunk(thread_part *part, uint64_t from, uint64_t *ticket)
{
    uint64_t before = atomic_fetch_add(&part->taken, from);
    uint64_t n_front = before & UINT32_MAX, n_back = before >> 32;
    if (n_front + n_back >= part->n) return false;
    *ticket = from == FROM_FRONT ? part->first + n_front : part->first + part->n - 1 - n_back;
    return true;
}

static void do_chunk(const for_job *job, uint64_t ticket, int i_thread)
{
    uint64_t chunk = (ticket * job->stride + job->offset) % job->n_chunks;
    size_t begin = (size_t)chunk * job->grain;
    size_t left = job->n_items - begin;
    job->fn(job->ctx, begin, begin + (left < job->grain ? left : job->grain), i_thread);
}

// Take chunks until there are none: first one's own, then those of the threads after it.
static void do_chunks(const for_job *job, thread_part *parts, int i_thread, int n_threads)
{
    uint64_t ticket;
    while (take_chunk(&parts[i_thread], FROM_FRONT, &ticket)) do_chunk(job, ticket, i_thread);
    for (int i = 1; i < n_threads; i++) {
        thread_part *victim = &parts[(i_thread + i) % n_threads];
        while (take_chunk(victim, FROM_BACK, &ticket)) do_chunk(job, ticket, i_thread);
    }
}

static void for_on_thread(void *ctx, int i_thread, int n_threads)
{
    const for_job *job = ctx;
    do_chunks(job, job->pool->parts, i_thread, n_threads);
}

// The next number of a splitmix64 stream.
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// A stride without a common divisor with n_chunks visits every chunk once.
static void shuffle_chunks(for_job *job, uint64_t *state)
{
    job->offset = next_random(state) % job->n_chunks;
    job->stride = 1 + next_random(state) % job->n_chunks;
    while (greatest_common_divisor(job->stride, job->n_chunks) != 1) job->stride++;
}

static for_job make_job(qw_thread_pool *pool, size_t n_items, size_t grain, qw_range_fn *fn,
                        void *ctx)
{
    QW_ASSERT(grain > 0);
    for_job job = {.pool = pool, .fn = fn, .ctx = ctx, .n_items = n_items, .grain = grain};
    job.stride = 1;
    job.n_chunks = n_items / grain + (n_items % grain != 0);
    // Both counters of a part must fit 32 bits, however often threads ask in vain.
    QW_ASSERT(job.n_chunks <= UINT32_MAX / 2);
    return job;
}

static void give_part(thread_part *part, uint64_t n_chunks, int i_thread, int n_threads)
{
    uint64_t i = (uint64_t)i_thread, n = (uint64_t)n_threads;
    part->first = i * n_chunks / n;
    part->n = (i + 1) * n_chunks / n - part->first;
    // Relaxed: the others read it only after they have seen start.value or meeting.value change.
    atomic_store_explicit(&part->taken, 0, memory_order_relaxed);
}

void qw_thread_pool_for(qw_thread_pool *pool, size_t n_items, size_t grain, qw_range_fn *fn,
                        void *ctx)
{
    for_job job = make_job(pool, n_items, grain, fn, ctx);
    if (n_items == 0) return;
    if (job.n_chunks == 1) { // not worth waking anyone
        uint64_t fp_mode = enter_job(pool);
        fn(ctx, 0, n_items, 0);
        leave_job(pool, fp_mode);
        return;
    }
    if (pool->is_shuffled) shuffle_chunks(&job, &pool->shuffle_state);
    for (int i = 0; i < pool->n_threads; i++)
        give_part(&pool->parts[i], job.n_chunks, i, pool->n_threads);
    qw_thread_pool_run(pool, for_on_thread, &job);
}

// ---- walks ----
//
// A thread walks over the phases on its own. Before a phase of several ranges it has made its part
// of that phase in one of the two sets, and met the others; then it takes ranges. While phase i is
// worked on in one set, everybody has left the phase before it (they have met since), so the other
// set is free: each thread makes its part of phase i + 1 there, and then comes to the meeting.
// Whoever comes last runs the single-range phases in between before it lets the others go.

typedef struct walk_job {
    qw_thread_pool *pool;
    const qw_thread_phase *phases;
    size_t n_phases;
    uint64_t shuffle; /* every thread shuffles a phase in the same way */
} walk_job;

static for_job phase_job(const walk_job *walk, const qw_thread_phase *phase)
{
    return make_job(walk->pool, *phase->n_items, phase->grain, phase->fn, phase->ctx);
}

// The first phase from `i` on that takes more than one thread; n_phases when there is none.
static size_t next_wide(const walk_job *walk, size_t i)
{
    while (i < walk->n_phases && *walk->phases[i].n_items <= walk->phases[i].grain) i++;
    return i;
}

static void run_narrow(const walk_job *walk, size_t begin, size_t end, int i_thread)
{
    for (size_t i = begin; i < end; i++) {
        const qw_thread_phase *phase = &walk->phases[i];
        if (*phase->n_items > 0) phase->fn(phase->ctx, 0, *phase->n_items, i_thread);
    }
}

// Between wide phases. Nobody waits behind the last one: the end of the job is waited for anyway.
static void meet(const walk_job *walk, size_t begin, size_t end, int i_thread)
{
    qw_thread_pool *pool = walk->pool;
    unsigned n_met = atomic_load(&pool->meeting.value);
    bool is_last = atomic_fetch_sub(&pool->n_missing, 1) == 1;
    if (is_last) run_narrow(walk, begin, end, i_thread);
    if (end == walk->n_phases) return;
    if (is_last) {
        atomic_store(&pool->n_missing, pool->n_threads);
        signal_raise(&pool->meeting);
    } else {
        signal_wait(&pool->meeting, n_met, join_spin_ns(pool));
    }
}

static thread_part *part_set(const walk_job *walk, size_t i_wide)
{
    return walk->pool->parts + i_wide % 2 * (size_t)walk->pool->n_threads;
}

static void walk_on_thread(void *ctx, int i_thread, int n_threads)
{
    const walk_job *walk = ctx;
    size_t n_wide = 0, phase = next_wide(walk, 0);
    while (phase < walk->n_phases) {
        for_job job = phase_job(walk, &walk->phases[phase]);
        uint64_t shuffle = walk->shuffle + phase;
        if (walk->pool->is_shuffled) shuffle_chunks(&job, &shuffle);
        size_t next = next_wide(walk, phase + 1);
        if (next < walk->n_phases) {
            give_part(&part_set(walk, n_wide + 1)[i_thread],
                      phase_job(walk, &walk->phases[next]).n_chunks, i_thread, n_threads);
        }
        do_chunks(&job, part_set(walk, n_wide), i_thread, n_threads);
        meet(walk, phase + 1, next, i_thread);
        phase = next;
        n_wide++;
    }
}

static void walk_alone(qw_thread_pool *pool, const qw_thread_phase *phases, size_t n_phases)
{
    uint64_t fp_mode = enter_job(pool);
    run_narrow(&(walk_job){.phases = phases}, 0, n_phases, 0);
    leave_job(pool, fp_mode);
}

void qw_thread_pool_walk(qw_thread_pool *pool, const qw_thread_phase *phases, size_t n_phases)
{
    if (pool->n_threads == 1 && !pool->is_shuffled) {
        walk_alone(pool, phases, n_phases);
        return;
    }
    walk_job walk = {pool, phases, n_phases, 0};
    if (pool->is_shuffled) walk.shuffle = next_random(&pool->shuffle_state);
    size_t first = next_wide(&walk, 0);
    walk_alone(pool, phases, first);
    if (first == n_phases) return;
    uint64_t n_chunks = phase_job(&walk, &phases[first]).n_chunks;
    for (int i = 0; i < pool->n_threads; i++)
        give_part(&pool->parts[i], n_chunks, i, pool->n_threads);
    atomic_store(&pool->n_missing, pool->n_threads);
    qw_thread_pool_run(pool, walk_on_thread, &walk);
}
