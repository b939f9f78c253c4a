// /v1/messages: Anthropic's form of a request, as coding tools send it, turned into a chat
// (vllm/entrypoints/anthropic/).

#include "server/api_request_internal.h"

static const qw_field fields[] = {
    {"model", .type = QW_FIELD_STR, .required = true},
    {"messages", .type = QW_FIELD_LIST, .required = true},
    {"max_tokens", .type = QW_FIELD_INT, .required = true, .not_null = true, .has_min = true,
     .min = 1},
    {"metadata", .type = QW_FIELD_OBJECT},
    {"output_config", .type = QW_FIELD_OBJECT},
    {"stop_sequences", .type = QW_FIELD_STR_LIST},
    {"stream", .type = QW_FIELD_BOOL},
    {"system", .type = QW_FIELD_ANY},
    {"thinking", .type = QW_FIELD_OBJECT},
    {"tool_choice", .type = QW_FIELD_OBJECT},
    {"tools", .type = QW_FIELD_LIST},
    {"chat_template_kwargs", .type = QW_FIELD_OBJECT},
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

// ---- blocks

// A message on its way: the parts of its own, and what goes into other members.
typedef struct draft {
    json_t *messages; // those before it
    const char *role;
    json_t *parts, *calls;
    qw_buf reasoning;
} draft;

static bool add_part(json_t *parts, qw_str text)
{
    json_t *part = json_object();
    return part && json_array_append_new(parts, part) == 0 &&
           qw_api_set(part, "type", json_string("text")) &&
           qw_api_set(part, "text", copy_text(text));
}

static qw_status add_tool_use(draft *d, const json_t *block, qw_api_error *err)
{
    qw_str name = str_of(block, "name"), id = str_of(block, "id");
    json_t *input = json_object_get(block, "input");
    if (name.len == 0) return qw_api_fail_rule(err, "messages", "a tool_use block needs a 'name'");
    if (input && !json_is_object(input) && !json_is_null(input))
        return qw_api_fail_rule(err, "messages",
                                "the 'input' of a tool_use block must be an object");
    json_t *call = json_object(), *function = json_object();
    bool ok = call && function && json_array_append(d->calls, call) == 0 &&
              qw_api_set(call, "id", copy_text(id)) &&
              qw_api_set(call, "type", json_string("function")) &&
              json_object_set(call, "function", function) == 0 &&
              qw_api_set(function, "name", copy_text(name)) &&
              qw_api_set(function, "arguments",
                         json_is_object(input) ? json_incref(input) : json_object());
    json_decref(call);
    json_decref(function);
    return ok ? QW_OK : no_memory(err);
}

// The text of a result: a string, or text blocks joined by newlines.
static qw_status result_text(qw_buf *out, const json_t *content, qw_api_error *err)
{
    if (qw_api_is_text(content)) {
        qw_buf_append(out, json_string_value(content), json_string_length(content));
        return QW_OK;
    }
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *item = json_array_get(content, i);
        if (qw_str_is(str_of(item, "type"), "image"))
            return qw_api_fail(err, QW_FAULT_REQUEST, "image",
                               "At most 0 image(s) may be provided in one prompt.");
        if (!qw_str_is(str_of(item, "type"), "text")) continue;
        if (out->len > 0) qw_buf_putc(out, '\n');
        qw_str text = str_of(item, "text");
        qw_buf_append(out, text.ptr, text.len);
    }
    return QW_OK;
}

// A result is a message of its own, in front of what the user says beside it.
static qw_status add_tool_result(draft *d, const json_t *block, qw_api_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 30);
    qw_status st = result_text(&text, json_object_get(block, "content"), err);
    if (st == QW_OK) {
        json_t *m = text.failed
                        ? NULL
                        : qw_api_add_message(d->messages, "tool",
                                             json_stringn(text.data ? text.data : "", text.len));
        if (!m || !qw_api_set(m, "tool_call_id", copy_text(str_of(block, "tool_use_id"))))
            st = no_memory(err);
    }
    qw_buf_release(&text);
    return st;
}

