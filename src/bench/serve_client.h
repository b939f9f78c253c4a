#ifndef QW_BENCH_SERVE_CLIENT_H
#define QW_BENCH_SERVE_CLIENT_H

#include "base/status.h"

/**
 * The clients of a server under measurement: one process of its own, forked from this one, that
 * drives all connections over loopback with epoll, so that what clients cost is not counted with
 * the server. It does what it is told, one order at a time, and between orders it waits.
 *
 *   this process  --- order --->  client process  === HTTP ===> a qw_server of this process
 *                 <-- answer ---
 */
typedef struct qw_serve_client qw_serve_client;

typedef enum qw_serve_order_kind {
    /** Send n_requests over n_connections (the next on a connection once the last is answered) and
     *  wait for all answers. */
    QW_SERVE_WAVE,
    /** Begin n_connections streams and leave them running, until each has had an event. */
    QW_SERVE_HOLD,
    /** Wait until each running stream has had n_events more. */
    QW_SERVE_WATCH,
    /** Open n_idle connections that say nothing and send n_requests on one connection each, until
     *  the server counts n_requests that wait. */
    QW_SERVE_CROWD,
    /** Reset the crowd's connections, until the server counts no request that waits. */
    QW_SERVE_DISPERSE,
    /** Reset every connection. */
    QW_SERVE_DROP,
} qw_serve_order_kind;

typedef struct qw_serve_order {
    qw_serve_order_kind kind;
    int port;          /* of the server on 127.0.0.1 */
    bool is_chat;      /* /v1/chat/completions, else /v1/completions; always streamed */
    int n_connections; /* 1 .. QW_SERVE_MAX_STREAMS */
    int n_requests;    /* of CROWD at most QW_SERVE_MAX_CROWD with n_idle */
    int first_prompt;  /* request i sends prompt (first_prompt + i % n_prompts) */
    int n_prompts;
    int max_tokens;
    int n_idle, n_events;
} qw_serve_order;

enum { QW_SERVE_MAX_STREAMS = 1024, QW_SERVE_MAX_CROWD = 1 << 14 };

/** What an order came to. */
typedef struct qw_serve_answer {
    double seconds;       /* from the first byte sent to the last answer's end */
    double first_event_s; /* WAVE: from the first byte sent to the first event */
    double cpu_s;         /* of the client process */
    int64_t n_events;     /* events received on streams, the last one ("[DONE]") not counted */
} qw_serve_answer;

/**
 * Fork. `prompts` are texts as they stand in a JSON string; the client has its own copy from now
 * on. Call it while this process has no other threads.
 */
QW_MUST_CHECK qw_status qw_serve_client_new(qw_serve_client **out, const char *const *prompts,
                                            size_t n_prompts, qw_error *err);
/** Give an order and wait until it is carried out. QW_ERR_DEVICE: the server did not do its part;
 *  the text says what came instead. */
QW_MUST_CHECK qw_status qw_serve_client_do(qw_serve_client *c, const qw_serve_order *order,
                                           qw_serve_answer *out, qw_error *err);
/** End the process. NULL is fine. */
void qw_serve_client_free(qw_serve_client *c);

#endif
