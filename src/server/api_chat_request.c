#include "server/api_request_internal.h"

static const char *const efforts[] = {"none", "minimal", "low", "medium",
                                      "high", "xhigh",   "max", NULL};

static const qw_field fields[] = {
    {"messages", .type = QW_FIELD_LIST, .required = true},
    {"logprobs", .type = QW_FIELD_BOOL},
    {"top_logprobs", .type = QW_FIELD_INT},
    {"max_completion_tokens", .type = QW_FIELD_INT},
    {"tools", .type = QW_FIELD_LIST},
    {"tool_choice", .type = QW_FIELD_ANY},
    {"parallel_tool_calls", .type = QW_FIELD_BOOL},
    {"reasoning_effort", .type = QW_FIELD_CHOICE, .choices = efforts},
    {"thinking_token_budget", .type = QW_FIELD_INT},
    {"include_reasoning", .type = QW_FIELD_BOOL, .not_null = true},
    {"bad_words", .type = QW_FIELD_STR_LIST, .not_null = true},
    {"add_generation_prompt", .type = QW_FIELD_BOOL, .not_null = true},
    {"continue_final_message", .type = QW_FIELD_BOOL, .not_null = true},
    {"documents", .type = QW_FIELD_LIST},
    {"chat_template", .type = QW_FIELD_STR},
    {"chat_template_kwargs", .type = QW_FIELD_OBJECT},
    {"media_io_kwargs", .type = QW_FIELD_OBJECT},
    {"mm_processor_kwargs", .type = QW_FIELD_OBJECT},
    {"return_prompt_text", .type = QW_FIELD_BOOL},
};

// ---- rules

static qw_status check_top_logprobs(const json_t *body, qw_api_error *err)
{
    const json_t *top = json_object_get(body, "top_logprobs");
    if (!json_is_number(top)) return QW_OK;
    double n = json_number_value(top);
    if (n < 0 && n != -1)
        return qw_api_fail_rule(err, "top_logprobs",
                                "top_logprobs must be a positive value or -1.");
    if (n != 0 && !qw_api_is_truthy(json_object_get(body, "logprobs")))
        return qw_api_fail_rule(err, "top_logprobs",
                                "when using top_logprobs, logprobs must be set to true.");
    return QW_OK;
}

static qw_status check_rules(const json_t *body, qw_api_error *err)
{
    if (qw_api_is_truthy(json_object_get(body, "continue_final_message")) &&
        qw_api_is_truthy(json_object_get(body, "add_generation_prompt")))
        return qw_api_fail_rule(err, NULL,
                                "Cannot set both `continue_final_message` and "
                                "`add_generation_prompt` to True.");
    qw_status st = qw_api_check_tool_choice(body, err);
    if (st == QW_OK) st = qw_api_check_rules(body, err);
    return st == QW_OK ? check_top_logprobs(body, err) : st;
}

// ---- messages and tools: their form

static void check_message(const json_t *message, size_t i, qw_issues *issues)
{
    char path[80];
    snprintf(path, sizeof path, "'messages', %zu", i);
    if (!json_is_object(message)) {
        qw_issues_add(issues, path, "dict_type", message, "Input should be a valid dictionary");
        return;
    }
    const json_t *role = json_object_get(message, "role");
    snprintf(path, sizeof path, "'messages', %zu, 'role'", i);
    if (!role)
        qw_issues_add(issues, path, "missing", NULL, "Field required");
    else if (!qw_api_is_text(role))
        qw_issues_add(issues, path, "string_type", role, "Input should be a valid string");
    const json_t *content = json_object_get(message, "content");
    snprintf(path, sizeof path, "'messages', %zu, 'content'", i);
    if (content && !json_is_null(content) && !qw_api_is_text(content) && !json_is_array(content))
        qw_issues_add(issues, path, "string_type", content,
                      "Input should be a valid string or a list of parts");
    for (size_t k = 0; k < json_array_size(content); k++) {
        const json_t *part = json_array_get(content, k);
        if (qw_api_is_text(part) || json_is_object(part)) continue;
        snprintf(path, sizeof path, "'messages', %zu, 'content', %zu", i, k);
        qw_issues_add(issues, path, "dict_type", part,
                      "Input should be a valid dictionary or a string");
    }
}

// ---- messages: what this model takes

