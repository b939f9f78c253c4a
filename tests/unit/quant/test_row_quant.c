// Rows to integers: the worked vectors of quantization.md 10.2, and what must hold for any row.
#include "test_util.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "quant/row_quant.h"

static void assert_ints(const int8_t *got, const int *want, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (got[k] != want[k]) fail_msg("[%zu] is %d, expected %d", k, got[k], want[k]);
}

static void test_minmax_t1(void **state)
{
    (void)state;
    int8_t q[4];
    const float w0[] = {0.5f, -1.27f, 0.254f, 0}, w1[] = {0.02f, 0.03f, -0.04f, 0.0635f};
    assert_float_equal(qw_row_quantize(q, w0, 4, 8, QW_SCALE_AUTO), 0.01f, 1e-8f);
    assert_ints(q, (int[]){50, -127, 25, 0}, 4);
    assert_float_equal(qw_row_quantize(q, w1, 4, 8, QW_SCALE_MINMAX), 0.0005f, 1e-9f);
    assert_ints(q, (int[]){40, 60, -80, 127}, 4);
}

static void test_ties_go_to_even(void **state)
{
    (void)state;
    int8_t q[20];
    float w[20];
    const int want[] = {127, -64, 0, 2, 2, -2};
    // In the first block of sixteen and behind it.
    for (int place = 0; place < 20; place += 14) {
        memset(w, 0, sizeof w);
        memcpy(w + place, (float[]){127, -63.5f, 0.5f, 1.5f, 2.5f, -2.5f}, 6 * sizeof *w);
        assert_float_equal(qw_row_quantize(q, w, 20, 8, QW_SCALE_MINMAX), 1, 0);
        assert_ints(q + place, want, 6);
    }
    const float four[] = {14, -7, 1, 3, -5, -14};
    assert_float_equal(qw_row_quantize(q, four, 6, 4, QW_SCALE_MINMAX), 2, 0);
    assert_ints(q, (int[]){7, -4, 0, 2, -2, -7}, 6);
}

static void test_odd_rows(void **state)
{
    (void)state;
    int8_t q[4] = {1, 1, 1, 1};
    const float zero[4] = {0}, huge[] = {3e38f, -3e38f, 0, 1e30f}, tiny[] = {1e-30f, 0, 0, -1e-30f};
    assert_float_equal(qw_row_quantize(q, zero, 4, 8, QW_SCALE_MINMAX), QW_MIN_SCALE, 0);
    assert_ints(q, (int[]){0, 0, 0, 0}, 4);
    for (int m = QW_SCALE_AUTO; m <= QW_SCALE_SSZ; m++) {
        float s = qw_row_quantize(q, huge, 4, 8, (qw_scale_method)m);
        assert_true(isfinite(s) && q[0] >= 126 && q[1] <= -126 && q[3] == 0);
        assert_float_equal(qw_row_quantize(q, tiny, 4, 4, (qw_scale_method)m), QW_MIN_SCALE, 0);
        assert_ints(q, (int[]){0, 0, 0, 0}, 4);
    }
    const float bad[] = {1, (float)NAN, 2};
    assert_false(qw_row_amax(bad, 3) < (float)INFINITY);
    assert_float_equal(qw_row_amax((float[]){-3, 2}, 2), 3, 0);
    assert_float_equal(qw_row_amax(zero, 0), 0, 0);
    qw_row_round(q, (float[]){-100, 100}, 2, 1, 4); // clipped
    assert_ints(q, (int[]){-8, 7}, 2);
}

static double squared(const float *w, const int8_t *q, size_t n, float s)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++) sum += pow((double)w[k] - (double)(s * (float)q[k]), 2);
    return sum;
}

static void test_ssz_t8(void **state)
{
    (void)state;
    int8_t q[4];
    const float w[] = {0.9f, -0.31f, 0.12f, 0.44f};
    float s0 = qw_row_quantize(q, w, 4, 4, QW_SCALE_MINMAX);
    assert_float_equal(s0, 0.12857143f, 1e-8f);
    assert_ints(q, (int[]){7, -2, 1, 3}, 4);
    assert_float_equal(squared(w, q, 4, s0) / 4, 1.4536e-3, 1e-7);
    float s1 = qw_row_quantize(q, w, 4, 4, QW_SCALE_SSZ);
    assert_float_equal(s1, 0.13269841f, 1e-8f);
    assert_ints(q, (int[]){7, -2, 1, 3}, 4);
    assert_float_equal(squared(w, q, 4, s1) / 4, 1.1853e-3, 1e-7);
}

