// Template text to tokens. The white space rules of trim_blocks and lstrip_blocks live here:
//
//   {%- -%} {{- -}} {#- -#}   all white space on that side goes, newlines included
//   {%+ +%} {#+ +#}           the automatic trimming of that side is off
//   before {% and {#          blanks go if nothing else stands before them on the line
//   after %} and #}           one newline goes; after }} nothing does
//
// Python's jinja2/lexer.py (3.1) is the reference.

#include "format/jinja_internal.h"

#include <stdarg.h>

#include "format/jinja_text.h"

#undef qw_jinja_syntax_error // defined here, whatever the header tells the analyzer
qw_status qw_jinja_syntax_error(qw_error *err, int line, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return qw_fail(err, QW_ERR_FORMAT, "line %d: %s", line, text);
}

void qw_jinja_lexer_init(qw_jinja_lexer *lx, qw_str source, qw_arena *arena, qw_error *err)
{
    *lx = (qw_jinja_lexer){
        .source = source, .line = 1, .line_starting = true, .arena = arena, .err = err};
}

static bool at(const qw_jinja_lexer *lx, size_t pos, const char *text)
{
    size_t n = strlen(text);
    return pos <= lx->source.len && lx->source.len - pos >= n &&
           memcmp(lx->source.ptr + pos, text, n) == 0;
}

static size_t skip_space(const qw_jinja_lexer *lx, size_t pos)
{
    while (pos < lx->source.len) {
        size_t next = pos;
        if (!qw_jinja_is_space(qw_utf8_next(lx->source, &next))) break;
        pos = next;
    }
    return pos;
}

// Move to `to`, counting lines.
static void advance(qw_jinja_lexer *lx, size_t to)
{
    for (size_t i = lx->pos; i < to; i++) lx->line += lx->source.ptr[i] == '\n';
    if (to > lx->pos) lx->line_starting = lx->source.ptr[to - 1] == '\n';
    lx->pos = to;
}

// End of a closing tag that starts at `pos` ("%}", "-%}", "+%}" for `tag` "%}"), white space that
// it eats included; SIZE_MAX if there is none.
static size_t match_end(const qw_jinja_lexer *lx, size_t pos, const char *tag, bool is_print)
{
    if (at(lx, pos, tag)) {
        pos += 2;
        return !is_print && at(lx, pos, "\n") ? pos + 1 : pos;
    }
    if (at(lx, pos, "-") && at(lx, pos + 1, tag)) return skip_space(lx, pos + 3);
    if (!is_print && at(lx, pos, "+") && at(lx, pos + 1, tag)) return pos + 3;
    return SIZE_MAX;
}

// Cut the white space before a tag off `text`: `sign` is the character after the tag's opening.
static qw_str trim_before_tag(const qw_jinja_lexer *lx, qw_str text, char sign, bool is_print)
{
    if (sign == '-') return qw_jinja_trim(text, false, true);
    if (sign == '+' || is_print) return text;
    size_t line = text.len;
    while (line > 0 && text.ptr[line - 1] != '\n') line--;
    if (line == 0 && !lx->line_starting) return text;
    qw_str blanks = qw_jinja_sub(text, line, text.len);
    return qw_jinja_trim(blanks, true, false).len == 0 ? qw_jinja_sub(text, 0, line) : text;
}

// Position after "{% raw %}" if a raw block opens at `pos`, else SIZE_MAX.
static size_t match_raw_begin(const qw_jinja_lexer *lx, size_t pos)
{
    size_t p = pos + 2;
    if (at(lx, p, "-") || at(lx, p, "+")) p++;
    p = skip_space(lx, p);
    if (!at(lx, p, "raw")) return SIZE_MAX;
    p = skip_space(lx, p + 3);
    if (at(lx, p, "%}")) return p + 2; // trim_blocks does not apply to this tag
    return at(lx, p, "-%}") ? skip_space(lx, p + 3) : SIZE_MAX;
}

static bool emit_text(qw_jinja_token *out, int line, qw_str text)
{
    if (text.len == 0) return false;
    *out = (qw_jinja_token){.type = QW_JINJA_TOKEN_TEXT, .line = line, .text = text};
    return true;
}

