#include "server/tool_calls.h"

#include "base/mem.h"
#include "base/random_hex.h"
#include "server/tool_calls_internal.h"

enum { MAX_TEXT = 1 << 30, MAX_CALLS = 1 << 12 };

const char *const qw_tool_form_names[] = {"hermes", "qwen3", "qwen3_coder", "qwen3_xml", NULL};

qw_tool_form qw_tool_form_of(const char *name)
{
    static const qw_tool_form forms[] = {QW_TOOL_FORM_HERMES, QW_TOOL_FORM_HERMES,
                                         QW_TOOL_FORM_QWEN3_CODER, QW_TOOL_FORM_QWEN3_CODER};
    for (size_t i = 0; name && qw_tool_form_names[i]; i++)
        if (strcmp(name, qw_tool_form_names[i]) == 0) return forms[i];
    return QW_TOOL_FORM_NONE;
}

qw_status qw_tool_calls_new(qw_tool_calls **out, qw_tool_form form, const json_t *tools,
                            size_t max_calls, qw_error *err)
{
    qw_tool_calls *p = qw_mem_calloc(1, sizeof *p);
    if (!p) return qw_fail_memory(err, sizeof *p, "the tool calls of an answer");
    p->form = form;
    p->tools = tools;
    p->max_calls = max_calls;
    qw_buf_init(&p->blank, MAX_TEXT);
    qw_buf_init(&p->pending, MAX_TEXT);
    qw_buf_init(&p->raw, MAX_TEXT);
    qw_buf_init(&p->parameter, MAX_TEXT);
    qw_buf_init(&p->reader.text, MAX_TEXT);
    *out = p;
    return QW_OK;
}

static void call_free(qw_tool_call *c)
{
    if (!c) return;
    qw_buf_release(&c->name);
    qw_buf_release(&c->arguments);
    qw_mem_free(c);
}

void qw_tool_calls_free(qw_tool_calls *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->n_calls; i++) call_free(p->calls[i]);
    qw_mem_free(p->calls);
    qw_buf_release(&p->blank);
    qw_buf_release(&p->pending);
    qw_buf_release(&p->raw);
    qw_buf_release(&p->parameter);
    qw_buf_release(&p->reader.text);
    json_decref(p->parameters);
    qw_mem_free(p);
}

// ---- tags

qw_tag_match qw_tag_at(qw_str text, qw_str tag)
{
    size_t n = text.len < tag.len ? text.len : tag.len;
    if (n > 0 && memcmp(text.ptr, tag.ptr, n) != 0) return QW_TAG_NO;
    return n == tag.len ? QW_TAG_YES : QW_TAG_PART;
}

size_t qw_tag_overlap(qw_str text, qw_str tag)
{
    size_t n = text.len < tag.len - 1 ? text.len : tag.len - 1;
    for (; n > 0; n--)
        if (memcmp(text.ptr + text.len - n, tag.ptr, n) == 0) return n;
    return 0;
}

// ---- what the forms build

void qw_calls_watch(qw_tool_calls *p, const qw_buf *b)
{
    if (b->failed != QW_OK && p->failed == QW_OK) p->failed = b->failed;
}

static bool is_blank(qw_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!strchr(" \n\r\t", s.ptr[i]) || s.ptr[i] == '\0') return false;
    return true;
}

void qw_calls_put_text(qw_tool_calls *p, qw_str text, qw_buf *content)
{
    if (text.len == 0 || qw_tool_calls_count(p) > 0) return;
    if (!p->has_text && is_blank(text)) {
        qw_buf_append(&p->blank, text.ptr, text.len);
        qw_calls_watch(p, &p->blank);
        return;
    }
    if (!p->has_text && p->blank.len > 0) qw_buf_append(content, p->blank.data, p->blank.len);
    p->has_text = true;
    qw_buf_append(content, text.ptr, text.len);
}

static bool grow(qw_tool_calls *p)
{
    if (p->n_calls < p->cap_calls) return true;
    size_t cap = p->cap_calls ? 2 * p->cap_calls : 4;
    if (cap > MAX_CALLS) return false;
    qw_tool_call **calls = qw_mem_realloc(p->calls, cap * sizeof *calls);
    if (!calls) return false;
    p->calls = calls;
    p->cap_calls = cap;
    return true;
}

