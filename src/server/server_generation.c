// A request for text, from its body to the last byte of the answer.
//
//   I/O thread   begin ---> (worker) prepare ---> submit ---> events ... ---> over: freed
//   client left:   |             |                  | cancel     | cancel
//
// The exchange may die at any moment; the generation lives until the worker and the engine have
// given back what they were lent.

#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random_hex.h"
#include "server/server_internal.h"

typedef enum generation_kind {
    GENERATION_CHAT,
    GENERATION_COMPLETION,
    GENERATION_INVOCATION, /* whichever the body looks like */
    GENERATION_RESPONSES,
    GENERATION_MESSAGES,
} generation_kind;

// One choice, for the metrics.
typedef struct choice {
    int64_t first_ns, last_ns; /* tokens; 0: none yet */
    int64_t n_tokens;
    qw_metrics_reason reason;
    qw_choice_state state; /* as the engine said last */
} choice;

struct qw_generation {
    qw_pending pending; /* first: what the exchange points to */
    qw_server *server;
    qw_generation *prev, *next, *next_changed;
    bool is_changed;
    generation_kind kind;
    qw_http_exchange *x; /* NULL: the client left, or the reply is given */
    atomic_bool is_gone; /* tells the worker */
    qw_task task;
    qw_http_post prepared;

    // The request as it came; the worker's until `prepared` runs
    char *body, *content_type, *request_id;
    size_t body_len;
    char random_id[33];
    int64_t created, arrival_ns;

    // Made by the worker
    qw_status status; /* QW_OK, or `error` is the answer */
    qw_api_error error;
    bool has_request;
    qw_api_request request;
    qw_api_prompt *prompts; /* [request.n_prompts] */
    size_t n_prompts;       /* of them made */
    qw_job *jobs;           /* [request.n_prompts] */
    choice *choices;        /* [request.n_prompts * params.n] */
    qw_api_response *response;

    // While the engine works
    size_t n_open; /* jobs not yet back */
    bool is_submitted, is_streaming, is_over;
    qw_buf out; /* what the last flush wrote */
};

// Memory

static void job_release(qw_job *job)
{
    qw_sampling_params_release(&job->params);
}

static void generation_free(qw_generation *g)
{
    if (g->prev)
        g->prev->next = g->next;
    else
        g->server->generations = g->next;
    if (g->next) g->next->prev = g->prev;
    g->server->n_generations--;
    qw_api_response_free(g->response);
    for (size_t i = 0; i < g->n_prompts; i++) {
        job_release(&g->jobs[i]);
        qw_api_prompt_release(&g->prompts[i]);
    }
    qw_mem_free(g->jobs);
    qw_mem_free(g->choices);
    qw_mem_free(g->prompts);
    if (g->has_request) qw_api_request_release(&g->request);
    qw_buf_release(&g->out);
    qw_mem_free(g->body);
    qw_mem_free(g->content_type);
    qw_mem_free(g->request_id);
    qw_mem_free(g);
}

// Free it when nobody holds it any more. I/O thread, with no job in the engine's hands.
static void free_if_over(qw_generation *g)
{
    if (!g->x && g->n_open == 0 && g->is_over && !g->is_changed) generation_free(g);
}

static char *copy_header(const qw_http_exchange *x, const char *name, bool *ok)
{
    const char *value = qw_http_header(x, name);
    if (!value) return NULL;
    char *copy = qw_mem_strdup(value);
    *ok = *ok && copy;
    return copy;
}

// Worker

// /invocations is told by its body: with messages it is a chat.
static bool looks_like_chat(const qw_generation *g)
{
    json_t *body;
    qw_error ignored;
    if (!g->body || qw_json_parse(&body, g->body, g->body_len, "the body", &ignored) != QW_OK)
        return true;
    bool is_chat = json_object_get(body, "messages") || !json_object_get(body, "prompt");
    json_decref(body);
    return is_chat;
}

static qw_api_dialect dialect_of(const qw_generation *g)
{
    return g->kind == GENERATION_RESPONSES  ? QW_DIALECT_RESPONSES
           : g->kind == GENERATION_MESSAGES ? QW_DIALECT_MESSAGES
                                            : QW_DIALECT_OPENAI;
}

