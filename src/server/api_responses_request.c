// /v1/responses: input items, tools and formats of the Responses API, turned into a chat
// (http-api.md 1.11; vllm/entrypoints/openai/responses/). Nothing is stored.

#include "server/api_request_internal.h"

static const char *const truncations[] = {"auto", "disabled", NULL};

static const qw_field fields[] = {
    {"input", .type = QW_FIELD_ANY, .required = true, .not_null = true},
    {"instructions", .type = QW_FIELD_STR},
    {"background", .type = QW_FIELD_BOOL},
    {"include", .type = QW_FIELD_STR_LIST},
    {"max_output_tokens", .type = QW_FIELD_INT},
    {"max_tool_calls", .type = QW_FIELD_INT},
    {"metadata", .type = QW_FIELD_OBJECT},
    {"parallel_tool_calls", .type = QW_FIELD_BOOL},
    {"previous_response_id", .type = QW_FIELD_STR},
    {"reasoning", .type = QW_FIELD_OBJECT},
    {"store", .type = QW_FIELD_BOOL},
    {"stream", .type = QW_FIELD_BOOL},
    {"text", .type = QW_FIELD_OBJECT},
    {"tool_choice", .type = QW_FIELD_ANY},
    {"tools", .type = QW_FIELD_LIST},
    {"truncation", .type = QW_FIELD_CHOICE, .choices = truncations},
};

static qw_status no_memory(qw_api_error *err)
{
    return qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL, "out of memory while reading a request");
}

static qw_str str_of(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return qw_api_is_text(v) ? qw_json_str(v) : (qw_str){NULL, 0};
}

static json_t *copy_text(qw_str text)
{
    return json_stringn(text.ptr ? text.ptr : "", text.len);
}

// ---- input

// The turn of the assistant that calls, thoughts and text are added to: the last message, if it is
// one of this kind and made of items. NULL: no memory.
static json_t *assistant_turn(json_t *messages, json_t **open)
{
    if (!*open) *open = qw_api_add_message(messages, "assistant", json_string(""));
    return *open;
}

static bool add_call(json_t *turn, const json_t *item)
{
    qw_str arguments = str_of(item, "arguments");
    json_t *calls = json_object_get(turn, "tool_calls");
    if (!calls) {
        if (!qw_api_set(turn, "tool_calls", json_array())) return false;
        calls = json_object_get(turn, "tool_calls");
    }
    json_t *call = json_object(), *function = json_object();
    bool ok = call && function && json_array_append(calls, call) == 0 &&
              qw_api_set(call, "id", copy_text(str_of(item, "call_id"))) &&
              qw_api_set(call, "type", json_string("function")) &&
              json_object_set(call, "function", function) == 0 &&
              qw_api_set(function, "name", copy_text(str_of(item, "name"))) &&
              qw_api_set(function, "arguments", copy_text(arguments));
    json_decref(call);
    json_decref(function);
    return ok;
}

// Texts of a list of parts, one after the other.
static void gather(qw_buf *out, const json_t *parts)
{
    for (size_t i = 0; i < json_array_size(parts); i++) {
        qw_str text = str_of(json_array_get(parts, i), "text");
        qw_buf_append(out, text.ptr, text.len);
    }
}

static bool add_reasoning(json_t *turn, const json_t *item)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 30);
    gather(&text, json_object_get(item, "content"));
    if (text.len == 0) gather(&text, json_object_get(item, "summary"));
    bool ok = text.failed == QW_OK &&
              qw_api_set(turn, "reasoning", json_stringn(text.data ? text.data : "", text.len));
    qw_buf_release(&text);
    return ok;
}

// Text of an assistant: of the open turn, if that has none and no calls yet.
static bool add_said(json_t *messages, json_t **open, json_t *content)
{
    const json_t *old = json_object_get(*open, "content");
    bool fits = *open && json_string_length(old) == 0 && json_is_string(old) &&
                !json_object_get(*open, "tool_calls");
    if (fits) return json_object_set(*open, "content", content) == 0;
    *open = qw_api_add_message(messages, "assistant", json_incref(content));
    return *open != NULL;
}

