// Answers in Anthropic's form: content blocks, whole or as events (vllm/entrypoints/anthropic/).

#include "base/random_hex.h"
#include "server/api_response_internal.h"

static void begin_event(qw_buf *out, const char *type)
{
    qw_buf_printf(out, "event: %s\ndata: {\"type\":\"%s\"", type, type);
}

static void end_event(qw_buf *out)
{
    QW_PUT(out, "}\n\n");
}

static void write_index(const qw_api_response *r, qw_buf *out)
{
    qw_buf_printf(out, ",\"index\":%zu", r->items.index);
}

// ---- usage and reasons

static void write_usage(const qw_api_response *r, bool begins, qw_buf *out)
{
    qw_api_usage u = qw_api_response_usage(r);
    qw_buf_printf(out, "{\"input_tokens\":%" PRId64 ",\"output_tokens\":%" PRId64, u.prompt_tokens,
                  begins ? 0 : u.completion_tokens);
    if (r->cfg->enable_prompt_tokens_details && u.cached_tokens > 0)
        qw_buf_printf(out, ",\"cache_read_input_tokens\":%" PRId64, u.cached_tokens);
    qw_buf_putc(out, '}');
}

static void write_reason(const qw_api_response *r, qw_buf *out)
{
    const qw_choice *c = &r->choices[0];
    const char *name = qw_response_finish_name(r, c), *reason = "end_turn";
    bool at_text = c->output.params && c->output.i_stop >= 0;
    // A tool that was asked for by name ends with "stop" in a chat; here it is a use all the same.
    if (qw_response_n_calls(r, c) > 0 && c->finish == QW_FINISH_STOP)
        reason = "tool_use";
    else if (name && strcmp(name, "length") == 0)
        reason = "max_tokens";
    else if (name && strcmp(name, "tool_calls") == 0)
        reason = "tool_use";
    else if (at_text)
        reason = "stop_sequence";
    qw_buf_printf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", reason);
    if (at_text)
        qw_json_write_string(out, qw_str_of(c->output.params->stop[c->output.i_stop]));
    else
        QW_PUT(out, "null");
}

static void write_head(const qw_api_response *r, qw_buf *out)
{
    QW_PUT(out, "{\"id\":");
    qw_json_write_string(out, qw_str_of(r->req->id));
    QW_PUT(out, ",\"type\":\"message\",\"role\":\"assistant\",\"content\":[");
}

static void write_model(const qw_api_response *r, qw_buf *out)
{
    QW_PUT(out, "],\"model\":");
    qw_json_write_string(out, qw_str_of(r->cfg->served_names[0]));
    qw_buf_putc(out, ',');
}

// ---- events