static qw_status parse(qw_generation *g, const qw_api_config *cfg)
{
    qw_api_call call = {.body = {g->body ? g->body : "", g->body_len},
                        .content_type = g->content_type,
                        .request_id = g->request_id,
                        .random_id = g->random_id};
    generation_kind kind = g->kind;
    if (kind == GENERATION_INVOCATION)
        kind = looks_like_chat(g) ? GENERATION_CHAT : GENERATION_COMPLETION;
    qw_status st =
        kind == GENERATION_COMPLETION
            ? qw_api_request_parse_completion(&g->request, cfg, &call, &g->error)
            : qw_api_request_parse_dialect(&g->request, dialect_of(g), cfg, &call, &g->error);
    g->has_request = st == QW_OK;
    return st;
}

static qw_status make_job(qw_generation *g, size_t i)
{
    const qw_api_request *r = &g->request;
    const qw_api_prompt *p = &g->prompts[i];
    qw_job *job = &g->jobs[i];
    qw_error err;
    qw_status st = qw_sampling_params_copy(&job->params, &r->params, &err);
    if (st != QW_OK) return qw_api_fail_with(&g->error, st, &err, NULL);
    job->user = g;
    job->prompt = p->ids.data;
    job->n_prompt = p->ids.len;
    job->params.max_tokens = p->max_tokens;
    job->params.thinking_token_budget = r->thinking_token_budget;
    if (p->thinking != QW_REASONING_CONTENT)
        job->params.grammar_start =
            p->thinking == QW_REASONING_THINKING ? QW_GRAMMAR_AFTER_THINKING : QW_GRAMMAR_MAY_THINK;
    job->params.starts_thinking = p->thinking == QW_REASONING_THINKING;
    job->options =
        (qw_submit_options){.priority = (int32_t)r->priority, .cache_salt = r->cache_salt.ptr};
    job->wants_prompt_logprobs = r->params.prompt_logprobs != QW_LOGPROBS_OFF;
    return QW_OK;
}

static qw_status make_prompts(qw_generation *g, const qw_api_config *cfg)
{
    size_t n = g->request.n_prompts;
    g->prompts = qw_mem_calloc(n, sizeof *g->prompts);
    g->jobs = qw_mem_calloc(n, sizeof *g->jobs);
    g->choices = qw_mem_calloc(n, (size_t)g->request.params.n * sizeof *g->choices);
    if (!g->prompts || !g->jobs || !g->choices)
        return qw_api_fail(&g->error, QW_FAULT_UNAVAILABLE, NULL,
                           "not enough memory for %zu prompts", n);
    for (size_t i = 0; i < n && !atomic_load(&g->is_gone); i++) {
        qw_status st = qw_api_request_prompt(&g->prompts[i], &g->request, i, cfg, &g->error);
        if (st != QW_OK) return st;
        g->n_prompts++;
        st = make_job(g, i);
        if (st != QW_OK) return st;
    }
    return QW_OK;
}

static void prepare(qw_task *task)
{
    qw_generation *g = (qw_generation *)((char *)task - offsetof(qw_generation, task));
    const qw_api_config *cfg = g->server->config.api;
    if (!atomic_load(&g->is_gone)) {
        g->status = parse(g, cfg);
        if (g->status == QW_OK) g->status = make_prompts(g, cfg);
        if (g->status == QW_OK && g->n_prompts == g->request.n_prompts)
            g->status = qw_api_response_new(&g->response, cfg, &g->request, g->prompts, g->created,
                                            &g->error);
    }
    qw_http_server_post_node(g->server->http, &g->prepared);
}

// I/O thread: the answer

// The reply is given; the exchange tells its end by itself.
static void let_go(qw_generation *g)
{
    qw_http_set_user(g->x, NULL);
    g->x = NULL;
}

static void cancel_jobs(qw_generation *g)
{
    if (g->n_open == 0) return;
    for (size_t i = 0; i < g->n_prompts; i++) qw_runner_cancel(&g->jobs[i]);
}