// The body of a raw block, up to and with its endraw tag.
static qw_status next_in_raw(qw_jinja_lexer *lx, qw_jinja_token *out, bool *emitted)
{
    size_t start = lx->pos;
    for (size_t p = start; (p = qw_jinja_find(lx->source, QW_STR("{%"), p)) != SIZE_MAX; p += 2) {
        size_t q = p + 2;
        char sign = '\0';
        if (at(lx, q, "-") || at(lx, q, "+")) sign = lx->source.ptr[q++];
        q = skip_space(lx, q);
        if (!at(lx, q, "endraw")) continue;
        size_t end = match_end(lx, skip_space(lx, q + 6), "%}", false);
        if (end == SIZE_MAX) continue;
        qw_str text = trim_before_tag(lx, qw_jinja_sub(lx->source, start, p), sign, false);
        *emitted = emit_text(out, lx->line, text);
        advance(lx, end);
        lx->mode = QW_JINJA_IN_TEXT;
        return QW_OK;
    }
    return qw_jinja_syntax_error(lx->err, lx->line, "'{%% raw %%}' has no '{%% endraw %%}'");
}

// A comment whose text starts at `from`.
static qw_status skip_comment(qw_jinja_lexer *lx, size_t from)
{
    // The earliest "#}" closes, and a sign directly before it belongs to it.
    size_t p = qw_jinja_find(lx->source, QW_STR("#}"), from);
    if (p == SIZE_MAX)
        return qw_jinja_syntax_error(lx->err, lx->line, "the comment '{#' has no '#}'");
    size_t start = p;
    if (p > from && (at(lx, p - 1, "-") || at(lx, p - 1, "+"))) start = p - 1;
    advance(lx, match_end(lx, start, "#}", false));
    return QW_OK;
}

// Next opening tag at or after `pos`; SIZE_MAX if only text is left.
static size_t find_tag(const qw_jinja_lexer *lx, size_t pos)
{
    for (; (pos = qw_jinja_find(lx->source, QW_STR("{"), pos)) != SIZE_MAX; pos++)
        if (at(lx, pos, "{{") || at(lx, pos, "{%") || at(lx, pos, "{#")) return pos;
    return SIZE_MAX;
}

static qw_status next_in_text(qw_jinja_lexer *lx, qw_jinja_token *out, bool *emitted)
{
    size_t start = lx->pos, tag = find_tag(lx, start);
    int line = lx->line;
    if (tag == SIZE_MAX) {
        advance(lx, lx->source.len);
        *emitted = emit_text(out, line, qw_jinja_sub(lx->source, start, lx->source.len));
        return QW_OK;
    }
    char kind = lx->source.ptr[tag + 1];
    char sign = tag + 2 < lx->source.len ? lx->source.ptr[tag + 2] : '\0';
    qw_str text = trim_before_tag(lx, qw_jinja_sub(lx->source, start, tag), sign, kind == '{');
    *emitted = emit_text(out, line, text);
    advance(lx, tag);
    size_t after = tag + 2 + (sign == '-' || sign == '+');
    if (kind == '#') return skip_comment(lx, after);
    size_t raw = kind == '%' ? match_raw_begin(lx, tag) : SIZE_MAX;
    if (raw != SIZE_MAX) {
        advance(lx, raw);
        lx->mode = QW_JINJA_IN_RAW;
        return QW_OK;
    }
    lx->mode = kind == '{' ? QW_JINJA_IN_PRINT : QW_JINJA_IN_BLOCK;
    lx->pending = kind == '{' ? QW_JINJA_TOKEN_PRINT_BEGIN : QW_JINJA_TOKEN_BLOCK_BEGIN;
    lx->pending_from = tag;
    lx->pending_to = after;
    return QW_OK;
}

// ---- numbers

static bool digit_of_base(char c, int base)
{
    if (c >= '0' && c <= '9') return c - '0' < base;
    return base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
}

// Position after a run of digits with single underscores between them; `pos` if there is none.
static size_t skip_digits(const qw_jinja_lexer *lx, size_t pos, int base)
{
    const char *s = lx->source.ptr;
    size_t p = pos;
    while (p < lx->source.len) {
        bool is_separator =
            s[p] == '_' && p > pos && p + 1 < lx->source.len && digit_of_base(s[p + 1], base);
        if (!is_separator && !digit_of_base(s[p], base)) break;
        p++;
    }
    return p;
}

