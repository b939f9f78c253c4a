// The client process: one thread, one epoll, all connections.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/serve_client_internal.h"

enum {
    STALL_MS = 300000, // the server has died, or this machine has
    POLL_MS = 20,      // between two looks at the server's counts
    BATCH = 200,       // connections made before the server must have accepted them: its backlog
};

/** One connection. `fd` < 0: closed. */
typedef struct conn {
    int fd;
    qw_buf out; /* the request that is being sent */
    size_t n_sent;
    bool is_answered;
    int64_t goal; /* HOLD, WATCH: events to reach */
    qw_answer_reader reader;
} conn;

/** A set of connections of one purpose. */
typedef struct conn_set {
    conn *conns; /* [max] */
    size_t n, max;
} conn_set;

typedef struct client {
    const char *const *prompts;
    size_t n_prompts;
    int epoll_fd;
    conn_set streams; /* of a wave, or held */
    conn_set crowd;
    conn_set probe; /* at most one: asks how many wait */
    qw_buf body;    /* the probe's answer */
    bool is_probed;
    const qw_serve_order *order;
    int n_begun, n_answered; /* requests of a wave */
    size_t n_short;          /* streams below their goal */
    int64_t first_event_ns;
    bool has_failed; /* `result` says how */
    qw_serve_result *result;
    char input[1 << 16];
} client;

QW_PRINTF(2, 3)
static void fail(client *c, const char *fmt, ...)
{
    if (c->has_failed) return;
    c->has_failed = true;
    c->result->status = QW_ERR_DEVICE;
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->result->text, sizeof c->result->text, fmt, args);
    va_end(args);
}

// Connections

static void close_conn(conn *k)
{
    if (k->fd < 0) return;
    // A reset: no TIME_WAIT is left behind, of which thousands would use up the ports.
    struct linger now = {.l_onoff = 1};
    (void)setsockopt(k->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(k->fd);
    k->fd = -1;
    qw_buf_release(&k->out);
}

static void close_set(conn_set *s)
{
    for (size_t i = 0; i < s->n; i++) close_conn(&s->conns[i]);
    s->n = 0;
}

static conn *open_conn(client *c, conn_set *s)
{
    if (s->n == s->max) {
        fail(c, "more connections than there is room for");
        return NULL;
    }
    conn *k = &s->conns[s->n];
    *k = (conn){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    qw_buf_init(&k->out, (size_t)1 << 24);
    if (k->fd < 0) {
        fail(c, "cannot make a socket: %s", strerror(errno));
        return NULL;
    }
    s->n++;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)c->order->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    (void)setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = k};
    if (connect(k->fd, (const struct sockaddr *)(const void *)&to, sizeof to) != 0 ||
        fcntl(k->fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, k->fd, &e) != 0) {
        fail(c, "cannot connect to the server: %s", strerror(errno));
        return NULL;
    }
    return k;
}

static void flush(client *c, conn *k)
{
    while (k->n_sent < k->out.len) {
        ssize_t n = send(k->fd, k->out.data + k->n_sent, k->out.len - k->n_sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n < 0) {
            fail(c, "the server closed a connection: %s", strerror(errno));
            return;
        }
        k->n_sent += (size_t)n;
    }
}

// Requests