// End with an error: as the whole reply, or as the last event of a stream.
static void fail(qw_generation *g, const qw_api_error *why)
{
    g->is_over = true;
    cancel_jobs(g);
    if (!g->x) return;
    if (!g->is_streaming) {
        qw_reply_refusal(g->x, why, dialect_of(g));
    } else {
        qw_buf_clear(&g->out);
        qw_api_response_fail(g->response, why, &g->out);
        if (g->out.failed)
            qw_http_abort(g->x);
        else
            qw_http_stream_write(g->x, g->out.data, g->out.len);
        qw_http_stream_end(g->x);
    }
    let_go(g);
}

static void send_event(qw_generation *g)
{
    if (!g->is_streaming) {
        g->is_streaming = true;
        qw_http_stream_begin(g->x, 200, "text/event-stream; charset=utf-8");
    }
    qw_http_stream_write(g->x, g->out.data, g->out.len);
}

// Send what has become ready.
static void flush(qw_generation *g)
{
    if (g->is_over || !g->x) return;
    bool is_done = qw_api_response_is_done(g->response);
    if (!g->request.stream && !is_done) return;
    // How many tokens were cached is known when the jobs are back.
    bool tells_cached = g->server->config.api->enable_prompt_tokens_details ||
                        g->request.dialect == QW_DIALECT_RESPONSES;
    if (is_done && g->n_open > 0 && tells_cached) return;
    qw_api_error err;
    qw_buf_clear(&g->out);
    if (qw_api_response_flush(g->response, &g->out, &err) != QW_OK) {
        fail(g, &err);
        return;
    }
    if (g->request.stream) {
        if (g->out.len > 0) send_event(g);
        if (is_done) qw_http_stream_end(g->x);
    } else {
        qw_reply_json(g->x, 200, &g->out);
    }
    if (!is_done) return;
    g->is_over = true;
    if (g->server->config.log.request)
        g->server->config.log.request(g->server->config.log.ctx, g->request.id, "Finished", NULL);
    let_go(g);
}

// I/O thread: events

// Metrics of a token; `reason` is what the choice has come to if nothing follows.
static void note_token(qw_generation *g, const qw_run_event *e)
{
    size_t n = (size_t)g->request.params.n;
    choice *c = &g->choices[(size_t)(e->job - g->jobs) * n + (size_t)e->child];
    c->reason = e->finish == QW_FINISH_STOP     ? QW_METRICS_STOP
                : e->finish == QW_FINISH_LENGTH ? QW_METRICS_LENGTH
                                                : QW_METRICS_ABORT;
    if (e->id < 0) return;
    int64_t since = c->n_tokens == 0 ? g->arrival_ns : c->last_ns;
    if (g->server->metrics)
        qw_metrics_observe_token(g->server->metrics, c->n_tokens == 0,
                                 (double)(e->time_ns - since) / 1e9);
    if (c->n_tokens++ == 0) c->first_ns = e->time_ns;
    c->last_ns = e->time_ns;
}

static double seconds(int64_t from_ns, int64_t to_ns)
{
    return from_ns > 0 && to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0;
}

// Metrics of a job that is back: an entry for each of its choices.
static void note_end(const qw_generation *g, const qw_job *job)
{
    if (!g->server->metrics) return;
    const qw_request_facts *f = &job->facts;
    size_t n = (size_t)g->request.params.n, i = (size_t)(job - g->jobs);
    int64_t now = qw_clock_ns();
    for (size_t j = i * n; j < (i + 1) * n; j++) {
        const choice *c = &g->choices[j];
        qw_metrics_request r = {
            .reason = job->status != QW_OK ? QW_METRICS_ERROR : c->reason,
            .prompt_tokens = (int64_t)job->n_prompt,
            .cached_tokens = f->n_cached_tokens,
            .generation_tokens = c->n_tokens,
            .max_tokens = g->request.params.max_tokens,
            .n = g->request.params.n,
            .queue_s = seconds(g->arrival_ns, f->scheduled_ns),
            .prefill_s = seconds(f->scheduled_ns, c->first_ns),
            .decode_s = seconds(c->first_ns, c->last_ns),
            .e2e_s = seconds(g->arrival_ns, c->last_ns > 0 ? c->last_ns : now),
        };
        qw_metrics_observe_request(g->server->metrics, &r);
    }
}