static size_t skip_fraction(const qw_jinja_lexer *lx, size_t pos)
{
    if (!at(lx, pos, ".")) return pos;
    size_t end = skip_digits(lx, pos + 1, 10);
    return end > pos + 1 ? end : pos;
}

static size_t skip_exponent(const qw_jinja_lexer *lx, size_t pos)
{
    if (!at(lx, pos, "e") && !at(lx, pos, "E")) return pos;
    size_t p = pos + 1;
    if (at(lx, p, "+") || at(lx, p, "-")) p++;
    size_t end = skip_digits(lx, p, 10);
    return end > p ? end : pos;
}

// The integer literal [from, to) without underscores.
static qw_status integer_value(qw_jinja_lexer *lx, size_t from, size_t to, int base,
                               qw_jinja_value *out)
{
    char *digits = qw_arena_alloc(lx->arena, to - from + 1);
    if (!digits) return qw_fail_memory(lx->err, to - from + 1, "a template literal");
    size_t n = 0;
    int64_t value = 0;
    bool fits = true;
    for (size_t i = from; i < to; i++) {
        char c = lx->source.ptr[i];
        if (c == '_') continue;
        digits[n++] = c;
        int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
        if (__builtin_mul_overflow(value, (int64_t)base, &value) ||
            __builtin_add_overflow(value, (int64_t)digit, &value))
            fits = false;
    }
    if (fits) {
        *out = qw_jinja_int(value);
        return QW_OK;
    }
    if (base != 10)
        return qw_jinja_syntax_error(lx->err, lx->line,
                                     "the integer '%.*s' does not fit in 64 bits", (int)(to - from),
                                     lx->source.ptr + from);
    *out = (qw_jinja_value){.kind = QW_JINJA_BIGINT, .str = {digits, n}};
    return QW_OK;
}

// Beyond double is infinity, as in Python: strtod on a text that was checked above.
static qw_status float_value(qw_jinja_lexer *lx, size_t from, size_t to, qw_jinja_value *out)
{
    char *text = qw_arena_alloc(lx->arena, to - from + 1);
    if (!text) return qw_fail_memory(lx->err, to - from + 1, "a template literal");
    size_t n = 0;
    for (size_t i = from; i < to; i++)
        if (lx->source.ptr[i] != '_') text[n++] = lx->source.ptr[i];
    double value;
    if (!qw_str_to_f64((qw_str){text, n}, &value)) {
        if (n >= 400)
            return qw_jinja_syntax_error(lx->err, lx->line, "the number '%.40s...' is too long",
                                         text);
        value = __builtin_inf();
    }
    *out = qw_jinja_float(value);
    return QW_OK;
}

static qw_status next_number(qw_jinja_lexer *lx, qw_jinja_token *out)
{
    size_t start = lx->pos, end;
    static const struct {
        char letter;
        int base;
    } prefixes[] = {{'b', 2}, {'o', 8}, {'x', 16}};
    out->type = QW_JINJA_TOKEN_NUMBER;
    for (size_t i = 0; i < QW_ARRAY_LEN(prefixes); i++) {
        if (!at(lx, start, "0") || start + 1 >= lx->source.len) break;
        if ((lx->source.ptr[start + 1] | 0x20) != prefixes[i].letter) continue;
        size_t digits = start + 2;
        if (at(lx, digits, "_")) digits++;
        end = skip_digits(lx, digits, prefixes[i].base);
        if (end == digits) break;
        QW_JINJA_TRY(integer_value(lx, digits, end, prefixes[i].base, &out->value));
        out->text = qw_jinja_sub(lx->source, start, end);
        advance(lx, end);
        return QW_OK;
    }
    size_t whole = skip_digits(lx, start, 10);
    // "1.5", "1e3" and "1.5e3" are floats; "a.0.b" has digits after a dot, but those are indices.
    bool after_dot = start > 0 && lx->source.ptr[start - 1] == '.';
    end = after_dot ? whole : skip_exponent(lx, skip_fraction(lx, whole));
    if (end > whole) {
        QW_JINJA_TRY(float_value(lx, start, end, &out->value));
    } else {
        QW_JINJA_TRY(integer_value(lx, start, whole, 10, &out->value));
    }
    out->text = qw_jinja_sub(lx->source, start, end);
    advance(lx, end);
    return QW_OK;
}

