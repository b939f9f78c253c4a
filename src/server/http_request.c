#include <errno.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/http_internal.h"

// ---- one request, as libmicrohttpd delivers it ----

static qw_http_conn *conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info->socket_context;
}

// The request line is in; what this returns comes back in every later callback of the request.
static void *on_request_line(void *cls, const char *target, struct MHD_Connection *mhd)
{
    qw_http_server *s = cls;
    qw_http_conn *c = conn_of(mhd);
    size_t len = target ? strlen(target) : 0;
    qw_http_exchange *x = qw_mem_calloc(1, sizeof *x + len + 1);
    if (!x) return NULL; // on_request then closes the connection
    if (target) memcpy(x->target, target, len);
    x->conn = c;
    qw_buf_init(&x->body, s->max_body);
    qw_buf_init(&x->headers, (size_t)64 << 10);
    qw_buf_init(&x->out, SIZE_MAX / 2);
    c->x = x;
    // The first request's time runs from accept on.
    if (c->has_served) qw_http_conn_give(c, qw_clock_ns() + s->head_timeout_ns);
    return x;
}

static void refuse_too_large(qw_http_exchange *x)
{
    char message[128];
    snprintf(message, sizeof message, "The request body is larger than the limit of %zu bytes.",
             x->conn->server->max_body);
    qw_http_reply_error(x, 413, "Request Entity Too Large", NULL, message);
}

// Bytes that the head announces; 0 for a chunked body or none.
static uint64_t announced_size(const qw_http_exchange *x)
{
    const char *text = qw_http_header(x, "Content-Length");
    int64_t size = 0;
    if (!text || qw_http_header(x, "Transfer-Encoding")) return 0;
    return qw_str_to_i64(qw_str_of(text), &size) && size > 0 ? (uint64_t)size : 0;
}

// The checks that need no handler. True if x is refused.
static bool refuse_early(qw_http_exchange *x)
{
    qw_http_server *s = x->conn->server;
    if (qw_http_policy_is_preflight(x)) {
        qw_http_policy_preflight(&s->policy, x);
    } else if (!qw_http_policy_has_key(&s->policy, x->method, x->path,
                                       qw_http_header(x, "Authorization"),
                                       qw_http_header(x, "X-Api-Key"))) {
        qw_http_reply_static(x, 401, "application/json", "{\"error\":\"Unauthorized\"}");
    } else if (announced_size(x) > s->max_body) {
        refuse_too_large(x);
    }
    return x->response || x->is_cut;
}

// libmicrohttpd passes on a reply at this point, before the body, at the price of the connection:
// good for a client that waits to be told, and for a body too large to read for nothing.
static bool must_reply_before_body(const qw_http_exchange *x)
{
    const char *expect = qw_http_header(x, "Expect");
    const char *encoding = qw_http_header(x, "Transfer-Encoding");
    uint64_t size = announced_size(x);
    if (expect && (size > 0 || encoding) && strcasecmp(expect, "100-continue") == 0) return true;
    if (encoding && strcasecmp(encoding, "chunked") != 0) return true; // no way to find its end
    return size > QW_HTTP_MAX_DISCARD;
}

static enum MHD_Result hand_over(qw_http_exchange *x)
{
    qw_http_conn *c = x->conn;
    qw_http_server *s = c->server;
    enum MHD_Result rc = MHD_queue_response(c->mhd, (unsigned)x->status, x->response);
    MHD_destroy_response(x->response);
    x->response = NULL;
    x->phase = x->is_stream ? QW_HTTP_START : QW_HTTP_REPLY;
    qw_http_conn_give(c, qw_clock_ns() + s->send_timeout_ns +
                             (int64_t)(x->reply_size / QW_HTTP_MIN_RATE) * 1000000000);
    return rc;
}

static enum MHD_Result on_head(qw_http_exchange *x, const char *method, const char *path,
                               const char *version)
{
    qw_http_server *s = x->conn->server;
    if (s->is_draining) return MHD_NO;
    x->method = method;
    x->path = qw_http_policy_route(&s->policy, path);
    x->version = version;
    x->is_chunked = strcmp(version, "HTTP/1.0") != 0;
    x->phase = QW_HTTP_BODY;
    qw_http_conn_give(x->conn, qw_clock_ns() + s->body_timeout_ns);
    const char *encoding = qw_http_header(x, "Transfer-Encoding");
    if (encoding && strcasecmp(encoding, "chunked") != 0) {
        qw_http_reply_error(x, 501, "Not Implemented", NULL,
                            "The only transfer encoding that is understood is 'chunked'.");
    } else if (!refuse_early(x)) {
        x->is_begun = true;
        s->n_exchanges++;
        if (s->handler.begin) s->handler.begin(s->handler.ctx, x);
    }
    if (x->is_cut) return MHD_NO;
    if (x->response && must_reply_before_body(x)) return hand_over(x);
    return MHD_YES;
}

