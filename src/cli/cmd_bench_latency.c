// qwench bench latency: how long one batch takes in this process, as `vllm bench latency` tells it.

#include <math.h>

#include "base/mem.h"
#include "bench/draws.h"
#include "bench/offline_batch.h"
#include "bench/stats.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/offline.h"

typedef struct latency_options {
    int64_t input_len, output_len, batch_size, n, num_iters_warmup, num_iters;
    bool disable_detokenize;
    const char *output_json;
} latency_options;

#define FIELD(x) offsetof(latency_options, x)
#define GROUP "Benchmark"

static const qw_opt rows[] = {
    {"input_len", QW_OPT_INT, FIELD(input_len), .def = "32", .min = 1, .max = 1 << 20,
     .group = GROUP, .help = "tokens of each prompt"},
    {"output_len", QW_OPT_INT, FIELD(output_len), .def = "128", .min = 1, .max = 1 << 20,
     .group = GROUP, .help = "tokens generated for each"},
    {"batch_size", QW_OPT_INT, FIELD(batch_size), .def = "8", .min = 1, .max = 1 << 16,
     .group = GROUP, .help = "prompts"},
    {"n", QW_OPT_INT, FIELD(n), .def = "1", .min = 1, .max = 16384, .group = GROUP,
     .help = "answers of each prompt"},
    {"num_iters_warmup", QW_OPT_INT, FIELD(num_iters_warmup), .def = "10", .min = 0, .max = 1 << 20,
     .group = GROUP, .help = "batches that are not measured"},
    {"num_iters", QW_OPT_INT, FIELD(num_iters), .def = "30", .min = 1, .max = 1 << 20,
     .group = GROUP, .help = "batches that are"},
    {"output_json", QW_OPT_STR, FIELD(output_json), .group = GROUP, .metavar = "FILE",
     .help = "write the results to this file"},
    {"disable_detokenize", QW_OPT_FLAG, FIELD(disable_detokenize), .group = GROUP,
     .help = "leave answers as ids"},
    {"profile", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = GROUP, .effect = QW_OPT_WARNED,
     .why = "perf and QWENCH_LOG profile here"},
    {"use_beam_search", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = GROUP, .effect = QW_OPT_REFUSED,
     .why = "answers are sampled"},
};

static const double percentiles[] = {10, 25, 50, 75, 90, 99};

/** The prompts of a batch: ids of their own. */
typedef struct latency_batch {
    int32_t *ids;
    qw_offline_prompt *prompts;
    size_t n;
} latency_batch;

static qw_status make_batch(latency_batch *b, const latency_options *o, int64_t seed,
                            int32_t vocab_size, qw_error *err)
{
    enum { N_IDS = 10000 };
    size_t n_ids;
    b->n = (size_t)o->batch_size;
    if (!qw_mul_size(&n_ids, b->n, (size_t)o->input_len))
        return qw_fail_memory(err, SIZE_MAX, "the prompts");
    b->ids = qw_mem_array(n_ids, sizeof *b->ids);
    b->prompts = qw_mem_array(b->n, sizeof *b->prompts);
    if (!b->ids || !b->prompts) return qw_fail_memory(err, n_ids * sizeof *b->ids, "the prompts");
    qw_draws draws;
    qw_draws_init(&draws, (uint64_t)seed, 0);
    int32_t last = (vocab_size < N_IDS ? vocab_size : N_IDS) - 1;
    for (size_t i = 0; i < n_ids; i++) b->ids[i] = (int32_t)qw_draws_range(&draws, 0, last);
    for (size_t i = 0; i < b->n; i++)
        b->prompts[i] = (qw_offline_prompt){b->ids + i * (size_t)o->input_len, (size_t)o->input_len,
                                            (int32_t)o->output_len};
    return QW_OK;
}

static qw_status check_length(const latency_options *o, const qw_engine *engine, qw_error *err)
{
    int64_t len = qw_engine_plan(engine)->max_model_len;
    if (o->input_len + o->output_len <= len) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE,
                   "Please ensure that max_model_len is greater than the sum of input_len and "
                   "output_len. (%" PRId64 " < %" PRId64 " + %" PRId64 ")",
                   len, o->input_len, o->output_len);
}

static qw_status run_batches(double *seconds, int64_t n, const char *name, qw_offline *f,
                             const latency_batch *b, const latency_options *o, qw_error *err)
{
    const qw_offline_options options = {.n = (int32_t)o->n,
                                        .temperature = 1,
                                        .tokenizer =
                                            o->disable_detokenize ? NULL : f->frontend.tokenizer};
    qw_status st = QW_OK;
    for (int64_t i = 0; i < n && st == QW_OK; i++) {
        qw_offline_result result = {0};
        st = qw_offline_batch_run(&result, f->engine, b->prompts, b->n, &options, err);
        if (seconds) seconds[i] = result.seconds;
        if (st == QW_OK) qw_offline_progress(name, (size_t)i + 1, (size_t)n);
    }
    return st;
}

