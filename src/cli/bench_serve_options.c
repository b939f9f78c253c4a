#include "cli/bench_serve_options.h"

#include <math.h>
#include <stdarg.h>

#include "base/mem.h"
#include "base/random_hex.h"
#include "format/opt_json.h"

#define FIELD(x) offsetof(qw_bench_serve_args, x)

#define SAMPLING "Sampling"
#define RESULTS "Results"
#define NO_EFFECT .help = "no effect"

static const char *const backends[] = {"openai", "vllm", "openai-chat", NULL};
static const char *const strategies[] = {"linear", "exponential", NULL};

static const qw_opt rows[] = {
    {"backend", QW_OPT_STR, FIELD(backend), .def = "openai", .choices = backends, .metavar = "NAME",
     .help = "openai, vllm: /v1/completions; openai-chat: /v1/chat/completions"},
    {"endpoint_type", QW_OPT_STR, FIELD(endpoint_type), .metavar = "NAME", .hidden = true,
     .help = "--backend in older releases"},
    {"base_url", QW_OPT_STR, FIELD(base_url), .metavar = "URL", .def_note = "of --host and --port",
     .help = "the server, without the endpoint"},
    {"host", QW_OPT_STR, FIELD(host), .def = "127.0.0.1", .metavar = "NAME",
     .help = "the server's name or address"},
    {"port", QW_OPT_INT, FIELD(port), .def = "8000", .min = 1, .max = 65535,
     .help = "the server's port"},
    {"endpoint", QW_OPT_STR, FIELD(endpoint), .def = "/v1/completions", .metavar = "PATH",
     .help = "where requests go; for openai-chat /v1/chat/completions"},
    {"header", QW_OPT_STRS, FIELD(headers), FIELD(n_headers), .metavar = "NAME=VALUE...",
     .help = "more headers of every request"},
    {"insecure", QW_OPT_FLAG, FIELD(insecure), .help = "do not check the server's certificate"},
    {"model", QW_OPT_STR, FIELD(model), .metavar = "MODEL", .def_note = "the server's first",
     .help = "directory or hub id with the tokenizer; also the model that requests name, unless "
             "--served-model-name"},
    {"served_model_name", QW_OPT_STR, FIELD(served_model_name), .metavar = "NAME",
     .def_note = "--model", .help = "the model that requests name"},
    {"tokenizer", QW_OPT_STR, FIELD(tokenizer), .metavar = "DIR", .def_note = "--model",
     .help = "directory or hub id with tokenizer.json"},
    {"tokenizer_mode", QW_OPT_STR, QW_OPT_NO_FIELD, .metavar = "NAME", NO_EFFECT},
    {"trust_remote_code", QW_OPT_FLAG, QW_OPT_NO_FIELD, NO_EFFECT},
    {"skip_tokenizer_init", QW_OPT_FLAG, FIELD(skip_tokenizer_init),
     .help = "no tokenizer: custom prompts as they are, tokens as the server counts them"},
    {"seed", QW_OPT_INT, FIELD(seed), .def = "0",
     .help = "the same seed: the same prompts at the same times"},

    {"request_rate", QW_OPT_STR, FIELD(request_rate), .def = "inf", .metavar = "X",
     .help = "requests per second; inf: all at once"},
    {"burstiness", QW_OPT_STR, FIELD(burstiness), .def = "1.0", .metavar = "X",
     .help = "shape of the gamma distribution of the gaps; 1: Poisson; less: bursts; inf: even"},
    {"max_concurrency", QW_OPT_INT, FIELD(max_concurrency), .def = "0", .min = 0, .max = 1 << 20,
     .def_note = "no limit", .help = "most requests under way at a time"},
    {"ramp_up_strategy", QW_OPT_STR, FIELD(ramp_up_strategy), .choices = strategies,
     .metavar = "NAME", .help = "linear or exponential, instead of --request-rate"},
    {"ramp_up_start_rps", QW_OPT_INT, FIELD(ramp_up_start_rps), .def = "0", .min = 0,
     .max = 1 << 20, .def_note = "none",
     .help = "requests per second at the beginning of the ramp"},
    {"ramp_up_end_rps", QW_OPT_INT, FIELD(ramp_up_end_rps), .def = "0", .min = 0, .max = 1 << 20,
     .def_note = "none", .help = "and at its end"},
    {"num_warmups", QW_OPT_INT, FIELD(num_warmups), .def = "0", .min = 0, .max = 1 << 20,
     .help = "copies of the first request that are sent before and not measured"},
    {"ready_check_timeout_sec", QW_OPT_FLOAT, FIELD(ready_check_timeout_s), .def = "0", .min = 0,
     .max = 1e6, .help = "try the first request every 5 s until it succeeds, for so long; 0: not"},

    {"ignore_eos", QW_OPT_FLAG, FIELD(ignore_eos), .group = SAMPLING,
     .help = "generate all tokens asked for; always so with random and random-mm"},
    {"temperature", QW_OPT_FLOAT, FIELD(temperature), .group = SAMPLING, .help = "0: greedy"},
    {"top_p", QW_OPT_FLOAT, FIELD(top_p), .group = SAMPLING, .help = "share of the likeliest"},
    {"top_k", QW_OPT_INT, FIELD(top_k), .group = SAMPLING, .help = "number of the likeliest"},
    {"min_p", QW_OPT_FLOAT, FIELD(min_p), .group = SAMPLING, .help = "against the likeliest"},
    {"frequency_penalty", QW_OPT_FLOAT, FIELD(frequency_penalty), .group = SAMPLING,
     .help = "for each time a token came"},
    {"presence_penalty", QW_OPT_FLOAT, FIELD(presence_penalty), .group = SAMPLING,
     .help = "for tokens that came"},
    {"repetition_penalty", QW_OPT_FLOAT, FIELD(repetition_penalty), .group = SAMPLING,
     .help = "factor for tokens that came"},
    {"logprobs", QW_OPT_INT, FIELD(logprobs), .def = "-1", .min = -1, .max = 1 << 20,
     .group = SAMPLING, .def_note = "none", .help = "logprobs of each token"},
    {"extra_body", QW_OPT_JSON, FIELD(extra_body), .group = SAMPLING,
     .help = "members of every request; they win over all others"},
    {"chat_template_kwargs", QW_OPT_JSON, FIELD(chat_template_kwargs), .group = SAMPLING,
     .help = "variables of the chat template"},
    {"use_beam_search", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = SAMPLING,
     .warning = "it has no effect: requests are sampled", NO_EFFECT},

    {"percentile_metrics", QW_OPT_STR, FIELD(percentile_metrics), .def = "ttft,tpot,itl",
     .group = RESULTS, .metavar = "NAMES", .help = "what is reported: ttft, tpot, itl, e2el"},
    {"metric_percentiles", QW_OPT_STR, FIELD(metric_percentiles), .def = "99", .group = RESULTS,
     .metavar = "LIST", .help = "percentiles, with commas between them"},
    {"goodput", QW_OPT_STRS, FIELD(goodput), FIELD(n_goodput), .group = RESULTS,
     .metavar = "NAME:MS...",
     .help = "count requests that keep all limits: ttft:500 tpot:50 e2el:9000"},
    {"save_result", QW_OPT_FLAG, FIELD(save_result), .group = RESULTS,
     .help = "write the results to a file"},
    {"append_result", QW_OPT_FLAG, FIELD(append_result), .group = RESULTS,
     .help = "append them to a file as one line"},
    {"save_detailed", QW_OPT_FLAG, FIELD(save_detailed), .group = RESULTS,
     .help = "with the times and texts of every request"},
    {"result_dir", QW_OPT_STR, FIELD(result_dir), .group = RESULTS, .metavar = "DIR",
     .help = "where the file goes"},
    {"result_filename", QW_OPT_STR, FIELD(result_filename), .group = RESULTS, .metavar = "NAME",
     .def_note = "LABEL-RATEqps-MODEL-DATE.json", .help = "its name"},
    {"label", QW_OPT_STR, FIELD(label), .group = RESULTS, .def_note = "--backend",
     .help = "first part of the name, and a member of the file"},
    {"metadata", QW_OPT_STRS, FIELD(metadata), FIELD(n_metadata), .group = RESULTS,
     .metavar = "KEY=VALUE...", .help = "more members of the file"},
    {"plot", QW_OPT_STR, FIELD(plot), .group = RESULTS, .metavar = "FILE.svg",
     .help = "write distributions of the latencies and a timeline as a picture"},
    {"disable_tqdm", QW_OPT_FLAG, FIELD(disable_tqdm), .group = RESULTS,
     .help = "no progress line"},
    {"request_id_prefix", QW_OPT_STR, FIELD(request_id_prefix), .group = RESULTS,
     .def_note = "bench-<8 hex digits>-", .help = "x-request-id is this and a number"},
    {"profile", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = RESULTS,
     .warning = "it has no effect: the server has no profiler", NO_EFFECT},
    {"plot_timeline", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = RESULTS,
     .warning = "it has no effect: --plot FILE.svg draws a timeline", NO_EFFECT},
    {"plot_dataset_stats", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = RESULTS,
     .warning = "it has no effect: --plot FILE.svg draws latencies", NO_EFFECT},
    {"self_timed", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = RESULTS,
     .warning = "it has no effect: only recorded traces have times of their own", NO_EFFECT},
};

