// Tools of a chat: their form, the choice between them, and how their calls will be understood
// (http-api.md 3.3).

#include "server/api_request_internal.h"

// ---- the choice

#define CORRECT_TOOL_CHOICE                                                                        \
    " Correct usage: `{\\\"type\\\": \\\"function\\\", \\\"function\\\": {\\\"name\\\": "          \
    "\\\"my_function\\\"}}`"

static bool has_tool_named(const json_t *tools, qw_str name)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        if (qw_str_eq(qw_api_str(function, "name"), name)) return true;
    }
    return false;
}

static qw_status check_named_tool(const json_t *choice, const json_t *tools, qw_api_error *err)
{
    const json_t *function = json_object_get(choice, "function");
    const json_t *name = json_object_get(function, "name");
    if (!json_is_object(function))
        return qw_api_fail_rule(err, "tool_choice",
                                "Expected field `function` in `tool_choice`." CORRECT_TOOL_CHOICE);
    if (!name)
        return qw_api_fail_rule(
            err, "tool_choice",
            "Expected field `name` in `function` in `tool_choice`." CORRECT_TOOL_CHOICE);
    if (!qw_api_is_text(name) || json_string_length(name) == 0)
        return qw_api_fail_rule(err, "tool_choice",
                                "Invalid `name` in `function`!" CORRECT_TOOL_CHOICE);
    if (!has_tool_named(tools, qw_json_str(name)))
        return qw_api_fail_rule(err, "tool_choice",
                                "The tool specified in `tool_choice` does not match any of the "
                                "specified `tools`");
    return QW_OK;
}

qw_status qw_api_check_tool_choice(const json_t *body, qw_api_error *err)
{
    const json_t *tools = json_object_get(body, "tools");
    const json_t *choice = json_object_get(body, "tool_choice");
    qw_str word = qw_api_str(body, "tool_choice");
    if (json_is_array(tools) && json_array_size(tools) == 0)
        return qw_api_fail_rule(err, "tools", "`tools` must not be an empty array.");
    if (!choice || json_is_null(choice) || qw_str_is(word, "none")) return QW_OK;
    if (!tools || json_is_null(tools))
        return qw_api_fail_rule(err, "tool_choice",
                                "When using `tool_choice`, `tools` must be set.");
    if (json_is_object(choice)) return check_named_tool(choice, tools, err);
    if (qw_str_is(word, "auto") || qw_str_is(word, "required")) return QW_OK;
    return qw_api_fail_rule(err, "tool_choice",
                            "Invalid value for `tool_choice`: %.100s! Only named tools, "
                            "\\\"none\\\", \\\"auto\\\" or \\\"required\\\" are supported.",
                            word.ptr ? word.ptr : qw_json_type_name(choice));
}

// ---- their form

void qw_api_check_tool(const json_t *tool, size_t i, qw_issues *issues)
{
    char path[80];
    const json_t *function = json_object_get(tool, "function");
    const json_t *name = json_object_get(function, "name"), *type = json_object_get(tool, "type");
    snprintf(path, sizeof path, "'tools', %zu", i);
    if (!json_is_object(tool)) {
        qw_issues_add(issues, path, "dict_type", tool, "Input should be a valid dictionary");
        return;
    }
    snprintf(path, sizeof path, "'tools', %zu, 'type'", i);
    if (type && !qw_str_is(qw_api_str(tool, "type"), "function"))
        qw_issues_add(issues, path, "literal_error", type, "Input should be 'function'");
    snprintf(path, sizeof path, "'tools', %zu, 'function'", i);
    if (!function) {
        qw_issues_add(issues, path, "missing", NULL, "Field required");
        return;
    }
    if (!json_is_object(function)) {
        qw_issues_add(issues, path, "dict_type", function, "Input should be a valid dictionary");
        return;
    }
    snprintf(path, sizeof path, "'tools', %zu, 'function', 'name'", i);
    if (!name)
        qw_issues_add(issues, path, "missing", NULL, "Field required");
    else if (!qw_api_is_text(name))
        qw_issues_add(issues, path, "string_type", name, "Input should be a valid string");
}

// ---- what holds calls to their schemas

static qw_status no_memory(qw_api_error *err)
{
    return qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL, "out of memory while reading a request");
}

static bool is_strict(const json_t *function)
{
    return json_is_true(json_object_get(function, "strict"));
}

// What the arguments of a function must be. Without parameters it takes none.
static json_t *schema_of(const json_t *function, bool any)
{
    json_t *parameters = json_object_get(function, "parameters");
    if (any) return json_pack("{s:s}", "type", "object");
    if (json_is_object(parameters)) return json_incref(parameters);
    return json_pack("{s:s,s:{},s:b}", "type", "object", "properties", "additionalProperties", 0);
}

