// Calls in the hermes form: <tool_call>{"name": ..., "arguments": {...}}</tool_call>

#include "server/tool_calls_internal.h"

#define TOOL_CALL QW_STR("<tool_call>")

// ---- one object {"name": ..., "arguments": ...}

enum {
    BEGIN,        // "{"
    NAME_OR_END,  // the first member, or "}"
    MEMBER_NAME,  // in front of it
    IN_NAME,      // inside
    MEMBER_COLON, // ":"
    IN_VALUE,
    NEXT_OR_END, // "," or "}"
};

enum { VALUE_OTHER, VALUE_NAME, VALUE_ARGUMENTS };

typedef enum read_result { READ_MORE, READ_LAST, READ_BROKEN } read_result;

static void reader_begin(qw_call_reader *r)
{
    r->at = BEGIN;
    r->has_name = r->has_arguments = false;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static read_result go(qw_call_reader *r, uint8_t at)
{
    r->at = at;
    return READ_MORE;
}

static read_result begin_name(qw_call_reader *r, char c)
{
    if (c != '"') return READ_BROKEN;
    qw_json_scan_init(&r->scan);
    (void)qw_json_scan_next(&r->scan, c);
    qw_buf_clear(&r->text);
    return go(r, IN_NAME);
}

static read_result in_name(qw_call_reader *r, char c)
{
    qw_json_scan_result s = qw_json_scan_next(&r->scan, c);
    if (s == QW_JSON_SCAN_BROKEN) return READ_BROKEN;
    if (s == QW_JSON_SCAN_LAST) return go(r, MEMBER_COLON);
    qw_buf_putc(&r->text, c);
    return READ_MORE;
}

static read_result begin_value(qw_call_reader *r)
{
    qw_str key = {r->text.data ? r->text.data : "", r->text.len};
    bool is_arguments = qw_str_is(key, "arguments") || qw_str_is(key, "parameters");
    r->kind = VALUE_OTHER;
    if (qw_str_is(key, "name") && !r->has_name) r->kind = VALUE_NAME;
    if (is_arguments && !r->has_arguments) r->kind = VALUE_ARGUMENTS;
    qw_json_scan_init(&r->scan);
    qw_buf_clear(&r->text);
    return go(r, IN_VALUE);
}

// The value of "name" is there: a string that is not empty.
static read_result take_name(qw_tool_calls *p)
{
    qw_error why;
    json_t *v = NULL;
    qw_call_reader *r = &p->reader;
    bool ok = r->text.len > 2;
    if (ok) {
        qw_status st = qw_json_parse(&v, r->text.data, r->text.len, "name", &why);
        if (st == QW_ERR_NO_MEMORY) p->failed = st;
        ok = st == QW_OK && json_is_string(v);
    }
    if (ok) {
        qw_calls_name(p, qw_json_str(v));
        r->has_name = true;
    }
    json_decref(v);
    return ok ? READ_MORE : READ_BROKEN;
}

static read_result after_value(qw_tool_calls *p, char c)
{
    qw_call_reader *r = &p->reader;
    if (is_space(c)) return READ_MORE;
    if (c == ',') return go(r, MEMBER_NAME);
    if (c != '}' || !r->has_name) return READ_BROKEN;
    return READ_LAST;
}

static read_result in_value(qw_tool_calls *p, char c)
{
    qw_call_reader *r = &p->reader;
    qw_json_scan_result s = qw_json_scan_next(&r->scan, c);
    if (s == QW_JSON_SCAN_BROKEN) return READ_BROKEN;
    qw_buf *to = r->kind == VALUE_NAME        ? &r->text
                 : r->kind == VALUE_ARGUMENTS ? &qw_calls_open(p)->arguments
                                              : NULL;
    bool leads = to && to->len == 0 && is_space(c);
    if (to && s != QW_JSON_SCAN_BEFORE && !leads) {
        qw_buf_putc(to, c);
        qw_calls_watch(p, to);
    }
    if (s == QW_JSON_SCAN_MORE) return READ_MORE;
    r->at = NEXT_OR_END;
    if (r->kind == VALUE_ARGUMENTS) r->has_arguments = true;
    if (r->kind == VALUE_NAME && take_name(p) == READ_BROKEN) return READ_BROKEN;
    return s == QW_JSON_SCAN_BEFORE ? after_value(p, c) : READ_MORE;
}

static read_result reader_next(qw_tool_calls *p, char c)
{
    qw_call_reader *r = &p->reader;
    if (r->at == IN_NAME) return in_name(r, c);
    if (r->at == IN_VALUE) return in_value(p, c);
    if (is_space(c)) return READ_MORE;
    switch (r->at) {
    case BEGIN: return c == '{' ? go(r, NAME_OR_END) : READ_BROKEN;
    case NAME_OR_END:
    case MEMBER_NAME: return begin_name(r, c);
    case MEMBER_COLON: return c == ':' ? begin_value(r) : READ_BROKEN;
    default: return after_value(p, c);
    }
}

// Read the open object as far as the text goes. True: it has ended, well or not.
static bool read_object(qw_tool_calls *p, qw_buf *content)
{
    while (p->at < p->pending.len) {
        char c = p->pending.data[p->at++];
        if (!p->is_known) qw_buf_putc(&p->raw, c);
        read_result r = reader_next(p, c);
        qw_calls_watch(p, &p->reader.text);
        if (r == READ_MORE) continue;
        if (r == READ_LAST)
            qw_calls_end(p);
        else
            qw_calls_break(p, content);
        return true;
    }
    return false;
}

// ---- blocks

enum { OUTSIDE, INSIDE };

// Text that ends inside an object.
static bool end_inside(qw_tool_calls *p, qw_text_end end, qw_buf *content)
{
    if (end == QW_TEXT_GOES_ON) return false;
    qw_calls_break(p, content);
    p->state = OUTSIDE;
    return true;
}

static bool begin_object(qw_tool_calls *p)
{
    reader_begin(&p->reader);
    p->state = INSIDE;
    return qw_calls_begin(p);
}

bool qw_calls_step_json(qw_tool_calls *p, qw_text_end end, qw_buf *content)
{
    if (p->state == INSIDE) {
        if (!read_object(p, content)) return end_inside(p, end, content);
        p->state = OUTSIDE;
        return true;
    }
    // What follows an object, its end tag included, is text outside, which is dropped.
    qw_str rest = qw_calls_rest(p);
    size_t at = qw_str_find(rest, TOOL_CALL, 0);
    size_t n = at;
    if (at == SIZE_MAX)
        n = rest.len - (end == QW_TEXT_GOES_ON ? qw_tag_overlap(rest, TOOL_CALL) : 0);
    qw_calls_put_text(p, (qw_str){rest.ptr, n}, content);
    p->at += n;
    if (at == SIZE_MAX) return false;
    p->at += TOOL_CALL.len;
    qw_buf_puts(&p->raw, "<tool_call>");
    return begin_object(p);
}
