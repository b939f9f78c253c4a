#include "test_util.h"

#include <locale.h>
#include <math.h>

#include "base/str.h"
#include "unit/base/f64_repr.h"

static void compare_and_find(void **state)
{
    (void)state;
    const qw_str none = {NULL, 0};
    assert_true(qw_str_eq(QW_STR("a\0b"), QW_STR("a\0b")));
    assert_false(qw_str_eq(QW_STR("a\0b"), QW_STR("a\0c")));
    assert_false(qw_str_eq(QW_STR("a"), QW_STR("ab")));
    assert_true(qw_str_eq(none, QW_STR("")));
    assert_true(qw_str_is(QW_STR("yarn"), "yarn"));
    assert_true(qw_str_starts_with(QW_STR("model.x"), QW_STR("model.")));
    assert_false(qw_str_starts_with(QW_STR("mod"), QW_STR("model")));
    assert_true(qw_str_starts_with(none, none) && qw_str_ends_with(none, none));
    assert_true(qw_str_ends_with(QW_STR("a.bin"), QW_STR(".bin")));
    assert_true(qw_str_ends_with(QW_STR("a"), none));
    assert_false(qw_str_ends_with(QW_STR("bin"), QW_STR(".bin")));

    qw_str s = QW_STR("aabaab\0aac");
    assert_int_equal(qw_str_find(s, QW_STR("aab"), 0), 0);
    assert_int_equal(qw_str_find(s, QW_STR("aab"), 1), 3);
    assert_int_equal(qw_str_find(s, QW_STR("aac"), 0), 7);
    assert_int_equal(qw_str_find(s, QW_STR("\0"), 0), 6);
    assert_true(qw_str_find(s, QW_STR("aad"), 0) == SIZE_MAX);
    assert_true(qw_str_find(s, QW_STR("aac"), 8) == SIZE_MAX);
    assert_true(qw_str_find(s, QW_STR("a"), 11) == SIZE_MAX);
    assert_int_equal(qw_str_find(s, none, 4), 4);
    assert_int_equal(qw_str_find(none, none, 0), 0);
}

// All code points: put, then next gives it back; surrogates are invalid.
static void every_code_point(void **state)
{
    (void)state;
    for (int32_t cp = 0; cp <= 0x10FFFF; cp++) {
        char text[4];
        int n = qw_utf8_put(text, cp);
        size_t pos = 0;
        bool surrogate = cp >= 0xD800 && cp <= 0xDFFF;
        int32_t got = qw_utf8_next((qw_str){text, (size_t)n}, &pos);
        if (got != (surrogate ? -1 : cp)) fail_msg("U+%X reads as %d", cp, got);
        if (!surrogate) assert_int_equal(pos, n);
        assert_int_equal(qw_utf8_is_valid((qw_str){text, (size_t)n}), !surrogate);
        if (surrogate) continue;
        for (int cut = 1; cut < n; cut++) // what a cut sequence lacks
            assert_int_equal(qw_utf8_missing((qw_str){text, (size_t)cut}, 0), n - cut);
        assert_int_equal(qw_utf8_missing((qw_str){text, (size_t)n}, 0), 0);
    }
}

// Unicode 3.9, table 3-8 and its neighbours: one -1 for each maximal invalid subpart.
static void invalid_sequences(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want; /* 'x' for each -1, else the character itself */
    } cases[] = {
        {"\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", "xxxbxcxxd"},
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "xxxxxxxxA"},
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "xxxxxxxxA"},
        {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "xxxxxAxxB"},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "xxxxA"},
        {"a\xE2\x82", "ax"},
        {"\xF5\xFE", "xx"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_str s = qw_str_of(cases[i].text);
        char got[20];
        size_t n = 0;
        for (size_t pos = 0; pos < s.len;) {
            int32_t cp = qw_utf8_next(s, &pos);
            got[n++] = cp < 0 ? 'x' : (char)cp;
        }
        got[n] = '\0';
        assert_string_equal(got, cases[i].want);
        assert_false(qw_utf8_is_valid(s));
    }
    assert_true(qw_utf8_is_valid(QW_STR("a\0\xC3\xA4\xF0\x9F\x98\x80")));
    assert_true(qw_utf8_is_valid((qw_str){NULL, 0}));
    assert_int_equal(qw_utf8_missing(QW_STR("\xF0\x9F"), 0), 2);
    assert_int_equal(qw_utf8_missing(QW_STR("\xF0\x80"), 0), 0); // already invalid
    assert_int_equal(qw_utf8_missing(QW_STR("\xED\xA0"), 0), 0);
    assert_int_equal(qw_utf8_missing(QW_STR("\x80"), 0), 0);
    assert_int_equal(qw_utf8_missing(QW_STR("ab\xC3"), 2), 1);
}