static qw_status add_block(draft *d, const json_t *block, qw_api_error *err)
{
    qw_str type = str_of(block, "type"), text = str_of(block, "text");
    bool is_user = strcmp(d->role, "user") == 0;
    if (qw_str_is(type, "text"))
        return text.len == 0 || add_part(d->parts, text) ? QW_OK : no_memory(err);
    if (qw_str_is(type, "thinking")) {
        qw_str thinking = str_of(block, "thinking");
        qw_buf_append(&d->reasoning, thinking.ptr, thinking.len);
        return QW_OK;
    }
    if (qw_str_is(type, "redacted_thinking") || qw_str_is(type, "tool_reference")) return QW_OK;
    if (qw_str_is(type, "tool_use") && !is_user) return add_tool_use(d, block, err);
    if (qw_str_is(type, "tool_result") && is_user) return add_tool_result(d, block, err);
    if (qw_str_is(type, "image"))
        return qw_api_fail(err, QW_FAULT_REQUEST, "image",
                           "At most 0 image(s) may be provided in one prompt.");
    return qw_api_fail_rule(err, "messages",
                            "a block of type '%.*s' cannot stand in a message of the role '%s'; "
                            "known are text, thinking, redacted_thinking, tool_use of the "
                            "assistant, tool_result of the user",
                            (int)(type.len > 60 ? 60 : type.len), type.ptr ? type.ptr : "",
                            d->role);
}

static qw_status end_draft(draft *d, qw_api_error *err)
{
    size_t n_parts = json_array_size(d->parts), n_calls = json_array_size(d->calls);
    bool is_user = strcmp(d->role, "user") == 0;
    if (is_user && n_parts == 0) return QW_OK; // only results
    json_t *content =
        n_parts == 1 ? json_object_get(json_array_get(d->parts, 0), "text") : d->parts;
    json_t *m = qw_api_add_message(d->messages, d->role,
                                   n_parts > 0 ? json_incref(content) : json_string(""));
    bool ok = m && d->reasoning.failed == QW_OK;
    if (ok && n_calls > 0) ok = json_object_set(m, "tool_calls", d->calls) == 0;
    if (ok && d->reasoning.len > 0)
        ok = qw_api_set(m, "reasoning", json_stringn(d->reasoning.data, d->reasoning.len));
    return ok ? QW_OK : no_memory(err);
}

static qw_status add_blocks(json_t *messages, const char *role, const json_t *content,
                            qw_api_error *err)
{
    draft d = {.messages = messages, .role = role, .parts = json_array(), .calls = json_array()};
    qw_buf_init(&d.reasoning, (size_t)1 << 30);
    qw_status st = d.parts && d.calls ? QW_OK : no_memory(err);
    for (size_t i = 0; st == QW_OK && i < json_array_size(content); i++)
        st = add_block(&d, json_array_get(content, i), err);
    if (st == QW_OK) st = end_draft(&d, err);
    json_decref(d.parts);
    json_decref(d.calls);
    qw_buf_release(&d.reasoning);
    return st;
}

// ---- messages

static bool add_system_text(qw_buf *out, qw_str text)
{
    // Claude Code's own header, which differs each time and would keep prefixes from being shared
    if (text.len == 0 || qw_str_starts_with(text, QW_STR("x-anthropic-billing-header")))
        return false;
    qw_buf_append(out, text.ptr, text.len);
    return true;
}

static void add_system(qw_buf *out, const json_t *system)
{
    if (qw_api_is_text(system)) (void)add_system_text(out, qw_json_str(system));
    for (size_t i = 0; i < json_array_size(system); i++) {
        const json_t *block = json_array_get(system, i);
        if (qw_str_is(str_of(block, "type"), "text"))
            (void)add_system_text(out, str_of(block, "text"));
    }
}

static bool is_content(const json_t *v)
{
    if (!json_is_array(v)) return qw_api_is_text(v);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_object(json_array_get(v, i))) return false;
    return true;
}

static const char *role_of(const json_t *message)
{
    qw_str role = str_of(message, "role");
    if (qw_str_is(role, "assistant")) return "assistant";
    if (qw_str_is(role, "system")) return "system";
    // "ctx" and "msg" come from newer coding tools.
    bool user = qw_str_is(role, "user") || qw_str_is(role, "ctx") || qw_str_is(role, "msg");
    return user ? "user" : NULL;
}