// ---- strings

// Digits of an escape: at most `max`, at least `min`. Returns how many, and the value.
static int escape_digits(qw_str s, size_t pos, int base, int min, int max, int32_t *value)
{
    int n = 0;
    uint32_t v = 0;
    while (n < max && pos + (size_t)n < s.len && digit_of_base(s.ptr[pos + (size_t)n], base)) {
        char c = s.ptr[pos + (size_t)n];
        v = v * (uint32_t)base + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        n++;
    }
    if (n < min) return 0;
    *value = v > 0x10FFFF ? 0x110000 : (int32_t)v;
    return n;
}

// Decode the escape whose backslash is at s[pos]; returns its length, 0 after an error.
static size_t decode_escape(qw_jinja_lexer *lx, qw_str s, size_t pos, char out[4], int *out_len)
{
    static const char simple[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    char c = s.ptr[pos + 1];
    for (size_t i = 0; i + 1 < sizeof simple; i += 2) {
        if (simple[i] != c) continue;
        out[0] = simple[i + 1];
        *out_len = 1;
        return 2;
    }
    *out_len = 0;
    if (c == '\n') return 2; // a continued line
    int32_t cp = 0;
    int n;
    size_t skipped = 2;
    if (c >= '0' && c <= '7') {
        skipped = 1;
        n = escape_digits(s, pos + 1, 8, 1, 3, &cp);
    } else if (c == 'x' || c == 'u' || c == 'U') {
        int digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        n = escape_digits(s, pos + 2, 16, digits, digits, &cp);
    } else if (c == 'N') {
        n = 0;
    } else { // unknown escapes stay as they are, backslash included
        out[0] = '\\';
        *out_len = 1;
        return 1;
    }
    if (n == 0 || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) {
        (void)qw_jinja_syntax_error(lx->err, lx->line,
                                    "the escape '%.*s' in a string is no Unicode character",
                                    qw_jinja_clip(qw_jinja_sub(s, pos, s.len), 10), s.ptr + pos);
        return 0;
    }
    *out_len = qw_utf8_put(out, cp);
    return skipped + (size_t)n;
}

static qw_status decode_string(qw_jinja_lexer *lx, qw_str raw, qw_jinja_value *out)
{
    if (!memchr(raw.ptr, '\\', raw.len)) {
        *out = qw_jinja_string(raw);
        return QW_OK;
    }
    // No escape is longer decoded than written.
    char *text = qw_arena_alloc(lx->arena, raw.len);
    if (!text) return qw_fail_memory(lx->err, raw.len, "a template literal");
    size_t n = 0;
    for (size_t i = 0; i < raw.len;) {
        if (raw.ptr[i] != '\\') {
            text[n++] = raw.ptr[i++];
            continue;
        }
        char bytes[4];
        int len;
        size_t used = decode_escape(lx, raw, i, bytes, &len);
        if (used == 0) return QW_ERR_FORMAT;
        memcpy(text + n, bytes, (size_t)len);
        n += (size_t)len;
        i += used;
    }
    *out = qw_jinja_string((qw_str){text, n});
    return QW_OK;
}

static qw_status next_string(qw_jinja_lexer *lx, qw_jinja_token *out)
{
    size_t start = lx->pos, p = start + 1;
    char quote = lx->source.ptr[start];
    while (p < lx->source.len && lx->source.ptr[p] != quote) p += lx->source.ptr[p] == '\\' ? 2 : 1;
    if (p >= lx->source.len)
        return qw_jinja_syntax_error(
            lx->err, lx->line, "the string that starts with %.*s is not closed",
            qw_jinja_clip(qw_jinja_sub(lx->source, start, lx->source.len), 20),
            lx->source.ptr + start);
    out->type = QW_JINJA_TOKEN_STRING;
    out->text = qw_jinja_sub(lx->source, start, p + 1);
    QW_JINJA_TRY(decode_string(lx, qw_jinja_sub(lx->source, start + 1, p), &out->value));
    advance(lx, p + 1);
    return QW_OK;
}

// ---- names and operators

static bool is_name_byte(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) ||
           (!first && c >= '0' && c <= '9');
}

