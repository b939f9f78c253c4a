// "text" % arguments and "text".format(arguments). Both read a field's description into a
// field_spec and share the code that writes the value.

#include "format/jinja_value.h"

#include <math.h>

#include "format/jinja_text.h"

#define MAX_PRECISION 1000

typedef struct field_spec {
    qw_str fill;
    char align;        /* '<' '>' '^', '=' pads after the sign; 0 = the type's own */
    char sign;         /* '+' or ' ' before positive numbers; 0 = nothing */
    char grouping;     /* ',' or '_' between thousands; 0 = nothing */
    char type;         /* the conversion letter; 0 = by the value's type */
    bool alternate;    /* '#' */
    bool empty;        /* nothing was given */
    int64_t width;     /* code points; 0 = none */
    int64_t precision; /* -1 = none */
} field_spec;

static const field_spec no_spec = {.fill = {" ", 1}, .empty = true, .precision = -1};

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static qw_status emit(qw_jinja_run *r, qw_str s)
{
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    qw_buf_append(&r->out, s.ptr, s.len);
    return qw_jinja_check_output(r);
}

static qw_status emit_padded(qw_jinja_run *r, const field_spec *spec, char own_align, qw_str prefix,
                             qw_str body)
{
    char align = spec->align ? spec->align : own_align;
    if (align == '=') {
        int64_t width = spec->width - (int64_t)prefix.len;
        QW_JINJA_TRY(emit(r, prefix));
        QW_JINJA_TRY(qw_jinja_str_pad(r, body, width, spec->fill, '>', &body));
        return emit(r, body);
    }
    qw_str whole;
    QW_JINJA_TRY(qw_jinja_concat(r, prefix, body, &whole));
    QW_JINJA_TRY(qw_jinja_str_pad(r, whole, spec->width, spec->fill, align, &whole));
    return emit(r, whole);
}

// Sign and, for "#x" and the like, base: at most 3 characters.
static qw_str number_prefix(char buf[4], const field_spec *spec, bool negative, const char *base)
{
    size_t n = 0;
    if (negative)
        buf[n++] = '-';
    else if (spec->sign)
        buf[n++] = spec->sign;
    for (; *base; base++) buf[n++] = *base;
    return (qw_str){buf, n};
}

// Separators every three digits (four for other bases than ten) of the whole part.
static qw_status group_digits(qw_jinja_run *r, const field_spec *spec, qw_str *digits)
{
    if (!spec->grouping) return QW_OK;
    size_t every = is_one_of(spec->type, "xXob") ? 4 : 3, whole = 0;
    while (whole < digits->len && is_one_of(digits->ptr[whole], "0123456789abcdefABCDEF") &&
           !(every == 3 && is_one_of(digits->ptr[whole], "eE")))
        whole++;
    char *text = qw_jinja_alloc(r, digits->len * 2 + 1, 1);
    if (!text) return qw_jinja_failure(r);
    size_t n = 0;
    for (size_t i = 0; i < digits->len; i++) {
        if (i > 0 && i < whole && (whole - i) % every == 0) text[n++] = spec->grouping;
        text[n++] = digits->ptr[i];
    }
    *digits = (qw_str){text, n};
    return QW_OK;
}

static qw_status emit_int(qw_jinja_run *r, const field_spec *spec, int64_t value)
{
    char buf[72], prefix[4];
    size_t n = sizeof buf;
    unsigned base = is_one_of(spec->type, "xX") ? 16
                    : spec->type == 'o'         ? 8
                    : spec->type == 'b'         ? 2
                                                : 10;
    const char *letters = spec->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        buf[--n] = letters[rest % base];
        rest /= base;
    } while (rest);
    qw_str digits = {buf + n, sizeof buf - n};
    QW_JINJA_TRY(qw_jinja_str_pad(r, digits, spec->precision, QW_STR("0"), '>', &digits));
    QW_JINJA_TRY(group_digits(r, spec, &digits));
    const char *base_text = !spec->alternate || base == 10 ? ""
                            : base == 8                    ? "0o"
                            : base == 2                    ? "0b"
                            : spec->type == 'X'            ? "0X"
                                                           : "0x";
    return emit_padded(r, spec, '>', number_prefix(prefix, spec, value < 0, base_text), digits);
}