static void on_token(qw_generation *g, const qw_run_event *e)
{
    if (g->is_over) return;
    note_token(g, e);
    size_t i = (size_t)(e->job - g->jobs);
    qw_token_event token = {.child = e->child,
                            .id = e->id,
                            .logprobs = e->logprobs,
                            .n_logprobs = e->n_logprobs,
                            .finish = e->finish,
                            .stop_id = e->stop_id};
    bool withdraw = false;
    qw_api_error err;
    if (qw_api_response_push(g->response, i, &token, &withdraw, &err) != QW_OK) {
        fail(g, &err);
    } else if (withdraw) { // a stop string
        g->choices[i * (size_t)g->request.params.n + (size_t)e->child].reason = QW_METRICS_STOP;
        if (g->request.params.n == 1)
            qw_runner_cancel(e->job);
        else
            qw_runner_withdraw(e->job, e->child);
    }
}

static void on_prompt_logprobs(qw_generation *g, const qw_run_event *e)
{
    if (g->is_over) return;
    qw_api_error err;
    if (qw_api_response_prompt_logprobs(g->response, (size_t)(e->job - g->jobs), e->position,
                                        e->logprobs, e->n_logprobs, &err) != QW_OK)
        fail(g, &err);
}

static void on_job_over(qw_generation *g, qw_job *job)
{
    g->n_open--;
    note_end(g, job);
    if (!g->is_over)
        qw_api_response_set_cached(g->response, (size_t)(job - g->jobs),
                                   job->facts.n_cached_tokens);
    if (job->status != QW_OK && !g->is_over) {
        qw_api_error err;
        (void)qw_api_fail_with(&err, job->status, &job->error, NULL);
        if (err.fault == QW_FAULT_INTERNAL)
            QW_LOG(QW_LOG_ERROR, "server", "a request failed: %s", job->error.text);
        fail(g, &err);
    }
}

static void on_child(qw_generation *g, const qw_run_event *e)
{
    size_t i = (size_t)(e->job - g->jobs) * (size_t)g->request.params.n + (size_t)e->child;
    g->choices[i].state = (qw_choice_state){true, e->is_running, e->n_computed, e->n_blocks};
}

static void on_event(void *ctx, const qw_run_event *e)
{
    qw_server *s = ctx;
    if (e->kind == QW_RUN_STEP) {
        qw_server_note_step(s, e);
        return;
    }
    if (e->kind == QW_RUN_LISTED) {
        qw_server_answer_requests(s);
        return;
    }
    qw_generation *g = e->job->user;
    if (e->kind == QW_RUN_CHILD) {
        on_child(g, e);
        return;
    }
    if (!g->is_changed) {
        g->is_changed = true;
        g->next_changed = s->changed;
        s->changed = g;
    }
    switch (e->kind) {
    case QW_RUN_TOKEN: on_token(g, e); break;
    case QW_RUN_PROMPT_LOGPROBS: on_prompt_logprobs(g, e); break;
    case QW_RUN_DONE: on_job_over(g, e->job); break;
    case QW_RUN_STEP:
    case QW_RUN_CHILD:
    case QW_RUN_LISTED: break;
    }
}

void qw_generations_drain(qw_server *s)
{
    (void)qw_runner_drain(s->runner, on_event, s);
    for (qw_generation *g = s->changed, *next; g; g = next) {
        next = g->next_changed;
        g->is_changed = false;
        flush(g);
        if (g->n_open == 0 && !g->is_over) { // every job is back, and yet no choice says why
            qw_api_error err;
            (void)qw_api_fail(&err, QW_FAULT_INTERNAL, NULL, "Internal server error");
            fail(g, &err);
        }
        free_if_over(g);
    }
    s->changed = NULL;
}

void qw_generations_describe(qw_server *s, void (*fn)(void *ctx, const qw_request_state *state),
                             void *ctx)
{
    int64_t now = qw_clock_ns();
    for (qw_generation *g = s->generations; g; g = g->next) {
        qw_request_state r = {.age_s = (double)(now - g->arrival_ns) / 1e9};
        // While the worker has it, only that is known.
        if (g->is_submitted) {
            r.id = g->request.id;
            r.n_choices = g->n_prompts * (size_t)g->request.params.n;
            for (size_t i = 0; i < g->n_prompts; i++) r.n_prompt += (int64_t)g->jobs[i].n_prompt;
        }
        for (size_t i = 0; i < r.n_choices; i++) {
            const choice *c = &g->choices[i];
            r.n_generated += c->n_tokens;
            r.n_computed += c->state.n_computed;
            r.n_blocks += c->state.n_blocks;
            r.is_running |= c->state.is_running;
            r.is_preempted |= c->state.is_known && !c->state.is_running && c->n_tokens > 0;
            g->choices[i].state = (qw_choice_state){0};
        }
        if (!g->is_over) fn(ctx, &r);
    }
}

