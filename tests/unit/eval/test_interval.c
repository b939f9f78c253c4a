// Intervals; the numbers are scripts/golden/eval_stats.py's.
#include "test_util.h"

#include "eval/interval.h"
#include "unit/bench/bench_test.h"

static void test_wilson(void **unused)
{
    (void)unused;
    static const struct {
        size_t k, n;
        double low, high;
    } cases[] = {
        {0, 10, 0, 0.277532799862889},
        {10, 10, 0.722467200137111, 1},
        {215, 250, 0.811520281673554, 0.897583742689726},
        {1, 3, 0.0614919447203962, 0.792340399197952},
        {500, 1000, 0.469069600368104, 0.530930399631896},
        {0, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qw_interval got = qw_interval_wilson(cases[i].k, cases[i].n, QW_INTERVAL_Z95);
        assert_near(got.low, cases[i].low, 1e-14);
        assert_near(got.high, cases[i].high, 1e-14);
    }
}

enum { N_PAIRS = 30 };

static void make_pairs(qw_paired_nll pairs[N_PAIRS])
{
    for (int i = 0; i < N_PAIRS; i++) {
        double reference = 10 + i * 0.75;
        pairs[i] =
            (qw_paired_nll){reference, reference + (i * 7 % 5 - 1) * 0.0625, (size_t)(16 + i % 3)};
    }
}

static void test_bootstrap(void **unused)
{
    (void)unused;
    qw_error err;
    qw_paired_nll pairs[N_PAIRS];
    qw_interval got;
    make_pairs(pairs);
    assert_near(qw_perplexity_change(pairs, N_PAIRS), 0.00368323709597607, 1e-15);
    assert_ok(qw_interval_bootstrap(&got, pairs, N_PAIRS, 200, 1, &err));
    assert_near(got.low, 0.00197478090150664, 1e-15);
    assert_near(got.high, 0.0054351099556981, 1e-15);
    assert_ok(qw_interval_bootstrap(&got, pairs, N_PAIRS, 2000, 20240501, &err));
    assert_near(got.low, 0.00173065960901084, 1e-15);
    assert_near(got.high, 0.00551908825508773, 1e-15);
}

static void test_bootstrap_of_little(void **unused)
{
    (void)unused;
    qw_error err;
    qw_interval got = {1, 1};
    const qw_paired_nll one = {8, 8.5, 4};
    assert_ok(qw_interval_bootstrap(&got, &one, 1, 50, 3, &err));
    assert_near(got.low, qw_perplexity_change(&one, 1), 0);
    assert_near(got.high, got.low, 0);
    assert_ok(qw_interval_bootstrap(&got, NULL, 0, 50, 3, &err));
    assert_near(got.low, 0, 0);
    assert_near(qw_perplexity_change(NULL, 0), 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wilson),
        cmocka_unit_test(test_bootstrap),
        cmocka_unit_test(test_bootstrap_of_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
