#include "bench/bench_group.h"

#include <math.h>

#include "base/clock.h"
#include "base/mem.h"

#define SLICE_S 0.03     /* what a short kernel is repeated for */
#define LONG_SLICE_S 0.2 /* a longer one runs fewer rounds ... */
#define LONG_ROW_S 5.0   /* ... so that they take about this long */
#define MIN_LONG_ROUNDS QW_SLICE_MIN_CLEAN

typedef struct qw_bench_recording {
    qw_limit_set kinds;
    double run_count;   /* runs of the kernel in a slice */
    size_t n_rounds, n; /* to do, done */
    qw_sample *samples; /* [n_rounds] */
    char parts[160];    /* where the time of a step went */
} recording;

void qw_bench_group_release(qw_bench_group *g)
{
    for (size_t i = 0; i < g->n_cases; i++) {
        qw_bench_case_release(&g->cases[i]);
        if (g->recordings) qw_mem_free(g->recordings[i].samples);
    }
    qw_mem_free(g->recordings);
    qw_mem_free(g->cases);
    *g = (qw_bench_group){0};
}

qw_status qw_bench_group_add(qw_bench_group *g, qw_bench_case *c, qw_error *err)
{
    QW_ASSERT(!g->recordings);
    if (g->n_cases == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 16;
        qw_bench_case *cases = qw_mem_realloc(g->cases, cap * sizeof *cases);
        if (!cases) {
            qw_bench_case_release(c);
            return qw_fail_memory(err, cap * sizeof *cases, "the rows of the benchmark");
        }
        g->cases = cases;
        g->cap = cap;
    }
    g->cases[g->n_cases++] = *c;
    *c = (qw_bench_case){0};
    return QW_OK;
}

static double time_runs(const qw_bench_case *c, double count)
{
    const uint64_t n = (uint64_t)count;
    int64_t start = qw_clock_ns();
    for (uint64_t i = 0; i < n; i++) c->run(c->ctx);
    return (double)(qw_clock_ns() - start) * 1e-9;
}

// How often a row runs in a slice, and in how many rounds.
static qw_status plan(recording *r, const qw_bench_case *c, const double typical[QW_N_LIMITS],
                      int rounds, qw_error *err)
{
    // The first run also brings code and tables into the caches, and pages into memory.
    double run_s = time_runs(c, 1);
    if (run_s < LONG_SLICE_S) run_s = time_runs(c, 1);
    if (run_s < SLICE_S / 10) run_s = time_runs(c, 10) / 10;
    r->run_count = run_s < SLICE_S ? ceil(SLICE_S / run_s) : 1;
    double slice_s = r->run_count * run_s, n = rounds;
    if (slice_s > LONG_SLICE_S) {
        n = LONG_ROW_S / slice_s;
        if (n < MIN_LONG_ROUNDS) n = MIN_LONG_ROUNDS;
        if (n > rounds) n = rounds;
    }
    r->n_rounds = (size_t)n;
    r->kinds = qw_work_limits(&c->work, typical);
    r->samples = qw_mem_calloc(r->n_rounds + 1, sizeof *r->samples);
    return r->samples ? QW_OK : qw_fail_memory(err, r->n_rounds * sizeof *r->samples, "samples");
}

// The measuring thread's place: the last probe is the start of the next slice.
typedef struct timeline {
    qw_limit_meter *meter;
    qw_probe last;
    double best_spin;
    qw_slice limits[QW_N_LIMITS]; /* measured since the last row; value 0: not */
} timeline;

static qw_slice end_slice(timeline *t, double value)
{
    qw_slice s = {t->last, qw_limit_meter_probe(t->meter), value};
    t->last = s.after;
    if (t->last.spin > t->best_spin) t->best_spin = t->last.spin;
    return s;
}

static void measure_limits(timeline *t, qw_limit_set kinds)
{
    memset(t->limits, 0, sizeof t->limits);
    for (int k = 0; k < QW_N_LIMITS; k++)
        if (kinds & 1u << k) t->limits[k] = end_slice(t, qw_limit_meter_measure(t->meter, k));
}

static void measure_row(timeline *t, const qw_bench_case *c, recording *r, qw_limit_set next)
{
    qw_sample *s = &r->samples[r->n++];
    s->run_count = r->run_count;
    memcpy(s->limits[0], t->limits, sizeof t->limits);
    s->run = end_slice(t, time_runs(c, r->run_count));
    measure_limits(t, r->kinds | next);
    memcpy(s->limits[1], t->limits, sizeof t->limits);
    // A limit that only the neighbour wanted would make half a mean.
    for (int side = 0; side < 2; side++)
        for (int k = 0; k < QW_N_LIMITS; k++)
            if (!(r->kinds & 1u << k)) s->limits[side][k].value = 0;
}

// The next row after `i` that still has rounds to do; n_cases: none in this round.
static size_t next_active(const qw_bench_group *g, size_t i, size_t round)
{
    while (i < g->n_cases && g->recordings[i].n_rounds <= round) i++;
    return i;
}

qw_status qw_bench_group_run(qw_bench_group *g, qw_limit_meter *meter,
                             const double typical[QW_N_LIMITS], int rounds, double *best_spin,
                             qw_error *err)
{
    g->recordings = qw_mem_calloc(g->n_cases + 1, sizeof *g->recordings);
    if (!g->recordings) return qw_fail_memory(err, g->n_cases * sizeof *g->recordings, "samples");
    qw_status st = QW_OK;
    for (size_t i = 0; i < g->n_cases && st == QW_OK; i++)
        st = plan(&g->recordings[i], &g->cases[i], typical, rounds, err);
    if (st != QW_OK) return st;
    timeline t = {.meter = meter, .last = qw_limit_meter_probe(meter), .best_spin = *best_spin};
    for (size_t round = 0; round < (size_t)rounds; round++) {
        size_t i = next_active(g, 0, round);
        if (i < g->n_cases) measure_limits(&t, g->recordings[i].kinds);
        while (i < g->n_cases) {
            size_t next = next_active(g, i + 1, round);
            measure_row(&t, &g->cases[i], &g->recordings[i],
                        next < g->n_cases ? g->recordings[next].kinds : 0);
            i = next;
        }
    }
    *best_spin = t.best_spin;
    for (size_t i = 0; i < g->n_cases; i++) {
        const qw_bench_case *c = &g->cases[i];
        if (c->describe_parts)
            c->describe_parts(c->ctx, g->recordings[i].parts, sizeof g->recordings[i].parts);
        qw_bench_case_release(&g->cases[i]);
    }
    return QW_OK;
}

qw_bench_record qw_bench_group_record(const qw_bench_group *g, size_t i)
{
    const recording *r = &g->recordings[i];
    return (qw_bench_record){.bench_case = &g->cases[i],
                             .kinds = r->kinds,
                             .samples = r->samples,
                             .n_samples = r->n,
                             .parts = r->parts};
}
