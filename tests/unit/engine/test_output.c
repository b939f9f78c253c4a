// Stop strings and the text that may be shown: found wherever the tokens cut them, never shown in
// part, the earliest in the list first (http-api.md 2.3).

#include "test_util.h"

#include "base/mem.h"
#include "engine/output.h"
#include "format/json.h"

static qw_tokenizer *tokenizer;

static int set_up(void **state)
{
    (void)state;
    qw_error err;
    qw_json_init();
    assert_ok(qw_tokenizer_open(&tokenizer, QW_SOURCE_DIR "/models/tiny", NULL, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    qw_tokenizer_close(tokenizer);
    return 0;
}

typedef struct outcome {
    char text[512], shown[512]; /* whole text; what was released piece by piece */
    int i_stop;
    size_t n_pushed;
} outcome;

// Push the ids of `text`, one byte per token if `bytes`, with the given stop strings.
static outcome run(const char *text, bool bytes, const char *const *stop, size_t n_stop,
                   bool include, int64_t min_tokens)
{
    qw_error err;
    qw_ids ids = {0};
    if (bytes) {
        for (const char *p = text; *p; p++) {
            int32_t id;
            assert_true(qw_tokenizer_id_of(tokenizer, (qw_str){p, 1}, &id));
            assert_ok(qw_ids_push(&ids, id, &err));
        }
    } else {
        assert_ok(qw_tokenizer_encode(tokenizer, qw_str_of(text), 0, &ids, &err));
    }
    qw_sampling_params p;
    qw_sampling_params_init(&p);
    p.stop = (char **)(uintptr_t)stop;
    p.n_stop = n_stop;
    p.include_stop_str_in_output = include;
    p.min_tokens = min_tokens;
    qw_output o;
    assert_ok(qw_output_init(&o, tokenizer, &p, NULL, 0, &err));
    outcome r = {.i_stop = -1};
    size_t n_shown = 0;
    bool stopped = false;
    for (; r.n_pushed < ids.len && !stopped; r.n_pushed++) {
        assert_ok(qw_output_push(&o, ids.data[r.n_pushed], false, &stopped, &err));
        qw_str fresh = qw_output_take(&o, stopped || r.n_pushed + 1 == ids.len);
        assert_true(qw_utf8_is_valid(fresh)); // never a part of a character
        memcpy(r.shown + n_shown, fresh.ptr, fresh.len);
        n_shown += fresh.len;
    }
    snprintf(r.text, sizeof r.text, "%s", o.text.data ? o.text.data : "");
    r.i_stop = o.i_stop;
    assert_string_equal(r.shown, r.text); // what was shown is the text, no more, no less
    qw_output_release(&o);
    qw_ids_release(&ids);
    return r;
}

#define STOPS(...)                                                                                 \
    (const char *const[]){__VA_ARGS__}, QW_ARRAY_LEN(((const char *const[]){__VA_ARGS__}))

static void test_stop_strings(void **state)
{
    (void)state;
    for (int bytes = 0; bytes < 2; bytes++) {
        outcome r = run("one two three", bytes, STOPS("two"), false, 0);
        assert_string_equal(r.text, "one ");
        assert_int_equal(r.i_stop, 0);
        r = run("one two three", bytes, STOPS("two"), true, 0);
        assert_string_equal(r.text, "one two");
        r = run("one two three", bytes, STOPS("four", "o thr"), false, 0);
        assert_string_equal(r.text, "one tw");
        assert_int_equal(r.i_stop, 1);
        r = run("one two three", bytes, STOPS("twx", "twoo"), false, 0);
        assert_string_equal(r.text, "one two three");
        assert_int_equal(r.i_stop, -1);
        r = run("one", bytes, STOPS("one"), false, 0);
        assert_string_equal(r.text, "");
    }
    // Of two that end with the same token the first of the list wins.
    outcome r = run("abc", true, STOPS("c", "bc"), false, 0);
    assert_string_equal(r.text, "ab");
    assert_int_equal(r.i_stop, 0);
    r = run("abc", true, STOPS("bc", "c"), false, 0);
    assert_string_equal(r.text, "a");
}

// Until min_tokens are there, stop strings count for nothing; one that came before does not count
// later either.
static void test_min_tokens(void **state)
{
    (void)state;
    outcome r = run("abcabc", true, STOPS("b"), false, 3);
    assert_string_equal(r.text, "abca");
    assert_int_equal(r.n_pushed, 5);
    r = run("abab", true, STOPS("b"), false, 1);
    assert_string_equal(r.text, "a");
}

// Text that may be the start of a stop string is held back, in whole characters.
static void test_hold_back(void **state)
{
    (void)state;
    qw_error err;
    qw_sampling_params p;
    qw_sampling_params_init(&p);
    char stop[] = "###", *stops[] = {stop};
    p.stop = stops;
    p.n_stop = 1;
    qw_output o;
    bool stopped;
    int32_t id;
    assert_ok(qw_output_init(&o, tokenizer, &p, NULL, 0, &err));
    const char *text = "ab#";
    for (const char *c = text; *c; c++) {
        assert_true(qw_tokenizer_id_of(tokenizer, (qw_str){c, 1}, &id));
        assert_ok(qw_output_push(&o, id, false, &stopped, &err));
    }
    assert_true(qw_str_is(qw_output_take(&o, false), "a"));
    assert_int_equal(qw_output_take(&o, false).len, 0);
    assert_true(qw_str_is(qw_output_take(&o, true), "b#"));
    qw_output_release(&o);
}

static void test_stop_id_has_no_text(void **state)
{
    (void)state;
    qw_error err;
    for (int include = 0; include < 2; include++) {
        qw_sampling_params p;
        qw_sampling_params_init(&p);
        p.include_stop_str_in_output = include;
        qw_output o;
        bool stopped;
        int32_t id;
        assert_ok(qw_output_init(&o, tokenizer, &p, NULL, 0, &err));
        assert_true(qw_tokenizer_id_of(tokenizer, QW_STR("a"), &id));
        assert_ok(qw_output_push(&o, id, false, &stopped, &err));
        assert_ok(qw_output_push(&o, id, true, &stopped, &err));
        assert_true(qw_str_is(qw_output_take(&o, true), include ? "aa" : "a"));
        qw_output_release(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_min_tokens),
        cmocka_unit_test(test_hold_back),
        cmocka_unit_test(test_stop_id_has_no_text),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
