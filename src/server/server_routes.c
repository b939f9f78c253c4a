// What is served where (http-api.md 1.4), and the answers that need no engine.

#include "base/mem.h"
#include "base/random_hex.h"
#include "server/api_models.h"
#include "server/api_tokenize.h"
#include "server/server_internal.h"

static bool has_tokenizer_info(const qw_server_config *c)
{
    return c->has_tokenizer_info;
}

static bool has_ui(const qw_server_config *c)
{
    return c->has_ui;
}

static void answer_health(qw_server *s, qw_http_exchange *x)
{
    qw_http_reply(x, s->is_unhealthy ? 503 : 200, NULL, NULL, 0);
}

static void answer_version(qw_server *s, qw_http_exchange *x)
{
    qw_buf out;
    qw_buf_init(&out, 4096);
    qw_api_version_write(&out, s->config.version);
    qw_reply_json(x, 200, &out);
}

static void answer_load(qw_server *s, qw_http_exchange *x)
{
    qw_buf out;
    qw_buf_init(&out, 4096);
    qw_api_load_write(&out, s->config.track_load ? (int64_t)s->n_generations : 0);
    qw_reply_json(x, 200, &out);
}

static void answer_models(qw_server *s, qw_http_exchange *x)
{
    qw_buf out;
    char id[33];
    qw_buf_init(&out, (size_t)1 << 24);
    qw_random_hex(id, 32);
    qw_api_models_write(&out, s->config.api, id);
    qw_reply_json(x, 200, &out);
}

static void answer_model(qw_server *s, qw_http_exchange *x)
{
    qw_buf out;
    qw_api_error err;
    qw_buf_init(&out, (size_t)1 << 24);
    char id[33];
    qw_random_hex(id, 32);
    const char *name = qw_http_path(x) + strlen("/v1/models/");
    if (qw_api_model_write(&out, s->config.api, qw_str_of(name), id, &err) == QW_OK) {
        qw_reply_json(x, 200, &out);
    } else {
        qw_buf_release(&out);
        qw_reply_error(x, &err);
    }
}

static void answer_metrics(qw_server *s, qw_http_exchange *x)
{
    qw_buf out;
    qw_buf_init(&out, (size_t)1 << 24);
    qw_server_write_metrics(s, &out);
    if (out.failed) {
        qw_reply_json(x, 200, &out);
        return;
    }
    size_t len;
    char *body = qw_buf_take(&out, &len);
    qw_http_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", body, len);
}

static void answer_reset_prefix_cache(qw_server *s, qw_http_exchange *x)
{
    qw_runner_reset_prefix_cache(s->runner);
    qw_http_reply(x, 200, NULL, NULL, 0);
}

/** What a worker makes for tokenize and its like: `out` is the body of a 200. */
typedef qw_status text_fn(qw_buf *out, const qw_api_config *cfg, const qw_api_call *call,
                          qw_api_error *err);

// Tokenizing a long text or rendering a template takes time: not on the I/O thread.

typedef struct text_call {
    qw_pending pending; /* first: what the exchange points to */
    qw_server *server;
    qw_http_exchange *x; /* NULL: the client left */
    qw_task task;
    qw_http_post finished;
    text_fn *fn;
    qw_api_dialect dialect; /* of a refusal */
    char *body, *content_type;
    size_t body_len;
    qw_buf out;
    qw_status status;
    qw_api_error error;
} text_call;

static void text_call_free(text_call *t)
{
    qw_buf_release(&t->out);
    qw_mem_free(t->body);
    qw_mem_free(t->content_type);
    qw_mem_free(t);
}

static void run_text_call(qw_task *task)
{
    text_call *t = (text_call *)((char *)task - offsetof(text_call, task));
    qw_api_call call = {.body = {t->body ? t->body : "", t->body_len},
                        .content_type = t->content_type};
    t->status = t->fn(&t->out, t->server->config.api, &call, &t->error);
    qw_http_server_post_node(t->server->http, &t->finished);
}

static void on_text_finished(void *ctx)
{
    text_call *t = ctx;
    if (t->x) {
        qw_http_set_user(t->x, NULL);
        if (t->status == QW_OK)
            qw_reply_json(t->x, 200, &t->out);
        else
            qw_reply_refusal(t->x, &t->error, t->dialect);
    }
    text_call_free(t);
}

static void on_text_gone(qw_pending *p)
{
    ((text_call *)p)->x = NULL;
}

