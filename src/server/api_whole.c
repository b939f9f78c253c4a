// The whole answer as one object (http-api.md 1.6, 1.8). Every key is printed, null when unset.

#include "server/api_response_internal.h"

static void write_head(const qw_api_response *r, const char *object, qw_buf *out)
{
    QW_PUT(out, "{\"id\":");
    qw_json_write_string(out, qw_str_of(r->req->id));
    qw_buf_printf(out, ",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", object, r->created);
    qw_json_write_string(out, qw_str_of(r->cfg->served_names[0]));
    QW_PUT(out, ",\"choices\":[");
}

static void write_middle(const qw_api_response *r, qw_buf *out)
{
    const char *print = r->cfg->system_fingerprint;
    QW_PUT(out, "],\"service_tier\":null,\"system_fingerprint\":");
    qw_api_write_text(out, print ? qw_str_of(print) : (qw_str){NULL, 0});
    QW_PUT(out, ",\"usage\":");
    qw_response_write_usage(out, r, qw_api_response_usage(r), true);
}

static void write_prompt_logprobs(const qw_api_response *r, size_t i_prompt, qw_buf *out)
{
    const qw_buf *items = &r->parts[i_prompt].logprobs;
    if (!r->req->prompt_logprobs) {
        QW_PUT(out, "null");
        return;
    }
    QW_PUT(out, "[null"); // nothing is known about the first token
    qw_buf_append(out, items->data, items->len);
    qw_buf_putc(out, ']');
}

static void write_ids_or_null(const qw_api_response *r, const qw_ids *ids, qw_buf *out)
{
    if (r->req->return_token_ids)
        qw_api_write_ids(out, ids->data, ids->len);
    else
        QW_PUT(out, "null");
}

// ---- chat

static qw_str text_or_null(const qw_buf *b, bool show)
{
    return show && b->len > 0 ? qw_buf_text(b) : (qw_str){NULL, 0};
}

static void write_calls(const qw_api_response *r, const qw_choice *c, qw_buf *arguments,
                        qw_buf *out)
{
    for (size_t i = 0, n = qw_response_n_calls(r, c); i < n; i++) {
        const qw_tool_call *call = qw_tool_calls_at(c->tools, i);
        if (i) qw_buf_putc(out, ',');
        qw_buf_printf(out,
                      "{\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":", call->id);
        qw_json_write_string(out, qw_buf_text(&call->name));
        QW_PUT(out, ",\"arguments\":");
        qw_buf_clear(arguments);
        qw_tool_call_write_arguments(call, arguments);
        qw_json_write_string(out, qw_buf_text(arguments));
        QW_PUT(out, "}}");
    }
}

static void write_message(qw_api_response *r, const qw_choice *c, qw_buf *out)
{
    qw_str reasoning = text_or_null(&r->reasoning, r->req->include_reasoning);
    qw_str content = text_or_null(&r->content, true);
    // Without a parser an empty answer is an empty text, with one it is no answer.
    if (!content.ptr && (r->req->tool_is_forced || !qw_response_parses(r, c))) content = QW_STR("");
    QW_PUT(out, "{\"role\":");
    qw_json_write_string(out, r->role);
    QW_PUT(out, ",\"content\":");
    qw_api_write_text(out, content);
    QW_PUT(out, ",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null,"
                "\"tool_calls\":[");
    write_calls(r, c, &r->divided, out);
    QW_PUT(out, "],\"reasoning\":");
    qw_api_write_text(out, reasoning);
    QW_PUT(out, ",\"reasoning_content\":");
    qw_api_write_text(out, reasoning);
    qw_buf_putc(out, '}');
}

static void write_chat_choice(qw_api_response *r, size_t i, qw_buf *out)
{
    qw_choice *c = &r->choices[i];
    qw_response_take_text(r, c);
    if (i) qw_buf_putc(out, ',');
    QW_PUT(out, "{\"index\":");
    qw_api_write_int(out, (int64_t)i);
    QW_PUT(out, ",\"message\":");
    write_message(r, c, out);
    QW_PUT(out, ",\"logprobs\":");
    if (r->req->logprobs) {
        QW_PUT(out, "{\"content\":[");
        qw_buf_append(out, c->chat_logprobs.data, c->chat_logprobs.len);
        QW_PUT(out, "]}");
    } else {
        QW_PUT(out, "null");
    }
    QW_PUT(out, ",\"finish_reason\":");
    qw_response_write_finish(out, r, c);
    QW_PUT(out, ",\"stop_reason\":");
    qw_response_write_stop_reason(out, c);
    QW_PUT(out, ",\"token_ids\":");
    write_ids_or_null(r, &c->ids, out);
    QW_PUT(out, ",\"routed_experts\":null}");
}

static void write_chat(qw_api_response *r, qw_buf *out)
{
    const qw_api_prompt *prompt = r->parts[0].prompt;
    write_head(r, "chat.completion", out);
    for (size_t i = 0; i < r->n_choices; i++) write_chat_choice(r, i, out);
    write_middle(r, out);
    QW_PUT(out, ",\"prompt_logprobs\":");
    write_prompt_logprobs(r, 0, out);
    QW_PUT(out, ",\"prompt_token_ids\":");
    write_ids_or_null(r, &prompt->ids, out);
    QW_PUT(out, ",\"prompt_text\":");
    qw_api_write_text(out,
                      r->req->return_prompt_text ? qw_buf_text(&prompt->text) : (qw_str){NULL, 0});
    QW_PUT(out, ",\"kv_transfer_params\":null}");
}

// ---- completions

static void write_completion_choice(qw_api_response *r, size_t i, qw_buf *out)
{
    qw_choice *c = &r->choices[i];
    size_t i_prompt = i / r->n_children;
    qw_response_take_text(r, c);
    if (i) qw_buf_putc(out, ',');
    QW_PUT(out, "{\"index\":");
    qw_api_write_int(out, (int64_t)i);
    QW_PUT(out, ",\"text\":");
    qw_json_write_string(out, qw_buf_text(&r->content));
    QW_PUT(out, ",\"logprobs\":");
    if (r->req->logprobs)
        qw_logprob_lists_write(out, &c->lists);
    else
        QW_PUT(out, "null");
    QW_PUT(out, ",\"finish_reason\":");
    qw_response_write_finish(out, r, c);
    QW_PUT(out, ",\"stop_reason\":");
    qw_response_write_stop_reason(out, c);
    QW_PUT(out, ",\"token_ids\":");
    write_ids_or_null(r, &c->ids, out);
    QW_PUT(out, ",\"prompt_logprobs\":");
    write_prompt_logprobs(r, i_prompt, out);
    QW_PUT(out, ",\"prompt_token_ids\":");
    write_ids_or_null(r, &r->parts[i_prompt].prompt->ids, out);
    QW_PUT(out, ",\"routed_experts\":null}");
}

static void write_completion(qw_api_response *r, qw_buf *out)
{
    write_head(r, "text_completion", out);
    for (size_t i = 0; i < r->n_choices; i++) write_completion_choice(r, i, out);
    write_middle(r, out);
    QW_PUT(out, ",\"kv_transfer_params\":null}");
}

void qw_response_write_whole(qw_api_response *r, qw_buf *out)
{
    if (r->req->kind == QW_API_CHAT)
        write_chat(r, out);
    else
        write_completion(r, out);
}
