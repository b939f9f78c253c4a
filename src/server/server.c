#include "server/server.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/server_internal.h"

enum { WATCH_MS = 1000 };

// Requests

static void on_begin(void *ctx, qw_http_exchange *x)
{
    qw_server *s = ctx;
    const qw_route *route = qw_route_find(&s->config, qw_http_path(x));
    if (!route)
        qw_http_reply_not_found(x);
    else if (!qw_route_takes(route, qw_http_method(x)))
        qw_http_reply_bad_method(x, route->methods);
}

static void on_request(void *ctx, qw_http_exchange *x)
{
    qw_server *s = ctx;
    qw_route_find(&s->config, qw_http_path(x))->answer(s, x);
}

static void on_gone(void *ctx, qw_http_exchange *x)
{
    (void)ctx;
    qw_pending *p = qw_http_user(x);
    if (p) p->gone(p);
}

static void on_done(void *ctx, qw_http_exchange *x)
{
    (void)ctx;
    qw_pending *p = qw_http_user(x);
    if (p && p->done) p->done(p);
}

static void on_access(void *ctx, const qw_http_exchange *x, int status)
{
    qw_server *s = ctx;
    if (s->config.log.access) s->config.log.access(s->config.log.ctx, x, status);
}

void qw_reply_json(qw_http_exchange *x, int status, qw_buf *out)
{
    if (out->failed) {
        qw_buf_release(out);
        qw_http_reply_error(x, 503, "ServiceUnavailableError", NULL,
                            "not enough memory for the answer");
        return;
    }
    size_t len;
    char *body = qw_buf_take(out, &len);
    qw_http_reply(x, status, "application/json", body, len);
}

void qw_reply_refusal(qw_http_exchange *x, const qw_api_error *e, qw_api_dialect dialect)
{
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    qw_api_error_write_dialect(&out, e, dialect);
    qw_reply_json(x, qw_api_fault_status(e->fault), &out);
}

void qw_reply_error(qw_http_exchange *x, const qw_api_error *e)
{
    qw_reply_refusal(x, e, QW_DIALECT_OPENAI);
}

// From the engine's thread to this one

static void drain(void *ctx)
{
    qw_server *s = ctx;
    atomic_store(&s->drain_posted, false);
    if (s->runner) qw_generations_drain(s);
}

static void on_events(void *ctx)
{
    qw_server *s = ctx;
    if (atomic_load(&s->is_ending)) sem_post(&s->told);
    if (!atomic_exchange(&s->drain_posted, true)) qw_http_server_post_node(s->http, &s->drain_node);
}

// Timers

static void say(const qw_server *s, bool is_warning, const char *text)
{
    if (s->config.log.line) s->config.log.line(s->config.log.ctx, is_warning, text);
}

static void on_deadline(void *ctx)
{
    qw_server *s = ctx;
    if (s->n_generations > 0) {
        char text[128];
        snprintf(text, sizeof text, "Ending %zu requests that still run", s->n_generations);
        say(s, true, text);
    }
    qw_http_server_stop(s->http);
}

// Work is waiting and nothing moves: say what there is, once, and let /health tell.
static void on_watch(void *ctx)
{
    qw_server *s = ctx;
    double stalled_s = (double)qw_runner_stalled_ns(s->runner) / 1e9;
    bool is_stalled = stalled_s > s->config.stall_timeout_s;
    if (is_stalled == s->is_unhealthy) return;
    s->is_unhealthy = is_stalled;
    char text[512];
    if (is_stalled) {
        qw_engine_stats e;
        qw_runner_stats(s->runner, &e);
        snprintf(text, sizeof text,
                 "No step for %.0f s while %zu requests wait: running %d, waiting %d, KV blocks %d "
                 "of %d in use, %zu connections, %zu exchanges. /health answers 503 from now on",
                 stalled_s, qw_runner_n_jobs(s->runner), e.n_running, e.n_waiting, e.n_blocks_used,
                 e.n_blocks, qw_http_server_n_connections(s->http),
                 qw_http_server_n_exchanges(s->http));
    } else {
        snprintf(text, sizeof text, "Steps run again; /health answers 200");
    }
    say(s, true, text);
}

// Ending

static void end_now(void *ctx)
{
    qw_server *s = ctx;
    on_deadline(s);
}

