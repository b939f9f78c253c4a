#include "test_util.h"

#include "bench/stats.h"
#include "unit/bench/bench_test.h"

static void test_percentiles(void **unused)
{
    (void)unused;
    const double one[] = {7};
    assert_near(qw_stats_percentile(one, 1, 0), 7, 0);
    assert_near(qw_stats_percentile(one, 1, 1), 7, 0);
    const double five[] = {1, 2, 4, 8, 16};
    assert_near(qw_stats_percentile(five, 5, 0), 1, 0);
    assert_near(qw_stats_percentile(five, 5, 0.5), 4, 0);
    assert_near(qw_stats_percentile(five, 5, 1), 16, 0);
    // Between neighbours: position 0.1 * 4 = 0.4, 0.9 * 4 = 3.6.
    assert_near(qw_stats_percentile(five, 5, 0.1), 1.4, 1e-12);
    assert_near(qw_stats_percentile(five, 5, 0.9), 12.8, 1e-12);
}

static void test_summary_sorts(void **unused)
{
    (void)unused;
    double values[] = {5, 1, 4, 2, 3, 10};
    qw_summary s = qw_stats_summarize(values, 6);
    assert_int_equal(s.n, 6);
    assert_near(s.min, 1, 0);
    assert_near(s.p10, 1.5, 1e-12);
    assert_near(s.p50, 3.5, 1e-12);
    assert_near(s.p90, 7.5, 1e-12);
    double odd[] = {3, 1, 2};
    assert_near(qw_stats_median(odd, 3), 2, 0);
    s = qw_stats_summarize(NULL, 0);
    assert_int_equal(s.n, 0);
    assert_near(s.p50, 0, 0);
}

// n ratios around `center` that alternate by +-`spread`.
static void fill(double *out, size_t n, double center, double spread)
{
    for (size_t i = 0; i < n; i++) out[i] = center + (i % 2 ? spread : -spread);
}

static void test_compare(void **unused)
{
    (void)unused;
    double before[40], now[40], scratch[40];
    fill(before, 40, 0.5, 0);
    // 10 % faster, 2 % of noise: the spread is 2 * 0.02 / sqrt(40) of the ratio.
    fill(now, 40, 0.55, 0.01);
    qw_comparison c = qw_stats_compare(before, 40, now, 40, scratch);
    assert_int_equal(c.change, QW_CHANGE_FASTER);
    assert_int_equal(c.n, 40);
    assert_near(c.median, 1.1, 1e-9);
    assert_near(c.spread, 2 * 0.02 / 6.3245553, 1e-6);
    c = qw_stats_compare(now, 40, before, 40, scratch);
    assert_int_equal(c.change, QW_CHANGE_SLOWER);
    // A difference of 0.2 % drowns in noise of 2 %.
    fill(now, 40, 0.501, 0.01);
    assert_int_equal(qw_stats_compare(before, 40, now, 40, scratch).change, QW_CHANGE_NONE);
    // Equal runs without any noise.
    assert_int_equal(qw_stats_compare(before, 40, before, 40, scratch).change, QW_CHANGE_NONE);
    // Pairs are as many as the shorter list has; 14 are too few to tell.
    fill(now, 40, 1.0, 0);
    c = qw_stats_compare(before, 14, now, 40, scratch);
    assert_int_equal(c.n, 14);
    assert_int_equal(c.change, QW_CHANGE_UNKNOWN);
    assert_near(c.median, 2, 1e-12);
    assert_int_equal(qw_stats_compare(before, 15, now, 40, scratch).change, QW_CHANGE_FASTER);
    c = qw_stats_compare(before, 0, now, 40, scratch);
    assert_int_equal(c.n, 0);
    assert_int_equal(c.change, QW_CHANGE_UNKNOWN);
    assert_string_equal(qw_change_name(QW_CHANGE_SLOWER), "slower");
}

// One slow outlier on either side changes no verdict: that is why medians are compared.
static void test_compare_outlier(void **unused)
{
    (void)unused;
    double before[25], now[25], scratch[25];
    fill(before, 25, 0.8, 0.002);
    fill(now, 25, 0.8, 0.002);
    now[7] = 0.1;
    assert_int_equal(qw_stats_compare(before, 25, now, 25, scratch).change, QW_CHANGE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_summary_sorts),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_compare_outlier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
