#include "format/chat_messages.h"

#include <stdarg.h>

// Path of the value being read, for errors: "messages[2].tool_calls[0]".
typedef struct place {
    char text[160];
} place;

static place place_of(const char *fmt, ...) QW_PRINTF(1, 2);

static place place_of(const char *fmt, ...)
{
    place p;
    va_list args;
    va_start(args, fmt);
    vsnprintf(p.text, sizeof p.text, fmt, args);
    va_end(args);
    return p;
}

static qw_status no_memory(qw_error *err)
{
    return qw_fail_memory(err, 0, "the messages of a request");
}

static qw_status wrong_type(qw_error *err, const place *at, const char *want, const json_t *got)
{
    return qw_fail(err, QW_ERR_FORMAT, "%s must be %s, got %s", at->text, want,
                   qw_json_type_name(got));
}

static bool is_given(const json_t *v)
{
    return v && !json_is_null(v);
}

// A copy that shares its members. jansson's own drops members silently when memory is short.
static qw_status copy_object(json_t **out, const json_t *object, qw_error *err)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)object);
    if (!copy || json_object_size(copy) != json_object_size(object)) {
        json_decref(copy);
        return no_memory(err);
    }
    *out = copy;
    return QW_OK;
}

static qw_status set_member(json_t *object, const char *key, json_t *value, qw_error *err)
{
    return json_object_set(object, key, value) == 0 ? QW_OK : no_memory(err);
}

// Takes over `value`, which may be NULL after a failed allocation.
static qw_status set_new_member(json_t *object, const char *key, json_t *value, qw_error *err)
{
    return json_object_set_new(object, key, value) == 0 ? QW_OK : no_memory(err);
}

// ---- content

// The text of one part; *text.ptr is NULL if it is null.
static qw_status part_text(qw_str *text, const json_t *part, const place *at, qw_error *err)
{
    static const struct {
        const char *type, *member;
    } kinds[] = {{"text", "text"},
                 {"input_text", "text"},
                 {"output_text", "text"},
                 {"refusal", "refusal"},
                 {"thinking", "thinking"}};
    if (json_is_string(part)) {
        *text = qw_json_str(part);
        return QW_OK;
    }
    if (!json_is_object(part)) return wrong_type(err, at, "an object or a string", part);
    const json_t *type = json_object_get(part, "type");
    place type_at = place_of("%s.type", at->text);
    if (!json_is_string(type)) return wrong_type(err, &type_at, "a string", type);
    for (size_t i = 0; i < QW_ARRAY_LEN(kinds); i++) {
        if (!qw_str_is(qw_json_str(type), kinds[i].type)) continue;
        const json_t *value = json_object_get(part, kinds[i].member);
        *text = (qw_str){NULL, 0};
        if (json_is_null(value)) return QW_OK;
        place value_at = place_of("%s.%s", at->text, kinds[i].member);
        if (!json_is_string(value)) return wrong_type(err, &value_at, "a string", value);
        *text = qw_json_str(value);
        return QW_OK;
    }
    return qw_fail(err, QW_ERR_UNSUPPORTED,
                   "%s: a part of type '%.80s' is not supported, only text", at->text,
                   json_string_value(type));
}

static qw_status add_text_part(json_t *parts, qw_str text, qw_error *err)
{
    json_t *part = json_object();
    if (!part || json_array_append_new(parts, part) != 0) return no_memory(err);
    qw_status st = set_new_member(part, "type", json_string("text"), err);
    if (st == QW_OK) st = set_new_member(part, "text", json_stringn(text.ptr, text.len), err);
    return st;
}

// The parts of a content list, as a list of text parts or as one text.
static qw_status prepare_parts(json_t **out, const json_t *content, bool as_parts, const place *at,
                               qw_error *err)
{
    qw_status st = QW_OK;
    qw_buf joined;
    qw_buf_init(&joined, (size_t)1 << 30);
    json_t *parts = json_array(), *value = NULL;
    if (!parts) st = no_memory(err);
    bool first = true;
    for (size_t i = 0; st == QW_OK && i < json_array_size(content); i++) {
        qw_str text;
        place part_at = place_of("%s[%zu]", at->text, i);
        st = part_text(&text, json_array_get(content, i), &part_at, err);
        if (st != QW_OK || !text.ptr) continue;
        if (as_parts) {
            st = add_text_part(parts, text, err);
        } else {
            if (!first) qw_buf_putc(&joined, '\n');
            qw_buf_append(&joined, text.ptr, text.len);
        }
        first = false;
    }
    if (st == QW_OK) st = qw_buf_check(&joined, at->text, err);
    if (st == QW_OK) {
        value = as_parts ? json_incref(parts)
                         : json_stringn(joined.data ? joined.data : "", joined.len);
        if (!value) st = no_memory(err);
    }
    if (st == QW_OK) *out = value;
    json_decref(parts);
    qw_buf_release(&joined);
    return st;
}

