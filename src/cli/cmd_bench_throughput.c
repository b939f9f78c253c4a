// qwench bench throughput: many prompts at once in this process, as `vllm bench throughput` does.

#include "base/clock.h"
#include "base/mem.h"
#include "bench/offline_batch.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/dataset_args.h"
#include "cli/offline.h"

typedef struct throughput_options {
    const char *backend, *dataset, *output_json;
    int64_t n, num_warmups;
    bool disable_detokenize;
} throughput_options;

#define FIELD(x) offsetof(throughput_options, x)
#define GROUP "Benchmark"

static const char *const backends[] = {"vllm", "vllm-chat", NULL};

static const qw_opt rows[] = {
    {"backend", QW_OPT_CHOICE, QW_OPT_NO_FIELD, .def = "vllm", .choices = backends, .group = GROUP,
     .help = "vllm-chat: put prompts into the chat template"},
    {"dataset", QW_OPT_STR, FIELD(dataset), .group = GROUP, .metavar = "FILE", .hidden = true,
     .help = "--dataset-path in older releases"},
    {"n", QW_OPT_INT, FIELD(n), .def = "1", .min = 1, .max = 16384, .group = GROUP,
     .help = "answers of each prompt"},
    {"num_warmups", QW_OPT_INT, FIELD(num_warmups), .def = "0", .min = 0, .max = 1 << 20,
     .group = GROUP, .help = "prompts that are answered before and not measured"},
    {"output_json", QW_OPT_STR, FIELD(output_json), .group = GROUP, .metavar = "FILE",
     .help = "write the results to this file"},
    {"disable_detokenize", QW_OPT_FLAG, FIELD(disable_detokenize), .group = GROUP,
     .help = "leave answers as ids"},
    {"async_engine", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = GROUP, .effect = QW_OPT_INERT,
     .why = "there is one engine, and --async-scheduling is on"},
    {"prequeue_requests", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = GROUP, .effect = QW_OPT_INERT,
     .why = "all requests are queued before the first step anyway"},
    {"profile", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = GROUP, .effect = QW_OPT_WARNED,
     .why = "perf and QWENCH_LOG profile here"},
};

/** Everything of a run. */
typedef struct throughput_run {
    const throughput_options *o;
    qw_offline f;
    qw_load_dataset dataset;
    qw_offline_prompt *prompts; /* [dataset.n] */
    qw_ids *ids;                /* [dataset.n], owned */
} throughput_run;

static bool is_given(const qw_opts *opts, const char *name)
{
    return qw_opts_get(opts, name)->source > QW_OPT_FROM_DEFAULT;
}

static qw_status make_dataset(throughput_run *r, qw_dataset_args *args, qw_serve_options *serve,
                              qw_error *err)
{
    if (r->o->dataset && !args->dataset_path) args->dataset_path = r->o->dataset;
    bool is_named = is_given(&serve->opts, "dataset-name");
    if (!is_named && args->dataset_path) args->dataset_name = "sharegpt";
    if (!is_named && !args->dataset_path)
        puts("When dataset path is not set, it will default to random dataset");
    fflush(stdout);
    qw_dataset_options o;
    qw_status st = qw_dataset_args_read(&o, args, &serve->opts, err);
    if (st == QW_OK && o.kind == QW_DATASET_RANDOM_MM)
        st =
            qw_fail(err, QW_ERR_USAGE,
                    "--dataset-name random-mm: the engine takes no pictures here; use bench serve");
    if (st == QW_OK) st = qw_frontend_need_tokenizer(&r->f.frontend, err);
    if (st != QW_OK) return st;
    o.seed = (uint64_t)serve->seed;
    o.tokenizer = r->f.frontend.tokenizer;
    o.chat = r->f.frontend.chat;
    return qw_load_dataset_make(&r->dataset, &o, err);
}

