#include "cli/serve_run.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/notify.h"
#include "cli/serve_start.h"
#include "cli/thread_plan.h"
#include "engine/frontend.h"
#include "server/server.h"

enum { STALL_TIMEOUT_S = 300 };

/** Everything that lives as long as the server. */
typedef struct service {
    const qw_serve_options *o;
    qw_server *server;
    qw_engine_args args;
    qw_frontend frontend;
    qw_engine *engine;
    qw_sampling_params defaults;
    qw_api_config api;
    char version[64], fingerprint[128];
    char *resolved_path;
    const char *const *api_keys, *const *origins, *const *methods, *const *headers;
    qw_engine_facts facts;
    qw_buf sampling_text, layers_text;
    qw_route_name routes[64];
    size_t n_routes;
} service;

// The transport

// NULL-terminated, as the transport wants it; NULL for an empty list.
static const char *const *terminated(const char *const *list, size_t n, bool *ok)
{
    if (n == 0) return NULL;
    const char **copy = qw_mem_calloc(n + 1, sizeof *copy);
    if (copy) memcpy(copy, list, n * sizeof *copy);
    *ok = *ok && copy;
    return copy;
}

static qw_status bind_server(service *s, qw_error *err)
{
    const qw_serve_options *o = s->o;
    bool ok = true;
    s->api_keys = terminated(o->api_keys, o->n_api_keys, &ok);
    s->origins = terminated(o->allowed_origins, o->n_allowed_origins, &ok);
    s->methods = terminated(o->allowed_methods, o->n_allowed_methods, &ok);
    s->headers = terminated(o->allowed_headers, o->n_allowed_headers, &ok);
    if (!ok) return qw_fail_memory(err, 0, "lists of the HTTP server");
    qw_http_options http = {
        .host = o->host,
        .port = (int)o->port,
        .uds = o->uds,
        .keep_alive_ms = (int)(o->timeout_keep_alive_s * 1000),
        .ssl_certfile = o->ssl_certfile,
        .ssl_keyfile = o->ssl_keyfile,
        .ssl_ca_certs = o->ssl_ca_certs,
        .ssl_cert_reqs = (int)o->ssl_cert_reqs,
        .api_keys = s->api_keys,
        .root_path = o->root_path,
        .request_id_headers = o->enable_request_id_headers,
        .allowed_origins = s->origins,
        .allowed_methods = s->methods,
        .allowed_headers = s->headers,
        .allow_credentials = o->allow_credentials,
    };
    return qw_server_bind(&s->server, &http, err);
}

// The engine

static qw_status open_model(service *s, qw_error *err)
{
    const qw_serve_options *o = s->o;
    int64_t start = qw_clock_ns();
    qw_status st = qw_engine_args_make(&s->args, &o->model, err);
    if (st == QW_OK)
        st = qw_frontend_open(&s->frontend, s->args.model_dir, o->model.tokenizer,
                              o->model.chat_template, s->args.cache_dir, err);
    if (st == QW_OK) st = qw_frontend_need_tokenizer(&s->frontend, err);
    if (st != QW_OK) return st;
    qw_engine_options_use_tokenizer(&s->args.options, s->frontend.tokenizer);
    qw_serve_options_set_engine(&s->args.options, o);
    qw_str template = s->frontend.chat ? qw_chat_prompt_template(s->frontend.chat) : QW_STR("");
    qw_reasoning_parser *r = &s->api.reasoning;
    st = qw_reasoning_parser_init(r, o->reasoning_parser, s->frontend.tokenizer, template, err);
    if (st != QW_OK) return st;
    s->args.options.think_start_id = r->is_on ? r->think_id : -1;
    s->args.options.think_end_id = r->is_on ? r->end_think_id : -1;
    int64_t before = qw_clock_ns();
    st = qw_engine_open(&s->engine, &s->args.options, err);
    if (st != QW_OK) return st;
    int64_t end = qw_clock_ns();
    qw_str w;
    const char *rest = qw_engine_config(s->engine)->warnings;
    while (qw_model_config_next_warning(&rest, &w))
        QW_SERVE_LOG(QW_SERVE_LOG_WARNING, "%.*s", (int)w.len, w.ptr);
    s->facts = (qw_engine_facts){
        .plan = qw_engine_plan(s->engine),
        .load_s = (double)(end - before) / 1e9,
        .init_s = (double)(end - start) / 1e9,
        .isa = qw_engine_backend(s->engine)->isa,
        .dtype = qw_engine_dtype_name(s->engine),
        .n_threads = qw_engine_backend(s->engine)->n_threads,
        .steps = *qw_engine_step_stats(s->engine),
    };
    qw_engine_describe_layers(s->engine, &s->layers_text);
    if (!s->layers_text.failed && s->layers_text.len > 0) s->facts.layers = s->layers_text.data;
    return QW_OK;
}

