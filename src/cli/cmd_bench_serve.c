// qwench bench serve: load against a running server, as `vllm bench serve` makes and measures it.

#include <errno.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "bench/load_plot.h"
#include "bench/load_run.h"
#include "cli/bench_serve_options.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/model_resolver.h"
#include "cli/option_repr.h"
#include "cli/share.h"

/** A run of the command. */
typedef struct serve_run {
    const qw_bench_serve_options *o;
    const qw_opts *opts;
    qw_load_target target;
    char *model_name, *model_id; /* owned: what requests name; where its files are */
    const char *tokenizer_id;
    qw_tokenizer *tokenizer;
    qw_chat_prompt *chat;
    qw_load_dataset dataset;
    qw_load_body body;
    qw_load_plan plan;
    qw_load_result result;
    qw_load_spec_counters spec_before, spec_after;
    int64_t *input_lens, *output_lens; /* owned */
} serve_run;

static void say(const char *text)
{
    puts(text);
    fflush(stdout);
}

// The model and its tokenizer

// "{"data": [{"id": ..., "root": ...}]}" of /v1/models.
static qw_status ask_model(serve_run *r, qw_error *err)
{
    char url[4096];
    int status;
    qw_buf body;
    qw_buf_init(&body, (size_t)16 << 20);
    snprintf(url, sizeof url, "%s/v1/models", r->o->base_url);
    qw_status st = qw_load_get(&body, &status, url, &r->target, err);
    json_t *answer = NULL;
    if (st == QW_OK && status != 200)
        st = qw_fail(err, QW_ERR_DEVICE, "'%s' answered with status %d; give --model", url, status);
    if (st == QW_OK) st = qw_json_parse(&answer, body.data ? body.data : "", body.len, url, err);
    const json_t *first = json_array_get(json_object_get(answer, "data"), 0);
    const char *id = json_string_value(json_object_get(first, "id"));
    const char *root = json_string_value(json_object_get(first, "root"));
    if (st == QW_OK && !id)
        st = qw_fail(err, QW_ERR_DEVICE, "'%s' lists no model; give --model", url);
    if (st == QW_OK) {
        r->model_name = qw_mem_strdup(id);
        r->model_id = qw_mem_strdup(root ? root : id);
        if (!r->model_name || !r->model_id) st = qw_fail_memory(err, 0, "the model's name");
        if (st == QW_OK) printf("First model name: %s, first model id: %s\n", id, r->model_id);
    }
    json_decref(answer);
    qw_buf_release(&body);
    return st;
}

static qw_status name_model(serve_run *r, qw_error *err)
{
    const qw_bench_serve_args *a = r->o->args;
    if (!a->model) {
        qw_status st = ask_model(r, err);
        if (st != QW_OK || !a->served_model_name) return st;
        qw_mem_free(r->model_name);
        r->model_name = qw_mem_strdup(a->served_model_name);
    } else {
        r->model_id = qw_mem_strdup(a->model);
        r->model_name = qw_mem_strdup(a->served_model_name ? a->served_model_name : a->model);
    }
    return r->model_id && r->model_name ? QW_OK : qw_fail_memory(err, 0, "the model's name");
}

static qw_status find_tokenizer(char **dir, serve_run *r, qw_error *err)
{
    const qw_model_query query = {.model = r->tokenizer_id};
    qw_status st = qw_model_resolve(dir, &query, err);
    // The server's built-in model is known by this name.
    if (st != QW_OK && strcmp(r->tokenizer_id, "tiny") == 0)
        st = qw_share_find(dir, "models/tiny", err);
    if (st == QW_OK) return st;
    return qw_context(err, st, "the tokenizer (--tokenizer, or else --model)");
}

static qw_status open_tokenizer(serve_run *r, qw_error *err)
{
    const qw_bench_serve_args *a = r->o->args;
    r->tokenizer_id = a->tokenizer ? a->tokenizer : r->model_id;
    if (a->skip_tokenizer_init) return QW_OK;
    char *dir = NULL, *cache_dir = qw_cache_dir();
    qw_error no_chat;
    qw_status st = find_tokenizer(&dir, r, err);
    if (st == QW_OK) st = qw_tokenizer_open(&r->tokenizer, dir, cache_dir, err);
    if (st == QW_OK && qw_chat_prompt_open(&r->chat, dir, NULL, &no_chat) != QW_OK) r->chat = NULL;
    qw_mem_free(dir);
    qw_mem_free(cache_dir);
    return st;
}