static qw_status prepare_content(json_t *message, bool as_parts, const place *at, qw_error *err)
{
    const json_t *content = json_object_get(message, "content");
    place content_at = place_of("%s.content", at->text);
    if (!is_given(content)) return set_new_member(message, "content", json_string(""), err);
    if (json_is_string(content)) return QW_OK;
    if (!json_is_array(content))
        return wrong_type(err, &content_at, "a string, null or a list of parts", content);
    json_t *prepared = NULL;
    qw_status st = prepare_parts(&prepared, content, as_parts, &content_at, err);
    return st == QW_OK ? set_new_member(message, "content", prepared, err) : st;
}

// ---- tool calls and reasoning

// The arguments of a call in `function`, which is a copy: text becomes what it spells.
static qw_status prepare_arguments(json_t *function, const place *at, qw_error *err)
{
    const json_t *arguments = json_object_get(function, "arguments");
    place arguments_at = place_of("%s.arguments", at->text);
    if (!is_given(arguments) || (json_is_string(arguments) && json_string_length(arguments) == 0))
        return set_new_member(function, "arguments", json_object(), err);
    if (json_is_object(arguments) || json_is_array(arguments)) return QW_OK;
    if (!json_is_string(arguments))
        return wrong_type(err, &arguments_at, "an object or a string of JSON", arguments);
    json_t *parsed = NULL;
    qw_status st = qw_json_parse_digits(&parsed, json_string_value(arguments),
                                        json_string_length(arguments), arguments_at.text, err);
    return st == QW_OK ? set_new_member(function, "arguments", parsed, err) : st;
}

// {"type", "function": {"name", "arguments"}}, or the inner object alone.
static qw_status prepare_call(json_t **out, const json_t *call, const place *at, qw_error *err)
{
    if (!json_is_object(call)) return wrong_type(err, at, "an object", call);
    const json_t *function = json_object_get(call, "function");
    bool wrapped = function != NULL;
    place function_at = wrapped ? place_of("%s.function", at->text) : *at;
    if (!wrapped) function = call;
    if (!json_is_object(function)) return wrong_type(err, &function_at, "an object", function);
    const json_t *name = json_object_get(function, "name");
    place name_at = place_of("%s.name", function_at.text);
    if (!json_is_string(name)) return wrong_type(err, &name_at, "a string", name);
    json_t *inner = NULL, *outer = NULL;
    qw_status st = copy_object(&inner, function, err);
    if (st == QW_OK) st = prepare_arguments(inner, &function_at, err);
    if (st == QW_OK && wrapped) {
        st = copy_object(&outer, call, err);
        if (st == QW_OK) st = set_member(outer, "function", inner, err);
    }
    if (st == QW_OK) *out = json_incref(wrapped ? outer : inner);
    json_decref(outer);
    json_decref(inner);
    return st;
}

static qw_status prepare_calls(json_t *message, const place *at, qw_error *err)
{
    const json_t *calls = json_object_get(message, "tool_calls");
    place calls_at = place_of("%s.tool_calls", at->text);
    if (!calls) return QW_OK;
    if (json_is_null(calls) || (json_is_array(calls) && json_array_size(calls) == 0)) {
        (void)json_object_del(message, "tool_calls");
        return QW_OK;
    }
    if (!json_is_array(calls)) return wrong_type(err, &calls_at, "a list", calls);
    json_t *prepared = json_array();
    qw_status st = prepared ? QW_OK : no_memory(err);
    for (size_t i = 0; st == QW_OK && i < json_array_size(calls); i++) {
        json_t *call = NULL;
        place call_at = place_of("%s[%zu]", calls_at.text, i);
        st = prepare_call(&call, json_array_get(calls, i), &call_at, err);
        if (st == QW_OK && json_array_append_new(prepared, call) != 0) st = no_memory(err);
    }
    if (st == QW_OK) st = set_member(message, "tool_calls", prepared, err);
    json_decref(prepared);
    return st;
}

// Older clients and templates say reasoning_content, newer ones reasoning.
static qw_status prepare_reasoning(json_t *message, const place *at, qw_error *err)
{
    static const char *const names[] = {"reasoning", "reasoning_content"};
    json_t *value = NULL;
    for (int i = 0; i < 2; i++) {
        json_t *v = json_object_get(message, names[i]);
        place v_at = place_of("%s.%s", at->text, names[i]);
        if (!is_given(v)) continue;
        if (!json_is_string(v)) return wrong_type(err, &v_at, "a string or null", v);
        if (!value) value = v;
    }
    qw_status st = QW_OK;
    for (int i = 0; value && i < 2 && st == QW_OK; i++)
        if (!is_given(json_object_get(message, names[i])))
            st = set_member(message, names[i], value, err);
    return st;
}

