// The events of a stream (http-api.md 1.7, 1.8). Only keys that are set are printed.

#include "server/api_response_internal.h"

// Every chunk: head, choices, "]", then the members that follow them.

static void begin_chunk(const qw_api_response *r, qw_buf *out)
{
    qw_buf_append(out, r->head.data, r->head.len);
}

static void end_chunk(qw_buf *out)
{
    QW_PUT(out, "}\n\n");
}

static void write_fingerprint(const qw_api_response *r, qw_buf *out)
{
    const char *print = r->cfg->system_fingerprint;
    QW_PUT(out, ",\"system_fingerprint\":");
    qw_api_write_text(out, print ? qw_str_of(print) : (qw_str){NULL, 0});
}

static void write_chunk_usage(const qw_api_response *r, qw_api_usage usage, qw_buf *out)
{
    QW_PUT(out, ",\"usage\":");
    qw_response_write_usage(out, r, usage, false);
}

static void write_ids_or_null(qw_buf *out, bool wanted, const int32_t *ids, size_t n)
{
    if (wanted)
        qw_api_write_ids(out, ids, n);
    else
        QW_PUT(out, "null");
}

// ---- chat

static void write_role(const qw_api_response *r, size_t i, qw_buf *out)
{
    const qw_api_prompt *prompt = r->parts[0].prompt;
    begin_chunk(r, out);
    QW_PUT(out, "{\"index\":");
    qw_api_write_int(out, (int64_t)i);
    QW_PUT(out, ",\"delta\":{\"role\":");
    qw_json_write_string(out, r->role);
    QW_PUT(out, ",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]");
    if (r->req->continuous_usage)
        write_chunk_usage(r, (qw_api_usage){.prompt_tokens = (int64_t)prompt->ids.len}, out);
    QW_PUT(out, ",\"prompt_token_ids\":");
    write_ids_or_null(out, r->req->return_token_ids, prompt->ids.data, prompt->ids.len);
    QW_PUT(out, ",\"prompt_text\":");
    qw_api_write_text(out,
                      r->req->return_prompt_text ? qw_buf_text(&prompt->text) : (qw_str){NULL, 0});
    end_chunk(out);
}

static void write_chat_echo(const qw_api_response *r, size_t i, qw_buf *out)
{
    begin_chunk(r, out);
    QW_PUT(out, "{\"index\":");
    qw_api_write_int(out, (int64_t)i);
    QW_PUT(out, ",\"delta\":{\"content\":");
    qw_json_write_string(out, r->echo);
    QW_PUT(out, "},\"finish_reason\":null}]");
    if (r->req->continuous_usage)
        write_chunk_usage(r, (qw_api_usage){.prompt_tokens = (int64_t)r->parts[0].prompt->ids.len},
                          out);
    end_chunk(out);
}

// One for each choice, together with the first output of any: sent earlier, it would make clients
// measure a first token that there is not.
static void write_roles(qw_api_response *r, qw_buf *out)
{
    if (r->roles_sent || r->req->kind != QW_API_CHAT) return;
    r->roles_sent = true;
    for (size_t i = 0; i < r->n_choices; i++) write_role(r, i, out);
    for (size_t i = 0; r->echo.ptr && i < r->n_choices; i++) write_chat_echo(r, i, out);
}

static bool has_call_news(const qw_api_response *r, const qw_choice *c)
{
    for (size_t i = 0, n = qw_response_n_calls(r, c); i < n; i++) {
        const qw_tool_call *call = qw_tool_calls_at(c->tools, i);
        if (!call->is_told || call->n_told < call->arguments.len) return true;
    }
    return false;
}

