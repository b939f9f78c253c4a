#include "test_util.h"

#include "bench/machine.h"
#include "bench/slices.h"
#include "unit/bench/bench_test.h"

// Probes as recorded on a Zen 3 with two virtual cores: quiet, then beside a compiler, then with
// both threads on one core, then with 30 ms stolen.
static const qw_probe quiet = {19.05, 51.6, 11227, 0};
static const qw_probe quiet_later = {18.92, 49.3, 11227, 31000000};
static const qw_probe shared = {11.77, 173980.9, 11227, 62000000};
static const qw_probe one_core = {18.80, 9.2, 11227, 93000000};
static const qw_probe stolen = {19.01, 52.0, 11230, 124000000};

static const qw_slice_rule rule = {.best_spin = 19.14, .n_threads = 2, .ticks_per_s = 100};

static bool is_clean(qw_probe before, qw_probe after)
{
    const qw_slice s = {before, after, 1};
    return qw_slice_is_clean(&s, &rule);
}

static void test_clean(void **unused)
{
    (void)unused;
    assert_true(is_clean(quiet, quiet_later));
    assert_false(is_clean(quiet, shared));
    assert_false(is_clean(shared, quiet));
    assert_false(is_clean(quiet, one_core));
    assert_false(is_clean(quiet, stolen));
    // Two percent below the best is noise of the measurement, eight are somebody else.
    qw_probe slower = quiet_later;
    slower.spin = 19.14 * 0.94;
    assert_true(is_clean(quiet, slower));
    slower.spin = 19.14 * 0.92;
    assert_false(is_clean(quiet, slower));
}

static void test_one_thread_has_no_handover(void **unused)
{
    (void)unused;
    qw_slice s = {quiet, quiet_later, 1};
    s.before.handover_ns = s.after.handover_ns = 0;
    qw_slice_rule one = rule;
    one.n_threads = 1;
    assert_true(qw_slice_is_clean(&s, &one));
    assert_false(qw_slice_is_clean(&s, &rule));
}

// One tick of 10 ms spoils a slice of 200 ms; in three seconds it is less than the clock's noise.
static void test_steal(void **unused)
{
    (void)unused;
    qw_slice s = {quiet, quiet_later, 1};
    s.after.steal++;
    s.after.at_ns = 200000000;
    assert_near(qw_slice_steal_percent(&s, &rule), 2.5, 1e-9);
    assert_false(qw_slice_is_clean(&s, &rule));
    s.after.at_ns = 3000000000;
    assert_true(qw_slice_is_clean(&s, &rule));
    s.after.steal += 6;
    assert_false(qw_slice_is_clean(&s, &rule));
    s.after.steal = s.before.steal - 1; // some hypervisors count backwards
    assert_near(qw_slice_steal_percent(&s, &rule), 0, 0);
}

static void test_parse_steal(void **unused)
{
    (void)unused;
    assert_int_equal(
        qw_machine_parse_steal("cpu  179676 0 26469 559118 1149 0 557 9479 0 0\ncpu0 1 2"), 9479);
    assert_int_equal(qw_machine_parse_steal("cpu  1 2 3 4 5 6 7\ncpu0 1"), 0); // an old kernel
    assert_int_equal(qw_machine_parse_steal("cpu0 1 2 3 4 5 6 7 8 9"), 0);
    assert_int_equal(qw_machine_parse_steal(""), 0);
}

// The formulas of cpu-kernels.md 1.3 in its own example: 0.6B, BF16, 22 GB/s, fma 250 GFLOP/s.
static void test_limit_time(void **unused)
{
    (void)unused;
    const double limits[QW_N_LIMITS] = {22e9, 250e9, 0};
    qw_limit_kind kind;
    const qw_work decode = {.bytes = 1192e6 + 59e6, .product_ops = 2 * 596e6, .peak = QW_LIMIT_FMA};
    assert_near(1 / qw_work_limit_s(&decode, limits, &kind), 17.6, 0.05);
    assert_int_equal(kind, QW_LIMIT_READ);
    const double lin = 440.4e6, head = 155.6e6, s = 512;
    const qw_work prefill = {.bytes = 1192e6,
                             .product_ops = 2 * lin * s + 2 * head,
                             .attention_ops = 2 * s * (s + 1) * 28 * 16 * 128,
                             .peak = QW_LIMIT_FMA};
    assert_near(s / qw_work_limit_s(&prefill, limits, &kind), 266, 1);
    assert_int_equal(kind, QW_LIMIT_FMA);
    // With vdpbf16ps at twice the peak the products take half as long, attention as long as before.
    const double with_bf16[QW_N_LIMITS] = {22e9, 250e9, 500e9};
    qw_work fast = prefill;
    fast.peak = QW_LIMIT_BF16;
    double saved =
        qw_work_limit_s(&prefill, limits, NULL) - qw_work_limit_s(&fast, with_bf16, &kind);
    assert_near(saved, prefill.product_ops / 500e9, 1e-9);
    assert_int_equal(kind, QW_LIMIT_BF16);
}