// A searched scale is never worse than the first one, and for bell-shaped rows much better.
static void test_search_wins(void **state)
{
    (void)state;
    enum { N = 300 };
    double plain = 0, mse = 0, ssz = 0;
    for (uint32_t row = 0; row < 50; row++) {
        float w[N];
        int8_t q[N];
        for (uint32_t k = 0; k < N; k++) {
            uint32_t words[4];
            qw_philox4x32(words, (uint32_t[]){k, row, 0, 0}, (uint32_t[]){1, 2});
            w[k] = 0;
            for (int i = 0; i < 4; i++) w[k] += qw_rng_uniform(words[i]) - 0.5f;
        }
        double e[3];
        for (int m = 0; m < 3; m++) {
            float s = qw_row_quantize(q, w, N, 4, (qw_scale_method)(QW_SCALE_MINMAX + m));
            e[m] = squared(w, q, N, s);
        }
        assert_true(e[1] <= e[0] * 1.00001 && e[2] <= e[0] * 1.00001);
        plain += e[0];
        mse += e[1];
        ssz += e[2];
    }
    assert_true(mse < 0.9 * plain && ssz < plain);
}

static void test_packing_t5(void **state)
{
    (void)state;
    const int8_t rows[4][3] = {{1, -8, 7}, {-1, 0, 3}, {5, -3, -7}, {2, -2, -6}};
    int8_t out[3];
    qw_int4_pack_rows(out, rows[0], rows[1], 3);
    assert_ints(out, (int[]){-15, 8, 55}, 3);
    qw_int4_pack_rows(out, rows[2], rows[3], 3);
    assert_ints(out, (int[]){37, -19, -87}, 3);
}

static void test_scale_bias_t5(void **state)
{
    (void)state;
    const int8_t w[] = {1, -8, 7, 5};
    float out[16];
    qw_int4_scale_bias(out, 1, w, 4, 0.02f, NULL, 0);
    assert_float_equal(out[0], 0.8f, 1e-7f);
    int8_t long_row[32];
    for (int k = 0; k < 32; k++) long_row[k] = (int8_t)((7 * k + 3) % 16 - 8);
    qw_int4_scale_bias(out, 16, long_row, 32, 0.5f, NULL, 0);
    static const float want[] = {-12, -28, 20, 4};
    for (int j = 0; j < 16; j++) assert_float_equal(out[j], want[j % 4], 0);
    const int8_t grouped[] = {7, -3, 5, -8};
    qw_int4_scale_bias(out, 1, grouped, 4, 0.01f, (float[]){17, 2}, 2);
    assert_float_equal(out[0], 4.96f, 1e-6f);
}

// T5b with whole second scales, as msModelSlim's files have them.
static void test_two_level_t5b(void **state)
{
    (void)state;
    const float w[] = {1.19f, -0.50f, 0.31f, -0.07f, 0.083f, 0.034f, -0.017f, -0.051f};
    float scratch[8], s1, s2[2];
    int8_t q[8];
    qw_row_quantize_two_level(q, &s1, s2, w, 8, 4, QW_SCALE_MINMAX, scratch);
    assert_float_equal(s1, 0.01f, 1e-8f);
    assert_float_equal(s2[0], 17, 0);
    assert_float_equal(s2[1], 1, 0);
    const int w1[] = {119, -50, 31, -7, 8, 3, -2, -5};
    for (int k = 0; k < 8; k++) assert_float_equal(scratch[k], w1[k], 0);
    assert_ints(q, (int[]){7, -3, 2, 0, 7, 3, -2, -5}, 8);
    // Searched, a group's error is never larger.
    float e1 = 0, e2 = 0, s2b[2];
    int8_t qb[8];
    qw_row_quantize_two_level(qb, &s1, s2b, w, 8, 4, QW_SCALE_MSE, scratch);
    for (int k = 0; k < 8; k++) {
        e1 += powf(scratch[k] - s2[k / 4] * (float)q[k], 2);
        e2 += powf(scratch[k] - s2b[k / 4] * (float)qb[k], 2);
    }
    assert_true(e2 <= e1);
    const float zero[8] = {0};
    qw_row_quantize_two_level(q, &s1, s2, zero, 8, 4, QW_SCALE_AUTO, scratch);
    assert_true(s1 == QW_MIN_SCALE && s2[0] == 1 && s2[1] == 1 && q[0] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minmax_t1),     cmocka_unit_test(test_ties_go_to_even),
        cmocka_unit_test(test_odd_rows),      cmocka_unit_test(test_ssz_t8),
        cmocka_unit_test(test_search_wins),   cmocka_unit_test(test_packing_t5),
        cmocka_unit_test(test_scale_bias_t5), cmocka_unit_test(test_two_level_t5b),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
