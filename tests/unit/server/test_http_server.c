#include "test_util.h"

#include <sys/stat.h>

#include "unit/server/http_fixture.h"

static const qw_http_options defaults;

static void replies_are_whole_and_connections_are_kept(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    client c = client_open(&f);
    client_puts(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    reply r = read_reply(&c, "POST");
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "hello");
    assert_string_equal(find_header(&r, "Content-Length"), "5");
    assert_string_equal(find_header(&r, "Content-Type"), "application/json");
    assert_null(find_header(&r, "Transfer-Encoding"));
    assert_null(find_header(&r, "Connection"));
    reply_release(&r);
    expect_reply(&c, "GET /in%66o?q=a%20b&z HTTP/1.1\r\nHost: x\r\n\r\n", 200,
                 "GET|/info|/in%66o?q=a%20b&z|1.1|a b|0");
    expect_reply(&c, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, "{\"detail\":\"Not Found\"}");
    wait_until(&f, &f.n_access, 3);
    assert_string_equal(f.access_line, "PEER - \"GET /nowhere HTTP/1.1\" 404 Not Found");
    expect_reply(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200, "");
    expect_reply(&c, "HEAD /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, "");
    expect_reply(&c, "GET /twice HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, "first");
    assert_true(client_sees_end(&c));
    client_close(&c);
    fixture_close(&f, false);
    assert_int_equal(f.n_done, 6);
}

static void requests_come_in_any_pieces(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    client c = client_open(&f);
    const char *chunked = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "3\r\nabc\r\n10;ext=1\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n";
    expect_reply(&c, chunked, 200, "abc0123456789abcdef");
    for (const char *p = chunked; *p; p++) client_send(&c, p, 1); // byte by byte
    reply r = read_reply(&c, "POST");
    assert_string_equal(r.body, "abc0123456789abcdef");
    reply_release(&r);

    // pipelined: the answers come in order, also behind one that is given later
    client_puts(&c,
                "GET /info?q=1 HTTP/1.1\r\nHost: x\r\n\r\nGET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
                "GET /events HTTP/1.1\r\nHost: x\r\n\r\nGET /info?q=2 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&f, &f.n_request, 4);
    on_io_thread(&f, release_held, &f);
    static const char *const want[] = {"GET|/info|/info?q=1|1.1|1|0", "released", NULL,
                                       "GET|/info|/info?q=2|1.1|2|0"};
    for (size_t i = 0; i < QW_ARRAY_LEN(want); i++) {
        r = read_reply(&c, "GET");
        assert_int_equal(r.status, 200);
        if (want[i]) assert_string_equal(r.body, want[i]);
        reply_release(&r);
    }
    client_close(&c);
    fixture_close(&f, false);
}

static void an_offer_of_http2_is_ignored(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    client c = client_open(&f);
    for (int i = 0; i < 2; i++)
        expect_reply(&c,
                     "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                     "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
                     "Content-Length: 4\r\n\r\nbody",
                     200, "body");
    client_close(&c);
    fixture_close(&f, false);
}

static void http10_gets_no_chunks(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    client c = client_open(&f);
    client_puts(&c, "GET /events HTTP/1.0\r\n\r\n");
    reply r = read_reply(&c, "GET");
    assert_null(find_header(&r, "Transfer-Encoding"));
    assert_string_equal(find_header(&r, "Connection"), "close");
    assert_string_equal(r.body, "data: aaaaaaaa\n\ndata: bbbbbbbb\n\ndata: cccccccc\n\n");
    reply_release(&r);
    client_close(&c);

    c = client_open(&f);
    client_puts(&c, "GET /info HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    r = read_reply(&c, "GET");
    assert_string_equal(r.body, "GET|/info|/info|1.0|-|0");
    assert_string_equal(find_header(&r, "Content-Length"), "23");
    assert_string_equal(find_header(&r, "Connection"), "Keep-Alive");
    reply_release(&r);
    expect_reply(&c, "GET /info HTTP/1.0\r\n\r\n", 200, "GET|/info|/info|1.0|-|0");
    assert_true(client_sees_end(&c));
    client_close(&c);
    fixture_close(&f, false);
}

static void continue_is_answered(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    client c = client_open(&f);
    client_puts(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                    "Expect: 100-continue\r\n\r\n");
    char *go_on = client_take_until(&c, "\r\n\r\n");
    assert_string_equal(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
    qw_mem_free(go_on);
    expect_reply(&c, "hello", 200, "hello");
    // refused by begin: the answer comes at once, the body is not asked for
    expect_reply(&c,
                 "POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n"
                 "Expect: 100-continue\r\n\r\n",
                 404, "{\"detail\":\"Not Found\"}");
    assert_true(client_sees_end(&c));
    client_close(&c);
    // without the expectation the body is read and dropped, and the connection kept
    c = client_open(&f);
    expect_reply(&c, "POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 404,
                 NULL);
    expect_reply(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", 200, "hi");
    client_close(&c);
    fixture_close(&f, false);
    assert_int_equal(f.n_request, 2);
}

static void a_reply_may_come_later(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    client c[20];
    for (size_t i = 0; i < 20; i++) {
        c[i] = client_open(&f);
        client_puts(&c[i], "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    wait_until(&f, &f.n_request, 20);
    assert_int_equal(get(&f, &f.n_done), 0);
    on_io_thread(&f, release_held, &f);
    for (size_t i = 0; i < 20; i++) {
        reply r = read_reply(&c[i], "GET");
        assert_string_equal(r.body, "released");
        reply_release(&r);
        client_close(&c[i]);
    }
    fixture_close(&f, false);
    assert_int_equal(f.n_done, 20);
}

static void nobody_connects_before_listen(void **state)
{
    (void)state;
    fixture f;
    fixture_bind(&f, &defaults);
    int port = qw_http_server_port(f.server);
    assert_true(port > 0);
    assert_int_equal(try_connect(port), -1);
    assert_int_equal(errno, ECONNREFUSED);

    // the port is taken all the same
    qw_http_options o = {.host = "127.0.0.1", .port = port};
    qw_http_handler h = {.request = on_request, .gone = on_gone};
    qw_http_server *other = NULL;
    qw_error err;
    assert_fails(qw_http_server_bind(&other, &o, &h, &err), QW_ERR_IO,
                 "is in use; stop the program");
    assert_null(other);
    o.host = NULL;
    assert_fails(qw_http_server_bind(&other, &o, &h, &err), QW_ERR_IO, "is in use");

    fixture_run(&f);
    client c = client_open(&f);
    expect_reply(&c, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    assert_string_equal(qw_http_server_url(f.server), url);
    client_close(&c);
    fixture_close(&f, false);

    // and free again at once, though old connections linger
    o.host = "127.0.0.1";
    assert_ok(qw_http_server_bind(&other, &o, &h, &err));
    assert_int_equal(qw_http_server_port(other), port);
    qw_http_server_close(other);
    o = (qw_http_options){.host = "127.0.0.1", .port = 70000};
    assert_fails(qw_http_server_bind(&other, &o, &h, &err), QW_ERR_USAGE, "port 70000");
    o = (qw_http_options){.host = "no such host"};
    assert_fails(qw_http_server_bind(&other, &o, &h, &err), QW_ERR_USAGE, "'no such host'");
}

static void all_interfaces_take_both_families(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &(qw_http_options){.host = ""});
    assert_true(strncmp(qw_http_server_url(f.server), "http://", 7) == 0);
    client c = client_open(&f);
    expect_reply(&c, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    client_close(&c);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    a.sin6_port = htons((uint16_t)qw_http_server_port(f.server));
    if (fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)&a, sizeof a) == 0) {
        c = client_of(fd);
        expect_reply(&c, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
        client_close(&c);
    } else if (fd >= 0) {
        close(fd);
    }
    fixture_close(&f, false);
}

static int connect_uds(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (connect(fd, (const struct sockaddr *)(const void *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

static void unix_sockets(void **state)
{
    (void)state;
    char dir[] = "/tmp/qwench-http-XXXXXX", path[64], other_path[64];
    assert_non_null(mkdtemp(dir)); // the build folder's path may be too long for a socket
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(other_path, sizeof other_path, "%s/file", dir);
    qw_http_options o = {.uds = path, .uds_mode = 0640};
    fixture f;
    fixture_open(&f, &o);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    client c = client_of(connect_uds(path));
    expect_reply(&c, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    expect_reply(&c, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    assert_string_equal(f.access_line, "- - \"GET /events HTTP/1.1\" 200 OK");

    // taken while a server listens there
    qw_http_handler h = {.request = on_request, .gone = on_gone};
    qw_http_server *other = NULL;
    qw_error err;
    assert_fails(qw_http_server_bind(&other, &o, &h, &err), QW_ERR_IO, "another server listens on");
    client_close(&c);
    fixture_close(&f, false);
    assert_int_equal(stat(path, &info), -1); // removed

    // what a dead server left is no hindrance; a file is
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    assert_int_equal(bind(fd, (const struct sockaddr *)(const void *)&a, sizeof a), 0);
    close(fd);
    fixture_open(&f, &o);
    fixture_close(&f, false);
    FILE *file = fopen(other_path, "w");
    fclose(file);
    o.uds = other_path;
    assert_fails(qw_http_server_bind(&other, &o, &h, &err), QW_ERR_USAGE, "is not a socket");
    assert_int_equal(unlink(other_path), 0);
    char long_path[200];
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    o.uds = long_path;
    assert_fails(qw_http_server_bind(&other, &o, &h, &err), QW_ERR_USAGE, "at most 107 bytes");
    assert_int_equal(rmdir(dir), 0);
}

enum { N_THREADS = 4, N_POSTS = 5000 };

typedef struct poster {
    fixture *f;
    int i, n_seen; /* n_seen: I/O thread only */
    int is_wrong;
    pthread_t thread;
    struct numbered {
        qw_http_post node;
        struct poster *owner;
        int number;
    } posts[N_POSTS];
} poster;

static void on_numbered(void *ctx)
{
    struct numbered *n = ctx;
    if (n->number != n->owner->n_seen) n->owner->is_wrong = 1;
    if (++n->owner->n_seen == N_POSTS) count(n->owner->f, &n->owner->f->n_access);
}

static void *post_all(void *ctx)
{
    poster *p = ctx;
    for (int i = 0; i < N_POSTS; i++) {
        p->posts[i].node = (qw_http_post){.fn = on_numbered, .ctx = &p->posts[i]};
        p->posts[i].owner = p;
        p->posts[i].number = i;
        if (i % 2)
            qw_http_server_post_node(p->f->server, &p->posts[i].node);
        else if (!qw_http_server_post(p->f->server, on_numbered, &p->posts[i]))
            p->is_wrong = 1;
    }
    return NULL;
}

static void posts_of_many_threads_keep_their_order(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    poster *p = qw_mem_calloc(N_THREADS, sizeof *p);
    for (int i = 0; i < N_THREADS; i++) {
        p[i].f = &f;
        assert_int_equal(pthread_create(&p[i].thread, NULL, post_all, &p[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) pthread_join(p[i].thread, NULL);
    wait_until(&f, &f.n_access, N_THREADS);
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(p[i].n_seen, N_POSTS);
        assert_int_equal(p[i].is_wrong, 0);
    }
    qw_mem_free(p);
    fixture_close(&f, false);
}

typedef struct ticker {
    fixture *f;
    qw_http_timer timer;
    int n_ticks; /* guarded by f->mu */
} ticker;

static void on_tick(void *ctx)
{
    ticker *t = ctx;
    count(t->f, &t->n_ticks);
}

static void start_tickers(void *ctx)
{
    ticker *t = ctx;
    qw_http_server_timer_start(t[0].f->server, &t[0].timer, 1, 1);
    qw_http_server_timer_start(t[0].f->server, &t[1].timer, 5, 0);
    qw_http_server_timer_start(t[0].f->server, &t[2].timer, 1, 1);
    qw_http_server_timer_stop(t[0].f->server, &t[2].timer);
}

static void stop_tickers(void *ctx)
{
    ticker *t = ctx;
    for (int i = 0; i < 3; i++) qw_http_server_timer_stop(t->f->server, &t[i].timer);
}

static void timers_tick(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    ticker t[3];
    memset(t, 0, sizeof t);
    for (int i = 0; i < 3; i++) {
        t[i].f = &f;
        t[i].timer.fn = on_tick;
        t[i].timer.ctx = &t[i];
    }
    int64_t start = qw_clock_ns();
    on_io_thread(&f, start_tickers, t);
    wait_until(&f, &t[1].n_ticks, 1);
    assert_true(qw_clock_ns() - start >= 5000000);
    wait_until(&f, &t[0].n_ticks, 20);
    assert_true(qw_clock_ns() - start >= 15000000);
    on_io_thread(&f, stop_tickers, t);
    assert_int_equal(t[1].n_ticks, 1);
    assert_int_equal(t[2].n_ticks, 0);
    fixture_close(&f, false);
}

static void a_drain_lets_requests_end(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    int port = qw_http_server_port(f.server);
    client idle = client_open(&f), silent = client_open(&f), busy = client_open(&f),
           streamed = client_open(&f), sending = client_open(&f);
    expect_reply(&idle, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    client_puts(&busy, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    client_puts(&streamed, "GET /open HTTP/1.1\r\nHost: x\r\n\r\n");
    client_puts(&sending, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
    wait_until(&f, &f.n_request, 3);
    wait_until(&f, &f.n_begin, 4);
    reply head = read_head(&streamed);

    on_io_thread(&f, drain_server, f.server);
    assert_int_equal(try_connect(port), -1);
    assert_true(client_sees_end(&idle));
    assert_true(client_sees_end(&silent));
    f.piece = "data: x\n\n";
    f.piece_size = strlen(f.piece);
    client_puts(&sending, "cd");
    reply r = read_reply(&sending, "POST");
    assert_string_equal(r.body, "abcd");
    assert_string_equal(find_header(&r, "Connection"), "close");
    assert_true(client_sees_end(&sending));
    reply_release(&r);
    on_io_thread(&f, write_held, &f);
    on_io_thread(&f, release_held, &f);
    r = read_reply(&busy, "GET");
    assert_string_equal(r.body, "released");
    assert_true(client_sees_end(&busy));
    reply_release(&r);
    assert_true(qw_http_server_post(f.server, end_held, &f));
    size_t len;
    char *chunk = read_chunk(&streamed, &len);
    assert_string_equal(chunk, "data: x\n\n");
    qw_mem_free(chunk);
    assert_null(read_chunk(&streamed, &len));
    assert_true(client_sees_end(&streamed));
    reply_release(&head);
    fixture_join(&f); // the drain is through by itself
    client_close(&idle);
    client_close(&silent);
    client_close(&busy);
    client_close(&streamed);
    client_close(&sending);
    fixture_close(&f, false);
    assert_int_equal(f.n_gone, 0);
}

static void a_stop_cuts_everything(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    static const char *const requests[] = {
        "",
        "GET /wa",
        "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /open HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /big HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
    };
    client c[QW_ARRAY_LEN(requests)];
    for (size_t i = 0; i < QW_ARRAY_LEN(requests); i++) {
        c[i] = client_open(&f);
        client_puts(&c[i], requests[i]);
    }
    wait_until(&f, &f.n_begin, 4);
    wait_until(&f, &f.n_request, 3);
    assert_true(qw_http_server_post(f.server, stop_server, f.server));
    fixture_join(&f);
    for (size_t i = 0; i < QW_ARRAY_LEN(requests); i++) {
        while (client_fill(&c[i])) continue;
        client_close(&c[i]);
    }
    fixture_close(&f, true);
    assert_int_equal(f.n_gone, 4);
}

static void memory_may_fail_while_starting(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "b", NULL}, *const origins[] = {"http://a", NULL};
    qw_http_options o = {.host = "127.0.0.1",
                         .api_keys = keys,
                         .allowed_origins = origins,
                         .allowed_headers = origins,
                         .root_path = "/x/"};
    qw_http_handler h = {.request = on_request, .gone = on_gone};
    size_t live = qw_mem_live();
    for (uint64_t n = 1;; n++) {
        qw_http_server *s = NULL;
        qw_error err;
        qw_mem_fail_at(n);
        qw_status st = qw_http_server_bind(&s, &o, &h, &err);
        qw_mem_fail_at(0);
        qw_http_server_close(s);
        assert_int_equal(qw_mem_live(), live);
        if (st == QW_OK) {
            assert_true(n > 10);
            break;
        }
        assert_int_equal(st, QW_ERR_NO_MEMORY);
    }
}

// Any allocation of a request may fail: that request ends, in whatever way, and the next is served.
static void memory_may_fail_while_serving(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &defaults);
    client probe = client_open(&f);
    expect_reply(&probe, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    for (uint64_t n = 1; n <= 12; n++) {
        for (int kind = 0; kind < 2; kind++) {
            // The client must not allocate while the switch is on.
            int fd = try_connect(qw_http_server_port(f.server));
            const char *request = kind == 0
                                      ? "POST /refuse HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                        "Content-Length: 5\r\n\r\nhello"
                                      : "POST /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                        "Content-Length: 5\r\n\r\nhello";
            qw_mem_fail_at(n);
            assert_true(send(fd, request, strlen(request), MSG_NOSIGNAL) > 0);
            char bytes[4096];
            while (recv(fd, bytes, sizeof bytes, 0) > 0) continue;
            qw_mem_fail_at(0);
            close(fd);
        }
        expect_reply(&probe, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok", 200,
                     "ok");
    }
    client_close(&probe);
    fixture_close(&f, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_whole_and_connections_are_kept),
        cmocka_unit_test(requests_come_in_any_pieces),
        cmocka_unit_test(an_offer_of_http2_is_ignored),
        cmocka_unit_test(http10_gets_no_chunks),
        cmocka_unit_test(continue_is_answered),
        cmocka_unit_test(a_reply_may_come_later),
        cmocka_unit_test(nobody_connects_before_listen),
        cmocka_unit_test(all_interfaces_take_both_families),
        cmocka_unit_test(unix_sockets),
        cmocka_unit_test(posts_of_many_threads_keep_their_order),
        cmocka_unit_test(timers_tick),
        cmocka_unit_test(a_drain_lets_requests_end),
        cmocka_unit_test(a_stop_cuts_everything),
        cmocka_unit_test(memory_may_fail_while_starting),
        cmocka_unit_test(memory_may_fail_while_serving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