static enum MHD_Result on_body(qw_http_exchange *x, const char *data, size_t len)
{
    qw_http_server *s = x->conn->server;
    qw_http_conn_give(x->conn,
                      x->conn->deadline_ns + (int64_t)len * (1000000000 / QW_HTTP_MIN_RATE));
    if (!x->response && len > s->max_body - x->body.len) refuse_too_large(x);
    if (!x->response) {
        qw_buf_append(&x->body, data, len);
        if (x->body.failed != QW_OK)
            qw_http_reply_static(
                x, 503, "application/json",
                "{\"error\":{\"message\":\"Not enough memory for the request body.\",\"type\":"
                "\"Service Unavailable\",\"param\":null,\"code\":503}}");
    }
    if (x->is_cut) return MHD_NO;
    if (x->response) {
        qw_buf_release(&x->body);
        x->discarded += len;
        if (x->discarded > QW_HTTP_MAX_DISCARD) return MHD_NO;
    }
    return MHD_YES;
}

static enum MHD_Result on_whole(qw_http_exchange *x)
{
    qw_http_conn *c = x->conn;
    qw_http_server *s = c->server;
    if (x->phase == QW_HTTP_BODY && !x->response) {
        x->phase = QW_HTTP_PENDING;
        qw_http_conn_give(c, 0);
        s->handler.request(s->handler.ctx, x);
    }
    if (x->is_cut) return MHD_NO;
    if (x->response) return hand_over(x);
    if (c->has_hup) {
        qw_http_leave(x);
        return MHD_NO;
    }
    qw_http_conn_suspend(c);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **con_cls)
{
    (void)cls, (void)mhd;
    qw_http_exchange *x = *con_cls;
    if (!x) return MHD_NO; // memory was short
    if (x->phase == QW_HTTP_HEAD) return on_head(x, method, url, version);
    if (*size == 0) return on_whole(x);
    enum MHD_Result rc = on_body(x, data, *size);
    *size = 0;
    return rc;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    (void)mhd;
    qw_http_server *s = cls;
    qw_http_exchange *x = *con_cls;
    if (!x) return;
    qw_http_conn *c = x->conn;
    qw_http_tell_end(x, why == MHD_REQUEST_TERMINATED_COMPLETED_OK || x->is_cut);
    *con_cls = NULL;
    c->x = NULL;
    c->has_served = true;
    qw_http_conn_give(c, qw_clock_ns() + s->keep_alive_ns);
    if (x->response) MHD_destroy_response(x->response);
    qw_buf_release(&x->body);
    qw_buf_release(&x->headers);
    qw_buf_release(&x->out);
    qw_mem_free(x);
    if (c->has_hup) qw_http_conn_look_later(c);
    if (s->is_draining) shutdown(c->fd, SHUT_RD); // what was written still goes out
}

// ---- daemons ----

static void QW_PRINTF(2, 0) on_log(void *cls, const char *fmt, va_list args)
{
    (void)cls;
    char text[256];
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\n")] = '\0';
    QW_LOG(QW_LOG_DEBUG, "http_request", "libmicrohttpd: %s", text);
}

static struct MHD_Daemon *start_daemon(qw_http_server *s)
{
    enum { POOL_SIZE = 128 << 10 };
    unsigned flags =
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[4];
    size_t n = 0;
    if (s->tls.is_on) {
        flags |= MHD_USE_TLS;
        tls[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, s->tls.cert.data};
        tls[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, s->tls.key.data};
        if (s->tls.trust.len > 0)
            tls[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, s->tls.trust.data};
    }
    tls[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    // No time limit of libmicrohttpd's: its clock restarts with each byte, ours does not.
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, on_request_line, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        s, MHD_OPTION_NOTIFY_CONNECTION, qw_http_on_connection, s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_SIZE, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)s->max_connections, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

qw_status qw_http_start_daemons(qw_http_server *s, qw_error *err)
{
    for (int i = 0; i < QW_HTTP_N_DAEMONS; i++) {
        s->daemons[i] = start_daemon(s);
        if (!s->daemons[i])
            return qw_fail(err, QW_ERR_IO, "libmicrohttpd does not start: %s", strerror(errno));
        const union MHD_DaemonInfo *info =
            MHD_get_daemon_info(s->daemons[i], MHD_DAEMON_INFO_EPOLL_FD);
        s->daemon_watch[i] = (qw_http_watch){QW_HTTP_WATCH_MHD, i};
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &s->daemon_watch[i]};
        if (!info || epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, info->epoll_fd, &e) != 0)
            return qw_fail(err, QW_ERR_IO, "cannot watch libmicrohttpd's sockets: %s",
                           strerror(errno));
    }
    return QW_OK;
}
