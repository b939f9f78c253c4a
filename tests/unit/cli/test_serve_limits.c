#include "test_util.h"

#include "cli/serve_limits.h"

static qw_error err;

typedef struct limits_case {
    int64_t seqs, tokens, len; /* given; 0: not */
    bool chunked, throughput;
    int64_t want_seqs, want_tokens;
    bool unused_tokens;
} limits_case;

static void test_defaults(void **unused)
{
    (void)unused;
    static const limits_case cases[] = {
        {0, 0, 4096, true, false, 256, 2048, false},
        {0, 0, 4096, true, true, 512, 4096, false},
        {0, 0, 4096, false, false, 256, 4096, false},    // a whole prompt must fit
        {0, 0, 4, true, false, 256, 1024, false},        // tokens <= seqs * len
        {0, 16, 4096, true, false, 16, 16, false},       // seqs <= tokens
        {4000, 0, 4096, true, false, 4000, 4000, false}, // a default gives way to what was given
        {64, 16384, 40960, true, false, 64, 16384, false},
        {1, 40960, 5500, true, false, 1, 40960, true},
        {0, 40960, 5500, true, false, 256, 40960, false},
        {0, 0, 0, true, false, 256, 2048, false}, // the length is not known yet
        {100, 0, 4096, true, true, 100, 4096, false},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        const limits_case *c = &cases[i];
        const qw_serve_limits_input in = {.given = {c->seqs, c->tokens},
                                          .max_model_len = c->len,
                                          .enable_chunked_prefill = c->chunked,
                                          .throughput = c->throughput};
        qw_serve_limits l;
        bool unused_tokens;
        assert_ok(qw_serve_limits_choose(&l, &unused_tokens, &in, &err));
        if (l.max_num_seqs != c->want_seqs || l.max_num_batched_tokens != c->want_tokens ||
            unused_tokens != c->unused_tokens)
            fail_msg("case %zu: %" PRId64 " %" PRId64 " %d", i, l.max_num_seqs,
                     l.max_num_batched_tokens, unused_tokens);
    }
}

static void test_errors(void **unused)
{
    (void)unused;
    qw_serve_limits l = {7, 7};
    bool unused_tokens = true;
    qw_serve_limits_input in = {
        .given = {64, 32}, .max_model_len = 4096, .enable_chunked_prefill = true};
    assert_fails(qw_serve_limits_choose(&l, &unused_tokens, &in, &err), QW_ERR_USAGE,
                 "max_num_batched_tokens (32) must be greater than or equal to max_num_seqs (64)");
    in = (qw_serve_limits_input){.given = {0, 2048}, .max_model_len = 4096};
    assert_fails(qw_serve_limits_choose(&l, &unused_tokens, &in, &err), QW_ERR_USAGE,
                 "max_num_batched_tokens (2048) is smaller than max_model_len (4096)");
    in = (qw_serve_limits_input){
        .max_model_len = 16, .enable_chunked_prefill = true, .long_prefill_token_threshold = 17};
    assert_fails(qw_serve_limits_choose(&l, &unused_tokens, &in, &err), QW_ERR_USAGE,
                 "long_prefill_token_threshold (17) cannot be greater than the max_model_len (16)");
    assert_int_equal(l.max_num_seqs, 7);
}

// Whatever is given, the result agrees with itself.
static void test_always_consistent(void **unused)
{
    (void)unused;
    uint64_t state = 1;
    for (int i = 0; i < 20000; i++) {
        int64_t v[3];
        for (int k = 0; k < 3; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            v[k] = (int64_t)(state >> 40) % (k == 2 ? 9000 : 3000);
            if (state >> 62 == 0 && k < 2) v[k] = 0;
        }
        const qw_serve_limits_input in = {.given = {v[0], v[1]},
                                          .max_model_len = v[2] + 1,
                                          .enable_chunked_prefill = state >> 33 & 1,
                                          .throughput = state >> 34 & 1};
        qw_serve_limits l;
        bool unused_tokens;
        if (qw_serve_limits_choose(&l, &unused_tokens, &in, &err) != QW_OK) {
            assert_true(v[1] > 0); // defaults alone never fail
            continue;
        }
        assert_true(l.max_num_seqs >= 1 && l.max_num_seqs <= l.max_num_batched_tokens);
        if (v[0]) assert_int_equal(l.max_num_seqs, v[0]);
        if (v[1]) assert_int_equal(l.max_num_batched_tokens, v[1]);
        if (!in.enable_chunked_prefill)
            assert_true(l.max_num_batched_tokens >= in.max_model_len || v[0]);
    }
}

static void test_capture_sizes(void **unused)
{
    (void)unused;
    int64_t sizes[] = {64, 1, 8, 8, 600, 2}, bad = 0;
    size_t n = QW_ARRAY_LEN(sizes);
    assert_true(qw_capture_sizes_normalize(sizes, &n, 256, &bad));
    static const int64_t want[] = {1, 2, 8, 64};
    assert_int_equal(n, 4);
    assert_memory_equal(sizes, want, sizeof want);
    static const int64_t wrong[] = {0, -1, 65537, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < QW_ARRAY_LEN(wrong); i++) {
        int64_t list[] = {4, wrong[i], 2};
        n = 3;
        assert_false(qw_capture_sizes_normalize(list, &n, 0, &bad));
        assert_true(bad == wrong[i]);
        assert_int_equal(n, 3);
    }
    // 200 random lists: an error, or ascending and within bounds.
    uint64_t state = 7;
    for (int i = 0; i < 200; i++) {
        int64_t list[40];
        n = (size_t)i % 40;
        for (size_t k = 0; k < n; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            list[k] = (int64_t)(state >> 33) % 700 - (state >> 60 == 0 ? 700 : -1);
        }
        if (!qw_capture_sizes_normalize(list, &n, 512, &bad)) {
            assert_true(bad < 1 || bad > 65536);
            continue;
        }
        for (size_t k = 0; k < n; k++)
            assert_true(list[k] >= 1 && list[k] <= 512 && (k == 0 || list[k - 1] < list[k]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_always_consistent),
        cmocka_unit_test(test_capture_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
