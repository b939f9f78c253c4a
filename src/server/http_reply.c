#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "format/json.h"
#include "server/http_internal.h"

// ---- giving a reply ----

static void add_header(void *ctx, const char *name, const char *value)
{
    qw_http_exchange *x = ctx;
    if (MHD_add_response_header(x->response, name, value) == MHD_NO)
        x->headers.failed = QW_ERR_USAGE;
}

// The same for what repeats the client's words: a value that may not stand in a reply is left out.
static void add_if_valid(void *ctx, const char *name, const char *value)
{
    qw_http_exchange *x = ctx;
    (void)MHD_add_response_header(x->response, name, value);
}

void qw_http_add_header(qw_http_exchange *x, const char *name, const char *value)
{
    qw_buf_append(&x->headers, name, strlen(name) + 1);
    qw_buf_append(&x->headers, value, strlen(value) + 1);
}

static bool can_reply(const qw_http_exchange *x)
{
    return x->phase <= QW_HTTP_PENDING && !x->response && !x->is_cut && !x->is_over;
}

// Give x the reply `response` (NULL: memory was short) and let libmicrohttpd fetch it.
static void give(qw_http_exchange *x, int status, const char *content_type,
                 struct MHD_Response *response)
{
    qw_http_server *s = x->conn->server;
    x->response = response;
    x->status = status;
    if (response) {
        if (content_type) add_header(x, "Content-Type", content_type);
        size_t pos = 0;
        while (pos < x->headers.len) {
            const char *name = x->headers.data + pos;
            const char *value = name + strlen(name) + 1;
            pos = (size_t)(value + strlen(value) + 1 - x->headers.data);
            add_header(x, name, value);
        }
        qw_http_policy_headers(&s->policy, x, add_if_valid, x);
        if (s->is_draining) add_header(x, "Connection", "close");
    }
    if (!response || x->headers.failed != QW_OK) {
        qw_http_cut(x);
        return;
    }
    if (s->handler.access) s->handler.access(s->handler.ctx, x, status);
    qw_http_conn_resume(x->conn);
}

void qw_http_reply(qw_http_exchange *x, int status, const char *content_type, char *body,
                   size_t len)
{
    if (!can_reply(x)) {
        qw_mem_free(body);
        return;
    }
    x->reply_size = len;
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback(len, body, qw_mem_free);
    if (!response) qw_mem_free(body);
    give(x, status, content_type, response);
}

void qw_http_reply_static(qw_http_exchange *x, int status, const char *content_type,
                          const char *text)
{
    if (!can_reply(x)) return;
    x->reply_size = strlen(text);
    give(x, status, content_type,
         MHD_create_response_from_buffer(x->reply_size, (void *)(uintptr_t)text,
                                         MHD_RESPMEM_PERSISTENT));
}

void qw_http_error_json(qw_buf *out, int code, const char *type, const char *param, qw_str message)
{
    qw_buf_puts(out, "{\"error\":{\"message\":");
    qw_json_write_string(out, message);
    qw_buf_puts(out, ",\"type\":");
    qw_json_write_string(out, qw_str_of(type));
    qw_buf_puts(out, ",\"param\":");
    if (param)
        qw_json_write_string(out, qw_str_of(param));
    else
        qw_buf_puts(out, "null");
    qw_buf_printf(out, ",\"code\":%d}}", code);
}

void qw_http_reply_error(qw_http_exchange *x, int status, const char *type, const char *param,
                         const char *message)
{
    if (!can_reply(x)) return;
    qw_buf b;
    qw_buf_init(&b, SIZE_MAX / 2);
    qw_http_error_json(&b, status, type, param, qw_str_of(message));
    size_t len = 0;
    char *body = qw_buf_take(&b, &len);
    qw_buf_release(&b);
    if (body)
        qw_http_reply(x, status, "application/json", body, len);
    else
        qw_http_cut(x);
}

void qw_http_reply_not_found(qw_http_exchange *x)
{
    qw_http_reply_static(x, 404, "application/json", "{\"detail\":\"Not Found\"}");
}