// What is printed before

// As Python prints argparse's result.
static qw_status print_arguments(const serve_run *r, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)16 << 20);
    qw_buf_puts(&text, "Namespace(");
    qw_status st = QW_OK;
    for (size_t i = 0, n = 0; i < r->opts->n_values && st == QW_OK; i++) {
        const qw_opt_value *v = &r->opts->values[i];
        if (v->row->hidden || strcmp(v->name, "help") == 0) continue;
        if (n++) qw_buf_puts(&text, ", ");
        for (const char *p = v->name; *p; p++) qw_buf_putc(&text, *p == '-' ? '_' : *p);
        qw_buf_putc(&text, '=');
        bool is_switch = v->row->type == QW_OPT_FLAG || v->row->type == QW_OPT_BOOL;
        bool is_json = v->row->type == QW_OPT_JSON;
        bool is_none = v->source == QW_OPT_UNSET ||
                       (v->source == QW_OPT_FROM_DEFAULT && v->row->def_note) ||
                       (is_json && !v->n_texts && !v->n_assigns);
        if (!is_switch && is_none)
            qw_buf_puts(&text, "None");
        else
            st = qw_option_repr(&text, v, err);
    }
    qw_buf_puts(&text, ")");
    if (st == QW_OK) st = qw_buf_check(&text, "the arguments", err);
    if (st == QW_OK) say(text.data);
    qw_buf_release(&text);
    return st;
}

static void print_traffic(const serve_run *r)
{
    const qw_load_arrivals *a = &r->o->arrivals;
    char number[32];
    if (a->ramp_up != QW_RAMP_NONE) {
        printf("Traffic ramp-up strategy: %s.\n", r->o->args->ramp_up_strategy);
        printf("Will increase RPS from %" PRId64 " to %" PRId64
               " RPS over the duration of the benchmark.\n",
               a->ramp_start_rps, a->ramp_end_rps);
    } else {
        (void)qw_str_from_f64(number, a->request_rate);
        printf("Traffic request rate: %s\n", number);
    }
    (void)qw_str_from_f64(number, a->burstiness);
    printf("Burstiness factor: %s (%s)\n", number,
           a->burstiness == 1 ? "Poisson process" : "Gamma distribution");
    if (r->o->args->max_concurrency > 0)
        printf("Maximum request concurrency: %" PRId64 "\n", r->o->args->max_concurrency);
    else
        say("Maximum request concurrency: None");
    fflush(stdout);
}

// The progress line

typedef struct progress_line {
    bool is_terminal;
    double next_s; /* when the next line is due where there is no terminal */
} progress_line;

static void show_progress(void *ctx, const qw_load_progress *p)
{
    progress_line *line = ctx;
    if (!line->is_terminal && !p->is_end && p->elapsed_s < line->next_s) return;
    line->next_s = p->elapsed_s + 10;
    double left_s =
        p->n_done ? p->elapsed_s / (double)p->n_done * (double)(p->n_total - p->n_done) : 0;
    fprintf(stderr, "%s%3zu%% %zu/%zu done, %zu running", line->is_terminal ? "\r\033[K" : "",
            p->n_done * 100 / p->n_total, p->n_done, p->n_total, p->n_running);
    if (p->n_failed) fprintf(stderr, ", %zu failed", p->n_failed);
    if (p->is_end)
        fprintf(stderr, ", %.1f s\n", p->elapsed_s);
    else
        fprintf(stderr, ", %.0f events/s, %.0f s, about %.0f s left%s", p->events_rate,
                p->elapsed_s, left_s, line->is_terminal ? "" : "\n");
    fflush(stderr);
}

// The run

static void read_spec(const serve_run *r, qw_load_spec_counters *out)
{
    char url[4096];
    int status;
    qw_buf text;
    qw_buf_init(&text, (size_t)64 << 20);
    snprintf(url, sizeof url, "%s/metrics", r->o->base_url);
    *out = (qw_load_spec_counters){0};
    // A server without metrics is no failure.
    if (qw_load_get(&text, &status, url, &r->target, NULL) == QW_OK && status == 200 && text.data)
        qw_load_spec_parse(out, (qw_str){text.data, text.len});
    qw_buf_release(&text);
}