static qw_status emit_float(qw_jinja_run *r, const field_spec *spec, double value)
{
    char prefix[4], format[] = "%.*g", *text;
    bool percent = spec->type == '%', plain = spec->type == 0 && spec->precision < 0;
    size_t size = 400 + MAX_PRECISION;
    if (!(text = qw_jinja_alloc(r, size, 1))) return qw_jinja_failure(r);
    bool negative = signbit(value) && !isnan(value);
    double magnitude = fabs(value) * (percent ? 100 : 1);
    int n;
    if (!isfinite(magnitude)) {
        bool upper = is_one_of(spec->type, "EFG");
        n = snprintf(text, size, "%s%s",
                     isnan(value) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf"),
                     percent ? "%" : "");
    } else if (plain) {
        n = qw_str_from_f64(text, magnitude);
    } else {
        format[3] = percent ? 'f' : spec->type == 0 ? 'g' : spec->type;
        n = snprintf(text, size, format, spec->precision < 0 ? 6 : (int)spec->precision, magnitude);
        for (char *p = text; *p; p++)
            if (*p == ',') *p = '.'; // the locale's decimal comma
        if (percent) n += snprintf(text + n, size - (size_t)n, "%%");
    }
    qw_str digits = {text, (size_t)n};
    QW_JINJA_TRY(group_digits(r, spec, &digits));
    return emit_padded(r, spec, '>', number_prefix(prefix, spec, negative, ""), digits);
}

static qw_status emit_text(qw_jinja_run *r, const field_spec *spec, qw_str s, char own_align)
{
    if (spec->precision >= 0)
        s = qw_jinja_sub(s, 0, qw_jinja_text_offset(s, (size_t)spec->precision));
    return emit_padded(r, spec, own_align, QW_STR(""), s);
}

