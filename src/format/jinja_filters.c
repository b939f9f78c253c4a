// Filters for text, numbers and single values.

#include "format/jinja_filters.h"

#include <math.h>

#include "format/jinja_text.h"

static qw_status give_str(qw_jinja_value *out, qw_str s)
{
    *out = qw_jinja_string(s);
    return QW_OK;
}

// ---- case and white space

static qw_status to_case(qw_jinja_run *r, const qw_jinja_value *self, qw_jinja_case to,
                         qw_jinja_value *out)
{
    qw_str s;
    QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
    QW_JINJA_TRY(qw_jinja_str_case(r, s, to, &s));
    return give_str(out, s);
}

QW_JINJA_FILTER(filter_lower)
{
    (void)args;
    return to_case(r, self, QW_JINJA_LOWER, out);
}

QW_JINJA_FILTER(filter_upper)
{
    (void)args;
    return to_case(r, self, QW_JINJA_UPPER, out);
}

QW_JINJA_FILTER(filter_capitalize)
{
    (void)args;
    return to_case(r, self, QW_JINJA_CAPITALIZE, out);
}

// Unlike the method, words only begin after white space, a hyphen or an opening bracket.
QW_JINJA_FILTER(filter_title)
{
    (void)args;
    qw_str s, part;
    QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
    size_t start = r->out.len;
    for (size_t pos = 0; pos < s.len;) {
        size_t word = pos, end = pos;
        bool is_border = false;
        while (end < s.len && !is_border) {
            size_t next = end;
            int32_t c = qw_utf8_next(s, &next);
            is_border = qw_jinja_is_space(c) || (c > 0 && c < 0x80 && strchr("-({[<", c));
            if (is_border) break;
            end = next;
        }
        size_t first = word;
        if (end > word) (void)qw_utf8_next(s, &first);
        QW_JINJA_TRY(qw_jinja_str_case(r, qw_jinja_sub(s, word, first), QW_JINJA_UPPER, &part));
        qw_buf_append(&r->out, part.ptr, part.len);
        QW_JINJA_TRY(qw_jinja_str_case(r, qw_jinja_sub(s, first, end), QW_JINJA_LOWER, &part));
        qw_buf_append(&r->out, part.ptr, part.len);
        pos = end;
        if (is_border) {
            (void)qw_utf8_next(s, &pos);
            qw_buf_append(&r->out, s.ptr + end, pos - end);
        }
        QW_JINJA_TRY(qw_jinja_check_output(r));
    }
    QW_JINJA_TRY(qw_jinja_capture(r, start, &s));
    return give_str(out, s);
}

QW_JINJA_FILTER(filter_trim)
{
    qw_str s, chars;
    QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
    if (args->v[0].kind == QW_JINJA_ABSENT || args->v[0].kind == QW_JINJA_NONE) {
        QW_JINJA_TRY(qw_jinja_work(r, s.len));
        return give_str(out, qw_jinja_trim(s, true, true));
    }
    size_t work;
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "trim's characters", &chars));
    if (!qw_mul_size(&work, s.len, 1 + chars.len / 16)) work = SIZE_MAX;
    QW_JINJA_TRY(qw_jinja_work(r, work));
    return give_str(out, qw_jinja_trim_chars(s, chars, true, true));
}

static qw_status put(qw_jinja_run *r, qw_str s)
{
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    qw_buf_append(&r->out, s.ptr, s.len);
    return qw_jinja_check_output(r);
}

// The lines after the first (all, with `first`) moved right by `width` blanks or by that text;
// empty lines only with `blank`.
QW_JINJA_FILTER(filter_indent)
{
    qw_str s, indent;
    int64_t width = 4;
    bool first = qw_jinja_truth(&args->v[1]), blank = qw_jinja_truth(&args->v[2]);
    qw_jinja_list *lines;
    QW_JINJA_TRY(qw_jinja_arg_str(r, self, "indent's text", &s));
    if (args->v[0].kind == QW_JINJA_STRING) {
        indent = args->v[0].str;
    } else {
        QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[0], "indent's width", &width));
        QW_JINJA_TRY(qw_jinja_repeat(r, QW_STR(" "), width, &indent));
    }
    QW_JINJA_TRY(qw_jinja_concat(r, s, QW_STR("\n"), &s)); // keeps a last empty line
    QW_JINJA_TRY(qw_jinja_str_splitlines(r, s, false, &lines));
    size_t start = r->out.len;
    for (size_t i = 0; i < lines->n; i++) {
        qw_str line = lines->items[i].str;
        if (i) QW_JINJA_TRY(put(r, QW_STR("\n")));
        if (i == 0 ? first : blank || line.len > 0) QW_JINJA_TRY(put(r, indent));
        QW_JINJA_TRY(put(r, line));
    }
    QW_JINJA_TRY(qw_jinja_capture(r, start, &s));
    return give_str(out, s);
}

