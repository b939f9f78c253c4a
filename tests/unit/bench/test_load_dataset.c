#include "test_util.h"

#include <math.h>

#include "base/mem.h"
#include "bench/load_arrivals.h"
#include "bench/load_dataset.h"
#include "unit/bench/bench_test.h"

static qw_tokenizer *tokenizer;

static qw_dataset_options options_of(qw_dataset_kind kind, size_t n)
{
    return (qw_dataset_options){.kind = kind,
                                .n_requests = n,
                                .tokenizer = tokenizer,
                                .input_len = 200,
                                .output_len = 128,
                                .prefix_len = 0,
                                .n_prefixes = 3};
}

static int64_t count(const qw_load_request *r)
{
    qw_error err;
    qw_ids ids = {0};
    assert_ok(qw_tokenizer_encode(tokenizer, (qw_str){r->prompt, r->prompt_size}, 0, &ids, &err));
    int64_t n = (int64_t)ids.len;
    qw_ids_release(&ids);
    return n;
}

// Every prompt has exactly the tokens that were asked for, when it is encoded again.
static void test_random(void **unused)
{
    (void)unused;
    qw_error err;
    for (uint64_t seed = 0; seed < 3; seed++) {
        qw_dataset_options o = options_of(QW_DATASET_RANDOM, 60);
        qw_load_dataset d, again;
        o.seed = seed;
        assert_ok(qw_load_dataset_make(&d, &o, &err));
        assert_ok(qw_load_dataset_make(&again, &o, &err));
        assert_int_equal(d.n, 60);
        for (size_t i = 0; i < d.n; i++) {
            assert_int_equal(count(&d.requests[i]), 200);
            assert_int_equal(d.requests[i].n_prompt, 200);
            assert_int_equal(d.requests[i].n_output, 128);
            assert_int_equal(d.requests[i].prompt_size, again.requests[i].prompt_size);
            assert_memory_equal(d.requests[i].prompt, again.requests[i].prompt,
                                d.requests[i].prompt_size);
        }
        qw_load_dataset_release(&d);
        qw_load_dataset_release(&again);
    }
}

static void test_ranges(void **unused)
{
    (void)unused;
    qw_error err;
    qw_dataset_options o = options_of(QW_DATASET_RANDOM, 300);
    o.input_len = 10;
    o.output_len = 4;
    o.prefix_len = 5;
    o.input_range_ratio = 0.25; // 7 to 13
    o.output_range_ratio = 0.9; // 1 (of 0.4) to 8
    qw_load_dataset d;
    assert_ok(qw_load_dataset_make(&d, &o, &err));
    size_t n_in[20] = {0}, n_out[20] = {0};
    for (size_t i = 0; i < d.n; i++) {
        assert_in_range(d.requests[i].n_prompt, 5 + 7, 5 + 13);
        assert_in_range(d.requests[i].n_output, 1, 8);
        n_in[d.requests[i].n_prompt - 5]++;
        n_out[d.requests[i].n_output]++;
    }
    for (size_t i = 7; i <= 13; i++) assert_true(n_in[i] > 15);
    for (size_t i = 1; i <= 8; i++) assert_true(n_out[i] > 15);
    qw_load_dataset_release(&d);
}

static void test_prefixes(void **unused)
{
    (void)unused;
    qw_error err;
    qw_dataset_options o = options_of(QW_DATASET_PREFIX_REPETITION, 20);
    o.input_len = 12;
    o.prefix_len = 40;
    o.disable_shuffle = true;
    qw_load_dataset d;
    assert_ok(qw_load_dataset_make(&d, &o, &err));
    assert_int_equal(d.n, 18); // 6 of each prefix
    for (size_t i = 0; i < d.n; i++) {
        assert_int_equal(d.requests[i].n_prompt, 52);
        // 40 tokens are 40 bytes or more, the same of all six.
        bool same = memcmp(d.requests[i].prompt, d.requests[i / 6 * 6].prompt, 40) == 0;
        assert_true(same);
        if (i % 6) assert_true(strcmp(d.requests[i].prompt, d.requests[i - 1].prompt) != 0);
    }
    o.n_prefixes = 21;
    assert_fails(qw_load_dataset_make(&d, &o, &err), QW_ERR_USAGE, "num_requests (20)");
    qw_load_dataset_release(&d);
}

