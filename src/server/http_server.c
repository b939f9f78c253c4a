#include "server/http_server.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/http_internal.h"

enum { MS = 1000000 }; // nanoseconds

// ---- making and closing ----

static int64_t limit_ns(int given_ms, int default_ms)
{
    return (int64_t)(given_ms > 0 ? given_ms : default_ms) * MS;
}

// Descriptors that clients may use, after raising the soft limit; some stay for files and the rest.
static int raise_descriptors(void)
{
    enum { RESERVE = 128, MOST = 1 << 20 };
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) return 1024 - RESERVE;
    if (r.rlim_cur < r.rlim_max) {
        struct rlimit raised = {r.rlim_max, r.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) r.rlim_cur = r.rlim_max;
    }
    if (r.rlim_cur >= MOST) return MOST;
    int n = (int)r.rlim_cur;
    return n > 2 * RESERVE ? n - RESERVE : n / 2;
}

static void set_limits(qw_http_server *s, const qw_http_options *o)
{
    s->max_body = o->max_body > 0 ? o->max_body : (size_t)512 << 20;
    s->max_stream_buffer = o->max_stream_buffer > 0 ? o->max_stream_buffer : (size_t)16 << 20;
    s->max_connections = raise_descriptors();
    if (o->max_connections > 0 && o->max_connections < s->max_connections)
        s->max_connections = o->max_connections;
    s->head_timeout_ns = limit_ns(o->head_timeout_ms, 30000);
    s->body_timeout_ns = limit_ns(o->body_timeout_ms, 60000);
    s->send_timeout_ns = limit_ns(o->send_timeout_ms, 120000);
    s->keep_alive_ns = limit_ns(o->keep_alive_ms, 75000);

    int64_t least = s->head_timeout_ns;
    if (s->body_timeout_ns < least) least = s->body_timeout_ns;
    if (s->send_timeout_ns < least) least = s->send_timeout_ns;
    if (s->keep_alive_ns < least) least = s->keep_alive_ns;
    int64_t period_ms = least / 4 / MS;
    s->deadline_period_ms = (int)(period_ms < 10 ? 10 : period_ms > 1000 ? 1000 : period_ms);
}

static void on_deadline_timer(void *ctx)
{
    qw_http_check_deadlines(ctx);
}

static void on_accept_timer(void *ctx)
{
    qw_http_set_accepting(ctx, true);
}

static qw_status open_events(qw_http_server *s, qw_error *err)
{
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->post_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->post_watch.kind = QW_HTTP_WATCH_POSTS;
    s->listen_watch.kind = QW_HTTP_WATCH_LISTEN;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &s->post_watch};
    if (s->epoll_fd < 0 || s->post_fd < 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->post_fd, &e) != 0)
        return qw_fail(err, QW_ERR_IO, "cannot set up the HTTP server's events: %s",
                       strerror(errno));
    return QW_OK;
}

qw_status qw_http_server_bind(qw_http_server **out, const qw_http_options *options,
                              const qw_http_handler *handler, qw_error *err)
{
    QW_ASSERT(handler->request && handler->gone);
    qw_http_server *s = qw_mem_calloc(1, sizeof *s);
    if (!s) return qw_fail_memory(err, sizeof *s, "the HTTP server");
    s->handler = *handler;
    s->listen_fd = s->epoll_fd = s->post_fd = -1;
    s->deadline_timer = (qw_http_timer){.fn = on_deadline_timer, .ctx = s};
    s->accept_timer = (qw_http_timer){.fn = on_accept_timer, .ctx = s};
    set_limits(s, options);
    qw_status st = qw_http_policy_init(&s->policy, options, err);
    if (st == QW_OK) st = qw_http_tls_init(&s->tls, options, err);
    if (st == QW_OK) st = qw_http_bind(s, options, err);
    if (st == QW_OK) st = open_events(s, err);
    if (st == QW_OK) st = qw_http_start_daemons(s, err);
    if (st != QW_OK) {
        qw_http_server_close(s);
        return st;
    }
    *out = s;
    return QW_OK;
}