// How the model writes a call of `function`, as a tag of the grammar.
static json_t *tag_of(qw_tool_form form, const json_t *function, bool any)
{
    bool coder = form == QW_TOOL_FORM_QWEN3_CODER;
    qw_str name = qw_json_str(json_object_get(function, "name"));
    qw_buf begin;
    qw_buf_init(&begin, 1 << 20);
    if (coder) {
        qw_buf_puts(&begin, "<tool_call>\n<function=");
        qw_buf_append(&begin, name.ptr, name.len);
        qw_buf_puts(&begin, ">");
    } else {
        qw_buf_puts(&begin, "<tool_call>\n{\"name\": ");
        qw_json_write_string(&begin, name);
        qw_buf_puts(&begin, ", \"arguments\": ");
    }
    json_t *tag =
        begin.failed
            ? NULL
            : json_pack("{s:s,s:s%,s:{s:s,s:o},s:s}", "type", "tag", "begin", begin.data, begin.len,
                        "content", "type", coder ? "qwen_xml_parameter" : "json_schema",
                        "json_schema", schema_of(function, any), "end",
                        coder ? "\n</function>\n</tool_call>" : "}\n</tool_call>");
    qw_buf_release(&begin);
    return tag;
}

// Tags of all tools, or of the one with this name.
static json_t *tags_of(const qw_api_request *r, qw_str only, bool strict_only)
{
    json_t *tags = json_array();
    for (size_t i = 0; tags && i < json_array_size(r->tools); i++) {
        const json_t *function = json_object_get(json_array_get(r->tools, i), "function");
        if (only.ptr && !qw_str_eq(qw_json_str(json_object_get(function, "name")), only)) continue;
        json_t *tag = tag_of(r->tool_form, function, strict_only && !is_strict(function));
        if (json_array_append_new(tags, tag) == 0) continue;
        json_decref(tags);
        return NULL;
    }
    return tags;
}

// Calls and nothing else, but for the empty lines that models put behind their thoughts.
static qw_status hold_forced(qw_api_request *r, qw_str only, qw_api_error *err)
{
    bool one = only.ptr || r->max_tool_calls == 1;
    r->tool_grammar = json_pack("{s:s,s:[{s:s,s:s},{s:s,s:o,s:s,s:b,s:b}]}", "type", "sequence",
                                "elements", "type", "regex", "pattern", "\\n{0,2}", "type",
                                "tags_with_separator", "tags", tags_of(r, only, false), "separator",
                                "\n", "at_least_one", 1, "stop_after_first", one);
    return r->tool_grammar ? QW_OK : no_memory(err);
}

// Any text, in which the calls of strict tools are what their schemas say.
static qw_status hold_strict(qw_api_request *r, qw_api_error *err)
{
    bool any = false;
    for (size_t i = 0; i < json_array_size(r->tools); i++)
        any |= is_strict(json_object_get(json_array_get(r->tools, i), "function"));
    if (!any) return QW_OK;
    r->tool_grammar = json_pack("{s:s,s:[s],s:o,s:b,s:b}", "type", "triggered_tags", "triggers",
                                "<tool_call>", "tags", tags_of(r, (qw_str){NULL, 0}, true),
                                "at_least_one", 0, "stop_after_first", 0);
    return r->tool_grammar ? QW_OK : no_memory(err);
}

// ---- what is made of them

static qw_status settle_forced(qw_api_request *r, const qw_api_config *cfg, const json_t *choice,
                               qw_api_error *err)
{
    qw_str only = qw_api_str(json_object_get(choice, "function"), "name");
    r->tool_is_forced = true;
    r->tool_is_named = json_is_object(choice);
    if (cfg->tool_form == QW_TOOL_FORM_NONE)
        return qw_api_fail(err, QW_FAULT_REQUEST, NULL,
                           "tool_choice=\"%s\" requires --tool-call-parser to be set",
                           r->tool_is_named ? "named" : "required");
    return hold_forced(r, only, err);
}

qw_status qw_api_settle_tools(qw_api_request *r, const qw_api_config *cfg, qw_api_error *err)
{
    const json_t *choice = json_object_get(r->body, "tool_choice");
    qw_str word = qw_api_str(r->body, "tool_choice");
    if (!r->tools) return QW_OK;
    if (qw_str_is(word, "none")) {
        if (cfg->exclude_tools_when_tool_choice_none) r->tools = NULL;
        return QW_OK;
    }
    r->tool_form = cfg->tool_form;
    if (!qw_api_bool(r->body, "parallel_tool_calls", true)) r->max_tool_calls = 1;
    if (choice && !qw_str_is(word, "auto")) return settle_forced(r, cfg, choice, err);
    if (!cfg->enable_auto_tool_choice || cfg->tool_form == QW_TOOL_FORM_NONE)
        return qw_api_fail(err, QW_FAULT_REQUEST, NULL,
                           "\"auto\" tool choice requires --enable-auto-tool-choice and "
                           "--tool-call-parser to be set");
    return hold_strict(r, err);
}
