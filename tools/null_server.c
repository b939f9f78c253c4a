// A server without a model, for measuring clients: every POST is answered by a stream of completion
// events at a steady pace, and every GET by an empty answer. One thread, epoll, loopback only.
//
//   null_server EVENTS RATE [LOG]     prints its port; ends when its stdin does
//
// EVENTS of each stream, RATE a second; events of different streams are spread over the period. LOG
// gets a line for each stream at the end: the number behind the last '-' of its x-request-id, and
// for each event the monotonic clock in nanoseconds just before it was written.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { MAX_FD = 1 << 16, MAX_REQUEST = 1 << 22, MAX_BATCH = 256 };

/** A connection, and the stream on it. */
typedef struct stream {
    char *in; /* the request as far as it came */
    size_t n_in, cap;
    bool is_running;
    long id;
    int n_sent;
    int64_t due_ns;
    int64_t *times; /* [n_events] of the running stream */
} stream;

typedef struct finished {
    long id;
    int64_t *times;
} finished;

static stream streams[MAX_FD];
static finished *done;
static size_t n_done, cap_done;
static int n_events, epoll_fd, timer_fd, listen_fd;
static int64_t period_ns;

/** Streams by when their next event is due: a heap of descriptors. */
static int heap[MAX_FD];
static int n_heap;

static int64_t due_of(int i)
{
    return streams[heap[i]].due_ns;
}

static void swap(int i, int j)
{
    int fd = heap[i];
    heap[i] = heap[j];
    heap[j] = fd;
}

static void heap_push(int fd)
{
    int i = n_heap++;
    for (heap[i] = fd; i > 0 && due_of(i) < due_of((i - 1) / 2); i = (i - 1) / 2)
        swap(i, (i - 1) / 2);
}

static void heap_sink(int i)
{
    for (;;) {
        int least = i;
        for (int j = 2 * i + 1; j <= 2 * i + 2; j++)
            if (j < n_heap && due_of(j) < due_of(least)) least = j;
        if (least == i) return;
        swap(i, least);
        i = least;
    }
}

static void heap_pop(void)
{
    heap[0] = heap[--n_heap];
    heap_sink(0);
}

static void heap_remove(int fd)
{
    for (int i = 0; i < n_heap; i++) {
        if (heap[i] != fd) continue;
        heap[i] = heap[--n_heap];
        break;
    }
    for (int i = n_heap / 2; i >= 0; i--) heap_sink(i);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void put(int fd, const char *data, size_t len)
{
    // The events are small and the client reads: a full socket is a client that is gone.
    if (send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len) shutdown(fd, SHUT_RDWR);
}

static void put_chunk(int fd, const char *data, size_t len)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%zx\r\n%.*s\r\n", len, (int)len, data);
    put(fd, text, (size_t)n);
}

static void begin_stream(int fd)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    static uint64_t n_streams;
    stream *s = &streams[fd];
    const char *id = strcasestr(s->in, "x-request-id:");
    const char *end = id ? strpbrk(id, "\r\n") : NULL;
    while (end && end > id && end[-1] != '-') end--;
    s->id = end ? strtol(end, NULL, 10) : -1;
    s->is_running = true;
    s->n_sent = 0;
    s->times = qw_mem_calloc((size_t)n_events, sizeof *s->times);
    if (!s->times) die("memory");
    put(fd, head, sizeof head - 1);
    // Golden ratio: any number of streams is spread evenly over the period.
    double part = (double)(n_streams++ * 0x9E3779B97F4A7C15u >> 11) * 0x1p-53;
    s->due_ns = qw_clock_ns() + (int64_t)(part * (double)period_ns);
    heap_push(fd);
}

static void end_stream(int fd)
{
    stream *s = &streams[fd];
    if (n_done == cap_done) {
        cap_done = cap_done ? 2 * cap_done : 1024;
        done = qw_mem_realloc(done, cap_done * sizeof *done);
        if (!done) die("memory");
    }
    done[n_done++] = (finished){s->id, s->times};
    s->times = NULL;
    s->is_running = false;
}

