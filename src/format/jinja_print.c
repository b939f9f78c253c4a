// Values as text: Python's str and repr, and json.dumps. All three append to the run's output, so
// that a value printed by {{ }} is written once.

#include "format/jinja_value.h"

#include <math.h>

#include "format/json.h"
#include "format/jinja_internal.h"
#include "format/jinja_text.h"

static qw_status put(qw_jinja_run *r, const char *text, size_t len)
{
    QW_JINJA_TRY(qw_jinja_work(r, len));
    qw_buf_append(&r->out, text, len);
    return qw_jinja_check_output(r);
}

static qw_status puts_literal(qw_jinja_run *r, const char *text)
{
    return put(r, text, strlen(text));
}

static void write_float(qw_buf *b, double value)
{
    char text[32];
    qw_buf_append(b, text, (size_t)qw_str_from_f64(text, value));
}

// ---- repr

static void write_escaped(qw_buf *b, int32_t c)
{
    if (c == '\n')
        qw_buf_puts(b, "\\n");
    else if (c == '\r')
        qw_buf_puts(b, "\\r");
    else if (c == '\t')
        qw_buf_puts(b, "\\t");
    else if (c < 0x100)
        qw_buf_printf(b, "\\x%02x", (unsigned)c);
    else if (c < 0x10000)
        qw_buf_printf(b, "\\u%04x", (unsigned)c);
    else
        qw_buf_printf(b, "\\U%08x", (unsigned)c);
}

static qw_status repr_string(qw_jinja_run *r, qw_str s)
{
    qw_buf *b = &r->out;
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    bool double_quotes =
        qw_str_find(s, QW_STR("'"), 0) != SIZE_MAX && qw_str_find(s, QW_STR("\""), 0) == SIZE_MAX;
    char quote = double_quotes ? '"' : '\'';
    qw_buf_putc(b, quote);
    for (size_t pos = 0; pos < s.len;) {
        size_t start = pos;
        int32_t c = qw_utf8_next(s, &pos);
        if (c == quote || c == '\\') {
            qw_buf_putc(b, '\\');
            qw_buf_putc(b, (char)c);
        } else if (qw_jinja_is_printable(c)) {
            qw_buf_append(b, s.ptr + start, pos - start);
        } else {
            write_escaped(b, c);
        }
    }
    qw_buf_putc(b, quote);
    return qw_jinja_check_output(r);
}

static qw_status repr_bytes(qw_jinja_run *r, qw_str s)
{
    qw_buf *b = &r->out;
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    bool double_quotes =
        qw_str_find(s, QW_STR("'"), 0) != SIZE_MAX && qw_str_find(s, QW_STR("\""), 0) == SIZE_MAX;
    char quote = double_quotes ? '"' : '\'';
    qw_buf_putc(b, 'b');
    qw_buf_putc(b, quote);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == (unsigned char)quote || c == '\\') qw_buf_putc(b, '\\');
        if (c >= 0x20 && c < 0x7F)
            qw_buf_putc(b, (char)c);
        else
            write_escaped(b, c);
    }
    qw_buf_putc(b, quote);
    return qw_jinja_check_output(r);
}

static qw_status repr_items(qw_jinja_run *r, qw_jinja_list *list, const char *open,
                            const char *close)
{
    const qw_jinja_value *items;
    size_t n;
    QW_JINJA_TRY(qw_jinja_items(r, list, &items, &n));
    QW_JINJA_TRY(puts_literal(r, open));
    for (size_t i = 0; i < n; i++) {
        if (i) QW_JINJA_TRY(puts_literal(r, ", "));
        QW_JINJA_TRY(qw_jinja_write_repr(r, &items[i]));
    }
    if (n == 1 && *close == ')') QW_JINJA_TRY(puts_literal(r, ","));
    return puts_literal(r, close);
}