static qw_status check_part(const json_t *part, qw_api_error *err)
{
    static const struct {
        const char *type, *modality, *member; // modality NULL: text
    } kinds[] = {
        {"text", NULL, "text"},
        {"input_text", NULL, "text"},
        {"output_text", NULL, "text"},
        {"refusal", NULL, "refusal"},
        {"thinking", NULL, "thinking"},
        {"image_url", "image", "image_url"},
        {"input_image", "image", "image_url"},
        {"audio_url", "audio", "audio_url"},
        {"input_audio", "audio", "input_audio"},
        {"video_url", "video", "video_url"},
        {"image_embeds", "image", "image_embeds"},
        {"audio_embeds", "audio", "audio_embeds"},
    };
    if (!json_is_object(part)) return QW_OK; // a bare text
    const json_t *type = json_object_get(part, "type");
    for (size_t i = 0; i < QW_ARRAY_LEN(kinds); i++) {
        // Without a type, a part is known by its member.
        bool is_it = type ? qw_api_is_text(type) && qw_str_is(qw_json_str(type), kinds[i].type)
                          : kinds[i].modality && json_object_get(part, kinds[i].member) != NULL;
        if (!is_it) continue;
        const json_t *member = json_object_get(part, kinds[i].member);
        if (kinds[i].modality && (!member || json_is_null(member))) break;
        if (kinds[i].modality)
            return qw_api_fail(err, QW_FAULT_REQUEST, kinds[i].modality,
                               "At most 0 %s(s) may be provided in one prompt.", kinds[i].modality);
        if (qw_api_is_text(member) || json_is_null(member)) return QW_OK;
        return qw_api_fail(err, QW_FAULT_REQUEST, kinds[i].member,
                           "a part of type '%s' needs a string '%s'", kinds[i].type,
                           kinds[i].member);
    }
    if (!type)
        return qw_api_fail(err, QW_FAULT_REQUEST, "type",
                           "Missing 'type' field in multimodal part.");
    if (!qw_api_is_text(type))
        return qw_api_fail(err, QW_FAULT_REQUEST, "type", "Invalid 'type' field: not a string.");
    return qw_api_fail(err, QW_FAULT_REQUEST, "type",
                       "Unknown part type: %.80s; supported: text, input_text, output_text, "
                       "refusal, thinking, image_url, input_image, audio_url, input_audio, "
                       "video_url",
                       json_string_value(type));
}

static qw_status check_parts(const json_t *messages, qw_api_error *err)
{
    if (json_array_size(messages) == 0)
        return qw_api_fail(err, QW_FAULT_REQUEST, "messages", "messages must not be empty");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *content = json_object_get(json_array_get(messages, i), "content");
        for (size_t k = 0; k < json_array_size(content); k++) {
            qw_status st = check_part(json_array_get(content, k), err);
            if (st != QW_OK) return st;
        }
    }
    return QW_OK;
}

// ---- template and thinking

static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static qw_status no_memory(qw_api_error *err)
{
    return qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL, "out of memory while reading a request");
}

// The server's variables, then what the effort implies, then the request's own.
static qw_status merge_kwargs(qw_api_request *r, const qw_api_config *cfg, qw_api_error *err)
{
    json_t *given = json_object_get(r->body, "chat_template_kwargs");
    qw_str effort = qw_api_str(r->body, "reasoning_effort");
    if (!given && !effort.ptr && !cfg->chat_template_kwargs) return QW_OK;
    json_t *merged = json_object();
    bool ok = merged != NULL;
    if (ok && cfg->chat_template_kwargs)
        ok = json_object_update(merged, (json_t *)(uintptr_t)cfg->chat_template_kwargs) == 0;
    if (ok && effort.ptr)
        ok = set(merged, "reasoning_effort", json_stringn(effort.ptr, effort.len)) &&
             set(merged, "enable_thinking", json_boolean(!qw_str_is(effort, "none")));
    if (ok && given) ok = json_object_update(merged, given) == 0;
    if (!ok) {
        json_decref(merged);
        return no_memory(err);
    }
    r->template_kwargs = merged;
    const json_t *thinking = json_object_get(merged, "enable_thinking");
    if (json_is_boolean(thinking))
        r->thinking = json_is_true(thinking) ? QW_THINKING_ON : QW_THINKING_OFF;
    return QW_OK;
}

static qw_status settle_template(qw_api_request *r, const qw_api_config *cfg, qw_api_error *err)
{
    const json_t *kwargs = json_object_get(r->body, "chat_template_kwargs");
    bool own =
        json_object_get(r->body, "chat_template") || json_object_get(kwargs, "chat_template");
    if (own && !cfg->trust_request_chat_template)
        return qw_api_fail(
            err, QW_FAULT_REQUEST, NULL,
            "Chat template is passed with request, but --trust-request-chat-template "
            "is not set. Refused request with untrusted chat template.");
    r->chat_template = qw_api_str(r->body, "chat_template");
    if (r->chat_template.ptr && !memchr(r->chat_template.ptr, '{', r->chat_template.len))
        return qw_api_fail(err, QW_FAULT_REQUEST, "chat_template",
                           "chat_template must be a template's text");
    return merge_kwargs(r, cfg, err);
}