void qw_http_reply_bad_method(qw_http_exchange *x, const char *allowed)
{
    qw_http_add_header(x, "Allow", allowed);
    qw_http_reply_static(x, 405, "application/json", "{\"detail\":\"Method Not Allowed\"}");
}

void qw_http_abort(qw_http_exchange *x)
{
    if (!x->is_over) qw_http_cut(x);
}

// ---- streams ----
//
// libmicrohttpd would send a piece for each resumption of a suspended connection: two passes of its
// loop, some locks, a walk over what else is suspended. So it sends only the head and the end. In
// between the connection is suspended with nothing of its own to send, and the pieces are written
// to the socket (or into the TLS session) here, framed as it would have framed them.

void qw_http_stream_begin(qw_http_exchange *x, int status, const char *content_type)
{
    if (!can_reply(x)) return;
    x->is_stream = true;
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1024, qw_http_stream_read, x, NULL);
    // libmicrohttpd 0.9.75 would send the last chunk even to HEAD.
    if (response && strcmp(x->method, "HEAD") == 0)
        MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    give(x, status, content_type, response);
}

size_t qw_http_stream_pending(const qw_http_exchange *x)
{
    return x->out.len - x->out_pos;
}

// The handler, whose call this may be, is told by the loop.
static void lose(qw_http_conn *c)
{
    c->is_broken = true;
    qw_http_conn_look_later(c);
}