static void write_request(client *c, conn *k, int i)
{
    const qw_serve_order *o = c->order;
    const char *prompt = c->prompts[o->first_prompt + i % o->n_prompts];
    const char *const before =
        o->is_chat ? "\"messages\":[{\"role\":\"user\",\"content\":\"" : "\"prompt\":\"";
    char rest[160];
    snprintf(rest, sizeof rest,
             "\"%s,\"max_tokens\":%d,\"temperature\":0,\"ignore_eos\":true,\"stream\":true}",
             o->is_chat ? "}]" : "", o->max_tokens);
    qw_buf_clear(&k->out);
    k->n_sent = 0;
    k->is_answered = false;
    qw_buf_printf(&k->out,
                  "POST /v1/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  "Content-Length: %zu\r\n\r\n{%s%s%s",
                  o->is_chat ? "chat/completions" : "completions",
                  1 + strlen(before) + strlen(prompt) + strlen(rest), before, prompt, rest);
    if (k->out.failed) fail(c, "not enough memory for a request");
    flush(c, k);
}

static bool belongs(const conn_set *s, const conn *k)
{
    return k >= s->conns && k < s->conns + s->max;
}

static void on_answer(client *c, conn *k)
{
    k->is_answered = true;
    if (k->reader.status != 0) {
        fail(c, "the server answered with status %d", k->reader.status);
    } else if (belongs(&c->probe, k)) {
        c->is_probed = true;
    } else if (belongs(&c->crowd, k) || c->order->kind != QW_SERVE_WAVE) {
        fail(c, "a request that was to go on was answered after %lld events",
             (long long)k->reader.n_events);
    } else {
        c->n_answered++;
        if (c->n_begun < c->order->n_requests) write_request(c, k, c->n_begun++);
    }
}

static void on_events(client *c, conn *k, int64_t before)
{
    int64_t now = k->reader.n_events;
    if (now == before) return;
    if (c->first_event_ns == 0) c->first_event_ns = qw_clock_ns();
    if (before < k->goal && now >= k->goal) c->n_short--;
}

static void receive(client *c, conn *k)
{
    while (!c->has_failed) {
        ssize_t n = recv(k->fd, c->input, sizeof c->input, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) {
            fail(c, "the server closed a connection: %s", n < 0 ? strerror(errno) : "end of file");
            return;
        }
        int64_t before = k->reader.n_events;
        qw_answer_state state = qw_answer_reader_feed(&k->reader, c->input, (size_t)n,
                                                      belongs(&c->probe, k) ? &c->body : NULL);
        on_events(c, k, before);
        if (state == QW_ANSWER_BROKEN) fail(c, "the server's answer is no HTTP that is known here");
        if (state == QW_ANSWER_ENDS) on_answer(c, k);
        if ((size_t)n < sizeof c->input) return; // edge triggered: the rest will be told
    }
}

// Serve the connections that have something, or wait up to timeout_ms.
static void pump(client *c, int timeout_ms)
{
    struct epoll_event events[256];
    int n = epoll_wait(c->epoll_fd, events, QW_ARRAY_LEN(events), timeout_ms);
    if (n == 0 && timeout_ms == STALL_MS) fail(c, "the server said nothing for five minutes");
    for (int i = 0; i < n && !c->has_failed; i++) {
        conn *k = events[i].data.ptr;
        if (k->fd < 0) continue;
        if (events[i].events & EPOLLOUT) flush(c, k);
        if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) receive(c, k);
    }
}

// Orders

static void open_streams(client *c)
{
    for (int i = 0; i < c->order->n_connections && !c->has_failed; i++)
        (void)open_conn(c, &c->streams);
}

static void wave(client *c)
{
    close_set(&c->streams);
    open_streams(c);
    int64_t start_ns = qw_clock_ns();
    c->n_begun = c->n_answered = 0;
    c->first_event_ns = 0;
    for (size_t i = 0; i < c->streams.n && c->n_begun < c->order->n_requests; i++)
        write_request(c, &c->streams.conns[i], c->n_begun++);
    while (c->n_answered < c->order->n_requests && !c->has_failed) pump(c, STALL_MS);
    qw_serve_answer *a = &c->result->answer;
    a->seconds = (double)(qw_clock_ns() - start_ns) * 1e-9;
    a->first_event_s = (double)(c->first_event_ns - start_ns) * 1e-9;
    for (size_t i = 0; i < c->streams.n; i++) a->n_events += c->streams.conns[i].reader.n_events;
    a->n_events -= c->n_answered; // "[DONE]"
    close_set(&c->streams);
}

static void wait_for_events(client *c, int n_events)
{
    int64_t start_ns = qw_clock_ns(), before = 0, after = 0;
    for (size_t i = 0; i < c->streams.n; i++) {
        before += c->streams.conns[i].reader.n_events;
        c->streams.conns[i].goal = c->streams.conns[i].reader.n_events + n_events;
    }
    c->n_short = c->streams.n;
    while (c->n_short > 0 && !c->has_failed) pump(c, STALL_MS);
    for (size_t i = 0; i < c->streams.n; i++) after += c->streams.conns[i].reader.n_events;
    c->result->answer.seconds = (double)(qw_clock_ns() - start_ns) * 1e-9;
    c->result->answer.n_events = after - before;
}

