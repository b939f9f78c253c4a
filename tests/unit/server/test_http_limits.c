#include "test_util.h"

#include "unit/server/http_fixture.h"

static void a_body_too_large_is_a_413(void **state)
{
    (void)state;
    static const char error[] =
        "{\"error\":{\"message\":\"The request body is larger than the limit of 10 bytes.\","
        "\"type\":\"Request Entity Too Large\",\"param\":null,\"code\":413}}";
    fixture f;
    fixture_open(&f, &(qw_http_options){.max_body = 10});
    client c = client_open(&f);
    expect_reply(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789", 200,
                 "0123456789");
    // announced: refused before the handler sees it, and the connection is kept
    expect_reply(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n0123456789a", 413,
                 error);
    assert_int_equal(get(&f, &f.n_begin), 1);
    // chunked: found out on the way
    expect_reply(&c,
                 "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "6\r\n012345\r\n5\r\n6789a\r\n2\r\nbc\r\n0\r\n\r\n",
                 413, error);
    assert_int_equal(get(&f, &f.n_begin), 2);
    expect_reply(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n0", 200, "0");
    // a client that asks first is told without sending it
    expect_reply(&c,
                 "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
                 "Expect: 100-Continue\r\n\r\n",
                 413, error);
    assert_true(client_sees_end(&c));
    client_close(&c);
    // and one that announces more than would be read for nothing, at once
    c = client_open(&f);
    expect_reply(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413,
                 error);
    client_close(&c);
    wait_until(&f, &f.n_done, 3);
    assert_int_equal(f.last_status, 413);
    fixture_close(&f, false);
    assert_int_equal(f.n_request, 2);
}

static void a_large_body_arrives(void **state)
{
    (void)state;
    enum { SIZE = 20 << 20 };
    fixture f;
    fixture_open(&f, &(qw_http_options){0});
    char *body = qw_mem_alloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) body[i] = (char)('a' + i % 23);
    client c = client_open(&f);
    char head[128];
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             SIZE);
    client_puts(&c, head);
    client_send(&c, body, SIZE);
    reply r = read_reply(&c, "POST");
    assert_int_equal(r.len, SIZE);
    assert_memory_equal(r.body, body, SIZE);
    reply_release(&r);
    client_puts(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < SIZE; i += 1 << 20) {
        client_puts(&c, "100000\r\n");
        client_send(&c, body + i, 1 << 20);
        client_puts(&c, "\r\n");
    }
    client_puts(&c, "0\r\n\r\n");
    r = read_reply(&c, "POST");
    assert_int_equal(r.len, SIZE);
    assert_memory_equal(r.body, body, SIZE);
    reply_release(&r);
    qw_mem_free(body);
    client_close(&c);
    fixture_close(&f, false);
}