static void integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
    } valid[] = {{"0", 0},
                 {"-0", 0},
                 {"+7", 7},
                 {"007", 7},
                 {"-42", -42},
                 {"9223372036854775807", INT64_MAX},
                 {"-9223372036854775808", INT64_MIN}};
    for (size_t i = 0; i < QW_ARRAY_LEN(valid); i++) {
        int64_t got = 1;
        assert_true(qw_str_to_i64(qw_str_of(valid[i].text), &got));
        assert_true(got == valid[i].want);
    }
    static const char *const invalid[] = {"",
                                          "-",
                                          "+",
                                          " 1",
                                          "1 ",
                                          "1x",
                                          "0x10",
                                          "1.0",
                                          "--1",
                                          "9223372036854775808",
                                          "-9223372036854775809",
                                          "99999999999999999999"};
    for (size_t i = 0; i < QW_ARRAY_LEN(invalid); i++) {
        int64_t got = 77;
        assert_false(qw_str_to_i64(qw_str_of(invalid[i]), &got));
        assert_int_equal(got, 77);
    }
    int64_t got;
    assert_false(qw_str_to_i64(QW_STR("1\0"), &got));
}

static void floats(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double want;
    } valid[] = {{"0", 0},       {"1.5", 1.5},  {"-2e3", -2000},  {".5", .5},          {"5.", 5},
                 {"+1E-2", .01}, {"1e-999", 0}, {"1000000", 1e6}, {"4.9e-324", 5e-324}};
    for (size_t i = 0; i < QW_ARRAY_LEN(valid); i++) {
        double got = 1;
        assert_true(qw_str_to_f64(qw_str_of(valid[i].text), &got));
        assert_true(got == valid[i].want);
    }
    static const char *const invalid[] = {"",      "-",     ".",   "e5",    "1e", "1e+",
                                          "1.5.2", "nan",   "inf", "0x1p3", " 1", "1 ",
                                          "1,5",   "1e999", "1-2", "--1",   "1f", "-inf"};
    for (size_t i = 0; i < QW_ARRAY_LEN(invalid); i++) {
        double got = 77;
        assert_false(qw_str_to_f64(qw_str_of(invalid[i]), &got));
        assert_true(got == 77);
    }
    double got;
    assert_false(qw_str_to_f64(QW_STR("1\0"), &got));
}

static void float_repr(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(f64_repr); i++) {
        double value, back;
        memcpy(&value, &f64_repr[i].bits, 8);
        char text[32];
        int len = qw_str_from_f64(text, value);
        assert_string_equal(text, f64_repr[i].repr);
        assert_int_equal(len, strlen(text));
        if (!isfinite(value)) continue;
        assert_true(qw_str_to_f64(qw_str_of(text), &back));
        assert_memory_equal(&back, &value, 8);
    }
    char text[32];
    qw_str_from_f64(text, NAN);
    assert_string_equal(text, "nan");
}

static void locale_does_not_matter(void **state)
{
    (void)state;
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8")) skip(); // not installed
    char text[32];
    double value;
    qw_str_from_f64(text, 1234.5);
    assert_string_equal(text, "1234.5");
    assert_true(qw_str_to_f64(QW_STR("0.25"), &value) && value == 0.25);
    setlocale(LC_NUMERIC, "C");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compare_and_find),
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(invalid_sequences),
        cmocka_unit_test(integers),
        cmocka_unit_test(floats),
        cmocka_unit_test(float_repr),
        cmocka_unit_test(locale_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
