#ifndef QW_TESTS_HTTP_FIXTURE_H
#define QW_TESTS_HTTP_FIXTURE_H

// A server on its own thread with a handler that does what the path says, and a client that writes
// raw bytes and reads replies.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/http_server.h"

enum { PATIENCE_MS = 60000 }; // a test that waits longer than this has failed

typedef struct fixture {
    qw_http_server *server;
    pthread_t thread;
    bool is_running;
    size_t live; /* blocks before the server */

    pthread_mutex_t mu;
    pthread_cond_t changed;
    int n_begin, n_request, n_done, n_gone, n_access; /* guarded by mu */
    size_t most_pending;                              /* guarded by mu */
    int n_connections;                                /* guarded by mu: as last noted */
    int last_status;                                  /* guarded by mu */
    char access_line[256];                            /* guarded by mu */

    qw_http_exchange *held[4096]; /* I/O thread only: those of /wait and /open */
    size_t n_held;
    const char *piece; /* what write_held writes */
    size_t piece_size;
} fixture;

static void count(fixture *f, int *counter)
{
    pthread_mutex_lock(&f->mu);
    (*counter)++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mu);
}

static int get(fixture *f, const int *counter)
{
    pthread_mutex_lock(&f->mu);
    int value = *counter;
    pthread_mutex_unlock(&f->mu);
    return value;
}

static QW_UNUSED void wait_until(fixture *f, const int *counter, int at_least)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&f->mu);
    int rc = 0;
    while (*counter < at_least && rc == 0) rc = pthread_cond_timedwait(&f->changed, &f->mu, &until);
    int value = *counter;
    pthread_mutex_unlock(&f->mu);
    if (value < at_least) fail_msg("waited for %d, got %d", at_least, value);
}

// ---- the handler ----

static void on_begin(void *ctx, qw_http_exchange *x)
{
    fixture *f = ctx;
    count(f, &f->n_begin);
    if (strcmp(qw_http_path(x), "/refuse") == 0) qw_http_reply_not_found(x);
}

static void hold(fixture *f, qw_http_exchange *x)
{
    QW_ASSERT(f->n_held < QW_ARRAY_LEN(f->held));
    f->held[f->n_held++] = x;
}

static void reply_text(qw_http_exchange *x, const char *text)
{
    qw_http_reply(x, 200, "text/plain", qw_mem_strdup(text), strlen(text));
}

static void reply_events(qw_http_exchange *x)
{
    const char *n = qw_http_query(x, "n"), *size = qw_http_query(x, "size");
    int64_t n_events = 3, event_size = 8;
    if (n && !qw_str_to_i64(qw_str_of(n), &n_events)) return;
    if (size && !qw_str_to_i64(qw_str_of(size), &event_size)) return;
    qw_http_stream_begin(x, 200, "text/event-stream; charset=utf-8");
    size_t len = (size_t)event_size + 8;
    char *event = qw_mem_alloc(len);
    if (!event) {
        qw_http_abort(x);
        return;
    }
    memcpy(event, "data: ", 6);
    memcpy(event + len - 2, "\n\n", 2);
    for (int64_t i = 0; i < n_events; i++) {
        memset(event + 6, 'a' + (int)(i % 26), (size_t)event_size);
        qw_http_stream_write(x, event, len);
    }
    qw_mem_free(event);
    qw_http_stream_end(x);
}

static void on_request(void *ctx, qw_http_exchange *x)
{
    fixture *f = ctx;
    const char *path = qw_http_path(x);
    if (strcmp(path, "/echo") == 0) {
        size_t len;
        char *body = qw_http_take_body(x, &len);
        qw_http_reply(x, 200, "application/json", body, len);
    } else if (strcmp(path, "/info") == 0 || strcmp(path, "/v1/info") == 0) {
        char text[1024];
        const char *q = qw_http_query(x, "q");
        snprintf(text, sizeof text, "%s|%s|%s|%s|%s|%zu", qw_http_method(x), path,
                 qw_http_target(x), qw_http_version(x), q ? q : "-", qw_http_body(x).len);
        reply_text(x, text);
    } else if (strcmp(path, "/wait") == 0) {
        hold(f, x);
    } else if (strcmp(path, "/open") == 0) {
        qw_http_stream_begin(x, 200, "text/event-stream; charset=utf-8");
        hold(f, x);
    } else if (strcmp(path, "/events") == 0) {
        reply_events(x);
    } else if (strcmp(path, "/big") == 0) {
        size_t size = (size_t)8 << 20;
        char *body = qw_mem_alloc(size);
        memset(body, 'x', size);
        qw_http_reply(x, 200, "text/plain", body, size);
    } else if (strcmp(path, "/abort") == 0) {
        qw_http_abort(x);
    } else if (strcmp(path, "/twice") == 0) {
        reply_text(x, "first");
        reply_text(x, "second");
        qw_http_stream_begin(x, 200, "text/plain");
    } else {
        qw_http_reply_not_found(x);
    }
    count(f, &f->n_request);
}