bool qw_calls_begin(qw_tool_calls *p)
{
    qw_tool_call *c = grow(p) ? qw_mem_calloc(1, sizeof *c) : NULL;
    if (!c) {
        p->failed = QW_ERR_NO_MEMORY;
        return false;
    }
    qw_buf_init(&c->name, MAX_TEXT);
    qw_buf_init(&c->arguments, MAX_TEXT);
    p->calls[p->n_calls++] = c;
    p->is_open = true;
    p->is_known = false;
    return true;
}

qw_tool_call *qw_calls_open(qw_tool_calls *p)
{
    return p->calls[p->n_calls - 1];
}

void qw_calls_name(qw_tool_calls *p, qw_str name)
{
    char digits[33];
    qw_tool_call *c = qw_calls_open(p);
    bool coder = p->form == QW_TOOL_FORM_QWEN3_CODER;
    qw_random_hex(digits, coder ? 24 : 32);
    snprintf(c->id, sizeof c->id, "%s%s", coder ? "call_" : "chatcmpl-tool-", digits);
    qw_buf_append(&c->name, name.ptr, name.len);
    qw_calls_watch(p, &c->name);
    p->is_known = true;
    qw_buf_clear(&p->raw);
}

void qw_calls_end(qw_tool_calls *p)
{
    qw_tool_call *c = qw_calls_open(p);
    if (c->arguments.len == 0) qw_buf_puts(&c->arguments, "{}");
    qw_calls_watch(p, &c->arguments);
    c->is_whole = true;
    p->is_open = false;
}

void qw_calls_break(qw_tool_calls *p, qw_buf *content)
{
    p->is_broken = true;
    if (p->is_open && !p->is_known) {
        p->is_open = false;
        call_free(p->calls[--p->n_calls]);
    }
    p->is_open = false;
    if (p->raw.len == 0) return;
    qw_str raw = {p->raw.data, p->raw.len};
    qw_calls_put_text(p, raw, content);
    qw_buf_clear(&p->raw);
}

// ---- text in, calls out

static void compact(qw_tool_calls *p)
{
    if (p->at == 0) return;
    size_t rest = p->pending.len - p->at;
    if (rest > 0) memmove(p->pending.data, p->pending.data + p->at, rest);
    p->pending.len = rest;
    p->at = 0;
}

void qw_tool_calls_push(qw_tool_calls *p, qw_str piece, qw_text_end end, qw_buf *content)
{
    if (p->is_over) return;
    p->is_over = end != QW_TEXT_GOES_ON;
    qw_buf_append(&p->pending, piece.ptr, piece.len);
    qw_calls_watch(p, &p->pending);
    bool is_xml = p->form == QW_TOOL_FORM_QWEN3_CODER;
    while (p->failed == QW_OK) {
        bool moved =
            is_xml ? qw_calls_step_xml(p, end, content) : qw_calls_step_json(p, end, content);
        if (!moved) break;
    }
    compact(p);
    // Nothing but white space: that is the content then.
    if (p->is_over && !p->has_text && qw_tool_calls_count(p) == 0)
        qw_buf_append(content, p->blank.data, p->blank.len);
    qw_calls_watch(p, &p->raw);
}

qw_status qw_tool_calls_check(const qw_tool_calls *p, qw_error *err)
{
    if (p->failed == QW_OK) return QW_OK;
    return qw_fail(err, p->failed,
                   "no memory for the tool calls of an answer, or too many of them");
}

// ---- what is known

size_t qw_tool_calls_count(const qw_tool_calls *p)
{
    size_t n = p->n_calls - (p->is_open && !p->is_known);
    return p->max_calls > 0 && n > p->max_calls ? p->max_calls : n;
}

qw_tool_call *qw_tool_calls_at(qw_tool_calls *p, size_t i)
{
    return p->calls[i];
}

bool qw_tool_calls_is_broken(const qw_tool_calls *p)
{
    return p->is_broken;
}

qw_tool_form qw_tool_calls_form(const qw_tool_calls *p)
{
    return p->form;
}

void qw_tool_call_write_arguments(const qw_tool_call *call, qw_buf *out)
{
    qw_error ignored;
    json_t *v = NULL;
    if (call->arguments.len == 0) return;
    if (qw_json_parse_digits(&v, call->arguments.data, call->arguments.len, "arguments",
                             &ignored) == QW_OK)
        qw_json_write(out, v, false);
    else
        qw_buf_append(out, call->arguments.data, call->arguments.len);
    json_decref(v);
}