static void watch_out(qw_http_conn *c, bool on)
{
    if (c->wants_out == on) return;
    c->wants_out = on;
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLET | (on ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(c->server->epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

// Bytes sent (perhaps fewer than len, 0 when the socket is full), or -1: the connection is broken.
static ssize_t send_tls(qw_http_exchange *x, const char *data, size_t len)
{
    gnutls_session_t tls = x->conn->tls;
    // A send that could not finish is continued without data; it then counts the bytes of the
    // first.
    ssize_t n =
        x->tls_retry > 0 ? gnutls_record_send(tls, NULL, 0) : gnutls_record_send(tls, data, len);
    if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) {
        x->tls_retry = len;
        return 0;
    }
    x->tls_retry = 0;
    return n < 0 ? -1 : n;
}

static ssize_t send_plain(int fd, struct iovec *iov, size_t n_iov)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n_iov};
    ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

void qw_http_stream_flush(qw_http_exchange *x)
{
    enum { KEEP_CAP = 64 << 10 };
    qw_http_conn *c = x->conn;
    qw_http_server *s = c->server;
    bool progress = false;
    while (x->out_pos < x->out.len) {
        char *data = x->out.data + x->out_pos;
        size_t len = x->out.len - x->out_pos;
        struct iovec iov = {data, len};
        ssize_t n = c->tls ? send_tls(x, data, len) : send_plain(c->fd, &iov, 1);
        if (n < 0) {
            lose(c);
            return;
        }
        if (n == 0) break;
        x->out_pos += (size_t)n;
        progress = true;
    }
    bool is_empty = x->out_pos == x->out.len;
    if (is_empty) {
        if (x->out.cap > KEEP_CAP) qw_buf_release(&x->out);
        qw_buf_clear(&x->out);
        x->out_pos = 0;
    } else if (x->out_pos > x->out.len / 2) {
        x->out.len -= x->out_pos;
        memmove(x->out.data, x->out.data + x->out_pos, x->out.len);
        x->out_pos = 0;
    }
    if (is_empty)
        c->deadline_ns = 0;
    else if (progress || !c->wants_out)
        c->deadline_ns = qw_clock_ns() + s->send_timeout_ns;
    watch_out(c, !is_empty);
    if (is_empty && x->has_ended) qw_http_conn_resume(c);
}

// Keep what a send left over: everything from byte `sent` of the three parts on.
static void keep(qw_http_exchange *x, const struct iovec *iov, size_t n_iov, size_t sent)
{
    size_t total = 0;
    for (size_t i = 0; i < n_iov; i++) total += iov[i].iov_len;
    size_t max = x->conn->server->max_stream_buffer;
    if (total - sent > max || qw_http_stream_pending(x) > max - (total - sent)) {
        lose(x->conn);
        return;
    }
    for (size_t i = 0; i < n_iov; i++) {
        size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len;
        sent -= skip;
        qw_buf_append(&x->out, (const char *)iov[i].iov_base + skip, iov[i].iov_len - skip);
    }
    if (x->out.failed != QW_OK) lose(x->conn);
}

void qw_http_stream_write(qw_http_exchange *x, const void *data, size_t len)
{
    qw_http_conn *c = x->conn;
    bool is_early = x->response || x->phase == QW_HTTP_START; // the head is not out yet
    if (!x->is_stream || x->has_ended || x->is_over || x->is_cut || c->is_broken) return;
    if (len == 0) return;
    if (!is_early && x->phase != QW_HTTP_STREAM) return;

    char size[20];
    struct iovec iov[3] = {{0}, {(void *)(uintptr_t)data, len}, {0}};
    if (x->is_chunked) {
        iov[0] = (struct iovec){size, (size_t)snprintf(size, sizeof size, "%zx\r\n", len)};
        iov[2] = (struct iovec){(void *)(uintptr_t) "\r\n", 2};
    }
    if (is_early || qw_http_stream_pending(x) > 0) {
        keep(x, iov, 3, 0);
        return;
    }
    if (c->tls) {
        keep(x, iov, 3, 0);
        if (!c->is_broken) qw_http_stream_flush(x);
        return;
    }
    ssize_t n = send_plain(c->fd, iov, 3);
    if (n < 0) {
        lose(c);
        return;
    }
    size_t total = iov[0].iov_len + iov[1].iov_len + iov[2].iov_len;
    if ((size_t)n == total) return;
    keep(x, iov, 3, (size_t)n);
    c->deadline_ns = qw_clock_ns() + c->server->send_timeout_ns;
    watch_out(c, true);
}

void qw_http_stream_end(qw_http_exchange *x)
{
    if (!x->is_stream || x->has_ended || x->is_over || x->is_cut) return;
    x->has_ended = true;
    if (x->phase == QW_HTTP_STREAM && !x->conn->is_broken && qw_http_stream_pending(x) == 0)
        qw_http_conn_resume(x->conn);
}

// libmicrohttpd 0.9.75 closes a connection when its reader says "error", or "end" without chunks,
// but does not look at it again to free it. It looks at connections with a time limit of their own
// in every turn.
static ssize_t close_now(qw_http_conn *c, ssize_t why)
{
    enum { ANY_SECONDS = 1000 };
    MHD_set_connection_option(c->mhd, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)ANY_SECONDS);
    c->server->must_run[c->watch.i_daemon] = true;
    return why;
}

// Called once when the head is out, and once more when the stream is over.
ssize_t qw_http_stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    (void)pos, (void)buf, (void)max;
    qw_http_exchange *x = cls;
    qw_http_conn *c = x->conn;
    if (x->phase == QW_HTTP_START && !x->is_cut) {
        x->phase = QW_HTTP_STREAM;
        c->deadline_ns = 0;
        // libmicrohttpd corks the socket of a TLS client now and then; what is written past it must
        // not wait for the cork.
        int off = 0;
        if (c->tls) setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
        qw_http_stream_flush(x);
    }
    if (x->is_cut) return close_now(c, MHD_CONTENT_READER_END_WITH_ERROR);
    if (x->has_ended && !c->is_broken && qw_http_stream_pending(x) == 0) {
        x->phase = QW_HTTP_END;
        c->deadline_ns = qw_clock_ns() + c->server->send_timeout_ns;
        return x->is_chunked ? MHD_CONTENT_READER_END_OF_STREAM
                             : close_now(c, MHD_CONTENT_READER_END_OF_STREAM);
    }
    qw_http_conn_suspend(c);
    return 0;
}