static void let_go(fixture *f, qw_http_exchange *x)
{
    for (size_t i = 0; i < f->n_held; i++) {
        if (f->held[i] != x) continue;
        f->held[i] = f->held[--f->n_held];
        return;
    }
}

static void on_gone(void *ctx, qw_http_exchange *x)
{
    let_go(ctx, x);
    count(ctx, &((fixture *)ctx)->n_gone);
}

static void on_done(void *ctx, qw_http_exchange *x)
{
    let_go(ctx, x);
    count(ctx, &((fixture *)ctx)->n_done);
}

static void on_access(void *ctx, const qw_http_exchange *x, int status)
{
    fixture *f = ctx;
    pthread_mutex_lock(&f->mu);
    f->last_status = status;
    snprintf(f->access_line, sizeof f->access_line, "%s - \"%.30s %.100s HTTP/%s\" %d %s",
             strchr(qw_http_peer(x), ':') ? "PEER" : "-", qw_http_method(x), qw_http_target(x),
             qw_http_version(x), status, qw_http_status_text(status));
    pthread_mutex_unlock(&f->mu);
    count(f, &f->n_access);
}

// ---- posted work ----

static QW_UNUSED void release_held(void *ctx) // replies to all of /wait
{
    fixture *f = ctx;
    for (size_t i = 0; i < f->n_held; i++) reply_text(f->held[i], "released");
}

static QW_UNUSED void write_held(void *ctx)
{
    fixture *f = ctx;
    size_t most = 0;
    for (size_t i = 0; i < f->n_held; i++) {
        qw_http_stream_write(f->held[i], f->piece, f->piece_size);
        if (qw_http_stream_pending(f->held[i]) > most) most = qw_http_stream_pending(f->held[i]);
    }
    pthread_mutex_lock(&f->mu);
    if (most > f->most_pending) f->most_pending = most;
    pthread_mutex_unlock(&f->mu);
}

static QW_UNUSED void end_held(void *ctx)
{
    fixture *f = ctx;
    for (size_t i = 0; i < f->n_held; i++) qw_http_stream_end(f->held[i]);
}

static void drain_server(void *ctx)
{
    qw_http_server_drain(ctx);
}

static void stop_server(void *ctx)
{
    qw_http_server_stop(ctx);
}

// Run fn on the I/O thread and wait for it.
typedef struct sync_call {
    qw_http_post node;
    fixture *f;
    void (*fn)(void *ctx);
    void *ctx;
    int is_done; /* guarded by f->mu */
} sync_call;

static void run_sync(void *ctx)
{
    sync_call *call = ctx;
    call->fn(call->ctx);
    count(call->f, &call->is_done);
}

static QW_UNUSED void on_io_thread(fixture *f, void (*fn)(void *ctx), void *ctx)
{
    sync_call call = {.f = f, .fn = fn, .ctx = ctx};
    call.node.fn = run_sync;
    call.node.ctx = &call;
    qw_http_server_post_node(f->server, &call.node);
    wait_until(f, &call.is_done, 1);
}

// ---- server ----

static void *serve(void *ctx)
{
    fixture *f = ctx;
    qw_error err;
    if (qw_http_server_run(f->server, &err) != QW_OK) fprintf(stderr, "run: %s\n", err.text);
    return NULL;
}

static void fixture_bind(fixture *f, const qw_http_options *options)
{
    memset(f, 0, sizeof *f);
    f->live = qw_mem_live();
    pthread_mutex_init(&f->mu, NULL);
    pthread_cond_init(&f->changed, NULL);
    qw_http_options o = *options;
    if (!o.host && !o.uds) o.host = "127.0.0.1";
    qw_http_handler h = {f, on_begin, on_request, on_gone, on_done, on_access};
    qw_error err;
    assert_ok(qw_http_server_bind(&f->server, &o, &h, &err));
}

static void fixture_run(fixture *f)
{
    qw_error err;
    assert_ok(qw_http_server_listen(f->server, &err));
    assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
    f->is_running = true;
}

static QW_UNUSED void fixture_open(fixture *f, const qw_http_options *options)
{
    fixture_bind(f, options);
    fixture_run(f);
}

// Wait for the I/O thread's end, after a drain or a stop.
static void fixture_join(fixture *f)
{
    assert_int_equal(pthread_join(f->thread, NULL), 0);
    f->is_running = false;
}

// Drain, or cut everything, and see that nothing is left.
static void fixture_close(fixture *f, bool cut)
{
    if (f->is_running) {
        assert_true(qw_http_server_post(f->server, cut ? stop_server : drain_server, f->server));
        fixture_join(f);
    }
    assert_int_equal(qw_http_server_n_connections(f->server), 0);
    assert_int_equal(qw_http_server_n_exchanges(f->server), 0);
    qw_http_server_close(f->server);
    assert_int_equal(f->n_begin, f->n_done + f->n_gone);
    assert_int_equal(f->n_held, 0);
    assert_int_equal(qw_mem_live(), f->live);
    pthread_mutex_destroy(&f->mu);
    pthread_cond_destroy(&f->changed);
}

// ---- client ----

typedef struct client {
    int fd;
    qw_buf in; /* received, not yet read */
} client;