static void test_limits_that_matter(void **unused)
{
    (void)unused;
    const double limits[QW_N_LIMITS] = {20e9, 200e9, 400e9};
    qw_work w = {.bytes = 20e6, .product_ops = 20e6, .peak = QW_LIMIT_FMA}; // 1 ms, 0.1 ms
    assert_int_equal(qw_work_limits(&w, limits), 1u << QW_LIMIT_READ);
    w.product_ops = 120e6; // 0.6 ms
    assert_int_equal(qw_work_limits(&w, limits), 1u << QW_LIMIT_READ | 1u << QW_LIMIT_FMA);
    w.product_ops = 1e9;
    w.attention_ops = 1e6;
    w.peak = QW_LIMIT_BF16;
    assert_int_equal(qw_work_limits(&w, limits), 1u << QW_LIMIT_BF16 | 1u << QW_LIMIT_FMA);
    // Products on two peaks, one after the other.
    const double three[QW_N_LIMITS] = {
        [QW_LIMIT_READ] = 20e9, [QW_LIMIT_INT8] = 400e9, [QW_LIMIT_INT4] = 800e9};
    const qw_work mixed = {.bytes = 20e6,
                           .product_ops = 800e6,
                           .peak = QW_LIMIT_INT4,
                           .other_ops = {[QW_LIMIT_INT8] = 200e6}};
    qw_limit_kind decided_by;
    assert_near(qw_work_limit_s(&mixed, three, &decided_by), 1.5e-3, 1e-12);
    assert_int_equal(decided_by, QW_LIMIT_INT4);
    assert_int_equal(qw_work_limits(&mixed, three),
                     1u << QW_LIMIT_READ | 1u << QW_LIMIT_INT4 | 1u << QW_LIMIT_INT8);
    assert_near(qw_work_ops(&mixed), 1e9, 0);
    const qw_work none = {.peak = QW_LIMIT_FMA};
    assert_int_equal(qw_work_limits(&none, limits), 0);
}

static qw_slice slice(double value)
{
    return (qw_slice){quiet, quiet_later, value};
}

static void test_sample(void **unused)
{
    (void)unused;
    const qw_work w = {.bytes = 1e6, .product_ops = 1e3, .peak = QW_LIMIT_FMA};
    qw_sample s = {.run = slice(0.03), .run_count = 500};
    s.limits[0][QW_LIMIT_READ] = slice(18e9);
    s.limits[1][QW_LIMIT_READ] = slice(22e9);
    // 500 MB in 30 ms are 16.7 GB/s; the mean of the neighbours is 20.
    assert_near(qw_sample_ratio(&s, &w), 500e6 / 0.03 / 20e9, 1e-9);
    const qw_limit_set kinds = 1u << QW_LIMIT_READ;
    assert_true(qw_sample_is_clean(&s, kinds, &rule));
    s.limits[1][QW_LIMIT_READ].after = shared;
    assert_false(qw_sample_is_clean(&s, kinds, &rule));
    assert_true(qw_sample_is_clean(&s, 0, &rule)); // a limit that nobody divides by
    s.run.before = shared;
    assert_false(qw_sample_is_clean(&s, 0, &rule));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),      cmocka_unit_test(test_one_thread_has_no_handover),
        cmocka_unit_test(test_steal),      cmocka_unit_test(test_parse_steal),
        cmocka_unit_test(test_limit_time), cmocka_unit_test(test_limits_that_matter),
        cmocka_unit_test(test_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
