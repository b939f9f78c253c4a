#include "grammar/grammar_request.h"

typedef enum value_form {
    FORM_JSON, /* a value, or its text */
    FORM_LIST,
    FORM_TEXT,
    FORM_TRUE,
} value_form;

static const struct {
    const char *name, *guided; /* inside of structured_outputs; by itself (older) */
    qw_grammar_kind kind;
    value_form form;
} kinds[] = {
    {"json", "guided_json", QW_GRAMMAR_JSON_SCHEMA, FORM_JSON},
    {"regex", "guided_regex", QW_GRAMMAR_REGEX, FORM_TEXT},
    {"choice", "guided_choice", QW_GRAMMAR_CHOICE, FORM_LIST},
    {"grammar", "guided_grammar", QW_GRAMMAR_EBNF, FORM_TEXT},
    {"json_object", "guided_json_object", QW_GRAMMAR_JSON_OBJECT, FORM_TRUE},
    {"structural_tag", "structural_tag", QW_GRAMMAR_STRUCTURAL_TAG, FORM_JSON},
};

void qw_grammar_request_release(qw_grammar_request *r)
{
    json_decref(r->parsed);
    r->parsed = NULL;
}

static bool is_text(const json_t *v)
{
    return json_is_string(v) && !qw_json_is_big_integer(v);
}

static qw_status fail_type(qw_error *err, const char *name, const char *what, const json_t *v)
{
    return qw_fail(err, QW_ERR_USAGE, "'%s' must be %s, not %s", name, what, qw_json_type_name(v));
}

static qw_status take_json(qw_grammar_request *r, const json_t *v, const char *name, qw_error *err)
{
    if (!is_text(v)) {
        r->spec.json = v;
        return QW_OK;
    }
    qw_str text = qw_json_str(v);
    qw_status st = qw_json_parse_digits(&r->parsed, text.ptr, text.len, name, err);
    if (st != QW_OK) return qw_fail(err, QW_ERR_USAGE, "'%s' is not JSON", name);
    r->spec.json = r->parsed;
    return QW_OK;
}

static qw_status take_kind(qw_grammar_request *r, size_t i, const json_t *v, const char *name,
                           qw_error *err)
{
    r->spec.kind = kinds[i].kind;
    if (kinds[i].form == FORM_TRUE) {
        if (json_is_false(v)) return QW_OK; // not asked for
        if (!json_is_true(v)) return fail_type(err, name, "true", v);
    } else if (kinds[i].form == FORM_TEXT) {
        if (!is_text(v)) return fail_type(err, name, "a string", v);
        r->spec.text = qw_json_str(v);
    } else if (kinds[i].form == FORM_LIST) {
        if (!json_is_array(v)) return fail_type(err, name, "a list of strings", v);
        r->spec.json = v;
    } else {
        qw_status st = take_json(r, v, name, err);
        if (st != QW_OK) return st;
        if (!json_is_object(r->spec.json) && !json_is_boolean(r->spec.json))
            return fail_type(err, name, "an object", r->spec.json);
    }
    r->has_grammar = true;
    return QW_OK;
}

static qw_status take_whitespace(qw_grammar_request *r, const json_t *v, const char *name,
                                 qw_error *err)
{
    if (!v || json_is_null(v)) return QW_OK;
    if (!is_text(v)) return fail_type(err, name, "a string", v);
    r->spec.whitespace = qw_json_str(v);
    return QW_OK;
}

