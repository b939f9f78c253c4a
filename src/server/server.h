#ifndef QW_SERVER_SERVER_H
#define QW_SERVER_SERVER_H

#include "engine/engine.h"
#include "server/api_request.h"
#include "server/http_server.h"

/**
 * The OpenAI server: HTTP, front-end workers and the engine joined together.
 *
 *   I/O thread (qw_server_run)       workers            engine thread
 *   request --body-->                parse, template,
 *           <--prompts--             tokenize
 *           --jobs--------------------------------->    schedule, compute, sample
 *           <--tokens-------------------------------
 *   text, stop strings, JSON,
 *   event streams
 *
 * Everything between two threads is a message that its receiver owns.
 */
typedef struct qw_server qw_server;

/** What the server says, to whoever writes the log. Called on the I/O thread; texts are borrowed.
 */
typedef struct qw_server_log {
    void *ctx;
    /** The status of a reply is fixed; as in qw_http_handler. */
    void (*access)(void *ctx, const qw_http_exchange *x, int status);
    /** A line of the server itself: the statistics, a diagnostic. */
    void (*line)(void *ctx, bool is_warning, const char *text);
    /** A request is "Received" or "Finished" (--enable-log-requests); NULL: not wanted. `text` is
     *  the prompt as the template made it; NULL: it is not at hand. */
    void (*request)(void *ctx, const char *id, const char *what, const char *text);
} qw_server_log;

/** Everything is borrowed until qw_server_free. */
typedef struct qw_server_config {
    qw_engine *engine;
    const qw_api_config *api;
    const char *version;         /* answer of /version */
    int n_workers;               /* front-end threads, >= 1 */
    int64_t max_waiting;         /* requests that may wait; more are answered 429; 0: no limit */
    double shutdown_timeout_s;   /* how long running requests may go on after SIGTERM */
    double stall_timeout_s;      /* work, but no step for so long: unhealthy; 0: not watched */
    double log_stats_interval_s; /* 0: no statistics lines */
    bool record_stats;           /* request and step statistics for /metrics */
    bool has_prefix_caching;
    bool track_load, has_tokenizer_info, has_ui;
    qw_server_log log;
} qw_server_config;

/** Check the HTTP options and bind, before anything is loaded; nobody can connect yet. */
QW_MUST_CHECK qw_status qw_server_bind(qw_server **out, const qw_http_options *http, qw_error *err);
/** The transport: its URL, port, limits. */
const qw_http_server *qw_server_http(const qw_server *s);
/** Start the engine's and the workers' threads and accept clients. */
QW_MUST_CHECK qw_status qw_server_start(qw_server *s, const qw_server_config *config,
                                        qw_error *err);
/** Serve until shut down; every request has ended when it returns. */
QW_MUST_CHECK qw_status qw_server_run(qw_server *s, qw_error *err);
/**
 * Any thread. The first call stops accepting and lets what runs go on for shutdown_timeout_s; the
 * second, or a time of 0, ends it at once.
 */
void qw_server_shutdown(qw_server *s);
/** NULL is fine. The engine is still the caller's to close. */
void qw_server_free(qw_server *s);

/** What is served: "/health", "GET, HEAD"; NULL path behind the last. For the list at start. */
typedef struct qw_route_info {
    const char *path, *methods;
} qw_route_info;
qw_route_info qw_server_route(const qw_server_config *config, size_t i);

#endif
