#include "test_util.h"

#include <netinet/tcp.h>
#include <sys/resource.h>
#include <time.h>

#include "unit/server/http_fixture.h"

static const qw_http_options defaults;

static void open_stream(fixture *f, client *c)
{
    int before = get(f, &f->n_request);
    client_puts(c, "GET /open HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(f, &f->n_request, before + 1);
    reply r = read_head(c);
    assert_int_equal(r.status, 200);
    assert_string_equal(find_header(&r, "Content-Type"), "text/event-stream; charset=utf-8");
    reply_release(&r);
}

static void expect_chunk(client *c, const char *want)
{
    size_t len;
    char *data = read_chunk(c, &len);
    if (!want) {
        assert_null(data);
        return;
    }
    assert_non_null(data);
    assert_string_equal(data, want);
    qw_mem_free(data);
}

static void set_piece(fixture *f, const char *piece)
{
    f->piece = piece; // the next post orders this before the I/O thread's reading
    f->piece_size = strlen(piece);
}

static void each_event_is_one_chunk_at_once(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    client c = client_open(&f);
    for (int round = 0; round < 2; round++) { // the connection is kept
        open_stream(&f, &c);
        set_piece(&f, "data: {\"a\":1}\n\n");
        for (int i = 0; i < 5; i++) {
            on_io_thread(&f, write_held, &f);
            // The event came in one send: it is here as a whole when its first byte is.
            assert_true(client_fill(&c));
            assert_int_equal(c.in.len, strlen("f\r\n") + strlen(f.piece) + 2);
            expect_chunk(&c, f.piece);
        }
        on_io_thread(&f, end_held, &f);
        expect_chunk(&c, NULL);
        wait_until(&f, &f.n_done, round + 1);
    }
    expect_reply(&c, "GET /events?n=1000 HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    expect_reply(&c, "GET /events?n=0 HTTP/1.1\r\nHost: x\r\n\r\n", 200, "");
    expect_reply(&c, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    expect_reply(&c, "HEAD /events?n=5 HTTP/1.1\r\nHost: x\r\n\r\n", 200, "");
    assert_true(client_sees_end(&c));
    client_close(&c);
    fixture_close(&f, false);
    assert_int_equal(f.n_gone, 0);
}

static void a_slow_reader_gets_everything(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    for (int http10 = 0; http10 < 2; http10++) {
        client c = client_open(&f);
        char request[128];
        snprintf(request, sizeof request,
                 "GET /events?n=100&size=100000 HTTP/1.%d\r\nHost: x\r\n\r\n", http10 ? 0 : 1);
        int before = get(&f, &f.n_request);
        client_puts(&c, request);
        wait_until(&f, &f.n_request, before + 1); // all is written before anything is read
        reply r = read_reply(&c, "GET");
        assert_int_equal(r.len, 100 * 100008);
        for (size_t i = 0; i < 100; i++) {
            assert_memory_equal(r.body + i * 100008, "data: ", 6);
            for (size_t k = 6; k < 100006; k++)
                assert_true(r.body[i * 100008 + k] == 'a' + (char)(i % 26));
        }
        if (!http10) assert_int_equal(r.n_chunks, 100);
        reply_release(&r);
        if (!http10) expect_reply(&c, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
        client_close(&c);
    }
    client c = client_open(&f);
    int before = get(&f, &f.n_request);
    client_puts(&c, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&f, &f.n_request, before + 1);
    reply r = read_reply(&c, "GET");
    assert_int_equal(r.len, 8 << 20);
    reply_release(&r);
    client_close(&c);
    fixture_close(&f, false);
    assert_int_equal(f.n_gone, 0);
}

static char large[100001];

static void a_reader_that_stops_is_cut(void **state)
{
    (void)state;
    memset(large, 'y', sizeof large - 1);
    // by the size of what is kept for it
    fixture f;
    fixture_open(&f, &(qw_http_options){.max_stream_buffer = 1000000});
    client c = client_open(&f), other = client_open(&f);
    open_stream(&f, &c);
    set_piece(&f, large);
    for (int i = 0; i < 1000 && get(&f, &f.n_gone) == 0; i++) on_io_thread(&f, write_held, &f);
    assert_int_equal(get(&f, &f.n_gone), 1);
    assert_true(f.most_pending > 500000 && f.most_pending <= 1000000);
    expect_reply(&other, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    client_close(&c);
    client_close(&other);
    fixture_close(&f, false);

    // by time, streamed and whole
    fixture_open(&f, &(qw_http_options){.send_timeout_ms = 60});
    set_piece(&f, large);
    c = client_open(&f);
    open_stream(&f, &c);
    while (f.most_pending == 0) on_io_thread(&f, write_held, &f);
    wait_until(&f, &f.n_gone, 1);
    other = client_open(&f);
    int small = 4096; // so that 8 MiB do not vanish in the buffers of the system
    setsockopt(other.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_puts(&other, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&f, &f.n_request, 2);
    client_close(&c);
    // 8 MiB at 16 KiB/s would be given 512 s: here the client leaves
    client_close(&other);
    wait_until(&f, &f.n_gone, 2);
    fixture_close(&f, false);
}

typedef enum leaving { CLOSE, RESET, HALF_CLOSE, N_LEAVINGS } leaving;

static void leave(client *c, leaving how)
{
    if (how == RESET) {
        struct linger now = {1, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    if (how == HALF_CLOSE)
        assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
    else
        client_close(c);
}

static void leaving_is_told_once(void **state)
{
    (void)state;
    for (int how = 0; how < N_LEAVINGS; how++) {
        fixture f;
        fixture_open(&f, &defaults);
        // while waiting
        client c = client_open(&f);
        client_puts(&c, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
        wait_until(&f, &f.n_request, 1);
        leave(&c, how);
        wait_until(&f, &f.n_gone, 1);
        if (how == HALF_CLOSE) {
            assert_true(client_sees_end(&c));
            client_close(&c);
        }
        // in a silent stream
        c = client_open(&f);
        open_stream(&f, &c);
        leave(&c, how);
        wait_until(&f, &f.n_gone, 2);
        if (how == HALF_CLOSE) client_close(&c);
        // with a full socket
        c = client_open(&f);
        open_stream(&f, &c);
        memset(large, 'y', sizeof large - 1);
        set_piece(&f, large);
        while (f.most_pending == 0) on_io_thread(&f, write_held, &f);
        leave(&c, how);
        wait_until(&f, &f.n_gone, 3);
        if (how == HALF_CLOSE) client_close(&c);
        // in the middle of a body
        c = client_open(&f);
        client_puts(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
        wait_until(&f, &f.n_begin, 4);
        leave(&c, how);
        wait_until(&f, &f.n_gone, 4);
        if (how == HALF_CLOSE) client_close(&c);
        // in the middle of a whole reply
        if (how != HALF_CLOSE) {
            c = client_open(&f);
            client_puts(&c, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
            wait_until(&f, &f.n_request, 4);
            leave(&c, how);
            wait_until(&f, &f.n_gone, 5);
        }
        fixture_close(&f, false);
        assert_int_equal(f.n_done, 0);
    }
}

// A client that has said all closes its side: what is answered at once is still sent.
static void a_half_closed_client_gets_what_is_ready(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    for (int i = 0; i < 20; i++) {
        client c = client_open(&f);
        client_puts(&c, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n");
        leave(&c, HALF_CLOSE);
        reply r = read_reply(&c, "GET");
        assert_int_equal(r.status, 200);
        reply_release(&r);
        assert_true(client_sees_end(&c));
        client_close(&c);
        c = client_open(&f);
        client_puts(&c, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
        leave(&c, HALF_CLOSE);
        assert_true(client_sees_end(&c));
        client_close(&c);
    }
    fixture_close(&f, false);
    assert_int_equal(f.n_done, 20);
    assert_int_equal(f.n_gone, 20);
}

static void note_connections(void *ctx)
{
    fixture *f = ctx;
    pthread_mutex_lock(&f->mu);
    f->n_connections = (int)qw_http_server_n_connections(f->server);
    pthread_mutex_unlock(&f->mu);
}

static void wait_for_connections(fixture *f, int n)
{
    int64_t start = qw_clock_ns();
    do {
        on_io_thread(f, note_connections, f);
        if (qw_clock_ns() - start > (int64_t)PATIENCE_MS * 1000000)
            fail_msg("%d connections are left, not %d", f->n_connections, n);
    } while (f->n_connections != n);
}

// libmicrohttpd forgets some connections that it has closed; older, idle ones let that show.
static void ended_connections_are_freed(void **state)
{
    (void)state;
    enum { N_IDLE = 64 };
    fixture f;
    fixture_open(&f, &defaults);
    client idle[N_IDLE];
    for (int i = 0; i < N_IDLE; i++) {
        idle[i] = client_open(&f);
        expect_reply(&idle[i], "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    }
    for (int i = 0; i < N_IDLE; i++) { // each daemon's turn comes
        client c = client_open(&f);
        expect_reply(&c, "GET /events HTTP/1.0\r\n\r\n", 200, NULL);
        client_close(&c);
        c = client_open(&f);
        open_stream(&f, &c);
        client_close(&c);
        c = client_open(&f);
        expect_reply(&c, "GET /info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, NULL);
        client_close(&c);
    }
    wait_for_connections(&f, N_IDLE);
    for (int i = 0; i < N_IDLE; i++) client_close(&idle[i]);
    wait_for_connections(&f, 0);
    fixture_close(&f, false);
}

static void an_aborted_reply_closes_the_connection(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    client c = client_open(&f);
    client_puts(&c, "GET /abort HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(client_sees_end(&c));
    wait_until(&f, &f.n_done, 1);
    client_close(&c);
    fixture_close(&f, false);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

// 1,000 clients that leave at random points, while the server writes to whoever is there.
static void a_thousand_clients_vanish(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /open HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /events?n=50&size=2000 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz",
        "POST /wait HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "GET /events?n=3 HTTP/1.0\r\n\r\n",
    };
    fixture f;
    fixture_open(&f, &defaults);
    set_piece(&f, "data: to whom it may concern\n\n");
    client healthy = client_open(&f);
    uint32_t seed = 20240607;
    client half[64]; // half-closed ones stay open for a while
    size_t n_half = 0;
    for (int i = 0; i < 1000; i++) {
        client c = client_open(&f);
        const char *request = requests[next_random(&seed) % QW_ARRAY_LEN(requests)];
        size_t len = strlen(request);
        bool whole = next_random(&seed) % 4 != 0;
        int before = get(&f, &f.n_request);
        client_send(&c, request, whole ? len : next_random(&seed) % len);
        uint32_t what = next_random(&seed) % 4;
        if (whole && what == 1 && !strstr(request, "refuse"))
            wait_until(&f, &f.n_request, before + 1);
        if (what == 2) assert_true(qw_http_server_post(f.server, write_held, &f));
        if (what == 3 && i % 50 == 0) assert_true(qw_http_server_post(f.server, release_held, &f));
        if (i % 10 == 0) {
            char bytes[100];
            ssize_t n = recv(c.fd, bytes, sizeof bytes, MSG_DONTWAIT);
            (void)n;
        }
        leaving how = next_random(&seed) % N_LEAVINGS;
        leave(&c, how);
        if (how == HALF_CLOSE) half[n_half++] = c;
        if (n_half == QW_ARRAY_LEN(half))
            while (n_half > 0) client_close(&half[--n_half]);
        if (i % 20 == 0)
            expect_reply(&healthy, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok",
                         200, "ok");
    }
    while (n_half > 0) client_close(&half[--n_half]);
    client_close(&healthy);
    fixture_close(&f, false); // nothing held, nothing leaked, each told once
    assert_true(f.n_gone > 100);
}

// ---- cost ----

typedef struct cost {
    fixture *f;
    int64_t cpu_ns; /* I/O thread */
    int n_events;
} cost;

static int64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void note_cpu(void *ctx)
{
    ((cost *)ctx)->cpu_ns = thread_cpu_ns();
}

// CPU of the I/O thread for n events to each of the held streams, which the test reads along.
static double cost_of_events(fixture *f, client *streams, size_t n_streams, int n)
{
    cost before = {f, 0, 0}, after = {f, 0, 0};
    char bytes[4096];
    on_io_thread(f, note_cpu, &before);
    for (int i = 0; i < n; i++) {
        on_io_thread(f, write_held, f);
        for (size_t k = 0; k < n_streams; k++)
            while (recv(streams[k].fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) continue;
    }
    on_io_thread(f, note_cpu, &after);
    return (double)(after.cpu_ns - before.cpu_ns) / n / (double)n_streams;
}

static void idle_connections_cost_nothing(void **state)
{
    (void)state;
    enum { N_IDLE = 1000, N_STREAMS = 16, N_EVENTS = 200 };
    fixture f;
    fixture_open(&f, &defaults);
    if (qw_http_server_max_connections(f.server) < 2 * N_IDLE + 2 * N_STREAMS) {
        print_message("only %d connections allowed here\n",
                      qw_http_server_max_connections(f.server));
        fixture_close(&f, false);
        skip();
    }
    client streams[N_STREAMS], *idle = qw_mem_calloc(N_IDLE, sizeof *idle);
    for (size_t i = 0; i < N_STREAMS; i++) {
        streams[i] = client_open(&f);
        open_stream(&f, &streams[i]);
    }
    char event[210]; // as long as a chat completion's chunk
    memset(event, 'e', sizeof event - 1);
    event[sizeof event - 1] = '\0';
    set_piece(&f, event);
    cost_of_events(&f, streams, N_STREAMS, 20);
    double alone = cost_of_events(&f, streams, N_STREAMS, N_EVENTS);
    for (size_t i = 0; i < N_IDLE; i++) {
        idle[i] = client_open(&f);
        if (i % 2) // half of them have had an answer, the others say nothing
            expect_reply(&idle[i], "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    }
    double among = cost_of_events(&f, streams, N_STREAMS, N_EVENTS);
    print_message("CPU per event: %.1f us alone, %.1f us among %d idle connections\n", alone / 1e3,
                  among / 1e3, N_IDLE);
    assert_true(among < 2 * alone + 2000);
    for (size_t i = 0; i < N_IDLE; i++) client_close(&idle[i]);
    for (size_t i = 0; i < N_STREAMS; i++) client_close(&streams[i]);
    qw_mem_free(idle);
    fixture_close(&f, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_is_one_chunk_at_once),
        cmocka_unit_test(a_slow_reader_gets_everything),
        cmocka_unit_test(a_reader_that_stops_is_cut),
        cmocka_unit_test(leaving_is_told_once),
        cmocka_unit_test(a_half_closed_client_gets_what_is_ready),
        cmocka_unit_test(ended_connections_are_freed),
        cmocka_unit_test(an_aborted_reply_closes_the_connection),
        cmocka_unit_test(a_thousand_clients_vanish),
        cmocka_unit_test(idle_connections_cost_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