static qw_status repr_dict(qw_jinja_run *r, qw_jinja_dict *d)
{
    const qw_jinja_entry *entries;
    size_t n;
    QW_JINJA_TRY(qw_jinja_entries(r, d, &entries, &n));
    QW_JINJA_TRY(puts_literal(r, "{"));
    for (size_t i = 0; i < n; i++) {
        if (i) QW_JINJA_TRY(puts_literal(r, ", "));
        QW_JINJA_TRY(qw_jinja_write_repr(r, &entries[i].key));
        QW_JINJA_TRY(puts_literal(r, ": "));
        QW_JINJA_TRY(qw_jinja_write_repr(r, &entries[i].value));
    }
    return puts_literal(r, "}");
}

static qw_status repr_range(qw_jinja_run *r, const qw_jinja_range *range)
{
    qw_buf_printf(&r->out, "range(%" PRId64 ", %" PRId64, range->start, range->stop);
    if (range->step != 1) qw_buf_printf(&r->out, ", %" PRId64, range->step);
    return puts_literal(r, ")");
}

static qw_status repr_container(qw_jinja_run *r, const qw_jinja_value *v)
{
    switch ((qw_jinja_kind)v->kind) {
    case QW_JINJA_LIST: return repr_items(r, v->list, "[", "]");
    case QW_JINJA_TUPLE: return repr_items(r, v->list, "(", ")");
    case QW_JINJA_VIEW:
        QW_JINJA_TRY(puts_literal(r, v->list->view));
        return repr_items(r, v->list, "([", "])");
    case QW_JINJA_DICT: return repr_dict(r, v->dict);
    default:
        QW_JINJA_TRY(puts_literal(r, "<Namespace "));
        QW_JINJA_TRY(repr_dict(r, v->dict));
        return puts_literal(r, ">");
    }
}

// Objects that only have an identity. Python prints an address for some; nothing here does.
static qw_status repr_object(qw_jinja_run *r, const qw_jinja_value *v)
{
    qw_buf *b = &r->out;
    if (v->kind == QW_JINJA_MACRO) {
        qw_str name = v->macro->stmt->text;
        qw_buf_puts(b, "<Macro '");
        qw_buf_append(b, name.ptr, name.len);
        qw_buf_puts(b, "'>");
    } else if (v->kind == QW_JINJA_FUNCTION) {
        qw_buf_printf(b, "<function %s>", v->builtin->name);
    } else if (v->kind == QW_JINJA_METHOD) {
        qw_buf_printf(b, "<built-in method %s of %s object>", v->method->builtin->name,
                      qw_jinja_type_name(&v->method->self));
    } else {
        qw_buf_printf(b, "<%s object>", qw_jinja_type_name(v));
    }
    return qw_jinja_check_output(r);
}

qw_status qw_jinja_write_repr(qw_jinja_run *r, const qw_jinja_value *v)
{
    QW_JINJA_TRY(qw_jinja_step(r, 1));
    switch ((qw_jinja_kind)v->kind) {
    case QW_JINJA_ABSENT:
    case QW_JINJA_UNDEFINED: return puts_literal(r, "Undefined");
    case QW_JINJA_NONE: return puts_literal(r, "None");
    case QW_JINJA_BOOL: return puts_literal(r, v->boolean ? "True" : "False");
    case QW_JINJA_INT:
        qw_buf_printf(&r->out, "%" PRId64, v->integer);
        return qw_jinja_check_output(r);
    case QW_JINJA_BIGINT: return put(r, v->str.ptr, v->str.len);
    case QW_JINJA_FLOAT: write_float(&r->out, v->real); return qw_jinja_check_output(r);
    case QW_JINJA_STRING: return repr_string(r, v->str);
    case QW_JINJA_BYTES: return repr_bytes(r, v->str);
    case QW_JINJA_RANGE: return repr_range(r, v->range);
    case QW_JINJA_LIST:
    case QW_JINJA_TUPLE:
    case QW_JINJA_VIEW:
    case QW_JINJA_DICT:
    case QW_JINJA_NAMESPACE:
        QW_JINJA_TRY(qw_jinja_enter(r));
        QW_JINJA_TRY(repr_container(r, v));
        qw_jinja_leave(r);
        return QW_OK;
    default: return repr_object(r, v);
    }
}

