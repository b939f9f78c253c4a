// The JSON parser behind qw_json_parse. It builds jansson values but does not use jansson's own
// parser, which ignores failed allocations of its token buffer and then writes past the end
// (jansson 2.14: lex_save, lex_scan_string). Grammar: RFC 8259.
#include "base/mem.h"
#include "format/json.h"

#define MAX_DEPTH 2048

typedef enum qw_json_integers {
    QW_JSON_INT64,  /* refused */
    QW_JSON_REALS,  /* reals */
    QW_JSON_DIGITS, /* their digits: qw_json_is_big_integer */
} qw_json_integers;

typedef struct parser {
    const char *start, *p, *end; /* p: next byte to read */
    const char *what;            /* names the text in errors */
    int depth;
    qw_json_integers integers; /* what becomes of integers beyond int64 */
    qw_error *err;
} parser;

// ---- errors ----

// Record a failure at `at` with its line and column, both from 1.
static qw_status fail_at(parser *ps, const char *at, const char *message)
{
    int line = 1, column = 1;
    for (const char *p = ps->start; p < at; p++) {
        bool continues = ((unsigned char)*p & 0xC0) == 0x80; // inside a character
        column = *p == '\n' ? 1 : column + !continues;
        line += *p == '\n';
    }
    return qw_fail(ps->err, QW_ERR_FORMAT, "%s: no valid JSON: %s (line %d, column %d)", ps->what,
                   message, line, column);
}

static qw_status fail_memory(parser *ps)
{
    return qw_fail_memory(ps->err, (size_t)(ps->end - ps->start), ps->what);
}

// Pass a fresh value on; NULL means that jansson found no memory.
static qw_status give(parser *ps, json_t **out, json_t *v)
{
    if (!v) return fail_memory(ps);
    *out = v;
    return QW_OK;
}

// ---- tokens ----

static void skip_space(parser *ps)
{
    while (ps->p < ps->end && (*ps->p == ' ' || *ps->p == '\n' || *ps->p == '\r' || *ps->p == '\t'))
        ps->p++;
}

// The next byte after white space; NUL at the end (a NUL in the text is no token either).
static char peek(parser *ps)
{
    skip_space(ps);
    return ps->p < ps->end ? *ps->p : '\0';
}

static qw_status unexpected(parser *ps, const char *wanted)
{
    char message[80];
    if (ps->p >= ps->end)
        snprintf(message, sizeof message, "the text ends where %s is expected", wanted);
    else
        snprintf(message, sizeof message, "%s expected", wanted);
    return fail_at(ps, ps->p, message);
}

static bool take_word(parser *ps, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(ps->end - ps->p) < n || memcmp(ps->p, word, n) != 0) return false;
    ps->p += n;
    return true;
}

// ---- strings ----