// JSON as Python writes it with indent=4.
static qw_status write_json(const char *path, double mean, const double *latencies,
                            const double *sorted, size_t n, qw_error *err)
{
    qw_buf out;
    char number[32];
    qw_buf_init(&out, (size_t)1 << 28);
    (void)qw_str_from_f64(number, mean);
    qw_buf_printf(&out, "{\n    \"avg_latency\": %s,\n    \"latencies\": [", number);
    for (size_t i = 0; i < n; i++) {
        (void)qw_str_from_f64(number, latencies[i]);
        qw_buf_printf(&out, "%s\n        %s", i ? "," : "", number);
    }
    qw_buf_puts(&out, "\n    ],\n    \"percentiles\": {");
    for (size_t i = 0; i < QW_ARRAY_LEN(percentiles); i++) {
        (void)qw_str_from_f64(number, qw_stats_percentile(sorted, n, percentiles[i] / 100));
        qw_buf_printf(&out, "%s\n        \"%.0f\": %s", i ? "," : "", percentiles[i], number);
    }
    qw_buf_puts(&out, "\n    }\n}");
    qw_status st = qw_offline_write(path, &out, err);
    qw_buf_release(&out);
    return st;
}

static qw_status report(const double *latencies, const latency_options *o, qw_error *err)
{
    size_t n = (size_t)o->num_iters;
    double sum = 0, *sorted = qw_mem_array(n, sizeof *sorted);
    if (!sorted) return qw_fail_memory(err, n * sizeof *sorted, "the results");
    memcpy(sorted, latencies, n * sizeof *sorted);
    for (size_t i = 0; i < n; i++) sum += latencies[i];
    (void)qw_stats_summarize(sorted, n); // sorts
    char number[32];
    (void)qw_str_from_f64(number, sum / (double)n);
    printf("Avg latency: %s seconds\n", number);
    for (size_t i = 0; i < QW_ARRAY_LEN(percentiles); i++) {
        (void)qw_str_from_f64(number, qw_stats_percentile(sorted, n, percentiles[i] / 100));
        printf("%.0f%% percentile latency: %s seconds\n", percentiles[i], number);
    }
    qw_status st = QW_OK;
    if (o->output_json) st = write_json(o->output_json, sum / (double)n, latencies, sorted, n, err);
    qw_mem_free(sorted);
    return st;
}

static qw_status bench_latency(const latency_options *o, qw_serve_options *serve, qw_error *err)
{
    // The same prompts come again and again: a cache would answer them.
    if (qw_opts_get(&serve->opts, "enable-prefix-caching")->source <= QW_OPT_FROM_DEFAULT)
        serve->enable_prefix_caching = false;
    qw_offline f;
    latency_batch batch = {0};
    double *latencies = qw_mem_calloc((size_t)o->num_iters, sizeof *latencies);
    qw_status st = qw_offline_open(&f, serve, err);
    if (st == QW_OK && !latencies) st = qw_fail_memory(err, 0, "the results");
    if (st == QW_OK) st = check_length(o, f.engine, err);
    if (st == QW_OK)
        st = make_batch(&batch, o, serve->seed, qw_engine_config(f.engine)->vocab_size, err);
    if (st == QW_OK) {
        puts("Warming up...");
        fflush(stdout);
        st = run_batches(NULL, o->num_iters_warmup, "Warmup iterations", &f, &batch, o, err);
    }
    if (st == QW_OK)
        st = run_batches(latencies, o->num_iters, "Bench iterations", &f, &batch, o, err);
    if (st == QW_OK) st = report(latencies, o, err);
    qw_offline_close(&f);
    qw_mem_free(batch.ids);
    qw_mem_free(batch.prompts);
    qw_mem_free(latencies);
    return st;
}

static qw_serve_offline offline_of(latency_options *o)
{
    return (qw_serve_offline){.summary = qw_cmd_bench_latency.summary,
                              .tables = {{.rows = rows, .n_rows = QW_ARRAY_LEN(rows), .target = o}},
                              .n_tables = 1};
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    const qw_serve_offline offline = offline_of(NULL);
    return qw_serve_offline_tables(out, &offline);
}

static int cmd_bench_latency(const qw_command_call *call)
{
    latency_options options = {0};
    const qw_serve_offline offline = offline_of(&options);
    qw_serve_options serve;
    int status;
    if (!qw_serve_offline_read(&serve, &offline, call, &status)) return status;
    qw_error err;
    qw_status st = bench_latency(&options, &serve, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_serve_options_release(&serve);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench bench latency --model ~/models/Qwen3-0.6B --batch-size 1 --input-len 512",
     "one prompt of 512 tokens and 128 more"},
    {0},
};

const qw_command qw_cmd_bench_latency = {
    .name = "latency",
    .help = "seconds of one batch, in process",
    .summary = "Measures how long a batch of prompts takes, without a server.",
    .description =
        "Options, output and JSON are those of vllm bench latency: the same batch of random ids "
        "again and again, temperature 1, the end ignored. The engine takes the options of serve; "
        "prefix caching is off unless it is asked for.",
    .examples = examples,
    .run = cmd_bench_latency,
    .tables = tables,
};