static qw_status prepare_message(json_t **out, const json_t *message, bool as_parts,
                                 const place *at, qw_error *err)
{
    if (!json_is_object(message)) return wrong_type(err, at, "an object", message);
    const json_t *role = json_object_get(message, "role");
    place role_at = place_of("%s.role", at->text);
    if (!json_is_string(role)) return wrong_type(err, &role_at, "a string", role);
    json_t *copy = NULL;
    qw_status st = copy_object(&copy, message, err);
    if (st == QW_OK) st = prepare_content(copy, as_parts, at, err);
    if (st == QW_OK && qw_str_is(qw_json_str(role), "assistant")) {
        st = prepare_calls(copy, at, err);
        if (st == QW_OK) st = prepare_reasoning(copy, at, err);
    }
    if (st == QW_OK)
        *out = copy;
    else
        json_decref(copy);
    return st;
}

qw_status qw_chat_messages_prepare(json_t **out, const json_t *messages, bool as_parts,
                                   qw_error *err)
{
    place at = place_of("messages");
    if (!json_is_array(messages)) return wrong_type(err, &at, "a list", messages);
    if (json_array_size(messages) == 0)
        return qw_fail(err, QW_ERR_FORMAT, "messages must not be empty");
    json_t *prepared = json_array();
    qw_status st = prepared ? QW_OK : no_memory(err);
    for (size_t i = 0; st == QW_OK && i < json_array_size(messages); i++) {
        json_t *message = NULL;
        at = place_of("messages[%zu]", i);
        st = prepare_message(&message, json_array_get(messages, i), as_parts, &at, err);
        if (st == QW_OK && json_array_append_new(prepared, message) != 0) st = no_memory(err);
    }
    if (st == QW_OK)
        *out = prepared;
    else
        json_decref(prepared);
    return st;
}

bool qw_chat_message_text(qw_str *out, const json_t *message)
{
    const json_t *content = json_object_get(message, "content");
    if (json_is_array(content)) {
        size_t n = json_array_size(content);
        if (n == 0) return false;
        content = json_object_get(json_array_get(content, n - 1), "text");
    }
    if (!json_is_string(content)) return false;
    *out = qw_json_str(content);
    return true;
}

// ---- tools

// `first` members in their order, null where absent, then the others of `from`.
static qw_status ordered_copy(json_t **out, const json_t *from, const char *const *first,
                              qw_error *err)
{
    json_t *copy = json_object();
    qw_status st = copy ? QW_OK : no_memory(err);
    for (; st == QW_OK && *first; first++) {
        json_t *member = json_object_get(from, *first);
        st = set_member(copy, *first, member ? member : json_null(), err);
    }
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)from, key,
                        v) if (st == QW_OK && !json_object_get(copy, key)) st =
        set_member(copy, key, v, err);
    if (st == QW_OK)
        *out = copy;
    else
        json_decref(copy);
    return st;
}

static qw_status prepare_tool(json_t **out, const json_t *tool, const place *at, qw_error *err)
{
    static const char *const outer_first[] = {"type", "function", NULL};
    static const char *const inner_first[] = {"name", "description", "parameters", NULL};
    if (!json_is_object(tool)) return wrong_type(err, at, "an object", tool);
    const json_t *type = json_object_get(tool, "type");
    if (is_given(type) && !(json_is_string(type) && qw_str_is(qw_json_str(type), "function")))
        return qw_fail(err, QW_ERR_FORMAT, "%s.type must be 'function'", at->text);
    const json_t *function = json_object_get(tool, "function");
    place function_at = place_of("%s.function", at->text);
    if (!json_is_object(function)) return wrong_type(err, &function_at, "an object", function);
    const json_t *name = json_object_get(function, "name");
    place name_at = place_of("%s.name", function_at.text);
    if (!json_is_string(name)) return wrong_type(err, &name_at, "a string", name);
    json_t *inner = NULL, *outer = NULL;
    qw_status st = ordered_copy(&inner, function, inner_first, err);
    if (st == QW_OK) st = ordered_copy(&outer, tool, outer_first, err);
    if (st == QW_OK) st = set_member(outer, "function", inner, err);
    if (st == QW_OK) st = set_new_member(outer, "type", json_string("function"), err);
    if (st == QW_OK) *out = json_incref(outer);
    json_decref(outer);
    json_decref(inner);
    return st;
}

qw_status qw_chat_tools_prepare(json_t **out, const json_t *tools, qw_error *err)
{
    place at = place_of("tools");
    if (!is_given(tools) || (json_is_array(tools) && json_array_size(tools) == 0)) {
        *out = json_null();
        return QW_OK;
    }
    if (!json_is_array(tools)) return wrong_type(err, &at, "a list", tools);
    json_t *prepared = json_array();
    qw_status st = prepared ? QW_OK : no_memory(err);
    for (size_t i = 0; st == QW_OK && i < json_array_size(tools); i++) {
        json_t *tool = NULL;
        at = place_of("tools[%zu]", i);
        st = prepare_tool(&tool, json_array_get(tools, i), &at, err);
        if (st == QW_OK && json_array_append_new(prepared, tool) != 0) st = no_memory(err);
    }
    if (st == QW_OK)
        *out = prepared;
    else
        json_decref(prepared);
    return st;
}