static void send_event(int fd)
{
    stream *s = &streams[fd];
    char event[300];
    int n = snprintf(
        event, sizeof event,
        "data: {\"id\":\"cmpl-%ld\",\"object\":\"text_completion\",\"created\":1700000000,"
        "\"model\":\"null\",\"choices\":[{\"index\":0,\"text\":\" word\",\"logprobs\":null,"
        "\"finish_reason\":null,\"stop_reason\":null}],\"usage\":null}\n\n",
        s->id);
    s->times[s->n_sent++] = qw_clock_ns();
    put_chunk(fd, event, (size_t)n);
    if (s->n_sent < n_events) {
        s->due_ns += period_ns;
        heap_sink(0);
        return;
    }
    heap_pop();
    n = snprintf(
        event, sizeof event,
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":%d}}\n\n"
        "data: [DONE]\n\n",
        n_events);
    put_chunk(fd, event, (size_t)n);
    put(fd, "0\r\n\r\n", 5);
    end_stream(fd);
}

static void close_stream(int fd)
{
    stream *s = &streams[fd];
    if (s->is_running) heap_remove(fd);
    qw_mem_free(s->times);
    qw_mem_free(s->in);
    *s = (stream){0};
    close(fd);
}

// Whole once the body that Content-Length tells is there.
static void take_request(int fd)
{
    stream *s = &streams[fd];
    char *body = strstr(s->in, "\r\n\r\n");
    if (!body) return;
    const char *length = strcasestr(s->in, "content-length:");
    size_t n_body = length && length < body ? strtoul(length + 15, NULL, 10) : 0;
    if (s->n_in < (size_t)(body + 4 - s->in) + n_body) return;
    if (strncmp(s->in, "POST", 4) == 0)
        begin_stream(fd);
    else
        put(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 38);
    s->n_in = 0;
}

static void on_readable(int fd)
{
    stream *s = &streams[fd];
    if (s->cap - s->n_in < 8192) {
        s->cap = s->cap ? 2 * s->cap : 16384;
        s->in = s->cap <= MAX_REQUEST ? qw_mem_realloc(s->in, s->cap) : NULL;
        if (!s->in) die("memory");
    }
    ssize_t n = recv(fd, s->in + s->n_in, s->cap - s->n_in - 1, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        close_stream(fd);
        return;
    }
    s->n_in += (size_t)n;
    s->in[s->n_in] = '\0';
    if (!s->is_running) take_request(fd);
}

static void on_connection(void)
{
    int fd;
    while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_FD) die("too many connections");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0) die("epoll_ctl");
    }
}

static void arm_timer(void)
{
    struct itimerspec at = {0};
    if (n_heap > 0) at.it_value = (struct timespec){due_of(0) / 1000000000, due_of(0) % 1000000000};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static bool on_event(int fd)
{
    char byte;
    if (fd == STDIN_FILENO) return read(fd, &byte, 1) > 0;
    if (fd == listen_fd)
        on_connection();
    else if (fd != timer_fd)
        on_readable(fd);
    return true;
}

static void serve(void)
{
    struct epoll_event events[MAX_BATCH];
    for (;;) {
        int n = epoll_wait(epoll_fd, events, MAX_BATCH, -1);
        for (int i = 0; i < n; i++)
            if (!on_event(events[i].data.fd)) return;
        while (n_heap > 0 && due_of(0) <= qw_clock_ns()) send_event(heap[0]);
        arm_timer();
    }
}

static void listen_on_loopback(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&at, len) != 0 ||
        listen(listen_fd, 4096) != 0 || getsockname(listen_fd, (struct sockaddr *)&at, &len) != 0)
        die("cannot listen");
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
}

static void write_log(const char *path)
{
    FILE *f = fopen(path, "we");
    if (!f) die(path);
    for (size_t i = 0; i < n_done; i++) {
        fprintf(f, "%ld", done[i].id);
        for (int j = 0; j < n_events; j++) fprintf(f, " %lld", (long long)done[i].times[j]);
        fputc('\n', f);
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: null_server EVENTS RATE [LOG]\n");
        return 2;
    }
    n_events = (int)strtol(argv[1], NULL, 10);
    period_ns = (int64_t)(1e9 / strtod(argv[2], NULL));
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < MAX_FD ? limit.rlim_max : MAX_FD;
    setrlimit(RLIMIT_NOFILE, &limit);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    listen_on_loopback();
    const int fds[] = {listen_fd, timer_fd, STDIN_FILENO};
    for (size_t i = 0; i < QW_ARRAY_LEN(fds); i++) {
        // Edges of the timer: it is never read.
        struct epoll_event e = {.events = EPOLLIN | (fds[i] == timer_fd ? (uint32_t)EPOLLET : 0),
                                .data.fd = fds[i]};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &e) != 0) die("epoll_ctl");
    }
    serve();
    if (argc > 3) write_log(argv[3]);
    return 0;
}