static qw_status check_bracket(qw_jinja_lexer *lx, char c)
{
    if (c == '(' || c == '[' || c == '{') {
        if (lx->n_brackets == QW_JINJA_MAX_TREE_DEPTH)
            return qw_jinja_syntax_error(lx->err, lx->line, "'%c' nests deeper than %d brackets", c,
                                         QW_JINJA_MAX_TREE_DEPTH);
        lx->brackets[lx->n_brackets++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (lx->n_brackets == 0)
            return qw_jinja_syntax_error(lx->err, lx->line, "unexpected '%c'", c);
        char due = lx->brackets[--lx->n_brackets];
        if (due != c)
            return qw_jinja_syntax_error(lx->err, lx->line, "unexpected '%c', expected '%c'", c,
                                         due);
    }
    return QW_OK;
}

static qw_status next_operator(qw_jinja_lexer *lx, qw_jinja_token *out)
{
    static const char *const operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                            "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                            ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (size_t i = 0; i < QW_ARRAY_LEN(operators); i++) {
        if (!at(lx, lx->pos, operators[i])) continue;
        QW_JINJA_TRY(check_bracket(lx, operators[i][0]));
        out->type = QW_JINJA_TOKEN_OPERATOR;
        out->text = qw_str_of(operators[i]);
        advance(lx, lx->pos + out->text.len);
        return QW_OK;
    }
    size_t next = lx->pos;
    (void)qw_utf8_next(lx->source, &next);
    return qw_jinja_syntax_error(lx->err, lx->line, "unexpected character '%.*s'",
                                 (int)(next - lx->pos), lx->source.ptr + lx->pos);
}

static qw_status next_in_tag(qw_jinja_lexer *lx, qw_jinja_token *out)
{
    advance(lx, skip_space(lx, lx->pos));
    *out = (qw_jinja_token){.type = QW_JINJA_TOKEN_END, .line = lx->line};
    if (lx->pos == lx->source.len) return QW_OK; // the parser says what is missing
    bool is_print = lx->mode == QW_JINJA_IN_PRINT;
    if (lx->n_brackets == 0) { // inside brackets "}}" closes two of them
        size_t end = match_end(lx, lx->pos, is_print ? "}}" : "%}", is_print);
        if (end != SIZE_MAX) {
            out->type = is_print ? QW_JINJA_TOKEN_PRINT_END : QW_JINJA_TOKEN_BLOCK_END;
            out->text = is_print ? QW_STR("}}") : QW_STR("%}");
            advance(lx, end);
            lx->mode = QW_JINJA_IN_TEXT;
            return QW_OK;
        }
    }
    char c = lx->source.ptr[lx->pos];
    if (c >= '0' && c <= '9') return next_number(lx, out);
    if (c == '\'' || c == '"') return next_string(lx, out);
    if (!is_name_byte(c, true)) return next_operator(lx, out);
    size_t end = lx->pos + 1;
    while (end < lx->source.len && is_name_byte(lx->source.ptr[end], false)) end++;
    out->type = QW_JINJA_TOKEN_NAME;
    out->text = qw_jinja_sub(lx->source, lx->pos, end);
    advance(lx, end);
    return QW_OK;
}

qw_status qw_jinja_lexer_next(qw_jinja_lexer *lx, qw_jinja_token *out)
{
    for (;;) {
        if (lx->pending != QW_JINJA_TOKEN_END) {
            *out = (qw_jinja_token){.type = lx->pending,
                                    .line = lx->line,
                                    .text =
                                        qw_jinja_sub(lx->source, lx->pending_from, lx->pending_to)};
            lx->pending = QW_JINJA_TOKEN_END;
            advance(lx, lx->pending_to);
            return QW_OK;
        }
        if (lx->mode == QW_JINJA_IN_PRINT || lx->mode == QW_JINJA_IN_BLOCK)
            return next_in_tag(lx, out);
        bool emitted = false;
        if (lx->mode == QW_JINJA_IN_RAW) {
            QW_JINJA_TRY(next_in_raw(lx, out, &emitted));
        } else {
            if (lx->pos == lx->source.len) {
                *out = (qw_jinja_token){.type = QW_JINJA_TOKEN_END, .line = lx->line};
                return QW_OK;
            }
            QW_JINJA_TRY(next_in_text(lx, out, &emitted));
        }
        if (emitted) return QW_OK;
    }
}
