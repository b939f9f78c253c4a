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

// ---- what is made of them

static qw_status needs_parser(const qw_api_config *cfg, const char *choice, qw_api_error *err)
{
    if (cfg->tool_form != QW_TOOL_FORM_NONE) return QW_OK;
    return qw_api_fail(err, QW_FAULT_REQUEST, NULL,
                       "tool_choice=\"%s\" requires --tool-call-parser to be set", choice);
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
    if (!qw_api_bool(r->body, "parallel_tool_calls", true)) r->max_tool_calls = 1;
    if (choice && !qw_str_is(word, "auto")) {
        qw_status st = needs_parser(cfg, json_is_object(choice) ? "named" : word.ptr, err);
        if (st != QW_OK) return st;
        return qw_api_fail(err, QW_FAULT_UNSUPPORTED, NULL,
                           "tool_choice \"required\" and named tools are not implemented yet; "
                           "\"auto\" and \"none\" are");
    }
    if (!cfg->enable_auto_tool_choice || cfg->tool_form == QW_TOOL_FORM_NONE)
        return qw_api_fail(err, QW_FAULT_REQUEST, NULL,
                           "\"auto\" tool choice requires --enable-auto-tool-choice and "
                           "--tool-call-parser to be set");
    r->tool_form = cfg->tool_form;
    return QW_OK;
}
