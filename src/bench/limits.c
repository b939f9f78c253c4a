#include "bench/limits.h"

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "bench/limit_loops.h"
#include "bench/machine.h"

#define SLICE_NS INT64_C(25000000)

enum {
    CHUNK = 1 << 20,     /* bytes of a work item of the read loop */
    ROUNDS = 10000,      /* of a work item of the compute loops */
    ITEMS = 64,          /* work items per thread and pass of the compute loops */
    SPIN_ROUNDS = 40000, /* of 64 nops */
    HANDOVERS = 400,     /* there and back */
    POOL_SPIN_US = 200,  /* between the passes of a slice the workers stay awake */
    SETTLE_NS = 1500000, /* longer than any pool of this program spins when it is idle */
    MIN_BUFFER = 128 << 20,
    HUGE_PAGE = 2 << 20,
};

// The buffer

size_t qw_bench_buffer_size(size_t last_cache, size_t memory)
{
    size_t size = 8 * last_cache;
    if (size < MIN_BUFFER) size = MIN_BUFFER;
    if (size > memory / 4) size = memory / 4;
    return (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

// Four 16-bit halves that are each +-(0.0078 .. 0.03) as BF16, near +-1 as F16; as F32 the upper
// half decides.
static uint64_t ordinary_numbers(uint64_t random)
{
    const uint64_t sign_and_fraction = UINT64_C(0x80FF80FF80FF80FF);
    return (random & sign_and_fraction) | UINT64_C(0x3C003C003C003C00);
}

qw_status qw_bench_buffer_init(qw_bench_buffer *out, size_t size, qw_error *err)
{
    uint8_t *data = qw_mem_map(size, HUGE_PAGE);
    if (!data) return qw_fail_memory(err, size, "the benchmark's buffer");
    uint64_t *words = (uint64_t *)(void *)data, state = 1;
    for (size_t i = 0; i < size / sizeof *words; i++) {
        state ^= state << 13; // xorshift64
        state ^= state >> 7;
        state ^= state << 17;
        words[i] = ordinary_numbers(state);
    }
    *out = (qw_bench_buffer){data, size};
    return QW_OK;
}

void qw_bench_buffer_release(qw_bench_buffer *b)
{
    qw_mem_unmap(b->data, b->size);
    *b = (qw_bench_buffer){0};
}

// The meter

// What threads write while others look on, each on its own pair of cache lines.
typedef struct spin_result {
    QW_ALIGNED(128) double nops_per_ns;
} spin_result;

struct qw_limit_meter {
    const qw_limit_loops *loops;
    qw_thread_pool *pool;
    int n_threads;
    qw_bench_buffer buffer;
    QW_ALIGNED(128) atomic_int turn; /* of the handover: counts hand-overs, -1 before the first */
    QW_ALIGNED(128) double handover_ns;
    spin_result spins[];
};

qw_status qw_limit_meter_new(qw_limit_meter **out, const char *isa, int n_threads,
                             const qw_bench_buffer *buffer, qw_error *err)
{
    qw_thread_pool *pool;
    qw_status st = qw_thread_pool_new(&pool, n_threads, err);
    if (st != QW_OK) return st;
    n_threads = qw_thread_pool_size(pool);
    size_t size = sizeof(qw_limit_meter) + (size_t)n_threads * sizeof(spin_result);
    qw_limit_meter *m = qw_mem_map(size, 4096);
    if (!m) {
        qw_thread_pool_free(pool);
        return qw_fail_memory(err, size, "the limit meter");
    }
    m->loops = qw_limit_loops_select(isa);
    m->pool = pool;
    m->n_threads = n_threads;
    m->buffer = *buffer;
    qw_thread_pool_set_spin(pool, POOL_SPIN_US);
    *out = m;
    return QW_OK;
}

void qw_limit_meter_free(qw_limit_meter *m)
{
    if (!m) return;
    qw_thread_pool_free(m->pool);
    qw_mem_unmap(m, sizeof *m + (size_t)m->n_threads * sizeof(spin_result));
}

void qw_limit_meter_pin_caller(const qw_limit_meter *m)
{
    qw_thread_pool_pin_caller(m->pool);
}

int qw_limit_meter_threads(const qw_limit_meter *m)
{
    return m->n_threads;
}

bool qw_limit_meter_has(const qw_limit_meter *m, qw_limit_kind kind)
{
    switch (kind) {
    case QW_LIMIT_BF16: return m->loops->bf16 != NULL;
    case QW_LIMIT_INT8: return m->loops->int8 != NULL;
    case QW_LIMIT_INT4: return m->loops->int4 != NULL;
    default: return true;
    }
}

// Probes

static void spin(void *ctx, int i_thread, int n_threads)
{
    (void)n_threads;
    qw_limit_meter *m = ctx;
    int64_t start = qw_clock_ns();
    for (int i = 0; i < SPIN_ROUNDS; i++) __asm__ volatile(".rept 64\n\tnop\n\t.endr");
    double ns = (double)(qw_clock_ns() - start);
    m->spins[i_thread].nops_per_ns = 64.0 * SPIN_ROUNDS / ns;
}

// Threads 0 and 1 pass `turn` back and forth: even values are thread 0's to increment.
static void hand_over(void *ctx, int i_thread, int n_threads)
{
    (void)n_threads;
    qw_limit_meter *m = ctx;
    if (i_thread > 1) return;
    if (i_thread == 1) atomic_store(&m->turn, 0); // here we are: the clock may start
    while (atomic_load(&m->turn) < 0) {
    }
    int64_t start = qw_clock_ns();
    for (int i = i_thread; i < 2 * HANDOVERS; i += 2) {
        while (atomic_load_explicit(&m->turn, memory_order_acquire) != i) {
        }
        atomic_store_explicit(&m->turn, i + 1, memory_order_release);
    }
    if (i_thread == 1) m->handover_ns = (double)(qw_clock_ns() - start) / (2 * HANDOVERS);
}

qw_probe qw_limit_meter_probe(qw_limit_meter *m)
{
    const struct timespec settle = {.tv_nsec = SETTLE_NS};
    (void)nanosleep(&settle, NULL);
    qw_thread_pool_run(m->pool, spin, m);
    qw_probe p = {.spin = m->spins[0].nops_per_ns};
    for (int i = 1; i < m->n_threads; i++)
        if (m->spins[i].nops_per_ns < p.spin) p.spin = m->spins[i].nops_per_ns;
    if (m->n_threads > 1) {
        atomic_store(&m->turn, -1);
        qw_thread_pool_run(m->pool, hand_over, m);
        p.handover_ns = m->handover_ns;
    }
    p.steal = qw_machine_steal();
    p.at_ns = qw_clock_ns();
    return p;
}

// Limits

static void read_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const qw_limit_meter *m = ctx;
    m->loops->read(m->buffer.data + begin * CHUNK, (end - begin) * CHUNK);
}

static void fma_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const qw_limit_meter *m = ctx;
    m->loops->fma((end - begin) * ROUNDS);
}