void qw_generations_cancel(qw_server *s)
{
    for (qw_generation *g = s->generations; g; g = g->next) cancel_jobs(g);
}

// I/O thread: begin and end

static void submit(qw_generation *g)
{
    qw_server *s = g->server;
    qw_engine_stats e;
    qw_runner_stats(s->runner, &e);
    if (s->config.max_waiting > 0 && e.n_waiting >= s->config.max_waiting) {
        qw_api_error err;
        (void)qw_api_fail(&err, QW_FAULT_BUSY, NULL,
                          "%d requests are waiting already, as many as --max-waiting-requests "
                          "allows; try again later",
                          e.n_waiting);
        fail(g, &err);
        return;
    }
    if (s->config.log.request)
        for (size_t i = 0; i < g->n_prompts; i++)
            s->config.log.request(s->config.log.ctx, g->request.id, "Received",
                                  g->prompts[i].text.data);
    g->is_submitted = true;
    g->n_open = g->n_prompts;
    for (size_t i = 0; i < g->n_prompts; i++) qw_runner_submit(s->runner, &g->jobs[i]);
}

// The worker has given the request back.
static void on_prepared(void *ctx)
{
    qw_generation *g = ctx;
    if (!g->x) {
        g->is_over = true;
    } else if (g->status != QW_OK) {
        fail(g, &g->error);
    } else {
        submit(g);
    }
    free_if_over(g);
}

static void on_gone(qw_pending *p)
{
    qw_generation *g = (qw_generation *)p;
    g->x = NULL;
    atomic_store(&g->is_gone, true);
    // While the worker has it, on_prepared does the rest.
    if (g->n_open == 0) return;
    g->is_over = true;
    cancel_jobs(g);
}

static void begin(qw_server *s, qw_http_exchange *x, generation_kind kind)
{
    qw_generation *g = qw_mem_calloc(1, sizeof *g);
    bool ok = g != NULL;
    if (ok) {
        g->pending.gone = on_gone;
        g->server = s;
        g->kind = kind;
        g->task.run = prepare;
        g->prepared = (qw_http_post){.fn = on_prepared, .ctx = g};
        g->created = (int64_t)time(NULL);
        g->arrival_ns = qw_clock_ns();
        qw_buf_init(&g->out, (size_t)1 << 30);
        qw_random_hex(g->random_id, 32);
        g->content_type = copy_header(x, "Content-Type", &ok);
        g->request_id = copy_header(x, "X-Request-Id", &ok);
        g->next = s->generations;
        if (s->generations) s->generations->prev = g;
        s->generations = g;
        s->n_generations++;
    }
    if (!ok) {
        if (g) generation_free(g);
        qw_http_reply_error(x, 503, "ServiceUnavailableError", NULL,
                            "not enough memory for the request");
        return;
    }
    g->body = qw_http_take_body(x, &g->body_len);
    g->x = x;
    qw_http_set_user(x, &g->pending);
    qw_workers_add(s->workers, &g->task);
}

void qw_answer_chat(qw_server *s, qw_http_exchange *x)
{
    begin(s, x, GENERATION_CHAT);
}

void qw_answer_completion(qw_server *s, qw_http_exchange *x)
{
    begin(s, x, GENERATION_COMPLETION);
}

void qw_answer_invocation(qw_server *s, qw_http_exchange *x)
{
    begin(s, x, GENERATION_INVOCATION);
}

void qw_answer_responses(qw_server *s, qw_http_exchange *x)
{
    begin(s, x, GENERATION_RESPONSES);
}

void qw_answer_messages(qw_server *s, qw_http_exchange *x)
{
    begin(s, x, GENERATION_MESSAGES);
}
