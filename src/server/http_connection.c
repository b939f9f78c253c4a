#include <errno.h>
#include <netdb.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/http_internal.h"

// ---- leaving
// -------------------------------------------------------------------------------------

void qw_http_conn_suspend(qw_http_conn *c)
{
    MHD_suspend_connection(c->mhd);
    c->is_suspended = true;
}

void qw_http_conn_resume(qw_http_conn *c)
{
    if (!c->is_suspended) return;
    c->is_suspended = false;
    MHD_resume_connection(c->mhd);
    c->server->must_run[c->watch.i_daemon] = true;
}

// A suspended connection is closed by the callback that its resumption leads to; any other learns
// it from its socket.
void qw_http_cut(qw_http_exchange *x)
{
    if (x->is_cut) return;
    x->is_cut = true;
    if (x->conn->is_suspended)
        qw_http_conn_resume(x->conn);
    else
        shutdown(x->conn->fd, SHUT_RDWR);
}

// The one place that ends an exchange for the handler.
static void tell_end(qw_http_exchange *x, bool is_done)
{
    if (!x->is_begun || x->is_over) return;
    qw_http_server *s = x->conn->server;
    x->is_over = true;
    s->n_exchanges--;
    if (!is_done)
        s->handler.gone(s->handler.ctx, x);
    else if (s->handler.done)
        s->handler.done(s->handler.ctx, x);
}

void qw_http_leave(qw_http_exchange *x)
{
    tell_end(x, x->is_cut);
    qw_http_cut(x);
}

void qw_http_conn_look_later(qw_http_conn *c)
{
    if (c->needs_look) return;
    c->needs_look = true;
    c->next_look = c->server->look;
    c->server->look = c;
}

// libmicrohttpd reads on edges: it misses that the client closed when it learns of that together
// with the client's last bytes. False: it has bytes to read first.
static bool close_if_read(qw_http_conn *c)
{
    char byte;
    if (c->is_shut) return true; // shutting down twice would be two events
    if (recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) return false;
    shutdown(c->fd, SHUT_RDWR); // what was sent still goes out
    c->is_shut = true;
    return true;
}

// The client closed its side, or the connection is broken. False: look again after the next turn.
static bool look_at(qw_http_conn *c)
{
    qw_http_exchange *x = c->x;
    if (x && c->is_broken) {
        qw_http_leave(x);
        return true;
    }
    if (!x || x->phase <= QW_HTTP_BODY) return close_if_read(c);
    // A whole reply goes out, for the client may still read; on_completed comes back here.
    bool is_given = x->phase == QW_HTTP_REPLY || x->phase == QW_HTTP_END ||
                    (x->phase == QW_HTTP_PENDING && x->response && !x->is_stream);
    if (!is_given) qw_http_leave(x);
    return true;
}

void qw_http_look(qw_http_server *s)
{
    qw_http_conn *again = NULL;
    while (s->look) {
        qw_http_conn *c = s->look;
        s->look = c->next_look;
        c->needs_look = false;
        if (look_at(c)) continue;
        c->needs_look = true;
        c->next_look = again;
        again = c;
    }
    s->look = again;
}

void qw_http_conn_event(qw_http_conn *c, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        c->has_hup = true;
        qw_http_conn_look_later(c);
    } else if ((events & EPOLLOUT) && c->x && c->x->phase == QW_HTTP_STREAM) {
        qw_http_stream_flush(c->x);
    }
}

void qw_http_check_deadlines(qw_http_server *s)
{
    int64_t now = qw_clock_ns();
    for (qw_http_conn *c = s->conns; c; c = c->next) {
        if (c->deadline_ns == 0 || now < c->deadline_ns) continue;
        c->deadline_ns = 0;
        if (c->x)
            qw_http_leave(c->x);
        else
            shutdown(c->fd, SHUT_RDWR);
    }
}

// ---- one request, as libmicrohttpd delivers it
// ---------------------------------------------------

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
    if (c->has_served) c->deadline_ns = qw_clock_ns() + s->head_timeout_ns;
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
                                       qw_http_header(x, "Authorization"))) {
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
    c->deadline_ns = qw_clock_ns() + s->send_timeout_ns +
                     (int64_t)(x->reply_size / QW_HTTP_MIN_RATE) * 1000000000;
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
    x->conn->deadline_ns = qw_clock_ns() + s->body_timeout_ns;
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
    x->conn->deadline_ns += (int64_t)len * (1000000000 / QW_HTTP_MIN_RATE);
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
        c->deadline_ns = 0;
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
    tell_end(x, why == MHD_REQUEST_TERMINATED_COMPLETED_OK || x->is_cut);
    *con_cls = NULL;
    c->x = NULL;
    c->has_served = true;
    c->deadline_ns = qw_clock_ns() + s->keep_alive_ns;
    if (x->response) MHD_destroy_response(x->response);
    qw_buf_release(&x->body);
    qw_buf_release(&x->headers);
    qw_buf_release(&x->out);
    qw_mem_free(x);
    if (c->has_hup) qw_http_conn_look_later(c);
    if (s->is_draining) shutdown(c->fd, SHUT_RD); // what was written still goes out
}

