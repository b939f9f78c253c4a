#ifndef QW_BENCH_LOAD_METRICS_H
#define QW_BENCH_LOAD_METRICS_H

#include "bench/load_outcome.h"

// From outcomes to the figures of vLLM's serving benchmark (vllm/benchmarks/serve.py,
// calculate_metrics), formula by formula.

/** The distributions; in the order in which they are printed. */
typedef enum qw_load_metric {
    QW_LOAD_TTFT, /* time to first token */
    QW_LOAD_TPOT, /* time per output token behind the first */
    QW_LOAD_ITL,  /* gaps between events */
    QW_LOAD_E2EL, /* end to end */
    QW_LOAD_N_METRICS,
} qw_load_metric;

/** "ttft", "tpot", "itl", "e2el". */
extern const char *const qw_load_metric_names[QW_LOAD_N_METRICS];
/** False when `name` [len] is none of them. */
bool qw_load_metric_find(qw_load_metric *out, const char *name, size_t len);

enum { QW_LOAD_MAX_PERCENTILES = 32 };

/** Limits in milliseconds that a request must keep to count as good; NaN: none. */
typedef struct qw_load_goodput {
    bool is_on;
    double limits_ms[QW_LOAD_N_METRICS]; /* of ITL never */
} qw_load_goodput;

typedef struct qw_load_metrics_options {
    const double *percentiles; /* [n_percentiles] of 100 */
    size_t n_percentiles;      /* <= QW_LOAD_MAX_PERCENTILES */
    qw_load_goodput goodput;
} qw_load_metrics_options;

/** One distribution, in milliseconds; all 0 when it is empty. */
typedef struct qw_load_distribution {
    size_t n;
    double mean, median, std;
    double percentiles[QW_LOAD_MAX_PERCENTILES];
    double *values; /* [n] seconds, ascending; owned */
} qw_load_distribution;

typedef struct qw_load_metrics {
    double duration_s;
    size_t completed, failed, n_good;
    int64_t total_input, total_output;
    double request_throughput, request_goodput, output_throughput, total_token_throughput;
    double max_output_tokens_per_s; /* events in the fullest second */
    int64_t max_concurrent_requests;
    qw_load_distribution metrics[QW_LOAD_N_METRICS];
} qw_load_metrics;

/**
 * `input_lens` [n]: tokens of each prompt; `output_lens` [n]: generated ones, 0 of a failed
 * request. duration_s: from the first scheduling to the last completion, > 0.
 */
QW_MUST_CHECK qw_status qw_load_metrics_make(qw_load_metrics *out, const qw_load_outcome *outcomes,
                                             const int64_t *input_lens, const int64_t *output_lens,
                                             size_t n, double duration_s,
                                             const qw_load_metrics_options *options, qw_error *err);
void qw_load_metrics_release(qw_load_metrics *m);

#endif