static void check_form(const json_t *body, qw_issues *issues)
{
    char path[60];
    const json_t *messages = json_object_get(body, "messages"),
                 *system = json_object_get(body, "system");
    if (system && !is_content(system))
        qw_issues_add(issues, "'system'", "string_type", system,
                      "Input should be a valid string or a list of blocks");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        snprintf(path, sizeof path, "'messages', %zu, 'role'", i);
        if (!role_of(m))
            qw_issues_add(issues, path, "literal_error", json_object_get(m, "role"),
                          "Input should be 'user', 'assistant' or 'system'");
        snprintf(path, sizeof path, "'messages', %zu, 'content'", i);
        if (!is_content(json_object_get(m, "content")))
            qw_issues_add(issues, path, "string_type", json_object_get(m, "content"),
                          "Input should be a valid string or a list of blocks");
    }
    const json_t *tools = json_object_get(body, "tools");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i);
        snprintf(path, sizeof path, "'tools', %zu, 'name'", i);
        if (!str_of(tool, "name").ptr)
            qw_issues_add(issues, path, "missing", NULL, "Field required");
        snprintf(path, sizeof path, "'tools', %zu, 'input_schema'", i);
        if (!json_is_object(json_object_get(tool, "input_schema")))
            qw_issues_add(issues, path, "dict_type", json_object_get(tool, "input_schema"),
                          "Input should be a valid dictionary");
    }
}

static qw_status convert_messages(json_t *chat, const json_t *body, qw_api_error *err)
{
    qw_buf system;
    const json_t *given = json_object_get(body, "messages");
    json_t *messages = json_array();
    qw_status st =
        messages && json_object_set(chat, "messages", messages) == 0 ? QW_OK : no_memory(err);
    qw_buf_init(&system, (size_t)1 << 30);
    add_system(&system, json_object_get(body, "system"));
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *m = json_array_get(given, i);
        if (strcmp(role_of(m), "system") == 0) add_system(&system, json_object_get(m, "content"));
    }
    if (st == QW_OK && system.failed != QW_OK) st = no_memory(err);
    if (st == QW_OK && system.len > 0 &&
        !qw_api_add_message(messages, "system", json_stringn(system.data, system.len)))
        st = no_memory(err);
    qw_buf_release(&system);
    for (size_t i = 0; st == QW_OK && i < json_array_size(given); i++) {
        const json_t *m = json_array_get(given, i);
        json_t *content = json_object_get(m, "content");
        const char *role = role_of(m);
        if (strcmp(role, "system") == 0) continue;
        if (json_is_array(content))
            st = add_blocks(messages, role, content, err);
        else if (!qw_api_add_message(messages, role, json_incref(content)))
            st = no_memory(err);
    }
    json_decref(messages);
    return st;
}

// ---- tools

static bool convert_tool(json_t *tools, const json_t *tool)
{
    static const char *const shared[] = {"name", "description", "strict", NULL};
    json_t *to = json_object(), *function = json_object();
    bool ok = to && function && json_array_append(tools, to) == 0 &&
              qw_api_set(to, "type", json_string("function")) &&
              json_object_set(to, "function", function) == 0 &&
              qw_api_copy_members(function, tool, shared) &&
              json_object_set(function, "parameters", json_object_get(tool, "input_schema")) == 0;
    json_decref(to);
    json_decref(function);
    return ok;
}

static qw_status convert_choice(json_t *chat, const json_t *choice, qw_api_error *err)
{
    qw_str type = str_of(choice, "type"), name = str_of(choice, "name");
    json_t *to = NULL;
    if (qw_str_is(type, "auto") || qw_str_is(type, "none")) {
        to = copy_text(type);
    } else if (qw_str_is(type, "any")) {
        to = json_string("required");
    } else if (qw_str_is(type, "tool")) {
        if (name.len == 0)
            return qw_api_fail_rule(err, "tool_choice",
                                    "tool_choice.name is required when type is 'tool'");
        to =
            json_pack("{s:s,s:{s:s%}}", "type", "function", "function", "name", name.ptr, name.len);
    } else {
        return qw_api_fail_rule(err, "tool_choice",
                                "tool_choice.type should be 'auto', 'any', 'tool' or 'none'");
    }
    bool ok = qw_api_set(chat, "tool_choice", to);
    if (ok && qw_api_is_truthy(json_object_get(choice, "disable_parallel_tool_use")))
        ok = qw_api_set(chat, "parallel_tool_calls", json_false());
    return ok ? QW_OK : no_memory(err);
}