// Four hexadecimal digits at `p`, or -1.
static int32_t hex4(const char *p, const char *end)
{
    int32_t value = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10;
        else
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

// The code point of the \u escape whose digits start at *p, a surrogate pair included; -1 if it is
// malformed. Advances *p over it.
static int32_t unicode_escape(const char **p, const char *end)
{
    int32_t hi = hex4(*p, end);
    if (hi < 0) return -1;
    *p += 4;
    if (hi < 0xD800 || hi > 0xDFFF) return hi;
    if (hi > 0xDBFF || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u') return -1;
    int32_t lo = hex4(*p + 2, end);
    if (lo < 0xDC00 || lo > 0xDFFF) return -1;
    *p += 6;
    return 0x10000 + ((hi - 0xD800) << 10) + (lo - 0xDC00);
}

// Decode one escape at *p, just behind the backslash, to `out`; bytes written, 0 if malformed.
static int decode_escape(char out[4], const char **p, const char *end)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (*p >= end) return 0;
    char c = *(*p)++;
    if (c == 'u') {
        int32_t cp = unicode_escape(p, end);
        return cp < 0 ? 0 : qw_utf8_put(out, cp);
    }
    const char *hit = c ? strchr(letters, c) : NULL;
    if (!hit) return 0;
    out[0] = values[hit - letters];
    return 1;
}

// A string with escapes, its raw text [p, end): the decoded text in a block of its own.
static qw_status decode_string(parser *ps, const char *p, const char *end, qw_str *out,
                               char **owned)
{
    char *text = qw_mem_alloc((size_t)(end - p)); // no escape is shorter than what it stands for
    if (!text) return fail_memory(ps);
    size_t len = 0;
    while (p < end) {
        if (*p != '\\') {
            text[len++] = *p++;
            continue;
        }
        const char *escape = p++;
        char decoded[4];
        int n = decode_escape(decoded, &p, end);
        if (n == 0) {
            qw_mem_free(text);
            return fail_at(ps, escape, "invalid escape in a string");
        }
        memcpy(text + len, decoded, (size_t)n);
        len += (size_t)n;
    }
    *owned = text;
    *out = (qw_str){text, len};
    return QW_OK;
}

// The string at the opening quote. *out is borrowed from the text, or from *owned (qw_mem_free)
// when there were escapes to decode.
static qw_status parse_string(parser *ps, qw_str *out, char **owned)
{
    const char *open = ps->p, *p = open + 1;
    bool has_escapes = false;
    for (; p < ps->end && *p != '"'; p++) {
        if ((unsigned char)*p < 0x20) return fail_at(ps, p, "control character in a string");
        if (*p != '\\') continue;
        has_escapes = true;
        p++; // whatever follows, it does not close the string
    }
    if (p >= ps->end) return fail_at(ps, open, "a string has no end");
    ps->p = p + 1;
    *owned = NULL;
    *out = (qw_str){open + 1, (size_t)(p - open - 1)};
    return has_escapes ? decode_string(ps, open + 1, p, out, owned) : QW_OK;
}

static qw_status parse_string_value(parser *ps, json_t **out)
{
    qw_str text = {0};
    char *owned = NULL;
    qw_status st = parse_string(ps, &text, &owned);
    if (st != QW_OK) return st;
    st = give(ps, out, json_stringn_nocheck(text.ptr, text.len));
    qw_mem_free(owned);
    return st;
}

// ---- numbers ----

static bool skip_digits(parser *ps)
{
    const char *first = ps->p;
    while (ps->p < ps->end && *ps->p >= '0' && *ps->p <= '9') ps->p++;
    return ps->p > first;
}

static bool skip_one_of(parser *ps, const char *set)
{
    if (ps->p >= ps->end || *ps->p == '\0' || !strchr(set, *ps->p)) return false;
    ps->p++;
    return true;
}

// An integer beyond int64 as its digits: a string that no JSON text can hold, because it begins
// with a byte that UTF-8 never has.
static qw_status give_digits(parser *ps, json_t **out, qw_str digits)
{
    char *text = qw_mem_alloc(digits.len + 1);
    if (!text) return fail_memory(ps);
    text[0] = QW_JSON_BIG_INTEGER_MARK;
    memcpy(text + 1, digits.ptr, digits.len);
    json_t *v = json_stringn_nocheck(text, digits.len + 1);
    qw_mem_free(text);
    return give(ps, out, v);
}

static qw_status parse_number(parser *ps, json_t **out)
{
    const char *first = ps->p;
    bool is_integer = true;
    skip_one_of(ps, "-");
    if (!skip_one_of(ps, "0") && !skip_digits(ps)) return unexpected(ps, "a digit");
    if (skip_one_of(ps, ".")) {
        is_integer = false;
        if (!skip_digits(ps)) return unexpected(ps, "a digit");
    }
    if (skip_one_of(ps, "eE")) {
        is_integer = false;
        skip_one_of(ps, "+-");
        if (!skip_digits(ps)) return unexpected(ps, "a digit");
    }
    qw_str text = {first, (size_t)(ps->p - first)};
    int64_t i;
    double d;
    if (is_integer && qw_str_to_i64(text, &i)) return give(ps, out, json_integer(i));
    if (is_integer && ps->integers == QW_JSON_INT64) return fail_at(ps, first, "too big integer");
    if (is_integer && ps->integers == QW_JSON_DIGITS) return give_digits(ps, out, text);
    if (!qw_str_to_f64(text, &d)) return fail_at(ps, first, "number too large or too long");
    return give(ps, out, json_real(d));
}

// ---- values ----

static qw_status parse_value(parser *ps, json_t **out);

static qw_status parse_item(parser *ps, json_t *array)
{
    json_t *item = NULL;
    qw_status st = parse_value(ps, &item);
    if (st != QW_OK) return st;
    return json_array_append_new(array, item) == 0 ? QW_OK : fail_memory(ps);
}

static qw_status parse_member(parser *ps, json_t *object)
{
    if (peek(ps) != '"') return unexpected(ps, "a key in quotes");
    const char *at = ps->p;
    qw_str key = {0};
    char *owned = NULL;
    json_t *value = NULL;
    qw_status st = parse_string(ps, &key, &owned);
    if (st != QW_OK) return st;
    if (key.len && memchr(key.ptr, '\0', key.len)) {
        st = fail_at(ps, at, "NUL in an object key");
        goto out;
    }
    if (json_object_getn(object, key.ptr, key.len)) {
        char message[120];
        snprintf(message, sizeof message, "duplicate object key '%.*s'",
                 key.len < 80 ? (int)key.len : 80, key.ptr);
        st = fail_at(ps, at, message);
        goto out;
    }
    if (peek(ps) != ':') {
        st = unexpected(ps, "':'");
        goto out;
    }
    ps->p++;
    st = parse_value(ps, &value);
    if (st == QW_OK && json_object_setn_new_nocheck(object, key.ptr, key.len, value) != 0)
        st = fail_memory(ps);
out:
    qw_mem_free(owned);
    return st;
}

// An array or object, at its opening bracket.
static qw_status parse_container(parser *ps, json_t **out)
{
    bool is_object = *ps->p == '{';
    char close = is_object ? '}' : ']';
    if (ps->depth == MAX_DEPTH) return fail_at(ps, ps->p, "nested too deeply");
    json_t *v = is_object ? json_object() : json_array();
    if (!v) return fail_memory(ps);
    ps->depth++;
    ps->p++;
    qw_status st = QW_OK;
    if (peek(ps) == close) {
        ps->p++;
    } else {
        for (;;) {
            st = is_object ? parse_member(ps, v) : parse_item(ps, v);
            if (st != QW_OK) break;
            char c = peek(ps);
            if (c != ',' && c != close) {
                st = unexpected(ps, is_object ? "',' or '}'" : "',' or ']'");
                break;
            }
            ps->p++;
            if (c == close) break;
        }
    }
    ps->depth--;
    if (st == QW_OK)
        *out = v;
    else
        json_decref(v);
    return st;
}

static qw_status parse_value(parser *ps, json_t **out)
{
    char c = peek(ps);
    if (c == '{' || c == '[') return parse_container(ps, out);
    if (c == '"') return parse_string_value(ps, out);
    if (c == '-' || (c >= '0' && c <= '9')) return parse_number(ps, out);
    if (take_word(ps, "true")) return give(ps, out, json_true());
    if (take_word(ps, "false")) return give(ps, out, json_false());
    if (take_word(ps, "null")) return give(ps, out, json_null());
    return unexpected(ps, "a value");
}

// Where the text stops being valid UTF-8; NULL if nowhere.
static const char *find_invalid_utf8(qw_str text)
{
    for (size_t pos = 0; pos < text.len;) {
        size_t at = pos;
        if ((unsigned char)text.ptr[pos] < 0x80)
            pos++;
        else if (qw_utf8_next(text, &pos) < 0)
            return text.ptr + at;
    }
    return NULL;
}

static qw_status parse_text(json_t **out, const char *text, size_t len, qw_json_integers integers,
                            const char *what, qw_error *err)
{
    if (len == 0) text = "";
    parser ps = {.start = text,
                 .p = text,
                 .end = text + len,
                 .what = what,
                 .integers = integers,
                 .err = err};
    const char *bad = find_invalid_utf8((qw_str){text, len});
    if (bad) return fail_at(&ps, bad, "invalid UTF-8");
    json_t *v;
    qw_status st = parse_value(&ps, &v);
    if (st != QW_OK) return st;
    skip_space(&ps);
    if (ps.p < ps.end) {
        json_decref(v);
        return unexpected(&ps, "the end of the text");
    }
    *out = v;
    return QW_OK;
}

qw_status qw_json_parse(json_t **out, const char *text, size_t len, const char *what, qw_error *err)
{
    return parse_text(out, text, len, QW_JSON_INT64, what, err);
}

qw_status qw_json_parse_wide(json_t **out, const char *text, size_t len, const char *what,
                             qw_error *err)
{
    return parse_text(out, text, len, QW_JSON_REALS, what, err);
}

qw_status qw_json_parse_digits(json_t **out, const char *text, size_t len, const char *what,
                               qw_error *err)
{
    return parse_text(out, text, len, QW_JSON_DIGITS, what, err);
}