qw_status qw_jinja_write(qw_jinja_run *r, const qw_jinja_value *v)
{
    if (v->kind == QW_JINJA_STRING) return put(r, v->str.ptr, v->str.len);
    if (v->kind == QW_JINJA_UNDEFINED || v->kind == QW_JINJA_ABSENT) return QW_OK;
    return qw_jinja_write_repr(r, v);
}

qw_status qw_jinja_to_str(qw_jinja_run *r, const qw_jinja_value *v, qw_str *out)
{
    if (v->kind == QW_JINJA_STRING) {
        *out = v->str;
        return QW_OK;
    }
    size_t start = r->out.len;
    QW_JINJA_TRY(qw_jinja_write(r, v));
    return qw_jinja_capture(r, start, out);
}

// ---- json.dumps

static void dump_ascii_string(qw_buf *b, qw_str s)
{
    qw_buf_putc(b, '"');
    for (size_t pos = 0; pos < s.len;) {
        int32_t c = qw_utf8_next(s, &pos);
        static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
        const char *hit = NULL;
        for (const char *p = named; *p; p += 2)
            if (*p == c) hit = p;
        if (hit) {
            qw_buf_putc(b, '\\');
            qw_buf_putc(b, hit[1]);
        } else if (c >= 0x20 && c <= 0x7F) {
            qw_buf_putc(b, (char)c);
        } else if (c < 0x10000) {
            qw_buf_printf(b, "\\u%04x", (unsigned)c);
        } else { // a surrogate pair
            uint32_t rest = (uint32_t)c - 0x10000;
            qw_buf_printf(b, "\\u%04x\\u%04x", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
        }
    }
    qw_buf_putc(b, '"');
}

static qw_status dump_string(qw_jinja_run *r, qw_str s, const qw_jinja_json_style *style)
{
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    if (style->ensure_ascii)
        dump_ascii_string(&r->out, s);
    else
        qw_json_write_string(&r->out, s);
    return qw_jinja_check_output(r);
}

// A key: strings as they are; numbers, true and null spelled as their value, in quotes.
static qw_status dump_key(qw_jinja_run *r, const qw_jinja_value *key,
                          const qw_jinja_json_style *style)
{
    qw_buf *b = &r->out;
    if (key->kind == QW_JINJA_STRING) return dump_string(r, key->str, style);
    qw_buf_putc(b, '"');
    switch ((qw_jinja_kind)key->kind) {
    case QW_JINJA_NONE: qw_buf_puts(b, "null"); break;
    case QW_JINJA_BOOL: qw_buf_puts(b, key->boolean ? "true" : "false"); break;
    case QW_JINJA_INT: qw_buf_printf(b, "%" PRId64, key->integer); break;
    case QW_JINJA_BIGINT: qw_buf_append(b, key->str.ptr, key->str.len); break;
    case QW_JINJA_FLOAT: qw_json_write_f64(b, key->real); break;
    default:
        return qw_jinja_fail(r, "keys must be str, int, float, bool or None, not %s",
                             qw_jinja_type_name(key));
    }
    qw_buf_putc(b, '"');
    return qw_jinja_check_output(r);
}

static qw_status dump_newline(qw_jinja_run *r, const qw_jinja_json_style *style, int level)
{
    if (!style->has_indent) return QW_OK;
    QW_JINJA_TRY(puts_literal(r, "\n"));
    for (int i = 0; i < level; i++) QW_JINJA_TRY(put(r, style->indent.ptr, style->indent.len));
    return QW_OK;
}

static qw_status dump_value(qw_jinja_run *r, const qw_jinja_value *v,
                            const qw_jinja_json_style *style, int level);

static qw_status dump_list(qw_jinja_run *r, qw_jinja_list *list, const qw_jinja_json_style *style,
                           int level)
{
    const qw_jinja_value *items;
    size_t n;
    QW_JINJA_TRY(qw_jinja_items(r, list, &items, &n));
    if (n == 0) return puts_literal(r, "[]");
    QW_JINJA_TRY(puts_literal(r, "["));
    for (size_t i = 0; i < n; i++) {
        if (i) QW_JINJA_TRY(put(r, style->item_separator.ptr, style->item_separator.len));
        QW_JINJA_TRY(dump_newline(r, style, level + 1));
        QW_JINJA_TRY(dump_value(r, &items[i], style, level + 1));
    }
    QW_JINJA_TRY(dump_newline(r, style, level));
    return puts_literal(r, "]");
}

// The entries by ascending key.
static qw_status sorted_entries(qw_jinja_run *r, const qw_jinja_entry **entries, size_t n)
{
    qw_jinja_value *keys = qw_jinja_alloc(r, n, sizeof *keys);
    qw_jinja_value *numbers = qw_jinja_alloc(r, n, sizeof *numbers);
    qw_jinja_entry *sorted = qw_jinja_alloc(r, n, sizeof *sorted);
    if (!keys || !numbers || !sorted) return qw_jinja_failure(r);
    for (size_t i = 0; i < n; i++) {
        keys[i] = (*entries)[i].key;
        numbers[i] = qw_jinja_int((int64_t)i);
    }
    QW_JINJA_TRY(qw_jinja_sort(r, numbers, keys, n, false));
    for (size_t i = 0; i < n; i++) sorted[i] = (*entries)[numbers[i].integer];
    *entries = sorted;
    return QW_OK;
}

static qw_status dump_dict(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_json_style *style,
                           int level)
{
    const qw_jinja_entry *entries;
    size_t n;
    QW_JINJA_TRY(qw_jinja_entries(r, d, &entries, &n));
    if (n == 0) return puts_literal(r, "{}");
    if (style->sort_keys) QW_JINJA_TRY(sorted_entries(r, &entries, n));
    QW_JINJA_TRY(puts_literal(r, "{"));
    for (size_t i = 0; i < n; i++) {
        if (i) QW_JINJA_TRY(put(r, style->item_separator.ptr, style->item_separator.len));
        QW_JINJA_TRY(dump_newline(r, style, level + 1));
        QW_JINJA_TRY(dump_key(r, &entries[i].key, style));
        QW_JINJA_TRY(put(r, style->key_separator.ptr, style->key_separator.len));
        QW_JINJA_TRY(dump_value(r, &entries[i].value, style, level + 1));
    }
    QW_JINJA_TRY(dump_newline(r, style, level));
    return puts_literal(r, "}");
}

static qw_status dump_value(qw_jinja_run *r, const qw_jinja_value *v,
                            const qw_jinja_json_style *style, int level)
{
    QW_JINJA_TRY(qw_jinja_step(r, 1));
    switch ((qw_jinja_kind)v->kind) {
    case QW_JINJA_NONE: return puts_literal(r, "null");
    case QW_JINJA_BOOL: return puts_literal(r, v->boolean ? "true" : "false");
    case QW_JINJA_INT:
    case QW_JINJA_BIGINT: return qw_jinja_write_repr(r, v);
    case QW_JINJA_FLOAT: qw_json_write_f64(&r->out, v->real); return qw_jinja_check_output(r);
    case QW_JINJA_STRING: return dump_string(r, v->str, style);
    case QW_JINJA_LIST:
    case QW_JINJA_TUPLE:
    case QW_JINJA_DICT:
        QW_JINJA_TRY(qw_jinja_enter(r));
        QW_JINJA_TRY(v->kind == QW_JINJA_DICT ? dump_dict(r, v->dict, style, level)
                                              : dump_list(r, v->list, style, level));
        qw_jinja_leave(r);
        return QW_OK;
    default:
        return qw_jinja_fail(r, "object of type %s is not JSON serializable",
                             qw_jinja_type_name(v));
    }
}

qw_status qw_jinja_write_json(qw_jinja_run *r, const qw_jinja_value *v,
                              const qw_jinja_json_style *style)
{
    return dump_value(r, v, style, 0);
}