// The text of each prompt in the chat template.
static qw_status apply_template(throughput_run *r, qw_error *err)
{
    if (!r->f.frontend.chat)
        return qw_fail(err, r->f.frontend.no_chat.code, "%s", r->f.frontend.no_chat.text);
    qw_status st = QW_OK;
    for (size_t i = 0; i < r->dataset.n && st == QW_OK; i++) {
        qw_load_request *q = &r->dataset.requests[i];
        json_t *messages =
            json_pack("[{s:s,s:s%}]", "role", "user", "content", q->prompt, q->prompt_size);
        qw_buf text;
        qw_buf_init(&text, (size_t)1 << 28);
        st = messages ? qw_chat_prompt_render(
                            r->f.frontend.chat,
                            &(qw_chat_request){.messages = messages, .add_generation_prompt = true},
                            &text, err)
                      : qw_fail(err, QW_ERR_FORMAT, "a prompt is no valid UTF-8");
        if (st == QW_OK) st = qw_buf_check(&text, "a prompt", err);
        if (st == QW_OK) {
            qw_mem_free(q->prompt);
            q->prompt = qw_buf_take(&text, &q->prompt_size);
        }
        qw_buf_release(&text);
        json_decref(messages);
    }
    return st;
}

// Text to ids is part of what is measured, as in vLLM.
static qw_status tokenize(throughput_run *r, size_t n, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        const qw_load_request *q = &r->dataset.requests[i];
        r->ids[i].len = 0;
        st = qw_tokenizer_encode(r->f.frontend.tokenizer, (qw_str){q->prompt, q->prompt_size}, 0,
                                 &r->ids[i], err);
        r->prompts[i] = (qw_offline_prompt){r->ids[i].data, r->ids[i].len, (int32_t)q->n_output};
    }
    return st;
}

static void show_progress(void *ctx, size_t n_done, size_t n_total)
{
    size_t *shown = ctx;
    if (n_done == *shown) return;
    *shown = n_done;
    qw_offline_progress("Processed prompts", n_done, n_total);
}

static qw_status run_prompts(qw_offline_result *out, throughput_run *r, size_t n, qw_error *err)
{
    size_t n_shown = 0;
    const qw_offline_options options = {
        .n = (int32_t)r->o->n,
        .temperature = 1,
        .tokenizer = r->o->disable_detokenize ? NULL : r->f.frontend.tokenizer,
        .progress = show_progress,
        .progress_ctx = &n_shown};
    int64_t start_ns = qw_clock_ns();
    qw_status st = tokenize(r, n, err);
    double tokenizing_s = (double)(qw_clock_ns() - start_ns) * 1e-9;
    if (st == QW_OK) st = qw_offline_batch_run(out, r->f.engine, r->prompts, n, &options, err);
    if (st == QW_OK) out->seconds += tokenizing_s;
    return st;
}

static qw_status write_json(const char *path, const qw_offline_result *result, size_t n,
                            qw_error *err)
{
    qw_buf out;
    char seconds[32], requests[32], tokens[32];
    int64_t n_tokens = result->n_prompt_tokens + result->n_output_tokens;
    qw_buf_init(&out, 1 << 16);
    (void)qw_str_from_f64(seconds, result->seconds);
    (void)qw_str_from_f64(requests, (double)n / result->seconds);
    (void)qw_str_from_f64(tokens, (double)n_tokens / result->seconds);
    qw_buf_printf(&out,
                  "{\n    \"elapsed_time\": %s,\n    \"num_requests\": %zu,\n"
                  "    \"total_num_tokens\": %" PRId64 ",\n    \"requests_per_second\": %s,\n"
                  "    \"tokens_per_second\": %s\n}",
                  seconds, n, n_tokens, requests, tokens);
    qw_status st = qw_offline_write(path, &out, err);
    qw_buf_release(&out);
    return st;
}

