// Answers of the Responses API: output items, whole or as events with their sequence numbers
// (http-api.md 1.11; vllm/entrypoints/openai/responses/).

#include "server/api_response_internal.h"

static const char *part_type(const qw_api_response *r)
{
    return r->items.kind == QW_ITEM_REASONING ? "reasoning_text" : "output_text";
}

static void begin_event(qw_api_response *r, const char *type, qw_buf *out)
{
    qw_buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%" PRId64, type, type,
                  r->items.n_events++);
}

static void begin_item_event(qw_api_response *r, const char *type, qw_buf *out)
{
    begin_event(r, type, out);
    qw_buf_printf(out, ",\"output_index\":%zu,\"item_id\":\"%s\"", r->items.index, r->items.id);
}

static void end_event(qw_buf *out)
{
    QW_PUT(out, "}\n\n");
}

// ---- items

// A part of an item with this text.
static void write_part(const qw_api_response *r, qw_str text, qw_buf *out)
{
    qw_buf_printf(out, "{\"type\":\"%s\",\"text\":", part_type(r));
    qw_json_write_string(out, text);
    if (r->items.kind == QW_ITEM_TEXT) QW_PUT(out, ",\"annotations\":[],\"logprobs\":[]");
    qw_buf_putc(out, '}');
}

static void write_call(const qw_api_response *r, qw_str arguments, const char *status, qw_buf *out)
{
    const qw_tool_call *call = r->items.call;
    qw_buf_printf(out, "{\"type\":\"function_call\",\"id\":\"%s\",\"call_id\":\"%s\",\"name\":",
                  r->items.id, call->id);
    qw_json_write_string(out, qw_buf_text(&call->name));
    QW_PUT(out, ",\"arguments\":");
    qw_json_write_string(out, arguments);
    qw_buf_printf(out, ",\"status\":\"%s\"}", status);
}

// The open item, as it begins or as it ended.
static void write_item(const qw_api_response *r, bool ended, qw_buf *out)
{
    const qw_items *s = &r->items;
    bool cut = ended && r->choices[0].finish == QW_FINISH_LENGTH;
    const char *status = !ended ? "in_progress" : cut ? "incomplete" : "completed";
    if (s->kind == QW_ITEM_CALL) {
        if (ended && s->call->is_whole) status = "completed";
        write_call(r, ended ? qw_buf_text(&s->call->arguments) : QW_STR(""), status, out);
        return;
    }
    if (s->kind == QW_ITEM_REASONING)
        qw_buf_printf(out, "{\"type\":\"reasoning\",\"id\":\"%s\",\"summary\":[],\"content\":[",
                      s->id);
    else
        qw_buf_printf(
            out, "{\"type\":\"message\",\"id\":\"%s\",\"role\":\"assistant\",\"content\":[", s->id);
    if (ended) write_part(r, qw_buf_text(&s->text), out);
    qw_buf_printf(out, "],%s\"status\":\"%s\"}",
                  s->kind == QW_ITEM_REASONING ? "\"encrypted_content\":null," : "", status);
}

static void open_item(qw_api_response *r, qw_buf *out)
{
    begin_event(r, "response.output_item.added", out);
    qw_buf_printf(out, ",\"output_index\":%zu,\"item\":", r->items.index);
    write_item(r, false, out);
    end_event(out);
    if (r->items.kind == QW_ITEM_CALL) return;
    begin_item_event(r,
                     r->items.kind == QW_ITEM_REASONING ? "response.reasoning_part.added"
                                                        : "response.content_part.added",
                     out);
    QW_PUT(out, ",\"content_index\":0,\"part\":");
    write_part(r, QW_STR(""), out);
    end_event(out);
}

static const char *delta_event(const qw_api_response *r, bool done)
{
    switch (r->items.kind) {
    case QW_ITEM_REASONING:
        return done ? "response.reasoning_text.done" : "response.reasoning_text.delta";
    case QW_ITEM_CALL:
        return done ? "response.function_call_arguments.done"
                    : "response.function_call_arguments.delta";
    case QW_ITEM_TEXT:
    case QW_ITEM_NONE: break;
    }
    return done ? "response.output_text.done" : "response.output_text.delta";
}

static void write_text_event(qw_api_response *r, bool done, qw_str text, qw_buf *out)
{
    bool is_call = r->items.kind == QW_ITEM_CALL;
    begin_item_event(r, delta_event(r, done), out);
    if (!is_call) QW_PUT(out, ",\"content_index\":0");
    if (is_call && done) {
        QW_PUT(out, ",\"name\":");
        qw_json_write_string(out, qw_buf_text(&r->items.call->name));
    }
    qw_buf_printf(out, ",\"%s\":", !done ? "delta" : is_call ? "arguments" : "text");
    qw_json_write_string(out, text);
    if (r->items.kind == QW_ITEM_TEXT) QW_PUT(out, ",\"logprobs\":[]");
    end_event(out);
}

static void more(qw_api_response *r, qw_str news, qw_buf *out)
{
    write_text_event(r, false, news, out);
}