static void begin_drain(void *ctx)
{
    qw_server *s = ctx;
    double timeout_s = s->config.shutdown_timeout_s;
    char text[128];
    snprintf(text, sizeof text, "Waiting up to %.0f s for %zu requests to end", timeout_s,
             s->n_generations);
    if (s->n_generations > 0 && timeout_s > 0) say(s, false, text);
    if (timeout_s <= 0) {
        qw_http_server_stop(s->http);
        return;
    }
    qw_http_server_drain(s->http);
    double ms = timeout_s * 1e3;
    qw_http_server_timer_start(s->http, &s->deadline, ms < 1e9 ? (int)ms : 1000000000, 0);
}

// Life

qw_status qw_server_bind(qw_server **out, const qw_http_options *http, qw_error *err)
{
    qw_server *s = qw_mem_calloc(1, sizeof *s);
    if (!s) return qw_fail_memory(err, sizeof *s, "the server");
    sem_init(&s->told, 0, 0);
    s->drain_node = (qw_http_post){.fn = drain, .ctx = s};
    s->shutdowns[0] = (qw_http_post){.fn = begin_drain, .ctx = s};
    s->shutdowns[1] = (qw_http_post){.fn = end_now, .ctx = s};
    s->deadline = (qw_http_timer){.fn = on_deadline, .ctx = s};
    s->watch = (qw_http_timer){.fn = on_watch, .ctx = s};
    s->stats = (qw_http_timer){.fn = qw_server_say_stats, .ctx = s};
    qw_http_handler handler = {.ctx = s,
                               .begin = on_begin,
                               .request = on_request,
                               .gone = on_gone,
                               .done = on_done,
                               .access = on_access};
    qw_status st = qw_http_server_bind(&s->http, http, &handler, err);
    if (st == QW_OK)
        *out = s;
    else
        qw_server_free(s);
    return st;
}

const qw_http_server *qw_server_http(const qw_server *s)
{
    return s->http;
}

qw_status qw_server_start(qw_server *s, const qw_server_config *config, qw_error *err)
{
    s->config = *config;
    qw_status st = qw_server_start_metrics(s, err);
    if (st == QW_OK) st = qw_workers_new(&s->workers, config->n_workers, "qw-worker", err);
    if (st == QW_OK) st = qw_runner_new(&s->runner, config->engine, on_events, s, err);
    if (st == QW_OK) st = qw_http_server_listen(s->http, err);
    if (st == QW_OK && config->stall_timeout_s > 0)
        qw_http_server_timer_start(s->http, &s->watch, WATCH_MS, WATCH_MS);
    int stats_ms = (int)(config->log_stats_interval_s * 1e3);
    // The first line counts from here on.
    s->interval = (qw_metrics_interval){.last_ns = qw_clock_ns(), .was_idle = true};
    if (st == QW_OK && s->metrics && stats_ms > 0)
        qw_http_server_timer_start(s->http, &s->stats, stats_ms, stats_ms);
    return st;
}

void qw_server_shutdown(qw_server *s)
{
    // The two messages are the server's own: a shutdown needs no memory.
    int n = atomic_fetch_add(&s->n_shutdowns, 1);
    if (n < 2) qw_http_server_post_node(s->http, &s->shutdowns[n]);
}

qw_status qw_server_run(qw_server *s, qw_error *err)
{
    return qw_http_server_run(s->http, err);
}

void qw_server_free(qw_server *s)
{
    if (!s) return;
    // The I/O loop is over: no exchange is alive. First the workers, whose last messages stay in
    // the transport's queue, then the engine, until each job is back; then the messages run.
    qw_workers_free(s->workers);
    if (s->runner) {
        atomic_store(&s->is_ending, true);
        qw_generations_cancel(s);
        qw_generations_drain(s);
        while (qw_runner_n_jobs(s->runner) > 0) {
            while (sem_wait(&s->told) != 0) continue;
            qw_generations_drain(s);
        }
        qw_generations_drain(s);
        qw_runner_free(s->runner);
        s->runner = NULL;
    }
    qw_http_server_close(s->http);
    QW_ASSERT(s->n_generations == 0);
    qw_metrics_free(s->metrics);
    sem_destroy(&s->told);
    qw_mem_free(s);
}