static qw_status report(const throughput_run *r, const qw_offline_result *result, qw_error *err)
{
    double n = (double)r->dataset.n, s = result->seconds;
    int64_t n_tokens = result->n_prompt_tokens + result->n_output_tokens;
    printf("Throughput: %.2f requests/s, %.2f total tokens/s, %.2f output tokens/s\n", n / s,
           (double)n_tokens / s, (double)result->n_output_tokens / s);
    printf("Total num prompt tokens:  %" PRId64 "\n", result->n_prompt_tokens);
    printf("Total num output tokens:  %" PRId64 "\n", result->n_output_tokens);
    if (!r->o->output_json) return QW_OK;
    return write_json(r->o->output_json, result, r->dataset.n, err);
}

static qw_status bench_throughput(throughput_run *r, qw_dataset_args *dataset,
                                  qw_serve_options *serve, qw_error *err)
{
    qw_status st = qw_offline_open(&r->f, serve, err);
    if (st == QW_OK) st = make_dataset(r, dataset, serve, err);
    if (st == QW_OK && qw_opts_get(&serve->opts, "backend")->as.index == 1)
        st = apply_template(r, err);
    if (st != QW_OK) return st;
    size_t n = r->dataset.n, n_warmups = (size_t)r->o->num_warmups;
    r->prompts = qw_mem_calloc(n, sizeof *r->prompts);
    r->ids = qw_mem_calloc(n, sizeof *r->ids);
    if (!r->prompts || !r->ids) return qw_fail_memory(err, n * sizeof *r->prompts, "the prompts");
    qw_offline_result result;
    if (n_warmups > 0) st = run_prompts(&result, r, n_warmups < n ? n_warmups : n, err);
    if (st == QW_OK) st = run_prompts(&result, r, n, err);
    return st == QW_OK ? report(r, &result, err) : st;
}

static void throughput_run_release(throughput_run *r)
{
    qw_offline_close(&r->f);
    for (size_t i = 0; i < r->dataset.n && r->ids; i++) qw_ids_release(&r->ids[i]);
    qw_mem_free(r->ids);
    qw_mem_free(r->prompts);
    qw_load_dataset_release(&r->dataset);
}

static qw_serve_offline offline_of(throughput_options *o, qw_dataset_args *dataset)
{
    qw_serve_offline offline = {
        .summary = qw_cmd_bench_throughput.summary,
        .tables = {{.rows = rows, .n_rows = QW_ARRAY_LEN(rows), .target = o}, {.target = dataset}},
        .n_tables = 2};
    offline.tables[1].rows = qw_dataset_args_rows(&offline.tables[1].n_rows);
    return offline;
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    const qw_serve_offline offline = offline_of(NULL, NULL);
    return qw_serve_offline_tables(out, &offline);
}

static int cmd_bench_throughput(const qw_command_call *call)
{
    throughput_options options = {0};
    qw_dataset_args dataset = {0};
    const qw_serve_offline offline = offline_of(&options, &dataset);
    qw_serve_options serve;
    int status;
    if (!qw_serve_offline_read(&serve, &offline, call, &status)) return status;
    qw_error err;
    throughput_run run = {.o = &options};
    qw_status st = bench_throughput(&run, &dataset, &serve, &err);
    throughput_run_release(&run);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_serve_options_release(&serve);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench bench throughput --model ~/models/Qwen3-0.6B --input-len 128 --output-len 64 "
     "--num-prompts 100",
     "100 prompts of made-up tokens"},
    {"qwench bench throughput --model ~/models/Qwen3-0.6B --dataset-path sharegpt.json",
     "1,000 conversations"},
    {0},
};

const qw_command qw_cmd_bench_throughput = {
    .name = "throughput",
    .help = "requests and tokens per second of many prompts at once, in process",
    .summary = "Measures how many prompts and tokens a second are computed, without a server.",
    .description =
        "Options, output and JSON are those of vllm bench throughput: all prompts at once, "
        "temperature 1, the end ignored. The engine takes the options of serve. Time is from the "
        "first prompt's text to the last answer's.",
    .examples = examples,
    .run = cmd_bench_throughput,
    .tables = tables,
};