// ---- connections
// ---------------------------------------------------------------------------------

static void free_conn(qw_http_conn *c)
{
    qw_http_server *s = c->server;
    if (c->needs_look) {
        qw_http_conn **p = &s->look;
        while (*p != c) p = &(*p)->next_look;
        *p = c->next_look;
    }
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next) c->next->prev = c->prev;
    s->n_connections--;
    if (s->n_connections == 0) qw_http_server_timer_stop(s, &s->deadline_timer);
    qw_mem_free(c);
    if (!s->accept_timer.is_running) qw_http_set_accepting(s, true);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    qw_http_server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        qw_http_conn *c = s->adding;
        *socket_context = c;
        c->mhd = mhd;
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        if (!s->tls.is_on || !info) return;
        c->tls = info->tls_session;
        qw_http_tls_session(&s->tls, c->tls);
        return;
    }
    qw_http_conn *c = *socket_context;
    if (c == s->adding) return; // qw_http_accept frees it
    // Before the socket is closed: a child between fork and exec would keep it in the set.
    epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    free_conn(c);
}

static void write_peer(char *out, size_t size, const struct sockaddr *address, socklen_t len)
{
    char host[64], port[16];
    out[0] = '\0';
    if (address->sa_family == AF_UNIX) return;
    if (getnameinfo(address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    const char *name = strncmp(host, "::ffff:", 7) == 0 && strchr(host, '.') ? host + 7 : host;
    snprintf(out, size, "%.48s:%.8s", name, port);
}

static void add_connection(qw_http_server *s, int fd, const struct sockaddr *address, socklen_t len)
{
    qw_http_conn *c = qw_mem_calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    c->server = s;
    c->fd = fd;
    c->watch.kind = QW_HTTP_WATCH_CONN;
    c->watch.i_daemon = (int)(s->next_daemon++ % QW_HTTP_N_DAEMONS);
    c->deadline_ns = qw_clock_ns() + s->head_timeout_ns;
    write_peer(c->peer, sizeof c->peer, address, len);
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0) {
        close(fd);
        qw_mem_free(c);
        return;
    }
    c->next = s->conns;
    if (s->conns) s->conns->prev = c;
    s->conns = c;
    if (s->n_connections++ == 0)
        qw_http_server_timer_start(s, &s->deadline_timer, s->deadline_period_ms,
                                   s->deadline_period_ms);
    s->adding = c;
    enum MHD_Result rc = MHD_add_connection(s->daemons[c->watch.i_daemon], fd, address, len);
    s->adding = NULL;
    if (rc == MHD_NO)
        free_conn(c); // the socket is closed
    else
        s->must_run[c->watch.i_daemon] = true;
}

void qw_http_set_accepting(qw_http_server *s, bool on)
{
    if (on &&
        (s->is_draining || !s->is_listening || s->n_connections >= (size_t)s->max_connections))
        return;
    if (on == s->is_accepting || s->listen_fd < 0) return;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &s->listen_watch};
    epoll_ctl(s->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, s->listen_fd, &e);
    s->is_accepting = on;
}

void qw_http_accept(qw_http_server *s)
{
    for (int i = 0; i < 64; i++) {
        if (s->n_connections >= (size_t)s->max_connections) {
            qw_http_set_accepting(s, false); // free_conn asks again
            return;
        }
        struct sockaddr_storage address;
        socklen_t len = sizeof address;
        int fd = accept4(s->listen_fd, (struct sockaddr *)(void *)&address, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            add_connection(s, fd, (const struct sockaddr *)(const void *)&address, len);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            // The system may have more in a while; until then the clients wait in its queue.
            QW_LOG(QW_LOG_WARN, "http_connection", "cannot accept a connection error=%s",
                   strerror(errno));
            qw_http_set_accepting(s, false);
            qw_http_server_timer_start(s, &s->accept_timer, 100, 0);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

// ---- daemons
// -------------------------------------------------------------------------------------

static void QW_PRINTF(2, 0) on_log(void *cls, const char *fmt, va_list args)
{
    (void)cls;
    char text[256];
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\n")] = '\0';
    QW_LOG(QW_LOG_DEBUG, "http_connection", "libmicrohttpd: %s", text);
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
        s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)POOL_SIZE, MHD_OPTION_CONNECTION_LIMIT, (unsigned)s->max_connections,
        MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
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