static qw_status check_ready(const serve_run *r, qw_error *err)
{
    double timeout_s = r->o->args->ready_check_timeout_s;
    say("Starting initial single prompt test run...");
    if (timeout_s <= 0) {
        say("Skipping endpoint ready check.");
        return QW_OK;
    }
    printf("Waiting for endpoint to become up in %.0f seconds\n", timeout_s);
    fflush(stdout);
    qw_status st = qw_load_wait_ready(&r->plan, timeout_s, err);
    if (st == QW_OK) say("Initial test run completed.");
    return st;
}

static qw_status warm_up(const serve_run *r, qw_error *err)
{
    size_t n = (size_t)r->o->args->num_warmups;
    if (n == 0) return QW_OK;
    printf("Warming up with %zu requests...\n", n);
    fflush(stdout);
    qw_load_result result;
    qw_status st = qw_load_run_copies(&result, &r->plan, n, err);
    qw_load_result_release(&result);
    if (st == QW_OK) say("Warmup run completed.");
    return st;
}

static qw_status run_load(serve_run *r, qw_error *err)
{
    const qw_bench_serve_args *a = r->o->args;
    if (!r->o->has_temperature)
        say("WARNING: vllm bench serve no longer sets temperature==0 (greedy) in requests by "
            "default. The default will be determined on the server side and can be model/API "
            "specific. For the old behavior, include --temperature=0.");
    progress_line line = {.is_terminal = isatty(STDERR_FILENO), .next_s = 10};
    r->plan = (qw_load_plan){.target = &r->target,
                             .body = &r->body,
                             .dataset = &r->dataset,
                             .arrivals = r->o->arrivals,
                             .seed = (uint64_t)a->seed,
                             .max_concurrency = (size_t)a->max_concurrency,
                             .progress = a->disable_tqdm ? NULL : show_progress,
                             .progress_ctx = &line};
    qw_status st = check_ready(r, err);
    if (st == QW_OK) st = warm_up(r, err);
    if (st != QW_OK) return st;
    read_spec(r, &r->spec_before);
    say("Starting main benchmark run...");
    print_traffic(r);
    st = qw_load_run(&r->result, &r->plan, err);
    if (st == QW_OK) read_spec(r, &r->spec_after);
    return st;
}

// Results

// Tokens as the server counted them, else as the tokenizer does.
static qw_status count_tokens(serve_run *r, qw_error *err)
{
    size_t n = r->result.n;
    r->input_lens = qw_mem_calloc(n, sizeof *r->input_lens);
    r->output_lens = qw_mem_calloc(n, sizeof *r->output_lens);
    if (!r->input_lens || !r->output_lens) return qw_fail_memory(err, n * 16, "the results");
    for (size_t i = 0; i < n; i++) {
        const qw_load_outcome *o = &r->result.outcomes[i];
        r->input_lens[i] =
            o->prompt_tokens > 0 ? o->prompt_tokens : r->dataset.requests[i].n_prompt;
        if (!o->is_ok) continue;
        r->output_lens[i] = o->output_tokens > 0 ? o->output_tokens : 1;
        if (o->output_tokens > 0 || !r->tokenizer) continue;
        qw_ids ids = {0};
        qw_status st =
            qw_tokenizer_encode(r->tokenizer, qw_str_of(o->text ? o->text : ""), 0, &ids, err);
        r->output_lens[i] = (int64_t)ids.len;
        qw_ids_release(&ids);
        if (st != QW_OK) return st;
    }
    return QW_OK;
}

// "2.0" of 2; "inf".
static void append_rate(qw_buf *out, double rate)
{
    char number[32];
    (void)qw_str_from_f64(number, rate);
    qw_buf_puts(out, number);
}