static void large_heads(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &(qw_http_options){0});
    qw_buf b;
    qw_buf_init(&b, 1 << 20);
    // 256 headers, 40 KiB: fine
    client c = client_open(&f);
    qw_buf_puts(&b, "GET /info HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 256; i++) qw_buf_printf(&b, "X-Header-%d: %0150d\r\n", i, i);
    qw_buf_puts(&b, "\r\n");
    expect_reply(&c, b.data, 200, NULL);
    client_close(&c);
    // 200 KiB of them, or of a path: refused, whatever the words
    static const char *const starts[] = {"GET /info HTTP/1.1\r\nHost: x\r\nX-Large: ",
                                         "GET /info?q="};
    static const int statuses[] = {431, 414};
    for (int i = 0; i < 2; i++) {
        c = client_open(&f);
        qw_buf_clear(&b);
        qw_buf_puts(&b, starts[i]);
        for (int k = 0; k < 200 << 10; k++) qw_buf_putc(&b, 'a');
        // the server stops reading at its limit, so not all of it may be taken
        ssize_t n = send(c.fd, b.data, b.len, MSG_NOSIGNAL);
        assert_true(n > 0);
        reply r = read_head(&c);
        assert_int_equal(r.status, statuses[i]);
        reply_release(&r);
        client_close(&c);
    }
    qw_buf_release(&b);
    c = client_open(&f);
    expect_reply(&c, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    client_close(&c);
    fixture_close(&f, false);
}

static void nonsense_is_answered_or_cut(void **state)
{
    (void)state;
    static const char *const nonsense[] = {
        "\x16\x03\x01\x02\x01\xfc\x03\x03\r\n\r\n", // a TLS client
        "hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET /info\r\n\r\n",
        "GET /info HTTP/2.0\r\n\r\n",
        "GET /info HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\nabc",
        "BREW /coffee HTCPCP/1.0\r\n\r\n",
    };
    fixture f;
    fixture_open(&f, &(qw_http_options){0});
    client healthy = client_open(&f);
    for (size_t i = 0; i < QW_ARRAY_LEN(nonsense); i++) {
        client c = client_open(&f);
        client_puts(&c, nonsense[i]);
        while (client_fill(&c)) continue; // the server says something, or not, and closes
        if (c.in.len > 0 && strncmp(c.in.data, "HTTP/1.1 4", 10) != 0 &&
            strncmp(c.in.data, "HTTP/1.1 50", 11) != 0)
            fail_msg("'%s' got '%s'", nonsense[i], c.in.data);
        client_close(&c);
        expect_reply(&healthy, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    }
    client_close(&healthy);
    fixture_close(&f, false);
    assert_int_equal(f.n_request, (int)QW_ARRAY_LEN(nonsense));
}

static void slow_senders_are_cut(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &(qw_http_options){.head_timeout_ms = 80, .body_timeout_ms = 80});
    client silent = client_open(&f), head = client_open(&f), body = client_open(&f);
    client_puts(&head, "GET /info HTTP/1.1\r\nHost: x\r\nX-");
    client_puts(&body, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n");
    // A drop now and then does not help.
    int64_t start = qw_clock_ns();
    struct pollfd p[] = {{.fd = head.fd, .events = POLLIN}, {.fd = body.fd, .events = POLLIN}};
    int n_open = 2;
    while (n_open > 0) {
        assert_true(qw_clock_ns() - start < (int64_t)PATIENCE_MS * 1000000);
        if (poll(p, 2, 10) == 0) {
            for (int i = 0; i < 2; i++)
                if (p[i].fd >= 0) (void)!send(p[i].fd, "a", 1, MSG_NOSIGNAL);
            continue;
        }
        for (int i = 0; i < 2; i++) {
            if (p[i].fd < 0 || !p[i].revents) continue;
            char byte;
            assert_true(recv(p[i].fd, &byte, 1, 0) <= 0);
            p[i].fd = -1;
            n_open--;
        }
    }
    assert_true(qw_clock_ns() - start >= 80000000);
    assert_true(client_sees_end(&silent));
    client_close(&silent);
    client_close(&head);
    client_close(&body);
    fixture_close(&f, false);
    assert_int_equal(f.n_gone, 1);

    fixture_open(&f, &(qw_http_options){.keep_alive_ms = 50});
    client idle = client_open(&f);
    start = qw_clock_ns();
    expect_reply(&idle, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    assert_true(client_sees_end(&idle));
    assert_true(qw_clock_ns() - start >= 50000000);
    client_close(&idle);
    // a request that is being answered is not idle
    client waiting = client_open(&f), other = client_open(&f);
    client_puts(&waiting, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&f, &f.n_request, 2);
    expect_reply(&other, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    assert_true(client_sees_end(&other));
    on_io_thread(&f, release_held, &f);
    reply r = read_reply(&waiting, "GET");
    assert_string_equal(r.body, "released");
    reply_release(&r);
    client_close(&waiting);
    client_close(&other);
    fixture_close(&f, false);
}

static void too_many_connections_wait(void **state)
{
    (void)state;
    enum { MAX = 4, N = 12 };
    fixture f;
    fixture_open(&f, &(qw_http_options){.max_connections = MAX});
    assert_int_equal(qw_http_server_max_connections(f.server), MAX);
    client c[N];
    for (int i = 0; i < N; i++) {
        c[i] = client_open(&f); // the system's queue takes them
        client_puts(&c[i], "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    wait_until(&f, &f.n_request, MAX);
    for (int i = 0; i < N; i++) {
        if (i % MAX == 0) {
            wait_until(&f, &f.n_request, i + MAX);
            assert_int_equal(get(&f, &f.n_request), i + MAX);
            on_io_thread(&f, release_held, &f);
        }
        reply r = read_reply(&c[i], "GET");
        assert_string_equal(r.body, "released");
        reply_release(&r);
        client_close(&c[i]);
    }
    fixture_close(&f, false);
    assert_int_equal(f.n_done, N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_too_large_is_a_413),
        cmocka_unit_test(a_large_body_arrives),
        cmocka_unit_test(large_heads),
        cmocka_unit_test(nonsense_is_answered_or_cut),
        cmocka_unit_test(slow_senders_are_cut),
        cmocka_unit_test(too_many_connections_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