static void test_arrivals(void **unused)
{
    (void)unused;
    enum { N = 20000 };
    static double t[N];
    qw_draws draws;
    // Gaps of rate r and burstiness b: mean 1/r, variance 1/(r r b); the last at N/r exactly.
    const double bursts[] = {1, 0.25, 4};
    for (size_t k = 0; k < QW_ARRAY_LEN(bursts); k++) {
        const qw_load_arrivals a = {.request_rate = 8, .burstiness = bursts[k]};
        qw_draws_init(&draws, 5, k);
        qw_load_arrivals_make(t, N, &a, &draws);
        assert_near(t[N - 1], N / 8.0, 1e-6);
        double squares = 0;
        for (size_t i = 1; i < N; i++) {
            double gap = t[i] - t[i - 1];
            assert_true(gap >= 0);
            squares += (gap - 0.125) * (gap - 0.125);
        }
        assert_near(squares / N * 64 * bursts[k], 1, 0.1);
    }
    qw_draws_init(&draws, 5, 0);
    qw_load_arrivals_make(t, 100, &(qw_load_arrivals){INFINITY, 1, 0, 0, 0}, &draws);
    assert_near(t[99], 0, 0);
    qw_load_arrivals_make(t, 100, &(qw_load_arrivals){4, INFINITY, 0, 0, 0}, &draws);
    for (size_t i = 0; i < 100; i++) assert_near(t[i], (double)(i + 1) / 4, 1e-9);
    // Ramps with even gaps: the sum of 1 / rate.
    const qw_load_arrivals linear = {INFINITY, INFINITY, QW_RAMP_LINEAR, 1, 5};
    qw_load_arrivals_make(t, 5, &linear, &draws);
    assert_near(t[4], 1 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0 + 1 / 5.0, 1e-12);
    const qw_load_arrivals exponential = {INFINITY, INFINITY, QW_RAMP_EXPONENTIAL, 1, 16};
    assert_near(qw_load_arrivals_rate(&exponential, 1, 5), 2, 1e-12);
    assert_near(qw_load_arrivals_rate(&exponential, 4, 5), 16, 1e-12);
    assert_near(qw_load_arrivals_rate(&exponential, 0, 1), 1, 1e-12);
}

static void test_draws(void **unused)
{
    (void)unused;
    qw_draws d;
    qw_draws_init(&d, 1, 2);
    size_t seen[7] = {0}, order[50];
    for (int i = 0; i < 7000; i++) seen[qw_draws_range(&d, -3, 3) + 3]++;
    for (int i = 0; i < 7; i++) assert_in_range(seen[i], 850, 1150);
    (void)qw_draws_range(&d, INT64_MIN, INT64_MAX);
    assert_int_equal(qw_draws_range(&d, 9, 9), 9);
    for (size_t i = 0; i < 50; i++) order[i] = i;
    qw_draws_shuffle(&d, order, 50);
    uint64_t set = 0;
    size_t n_moved = 0;
    for (size_t i = 0; i < 50; i++) {
        set |= (uint64_t)1 << order[i];
        n_moved += order[i] != i;
    }
    assert_true(set == ((uint64_t)1 << 50) - 1 && n_moved > 40);
}

static void test_memory_shortage(void **unused)
{
    (void)unused;
    size_t live = qw_mem_live();
    const qw_dataset_kind kinds[] = {QW_DATASET_RANDOM_MM, QW_DATASET_PREFIX_REPETITION};
    for (size_t k = 0; k < QW_ARRAY_LEN(kinds); k++) {
        qw_dataset_options o = options_of(kinds[k], 3);
        o.input_len = o.prefix_len = 4;
        o.mm = (qw_mm_options){
            .items_per_request = 2, .max_images = 9, .buckets = {{8, 8, 1, 1.0}}, .n_buckets = 1};
        for (uint64_t n = 1;; n++) {
            qw_error err = {0};
            qw_load_dataset d = {0};
            qw_mem_fail_at(n);
            qw_status st = qw_load_dataset_make(&d, &o, &err);
            bool failed = qw_mem_fail_at(0) == 0;
            // The tokenizer can do without some of what it asks for.
            if (st != QW_OK) assert_true(failed && st == QW_ERR_NO_MEMORY && err.text[0]);
            qw_load_dataset_release(&d);
            assert_int_equal(qw_mem_live(), live);
            if (!failed) break;
        }
    }
}

static int open_tokenizer(void **unused)
{
    (void)unused;
    qw_error err;
    qw_json_init();
    assert_ok(qw_tokenizer_open(&tokenizer, QW_SOURCE_DIR "/models/tiny", NULL, &err));
    return 0;
}

static int close_tokenizer(void **unused)
{
    (void)unused;
    qw_tokenizer_close(tokenizer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),   cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_prefixes), cmocka_unit_test(test_arrivals),
        cmocka_unit_test(test_draws),    cmocka_unit_test(test_memory_shortage),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
