// Arithmetic as in Python, on 64-bit integers: an overflow is an error.

#include "format/jinja_value.h"

#include <math.h>

#include "format/jinja_text.h"

static qw_status overflow(qw_jinja_run *r)
{
    return qw_jinja_fail(r, "the result of integer arithmetic does not fit in 64 bits");
}

static qw_status bad_operands(qw_jinja_run *r, char op, const qw_jinja_value *a,
                              const qw_jinja_value *b)
{
    const char single[2] = {op, '\0'};
    const char *name = op == '.' ? "//" : op == '^' ? "** or pow()" : single;
    if (a->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, a);
    if (b->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, b);
    if (a->kind == QW_JINJA_BIGINT || b->kind == QW_JINJA_BIGINT) return overflow(r);
    if (op == '+' && a->kind == QW_JINJA_STRING)
        return qw_jinja_fail(r, "can only concatenate str (not \"%s\") to str",
                             qw_jinja_type_name(b));
    if (op == '+' && a->kind == QW_JINJA_LIST)
        return qw_jinja_fail(r, "can only concatenate list (not \"%s\") to list",
                             qw_jinja_type_name(b));
    return qw_jinja_fail(r, "unsupported operand type(s) for %s: '%s' and '%s'", name,
                         qw_jinja_type_name(a), qw_jinja_type_name(b));
}

// ---- numbers

static qw_status power_int(qw_jinja_run *r, int64_t base, int64_t exponent, qw_jinja_value *out)
{
    if (exponent < 0) {
        if (base == 0) return qw_jinja_fail(r, "0.0 cannot be raised to a negative power");
        *out = qw_jinja_float(pow((double)base, (double)exponent));
        return QW_OK;
    }
    int64_t result = 1;
    while (exponent > 0) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) return overflow(r);
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return overflow(r);
    }
    *out = qw_jinja_int(result);
    return QW_OK;
}

// Quotient and remainder towards minus infinity.
static qw_status floor_divide(qw_jinja_run *r, char op, int64_t a, int64_t b, qw_jinja_value *out)
{
    if (b == 0) return qw_jinja_fail(r, "integer division or modulo by zero");
    if (b == -1) { // INT64_MIN / -1 has no result
        if (op == '%') {
            *out = qw_jinja_int(0);
            return QW_OK;
        }
        if (a == INT64_MIN) return overflow(r);
        *out = qw_jinja_int(-a);
        return QW_OK;
    }
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    *out = qw_jinja_int(op == '%' ? rest : quotient);
    return QW_OK;
}

static qw_status int_arithmetic(qw_jinja_run *r, char op, int64_t a, int64_t b, qw_jinja_value *out)
{
    int64_t result;
    bool bad;
    switch (op) {
    case '+': bad = __builtin_add_overflow(a, b, &result); break;
    case '-': bad = __builtin_sub_overflow(a, b, &result); break;
    case '*': bad = __builtin_mul_overflow(a, b, &result); break;
    case '/':
        if (b == 0) return qw_jinja_fail(r, "division by zero");
        *out = qw_jinja_float((double)((long double)a / (long double)b));
        return QW_OK;
    case '^': return power_int(r, a, b, out);
    default: return floor_divide(r, op, a, b, out);
    }
    if (bad) return overflow(r);
    *out = qw_jinja_int(result);
    return QW_OK;
}

static qw_status float_arithmetic(qw_jinja_run *r, char op, double a, double b, qw_jinja_value *out)
{
    double result = 0;
    switch (op) {
    case '+': result = a + b; break;
    case '-': result = a - b; break;
    case '*': result = a * b; break;
    case '/':
        if (b == 0) return qw_jinja_fail(r, "float division by zero");
        result = a / b;
        break;
    case '^':
        if (a == 0 && b < 0) return qw_jinja_fail(r, "0.0 cannot be raised to a negative power");
        result = pow(a, b);
        if (isinf(result) && isfinite(a) && isfinite(b))
            return qw_jinja_fail(r, "the result of ** is too large");
        if (isnan(result) && !isnan(a) && !isnan(b))
            return qw_jinja_fail(r, "a negative number cannot be raised to a fractional power");
        break;
    default: { // '%' and '.': towards minus infinity
        if (b == 0) return qw_jinja_fail(r, "float floor division or modulo by zero");
        double rest = fmod(a, b);
        double quotient = (a - rest) / b;
        if (rest == 0) {
            rest = copysign(0, b);
        } else if ((rest < 0) != (b < 0)) {
            rest += b;
            quotient -= 1;
        }
        double whole = quotient == 0 ? copysign(0, a / b) : floor(quotient);
        if (quotient - whole > 0.5) whole += 1;
        result = op == '%' ? rest : whole;
    }
    }
    *out = qw_jinja_float(result);
    return QW_OK;
}

