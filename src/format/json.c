#include "format/json.h"

#include <math.h>

#include "base/file.h"
#include "base/mem.h"

void qw_json_init(void)
{
    json_set_alloc_funcs(qw_mem_alloc, qw_mem_free);
    json_object_seed(0); // from the system's randomness: hostile keys cannot be made to collide
}

qw_status qw_json_load(json_t **out, const char *path, size_t max, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, max);
    qw_status st = qw_file_read(&text, path, err);
    if (st == QW_OK) st = qw_json_parse(out, text.data, text.len, path, err);
    qw_buf_release(&text);
    return st;
}

const char *qw_json_type_name(const json_t *v)
{
    if (!v) return "nothing";
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "object";
    case JSON_ARRAY: return "array";
    case JSON_STRING: return qw_json_is_big_integer(v) ? "integer beyond 64 bits" : "string";
    case JSON_INTEGER: return "integer";
    case JSON_REAL: return "number";
    case JSON_TRUE:
    case JSON_FALSE: return "boolean";
    case JSON_NULL: return "null";
    }
    return "unknown";
}

qw_status qw_json_refuse_big_integers(const json_t *v, const char *name, qw_error *err)
{
    // Recursion is bounded by the parser's limit on nesting.
    if (qw_json_is_big_integer(v))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' is an integer beyond 64 bits", name);
    qw_status st = QW_OK;
    char place[96];
    const char *key;
    json_t *member;
    if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v) && st == QW_OK; i++) {
            snprintf(place, sizeof place, "%.60s[%zu]", name, i);
            st = qw_json_refuse_big_integers(json_array_get(v, i), place, err);
        }
    } else if (json_is_object(v)) {
        json_object_foreach((json_t *)(uintptr_t)v, key, member)
        {
            snprintf(place, sizeof place, "%.40s.%.40s", name, key);
            st = qw_json_refuse_big_integers(member, place, err);
            if (st != QW_OK) break;
        }
    }
    return st;
}

bool qw_json_has(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return v && !json_is_null(v);
}

static qw_status wrong_type(qw_error *err, const char *key, const char *want, const json_t *v)
{
    return qw_fail(err, QW_ERR_FORMAT, "'%s' must be %s, got %s", key, want, qw_json_type_name(v));
}

qw_status qw_json_get_i64(int64_t *out, const json_t *object, const char *key, int64_t min,
                          int64_t max, qw_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v)) return QW_OK;
    int64_t value;
    if (json_is_integer(v)) {
        value = json_integer_value(v);
    } else if (json_is_real(v)) {
        double d = json_real_value(v);
        if (d != floor(d)) return wrong_type(err, key, "an integer", v);
        if (d < -9.2e18 || d > 9.2e18)
            return qw_fail(err, QW_ERR_FORMAT, "'%s' is %g, which no 64-bit integer holds", key, d);
        value = (int64_t)d;
    } else {
        return wrong_type(err, key, "an integer", v);
    }
    if (value < min || value > max)
        return qw_fail(err, QW_ERR_FORMAT,
                       "'%s' must be from %" PRId64 " to %" PRId64 ", got %" PRId64, key, min, max,
                       value);
    *out = value;
    return QW_OK;
}

qw_status qw_json_get_f64(double *out, const json_t *object, const char *key, double min,
                          double max, qw_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v)) return QW_OK;
    if (!json_is_number(v)) return wrong_type(err, key, "a number", v);
    double value = json_number_value(v);
    if (!(value >= min && value <= max))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be from %g to %g, got %g", key, min, max,
                       value);
    *out = value;
    return QW_OK;
}

qw_status qw_json_get_bool(bool *out, const json_t *object, const char *key, qw_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v)) return QW_OK;
    if (!json_is_boolean(v)) return wrong_type(err, key, "true or false", v);
    *out = json_is_true(v);
    return QW_OK;
}

qw_status qw_json_get_str(qw_str *out, const json_t *object, const char *key, qw_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v)) return QW_OK;
    if (!json_is_string(v) || qw_json_is_big_integer(v)) return wrong_type(err, key, "a string", v);
    *out = qw_json_str(v);
    return QW_OK;
}

void qw_json_write_string(qw_buf *b, qw_str s)
{
    qw_buf_putc(b, '"');
    size_t start = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        qw_buf_append(b, s.ptr + start, i - start);
        start = i + 1;
        switch (c) {
        case '"': qw_buf_puts(b, "\\\""); break;
        case '\\': qw_buf_puts(b, "\\\\"); break;
        case '\b': qw_buf_puts(b, "\\b"); break;
        case '\f': qw_buf_puts(b, "\\f"); break;
        case '\n': qw_buf_puts(b, "\\n"); break;
        case '\r': qw_buf_puts(b, "\\r"); break;
        case '\t': qw_buf_puts(b, "\\t"); break;
        default: qw_buf_printf(b, "\\u%04x", c);
        }
    }
    qw_buf_append(b, s.ptr + start, s.len - start);
    qw_buf_putc(b, '"');
}

void qw_json_write_f64(qw_buf *b, double value)
{
    char text[32];
    if (isnan(value))
        qw_buf_puts(b, "NaN");
    else if (isinf(value))
        qw_buf_puts(b, value < 0 ? "-Infinity" : "Infinity");
    else
        qw_buf_append(b, text, (size_t)qw_str_from_f64(text, value));
}

void qw_json_write(qw_buf *b, const json_t *v, bool compact)
{
    const char *comma = compact ? "," : ", ", *colon = compact ? ":" : ": ";
    switch (json_typeof(v)) {
    case JSON_OBJECT: {
        const char *key;
        size_t key_len;
        json_t *member;
        bool first = true;
        qw_buf_putc(b, '{');
        json_object_keylen_foreach((json_t *)(uintptr_t)v, key, key_len, member)
        {
            if (!first) qw_buf_puts(b, comma);
            first = false;
            qw_json_write_string(b, (qw_str){key, key_len});
            qw_buf_puts(b, colon);
            qw_json_write(b, member, compact);
        }
        qw_buf_putc(b, '}');
        break;
    }
    case JSON_ARRAY:
        qw_buf_putc(b, '[');
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (i) qw_buf_puts(b, comma);
            qw_json_write(b, json_array_get(v, i), compact);
        }
        qw_buf_putc(b, ']');
        break;
    case JSON_STRING:
        if (qw_json_is_big_integer(v))
            qw_buf_append(b, qw_json_digits(v).ptr, qw_json_digits(v).len);
        else
            qw_json_write_string(b, qw_json_str(v));
        break;
    case JSON_INTEGER: qw_buf_printf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(v)); break;
    case JSON_REAL: qw_json_write_f64(b, json_real_value(v)); break;
    case JSON_TRUE: qw_buf_puts(b, "true"); break;
    case JSON_FALSE: qw_buf_puts(b, "false"); break;
    case JSON_NULL: qw_buf_puts(b, "null"); break;
    }
}