const qw_opt *qw_bench_serve_rows(size_t *n_rows)
{
    *n_rows = QW_ARRAY_LEN(rows);
    return rows;
}

static bool is_typed(const qw_opts *opts, const char *name)
{
    return qw_opts_get(opts, name)->source > QW_OPT_FROM_DEFAULT;
}

// Owned text.
QW_PRINTF(3, 4)
static qw_status write_text(char **out, qw_error *err, const char *fmt, ...)
{
    char line[8192];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof line)
        return qw_fail(err, QW_ERR_USAGE, "an address or a header is longer than %zu characters",
                       sizeof line);
    *out = qw_mem_strdup(line);
    return *out ? QW_OK : qw_fail_memory(err, (size_t)len, "an option");
}

// Where

static qw_status read_backend(qw_bench_serve_options *o, qw_error *err)
{
    const qw_bench_serve_args *a = o->args;
    o->backend = a->endpoint_type ? a->endpoint_type : a->backend;
    for (size_t i = 0; backends[i]; i++) {
        if (strcmp(backends[i], o->backend) != 0) continue;
        o->is_chat = strcmp(o->backend, "openai-chat") == 0;
        return QW_OK;
    }
    return qw_fail(err, QW_ERR_USAGE,
                   "argument --backend: invalid choice: '%s' (choose from 'openai', 'vllm', "
                   "'openai-chat')",
                   o->backend);
}