typedef struct reply {
    int status;
    char *head; /* with the blank line */
    char *body;
    size_t len;
    int n_chunks;
} reply;

static client client_of(int fd)
{
    client c = {.fd = fd};
    qw_buf_init(&c.in, SIZE_MAX / 2);
    return c;
}

static int try_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (const struct sockaddr *)(const void *)&a, sizeof a) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static client client_open(const fixture *f)
{
    int fd = try_connect(qw_http_server_port(f->server));
    if (fd < 0) fail_msg("cannot connect: %s", strerror(errno));
    return client_of(fd);
}

static void client_close(client *c)
{
    close(c->fd);
    qw_buf_release(&c->in);
}

static void client_send(client *c, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
        if (n <= 0) fail_msg("client cannot send: %s", strerror(errno));
        data += n;
        len -= (size_t)n;
    }
}

static void client_puts(client *c, const char *text)
{
    client_send(c, text, strlen(text));
}

// More bytes; false at the end of the connection.
static bool client_fill(client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (poll(&p, 1, PATIENCE_MS) != 1)
        fail_msg("the server says nothing; so far: '%s'", c->in.data ? c->in.data : "");
    char bytes[65536];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n <= 0) return false;
    qw_buf_append(&c->in, bytes, (size_t)n);
    return true;
}

static void client_drop(client *c, size_t n)
{
    memmove(c->in.data, c->in.data + n, c->in.len - n + 1);
    c->in.len -= n;
}

// The first n bytes, taken out, as a string of the caller's; waits for them.
static char *client_take(client *c, size_t n)
{
    while (c->in.len < n)
        if (!client_fill(c)) fail_msg("the connection ended after %zu of %zu bytes", c->in.len, n);
    char *text = qw_mem_strndup(c->in.data ? c->in.data : "", n);
    if (n > 0) client_drop(c, n);
    return text;
}

// Everything up to and with `end`.
static char *client_take_until(client *c, const char *end)
{
    for (;;) {
        const char *at = c->in.data ? strstr(c->in.data, end) : NULL;
        if (at) return client_take(c, (size_t)(at - c->in.data) + strlen(end));
        if (!client_fill(c))
            fail_msg("the connection ended before a '%s': '%s'", end, c->in.data ? c->in.data : "");
    }
}

// True if the server closes the connection without another byte.
static QW_UNUSED bool client_sees_end(client *c)
{
    return c->in.len == 0 && !client_fill(c);
}

static const char *find_header(const reply *r, const char *name)
{
    static char value[512];
    char key[128];
    snprintf(key, sizeof key, "\r\n%s: ", name);
    const char *at = strcasestr(r->head, key);
    if (!at) return NULL;
    at += strlen(key);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

static reply read_head(client *c)
{
    reply r = {0};
    r.head = client_take_until(c, "\r\n\r\n");
    if (sscanf(r.head, "HTTP/1.1 %d", &r.status) != 1) fail_msg("no status: '%s'", r.head);
    return r;
}

// One chunk's data, or NULL at the last one; its bytes in *len.
static char *read_chunk(client *c, size_t *len)
{
    char *line = client_take_until(c, "\r\n");
    *len = strtoul(line, NULL, 16);
    qw_mem_free(line);
    char *data = *len > 0 ? client_take(c, *len) : NULL;
    char *end = client_take(c, 2);
    assert_string_equal(end, "\r\n");
    qw_mem_free(end);
    return data;
}

static reply read_reply(client *c, const char *method)
{
    reply r = read_head(c);
    qw_buf body;
    qw_buf_init(&body, SIZE_MAX / 2);
    qw_buf_puts(&body, "");
    const char *length = find_header(&r, "Content-Length");
    const char *encoding = find_header(&r, "Transfer-Encoding");
    if (strcmp(method, "HEAD") == 0) {
        // no body
    } else if (encoding) {
        size_t len;
        for (char *data; (data = read_chunk(c, &len)); r.n_chunks++) {
            qw_buf_append(&body, data, len);
            qw_mem_free(data);
        }
    } else if ((length = find_header(&r, "Content-Length"))) {
        size_t n = strtoul(length, NULL, 10);
        char *data = client_take(c, n);
        qw_buf_append(&body, data, n);
        qw_mem_free(data);
    } else {
        while (client_fill(c)) continue;
        qw_buf_append(&body, c->in.data ? c->in.data : "", c->in.len);
        qw_buf_clear(&c->in);
    }
    r.body = qw_buf_take(&body, &r.len);
    return r;
}

static void reply_release(reply *r)
{
    qw_mem_free(r->head);
    qw_mem_free(r->body);
}

// Send a request (text as it is) and check status and body; `body` NULL: any.
static QW_UNUSED void expect_reply(client *c, const char *request, int status, const char *body)
{
    char method[16];
    snprintf(method, sizeof method, "%.*s", (int)strcspn(request, " "), request);
    client_puts(c, request);
    reply r = read_reply(c, method);
    if (r.status != status) fail_msg("status %d, not %d: %s", r.status, status, r.body);
    if (body) assert_string_equal(r.body, body);
    reply_release(&r);
}

#endif