// Where the results go: DIR/LABEL-RATEqps[-concurrencyN]-MODEL-DATE.json.
static void append_path(const serve_run *r, const char *date, qw_buf *out)
{
    const qw_bench_serve_args *a = r->o->args;
    const qw_load_arrivals *t = &r->o->arrivals;
    if (a->result_dir)
        qw_buf_printf(out, "%s%s", a->result_dir,
                      a->result_dir[strlen(a->result_dir) - 1] == '/' ? "" : "/");
    if (a->result_filename) {
        qw_buf_puts(out, a->result_filename);
        return;
    }
    size_t len = strlen(r->model_id);
    while (len > 1 && r->model_id[len - 1] == '/') len--;
    size_t begin = len;
    while (begin > 0 && r->model_id[begin - 1] != '/') begin--;
    qw_buf_printf(out, "%s-", a->label ? a->label : r->o->backend);
    if (t->ramp_up != QW_RAMP_NONE) {
        qw_buf_printf(out, "ramp-up-%s-%" PRId64 "qps-%" PRId64 "qps", a->ramp_up_strategy,
                      t->ramp_start_rps, t->ramp_end_rps);
    } else {
        append_rate(out, t->request_rate);
        qw_buf_puts(out, "qps");
    }
    if (a->max_concurrency > 0) qw_buf_printf(out, "-concurrency%" PRId64, a->max_concurrency);
    qw_buf_printf(out, "-%.*s-%s.json", (int)(len - begin), r->model_id + begin, date);
}

static qw_status append_file(const char *path, const qw_buf *text, qw_error *err)
{
    FILE *f = fopen(path, "ae");
    if (!f) return qw_fail(err, QW_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    bool ok = fseek(f, 0, SEEK_END) == 0;
    if (ok && ftell(f) > 0) ok = fputc('\n', f) != EOF;
    if (ok) ok = fwrite(text->data, 1, text->len, f) == text->len;
    if (fclose(f) != 0 || !ok)
        return qw_fail(err, QW_ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    return QW_OK;
}

static qw_status save(const serve_run *r, const qw_load_report *report, qw_error *err)
{
    const qw_bench_serve_args *a = r->o->args;
    qw_buf path, text;
    qw_buf_init(&path, 1 << 14);
    qw_buf_init(&text, (size_t)4 << 30);
    append_path(r, report->date, &path);
    qw_load_report_write(report, a->save_detailed, &text);
    qw_status st = qw_buf_check(&path, "the file's name", err);
    if (st == QW_OK) st = qw_buf_check(&text, "the results", err);
    if (st == QW_OK && a->result_dir) st = qw_file_make_dirs(a->result_dir, err);
    if (st == QW_OK)
        st = a->append_result ? append_file(path.data, &text, err)
                              : qw_file_write_atomic(path.data, text.data, text.len, err);
    qw_buf_release(&path);
    qw_buf_release(&text);
    return st;
}

static qw_status print_table(const qw_load_report *report, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 20);
    qw_load_report_print(report, &text);
    qw_status st = qw_buf_check(&text, "the table", err);
    if (st == QW_OK && fwrite(text.data, 1, text.len, stdout) != text.len)
        st = qw_fail(err, QW_ERR_IO, "cannot write the output");
    fflush(stdout);
    qw_buf_release(&text);
    return st;
}

static qw_status plot(const qw_load_report *report, const char *path, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)256 << 20);
    qw_load_plot(report, &text);
    qw_status st = qw_buf_check(&text, "the picture", err);
    if (st == QW_OK) st = qw_file_write_atomic(path, text.data, text.len, err);
    qw_buf_release(&text);
    return st;
}

