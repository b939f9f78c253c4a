#include "format/json_lax.h"

#include <math.h>
#include <strings.h>

static qw_status wrong_type(qw_error *err, const char *key, const char *want, const json_t *v)
{
    if (json_is_string(v))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be %s, got the string '%.100s'", key, want,
                       json_string_value(v));
    if (json_is_real(v)) {
        char text[32];
        qw_str_from_f64(text, json_real_value(v));
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be %s, got %s", key, want, text);
    }
    if (json_is_integer(v))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be %s, got %" JSON_INTEGER_FORMAT, key, want,
                       json_integer_value(v));
    return qw_fail(err, QW_ERR_FORMAT, "'%s' must be %s, got %s", key, want, qw_json_type_name(v));
}

static bool integral(double d, int64_t *out)
{
    // 2^63 as a double is the first value above the range; -2^63 is in it.
    // cppcheck-suppress incorrectLogicOperator ; it misreads 0x1p63
    if (d != floor(d) || d < -0x1p63 || d >= 0x1p63) return false;
    *out = (int64_t)d;
    return true;
}

qw_status qw_json_lax_i64(int64_t *out, const json_t *v, const char *key, qw_error *err)
{
    double number;
    switch (json_typeof(v)) {
    case JSON_INTEGER: *out = json_integer_value(v); return QW_OK;
    case JSON_TRUE:
    case JSON_FALSE: *out = json_is_true(v); return QW_OK;
    case JSON_REAL:
        if (integral(json_real_value(v), out)) return QW_OK;
        break;
    case JSON_STRING:
        if (qw_str_to_i64(qw_json_str(v), out)) return QW_OK;
        if (qw_str_to_f64(qw_json_str(v), &number) && integral(number, out)) return QW_OK;
        break;
    default: break;
    }
    return wrong_type(err, key, "a 64-bit integer", v);
}

qw_status qw_json_lax_f64(double *out, const json_t *v, const char *key, qw_error *err)
{
    switch (json_typeof(v)) {
    case JSON_INTEGER:
    case JSON_REAL: *out = json_number_value(v); return QW_OK;
    case JSON_TRUE:
    case JSON_FALSE: *out = json_is_true(v) ? 1.0 : 0.0; return QW_OK;
    case JSON_STRING:
        if (qw_str_to_f64(qw_json_str(v), out)) return QW_OK;
        break;
    default: break;
    }
    return wrong_type(err, key, "a number", v);
}

static bool word_is_in(qw_str s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(words[i]) == s.len && strncasecmp(words[i], s.ptr, s.len) == 0) return true;
    return false;
}

qw_status qw_json_lax_bool(bool *out, const json_t *v, const char *key, qw_error *err)
{
    static const char *const yes[] = {"true", "t", "yes", "y", "on", "1"};
    static const char *const no[] = {"false", "f", "no", "n", "off", "0"};
    bool is_yes = json_is_true(v), is_no = json_is_false(v);
    if (json_is_number(v)) {
        is_yes = json_number_value(v) == 1.0;
        is_no = json_number_value(v) == 0.0;
    } else if (json_is_string(v)) {
        is_yes = word_is_in(qw_json_str(v), yes, QW_ARRAY_LEN(yes));
        is_no = word_is_in(qw_json_str(v), no, QW_ARRAY_LEN(no));
    }
    if (!is_yes && !is_no) return wrong_type(err, key, "true or false", v);
    *out = is_yes;
    return QW_OK;
}
