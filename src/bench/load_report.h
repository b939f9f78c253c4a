#ifndef QW_BENCH_LOAD_REPORT_H
#define QW_BENCH_LOAD_REPORT_H

#include "bench/load_arrivals.h"
#include "bench/load_metrics.h"
#include "bench/load_spec.h"
#include "format/json.h"

/** A moment of a ramp at which the rate reached the next whole number. */
typedef struct qw_load_rps_change {
    int64_t rps;
    char timestamp[40]; /* ISO 8601, local time */
} qw_load_rps_change;

/** A finished run of `bench serve`. All borrowed. */
typedef struct qw_load_report {
    qw_load_metrics metrics;
    qw_load_metrics_options options;
    bool selected[QW_LOAD_N_METRICS]; /* --percentile-metrics */
    const qw_load_outcome *outcomes;  /* [n] in the order of the prompts */
    const int64_t *input_lens, *output_lens;
    size_t n;
    const qw_load_rps_change *rps_changes;
    size_t n_rps_changes;
    bool has_spec; /* the server decodes speculatively */
    qw_load_spec_stats spec;

    /* What was asked for */
    qw_load_arrivals arrivals;
    int64_t max_concurrency;                               /* 0: none */
    bool counts_tokens;                                    /* there is a tokenizer */
    const char *date;                                      /* "20260607-120000" */
    const char *backend, *label, *model_id, *tokenizer_id; /* label: may be NULL */
    int64_t num_prompts;
    const char *const *metadata; /* [n_metadata] "KEY=VALUE" */
    size_t n_metadata;
} qw_load_report;

/** "P99", "P99.9": how a percentile is called; in lower case in the file. */
void qw_load_percentile_name(char out[40], double percentile);

/** Append the list of failures, if there are any, a line of advice, and the table. */
void qw_load_report_print(const qw_load_report *r, qw_buf *out);

/** Append the result as one JSON object; `detailed` with the values of every request. */
void qw_load_report_write(const qw_load_report *r, bool detailed, qw_buf *out);

#endif