// What is new of a call: its beginning, more of its arguments, or both.
static void write_call_delta(qw_tool_call *call, size_t i, bool coder, qw_buf *out)
{
    qw_str news = {call->arguments.data, call->arguments.len};
    if (news.len > 0) news = (qw_str){news.ptr + call->n_told, news.len - call->n_told};
    qw_buf_putc(out, '{');
    if (!call->is_told) qw_buf_printf(out, "\"id\":\"%s\",\"type\":\"function\",", call->id);
    qw_buf_printf(out, "\"index\":%zu,\"function\":{", i);
    if (!call->is_told) {
        QW_PUT(out, "\"name\":");
        qw_json_write_string(out, qw_buf_text(&call->name));
    }
    if (news.len > 0 || (coder && !call->is_told)) {
        if (!call->is_told) qw_buf_putc(out, ',');
        QW_PUT(out, "\"arguments\":");
        qw_json_write_string(out, news.len > 0 ? news : QW_STR(""));
    }
    QW_PUT(out, "}}");
    call->is_told = true;
    call->n_told = call->arguments.len;
}

static void write_call_deltas(const qw_api_response *r, const qw_choice *c, qw_buf *out)
{
    bool first = true, coder = c->tools && qw_tool_calls_form(c->tools) == QW_TOOL_FORM_QWEN3_CODER;
    QW_PUT(out, "\"tool_calls\":[");
    for (size_t i = 0, n = qw_response_n_calls(r, c); i < n; i++) {
        qw_tool_call *call = qw_tool_calls_at(c->tools, i);
        if (call->is_told && call->n_told == call->arguments.len) continue;
        if (!first) qw_buf_putc(out, ',');
        first = false;
        write_call_delta(call, i, coder, out);
    }
    qw_buf_putc(out, ']');
}

// False if there is nothing to show, in which case nothing was written.
static bool write_delta(const qw_api_response *r, const qw_choice *c, qw_buf *out)
{
    bool parses = qw_response_parses(r, c);
    bool has_reasoning = r->reasoning.len > 0 && r->req->include_reasoning;
    bool has_content = r->content.len > 0 || !parses, has_calls = has_call_news(r, c);
    if (!has_reasoning && !has_content && !has_calls) {
        if (c->finish == QW_FINISH_NONE && !r->req->return_token_ids) return false;
        QW_PUT(out, "{}");
        return true;
    }
    // vLLM's hermes parser sets both keys whenever it says something.
    bool both = c->tools && qw_tool_calls_form(c->tools) == QW_TOOL_FORM_HERMES &&
                (has_content || has_calls);
    qw_buf_putc(out, '{');
    if (has_content || both) {
        QW_PUT(out, "\"content\":");
        if (has_content)
            qw_json_write_string(out, qw_buf_text(&r->content));
        else
            QW_PUT(out, "null");
    }
    if (has_reasoning) {
        qw_str reasoning = {r->reasoning.data, r->reasoning.len};
        if (has_content || both) qw_buf_putc(out, ',');
        QW_PUT(out, "\"reasoning\":");
        qw_json_write_string(out, reasoning);
        QW_PUT(out, ",\"reasoning_content\":");
        qw_json_write_string(out, reasoning);
    }
    if (has_calls || both) {
        if (has_content || both || has_reasoning) qw_buf_putc(out, ',');
        write_call_deltas(r, c, out);
    }
    qw_buf_putc(out, '}');
    return true;
}

static void write_chat_logprobs(const qw_choice *c, qw_buf *out)
{
    if (c->chat_logprobs.len == 0) {
        QW_PUT(out, "null");
        return;
    }
    QW_PUT(out, "{\"content\":[");
    qw_buf_append(out, c->chat_logprobs.data, c->chat_logprobs.len);
    QW_PUT(out, "]}");
}