QW_JINJA_FILTER(filter_center)
{
    qw_str s;
    int64_t width = 80;
    QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[0], "center's width", &width));
    QW_JINJA_TRY(qw_jinja_str_pad(r, s, width, QW_STR(" "), 'c', &s));
    return give_str(out, s);
}

// ---- replace, format, cut

QW_JINJA_FILTER(filter_replace)
{
    qw_str s, old, new_text;
    int64_t count = -1;
    QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
    QW_JINJA_TRY(qw_jinja_to_str(r, &args->v[0], &old));
    QW_JINJA_TRY(qw_jinja_to_str(r, &args->v[1], &new_text));
    if (args->v[2].kind != QW_JINJA_NONE)
        QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[2], "replace's count", &count));
    QW_JINJA_TRY(qw_jinja_str_replace(r, s, old, new_text, count, &s));
    return give_str(out, s);
}

// "text" % the arguments: positional ones as a tuple, or keywords as a dict.
QW_JINJA_FILTER(filter_format)
{
    qw_str s;
    QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
    if (args->n_pos && args->n_kw)
        return qw_jinja_fail(r, "can't handle positional and keyword arguments at the same time");
    qw_jinja_value operand;
    if (args->n_kw) {
        qw_jinja_dict *d = qw_jinja_dict_new(r);
        if (!d) return qw_jinja_failure(r);
        for (size_t i = 0; i < args->n_kw; i++) {
            qw_jinja_value key = qw_jinja_string(args->kw[i].name);
            QW_JINJA_TRY(qw_jinja_dict_put(r, d, &key, &args->kw[i].value));
        }
        operand = (qw_jinja_value){.kind = QW_JINJA_DICT, .dict = d};
    } else {
        qw_jinja_list *list = qw_jinja_list_new(r, args->n_pos);
        if (!list) return qw_jinja_failure(r);
        if (args->n_pos) memcpy(list->items, args->pos, args->n_pos * sizeof *args->pos);
        list->n = args->n_pos;
        operand = qw_jinja_sequence(QW_JINJA_TUPLE, list);
    }
    QW_JINJA_TRY(qw_jinja_format_percent(r, s, &operand, &s));
    return give_str(out, s);
}

QW_JINJA_FILTER(filter_truncate)
{
    qw_str s, end = QW_STR("...");
    int64_t length = 255, leeway = 5;
    if (self->kind == QW_JINJA_UNDEFINED) { // is short enough
        *out = *self;
        return QW_OK;
    }
    QW_JINJA_TRY(qw_jinja_arg_str(r, self, "truncate's text", &s));
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[0], "truncate's length", &length));
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[2], "truncate's end", &end));
    if (args->v[3].kind != QW_JINJA_NONE)
        QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[3], "truncate's leeway", &leeway));
    int64_t n = (int64_t)qw_jinja_text_len(s), keep = length - (int64_t)qw_jinja_text_len(end),
            most;
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    if (keep < 0)
        return qw_jinja_fail(r, "truncate's length is smaller than the length of its end");
    if (leeway < 0) return qw_jinja_fail(r, "truncate's leeway must not be negative");
    if (__builtin_add_overflow(length, leeway, &most) || n <= most) return give_str(out, s);
    s = qw_jinja_sub(s, 0, qw_jinja_text_offset(s, (size_t)keep));
    if (!qw_jinja_truth(&args->v[1])) { // drop the word that was cut
        size_t cut = s.len;
        while (cut > 0 && s.ptr[cut - 1] != ' ') cut--;
        if (cut > 0) s = qw_jinja_sub(s, 0, cut - 1);
    }
    QW_JINJA_TRY(qw_jinja_concat(r, s, end, &s));
    return give_str(out, s);
}