static qw_status read_url(qw_bench_serve_options *o, qw_error *err)
{
    const qw_bench_serve_args *a = o->args;
    const char *ending = o->is_chat ? "chat/completions" : "completions";
    qw_str endpoint = qw_str_of(a->endpoint);
    if (!qw_str_ends_with(endpoint, qw_str_of(ending)))
        return qw_fail(err, QW_ERR_USAGE,
                       "--endpoint '%s': with --backend %s it must end in '%s'; give --endpoint "
                       "/v1/%s",
                       a->endpoint, o->backend, ending, ending);
    qw_status st;
    if (a->base_url) {
        size_t len = strlen(a->base_url);
        while (len > 0 && a->base_url[len - 1] == '/') len--;
        if (strncmp(a->base_url, "http://", 7) != 0 && strncmp(a->base_url, "https://", 8) != 0)
            return qw_fail(err, QW_ERR_USAGE,
                           "--base-url '%s' begins with neither http:// nor https://", a->base_url);
        st = write_text(&o->base_url, err, "%.*s", (int)len, a->base_url);
    } else {
        bool is_v6 = strchr(a->host, ':') && a->host[0] != '[';
        st = write_text(&o->base_url, err, "http://%s%s%s:%" PRId64, is_v6 ? "[" : "", a->host,
                        is_v6 ? "]" : "", a->port);
    }
    if (st != QW_OK) return st;
    return write_text(&o->url, err, "%s%s%s", o->base_url, a->endpoint[0] == '/' ? "" : "/",
                      a->endpoint);
}

