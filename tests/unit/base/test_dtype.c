#include "test_util.h"

#include <math.h>

#include "base/dtype.h"

static void names_and_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int bits;
    } spec[] = {
        // qwen3-dense 2.3, after rule 11
        {"BOOL", 8},    {"U8", 8},      {"I8", 8},          {"F4", 4},      {"F6_E2M3", 6},
        {"F6_E3M2", 6}, {"F8_E5M2", 8}, {"F8_E4M3", 8},     {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
        {"I16", 16},    {"U16", 16},    {"F8_E5M2FNUZ", 8}, {"F16", 16},    {"BF16", 16},
        {"I32", 32},    {"U32", 32},    {"F32", 32},        {"I64", 64},    {"U64", 64},
        {"F64", 64},    {"C64", 64},
    };
    assert_int_equal(QW_ARRAY_LEN(spec), QW_N_DTYPES);
    for (size_t i = 0; i < QW_ARRAY_LEN(spec); i++) {
        qw_dtype t;
        assert_true(qw_dtype_from_name(&t, spec[i].name));
        assert_string_equal(qw_dtype_name(t), spec[i].name);
        assert_int_equal(qw_dtype_bits(t), spec[i].bits);
    }
    qw_dtype t = QW_DTYPE_I16;
    assert_false(qw_dtype_from_name(&t, "f32"));
    assert_false(qw_dtype_from_name(&t, ""));
    assert_int_equal(t, QW_DTYPE_I16);
}

// The bf16 next to a finite x by the definition: of the two neighbours the nearer in magnitude, at
// a tie the even one. Where the upper one is infinity, its place is 2^128.
static uint16_t nearest_bf16(uint32_t u)
{
    uint16_t low = (uint16_t)(u >> 16), high = (uint16_t)(low + 1);
    double x = fabs((double)qw_f32_from_bits(u));
    double a = fabs((double)qw_f32_from_bits((uint32_t)low << 16));
    double b = (high & 0x7FFF) == 0x7F80 ? 0x1p128 : fabs((double)qw_bf16_to_f32(high));
    if (x - a != b - x) return x - a < b - x ? low : high;
    return low & 1 ? high : low;
}

static void bf16_rounding(void **state)
{
    (void)state;
    static const uint32_t lows[] = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x1234, 0xC000};
    for (uint32_t upper = 0; upper < 0x10000; upper++) {
        for (size_t k = 0; k < QW_ARRAY_LEN(lows); k++) {
            uint32_t u = upper << 16 | lows[k];
            float x = qw_f32_from_bits(u);
            uint16_t got = qw_f32_to_bf16(x);
            if (isnan(x)) {
                // quiet, same sign
                if (!isnan(qw_bf16_to_f32(got)) || !(got & 0x40) || (got ^ upper) & 0x8000)
                    fail_msg("%08x (nan) -> %04x", u, got);
                continue;
            }
            uint16_t want = isinf(x) ? (uint16_t)upper : nearest_bf16(u);
            if (got != want) fail_msg("%08x -> %04x, expected %04x", u, got, want);
            if (qw_f32_bits(qw_round_bf16(x)) != (uint32_t)want << 16) fail_msg("round %08x", u);
        }
    }
}

static void f16_values(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float got = qw_f16_to_f32((uint16_t)h);
        int exponent = (int)(h >> 10 & 31), m = (int)(h & 1023);
        assert_int_equal(signbit(got) != 0, h >> 15);
        if (exponent == 31 && m) {
            assert_true(isnan(got));
            assert_int_equal(qw_f32_bits(got) >> 13 & 1023, m);
            continue;
        }
        double want = exponent == 31  ? INFINITY
                      : exponent == 0 ? ldexp(m, -24)
                                      : ldexp(1024 + m, exponent - 25);
        if (fabs((double)got) != want) fail_msg("%04x -> %g, expected %g", h, (double)got, want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_sizes),
        cmocka_unit_test(bf16_rounding),
        cmocka_unit_test(f16_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
