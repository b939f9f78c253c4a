#ifndef QW_SERVER_SERVER_INTERNAL_H
#define QW_SERVER_SERVER_INTERNAL_H

#include <semaphore.h>

#include "base/workers.h"
#include "engine/runner.h"
#include "server/api_response.h"
#include "server/metrics.h"
#include "server/server.h"

typedef struct qw_generation qw_generation;
typedef struct qw_listing qw_listing;

/** How a choice stood between two steps; all zero: the engine does not have it. */
typedef struct qw_choice_state {
    bool is_known, is_running;
    int32_t n_computed, n_blocks;
} qw_choice_state;

/** A request as it stands; numbers are sums over its choices. */
typedef struct qw_request_state {
    const char *id; /* NULL: a worker still reads it, and nothing else is known */
    bool is_running, is_preempted;
    size_t n_choices;
    int64_t n_prompt, n_computed, n_generated, n_blocks;
    double age_s;
} qw_request_state;

/** What an exchange is waiting for: its user pointer, part of the owner's struct. */
typedef struct qw_pending {
    void (*gone)(struct qw_pending *p); /* the client left: the exchange is dead */
    void (*done)(struct qw_pending *p); /* the reply is out: the exchange is dead; NULL: nothing */
} qw_pending;

/** I/O thread only, unless said. */
struct qw_server {
    qw_http_server *http;
    qw_server_config config;
    qw_workers *workers;
    qw_runner *runner;

    qw_http_post drain_node;
    atomic_bool drain_posted; /* drain_node is in the server's queue */
    atomic_bool is_ending;    /* the I/O loop is over: who waits for the engine waits for `told` */
    sem_t told;

    qw_generation *generations; /* all, linked by prev and next */
    size_t n_generations;
    qw_generation *changed; /* those that got events in this drain, linked by next_changed */
    bool is_unhealthy;
    qw_listing *listings; /* who waits for the list of requests */

    qw_metrics *metrics;          /* NULL: not recorded */
    qw_metrics_interval interval; /* of the last line of statistics */
    qw_engine_stats noted;        /* what the metrics have seen */

    qw_http_post shutdowns[2]; /* what the first and the second call post */
    atomic_int n_shutdowns;    /* calls of qw_server_shutdown */
    qw_http_timer deadline, watch, stats;
};

/** A path and what answers it. */
typedef struct qw_route {
    const char *path;    /* ends in "*": everything below */
    const char *methods; /* "GET", "GET, POST" */
    void (*answer)(qw_server *s, qw_http_exchange *x);
    bool (*is_on)(const qw_server_config *config); /* NULL: always */
} qw_route;

/** The route of a path; NULL: there is none. */
const qw_route *qw_route_find(const qw_server_config *config, const char *path);
/** True if the route takes the method ("HEAD" where it takes "GET"). */
bool qw_route_takes(const qw_route *route, const char *method);

/** Reply with what is in `out`, which is released; memory that was short becomes a 503. */
void qw_reply_json(qw_http_exchange *x, int status, qw_buf *out);
void qw_reply_error(qw_http_exchange *x, const qw_api_error *e);
/** The same in the words of a dialect. */
void qw_reply_refusal(qw_http_exchange *x, const qw_api_error *e, qw_api_dialect dialect);

/** POST /v1/chat/completions, /v1/completions, /invocations, /v1/responses, /v1/messages. */
void qw_answer_chat(qw_server *s, qw_http_exchange *x);
void qw_answer_completion(qw_server *s, qw_http_exchange *x);
void qw_answer_invocation(qw_server *s, qw_http_exchange *x);
void qw_answer_responses(qw_server *s, qw_http_exchange *x);
void qw_answer_messages(qw_server *s, qw_http_exchange *x);
/** GET / and what is below /ui: the web page. */
void qw_answer_ui(qw_server *s, qw_http_exchange *x);
/** GET of the root path itself: to the page. */
void qw_answer_ui_root(qw_server *s, qw_http_exchange *x);
/** GET /qwench/requests: how each request stands. */
void qw_answer_requests(qw_server *s, qw_http_exchange *x);
/** The engine has told how its part stands: answer those who asked. */
void qw_server_answer_requests(qw_server *s);
/** Show each request, and forget what the engine told of it. */
void qw_generations_describe(qw_server *s, void (*fn)(void *ctx, const qw_request_state *state),
                             void *ctx);
/** Take in what the engine has told, and send what can be sent. */
void qw_generations_drain(qw_server *s);
/** Withdraw what runs. */
void qw_generations_cancel(qw_server *s);

/** Begin and end recording (--disable-log-stats: never). */
QW_MUST_CHECK qw_status qw_server_start_metrics(qw_server *s, qw_error *err);
/** A step ran. */
void qw_server_note_step(qw_server *s, const qw_run_event *step);
/** Append the text of /metrics. */
void qw_server_write_metrics(qw_server *s, qw_buf *out);
/** Timer: the periodic line. */
void qw_server_say_stats(void *server);

#endif