static void begin(qw_api_response *r, qw_buf *out)
{
    begin_event(out, "message_start");
    QW_PUT(out, ",\"message\":");
    write_head(r, out);
    write_model(r, out);
    QW_PUT(out, "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
    write_usage(r, true, out);
    qw_buf_putc(out, '}');
    end_event(out);
}

static void write_call_head(const qw_tool_call *call, qw_buf *out)
{
    qw_buf_printf(out, "{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":", call->id);
    qw_json_write_string(out, qw_buf_text(&call->name));
    QW_PUT(out, ",\"input\":");
}

static void open_block(qw_api_response *r, qw_buf *out)
{
    begin_event(out, "content_block_start");
    write_index(r, out);
    QW_PUT(out, ",\"content_block\":");
    switch (r->items.kind) {
    case QW_ITEM_REASONING:
        QW_PUT(out, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
        break;
    case QW_ITEM_CALL:
        write_call_head(r->items.call, out);
        QW_PUT(out, "{}}");
        break;
    case QW_ITEM_TEXT:
    case QW_ITEM_NONE: QW_PUT(out, "{\"type\":\"text\",\"text\":\"\"}"); break;
    }
    end_event(out);
}

static void write_delta(qw_api_response *r, const char *type, const char *key, qw_str text,
                        qw_buf *out)
{
    begin_event(out, "content_block_delta");
    write_index(r, out);
    qw_buf_printf(out, ",\"delta\":{\"type\":\"%s\",\"%s\":", type, key);
    qw_json_write_string(out, text);
    qw_buf_putc(out, '}');
    end_event(out);
}

static void more(qw_api_response *r, qw_str news, qw_buf *out)
{
    switch (r->items.kind) {
    case QW_ITEM_REASONING: write_delta(r, "thinking_delta", "thinking", news, out); break;
    case QW_ITEM_CALL: write_delta(r, "input_json_delta", "partial_json", news, out); break;
    case QW_ITEM_TEXT:
    case QW_ITEM_NONE: write_delta(r, "text_delta", "text", news, out); break;
    }
}

// The input of a use must be an object, whatever the model made of it.
static void write_input(const qw_tool_call *call, qw_buf *out)
{
    qw_error ignored;
    json_t *v = NULL;
    if (qw_json_parse_digits(&v, qw_buf_text(&call->arguments).ptr, call->arguments.len,
                             "arguments", &ignored) == QW_OK &&
        json_is_object(v))
        qw_json_write(out, v, true);
    else
        QW_PUT(out, "{}");
    json_decref(v);
}

static void keep_block(qw_api_response *r, const char *signature)
{
    qw_items *s = &r->items;
    qw_buf *done = &s->done;
    if (s->index > 0) qw_buf_putc(done, ',');
    switch (s->kind) {
    case QW_ITEM_REASONING:
        QW_PUT(done, "{\"type\":\"thinking\",\"thinking\":");
        qw_json_write_string(done, qw_buf_text(&s->text));
        qw_buf_printf(done, ",\"signature\":\"%s\"}", signature);
        break;
    case QW_ITEM_CALL:
        write_call_head(s->call, done);
        write_input(s->call, done);
        qw_buf_putc(done, '}');
        break;
    case QW_ITEM_TEXT:
    case QW_ITEM_NONE:
        QW_PUT(done, "{\"type\":\"text\",\"text\":");
        qw_json_write_string(done, qw_buf_text(&s->text));
        qw_buf_putc(done, '}');
        break;
    }
}

static void close_block(qw_api_response *r, qw_buf *out)
{
    // Clients send thoughts back only with a signature; nobody checks this one.
    char signature[33];
    qw_random_hex(signature, 32);
    if (r->items.kind == QW_ITEM_REASONING)
        write_delta(r, "signature_delta", "signature", qw_str_of(signature), out);
    begin_event(out, "content_block_stop");
    write_index(r, out);
    end_event(out);
    if (!r->req->stream) keep_block(r, signature);
}

static void end(qw_api_response *r, qw_buf *out)
{
    begin_event(out, "message_delta");
    QW_PUT(out, ",\"delta\":{");
    write_reason(r, out);
    QW_PUT(out, "},\"usage\":");
    write_usage(r, false, out);
    end_event(out);
    begin_event(out, "message_stop");
    end_event(out);
}

static void whole(qw_api_response *r, qw_buf *out)
{
    write_head(r, out);
    qw_buf_append(out, r->items.done.data, r->items.done.len);
    write_model(r, out);
    write_reason(r, out);
    QW_PUT(out, ",\"usage\":");
    write_usage(r, false, out);
    qw_buf_putc(out, '}');
}

// ---- errors

static const char *error_type(qw_api_fault fault)
{
    switch (qw_api_fault_status(fault)) {
    case 401: return "authentication_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 500: return "api_error";
    case 503: return "overloaded_error";
    default: return "invalid_request_error";
    }
}

void qw_messages_write_error(qw_buf *out, const qw_api_error *e)
{
    qw_str text = qw_str_of(e->text);
    qw_buf_printf(
        out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", error_type(e->fault));
    // The text may quote bytes of a client.
    qw_json_write_string(out, qw_utf8_is_valid(text) ? text : QW_STR("the request is malformed"));
    QW_PUT(out, "}}");
}

static void fail(qw_api_response *r, const qw_api_error *why, qw_buf *out)
{
    (void)r;
    QW_PUT(out, "event: error\ndata: ");
    qw_messages_write_error(out, why);
    QW_PUT(out, "\n\n");
}

const qw_item_form qw_messages_form = {begin, open_block, more, close_block, end, whole, fail};