static qw_status emit_char(qw_jinja_run *r, const field_spec *spec, const qw_jinja_value *v)
{
    char utf8[4];
    if (v->kind == QW_JINJA_STRING && qw_jinja_text_len(v->str) == 1)
        return emit_text(r, spec, v->str, '>');
    if (!qw_jinja_is_integral(v)) return qw_jinja_fail(r, "%%c requires int or char");
    int64_t c = qw_jinja_as_int(v);
    if (c < 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        return qw_jinja_fail(r, "%%c: %" PRId64 " is no Unicode character", c);
    size_t len = (size_t)qw_utf8_put(utf8, (int32_t)c);
    return emit_text(r, spec, (qw_str){utf8, len}, '>');
}

static qw_status repr_of(qw_jinja_run *r, const qw_jinja_value *v, qw_str *out)
{
    size_t start = r->out.len;
    QW_JINJA_TRY(qw_jinja_write_repr(r, v));
    return qw_jinja_capture(r, start, out);
}

// ---- "%"

// Where the arguments of "%" come from.
typedef struct percent_args {
    const qw_jinja_value *all; /* the right operand */
    const qw_jinja_value *items;
    size_t n, next;
} percent_args;

static qw_status next_arg(qw_jinja_run *r, percent_args *a, const qw_jinja_value **out)
{
    if (a->next >= a->n) return qw_jinja_fail(r, "not enough arguments for format string");
    *out = &a->items[a->next++];
    return QW_OK;
}

// A number in the format or, where `a` is given, '*' for the next argument. Beyond int32 is an
// error.
static qw_status percent_number(qw_jinja_run *r, qw_str f, size_t *pos, percent_args *a,
                                int64_t *out)
{
    int64_t value = 0;
    if (a && *pos < f.len && f.ptr[*pos] == '*') {
        const qw_jinja_value *v = NULL;
        ++*pos;
        QW_JINJA_TRY(next_arg(r, a, &v));
        QW_JINJA_TRY(qw_jinja_arg_int(r, v, "*", &value));
    } else {
        for (; *pos < f.len && f.ptr[*pos] >= '0' && f.ptr[*pos] <= '9'; ++*pos)
            if (value <= INT32_MAX) value = value * 10 + (f.ptr[*pos] - '0');
    }
    if (value > INT32_MAX || value < -INT32_MAX)
        return qw_jinja_fail(r, "a width or precision in a format string is too big");
    *out = value;
    return QW_OK;
}

static qw_status percent_key(qw_jinja_run *r, qw_str f, size_t *pos, const percent_args *a,
                             const qw_jinja_value **out)
{
    *out = NULL;
    if (*pos >= f.len || f.ptr[*pos] != '(') return QW_OK;
    size_t end = qw_jinja_find(f, QW_STR(")"), *pos);
    if (end == SIZE_MAX) return qw_jinja_fail(r, "incomplete format key");
    if (a->all->kind != QW_JINJA_DICT) return qw_jinja_fail(r, "format requires a mapping");
    qw_jinja_value key = qw_jinja_string(qw_jinja_sub(f, *pos + 1, end));
    QW_JINJA_TRY(qw_jinja_dict_find(r, a->all->dict, &key, out));
    if (!*out)
        return qw_jinja_fail(r, "format key '%.*s' is missing", qw_jinja_clip(key.str, 200),
                             key.str.ptr);
    *pos = end + 1;
    return QW_OK;
}

static qw_status percent_spec(qw_jinja_run *r, qw_str f, size_t *pos, percent_args *a,
                              field_spec *spec)
{
    *spec = no_spec;
    spec->empty = false;
    bool zero = false;
    for (; *pos < f.len && is_one_of(f.ptr[*pos], "-+ #0"); ++*pos) {
        switch (f.ptr[*pos]) {
        case '-': spec->align = '<'; break;
        case '#': spec->alternate = true; break;
        case '0': zero = true; break;
        case '+': spec->sign = '+'; break;
        default: spec->sign = spec->sign ? spec->sign : ' '; break;
        }
    }
    QW_JINJA_TRY(percent_number(r, f, pos, a, &spec->width));
    if (spec->width < 0) { // "*" with a negative argument
        spec->align = '<';
        spec->width = -spec->width;
    }
    if (*pos < f.len && f.ptr[*pos] == '.') {
        ++*pos;
        QW_JINJA_TRY(percent_number(r, f, pos, a, &spec->precision));
        if (spec->precision < 0) spec->precision = 0;
    }
    while (*pos < f.len && is_one_of(f.ptr[*pos], "hlL")) ++*pos;
    if (*pos >= f.len) return qw_jinja_fail(r, "incomplete format");
    spec->type = f.ptr[(*pos)++];
    if (zero && !spec->align && is_one_of(spec->type, "diuxXoeEfFgG")) {
        spec->align = '=';
        spec->fill = QW_STR("0");
    }
    return QW_OK;
}

static qw_status percent_emit(qw_jinja_run *r, field_spec *spec, const qw_jinja_value *v)
{
    qw_str text;
    if (v->kind == QW_JINJA_UNDEFINED && spec->type != 's') return qw_jinja_fail_undefined(r, v);
    switch (spec->type) {
    case 's': QW_JINJA_TRY(qw_jinja_to_str(r, v, &text)); return emit_text(r, spec, text, '>');
    case 'r':
    case 'a': QW_JINJA_TRY(repr_of(r, v, &text)); return emit_text(r, spec, text, '>');
    case 'c': return emit_char(r, spec, v);
    default: break;
    }
    if (spec->precision > MAX_PRECISION)
        return qw_jinja_fail(r, "a format string asks for more than %d digits", MAX_PRECISION);
    if (is_one_of(spec->type, "diuxXo")) {
        if (v->kind == QW_JINJA_FLOAT && is_one_of(spec->type, "diu") && fabs(v->real) < 9e18)
            return emit_int(r, spec, (int64_t)v->real);
        if (!qw_jinja_is_integral(v))
            return qw_jinja_fail(r, "%%%c format: a number is required, not %s", spec->type,
                                 qw_jinja_type_name(v));
        return emit_int(r, spec, qw_jinja_as_int(v));
    }
    if (is_one_of(spec->type, "eEfFgG")) {
        if (!qw_jinja_is_number(v))
            return qw_jinja_fail(r, "must be real number, not %s", qw_jinja_type_name(v));
        return emit_float(r, spec, qw_jinja_as_double(v));
    }
    return qw_jinja_fail(r, "unsupported format character '%c'",
                         spec->type >= 0x20 && spec->type < 0x7F ? spec->type : '?');
}

qw_status qw_jinja_format_percent(qw_jinja_run *r, qw_str format, const qw_jinja_value *args,
                                  qw_str *out)
{
    percent_args a = {.all = args, .items = args, .n = 1};
    if (args->kind == QW_JINJA_TUPLE) QW_JINJA_TRY(qw_jinja_items(r, args->list, &a.items, &a.n));
    size_t start = r->out.len, pos = 0;
    for (;;) {
        size_t hit = qw_jinja_find(format, QW_STR("%"), pos);
        QW_JINJA_TRY(emit(r, qw_jinja_sub(format, pos, hit == SIZE_MAX ? format.len : hit)));
        if (hit == SIZE_MAX) break;
        pos = hit + 1;
        const qw_jinja_value *v;
        field_spec spec;
        QW_JINJA_TRY(percent_key(r, format, &pos, &a, &v));
        QW_JINJA_TRY(percent_spec(r, format, &pos, &a, &spec));
        if (spec.type == '%') {
            QW_JINJA_TRY(emit(r, QW_STR("%")));
            continue;
        }
        if (!v) QW_JINJA_TRY(next_arg(r, &a, &v));
        QW_JINJA_TRY(percent_emit(r, &spec, v));
    }
    // As in Python, whatever has items may stay unused; only tuples are counted.
    bool has_items = args->kind == QW_JINJA_DICT || args->kind == QW_JINJA_LIST ||
                     args->kind == QW_JINJA_RANGE || args->kind == QW_JINJA_UNDEFINED;
    if (a.next < a.n && !has_items)
        return qw_jinja_fail(r, "not all arguments converted during string formatting");
    return qw_jinja_capture(r, start, out);
}

// ---- str.format

// The description after ":": [[fill]align][sign][#][0][width][grouping][.precision][type]
static qw_status parse_spec(qw_jinja_run *r, qw_str s, field_spec *spec)
{
    *spec = no_spec;
    if (s.len == 0) return QW_OK;
    spec->empty = false;
    size_t pos = 0, first = 0;
    (void)qw_utf8_next(s, &first);
    if (first < s.len && is_one_of(s.ptr[first], "<>^=")) {
        spec->fill = qw_jinja_sub(s, 0, first);
        spec->align = s.ptr[first];
        pos = first + 1;
    } else if (is_one_of(s.ptr[0], "<>^=")) {
        spec->align = s.ptr[pos++];
    }
    if (pos < s.len && is_one_of(s.ptr[pos], "+- ")) {
        if (s.ptr[pos] != '-') spec->sign = s.ptr[pos];
        pos++;
    }
    if (pos < s.len && s.ptr[pos] == '#') {
        spec->alternate = true;
        pos++;
    }
    if (pos < s.len && s.ptr[pos] == '0') {
        if (!spec->align) {
            spec->align = '=';
            spec->fill = QW_STR("0");
        }
        pos++;
    }
    QW_JINJA_TRY(percent_number(r, s, &pos, NULL, &spec->width));
    if (pos < s.len && is_one_of(s.ptr[pos], ",_")) spec->grouping = s.ptr[pos++];
    if (pos < s.len && s.ptr[pos] == '.') {
        pos++;
        QW_JINJA_TRY(percent_number(r, s, &pos, NULL, &spec->precision));
    }
    if (pos < s.len) spec->type = s.ptr[pos++];
    if (pos < s.len) return qw_jinja_fail(r, "invalid format specifier");
    return QW_OK;
}

static qw_status braces_emit(qw_jinja_run *r, const field_spec *spec, const qw_jinja_value *v)
{
    if (spec->empty) return qw_jinja_write(r, v);
    if (v->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, v);
    if (v->kind == QW_JINJA_STRING && (spec->type == 0 || spec->type == 's') && spec->align != '=')
        return emit_text(r, spec, v->str, '<');
    if (qw_jinja_is_number(v)) {
        bool whole = qw_jinja_is_integral(v);
        if (spec->precision > MAX_PRECISION)
            return qw_jinja_fail(r, "a format string asks for more than %d digits", MAX_PRECISION);
        if (whole && spec->type == 'c') return emit_char(r, spec, v);
        if (whole && spec->precision < 0 && (spec->type == 0 || is_one_of(spec->type, "dxXobn")))
            return emit_int(r, spec, qw_jinja_as_int(v));
        if (is_one_of(spec->type, "eEfFgG%") || (!whole && spec->type == 0))
            return emit_float(r, spec, qw_jinja_as_double(v));
    }
    return qw_jinja_fail(r, "invalid format specifier for object of type '%s'",
                         qw_jinja_type_name(v));
}

// The value that a field's name means: number or name, then .attribute and [key] parts.
static qw_status field_value(qw_jinja_run *r, qw_str name, const qw_jinja_args *args,
                             size_t *automatic, qw_jinja_value *out)
{
    size_t end = 0;
    while (end < name.len && !is_one_of(name.ptr[end], ".[")) end++;
    qw_str first = qw_jinja_sub(name, 0, end);
    int64_t index = -1;
    if (first.len == 0)
        index = (int64_t)(*automatic)++;
    else if (!qw_str_to_i64(first, &index))
        index = -1;
    if (index >= 0) {
        if ((uint64_t)index >= args->n_pos)
            return qw_jinja_fail(r, "replacement index %" PRId64 " is out of range", index);
        *out = args->pos[index];
    } else {
        size_t i = 0;
        while (i < args->n_kw && !qw_str_eq(args->kw[i].name, first)) i++;
        if (i == args->n_kw)
            return qw_jinja_fail(r, "format() has no argument '%.*s'", qw_jinja_clip(first, 200),
                                 first.ptr);
        *out = args->kw[i].value;
    }
    while (end < name.len) {
        qw_jinja_value next;
        bool bracket = name.ptr[end++] == '[';
        size_t start = end;
        while (end < name.len && !(bracket ? name.ptr[end] == ']' : is_one_of(name.ptr[end], ".[")))
            end++;
        qw_jinja_value key = qw_jinja_string(qw_jinja_sub(name, start, end));
        if (bracket && end++ == name.len) return qw_jinja_fail(r, "missing ']' in a format string");
        if (bracket && qw_str_to_i64(key.str, &index)) key = qw_jinja_int(index);
        QW_JINJA_TRY(bracket ? qw_jinja_get_item(r, out, &key, &next)
                             : qw_jinja_get_attr(r, out, key.str, &next));
        *out = next;
    }
    return QW_OK;
}

static qw_status braces_field(qw_jinja_run *r, qw_str field, const qw_jinja_args *args,
                              size_t *automatic)
{
    size_t name_end = 0;
    bool in_key = false;
    for (; name_end < field.len; name_end++) {
        char c = field.ptr[name_end];
        in_key = c == '[' || (in_key && c != ']');
        if (!in_key && (c == '!' || c == ':')) break;
    }
    size_t pos = name_end;
    char conversion = 0;
    if (pos < field.len && field.ptr[pos] == '!') {
        if (pos + 1 >= field.len || !is_one_of(field.ptr[pos + 1], "sra"))
            return qw_jinja_fail(r, "unknown conversion in a format string");
        conversion = field.ptr[pos + 1];
        pos += 2;
        if (pos < field.len && field.ptr[pos] != ':')
            return qw_jinja_fail(r, "expected ':' after the conversion in a format string");
    }
    qw_jinja_value v;
    field_spec spec;
    qw_str text;
    QW_JINJA_TRY(field_value(r, qw_jinja_sub(field, 0, name_end), args, automatic, &v));
    QW_JINJA_TRY(parse_spec(
        r, pos < field.len ? qw_jinja_sub(field, pos + 1, field.len) : QW_STR(""), &spec));
    if (conversion) {
        QW_JINJA_TRY(conversion == 's' ? qw_jinja_to_str(r, &v, &text) : repr_of(r, &v, &text));
        v = qw_jinja_string(text);
    }
    return braces_emit(r, &spec, &v);
}

qw_status qw_jinja_format_braces(qw_jinja_run *r, qw_str format, const qw_jinja_args *args,
                                 qw_str *out)
{
    size_t start = r->out.len, automatic = 0, pos = 0;
    while (pos < format.len) {
        size_t end = pos;
        while (end < format.len && !is_one_of(format.ptr[end], "{}")) end++;
        QW_JINJA_TRY(emit(r, qw_jinja_sub(format, pos, end)));
        if (end == format.len) break;
        char c = format.ptr[end];
        if (end + 1 < format.len && format.ptr[end + 1] == c) { // "{{" and "}}"
            QW_JINJA_TRY(emit(r, qw_jinja_sub(format, end, end + 1)));
            pos = end + 2;
            continue;
        }
        if (c == '}') return qw_jinja_fail(r, "single '}' encountered in format string");
        size_t close = end + 1;
        while (close < format.len && !is_one_of(format.ptr[close], "{}")) close++;
        if (close == format.len) return qw_jinja_fail(r, "expected '}' before end of string");
        if (format.ptr[close] == '{')
            return qw_jinja_refuse(r,
                                   "a field inside the field of a format string is not supported");
        QW_JINJA_TRY(braces_field(r, qw_jinja_sub(format, end + 1, close), args, &automatic));
        pos = close + 1;
    }
    return qw_jinja_capture(r, start, out);
}