// What requests start from: the model's sampling defaults, and the cap that an explicit one sets.
static qw_status set_defaults(service *s, qw_error *err)
{
    const qw_serve_options *o = s->o;
    const qw_generation_config *g = qw_engine_generation_config(s->engine);
    qw_sampling_defaults d = qw_model_options_defaults(&o->model, g);
    qw_status st = qw_sampling_params_set_defaults(&s->defaults, &d, err);
    if (st != QW_OK) return st;
    qw_serve_start_sampling(&d, &s->sampling_text);
    if (s->sampling_text.len > 0 && !s->sampling_text.failed)
        s->facts.sampling_defaults = s->sampling_text.data;
    if (g->has_max_new_tokens && g->max_new_tokens_overridden)
        s->api.max_tokens_cap = g->max_new_tokens;
    return QW_OK;
}

// vllm-0.22.1-tp2-1a2b3c4d: changes with everything that was given.
static const char *fingerprint(service *s)
{
    const qw_serve_options *o = s->o;
    if (o->fingerprint_mode == QW_FINGERPRINT_NONE) return NULL;
    if (o->fingerprint_mode == QW_FINGERPRINT_CUSTOM) return o->fingerprint_value;
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 24);
    qw_buf_printf(&text, "%s %s %s ", s->version, s->args.model_dir, s->facts.dtype);
    qw_buf_puts(&text, o->non_default_args ? o->non_default_args : "");
    uint32_t hash = (uint32_t)XXH3_64bits(text.data ? text.data : "", text.len);
    qw_buf_release(&text);
    if (o->fingerprint_mode == QW_FINGERPRINT_HASH) {
        snprintf(s->fingerprint, sizeof s->fingerprint, "%08x", hash);
        return s->fingerprint;
    }
    int n = snprintf(s->fingerprint, sizeof s->fingerprint, "vllm-%s", s->version);
    const struct {
        const char *name;
        int64_t size;
    } parts[] = {{"tp", o->parallel.tensor_parallel_size},
                 {"pp", o->parallel.pipeline_parallel_size},
                 {"dp", o->parallel.data_parallel_size}};
    for (size_t i = 0; i < QW_ARRAY_LEN(parts); i++)
        if (parts[i].size > 1)
            n += snprintf(s->fingerprint + n, sizeof s->fingerprint - (size_t)n, "-%s%lld",
                          parts[i].name, (long long)parts[i].size);
    snprintf(s->fingerprint + n, sizeof s->fingerprint - (size_t)n, "%s-%08x",
             o->parallel.enable_expert_parallel ? "-ep" : "", hash);
    return s->fingerprint;
}

static qw_status set_api(service *s, qw_error *err)
{
    const qw_serve_options *o = s->o;
    qw_status st = set_defaults(s, err);
    if (st != QW_OK) return st;
    s->resolved_path = realpath(s->args.model_dir, NULL);
    qw_api_config *a = &s->api;
    a->frontend = &s->frontend;
    a->longest_token = qw_api_longest_token(s->frontend.tokenizer);
    a->served_names = o->served_model_names;
    a->n_served_names = o->n_served_model_names;
    a->model_path = o->model_name;
    a->resolved_path = s->resolved_path;
    a->skip_model_name_check = o->skip_model_name_validation;
    a->created = (int64_t)time(NULL);
    a->max_model_len = qw_engine_plan(s->engine)->max_model_len;
    a->vocab_size = qw_engine_config(s->engine)->vocab_size;
    a->defaults = &s->defaults;
    a->max_logprobs = o->max_logprobs;
    a->max_n = o->max_n_sequences;
    a->chat_template_kwargs = o->default_chat_template_kwargs;
    a->trust_request_chat_template = o->trust_request_chat_template;
    a->enable_auto_tool_choice = o->enable_auto_tool_choice;
    a->tool_form = qw_tool_form_of(o->tool_call_parser);
    a->exclude_tools_when_tool_choice_none = o->exclude_tools_when_tool_choice_none;
    a->response_role = o->response_role;
    a->enable_prompt_tokens_details = o->enable_prompt_tokens_details;
    a->force_include_usage = o->enable_force_include_usage;
    a->return_tokens_as_token_ids = o->return_tokens_as_token_ids;
    a->stream_interval = (int32_t)o->stream_interval;
    a->system_fingerprint = fingerprint(s);
    return QW_OK;
}

// What the server says

static void log_access(void *ctx, const qw_http_exchange *x, int status)
{
    const service *s = ctx;
    if (!qw_serve_log_wants_access(s->o, qw_http_path(x))) return;
    char version[16];
    snprintf(version, sizeof version, "HTTP/%.8s", qw_http_version(x));
    qw_serve_log_access(qw_http_peer(x), qw_http_method(x), qw_http_target(x), version, status);
}

static void log_line(void *ctx, bool is_warning, const char *text)
{
    (void)ctx;
    QW_SERVE_LOG(is_warning ? QW_SERVE_LOG_WARNING : QW_SERVE_LOG_INFO, "%s", text);
}