static void close_item(qw_api_response *r, qw_buf *out)
{
    qw_items *s = &r->items;
    bool is_call = s->kind == QW_ITEM_CALL;
    qw_str text = qw_buf_text(is_call ? &s->call->arguments : &s->text);
    write_text_event(r, true, text, out);
    if (!is_call) {
        begin_item_event(r,
                         s->kind == QW_ITEM_REASONING ? "response.reasoning_part.done"
                                                      : "response.content_part.done",
                         out);
        QW_PUT(out, ",\"content_index\":0,\"part\":");
        write_part(r, text, out);
        end_event(out);
    }
    begin_event(r, "response.output_item.done", out);
    qw_buf_printf(out, ",\"output_index\":%zu,\"item\":", s->index);
    write_item(r, true, out);
    end_event(out);
    if (s->index > 0) qw_buf_putc(&s->done, ',');
    write_item(r, true, &s->done);
}

// ---- the answer object

// A member of the request as it came, or what it is without.
static void write_given(const qw_api_response *r, const char *key, const char *without, qw_buf *out)
{
    const json_t *v = json_object_get(r->req->original, key);
    qw_buf_printf(out, ",\"%s\":", key);
    if (v && !json_is_null(v))
        qw_json_write(out, v, true);
    else
        qw_buf_puts(out, without);
}

static void write_number(const char *key, double value, qw_buf *out)
{
    qw_buf_printf(out, ",\"%s\":", key);
    qw_json_write_f64(out, value);
}

static void write_response_usage(const qw_api_response *r, qw_buf *out)
{
    qw_api_usage u = qw_api_response_usage(r);
    qw_buf_printf(out,
                  ",\"usage\":{\"input_tokens\":%" PRId64
                  ",\"input_tokens_details\":{\"cached_tokens\":%" PRId64
                  "},\"output_tokens\":%" PRId64
                  ",\"output_tokens_details\":{\"reasoning_tokens\":%" PRId64
                  "},\"total_tokens\":%" PRId64 "}",
                  u.prompt_tokens, u.cached_tokens, u.completion_tokens, u.reasoning_tokens,
                  u.prompt_tokens + u.completion_tokens);
}

// As it begins, or as it ended with all of its items.
static void write_response(const qw_api_response *r, bool ended, qw_buf *out)
{
    const qw_sampling_params *p = &r->req->params;
    bool cut = ended && r->choices[0].finish == QW_FINISH_LENGTH;
    const char *status = !ended ? "in_progress" : cut ? "incomplete" : "completed";
    QW_PUT(out, "{\"id\":");
    qw_json_write_string(out, qw_str_of(r->req->id));
    qw_buf_printf(out, ",\"created_at\":%" PRId64 ",\"error\":null,\"incomplete_details\":%s",
                  r->created, cut ? "{\"reason\":\"max_output_tokens\"}" : "null");
    write_given(r, "instructions", "null", out);
    write_given(r, "metadata", "null", out);
    QW_PUT(out, ",\"model\":");
    qw_json_write_string(out, qw_str_of(r->cfg->served_names[0]));
    QW_PUT(out, ",\"object\":\"response\",\"output\":[");
    if (ended) qw_buf_append(out, r->items.done.data, r->items.done.len);
    qw_buf_putc(out, ']');
    write_given(r, "parallel_tool_calls", "true", out);
    write_number("temperature", p->temperature, out);
    write_given(r, "tool_choice", "\"auto\"", out);
    write_given(r, "tools", "[]", out);
    write_number("top_p", p->top_p, out);
    qw_buf_printf(out, ",\"background\":false,\"max_output_tokens\":%" PRId32,
                  r->parts[0].prompt->max_tokens);
    write_given(r, "max_tool_calls", "null", out);
    QW_PUT(out, ",\"previous_response_id\":null,\"prompt\":null");
    write_given(r, "reasoning", "null", out);
    write_given(r, "service_tier", "\"auto\"", out);
    qw_buf_printf(out, ",\"status\":\"%s\"", status);
    write_given(r, "text", "null", out);
    QW_PUT(out, ",\"top_logprobs\":null");
    write_given(r, "truncation", "\"disabled\"", out);
    if (ended)
        write_response_usage(r, out);
    else
        QW_PUT(out, ",\"usage\":null");
    write_given(r, "user", "null", out);
    qw_buf_putc(out, '}');
}

static void write_response_event(qw_api_response *r, const char *type, bool ended, qw_buf *out)
{
    begin_event(r, type, out);
    QW_PUT(out, ",\"response\":");
    write_response(r, ended, out);
    end_event(out);
}

static void begin(qw_api_response *r, qw_buf *out)
{
    write_response_event(r, "response.created", false, out);
    write_response_event(r, "response.in_progress", false, out);
}

static void end(qw_api_response *r, qw_buf *out)
{
    write_response_event(r, "response.completed", true, out);
}

static void whole(qw_api_response *r, qw_buf *out)
{
    write_response(r, true, out);
}

static void fail(qw_api_response *r, const qw_api_error *why, qw_buf *out)
{
    qw_str text = qw_str_of(why->text);
    begin_event(r, "error", out);
    qw_buf_printf(out, ",\"code\":\"%d\",\"message\":", qw_api_fault_status(why->fault));
    qw_json_write_string(out, qw_utf8_is_valid(text) ? text : QW_STR("the request is malformed"));
    QW_PUT(out, ",\"param\":");
    qw_api_write_text(out, why->param[0] ? qw_str_of(why->param) : (qw_str){NULL, 0});
    end_event(out);
}

const qw_item_form qw_responses_form = {begin, open_item, more, close_item, end, whole, fail};