// ---- text and lists

qw_status qw_jinja_concat(qw_jinja_run *r, qw_str a, qw_str b, qw_str *out)
{
    if (a.len == 0 || b.len == 0) {
        *out = a.len == 0 ? b : a;
        return QW_OK;
    }
    QW_JINJA_TRY(qw_jinja_work(r, b.len));
    if (a.ptr == r->tip && a.len == r->tip_len && b.len <= r->tip_cap - r->tip_len) {
        memcpy(r->tip + a.len, b.ptr, b.len);
    } else {
        size_t cap;
        if (!qw_add_size(&cap, a.len, b.len)) return qw_jinja_fail(r, "a text is too long");
        size_t len = cap;
        if (len > r->opt->max_output) // a text that cannot be written need not be made
            return qw_jinja_fail(r, "a text of %zu bytes is longer than the limit of %zu", len,
                                 r->opt->max_output);
        cap += cap / 2 + 32;
        char *text = qw_jinja_alloc(r, cap, 1);
        if (!text) return qw_jinja_failure(r);
        memcpy(text, a.ptr, a.len);
        memcpy(text + a.len, b.ptr, b.len);
        r->tip = text;
        r->tip_cap = cap;
    }
    r->tip_len = a.len + b.len;
    *out = (qw_str){r->tip, r->tip_len};
    return QW_OK;
}

qw_status qw_jinja_repeat(qw_jinja_run *r, qw_str s, int64_t times, qw_str *out)
{
    *out = QW_STR("");
    if (times <= 0 || s.len == 0) return QW_OK;
    size_t len;
    if (!qw_mul_size(&len, s.len, (size_t)times) || len > r->opt->max_output)
        return qw_jinja_fail(
            r, "%zu bytes repeated %" PRId64 " times are longer than the limit of %zu", s.len,
            times, r->opt->max_output);
    char *text = qw_jinja_alloc(r, len, 1);
    if (!text) return qw_jinja_failure(r);
    for (size_t i = 0; i < len; i += s.len) memcpy(text + i, s.ptr, s.len);
    *out = (qw_str){text, len};
    return QW_OK;
}

static qw_status add_lists(qw_jinja_run *r, const qw_jinja_value *a, const qw_jinja_value *b,
                           qw_jinja_value *out)
{
    const qw_jinja_value *x, *y;
    size_t n, m;
    QW_JINJA_TRY(qw_jinja_items(r, a->list, &x, &n));
    QW_JINJA_TRY(qw_jinja_items(r, b->list, &y, &m));
    qw_jinja_list *list = qw_jinja_list_new(r, n + m);
    if (!list) return qw_jinja_failure(r);
    if (n) memcpy(list->items, x, n * sizeof *x);
    if (m) memcpy(list->items + n, y, m * sizeof *y);
    list->n = n + m;
    *out = qw_jinja_sequence((qw_jinja_kind)a->kind, list);
    return QW_OK;
}

static qw_status repeat_list(qw_jinja_run *r, const qw_jinja_value *v, int64_t times,
                             qw_jinja_value *out)
{
    const qw_jinja_value *items;
    size_t n, total = 0;
    QW_JINJA_TRY(qw_jinja_items(r, v->list, &items, &n));
    if (times > 0 && !qw_mul_size(&total, n, (size_t)times)) total = SIZE_MAX;
    qw_jinja_list *list = qw_jinja_list_new(r, total);
    if (!list) return qw_jinja_failure(r);
    for (size_t i = 0; i < total; i++) list->items[i] = items[i % n];
    list->n = total;
    *out = qw_jinja_sequence((qw_jinja_kind)v->kind, list);
    return QW_OK;
}

