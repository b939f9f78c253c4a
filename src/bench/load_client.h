#ifndef QW_BENCH_LOAD_CLIENT_H
#define QW_BENCH_LOAD_CLIENT_H

#include "bench/load_outcome.h"

/**
 * Thousands of streams on one thread: libcurl's multi interface over epoll. Every byte is stamped
 * when it is read; what an event says is read behind that, so a busy moment delays the next stamp
 * by what the events before it take, a few microseconds each. It wakes up at most once in 0.3 ms:
 * with many streams that halves what an event costs (scripts/bench/client_overhead.py).
 */
typedef struct qw_load_client qw_load_client;

/** Where requests go and what goes with them. All borrowed until free. */
typedef struct qw_load_target {
    const char *url;
    bool is_chat;
    bool is_insecure;           /* certificates are not checked */
    const char *const *headers; /* [n_headers] "Name: value", behind our own */
    size_t n_headers;
    const char *request_id_prefix; /* x-request-id is this and the request's number */
} qw_load_target;

/** Called when a request is over, from within poll: outcomes[i] is complete. May start others. */
typedef void qw_load_done_fn(void *ctx, size_t i);

QW_MUST_CHECK qw_status qw_load_client_new(qw_load_client **out, const qw_load_target *target,
                                           qw_load_done_fn *done, void *ctx, qw_error *err);
/** Running requests are cut. NULL is fine. */
void qw_load_client_free(qw_load_client *c);

/**
 * Send request `i`: `body` (owned, moved, also on failure) of `len` bytes. `*outcome` is filled in
 * until `done` is called for it. A connection that fails is an outcome, not a failure here.
 */
QW_MUST_CHECK qw_status qw_load_client_start(qw_load_client *c, size_t i, char *body, size_t len,
                                             qw_load_outcome *outcome, qw_error *err);

/** Take in what comes until something has come or it is `deadline_ns` (qw_clock_ns). */
QW_MUST_CHECK qw_status qw_load_client_poll(qw_load_client *c, int64_t deadline_ns, qw_error *err);

/** Requests under way. */
size_t qw_load_client_n_running(const qw_load_client *c);
/** Events received so far. */
uint64_t qw_load_client_n_events(const qw_load_client *c);

/**
 * GET `url` and append the body to `out`; its HTTP status to *status. QW_ERR_IO: there is no
 * answer. `target` (may be NULL) gives headers and is_insecure.
 */
QW_MUST_CHECK qw_status qw_load_get(qw_buf *out, int *status, const char *url,
                                    const qw_load_target *target, qw_error *err);

#endif
