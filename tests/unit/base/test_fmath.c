#include "test_util.h"

#include "base/fmath.h"
#include "base/thread.h"

// Error in units of the last place of the exact value, for results in the normal range.
static double ulps(float got, long double want)
{
    float nearest = fabsf((float)want);
    long double ulp = nextafterf(nearest, INFINITY) - nearest;
    return (double)(fabsl((long double)got - want) / ulp);
}

// Every such step takes one of the values that are looked at; emulated, long double is slow.
enum { STEP = QW_TEST_EMULATED ? 6100 : 61, WIDE_STEP = QW_TEST_EMULATED ? 99700 : 997 };

// Checked in both floating-point modes: they may not differ.
static void exp_is_within_one_ulp(void **state)
{
    (void)state;
    double worst = 0;
    const uint32_t last = qw_f32_bits(-QW_EXP_MIN);
    for (uint32_t bits = 0x00800000u; bits <= last; bits += STEP) {
        float x = -qw_f32_from_bits(bits), y = qw_exp_ref(x);
        if (bits % 7 == 0) {
            uint64_t mode = qw_fp_mode_enter();
            volatile float again = qw_exp_ref(x);
            qw_fp_mode_leave(mode);
            assert_int_equal(qw_f32_bits(again), qw_f32_bits(y));
        }
        double error = ulps(y, expl((long double)x));
        if (error > worst) worst = error;
    }
    assert_true(worst > 0.5 && worst <= 0.98);
}

static void exp_at_the_ends(void **state)
{
    (void)state;
    assert_true(qw_exp_ref(0.0f) == 1.0f);
    assert_true(qw_exp_ref(-0.0f) == 1.0f);
    assert_int_equal(qw_f32_bits(qw_exp_ref(-INFINITY)), 0);
    assert_int_equal(qw_f32_bits(qw_exp_ref(-3e38f)), 0);
    assert_int_equal(qw_f32_bits(qw_exp_ref(nextafterf(QW_EXP_MIN, -INFINITY))), 0);
    assert_true(qw_exp_ref(QW_EXP_MIN) >= 0x1p-126f);
    assert_true(isnan(qw_exp_ref(NAN)));
    // A few values as the specification's formula gives them, so that a change of any constant or
    // of the order shows even where the error bound would still hold.
    assert_int_equal(qw_f32_bits(qw_exp_ref(-1.0f)), qw_f32_bits(0x1.78b564p-2f));
    assert_int_equal(qw_f32_bits(qw_exp_ref(-0.3f)), qw_f32_bits(0x1.7b4c86p-1f));
    assert_int_equal(qw_f32_bits(qw_exp_ref(-50.0f)), qw_f32_bits(0x1.d257d6p-73f));
}

static void log_is_within_one_ulp(void **state)
{
    (void)state;
    double worst = 0;
    for (uint32_t bits = 0x00800000u; bits < 0x3F800000u; bits += STEP) { // (0, 1)
        float x = qw_f32_from_bits(bits);
        double error = ulps(qw_log_ref(x), logl((long double)x));
        if (error > worst) worst = error;
    }
    for (uint32_t bits = 0x3F800001u; bits < 0x7F800000u; bits += WIDE_STEP) { // (1, max]
        float x = qw_f32_from_bits(bits);
        double error = ulps(qw_log_ref(x), logl((long double)x));
        if (error > worst) worst = error;
    }
    assert_true(worst > 0.5 && worst <= 0.85);
    assert_true(qw_log_ref(1.0f) == 0.0f);
    assert_true(qw_log_ref(nextafterf(1.0f, 0.0f)) == -0x1p-24f);
}

static void exponential_matches_minus_log(void **state)
{
    (void)state;
    double worst = 0;
    for (uint64_t i = 0; i < (UINT64_C(1) << 32); i += QW_TEST_EMULATED ? 400100 : 4001) {
        uint32_t word = (uint32_t)i;
        // -log(u) by the end of (0, 1) that u is nearer to.
        long double want = word < 0x80000000u ? -logl((word + 0.5L) * 0x1p-32L)
                                              : -log1pl(-((~word) + 0.5L) * 0x1p-32L);
        double error = ulps(qw_exponential(word), want);
        if (error > worst) worst = error;
    }
    assert_true(worst <= 2.5);
    assert_true(qw_exponential(UINT32_MAX) == QW_EXPONENTIAL_MIN);
    assert_true(qw_exponential(0) < 23.0f && qw_exponential(0) > 22.8f);
    // The two formulas meet at u = 3/4 without a step backwards.
    assert_true(qw_exponential(0xBFFFFFFFu) >= qw_exponential(0xC0000000u));
}

static float sum_by_definition(const float *x, size_t n, bool is_squared)
{
    float s[16] = {0};
    for (size_t l = 0; l < 16; l++)
        for (size_t i = l; i < n; i += 16) s[l] = is_squared ? fmaf(x[i], x[i], s[l]) : s[l] + x[i];
    for (size_t l = 0; l < 8; l++) s[l] = s[l] + s[l + 8];
    for (size_t l = 0; l < 4; l++) s[l] = s[l] + s[l + 4];
    s[0] = s[0] + s[2];
    s[1] = s[1] + s[3];
    return s[0] + s[1];
}

static void sums_keep_the_canonical_order(void **state)
{
    (void)state;
    float x[300];
    uint32_t r = 1;
    for (size_t i = 0; i < 300; i++) {
        r = r * 1664525u + 1013904223u;
        x[i] = ((float)(r >> 8) - 0x1p23f) * 0x1p-20f;
    }
    for (size_t n = 0; n <= 300; n++) {
        float a = qw_sum16(x, n), b = sum_by_definition(x, n, false);
        float c = qw_sumsq16(x, n), d = sum_by_definition(x, n, true);
        assert_memory_equal(&a, &b, sizeof a);
        assert_memory_equal(&c, &d, sizeof c);
    }
}

static void rows_equal_the_single_function(void **state)
{
    (void)state;
    float z[200] = {0}, p[200], terms[200] = {0};
    for (size_t n = 0; n <= 200; n += n < 40 ? 1 : 13) {
        for (size_t i = 0; i < n; i++) z[i] = 5.0f - (float)(i * i % 101) * 1.137f;
        if (n > 3) z[3] = -INFINITY;
        qw_exp_row(p, z, n, 5.0f, 0.7f);
        for (size_t i = 0; i < n; i++) {
            float want = qw_exp_ref((z[i] - 5.0f) / 0.7f);
            assert_int_equal(qw_f32_bits(p[i]), qw_f32_bits(want));
            terms[i] = qw_exp_ref(z[i] - 5.0f);
        }
        float got = qw_exp_sum(z, n, 5.0f), want = qw_sum16(terms, n);
        assert_int_equal(qw_f32_bits(got), qw_f32_bits(want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_one_ulp),
        cmocka_unit_test(exp_at_the_ends),
        cmocka_unit_test(log_is_within_one_ulp),
        cmocka_unit_test(exponential_matches_minus_log),
        cmocka_unit_test(sums_keep_the_canonical_order),
        cmocka_unit_test(rows_equal_the_single_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