QW_JINJA_FILTER(filter_wordcount)
{
    (void)args;
    qw_str s;
    int64_t n = 0;
    bool in_word = false;
    QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    for (size_t pos = 0; pos < s.len;) {
        int32_t c = qw_utf8_next(s, &pos);
        bool is_word = c == '_' || qw_jinja_is_alpha(c) || qw_jinja_is_digit(c);
        n += is_word && !in_word;
        in_word = is_word;
    }
    *out = qw_jinja_int(n);
    return QW_OK;
}

// ---- escaping

static const char *html_entity(char c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&#34;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

QW_JINJA_FILTER(filter_escape)
{
    (void)args;
    qw_str s;
    QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    size_t start = r->out.len, from = 0;
    for (size_t i = 0; i < s.len; i++) {
        const char *entity = html_entity(s.ptr[i]);
        if (!entity) continue;
        qw_buf_append(&r->out, s.ptr + from, i - from);
        qw_buf_puts(&r->out, entity);
        from = i + 1;
    }
    qw_buf_append(&r->out, s.ptr + from, s.len - from);
    QW_JINJA_TRY(qw_jinja_capture(r, start, &s));
    return give_str(out, s);
}

// Without autoescape there is no marked-up text: both of these only make a string.
QW_JINJA_FILTER(filter_string)
{
    (void)args;
    qw_str s;
    QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
    return give_str(out, s);
}

static qw_status put_quoted(qw_jinja_run *r, qw_str s, bool is_path)
{
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '.' || c == '-' || c == '~' || (is_path && c == '/');
        if (safe)
            qw_buf_putc(&r->out, c);
        else if (c == ' ' && !is_path) // in a query
            qw_buf_putc(&r->out, '+');
        else
            qw_buf_printf(&r->out, "%%%02X", (unsigned)(unsigned char)c);
    }
    return qw_jinja_check_output(r);
}

// A text, or pairs (a dict's too) as the query of a URL.
QW_JINJA_FILTER(filter_urlencode)
{
    (void)args;
    size_t start = r->out.len, n, two;
    qw_str s;
    if (self->kind == QW_JINJA_DICT || self->kind == QW_JINJA_LIST ||
        self->kind == QW_JINJA_TUPLE || self->kind == QW_JINJA_VIEW) {
        const qw_jinja_value *items, *pair;
        qw_jinja_value pairs = *self;
        if (self->kind == QW_JINJA_DICT) {
            const qw_jinja_builtin *method = qw_jinja_find_method(self, QW_STR("items"));
            QW_JINJA_TRY(qw_jinja_call_builtin(r, method, self, &(qw_jinja_args){0}, &pairs));
        }
        QW_JINJA_TRY(qw_jinja_iterate(r, &pairs, &items, &n));
        for (size_t i = 0; i < n; i++) {
            QW_JINJA_TRY(qw_jinja_iterate(r, &items[i], &pair, &two));
            if (two != 2) return qw_jinja_fail(r, "urlencode needs pairs");
            if (i) qw_buf_putc(&r->out, '&');
            for (int k = 0; k < 2; k++) {
                QW_JINJA_TRY(qw_jinja_to_str(r, &pair[k], &s));
                if (k) qw_buf_putc(&r->out, '=');
                QW_JINJA_TRY(put_quoted(r, s, false));
            }
        }
    } else {
        QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
        QW_JINJA_TRY(put_quoted(r, s, true));
    }
    QW_JINJA_TRY(qw_jinja_capture(r, start, &s));
    return give_str(out, s);
}

// Position after the HTML comment or tag at `pos`, `pos` itself if none ends there.
static size_t skip_markup(qw_str s, size_t pos)
{
    bool comment = s.len - pos >= 4 && memcmp(s.ptr + pos, "<!--", 4) == 0;
    size_t end = qw_jinja_find(s, comment ? QW_STR("-->") : QW_STR(">"), pos);
    return end == SIZE_MAX ? pos : end + (comment ? 3 : 1);
}