static bool is_list(const qw_jinja_value *v)
{
    return v->kind == QW_JINJA_LIST || v->kind == QW_JINJA_TUPLE;
}

// sequence * integer, in either order; *done is false if it is neither.
static qw_status repeat(qw_jinja_run *r, const qw_jinja_value *a, const qw_jinja_value *b,
                        qw_jinja_value *out, bool *done)
{
    const qw_jinja_value *sequence = qw_jinja_is_integral(b) ? a : b;
    const qw_jinja_value *times = qw_jinja_is_integral(b) ? b : a;
    *done = qw_jinja_is_integral(times) && (is_list(sequence) || sequence->kind == QW_JINJA_STRING);
    if (!*done) return QW_OK;
    if (is_list(sequence)) return repeat_list(r, sequence, qw_jinja_as_int(times), out);
    qw_str text;
    QW_JINJA_TRY(qw_jinja_repeat(r, sequence->str, qw_jinja_as_int(times), &text));
    *out = qw_jinja_string(text);
    return QW_OK;
}

qw_status qw_jinja_arithmetic(qw_jinja_run *r, char op, const qw_jinja_value *a,
                              const qw_jinja_value *b, qw_jinja_value *out)
{
    if (qw_jinja_is_integral(a) && qw_jinja_is_integral(b))
        return int_arithmetic(r, op, qw_jinja_as_int(a), qw_jinja_as_int(b), out);
    if (qw_jinja_is_number(a) && qw_jinja_is_number(b))
        return float_arithmetic(r, op, qw_jinja_as_double(a), qw_jinja_as_double(b), out);
    qw_str text;
    if (op == '+' && a->kind == QW_JINJA_STRING && b->kind == QW_JINJA_STRING) {
        QW_JINJA_TRY(qw_jinja_concat(r, a->str, b->str, &text));
        *out = qw_jinja_string(text);
        return QW_OK;
    }
    if (op == '+' && is_list(a) && a->kind == b->kind) return add_lists(r, a, b, out);
    if (op == '%' && a->kind == QW_JINJA_STRING) {
        QW_JINJA_TRY(qw_jinja_format_percent(r, a->str, b, &text));
        *out = qw_jinja_string(text);
        return QW_OK;
    }
    bool done = false;
    if (op == '*') QW_JINJA_TRY(repeat(r, a, b, out, &done));
    return done ? QW_OK : bad_operands(r, op, a, b);
}

qw_status qw_jinja_contains(qw_jinja_run *r, const qw_jinja_value *container,
                            const qw_jinja_value *item, bool *out)
{
    *out = false;
    if (container->kind == QW_JINJA_STRING) {
        if (item->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, item);
        if (item->kind != QW_JINJA_STRING)
            return qw_jinja_fail(r, "'in <string>' requires string as left operand, not %s",
                                 qw_jinja_type_name(item));
        QW_JINJA_TRY(qw_jinja_work(r, container->str.len));
        *out = qw_jinja_find(container->str, item->str, 0) != SIZE_MAX;
        return QW_OK;
    }
    if (container->kind == QW_JINJA_DICT) {
        const qw_jinja_value *value;
        if (item->kind == QW_JINJA_LIST || item->kind == QW_JINJA_DICT)
            return qw_jinja_fail(r, "unhashable type: '%s'", qw_jinja_type_name(item));
        QW_JINJA_TRY(qw_jinja_dict_find(r, container->dict, item, &value));
        *out = value != NULL;
        return QW_OK;
    }
    if (!qw_jinja_is_iterable(container))
        return qw_jinja_fail(r, "argument of type '%s' is not iterable",
                             qw_jinja_type_name(container));
    const qw_jinja_value *items;
    size_t n;
    QW_JINJA_TRY(qw_jinja_iterate(r, container, &items, &n));
    for (size_t i = 0; i < n && !*out; i++) QW_JINJA_TRY(qw_jinja_equal(r, &items[i], item, out));
    return QW_OK;
}