static qw_status add_header(qw_bench_serve_options *o, const char *name, int name_len,
                            const char *value, qw_error *err)
{
    char *text;
    // "Name;" is how libcurl is told to send a header without a value.
    qw_status st = write_text(&text, err, "%.*s%s%s", name_len, name, *value ? ": " : ";", value);
    if (st == QW_OK) o->headers[o->n_headers++] = text;
    return st;
}

static qw_status read_headers(qw_bench_serve_options *o, qw_error *err)
{
    const qw_bench_serve_args *a = o->args;
    const char *key = getenv("OPENAI_API_KEY");
    o->headers = qw_mem_calloc(a->n_headers + 1, sizeof *o->headers);
    if (!o->headers) return qw_fail_memory(err, a->n_headers, "the headers");
    qw_status st = QW_OK;
    if (key && *key) {
        char value[4096];
        snprintf(value, sizeof value, "Bearer %s", key);
        st = add_header(o, "Authorization", 13, value, err);
    }
    for (size_t i = 0; i < a->n_headers && st == QW_OK; i++) {
        const char *text = a->headers[i], *equals = strchr(text, '=');
        if (!equals || equals == text || strpbrk(text, "\r\n"))
            return qw_fail(err, QW_ERR_USAGE,
                           "Invalid header format. Please use KEY=VALUE format.");
        st = add_header(o, text, (int)(equals - text), equals + 1, err);
    }
    return st;
}

static qw_status read_id_prefix(qw_bench_serve_options *o, qw_error *err)
{
    char digits[9];
    qw_random_hex(digits, 8);
    if (o->args->request_id_prefix)
        return write_text(&o->id_prefix, err, "%.128s", o->args->request_id_prefix);
    return write_text(&o->id_prefix, err, "bench-%s-", digits);
}

// When

static qw_status read_positive(double *out, const char *name, const char *text, qw_error *err)
{
    if (strcmp(text, "inf") == 0 || strcmp(text, "Infinity") == 0) {
        *out = INFINITY;
        return QW_OK;
    }
    if (qw_str_to_f64(qw_str_of(text), out) && *out > 0) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE, "argument --%s: '%s' is no number above 0 and not inf", name,
                   text);
}

static qw_status read_ramp(qw_bench_serve_options *o, const qw_opts *opts, qw_error *err)
{
    const qw_bench_serve_args *a = o->args;
    qw_load_arrivals *r = &o->arrivals;
    if (!a->ramp_up_strategy) {
        if (is_typed(opts, "ramp-up-start-rps") || is_typed(opts, "ramp-up-end-rps"))
            return qw_fail(err, QW_ERR_USAGE,
                           "--ramp-up-start-rps and --ramp-up-end-rps need --ramp-up-strategy "
                           "linear or exponential");
        return QW_OK;
    }
    if (strcmp(a->ramp_up_strategy, "linear") == 0)
        r->ramp_up = QW_RAMP_LINEAR;
    else if (strcmp(a->ramp_up_strategy, "exponential") == 0)
        r->ramp_up = QW_RAMP_EXPONENTIAL;
    else
        return qw_fail(err, QW_ERR_USAGE,
                       "argument --ramp-up-strategy: invalid choice: '%s' (choose from 'linear', "
                       "'exponential')",
                       a->ramp_up_strategy);
    if (is_typed(opts, "request-rate"))
        return qw_fail(
            err, QW_ERR_USAGE,
            "When using ramp-up, do not specify --request-rate. The request rate will be "
            "controlled by ramp-up parameters. Please remove the --request-rate "
            "argument.");
    if (!is_typed(opts, "ramp-up-start-rps") || !is_typed(opts, "ramp-up-end-rps"))
        return qw_fail(err, QW_ERR_USAGE,
                       "When using --ramp-up-strategy, both --ramp-up-start-rps and "
                       "--ramp-up-end-rps must be specified");
    r->ramp_start_rps = a->ramp_up_start_rps;
    r->ramp_end_rps = a->ramp_up_end_rps;
    if (r->ramp_start_rps < 1 || r->ramp_end_rps < 1)
        return qw_fail(err, QW_ERR_USAGE, "Ramp-up start and end RPS must be at least 1");
    if (r->ramp_start_rps > r->ramp_end_rps)
        return qw_fail(err, QW_ERR_USAGE, "Ramp-up start RPS must be less than end RPS");
    return QW_OK;
}

