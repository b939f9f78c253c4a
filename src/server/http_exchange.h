#ifndef QW_SERVER_HTTP_EXCHANGE_H
#define QW_SERVER_HTTP_EXCHANGE_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/**
 * One request and its reply, as the handler sees it. All of this runs on the I/O thread only.
 *
 *     head in       body in                 reply              last byte taken by the system
 *   begin --------> request ------------> (now or later) ------------------------> done
 *     |                |                        |
 *     +----------------+--- the client left ----+--------------------------------> gone
 *
 * Exactly one of `done` and `gone` ends every exchange that reached `begin`; with the return from
 * it the exchange is over and the pointer dead. Everything borrowed from an exchange lives that
 * long, unless it says otherwise.
 */
typedef struct qw_http_exchange qw_http_exchange;

/** What the owner of the server does with requests. `begin`, `access` and `done` may be NULL. */
typedef struct qw_http_handler {
    void *ctx;
    /** The head of a request that passed the server's own checks (keys, preflight, body limit) is
     *  in. A reply given here refuses the request: its body is not stored and `request` not called.
     *  A client that waits for "100 Continue" then never sends it. */
    void (*begin)(void *ctx, qw_http_exchange *x);
    /** The whole body is in. Reply now, or keep `x` and reply later. */
    void (*request)(void *ctx, qw_http_exchange *x);
    /** The client left (close, reset, half-close), did not read, or the server is stopped, before
     *  the reply was through. Replying has no effect any more. */
    void (*gone)(void *ctx, qw_http_exchange *x);
    /** The reply is in the hands of the system, or could not be made (qw_http_abort, memory). */
    void (*done)(void *ctx, qw_http_exchange *x);
    /** For the access log, when the status of a reply is fixed; also for the server's own replies
     *  (401, 413, preflight), which reach neither `begin` nor `done`. */
    void (*access)(void *ctx, const qw_http_exchange *x, int status);
} qw_http_handler;

/** "POST". */
const char *qw_http_method(const qw_http_exchange *x);
/** Decoded path without the query and without the server's root path: "/v1/models". */
const char *qw_http_path(const qw_http_exchange *x);
/** Path and query as the client wrote them, for the access log. */
const char *qw_http_target(const qw_http_exchange *x);
/** "127.0.0.1:53412", "::1:53412", as uvicorn prints it; "" on a unix socket. */
const char *qw_http_peer(const qw_http_exchange *x);
/** "1.1". */
const char *qw_http_version(const qw_http_exchange *x);
bool qw_http_is_http10(const qw_http_exchange *x);
/** Decoded value of a query argument: "" when it has none, NULL when it is not there. */
const char *qw_http_query(const qw_http_exchange *x, const char *name);
/** Value of a request header, name in any case; NULL when it is not there. */
const char *qw_http_header(const qw_http_exchange *x, const char *name);
/** The body; NUL-terminated (not counted), also when empty. */
qw_str qw_http_body(const qw_http_exchange *x);
/** The body, moved to the caller (qw_mem_free), NUL-terminated; NULL when it is empty or taken. */
char *qw_http_take_body(qw_http_exchange *x, size_t *len);

/** A pointer of the owner's, NULL at first. */
void qw_http_set_user(qw_http_exchange *x, void *user);
void *qw_http_user(const qw_http_exchange *x);

/** The phrase of a status, "Not Found"; "" for an unknown one. */
const char *qw_http_status_text(int status);

/**
 * Add a header to the reply; before qw_http_reply or qw_http_stream_begin. Both strings are copied.
 * Memory shortage cuts the connection instead of the reply.
 */
void qw_http_add_header(qw_http_exchange *x, const char *name, const char *value);

/**
 * Give the whole reply. `body` is moved (qw_mem_free; NULL with len 0: no body). The second reply
 * to an exchange is ignored, as is one to an exchange whose client has left.
 */
void qw_http_reply(qw_http_exchange *x, int status, const char *content_type, char *body,
                   size_t len);
/** The same with text that outlives the server (a literal). */
void qw_http_reply_static(qw_http_exchange *x, int status, const char *content_type,
                          const char *text);
/** The same with the error object below. `param` may be NULL. */
void qw_http_reply_error(qw_http_exchange *x, int status, const char *type, const char *param,
                         const char *message);
/** 404 {"detail":"Not Found"}, 405 {"detail":"Method Not Allowed"} (http-api 1.3). */
void qw_http_reply_not_found(qw_http_exchange *x);
void qw_http_reply_bad_method(qw_http_exchange *x, const char *allowed);

/**
 * {"error":{"message":...,"type":...,"param":...,"code":...}} (http-api 1.3), compact. `param` may
 * be NULL. Text that is not UTF-8 is passed through: repair it before.
 */
void qw_http_error_json(qw_buf *out, int code, const char *type, const char *param, qw_str message);

/**
 * Give the reply in pieces: chunked, or until the connection closes for HTTP/1.0. The head is sent
 * with the next turn of the I/O loop; each later write goes out at once, in one send. The reply to
 * HEAD is the head alone: `done` may then come before qw_http_stream_end.
 */
void qw_http_stream_begin(qw_http_exchange *x, int status, const char *content_type);
/** One piece, for instance one event. What the client's socket does not take is kept: see below. */
void qw_http_stream_write(qw_http_exchange *x, const void *data, size_t len);
/** No more pieces. `done` follows when all of them are in the hands of the system. */
void qw_http_stream_end(qw_http_exchange *x);
/**
 * Bytes that the client has not taken yet. A client for which they would exceed max_stream_buffer,
 * or that takes nothing for send_timeout_ms, is cut off (`gone`).
 */
size_t qw_http_stream_pending(const qw_http_exchange *x);

/** Close the connection without (the rest of) a reply; `done` follows. */
void qw_http_abort(qw_http_exchange *x);

#endif