// False if the choice has nothing to show yet: its lists wait for the next chunk.
static bool write_chat_chunk(const qw_api_response *r, const qw_choice *c, size_t i, qw_buf *out)
{
    size_t before = out->len;
    bool ends = c->finish != QW_FINISH_NONE;
    begin_chunk(r, out);
    QW_PUT(out, "{\"index\":");
    qw_api_write_int(out, (int64_t)i);
    QW_PUT(out, ",\"delta\":");
    if (!write_delta(r, c, out)) {
        if (!out->failed) {
            out->len = before;
            out->data[before] = '\0';
        }
        return false;
    }
    QW_PUT(out, ",\"logprobs\":");
    write_chat_logprobs(c, out);
    QW_PUT(out, ",\"finish_reason\":");
    qw_response_write_finish(out, r, c);
    if (ends) {
        QW_PUT(out, ",\"stop_reason\":");
        qw_response_write_stop_reason(out, c);
    }
    QW_PUT(out, ",\"token_ids\":");
    write_ids_or_null(out, r->req->return_token_ids, c->ids.data, c->ids.len);
    QW_PUT(out, "}]");
    if (r->req->continuous_usage) write_chunk_usage(r, qw_response_choice_usage(r, i), out);
    if (ends && !r->req->include_usage) write_fingerprint(r, out);
    end_chunk(out);
    return true;
}

// ---- completions

static void write_completion_chunk(const qw_api_response *r, const qw_choice *c, size_t i,
                                   qw_buf *out)
{
    const qw_api_prompt *prompt = r->parts[i / r->n_children].prompt;
    begin_chunk(r, out);
    QW_PUT(out, "{\"index\":");
    qw_api_write_int(out, (int64_t)i);
    QW_PUT(out, ",\"text\":");
    qw_json_write_string(out, qw_buf_text(&r->content));
    QW_PUT(out, ",\"logprobs\":");
    if (c->lists.n > 0)
        qw_logprob_lists_write(out, &c->lists);
    else
        QW_PUT(out, "null");
    QW_PUT(out, ",\"finish_reason\":");
    qw_response_write_finish(out, r, c);
    QW_PUT(out, ",\"stop_reason\":");
    qw_response_write_stop_reason(out, c);
    QW_PUT(out, ",\"prompt_token_ids\":");
    write_ids_or_null(out, r->req->return_token_ids && !c->has_begun, prompt->ids.data,
                      prompt->ids.len);
    QW_PUT(out, ",\"token_ids\":");
    write_ids_or_null(out, r->req->return_token_ids, c->ids.data, c->ids.len);
    QW_PUT(out, "}]");
    if (r->req->continuous_usage) write_chunk_usage(r, qw_response_choice_usage(r, i), out);
    end_chunk(out);
}

// ---- which chunks are due

// The first token goes out at once, then stream_interval tokens together.
static bool is_due(const qw_api_response *r, const qw_choice *c)
{
    return c->finish != QW_FINISH_NONE || !c->has_begun || c->n_pending >= r->cfg->stream_interval;
}

static void write_chunk(qw_api_response *r, qw_choice *c, size_t i, qw_buf *out)
{
    qw_response_take_text(r, c);
    if (r->req->kind == QW_API_COMPLETION)
        write_completion_chunk(r, c, i, out);
    else if (!write_chat_chunk(r, c, i, out))
        return;
    c->has_begun = true;
    c->n_pending = 0;
    c->ids.len = 0;
    qw_buf_clear(&c->chat_logprobs);
    qw_logprob_lists_clear(&c->lists);
}

void qw_response_write_chunks(qw_api_response *r, qw_buf *out)
{
    size_t n_kept = 0;
    if (r->n_dirty > 0) write_roles(r, out);
    for (size_t k = 0; k < r->n_dirty; k++) {
        size_t i = r->dirty[k];
        qw_choice *c = &r->choices[i];
        if (is_due(r, c)) {
            write_chunk(r, c, i, out);
            c->is_dirty = false;
        } else {
            r->dirty[n_kept++] = (uint32_t)i;
        }
    }
    r->n_dirty = n_kept;
}

void qw_response_write_end(qw_api_response *r, qw_buf *out)
{
    if (r->req->include_usage) {
        begin_chunk(r, out);
        qw_buf_putc(out, ']');
        write_chunk_usage(r, qw_api_response_usage(r), out);
        write_fingerprint(r, out);
        end_chunk(out);
    }
    QW_PUT(out, "data: [DONE]\n\n");
}