qw_status qw_grammar_request_read_outputs(qw_grammar_request *out, const json_t *outputs,
                                          qw_error *err)
{
    size_t n = 0;
    *out = (qw_grammar_request){.param = "structured_outputs"};
    if (!json_is_object(outputs)) return fail_type(err, "structured_outputs", "an object", outputs);
    for (size_t i = 0; i < QW_ARRAY_LEN(kinds); i++) {
        const json_t *v = json_object_get(outputs, kinds[i].name);
        if (!v || json_is_null(v)) continue;
        if (n++ > 0)
            return qw_fail(err, QW_ERR_USAGE,
                           "You can only use one kind of constraints for structured outputs");
        qw_status st = take_kind(out, i, v, kinds[i].name, err);
        if (st != QW_OK) return st;
    }
    if (n == 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "structured_outputs needs one of 'json', 'regex', 'choice', 'grammar', "
                       "'json_object' or 'structural_tag'");
    qw_status st = qw_json_get_bool(&out->spec.compact, outputs, "disable_any_whitespace", err);
    if (st == QW_OK)
        st = qw_json_get_bool(&out->spec.closed, outputs, "disable_additional_properties", err);
    if (st != QW_OK) return st;
    return take_whitespace(out, json_object_get(outputs, "whitespace_pattern"),
                           "whitespace_pattern", err);
}

static qw_status read_format(qw_grammar_request *out, const json_t *format, qw_error *err)
{
    const json_t *type = json_object_get(format, "type");
    qw_str name = is_text(type) ? qw_json_str(type) : QW_STR("");
    out->param = "response_format";
    if (qw_str_is(name, "text")) return QW_OK;
    if (qw_str_is(name, "json_object")) {
        out->spec.kind = QW_GRAMMAR_JSON_OBJECT;
    } else if (qw_str_is(name, "json_schema")) {
        const json_t *schema = json_object_get(format, "json_schema");
        out->spec.kind = QW_GRAMMAR_JSON_SCHEMA;
        out->spec.json = json_object_get(schema, "schema");
        out->spec.closed = json_is_true(json_object_get(schema, "strict"));
        if (!json_is_object(out->spec.json) && !json_is_boolean(out->spec.json))
            return qw_fail(err, QW_ERR_USAGE, "'json_schema' must have an object 'schema'");
    } else if (qw_str_is(name, "structural_tag")) {
        out->spec.kind = QW_GRAMMAR_STRUCTURAL_TAG;
        out->spec.json = format;
    } else {
        return qw_fail(err, QW_ERR_USAGE,
                       "response_format type must be 'text', 'json_object', 'json_schema' or "
                       "'structural_tag'");
    }
    out->has_grammar = true;
    return QW_OK;
}

qw_status qw_grammar_request_read(qw_grammar_request *out, const json_t *body, qw_error *err)
{
    const json_t *format = json_object_get(body, "response_format");
    const json_t *outputs = json_object_get(body, "structured_outputs");
    *out = (qw_grammar_request){0};
    if (outputs && !json_is_null(outputs)) {
        qw_status st = qw_grammar_request_read_outputs(out, outputs, err);
        if (st != QW_OK) return st;
    }
    for (size_t i = 0; i < QW_ARRAY_LEN(kinds); i++) {
        if (kinds[i].kind == QW_GRAMMAR_STRUCTURAL_TAG) continue; // had no such form
        const json_t *v = json_object_get(body, kinds[i].guided);
        if (!v || json_is_null(v)) continue;
        if (out->has_grammar)
            return qw_fail(err, QW_ERR_USAGE,
                           "You can only use one kind of constraints for structured outputs");
        out->param = kinds[i].guided;
        qw_status st = take_kind(out, i, v, kinds[i].guided, err);
        if (st == QW_OK)
            st = take_whitespace(out, json_object_get(body, "guided_whitespace_pattern"),
                                 "guided_whitespace_pattern", err);
        if (st != QW_OK) return st;
    }
    if (!format || json_is_null(format)) return QW_OK;
    if (!json_is_object(format)) return fail_type(err, "response_format", "an object", format);
    if (!out->has_grammar) return read_format(out, format, err);
    const json_t *type = json_object_get(format, "type");
    if (is_text(type) && qw_str_is(qw_json_str(type), "text")) return QW_OK;
    out->param = "response_format";
    return qw_fail(err, QW_ERR_USAGE,
                   "You can only use one of response_format and structured_outputs");
}