static void hold(client *c)
{
    close_set(&c->streams);
    open_streams(c);
    for (size_t i = 0; i < c->streams.n; i++) write_request(c, &c->streams.conns[i], (int)i);
    wait_for_events(c, 1);
}

// Ask for a page on a connection of its own. The server accepts in order, so with the answer every
// connection made before it has been accepted.
static void probe(client *c, const char *path)
{
    conn *k = open_conn(c, &c->probe);
    c->is_probed = false;
    qw_buf_clear(&c->body);
    if (k) {
        qw_buf_printf(&k->out, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
        flush(c, k);
    }
    while (!c->is_probed && !c->has_failed) pump(c, STALL_MS);
    close_set(&c->probe);
}

static int64_t count_waiting(client *c)
{
    static const char name[] = "\nvllm:num_requests_waiting{";
    probe(c, "/metrics");
    const char *line = c->body.data ? strstr(c->body.data, name) : NULL;
    const char *value = line ? strstr(line, "} ") : NULL;
    if (!value) fail(c, "/metrics does not tell how many requests wait");
    return value ? (int64_t)strtod(value + 2, NULL) : 0;
}

static void wait_for_waiting(client *c, int64_t n)
{
    while (!c->has_failed && count_waiting(c) != n) {
        int64_t until = qw_clock_ns() + POLL_MS * INT64_C(1000000);
        while (!c->has_failed && qw_clock_ns() < until) pump(c, POLL_MS);
    }
}

static void crowd(client *c)
{
    const qw_serve_order *o = c->order;
    for (int i = 0; i < o->n_idle + o->n_requests && !c->has_failed; i++) {
        conn *k = open_conn(c, &c->crowd);
        if (k && i >= o->n_idle) write_request(c, k, i - o->n_idle);
        if (i % BATCH == BATCH - 1) probe(c, "/ping");
    }
    wait_for_waiting(c, o->n_requests);
}

static void carry_out(client *c)
{
    switch (c->order->kind) {
    case QW_SERVE_WAVE: wave(c); break;
    case QW_SERVE_HOLD: hold(c); break;
    case QW_SERVE_WATCH: wait_for_events(c, c->order->n_events); break;
    case QW_SERVE_CROWD: crowd(c); break;
    case QW_SERVE_DISPERSE:
        close_set(&c->crowd);
        wait_for_waiting(c, 0);
        break;
    case QW_SERVE_DROP: break;
    }
    if (!c->has_failed && c->order->kind != QW_SERVE_DROP) return;
    close_set(&c->crowd);
    close_set(&c->streams);
    close_set(&c->probe);
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool make_set(conn_set *s, size_t max)
{
    s->max = max;
    s->conns = qw_mem_calloc(max, sizeof *s->conns);
    return s->conns;
}

static void raise_descriptors(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) return;
    r.rlim_cur = r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r);
}

void qw_serve_client_main(int fd, const char *const *prompts, size_t n_prompts)
{
    raise_descriptors();
    client *c = qw_mem_calloc(1, sizeof *c);
    if (!c || !make_set(&c->streams, QW_SERVE_MAX_STREAMS) ||
        !make_set(&c->crowd, QW_SERVE_MAX_CROWD) || !make_set(&c->probe, 1))
        return; // NOLINT(clang-analyzer-unix.Malloc): the process ends here
    c->prompts = prompts;
    c->n_prompts = n_prompts;
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    qw_buf_init(&c->body, (size_t)1 << 24);
    qw_serve_order order;
    while (recv(fd, &order, sizeof order, 0) == sizeof order) {
        qw_serve_result result = {.status = QW_OK};
        c->order = &order;
        c->result = &result;
        c->has_failed = false;
        double before = cpu_s();
        carry_out(c);
        result.answer.cpu_s = cpu_s() - before;
        if (send(fd, &result, sizeof result, MSG_NOSIGNAL) != sizeof result) return;
    }
}