static void bf16_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const qw_limit_meter *m = ctx;
    m->loops->bf16((end - begin) * ROUNDS);
}

static void int8_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const qw_limit_meter *m = ctx;
    m->loops->int8((end - begin) * ROUNDS);
}

static void int4_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const qw_limit_meter *m = ctx;
    m->loops->int4((end - begin) * ROUNDS);
}

static void wake(void *ctx, int i_thread, int n_threads)
{
    (void)ctx, (void)i_thread, (void)n_threads;
}

// Passes until the slice is long enough; the work is handed out as to kernels, stealing included.
static double measure(qw_limit_meter *m, size_t n_items, qw_range_fn *items, double per_pass)
{
    qw_thread_pool_run(m->pool, wake, NULL);
    int64_t start = qw_clock_ns(), now;
    double amount = 0;
    do {
        qw_thread_pool_for(m->pool, n_items, 1, items, m);
        amount += per_pass;
        now = qw_clock_ns();
    } while (now - start < SLICE_NS);
    return amount / ((double)(now - start) * 1e-9);
}

double qw_limit_meter_measure(qw_limit_meter *m, qw_limit_kind kind)
{
    if (!qw_limit_meter_has(m, kind)) return 0;
    size_t n = (size_t)m->n_threads * ITEMS;
    double rounds = (double)n * ROUNDS;
    switch (kind) {
    case QW_LIMIT_READ:
        return measure(m, m->buffer.size / CHUNK, read_items, (double)m->buffer.size);
    case QW_LIMIT_FMA: return measure(m, n, fma_items, rounds * m->loops->fma_ops);
    case QW_LIMIT_BF16: return measure(m, n, bf16_items, rounds * m->loops->bf16_ops);
    case QW_LIMIT_INT8: return measure(m, n, int8_items, rounds * m->loops->int8_ops);
    case QW_LIMIT_INT4: return measure(m, n, int4_items, rounds * m->loops->int4_ops);
    case QW_N_LIMITS: break;
    }
    return 0;
}

double qw_limit_meter_barrier_ns(qw_limit_meter *m)
{
    enum { JOBS = 1000 };
    qw_thread_pool_run(m->pool, wake, NULL);
    int64_t start = qw_clock_ns();
    for (int i = 0; i < JOBS; i++) qw_thread_pool_run(m->pool, wake, NULL);
    return (double)(qw_clock_ns() - start) / JOBS;
}

typedef struct cached_job {
    const qw_limit_meter *m;
    size_t size, n_passes;
} cached_job;

static void read_again(void *ctx, int i_thread, int n_threads)
{
    const cached_job *job = ctx;
    size_t part = job->m->buffer.size / (size_t)n_threads / HUGE_PAGE * HUGE_PAGE;
    const uint8_t *data = job->m->buffer.data + (size_t)i_thread * part;
    for (size_t i = 0; i < job->n_passes; i++) job->m->loops->read(data, job->size);
}

double qw_limit_meter_read_cached(qw_limit_meter *m, size_t size)
{
    size -= size % QW_LIMIT_READ_GROUP;
    size_t part = m->buffer.size / (size_t)m->n_threads / HUGE_PAGE * HUGE_PAGE;
    if (size < QW_LIMIT_READ_GROUP) size = QW_LIMIT_READ_GROUP;
    if (size > part) return 0;
    cached_job job = {m, size, ((size_t)64 << 20) / size + 1};
    qw_thread_pool_run(m->pool, read_again, &job); // into the cache
    int64_t start = qw_clock_ns();
    qw_thread_pool_run(m->pool, read_again, &job);
    double s = (double)(qw_clock_ns() - start) * 1e-9;
    return (double)size * (double)job.n_passes * m->n_threads / s;
}