static qw_status report_run(serve_run *r, qw_error *err)
{
    const qw_bench_serve_args *a = r->o->args;
    char date[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(date, sizeof date, "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
    qw_load_report report = {.options = r->o->metrics,
                             .outcomes = r->result.outcomes,
                             .n = r->result.n,
                             .rps_changes = r->result.rps_changes,
                             .n_rps_changes = r->result.n_rps_changes,
                             .arrivals = r->o->arrivals,
                             .max_concurrency = a->max_concurrency,
                             .counts_tokens = r->tokenizer != NULL,
                             .date = date,
                             .backend = r->o->backend,
                             .label = a->label,
                             .model_id = r->model_id,
                             .tokenizer_id = r->tokenizer_id,
                             .num_prompts = (int64_t)r->o->dataset.n_requests,
                             .metadata = a->metadata,
                             .n_metadata = a->n_metadata};
    memcpy(report.selected, r->o->selected, sizeof report.selected);
    report.has_spec = qw_load_spec_make(&report.spec, &r->spec_before, &r->spec_after);
    qw_status st = count_tokens(r, err);
    report.input_lens = r->input_lens;
    report.output_lens = r->output_lens;
    if (st == QW_OK)
        st =
            qw_load_metrics_make(&report.metrics, r->result.outcomes, r->input_lens, r->output_lens,
                                 r->result.n, r->result.duration_s, &r->o->metrics, err);
    if (st == QW_OK) st = print_table(&report, err);
    if (st == QW_OK && report.metrics.completed == 0)
        fprintf(stderr, "All requests failed. This is likely due to a misconfiguration on the "
                        "benchmark arguments.\n");
    if (st == QW_OK && (a->save_result || a->append_result)) st = save(r, &report, err);
    if (st == QW_OK && a->plot) st = plot(&report, a->plot, err);
    qw_load_metrics_release(&report.metrics);
    return st;
}

static qw_status bench_serve(serve_run *r, qw_error *err)
{
    const qw_bench_serve_options *o = r->o;
    qw_dataset_options dataset = o->dataset;
    r->target = (qw_load_target){.url = o->url,
                                 .is_chat = o->is_chat,
                                 .is_insecure = o->args->insecure,
                                 .headers = o->headers,
                                 .n_headers = o->n_headers,
                                 .request_id_prefix = o->id_prefix};
    // Random tokens may spell the end: all that was asked for is generated.
    bool ignore_eos = o->args->ignore_eos || dataset.kind == QW_DATASET_RANDOM ||
                      dataset.kind == QW_DATASET_RANDOM_MM;
    qw_status st = print_arguments(r, err);
    if (st == QW_OK) st = name_model(r, err);
    if (st == QW_OK) st = open_tokenizer(r, err);
    dataset.tokenizer = r->tokenizer;
    dataset.chat = r->chat;
    if (st == QW_OK) st = qw_load_dataset_make(&r->dataset, &dataset, err);
    if (st == QW_OK)
        st = qw_load_body_init(&r->body, o->is_chat, r->model_name, o->args->logprobs, ignore_eos,
                               o->extra, err);
    if (st == QW_OK) st = run_load(r, err);
    return st == QW_OK ? report_run(r, err) : st;
}

static void serve_run_release(serve_run *r)
{
    qw_load_result_release(&r->result);
    qw_load_body_release(&r->body);
    qw_load_dataset_release(&r->dataset);
    qw_chat_prompt_close(r->chat);
    qw_tokenizer_close(r->tokenizer);
    qw_mem_free(r->model_name);
    qw_mem_free(r->model_id);
    qw_mem_free(r->input_lens);
    qw_mem_free(r->output_lens);
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0].rows = qw_bench_serve_rows(&out[0].n_rows);
    out[1].rows = qw_dataset_args_rows(&out[1].n_rows);
    return 2;
}

static int cmd_bench_serve(const qw_command_call *call)
{
    qw_bench_serve_args args = {0};
    qw_dataset_args dataset = {0};
    void *const targets[] = {&args, &dataset};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    qw_bench_serve_options options;
    qw_status st = qw_bench_serve_options_read(&options, &args, &dataset, &cli.opts, &err);
    if (st == QW_OK) {
        serve_run run = {.o = &options, .opts = &cli.opts};
        st = bench_serve(&run, &err);
        serve_run_release(&run);
    }
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, cli.usage.data);
    qw_bench_serve_options_release(&options);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench bench serve --model ~/models/Qwen3-0.6B --random-input-len 200 --num-prompts 200 "
     "--request-rate 1 --save-result",
     "200 prompts of 200 made-up tokens, one a second"},
    {"qwench bench serve --backend openai-chat --endpoint /v1/chat/completions --dataset-name "
     "sharegpt --dataset-path sharegpt.json --max-concurrency 32 --plot run.svg",
     "conversations, 32 at a time, and a picture of the run"},
    {0},
};

const qw_command qw_cmd_bench_serve = {
    .name = "serve",
    .help = "load against a running server: throughput and latencies",
    .summary = "Sends requests to a running server and measures what comes back.",
    .description =
        "Options, definitions, the printed table and the result file are those of vllm bench "
        "serve, so that results compare line by line. TTFT is the time to the first event with a "
        "choice, TPOT what follows divided by the tokens behind the first, ITL the gaps between "
        "events. The client runs on one thread; thousands of streams are no trouble to it.\n\n"
        "The tokenizer is needed for making and counting prompts; it is looked for where --model "
        "says. OPENAI_API_KEY is sent as the bearer's token.",
    .examples = examples,
    .run = cmd_bench_serve,
    .tables = tables,
};
