#include "format/json_scan.h"

enum {
    VALUE,         // a value must begin
    FIRST_ELEMENT, // or the list ends
    FIRST_KEY,     // a name must begin, or the object ends
    KEY,
    COLON,
    AFTER, // a comma, or the end of what is open
    STRING,
    ESCAPE,
    HEX,
    MINUS,
    ZERO,
    INTEGER,
    POINT,
    FRACTION,
    EXPONENT,
    EXPONENT_SIGN,
    EXPONENT_DIGITS,
    LITERAL,
};

void qw_json_scan_init(qw_json_scan *s)
{
    s->state = VALUE;
    s->n_seen = 0;
    s->is_key = false;
    s->literal = NULL;
    s->depth = 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool in_object(const qw_json_scan *s)
{
    uint32_t i = s->depth - 1;
    return s->is_object[i / 64] >> (i % 64) & 1;
}

static qw_json_scan_result go(qw_json_scan *s, uint8_t state)
{
    s->state = state;
    return QW_JSON_SCAN_MORE;
}

// A value inside a list or an object is complete, or all of it is.
static qw_json_scan_result end_value(qw_json_scan *s)
{
    s->state = AFTER;
    return s->depth == 0 ? QW_JSON_SCAN_LAST : QW_JSON_SCAN_MORE;
}

static qw_json_scan_result open_level(qw_json_scan *s, bool object)
{
    if (s->depth == QW_JSON_SCAN_DEPTH) return QW_JSON_SCAN_BROKEN;
    uint64_t bit = (uint64_t)1 << (s->depth % 64);
    uint64_t *word = &s->is_object[s->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    s->depth++;
    return go(s, object ? FIRST_KEY : FIRST_ELEMENT);
}

static qw_json_scan_result close_level(qw_json_scan *s)
{
    s->depth--;
    return end_value(s);
}

static qw_json_scan_result begin_string(qw_json_scan *s, bool is_key)
{
    s->is_key = is_key;
    return go(s, STRING);
}

static qw_json_scan_result begin_literal(qw_json_scan *s, const char *literal)
{
    s->literal = literal;
    s->n_seen = 1;
    return go(s, LITERAL);
}

static qw_json_scan_result begin_value(qw_json_scan *s, char c)
{
    switch (c) {
    case '{': return open_level(s, true);
    case '[': return open_level(s, false);
    case '"': return begin_string(s, false);
    case '-': return go(s, MINUS);
    case '0': return go(s, ZERO);
    case 't': return begin_literal(s, "true");
    case 'f': return begin_literal(s, "false");
    case 'n': return begin_literal(s, "null");
    default: return is_digit(c) ? go(s, INTEGER) : QW_JSON_SCAN_BROKEN;
    }
}

static qw_json_scan_result after_value(qw_json_scan *s, char c)
{
    if (c == ',') return go(s, in_object(s) ? KEY : VALUE);
    if (c == (in_object(s) ? '}' : ']')) return close_level(s);
    return QW_JSON_SCAN_BROKEN;
}

static qw_json_scan_result in_string(qw_json_scan *s, char c)
{
    if (c == '\\') return go(s, ESCAPE);
    if (c == '"') return s->is_key ? go(s, COLON) : end_value(s);
    return (unsigned char)c < 0x20 ? QW_JSON_SCAN_BROKEN : QW_JSON_SCAN_MORE;
}

static qw_json_scan_result in_escape(qw_json_scan *s, char c)
{
    s->n_seen = 0;
    if (c == 'u') return go(s, HEX);
    return c != '\0' && strchr("\"\\/bfnrt", c) ? go(s, STRING) : QW_JSON_SCAN_BROKEN;
}

static qw_json_scan_result in_hex(qw_json_scan *s, char c)
{
    if (!is_hex(c)) return QW_JSON_SCAN_BROKEN;
    return ++s->n_seen == 4 ? go(s, STRING) : QW_JSON_SCAN_MORE;
}

static qw_json_scan_result in_literal(qw_json_scan *s, char c)
{
    if (c != s->literal[s->n_seen]) return QW_JSON_SCAN_BROKEN;
    return s->literal[++s->n_seen] == '\0' ? end_value(s) : QW_JSON_SCAN_MORE;
}

// The byte behind a number ends it and is looked at again.
static qw_json_scan_result end_number(qw_json_scan *s, char c)
{
    s->state = AFTER;
    if (s->depth == 0) return QW_JSON_SCAN_BEFORE;
    return is_space(c) ? QW_JSON_SCAN_MORE : after_value(s, c);
}

static qw_json_scan_result in_number(qw_json_scan *s, char c)
{
    bool digit = is_digit(c), e = c == 'e' || c == 'E';
    switch (s->state) {
    case MINUS: return digit ? go(s, c == '0' ? ZERO : INTEGER) : QW_JSON_SCAN_BROKEN;
    case ZERO:
    case INTEGER:
        if (digit) return s->state == ZERO ? QW_JSON_SCAN_BROKEN : QW_JSON_SCAN_MORE;
        if (c == '.') return go(s, POINT);
        return e ? go(s, EXPONENT) : end_number(s, c);
    case POINT: return digit ? go(s, FRACTION) : QW_JSON_SCAN_BROKEN;
    case FRACTION:
        if (digit) return QW_JSON_SCAN_MORE;
        return e ? go(s, EXPONENT) : end_number(s, c);
    case EXPONENT:
        if (c == '+' || c == '-') return go(s, EXPONENT_SIGN);
        return digit ? go(s, EXPONENT_DIGITS) : QW_JSON_SCAN_BROKEN;
    case EXPONENT_SIGN: return digit ? go(s, EXPONENT_DIGITS) : QW_JSON_SCAN_BROKEN;
    default: return digit ? QW_JSON_SCAN_MORE : end_number(s, c);
    }
}

qw_json_scan_result qw_json_scan_next(qw_json_scan *s, char c)
{
    switch (s->state) {
    case STRING: return in_string(s, c);
    case ESCAPE: return in_escape(s, c);
    case HEX: return in_hex(s, c);
    case LITERAL: return in_literal(s, c);
    case VALUE:
    case FIRST_ELEMENT:
    case FIRST_KEY:
    case KEY:
    case COLON:
    case AFTER: break;
    default: return in_number(s, c);
    }
    if (is_space(c)) return QW_JSON_SCAN_MORE;
    switch (s->state) {
    case VALUE: return begin_value(s, c);
    case FIRST_ELEMENT: return c == ']' ? close_level(s) : begin_value(s, c);
    case FIRST_KEY:
        if (c == '}') return close_level(s);
        return c == '"' ? begin_string(s, true) : QW_JSON_SCAN_BROKEN;
    case KEY: return c == '"' ? begin_string(s, true) : QW_JSON_SCAN_BROKEN;
    case COLON: return c == ':' ? go(s, VALUE) : QW_JSON_SCAN_BROKEN;
    default: return after_value(s, c);
    }
}