static void answer_on_worker(qw_server *s, qw_http_exchange *x, text_fn *fn, qw_api_dialect dialect)
{
    text_call *t = qw_mem_calloc(1, sizeof *t);
    const char *content_type = qw_http_header(x, "Content-Type");
    bool ok = t != NULL;
    if (ok) {
        qw_buf_init(&t->out, (size_t)1 << 30);
        t->content_type = content_type ? qw_mem_strdup(content_type) : NULL;
        ok = !content_type || t->content_type;
    }
    if (!ok) {
        if (t) text_call_free(t);
        qw_http_reply_error(x, 503, "ServiceUnavailableError", NULL,
                            "not enough memory for the request");
        return;
    }
    t->pending.gone = on_text_gone;
    t->server = s;
    t->x = x;
    t->task.run = run_text_call;
    t->finished = (qw_http_post){.fn = on_text_finished, .ctx = t};
    t->fn = fn;
    t->dialect = dialect;
    t->body = qw_http_take_body(x, &t->body_len);
    qw_http_set_user(x, &t->pending);
    qw_workers_add(s->workers, &t->task);
}

static void answer_tokenize(qw_server *s, qw_http_exchange *x)
{
    answer_on_worker(s, x, qw_api_tokenize, QW_DIALECT_OPENAI);
}

static void answer_detokenize(qw_server *s, qw_http_exchange *x)
{
    answer_on_worker(s, x, qw_api_detokenize, QW_DIALECT_OPENAI);
}

static qw_status tokenizer_info(qw_buf *out, const qw_api_config *cfg, const qw_api_call *call,
                                qw_api_error *err)
{
    (void)call;
    return qw_api_tokenizer_info(out, cfg, err);
}

static void answer_tokenizer_info(qw_server *s, qw_http_exchange *x)
{
    answer_on_worker(s, x, tokenizer_info, QW_DIALECT_OPENAI);
}

static void answer_count_tokens(qw_server *s, qw_http_exchange *x)
{
    answer_on_worker(s, x, qw_api_count_tokens, QW_DIALECT_MESSAGES);
}

// Nothing is stored, so there is none to be found.
static void answer_stored_response(qw_server *s, qw_http_exchange *x)
{
    (void)s;
    qw_api_error err;
    const char *id = qw_http_path(x) + strlen("/v1/responses/");
    (void)qw_api_fail(&err, QW_FAULT_NOT_FOUND, "response_id", "Response with id '%.*s' not found.",
                      (int)strcspn(id, "/"), id);
    qw_reply_error(x, &err);
}

static const qw_route routes[] = {
    {"/", "GET", qw_answer_ui, has_ui},
    {"/ui/*", "GET", qw_answer_ui, has_ui},
    {"", "GET", qw_answer_ui_root, has_ui}, // what --root-path leaves of itself
    {"/health", "GET", answer_health, NULL},
    {"/ping", "GET, POST", answer_health, NULL},
    {"/version", "GET", answer_version, NULL},
    {"/load", "GET", answer_load, NULL},
    {"/metrics", "GET", answer_metrics, NULL},
    {"/qwench/requests", "GET", qw_answer_requests, NULL},
    {"/tokenize", "POST", answer_tokenize, NULL},
    {"/detokenize", "POST", answer_detokenize, NULL},
    {"/tokenizer_info", "GET", answer_tokenizer_info, has_tokenizer_info},
    {"/v1/models", "GET", answer_models, NULL},
    {"/v1/models/*", "GET", answer_model, NULL},
    {"/v1/chat/completions", "POST", qw_answer_chat, NULL},
    {"/v1/completions", "POST", qw_answer_completion, NULL},
    {"/v1/responses", "POST", qw_answer_responses, NULL},
    {"/v1/responses/*", "GET, POST", answer_stored_response, NULL},
    {"/v1/messages", "POST", qw_answer_messages, NULL},
    {"/v1/messages/count_tokens", "POST", answer_count_tokens, NULL},
    {"/invocations", "POST", qw_answer_invocation, NULL},
    {"/reset_prefix_cache", "POST", answer_reset_prefix_cache, NULL},
};

const qw_route *qw_route_find(const qw_server_config *config, const char *path)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(routes); i++) {
        const qw_route *r = &routes[i];
        size_t n = strlen(r->path);
        bool is_prefix = n > 0 && r->path[n - 1] == '*';
        bool fits = is_prefix ? strncmp(path, r->path, n - 1) == 0 && path[n - 1] != '\0'
                              : strcmp(path, r->path) == 0;
        if (fits && (!r->is_on || r->is_on(config))) return r;
    }
    return NULL;
}

bool qw_route_takes(const qw_route *route, const char *method)
{
    size_t n = strlen(method);
    for (const char *p = route->methods; *p; p += strspn(p, ", ")) {
        size_t len = strcspn(p, ",");
        if (len == n && memcmp(p, method, n) == 0) return true;
        p += len;
    }
    return strcmp(method, "HEAD") == 0 && qw_route_takes(route, "GET");
}

qw_route_info qw_server_route(const qw_server_config *config, size_t i)
{
    for (size_t j = 0; j < QW_ARRAY_LEN(routes); j++) {
        if (routes[j].is_on && !routes[j].is_on(config)) continue;
        if (!*routes[j].path) continue;
        if (i-- == 0) return (qw_route_info){routes[j].path, routes[j].methods};
    }
    return (qw_route_info){0};
}