static qw_status add_item(json_t *messages, json_t **open, const json_t *item, size_t i,
                          qw_api_error *err)
{
    qw_str type = str_of(item, "type"), role = str_of(item, "role");
    json_t *content = json_object_get(item, "content");
    bool ok;
    if (qw_str_is(type, "function_call")) {
        ok = assistant_turn(messages, open) && add_call(*open, item);
        return ok ? QW_OK : no_memory(err);
    }
    if (qw_str_is(type, "reasoning")) {
        *open = NULL; // thoughts begin a turn
        ok = assistant_turn(messages, open) && add_reasoning(*open, item);
        return ok ? QW_OK : no_memory(err);
    }
    if (qw_str_is(type, "function_call_output")) {
        json_t *output = json_object_get(item, "output"), *m;
        *open = NULL;
        m = qw_api_add_message(messages, "tool", output ? json_incref(output) : json_string(""));
        ok = m && qw_api_set(m, "tool_call_id", copy_text(str_of(item, "call_id")));
        return ok ? QW_OK : no_memory(err);
    }
    if (!role.ptr || !content || (type.ptr && !qw_str_is(type, "message")))
        return qw_api_fail_rule(err, "input",
                                "input[%zu]: an item of type '%.*s' is not supported; known are "
                                "message, function_call, function_call_output and reasoning",
                                i, (int)(type.len > 60 ? 60 : type.len), type.ptr ? type.ptr : "");
    if (qw_str_is(role, "assistant"))
        return add_said(messages, open, content) ? QW_OK : no_memory(err);
    *open = NULL;
    // Templates know no developers.
    char name[80];
    snprintf(name, sizeof name, "%.*s", (int)(role.len > 79 ? 79 : role.len), role.ptr);
    const char *as = qw_str_is(role, "developer") ? "system" : name;
    return qw_api_add_message(messages, as, json_incref(content)) ? QW_OK : no_memory(err);
}

static qw_status convert_input(json_t *chat, const json_t *body, qw_api_error *err)
{
    const json_t *input = json_object_get(body, "input");
    json_t *instructions = json_object_get(body, "instructions"), *open = NULL;
    json_t *messages = json_array();
    qw_status st =
        messages && json_object_set(chat, "messages", messages) == 0 ? QW_OK : no_memory(err);
    if (st == QW_OK && instructions && json_string_length(instructions) > 0 &&
        !qw_api_add_message(messages, "system", json_incref(instructions)))
        st = no_memory(err);
    if (st == QW_OK && json_is_string(input) &&
        !qw_api_add_message(messages, "user", json_incref((json_t *)(uintptr_t)input)))
        st = no_memory(err);
    for (size_t i = 0; st == QW_OK && i < json_array_size(input); i++)
        st = add_item(messages, &open, json_array_get(input, i), i, err);
    json_decref(messages);
    return st;
}

// ---- tools

static qw_status convert_tool(json_t *tools, const json_t *tool, size_t i, qw_api_error *err)
{
    static const char *const shared[] = {"name", "description", "parameters", "strict", NULL};
    qw_str type = str_of(tool, "type");
    if (!qw_str_is(type, "function"))
        return qw_api_fail_rule(
            err, "tools", "tools[%zu]: a tool of type '%.*s' is not supported, only functions", i,
            (int)(type.len > 60 ? 60 : type.len), type.ptr ? type.ptr : "");
    json_t *to = json_object(), *function = json_object();
    bool ok = to && function && json_array_append(tools, to) == 0 &&
              qw_api_set(to, "type", json_string("function")) &&
              json_object_set(to, "function", function) == 0 &&
              qw_api_copy_members(function, tool, shared);
    json_decref(to);
    json_decref(function);
    return ok ? QW_OK : no_memory(err);
}

static qw_status convert_tools(json_t *chat, const json_t *body, qw_api_error *err)
{
    const json_t *given = json_object_get(body, "tools");
    json_t *choice = json_object_get(body, "tool_choice");
    if (json_array_size(given) == 0) return QW_OK;
    json_t *tools = json_array();
    qw_status st = tools && json_object_set(chat, "tools", tools) == 0 ? QW_OK : no_memory(err);
    for (size_t i = 0; st == QW_OK && i < json_array_size(given); i++)
        st = convert_tool(tools, json_array_get(given, i), i, err);
    json_decref(tools);
    if (st != QW_OK || !choice) return st;
    if (json_is_object(choice)) {
        qw_str name = str_of(choice, "name");
        if (!qw_str_is(str_of(choice, "type"), "function") || !name.ptr)
            return qw_api_fail_rule(err, "tool_choice",
                                    "tool_choice must be 'none', 'auto', 'required' or {'type': "
                                    "'function', 'name': ...}");
        choice =
            json_pack("{s:s,s:{s:s%}}", "type", "function", "function", "name", name.ptr, name.len);
    } else {
        choice = json_incref(choice);
    }
    return qw_api_set(chat, "tool_choice", choice) ? QW_OK : no_memory(err);
}