// Tags and comments removed, entities of the five special characters resolved, runs of white space
// made one blank.
QW_JINJA_FILTER(filter_striptags)
{
    (void)args;
    static const struct {
        const char *entity, *text;
    } entities[] = {{"&lt;", "<"},   {"&gt;", ">"},  {"&quot;", "\""},
                    {"&#34;", "\""}, {"&#39;", "'"}, {"&amp;", "&"}};
    qw_str s;
    qw_jinja_list *words;
    QW_JINJA_TRY(qw_jinja_to_str(r, self, &s));
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    size_t start = r->out.len;
    bool more = true; // once no '>' follows, no later '<' needs another look
    for (size_t pos = 0; pos < s.len;) {
        size_t end = more && s.ptr[pos] == '<' ? skip_markup(s, pos) : pos;
        if (end > pos) {
            pos = end;
            continue;
        }
        if (s.ptr[pos] == '<') more = false;
        qw_buf_putc(&r->out, s.ptr[pos++]);
    }
    QW_JINJA_TRY(qw_jinja_capture(r, start, &s));
    for (size_t i = 0; i < QW_ARRAY_LEN(entities); i++)
        QW_JINJA_TRY(qw_jinja_str_replace(r, s, qw_str_of(entities[i].entity),
                                          qw_str_of(entities[i].text), -1, &s));
    QW_JINJA_TRY(qw_jinja_str_split(r, s, NULL, -1, false, &words));
    QW_JINJA_TRY(qw_jinja_str_join(r, QW_STR(" "), words->items, words->n, false, &s));
    return give_str(out, s);
}

// ---- numbers

// int() of Python on text: white space around, an optional sign, single underscores.
static bool parse_int(qw_str s, int base, int64_t *out)
{
    s = qw_jinja_trim(s, true, true);
    size_t i = 0;
    bool negative = false, digit = false;
    if (i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-')) negative = s.ptr[i++] == '-';
    if (i + 1 < s.len && s.ptr[i] == '0') {
        int letter = s.ptr[i + 1] | 0x20;
        int own = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
        if (own && (base == own || base == 0)) {
            base = own;
            i += 2;
        }
    }
    if (base == 0) base = 10;
    int64_t value = 0;
    for (; i < s.len; i++) {
        int c = (unsigned char)s.ptr[i];
        if (c == '_' && digit && i + 1 < s.len && s.ptr[i + 1] != '_') continue;
        int d = c >= '0' && c <= '9'                     ? c - '0'
                : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10
                                                         : 99;
        if (d >= base) return false;
        digit = true;
        if (__builtin_mul_overflow(value, (int64_t)base, &value) ||
            __builtin_sub_overflow(value, (int64_t)d, &value))
            return false;
    }
    if (!digit || (!negative && value == INT64_MIN)) return false;
    *out = negative ? value : -value;
    return true;
}

static bool parse_float(qw_str s, double *out)
{
    s = qw_jinja_trim(s, true, true);
    if (qw_str_is(s, "inf") || qw_str_is(s, "infinity")) {
        *out = __builtin_inf();
        return true;
    }
    return qw_str_to_f64(s, out);
}

QW_JINJA_FILTER(filter_int)
{
    int64_t base = 10, i = 0;
    double f;
    qw_jinja_value fallback = args->v[0].kind == QW_JINJA_ABSENT ? qw_jinja_int(0) : args->v[0];
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[1], "int's base", &base));
    if (base != 0 && (base < 2 || base > 36))
        return qw_jinja_fail(r, "int() base must be >= 2 and <= 36, or 0");
    if (self->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, self);
    bool ok = true;
    if (qw_jinja_is_integral(self)) {
        i = qw_jinja_as_int(self);
    } else if (self->kind == QW_JINJA_FLOAT || self->kind == QW_JINJA_STRING) {
        QW_JINJA_TRY(qw_jinja_work(r, self->kind == QW_JINJA_STRING ? self->str.len : 0));
        if (self->kind == QW_JINJA_FLOAT) {
            f = self->real;
            ok = false;
        } else {
            ok = parse_int(self->str, (int)base, &i);
        }
        if (!ok && (self->kind == QW_JINJA_FLOAT || parse_float(self->str, &f))) {
            ok = f > -9.2e18 && f < 9.2e18; // false for NaN and infinities too
            if (ok) i = (int64_t)f;
        }
    } else {
        ok = false;
    }
    *out = ok ? qw_jinja_int(i) : fallback;
    return QW_OK;
}

