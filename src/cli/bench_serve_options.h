#ifndef QW_CLI_BENCH_SERVE_OPTIONS_H
#define QW_CLI_BENCH_SERVE_OPTIONS_H

#include "bench/load_report.h"
#include "cli/dataset_args.h"

/** The options of `bench serve` (cli-and-bench.md 7.1), as they were typed. */
typedef struct qw_bench_serve_args {
    const char *backend, *endpoint_type, *base_url, *host, *endpoint;
    int64_t port;
    const char *const *headers;
    size_t n_headers;
    const char *model, *served_model_name, *tokenizer;
    bool skip_tokenizer_init;
    int64_t seed;
    const char *request_rate, *burstiness, *ramp_up_strategy;
    int64_t max_concurrency, ramp_up_start_rps, ramp_up_end_rps, num_warmups;
    double ready_check_timeout_s;
    bool ignore_eos, disable_tqdm, insecure;
    double temperature, top_p, min_p, frequency_penalty, presence_penalty, repetition_penalty;
    int64_t top_k, logprobs;
    qw_opt_json extra_body, chat_template_kwargs;
    const char *percentile_metrics, *metric_percentiles;
    const char *const *goodput;
    size_t n_goodput;
    bool save_result, append_result, save_detailed;
    const char *result_dir, *result_filename, *label, *plot, *request_id_prefix;
    const char *const *metadata;
    size_t n_metadata;
} qw_bench_serve_args;

/** Rows whose offsets are in qw_bench_serve_args. */
const qw_opt *qw_bench_serve_rows(size_t *n_rows);

/** The same, checked and typed. Borrows the texts of the options. */
typedef struct qw_bench_serve_options {
    const qw_bench_serve_args *args;
    const char *backend;
    bool is_chat;
    char *base_url, *url; /* owned: "http://127.0.0.1:8000", and with the endpoint */
    char *id_prefix;      /* owned */
    qw_load_arrivals arrivals;
    double percentiles[QW_LOAD_MAX_PERCENTILES];
    bool selected[QW_LOAD_N_METRICS];
    qw_load_metrics_options metrics;
    qw_dataset_options dataset;
    json_t *extra; /* owned object: sampling parameters, then the extra body */
    bool has_temperature;
    const char **headers; /* owned list of owned texts "Name: value" */
    size_t n_headers;
} qw_bench_serve_options;

/** Check everything that needs no file and no server. Release `out` in any case. */
QW_MUST_CHECK qw_status qw_bench_serve_options_read(qw_bench_serve_options *out,
                                                    const qw_bench_serve_args *args,
                                                    const qw_dataset_args *dataset,
                                                    const qw_opts *opts, qw_error *err);
void qw_bench_serve_options_release(qw_bench_serve_options *o);

#endif