// ---- the rest

// text.format {"type", "name", "schema", "strict"}
static bool convert_format(json_t *chat, const json_t *body)
{
    static const char *const shared[] = {"name", "description", "schema", "strict", NULL};
    const json_t *format = json_object_get(json_object_get(body, "text"), "format");
    qw_str type = str_of(format, "type");
    if (!type.ptr || qw_str_is(type, "text")) return true;
    json_t *to = json_object(), *schema = json_object();
    bool ok =
        to && schema && qw_api_set(to, "type", copy_text(type)) &&
        (!qw_str_is(type, "json_schema") || (qw_api_copy_members(schema, format, shared) &&
                                             json_object_set(to, "json_schema", schema) == 0)) &&
        json_object_set(chat, "response_format", to) == 0;
    json_decref(to);
    json_decref(schema);
    return ok;
}

static bool convert_rest(json_t *chat, const json_t *body, const json_t *raw)
{
    static const char *const shared[] = {"model",
                                         "stream",
                                         "parallel_tool_calls",
                                         "temperature",
                                         "top_p",
                                         "top_k",
                                         "min_p",
                                         "seed",
                                         "stop",
                                         "frequency_penalty",
                                         "presence_penalty",
                                         "repetition_penalty",
                                         "ignore_eos",
                                         "logit_bias",
                                         "skip_special_tokens",
                                         "include_stop_str_in_output",
                                         "priority",
                                         "cache_salt",
                                         "request_id",
                                         "structured_outputs",
                                         "chat_template_kwargs",
                                         "user",
                                         "vllm_xargs",
                                         NULL};
    json_t *effort = json_object_get(json_object_get(body, "reasoning"), "effort"),
           *most = json_object_get(body, "max_output_tokens");
    bool cuts = qw_str_is(qw_api_str(body, "truncation"), "auto");
    return qw_api_copy_members(chat, raw, shared) &&
           (!most || json_object_set(chat, "max_completion_tokens", most) == 0) &&
           (!effort || json_object_set(chat, "reasoning_effort", effort) == 0) &&
           (!cuts || qw_api_set(chat, "truncate_prompt_tokens", json_integer(-1))) &&
           convert_format(chat, body);
}

static qw_status check_features(const json_t *body, const json_t *raw, qw_api_error *err)
{
    const json_t *include = json_object_get(body, "include");
    qw_str previous = qw_api_str(body, "previous_response_id");
    if (qw_json_has(raw, "prompt"))
        return qw_api_fail(err, QW_FAULT_REQUEST, "prompt", "prompt template is not supported");
    if (qw_api_bool(body, "background", false))
        return qw_api_fail(err, QW_FAULT_REQUEST, "background",
                           "This server does not support `store=True` and therefore does not "
                           "support the background mode.");
    if (previous.ptr)
        return qw_api_fail(err, QW_FAULT_NOT_FOUND, "previous_response_id",
                           "Response with id '%.*s' not found.",
                           (int)(previous.len > 200 ? 200 : previous.len), previous.ptr);
    for (size_t i = 0; i < json_array_size(include); i++)
        if (qw_str_is(qw_json_str(json_array_get(include, i)), "message.output_text.logprobs"))
            return qw_api_fail(err, QW_FAULT_REQUEST, "include",
                               "message.output_text.logprobs is not supported; ask "
                               "/v1/chat/completions for logprobs");
    return QW_OK;
}

qw_status qw_api_responses_to_chat(json_t **out, const json_t *raw, qw_api_error *err)
{
    qw_issues issues = {0};
    json_t *body = json_object(), *chat = json_object();
    qw_status st = body && chat ? QW_OK : no_memory(err);
    if (st == QW_OK) st = qw_api_schema_read(body, raw, fields, QW_ARRAY_LEN(fields), &issues, err);
    if (st == QW_OK) {
        const json_t *input = json_object_get(body, "input");
        if (input && !qw_api_is_text(input) && !json_is_array(input))
            qw_issues_add(&issues, "'input'", "string_type", input,
                          "Input should be a valid string or a list of items");
        st = qw_issues_check(&issues, NULL, err);
    }
    if (st == QW_OK) st = check_features(body, raw, err);
    if (st == QW_OK) st = convert_input(chat, body, err);
    if (st == QW_OK) st = convert_tools(chat, body, err);
    if (st == QW_OK && !convert_rest(chat, body, raw)) st = no_memory(err);
    if (st == QW_OK) *out = json_incref(chat);
    json_decref(body);
    json_decref(chat);
    return st;
}