// What is reported

static qw_status fail_metric(const char *option, qw_str name, const char *last, qw_error *err)
{
    return qw_fail(err, QW_ERR_USAGE, "--%s: '%.*s' is no metric; choose from ttft, tpot%s", option,
                   (int)name.len, name.ptr, last);
}

static qw_status read_metrics(qw_bench_serve_options *o, qw_error *err)
{
    const char *p = o->args->percentile_metrics;
    for (;;) {
        qw_str name = {p, strcspn(p, ",")};
        qw_load_metric k;
        if (name.len > 0 && !qw_load_metric_find(&k, name.ptr, name.len))
            return fail_metric("percentile-metrics", name, ", itl and e2el", err);
        if (name.len > 0) o->selected[k] = true;
        p += name.len;
        if (*p == '\0') return QW_OK;
        p++;
    }
}

static qw_status read_percentiles(qw_bench_serve_options *o, qw_error *err)
{
    const char *p = o->args->metric_percentiles;
    for (;;) {
        qw_str text = {p, strcspn(p, ",")};
        double value;
        if (!qw_str_to_f64(text, &value) || value < 0 || value > 100 ||
            o->metrics.n_percentiles == QW_LOAD_MAX_PERCENTILES)
            return qw_fail(err, QW_ERR_USAGE,
                           "--metric-percentiles '%s': expected 1 to %d numbers from 0 to 100 with "
                           "commas between them",
                           o->args->metric_percentiles, QW_LOAD_MAX_PERCENTILES);
        o->percentiles[o->metrics.n_percentiles++] = value;
        p += text.len;
        if (*p == '\0') return QW_OK;
        p++;
    }
}

static qw_status read_goodput(qw_bench_serve_options *o, qw_error *err)
{
    qw_load_goodput *g = &o->metrics.goodput;
    for (int k = 0; k < QW_LOAD_N_METRICS; k++) g->limits_ms[k] = NAN;
    for (size_t i = 0; i < o->args->n_goodput; i++) {
        const char *text = o->args->goodput[i], *colon = strchr(text, ':');
        double limit;
        if (!colon || !qw_str_to_f64(qw_str_of(colon + 1), &limit))
            return qw_fail(
                err, QW_ERR_USAGE,
                "Invalid format found for service level objectives: '%s'. Specify service "
                "level objectives for goodput as \"KEY:VALUE\" pairs, where the key is a "
                "metric name, and the value is a number in milliseconds.",
                text);
        qw_str name = {text, (size_t)(colon - text)};
        qw_load_metric k;
        if (!qw_load_metric_find(&k, name.ptr, name.len) || k == QW_LOAD_ITL)
            return fail_metric("goodput", name, " and e2el", err);
        if (limit < 0)
            return qw_fail(err, QW_ERR_USAGE,
                           "Invalid value found, %s. The service level objective value should be "
                           "non-negative.",
                           text);
        g->limits_ms[k] = limit;
        g->is_on = true;
    }
    return QW_OK;
}

static qw_status check_metadata(const qw_bench_serve_args *a, qw_error *err)
{
    for (size_t i = 0; i < a->n_metadata; i++) {
        const char *equals = strchr(a->metadata[i], '=');
        if (!equals || equals == a->metadata[i])
            return qw_fail(err, QW_ERR_USAGE,
                           "Invalid metadata format. Please use KEY=VALUE format.");
    }
    return QW_OK;
}

// What requests say