QW_JINJA_FILTER(filter_float)
{
    double f = 0;
    qw_jinja_value fallback = args->v[0].kind == QW_JINJA_ABSENT ? qw_jinja_float(0) : args->v[0];
    if (self->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, self);
    if (qw_jinja_is_number(self))
        *out = qw_jinja_float(qw_jinja_as_double(self));
    else if (self->kind == QW_JINJA_STRING && parse_float(self->str, &f))
        *out = qw_jinja_float(f);
    else
        *out = fallback;
    return QW_OK;
}

QW_JINJA_FILTER(filter_abs)
{
    (void)args;
    if (self->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, self);
    if (!qw_jinja_is_number(self))
        return qw_jinja_fail(r, "bad operand type for abs(): '%s'", qw_jinja_type_name(self));
    if (self->kind == QW_JINJA_FLOAT) {
        *out = qw_jinja_float(fabs(self->real));
        return QW_OK;
    }
    int64_t i = qw_jinja_as_int(self);
    if (i == INT64_MIN)
        return qw_jinja_fail(r, "the result of integer arithmetic does not fit in 64 bits");
    *out = qw_jinja_int(i < 0 ? -i : i);
    return QW_OK;
}

// Round half to even on the exact decimal value, as Python does: printf rounds that way.
static double round_half_even(double value, int64_t digits)
{
    if (!isfinite(value)) return value;
    if (digits >= 0) {
        char text[700];
        double result;
        if (digits > 330) return value; // no double has more decimals that matter
        int n = snprintf(text, sizeof text, "%.*f", (int)digits, value);
        for (char *p = text; *p; p++)
            if (*p == ',') *p = '.';
        // Beyond what qw_str_to_f64 takes, the number is so large that it has no decimals.
        return qw_str_to_f64((qw_str){text, (size_t)n}, &result) ? result : value;
    }
    double unit = pow(10, (double)-digits);
    return isfinite(unit) ? nearbyint(value / unit) * unit : 0;
}

QW_JINJA_FILTER(filter_round)
{
    int64_t precision = 0;
    qw_str method = QW_STR("common");
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[0], "round's precision", &precision));
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[1], "round's method", &method));
    if (self->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, self);
    if (!qw_jinja_is_number(self))
        return qw_jinja_fail(r, "type %s doesn't define __round__ method",
                             qw_jinja_type_name(self));
    if (qw_str_is(method, "common")) {
        if (qw_jinja_is_integral(self) && precision >= 0)
            *out = qw_jinja_int(qw_jinja_as_int(self));
        else
            *out = qw_jinja_float(round_half_even(qw_jinja_as_double(self), precision));
        if (qw_jinja_is_integral(self) && precision < 0) *out = qw_jinja_int((int64_t)out->real);
        return QW_OK;
    }
    bool up = qw_str_is(method, "ceil");
    if (!up && !qw_str_is(method, "floor"))
        return qw_jinja_fail(r, "round's method must be common, ceil or floor");
    double unit = pow(10, (double)precision), scaled = qw_jinja_as_double(self) * unit;
    double result = (up ? ceil(scaled) : floor(scaled)) / unit;
    if (!isfinite(result)) return qw_jinja_fail(r, "round's precision is out of range");
    *out = qw_jinja_float(result);
    return QW_OK;
}

// ---- the rest

QW_JINJA_FILTER(filter_length)
{
    (void)args;
    size_t n;
    bool has;
    QW_JINJA_TRY(qw_jinja_length(r, self, &n, &has));
    if (!has) return qw_jinja_fail(r, "object of type '%s' has no len()", qw_jinja_type_name(self));
    *out = qw_jinja_int((int64_t)n);
    return QW_OK;
}

QW_JINJA_FILTER(filter_default)
{
    (void)r;
    bool use_default =
        self->kind == QW_JINJA_UNDEFINED || (qw_jinja_truth(&args->v[1]) && !qw_jinja_truth(self));
    *out = !use_default                         ? *self
           : args->v[0].kind == QW_JINJA_ABSENT ? qw_jinja_text("")
                                                : args->v[0];
    return QW_OK;
}

