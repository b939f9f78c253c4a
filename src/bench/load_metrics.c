#include "bench/load_metrics.h"

#include <math.h>

#include "base/mem.h"
#include "bench/stats.h"

const char *const qw_load_metric_names[QW_LOAD_N_METRICS] = {"ttft", "tpot", "itl", "e2el"};

bool qw_load_metric_find(qw_load_metric *out, const char *name, size_t len)
{
    for (int i = 0; i < QW_LOAD_N_METRICS; i++) {
        if (strlen(qw_load_metric_names[i]) != len ||
            memcmp(qw_load_metric_names[i], name, len) != 0)
            continue;
        *out = (qw_load_metric)i;
        return true;
    }
    return false;
}

// Distributions

static qw_status reserve(qw_load_distribution *d, size_t n, qw_error *err)
{
    d->values = qw_mem_array(n ? n : 1, sizeof *d->values);
    return d->values ? QW_OK : qw_fail_memory(err, n * sizeof *d->values, "the measurements");
}

static void push(qw_load_distribution *d, double value)
{
    d->values[d->n++] = value;
}

// numpy's mean, std (of the population) and percentile (linear).
static void summarize(qw_load_distribution *d, const qw_load_metrics_options *o)
{
    if (d->n == 0) return;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < d->n; i++) sum += d->values[i];
    double mean = sum / (double)d->n;
    for (size_t i = 0; i < d->n; i++) squares += (d->values[i] - mean) * (d->values[i] - mean);
    d->mean = mean * 1000;
    d->std = sqrt(squares / (double)d->n) * 1000;
    d->median = qw_stats_median(d->values, d->n) * 1000; // sorts
    for (size_t i = 0; i < o->n_percentiles; i++)
        d->percentiles[i] = qw_stats_percentile(d->values, d->n, o->percentiles[i] / 100) * 1000;
}

static qw_status reserve_all(qw_load_metrics *m, const qw_load_outcome *outcomes, size_t n,
                             qw_error *err)
{
    size_t n_gaps = 0;
    for (size_t i = 0; i < n; i++)
        if (outcomes[i].is_ok) n_gaps += outcomes[i].n_itls;
    qw_status st = QW_OK;
    for (int k = 0; k < QW_LOAD_N_METRICS && st == QW_OK; k++)
        st = reserve(&m->metrics[k], k == QW_LOAD_ITL ? n_gaps : n, err);
    return st;
}

static bool is_good(const qw_load_goodput *g, double ttft, double tpot, double e2el)
{
    const double values[QW_LOAD_N_METRICS] = {
        [QW_LOAD_TTFT] = ttft, [QW_LOAD_TPOT] = tpot, [QW_LOAD_E2EL] = e2el};
    for (int k = 0; k < QW_LOAD_N_METRICS; k++)
        if (!isnan(g->limits_ms[k]) && values[k] > g->limits_ms[k] / 1000) return false;
    return true;
}

static void add_outcome(qw_load_metrics *m, const qw_load_outcome *o, int64_t input_len,
                        int64_t output_len, const qw_load_goodput *goodput)
{
    double tpot = 0; // of one token there is none; for goodput it counts as kept
    if (output_len > 1) {
        tpot = (o->latency_s - o->ttft_s) / (double)(output_len - 1);
        push(&m->metrics[QW_LOAD_TPOT], tpot);
    }
    push(&m->metrics[QW_LOAD_TTFT], o->ttft_s);
    push(&m->metrics[QW_LOAD_E2EL], o->latency_s);
    for (size_t i = 0; i < o->n_itls; i++) push(&m->metrics[QW_LOAD_ITL], o->itls[i]);
    m->completed++;
    m->total_input += input_len;
    m->total_output += output_len;
    if (goodput->is_on && is_good(goodput, o->ttft_s, tpot, o->latency_s)) m->n_good++;
}

// Peaks: seconds counted from the earliest start

static void count_events(double *events, size_t n_seconds, const qw_load_outcome *o, double start)
{
    double at = o->start_s + o->ttft_s;
    for (size_t i = 0; i <= o->n_itls; i++) {
        size_t second = (size_t)(at - start);
        if (second < n_seconds) events[second]++;
        if (i < o->n_itls) at += o->itls[i];
    }
}

static qw_status find_peaks(qw_load_metrics *m, const qw_load_outcome *outcomes, size_t n,
                            qw_error *err)
{
    if (m->completed == 0) return QW_OK;
    double start = INFINITY, end = 0;
    for (size_t i = 0; i < n; i++) {
        if (!outcomes[i].is_ok) continue;
        start = fmin(start, outcomes[i].start_s);
        end = fmax(end, outcomes[i].start_s + outcomes[i].latency_s);
    }
    size_t n_seconds = (size_t)ceil(end - start) + 1;
    double *events = qw_mem_calloc(n_seconds, sizeof *events);
    int64_t *alive = qw_mem_calloc(n_seconds + 1, sizeof *alive); // differences, summed below
    qw_status st =
        events && alive ? QW_OK : qw_fail_memory(err, n_seconds * sizeof *events, "the peaks");
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        const qw_load_outcome *o = &outcomes[i];
        if (!o->is_ok) continue;
        count_events(events, n_seconds, o, start);
        alive[(size_t)(o->start_s - start)]++;
        alive[(size_t)(o->start_s + o->latency_s - start) + 1]--;
    }
    int64_t n_alive = 0;
    for (size_t i = 0; i < n_seconds && st == QW_OK; i++) {
        n_alive += alive[i];
        if (n_alive > m->max_concurrent_requests) m->max_concurrent_requests = n_alive;
        m->max_output_tokens_per_s = fmax(m->max_output_tokens_per_s, events[i]);
    }
    qw_mem_free(events);
    qw_mem_free(alive);
    return st;
}

qw_status qw_load_metrics_make(qw_load_metrics *out, const qw_load_outcome *outcomes,
                               const int64_t *input_lens, const int64_t *output_lens, size_t n,
                               double duration_s, const qw_load_metrics_options *options,
                               qw_error *err)
{
    QW_ASSERT(options->n_percentiles <= QW_LOAD_MAX_PERCENTILES && duration_s > 0);
    qw_load_metrics m = {.duration_s = duration_s};
    qw_status st = reserve_all(&m, outcomes, n, err);
    for (size_t i = 0; i < n && st == QW_OK; i++)
        if (outcomes[i].is_ok)
            add_outcome(&m, &outcomes[i], input_lens[i], output_lens[i], &options->goodput);
    m.failed = n - m.completed;
    m.request_throughput = (double)m.completed / duration_s;
    m.request_goodput = (double)m.n_good / duration_s;
    m.output_throughput = (double)m.total_output / duration_s;
    m.total_token_throughput = (double)(m.total_input + m.total_output) / duration_s;
    if (st == QW_OK) st = find_peaks(&m, outcomes, n, err);
    for (int k = 0; k < QW_LOAD_N_METRICS && st == QW_OK; k++) summarize(&m.metrics[k], options);
    if (st == QW_OK)
        *out = m;
    else
        qw_load_metrics_release(&m);
    return st;
}

void qw_load_metrics_release(qw_load_metrics *m)
{
    for (int k = 0; k < QW_LOAD_N_METRICS; k++) qw_mem_free(m->metrics[k].values);
    *m = (qw_load_metrics){0};
}