// ---- posts ----

typedef struct owned_post {
    qw_http_post node;
    void (*fn)(void *ctx);
    void *ctx;
} owned_post;

static void run_owned(void *ctx)
{
    owned_post post = *(owned_post *)ctx;
    qw_mem_free(ctx);
    post.fn(post.ctx);
}

bool qw_http_server_post(qw_http_server *s, void (*fn)(void *ctx), void *ctx)
{
    owned_post *p = qw_mem_alloc(sizeof *p);
    if (!p) return false;
    *p = (owned_post){.node = {.fn = run_owned, .ctx = p}, .fn = fn, .ctx = ctx};
    qw_http_server_post_node(s, &p->node);
    return true;
}

void qw_http_server_post_node(qw_http_server *s, qw_http_post *node)
{
    qw_http_post *head = atomic_load(&s->posts);
    do {
        node->next = head;
    } while (!atomic_compare_exchange_weak(&s->posts, &head, node));
    // Whoever finds the list empty wakes the I/O thread; the others' nodes are taken along.
    if (head) return;
    uint64_t one = 1;
    ssize_t n = write(s->post_fd, &one, sizeof one);
    (void)n; // it fails only when the counter is full, and then the thread wakes up anyway
}

// The posted nodes, oldest first.
static qw_http_post *take_posts(qw_http_server *s)
{
    qw_http_post *newest = atomic_exchange(&s->posts, NULL), *oldest = NULL;
    while (newest) {
        qw_http_post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void run_posts(qw_http_server *s)
{
    uint64_t count;
    ssize_t n = read(s->post_fd, &count, sizeof count); // before the list is taken
    (void)n;
    qw_http_post *p = take_posts(s);
    while (p) {
        qw_http_post *next = p->next; // the node is its owner's again once fn runs
        p->fn(p->ctx);
        p = next;
    }
}

// ---- timers ----

void qw_http_server_timer_stop(qw_http_server *s, qw_http_timer *t)
{
    if (!t->is_running) return;
    t->is_running = false;
    qw_http_timer **p = &s->timers;
    while (*p != t) p = &(*p)->next;
    *p = t->next;
}

// There are a handful of timers: a list will do.
void qw_http_server_timer_start(qw_http_server *s, qw_http_timer *t, int first_ms, int period_ms)
{
    qw_http_server_timer_stop(s, t);
    t->due_ns = qw_clock_ns() + (int64_t)first_ms * MS;
    t->period_ns = (int64_t)period_ms * MS;
    t->is_running = true;
    t->next = s->timers;
    s->timers = t;
}

// The first timer whose time has come, set for its next.
static qw_http_timer *next_due(qw_http_server *s, int64_t now)
{
    for (qw_http_timer *t = s->timers; t; t = t->next) {
        if (t->due_ns > now) continue;
        if (t->period_ns == 0)
            qw_http_server_timer_stop(s, t);
        else
            t->due_ns = now + t->period_ns;
        return t;
    }
    return NULL;
}

static void run_timers(qw_http_server *s)
{
    if (!s->timers) return;
    int64_t now = qw_clock_ns();
    // A timer's function may start, stop and free timers, so the list is searched anew.
    for (qw_http_timer *t; (t = next_due(s, now));) t->fn(t->ctx);
}

// Milliseconds, rounded up, that the loop may sleep; -1: until something happens.
static int sleep_ms(const qw_http_server *s)
{
    for (int i = 0; i < QW_HTTP_N_DAEMONS; i++)
        if (s->must_run[i]) return 0;
    if (!s->timers) return -1;
    int64_t due = INT64_MAX, now = qw_clock_ns();
    for (const qw_http_timer *t = s->timers; t; t = t->next)
        if (t->due_ns < due) due = t->due_ns;
    if (due <= now) return 0;
    int64_t ms = (due - now + MS - 1) / MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

// ---- the loop ----

// Connections are freed only here, so pointers to them in a batch of events are good until then.
static void run_daemons(qw_http_server *s)
{
    for (int i = 0; i < QW_HTTP_N_DAEMONS; i++) {
        if (!s->must_run[i]) continue;
        s->must_run[i] = false;
        MHD_run(s->daemons[i]);
        unsigned long long left;
        if (MHD_get_timeout(s->daemons[i], &left) == MHD_YES && left == 0) s->must_run[i] = true;
    }
}

static qw_status turn(qw_http_server *s, qw_error *err)
{
    enum { BATCH = 256 };
    struct epoll_event events[BATCH];
    int n = epoll_wait(s->epoll_fd, events, BATCH, sleep_ms(s));
    if (n < 0 && errno != EINTR)
        return qw_fail(err, QW_ERR_IO, "waiting for HTTP events: %s", strerror(errno));
    bool has_posts = false, has_clients = false;
    for (int i = 0; i < n; i++) {
        qw_http_watch *w = events[i].data.ptr;
        switch (w->kind) {
        case QW_HTTP_WATCH_POSTS: has_posts = true; break;
        case QW_HTTP_WATCH_LISTEN: has_clients = true; break;
        case QW_HTTP_WATCH_MHD: s->must_run[w->i_daemon] = true; break;
        case QW_HTTP_WATCH_CONN: qw_http_conn_event((qw_http_conn *)w, events[i].events); break;
        }
    }
    if (has_posts) run_posts(s);
    run_timers(s);
    if (has_clients && s->is_accepting) qw_http_accept(s);
    run_daemons(s);
    qw_http_look(s);
    return QW_OK;
}

qw_status qw_http_server_run(qw_http_server *s, qw_error *err)
{
    QW_ASSERT(!s->has_run);
    s->has_run = true;
    while (!s->is_draining || s->n_connections > 0) {
        qw_status st = turn(s, err);
        if (st != QW_OK) {
            qw_http_server_stop(s);
            return st;
        }
    }
    return QW_OK;
}

void qw_http_server_drain(qw_http_server *s)
{
    if (s->is_draining) return;
    s->is_draining = true;
    qw_http_unbind(s);
    for (qw_http_conn *c = s->conns; c; c = c->next)
        if (!c->x) shutdown(c->fd, SHUT_RD);
}

void qw_http_server_stop(qw_http_server *s)
{
    qw_http_server_drain(s);
    for (qw_http_conn *c = s->conns; c; c = c->next) {
        if (c->x)
            qw_http_leave(c->x);
        else
            shutdown(c->fd, SHUT_RDWR);
    }
}

void qw_http_server_close(qw_http_server *s)
{
    if (!s) return;
    if (s->n_connections > 0) qw_http_server_stop(s); // run ended with an error
    for (int i = 0; i < QW_HTTP_N_DAEMONS; i++)
        if (s->daemons[i]) MHD_stop_daemon(s->daemons[i]);
    qw_http_unbind(s);
    for (qw_http_post *p = take_posts(s), *next; p; p = next) {
        next = p->next;
        if (p->fn == run_owned) qw_mem_free(p->ctx);
    }
    if (s->epoll_fd >= 0) close(s->epoll_fd);
    if (s->post_fd >= 0) close(s->post_fd);
    qw_http_tls_release(&s->tls);
    qw_http_policy_release(&s->policy);
    qw_mem_free(s->url);
    qw_mem_free(s);
}

int qw_http_server_port(const qw_http_server *s)
{
    return s->port;
}

const char *qw_http_server_url(const qw_http_server *s)
{
    return s->url;
}

int qw_http_server_max_connections(const qw_http_server *s)
{
    return s->max_connections;
}

size_t qw_http_server_n_connections(const qw_http_server *s)
{
    return s->n_connections;
}

size_t qw_http_server_n_exchanges(const qw_http_server *s)
{
    return s->n_exchanges;
}