static void log_request(void *ctx, const char *id, const char *what, const char *text)
{
    const service *s = ctx;
    int max =
        s->o->max_log_len < 0 || s->o->max_log_len > INT32_MAX ? INT32_MAX : (int)s->o->max_log_len;
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "%s request %s%s%.*s", what, id, text ? ": " : "", max,
                 text ? text : "");
}

// Signals: a thread of its own waits for them, so no handler interrupts anything

static void *wait_for_signals(void *ctx)
{
    service *s = ctx;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1); // from stop_signals
    for (int got = 0; sigwait(&set, &got) == 0 && got != SIGUSR1;) {
        QW_SERVE_LOG(QW_SERVE_LOG_INFO, "Shutting down on %s", strsignal(got));
        qw_notify("STOPPING=1");
        qw_server_shutdown(s->server);
    }
    return NULL;
}

static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

// In order

static void list_routes(service *s, const qw_server_config *config)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(s->routes); i++) {
        qw_route_info r = qw_server_route(config, i);
        if (!r.path) break;
        s->routes[s->n_routes++] = (qw_route_name){r.path, r.methods};
    }
}

// For tests of a running server: memory that fails at random, and a watchdog that is soon alarmed.
static void set_test_failures(void)
{
    const char *period = getenv("QWENCH_TEST_FAIL_ALLOCATIONS");
    if (period) qw_mem_fail_often(strtoull(period, NULL, 10));
}

static double stall_timeout_s(void)
{
    const char *seconds = getenv("QWENCH_TEST_STALL_SECONDS");
    return seconds ? strtod(seconds, NULL) : STALL_TIMEOUT_S;
}

static qw_status run_server(service *s, const qw_server_config *config, qw_error *err)
{
    const char *url = qw_http_server_url(qw_server_http(s->server));
    qw_serve_start_engine(s->o, &s->facts);
    list_routes(s, config);
    qw_serve_start_listen(url, s->routes, s->n_routes);
    qw_status st = qw_server_start(s->server, config, err);
    if (st != QW_OK) return st;
    pthread_t signals;
    int e = pthread_create(&signals, NULL, wait_for_signals, s);
    if (e != 0)
        return qw_fail(err, QW_ERR_IO, "cannot start a thread for signals: %s", strerror(e));
    qw_serve_start_complete(s->o, &s->facts, url);
    qw_notify("READY=1");
    set_test_failures();
    st = qw_server_run(s->server, err);
    pthread_kill(signals, SIGUSR1);
    pthread_join(signals, NULL);
    return st;
}

static qw_status serve(service *s, qw_error *err)
{
    const qw_serve_options *o = s->o;
    qw_status st = bind_server(s, err);
    if (st == QW_OK) st = open_model(s, err);
    if (st == QW_OK) st = set_api(s, err);
    if (st != QW_OK) return st;
    qw_server_config config = {
        .engine = s->engine,
        .api = &s->api,
        .version = s->version,
        .n_workers = 2,
        .max_waiting = o->max_waiting_requests,
        .shutdown_timeout_s = o->shutdown_timeout_s,
        .stall_timeout_s = stall_timeout_s(),
        .log_stats_interval_s = o->disable_log_stats ? 0 : o->log_stats_interval_s,
        .record_stats = !o->disable_log_stats,
        .has_prefix_caching = o->enable_prefix_caching,
        .track_load = o->enable_server_load_tracking,
        .has_tokenizer_info = o->enable_tokenizer_info_endpoint,
        .has_ui = o->ui,
        .log = {.ctx = s,
                .access = log_access,
                .line = log_line,
                .request = o->enable_log_requests ? log_request : NULL},
    };
    st = run_server(s, &config, err);
    qw_mem_fail_often(0);
    return st;
}

qw_status qw_serve_run(const qw_serve_options *o, const qw_program *program, qw_error *err)
{
    service s = {.o = o};
    block_signals();
    qw_serve_log_init_serve(o);
    qw_serve_start_options(o, program);
    qw_status st = o->cpu_bind ? qw_thread_plan_bind(o->cpu_bind, err) : QW_OK;
    snprintf(s.version, sizeof s.version, "0.22.1+qwench.%s", program->version);
    qw_sampling_params_init(&s.defaults);
    qw_buf_init(&s.sampling_text, 1 << 16);
    qw_buf_init(&s.layers_text, 1 << 20);
    if (st == QW_OK) st = serve(&s, err);
    qw_server_free(s.server);
    qw_engine_close(s.engine);
    qw_sampling_params_release(&s.defaults);
    qw_frontend_close(&s.frontend);
    qw_engine_args_release(&s.args);
    qw_buf_release(&s.sampling_text);
    qw_buf_release(&s.layers_text);
    if (st != QW_OK && o->log_json) QW_SERVE_LOG(QW_SERVE_LOG_ERROR, "%s", err->text);
    free(s.resolved_path);
    qw_mem_free((void *)s.api_keys);
    qw_mem_free((void *)s.origins);
    qw_mem_free((void *)s.methods);
    qw_mem_free((void *)s.headers);
    return st;
}