static qw_status convert_tools(json_t *chat, const json_t *body, qw_api_error *err)
{
    const json_t *given = json_object_get(body, "tools"),
                 *choice = json_object_get(body, "tool_choice");
    if (json_array_size(given) == 0) return QW_OK; // an empty list is none here
    json_t *tools = json_array();
    bool ok = tools && json_object_set(chat, "tools", tools) == 0;
    for (size_t i = 0; ok && i < json_array_size(given); i++)
        ok = convert_tool(tools, json_array_get(given, i));
    json_decref(tools);
    if (!ok) return no_memory(err);
    return choice ? convert_choice(chat, choice, err) : QW_OK;
}

// ---- the rest

// output_config {"effort", "format"}; thinking {"type": "disabled"} turns thinking off.
static bool convert_output(json_t *chat, const json_t *body)
{
    const json_t *config = json_object_get(body, "output_config"),
                 *format = json_object_get(config, "format");
    json_t *effort = json_object_get(config, "effort"), *schema = json_object_get(format, "schema");
    if (effort && json_object_set(chat, "reasoning_effort", effort) != 0) return false;
    if (schema && !qw_api_set(chat, "response_format",
                              json_pack("{s:s,s:{s:s,s:O}}", "type", "json_schema", "json_schema",
                                        "name", "json_schema", "schema", schema)))
        return false;
    if (qw_str_is(str_of(json_object_get(body, "thinking"), "type"), "disabled") &&
        !json_object_get(body, "chat_template_kwargs"))
        return qw_api_set(chat, "chat_template_kwargs", json_pack("{s:b}", "enable_thinking", 0));
    return true;
}

static qw_status convert(json_t *chat, const json_t *body, const json_t *raw, qw_api_error *err)
{
    static const char *const shared[] = {"model", "max_tokens", "stream", "chat_template_kwargs",
                                         NULL};
    // Beside Anthropic's own, what a chat may have to steer the sampling
    static const char *const sampling[] = {
        "temperature",        "top_p",      "top_k",      "min_p",    "seed",
        "repetition_penalty", "ignore_eos", "cache_salt", "priority", "request_id",
        "structured_outputs", NULL};
    json_t *stop = json_object_get(body, "stop_sequences");
    qw_status st = convert_messages(chat, body, err);
    if (st == QW_OK) st = convert_tools(chat, body, err);
    if (st != QW_OK) return st;
    bool ok = qw_api_copy_members(chat, body, shared) && qw_api_copy_members(chat, raw, sampling) &&
              (!stop || json_object_set(chat, "stop", stop) == 0) && convert_output(chat, body);
    return ok ? QW_OK : no_memory(err);
}

qw_status qw_api_messages_to_chat(json_t **out, const json_t *raw, bool counts_only,
                                  qw_api_error *err)
{
    qw_field own[QW_ARRAY_LEN(fields)];
    qw_issues issues = {0};
    json_t *body = json_object(), *chat = json_object();
    memcpy(own, fields, sizeof own);
    for (size_t i = 0; i < QW_ARRAY_LEN(own); i++)
        if (counts_only && strcmp(own[i].name, "max_tokens") == 0) own[i].required = false;
    qw_status st = body && chat ? QW_OK : no_memory(err);
    if (st == QW_OK) st = qw_api_schema_read(body, raw, own, QW_ARRAY_LEN(own), &issues, err);
    if (st == QW_OK) {
        check_form(body, &issues);
        st = qw_issues_check(&issues, NULL, err);
    }
    if (st == QW_OK) st = convert(chat, body, raw, err);
    if (st == QW_OK) *out = json_incref(chat);
    json_decref(body);
    json_decref(chat);
    return st;
}
