#include "test_util.h"

#include "base/mem.h"
#include "bench/load_stream.h"
#include "format/json.h"
#include "unit/bench/bench_test.h"

static const char completion[] =
    ": ping\n\n"
    "data: {\"choices\": [{\"text\": \"He\"}]}\n\n"
    "data: {\"choices\": [{\"text\": \"llo\\u00e9\"}]}\r\n\r\n"
    "data: {\"choices\": [{\"text\": \"\"}], \"usage\": null}\n\n"
    "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 3}}\n\n"
    "data: [DONE]\n\n";

static const char chat[] =
    "data: {\"choices\": [{\"delta\": {\"role\": \"assistant\", \"content\": \"\"}}]}\n\n"
    "data: {\"choices\": [{\"delta\": {\"content\": \"Hi\"}}]}\n\n"
    "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 9, \"completion_tokens\": 2}}\n\n"
    "data: [DONE]\n\n";

// Feed `text` in pieces of `size` bytes; byte i comes at 100 + i seconds.
static qw_status feed(qw_load_stream *s, const char *text, size_t size, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t at = 0, len = strlen(text); at < len && st == QW_OK; at += size) {
        size_t n = len - at < size ? len - at : size;
        st = qw_load_stream_feed(s, text + at, n, 100 + (double)(at + n - 1), err);
    }
    return st;
}

// When the newline of the i-th event that counts comes, byte by byte.
static double time_of(const char *text, const char *event)
{
    const char *p = strstr(text, event);
    return 100 + (double)(strchr(p, '\n') - text);
}

static void test_completion(void **unused)
{
    (void)unused;
    qw_error err;
    for (size_t size = 1; size < sizeof completion; size += 1 + size / 8) {
        qw_load_outcome o = {.start_s = 50};
        qw_load_stream s;
        qw_load_stream_init(&s, &o, false);
        assert_ok(feed(&s, completion, size, &err));
        qw_load_stream_finish(&s);
        assert_true(o.is_ok && s.is_done);
        assert_string_equal(o.text, "Hello\xc3\xa9");
        assert_int_equal(o.prompt_tokens, 7);
        assert_int_equal(o.output_tokens, 3);
        assert_int_equal(o.n_itls, 2);
        assert_near(o.ttft_s + o.itls[0] + o.itls[1], o.latency_s, 1e-9);
        if (size == 1) { // the usage does not count
            assert_near(o.ttft_s, time_of(completion, "data: {") - 50, 0);
            assert_near(o.latency_s,
                        time_of(completion, "data: {\"choices\": [{\"text\": \"\"") - 50, 1e-9);
        }
        qw_load_stream_release(&s);
        qw_load_outcome_release(&o);
    }
}

static void test_chat(void **unused)
{
    (void)unused;
    qw_error err;
    qw_load_outcome o = {.start_s = 50};
    qw_load_stream s;
    qw_load_stream_init(&s, &o, true);
    assert_ok(feed(&s, chat, 1, &err));
    qw_load_stream_finish(&s);
    assert_true(o.is_ok);
    assert_string_equal(o.text, "Hi");
    assert_int_equal(o.output_tokens, 2);
    assert_int_equal(o.n_itls, 1); // the role is the first event
    assert_near(o.ttft_s, time_of(chat, "data: {") - 50, 0);
    assert_near(o.latency_s, time_of(chat, "data: {\"choices\": []") - 50, 1e-9);
    qw_load_stream_release(&s);
    qw_load_outcome_release(&o);
}

static void check_bad(const char *text, qw_status want, const char *part)
{
    qw_error err = {0};
    qw_load_outcome o = {.start_s = 1};
    qw_load_stream s;
    qw_load_stream_init(&s, &o, false);
    assert_fails(feed(&s, text, 1000, &err), want, part);
    qw_load_stream_finish(&s);
    assert_false(o.is_ok);
    qw_load_stream_release(&s);
    qw_load_outcome_release(&o);
}

static void test_bad(void **unused)
{
    (void)unused;
    check_bad("data: {\n\n", QW_ERR_FORMAT, "an event of the answer");
    check_bad("data: {\"error\": {\"message\": \"the engine died\"}}\n\n", QW_ERR_DEVICE,
              "the engine died");
    check_bad("data: {\"error\": \"no\"}\n\n", QW_ERR_DEVICE, "no");
    qw_error err;
    qw_load_outcome o = {.start_s = 1};
    qw_load_stream s;
    qw_load_stream_init(&s, &o, false);
    assert_ok(feed(&s, "data: {\"choices\": 3}\n\ndata: 4\n\ndata: [DONE]\n\n", 7, &err));
    qw_load_stream_finish(&s);
    assert_false(o.is_ok);
    assert_non_null(strstr(o.error, "Never received a valid chunk"));
    assert_int_equal(s.n_events, 0);
    qw_load_stream_release(&s);
    qw_load_outcome_release(&o);
}

static void test_memory_shortage(void **unused)
{
    (void)unused;
    size_t live = qw_mem_live();
    for (uint64_t n = 1;; n++) {
        qw_error err = {0};
        qw_load_outcome o = {.start_s = 50};
        qw_load_stream s;
        qw_mem_fail_at(n);
        qw_load_stream_init(&s, &o, false);
        qw_status st = feed(&s, completion, 10, &err);
        qw_load_stream_finish(&s);
        bool failed = qw_mem_fail_at(0) == 0;
        if (st != QW_OK) assert_true(failed && err.text[0]);
        qw_load_stream_release(&s);
        qw_load_outcome_release(&o);
        assert_int_equal(qw_mem_live(), live);
        if (!failed) break;
    }
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_completion),
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_memory_shortage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
