// Answers that are told item by item: what is common to Responses and Messages. A whole answer is
// told in the same way, and only the completed items are kept.

#include "base/random_hex.h"
#include "server/api_response_internal.h"

const qw_item_form *qw_item_form_of(const qw_api_request *req)
{
    switch (req->dialect) {
    case QW_DIALECT_RESPONSES: return &qw_responses_form;
    case QW_DIALECT_MESSAGES: return &qw_messages_form;
    case QW_DIALECT_OPENAI: break;
    }
    return NULL;
}

static void close_item(qw_api_response *r, qw_buf *out)
{
    qw_items *s = &r->items;
    if (s->kind == QW_ITEM_NONE) return;
    r->form->close(r, out);
    qw_buf_clear(&s->text);
    s->kind = QW_ITEM_NONE;
    s->index++;
}

// Make `kind` (of this call) the open item.
static void need_item(qw_api_response *r, qw_item_kind kind, qw_tool_call *call, qw_buf *out)
{
    qw_items *s = &r->items;
    if (s->kind == kind && s->call == call) return;
    close_item(r, out);
    s->kind = kind;
    s->call = call;
    char digits[33];
    qw_random_hex(digits, 32);
    snprintf(s->id, sizeof s->id, "%s%s",
             kind == QW_ITEM_REASONING ? "rs_"
             : kind == QW_ITEM_TEXT    ? "msg_"
                                       : "fc_",
             digits);
    r->form->open(r, out);
}

static void add_text(qw_api_response *r, qw_item_kind kind, const qw_buf *text, qw_buf *out)
{
    if (text->len == 0) return;
    need_item(r, kind, NULL, out);
    qw_buf_append(&r->items.text, text->data, text->len);
    r->form->more(r, qw_buf_text(text), out);
}

static void add_calls(qw_api_response *r, const qw_choice *c, qw_buf *out)
{
    for (size_t i = 0, n = qw_response_n_calls(r, c); i < n; i++) {
        qw_tool_call *call = qw_tool_calls_at(c->tools, i);
        if (call->is_told && call->n_told == call->arguments.len) continue;
        need_item(r, QW_ITEM_CALL, call, out);
        call->is_told = true;
        if (call->n_told == call->arguments.len) continue;
        qw_str news = {call->arguments.data + call->n_told, call->arguments.len - call->n_told};
        call->n_told = call->arguments.len;
        r->form->more(r, news, out);
    }
}

static bool is_due(const qw_api_response *r, const qw_choice *c)
{
    if (!c->is_dirty) return false;
    if (c->finish != QW_FINISH_NONE) return true;
    return r->req->stream && (!c->has_begun || c->n_pending >= r->cfg->stream_interval);
}

void qw_response_write_items(qw_api_response *r, qw_buf *out)
{
    qw_choice *c = &r->choices[0]; // these dialects have one
    qw_buf thrown;
    if (!is_due(r, c)) return;
    qw_buf_init(&thrown, r->divided.max);
    qw_buf *to = r->req->stream ? out : &thrown;
    if (!r->items.has_begun) r->form->begin(r, to);
    r->items.has_begun = c->has_begun = true;
    qw_response_take_text(r, c);
    if (r->req->include_reasoning) add_text(r, QW_ITEM_REASONING, &r->reasoning, to);
    add_text(r, QW_ITEM_TEXT, &r->content, to);
    add_calls(r, c, to);
    c->is_dirty = false;
    c->n_pending = 0;
    r->n_dirty = 0;
    qw_buf_clear(&c->chat_logprobs);
    c->ids.len = 0;
    if (c->finish != QW_FINISH_NONE) {
        close_item(r, to);
        if (r->req->stream)
            r->form->end(r, out);
        else
            r->form->whole(r, out);
    }
    if (thrown.failed != QW_OK) r->failed = thrown.failed;
    qw_buf_release(&thrown);
}

void qw_api_error_write_dialect(qw_buf *out, const qw_api_error *e, qw_api_dialect dialect)
{
    if (dialect == QW_DIALECT_MESSAGES)
        qw_messages_write_error(out, e);
    else
        qw_api_error_write(out, e);
}