// Only attributes, no items.
QW_JINJA_FILTER(filter_attr)
{
    qw_str name = {"", 0};
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "attr's name", &name));
    if (self->kind != QW_JINJA_DICT) return qw_jinja_get_attr(r, self, name, out);
    const qw_jinja_builtin *method = qw_jinja_find_method(self, name);
    if (method) return qw_jinja_get_attr(r, self, name, out);
    *out = (qw_jinja_value){.kind = QW_JINJA_UNDEFINED,
                            .missing = QW_JINJA_MISSING_ATTR,
                            .owner = self->kind,
                            .str = name};
    return QW_OK;
}

// json.dumps(value, ensure_ascii, indent, separators, sort_keys)
QW_JINJA_FILTER(filter_tojson)
{
    qw_jinja_json_style style = {
        .ensure_ascii = qw_jinja_truth(&args->v[0]),
        .sort_keys = qw_jinja_truth(&args->v[3]),
        .item_separator = QW_STR(", "),
        .key_separator = QW_STR(": "),
    };
    const qw_jinja_value *indent = &args->v[1], *separators = &args->v[2];
    if (indent->kind != QW_JINJA_ABSENT && indent->kind != QW_JINJA_NONE) {
        int64_t width = 0;
        style.has_indent = true;
        style.item_separator = QW_STR(",");
        if (indent->kind == QW_JINJA_STRING) {
            style.indent = indent->str;
        } else {
            QW_JINJA_TRY(qw_jinja_arg_int(r, indent, "tojson's indent", &width));
            QW_JINJA_TRY(qw_jinja_repeat(r, QW_STR(" "), width, &style.indent));
        }
    }
    if (separators->kind != QW_JINJA_ABSENT && separators->kind != QW_JINJA_NONE) {
        const qw_jinja_value *items;
        size_t n;
        QW_JINJA_TRY(qw_jinja_iterate(r, separators, &items, &n));
        if (n != 2) return qw_jinja_fail(r, "tojson's separators must be a pair");
        QW_JINJA_TRY(
            qw_jinja_arg_str(r, &items[0], "tojson's item separator", &style.item_separator));
        QW_JINJA_TRY(
            qw_jinja_arg_str(r, &items[1], "tojson's key separator", &style.key_separator));
    }
    size_t start = r->out.len;
    qw_str s;
    QW_JINJA_TRY(qw_jinja_write_json(r, self, &style));
    QW_JINJA_TRY(qw_jinja_capture(r, start, &s));
    return give_str(out, s);
}

static const qw_jinja_builtin value_filters[] = {
    {"length", "", filter_length},
    {"count", "", filter_length},
    {"tojson", "ensure_ascii? indent? separators? sort_keys?", filter_tojson},
    {"trim", "chars?", filter_trim},
    {"default", "default_value? boolean?", filter_default},
    {"d", "default_value? boolean?", filter_default},
    {"lower", "", filter_lower},
    {"upper", "", filter_upper},
    {"title", "", filter_title},
    {"capitalize", "", filter_capitalize},
    {"replace", "old new count?", filter_replace},
    {"string", "", filter_string},
    {"safe", "", filter_string},
    {"int", "default? base?", filter_int},
    {"float", "default?", filter_float},
    {"round", "precision? method?", filter_round},
    {"abs", "", filter_abs},
    {"indent", "width? first? blank?", filter_indent},
    {"escape", "", filter_escape},
    {"e", "", filter_escape},
    {"forceescape", "", filter_escape},
    {"wordcount", "", filter_wordcount},
    {"format", NULL, filter_format},
    {"attr", "name", filter_attr},
    {"center", "width?", filter_center},
    {"truncate", "length? killwords? end? leeway?", filter_truncate},
    {"urlencode", "", filter_urlencode},
    {"striptags", "", filter_striptags},
    {NULL, NULL, NULL},
};

const qw_jinja_builtin *qw_jinja_find_filter(qw_str name)
{
    const qw_jinja_builtin *b = qw_jinja_find_builtin(value_filters, name);
    return b ? b : qw_jinja_find_builtin(qw_jinja_sequence_filters, name);
}
