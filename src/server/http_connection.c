#include <errno.h>
#include <netdb.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/http_internal.h"

// ---- leaving ----

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

void qw_http_tell_end(qw_http_exchange *x, bool is_done)
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
    qw_http_tell_end(x, x->is_cut);
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

// ---- connections ----

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

void qw_http_on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
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