static qw_status settle_budget(qw_api_request *r, const qw_api_config *cfg, qw_api_error *err)
{
    int64_t budget = qw_api_int(r->body, "thinking_token_budget", -1);
    if (!json_object_get(r->body, "thinking_token_budget")) return QW_OK;
    if (budget < -1)
        return qw_api_fail(err, QW_FAULT_REQUEST, "thinking_token_budget",
                           "thinking_token_budget must be a non-negative value or -1 for "
                           "unlimited, got %" PRId64 ".",
                           budget);
    if (!cfg->reasoning.is_on)
        return qw_api_fail(err, QW_FAULT_REQUEST, "thinking_token_budget",
                           "thinking_token_budget is set but no reasoning parser is active; start "
                           "the server with --reasoning-parser qwen3");
    r->thinking_token_budget = budget;
    return QW_OK;
}

// ---- all of it

static void check_form(const qw_api_request *r, qw_issues *issues)
{
    const json_t *tools = json_object_get(r->body, "tools");
    for (size_t i = 0; i < json_array_size(r->messages); i++)
        check_message(json_array_get(r->messages, i), i, issues);
    for (size_t i = 0; i < json_array_size(tools); i++)
        qw_api_check_tool(json_array_get(tools, i), i, issues);
}

static void settle_rest(qw_api_request *r)
{
    const json_t *body = r->body;
    r->include_reasoning = qw_api_bool(body, "include_reasoning", true);
    r->return_prompt_text = qw_api_bool(body, "return_prompt_text", false);
    r->asked_max_tokens = qw_api_int(body, "max_tokens", -1);
    if (!json_object_get(body, "max_completion_tokens")) return;
    r->asked_max_tokens = qw_api_int(body, "max_completion_tokens", -1);
    r->asked_by = "max_completion_tokens";
}

qw_status qw_api_chat_read(qw_api_request *r, const qw_api_config *cfg, const json_t *raw,
                           qw_api_error *err)
{
    qw_issues issues = {0};
    qw_status st = check_rules(raw, err);
    if (st == QW_OK)
        st = qw_api_read_members(&r->body, raw, fields, QW_ARRAY_LEN(fields), &issues, err);
    if (st != QW_OK) return st;
    // An explicit null is no wish for "auto", which is what a missing choice means beside tools.
    if (json_is_null(json_object_get(raw, "tool_choice")) &&
        !set(r->body, "tool_choice", json_string("none")))
        return no_memory(err);
    r->messages = json_object_get(r->body, "messages");
    r->tools = json_object_get(r->body, "tools");
    check_form(r, &issues);
    st = qw_issues_check(&issues, NULL, err);
    return st == QW_OK ? qw_api_check_model(cfg, r->body, err) : st;
}

qw_status qw_api_chat_settle(qw_api_request *r, const qw_api_config *cfg, qw_api_error *err)
{
    const json_t *body = r->body;
    r->continue_final_message = qw_api_bool(body, "continue_final_message", false);
    r->add_generation_prompt =
        qw_api_bool(body, "add_generation_prompt", !r->continue_final_message);
    r->documents = json_object_get(body, "documents");
    qw_status st = settle_template(r, cfg, err);
    return st == QW_OK ? check_parts(r->messages, err) : st;
}

qw_status qw_api_chat_parse(qw_api_request *r, const qw_api_config *cfg, const json_t *raw,
                            const qw_api_call *call, qw_api_error *err)
{
    qw_status st = qw_api_chat_read(r, cfg, raw, err);
    if (st == QW_OK) st = qw_api_settle_tools(r, cfg, err);
    if (st == QW_OK) st = qw_api_chat_settle(r, cfg, err);
    if (st == QW_OK) st = qw_api_check_features(r->body, err);
    if (st != QW_OK) return st;
    settle_rest(r);
    st = qw_api_request_fill(r, cfg, call, err);
    // Tags of calls may be special tokens.
    if (r->tool_form != QW_TOOL_FORM_NONE) r->params.skip_special_tokens = false;
    return st == QW_OK ? settle_budget(r, cfg, err) : st;
}

qw_status qw_api_request_parse_chat(qw_api_request *out, const qw_api_config *cfg,
                                    const qw_api_call *call, qw_api_error *err)
{
    return qw_api_request_parse(out, QW_API_CHAT, qw_api_chat_parse, cfg, call, err);
}