static bool set_number(json_t *object, const qw_opts *opts, const char *name, const char *key)
{
    const qw_opt_value *v = qw_opts_get(opts, name);
    if (v->source <= QW_OPT_FROM_DEFAULT) return true;
    json_t *value = v->row->type == QW_OPT_INT ? json_integer(v->as.i64) : json_real(v->as.f64);
    return json_object_set_new(object, key, value) == 0;
}

static qw_status read_extra(qw_bench_serve_options *o, const qw_opts *opts, qw_error *err)
{
    static const char *const names[][2] = {
        {"top-p", "top_p"},
        {"top-k", "top_k"},
        {"min-p", "min_p"},
        {"temperature", "temperature"},
        {"frequency-penalty", "frequency_penalty"},
        {"presence-penalty", "presence_penalty"},
        {"repetition-penalty", "repetition_penalty"},
    };
    o->extra = json_object();
    bool ok = o->extra != NULL;
    for (size_t i = 0; i < QW_ARRAY_LEN(names) && ok; i++)
        ok = set_number(o->extra, opts, names[i][0], names[i][1]);
    if (!ok) return qw_fail_memory(err, 0, "the requests");
    json_t *given, *kwargs;
    qw_status st = qw_opt_json_merge(&given, &o->args->extra_body, "extra-body", err);
    if (st != QW_OK) return st;
    st = qw_opt_json_merge(&kwargs, &o->args->chat_template_kwargs, "chat-template-kwargs", err);
    if (st == QW_OK && json_object_size(kwargs) > 0 &&
        json_object_set(o->extra, "chat_template_kwargs", kwargs) != 0)
        st = qw_fail_memory(err, 0, "the requests");
    if (st == QW_OK && json_object_update(o->extra, given) != 0)
        st = qw_fail_memory(err, 0, "the requests");
    if (st == QW_OK) json_decref(kwargs);
    json_decref(given);
    o->has_temperature = json_object_get(o->extra, "temperature") != NULL;
    return st;
}

static qw_status check_pictures(const qw_bench_serve_options *o, qw_error *err)
{
    if (o->dataset.kind != QW_DATASET_RANDOM_MM || o->is_chat) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE,
                   "--dataset-name random-mm sends pictures, which only chat takes: give --backend "
                   "openai-chat --endpoint /v1/chat/completions");
}

qw_status qw_bench_serve_options_read(qw_bench_serve_options *out, const qw_bench_serve_args *args,
                                      const qw_dataset_args *dataset, const qw_opts *opts,
                                      qw_error *err)
{
    qw_bench_serve_options *o = out;
    *o = (qw_bench_serve_options){.args = args};
    o->metrics.percentiles = o->percentiles;
    qw_status st = read_backend(o, err);
    if (st == QW_OK) st = read_url(o, err);
    if (st == QW_OK) st = read_headers(o, err);
    if (st == QW_OK) st = read_id_prefix(o, err);
    if (st == QW_OK)
        st = read_positive(&o->arrivals.request_rate, "request-rate", args->request_rate, err);
    if (st == QW_OK)
        st = read_positive(&o->arrivals.burstiness, "burstiness", args->burstiness, err);
    if (st == QW_OK) st = read_ramp(o, opts, err);
    if (st == QW_OK) st = read_metrics(o, err);
    if (st == QW_OK) st = read_percentiles(o, err);
    if (st == QW_OK) st = read_goodput(o, err);
    if (st == QW_OK) st = check_metadata(args, err);
    if (st == QW_OK) st = read_extra(o, opts, err);
    if (st == QW_OK) st = qw_dataset_args_read(&o->dataset, dataset, opts, err);
    if (st == QW_OK) st = check_pictures(o, err);
    o->dataset.seed = (uint64_t)args->seed;
    o->dataset.is_chat = o->is_chat;
    return st;
}

void qw_bench_serve_options_release(qw_bench_serve_options *o)
{
    for (size_t i = 0; i < o->n_headers; i++) qw_mem_free((char *)(uintptr_t)o->headers[i]);
    qw_mem_free(o->headers);
    qw_mem_free(o->base_url);
    qw_mem_free(o->url);
    qw_mem_free(o->id_prefix);
    json_decref(o->extra);
    *o = (qw_bench_serve_options){0};
}
