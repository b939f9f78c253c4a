#include "server/api_schema.h"

#include <stdarg.h>
#include <strings.h>

#include "format/json_lax.h"

// ---- issues

enum { MAX_INPUT_SHOWN = 80 };

static void add_text(qw_issues *s, const char *fmt, ...) QW_PRINTF(2, 3);

static void add_text(qw_issues *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(s->text + s->len, sizeof s->text - s->len, fmt, args);
    va_end(args);
    s->len += (size_t)n;
    if (s->len >= sizeof s->text) s->len = sizeof s->text - 1;
}

// A value as Python's repr would begin.
static void add_value(qw_issues *s, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: add_text(s, json_object_size(v) ? "{...}" : "{}"); break;
    case JSON_ARRAY: add_text(s, json_array_size(v) ? "[...]" : "[]"); break;
    case JSON_STRING:
        if (qw_json_is_big_integer(v))
            add_text(s, "%.*s", MAX_INPUT_SHOWN, qw_json_digits(v).ptr);
        else
            add_text(s, "'%.*s'%s", MAX_INPUT_SHOWN, json_string_value(v),
                     json_string_length(v) > MAX_INPUT_SHOWN ? "..." : "");
        break;
    case JSON_INTEGER: add_text(s, "%" JSON_INTEGER_FORMAT, json_integer_value(v)); break;
    case JSON_REAL: {
        char text[32];
        qw_str_from_f64(text, json_real_value(v));
        add_text(s, "%s", text);
        break;
    }
    case JSON_TRUE: add_text(s, "True"); break;
    case JSON_FALSE: add_text(s, "False"); break;
    case JSON_NULL: add_text(s, "None"); break;
    }
}

void qw_issues_add(qw_issues *s, const char *path, const char *type, const json_t *input,
                   const char *fmt, ...)
{
    s->n++;
    if (s->len + 400 > sizeof s->text) return;
    char msg[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    add_text(s, "\n  {'type': '%s', 'loc': ('body', %.120s), 'msg': \"%s\"", type, path, msg);
    if (input) {
        add_text(s, ", 'input': ");
        add_value(s, input);
    }
    add_text(s, "}");
}

qw_status qw_issues_check(const qw_issues *s, const char *param, qw_api_error *err)
{
    if (s->n == 0) return QW_OK;
    return qw_api_fail(err, QW_FAULT_SCHEMA, param, "%zu validation error%s:%s", s->n,
                       s->n == 1 ? "" : "s", s->text);
}

qw_status qw_api_fail_rule(qw_api_error *err, const char *param, const char *fmt, ...)
{
    char msg[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    return qw_api_fail(err, QW_FAULT_SCHEMA, param,
                       "1 validation error:\n  {'type': 'value_error', 'loc': ('body',), 'msg': "
                       "\"Value error, %s\"}",
                       msg);
}

// ---- the body as a whole

static bool is_json_type(const char *content_type)
{
    static const char want[] = "application/json";
    if (!content_type || strncasecmp(content_type, want, sizeof want - 1) != 0) return false;
    char next = content_type[sizeof want - 1];
    return next == '\0' || next == ';' || next == ' ';
}

qw_status qw_api_body_parse(json_t **out, qw_str body, const char *content_type, qw_api_error *err)
{
    qw_error why;
    json_t *v = NULL;
    if (!is_json_type(content_type)) {
        static const char text[] = "Unsupported Media Type: Only 'application/json' is allowed";
        return qw_api_fail(err, QW_FAULT_SCHEMA, NULL, "1 validation error:\n  %s [\"%s\"]", text,
                           text);
    }
    // Integers of any size, because tools and documents are only passed on; typed members refuse.
    qw_status st = qw_json_parse_digits(&v, body.ptr ? body.ptr : "", body.len, "body", &why);
    if (st == QW_ERR_NO_MEMORY) return qw_api_fail_with(err, st, &why, NULL);
    if (st != QW_OK)
        return qw_api_fail(err, QW_FAULT_SCHEMA, NULL,
                           "1 validation error:\n  {'type': 'json_invalid', 'loc': ('body',), "
                           "'msg': 'JSON decode error', 'ctx': {'error': \"%s\"}}",
                           why.text);
    if (!json_is_object(v)) {
        st = qw_api_fail(err, QW_FAULT_SCHEMA, NULL,
                         "1 validation error:\n  {'type': 'model_attributes_type', 'loc': "
                         "('body',), 'msg': 'Input should be a valid dictionary or object to "
                         "extract fields from'}");
        json_decref(v);
        return st;
    }
    *out = v;
    return QW_OK;
}

bool qw_api_is_truthy(const json_t *v)
{
    if (!v) return false;
    switch (json_typeof(v)) {
    case JSON_OBJECT: return json_object_size(v) > 0;
    case JSON_ARRAY: return json_array_size(v) > 0;
    case JSON_STRING: return json_string_length(v) > 0;
    case JSON_INTEGER: return json_integer_value(v) != 0;
    case JSON_REAL: return json_real_value(v) != 0;
    case JSON_TRUE: return true;
    case JSON_FALSE:
    case JSON_NULL: return false;
    }
    return false;
}

// ---- members

// What pydantic says of a value that is no integer.
static void add_int_issue(qw_issues *s, const char *path, const json_t *v)
{
    if (qw_json_is_big_integer(v))
        qw_issues_add(s, path, "int_parsing_size", v,
                      "Unable to parse input string as an integer, exceeded maximum size");
    else if (json_is_string(v))
        qw_issues_add(s, path, "int_parsing", v,
                      "Input should be a valid integer, unable to parse string as an integer");
    else if (json_is_real(v))
        qw_issues_add(s, path, "int_from_float", v,
                      "Input should be a valid integer, got a number with a fractional part");
    else
        qw_issues_add(s, path, "int_type", v, "Input should be a valid integer");
}

static void add_float_issue(qw_issues *s, const char *path, const json_t *v)
{
    if (json_is_string(v))
        qw_issues_add(s, path, "float_parsing", v,
                      "Input should be a valid number, unable to parse string as a number");
    else
        qw_issues_add(s, path, "float_type", v, "Input should be a valid number");
}

static void add_bool_issue(qw_issues *s, const char *path, const json_t *v)
{
    if (json_is_number(v) || qw_api_is_text(v))
        qw_issues_add(s, path, "bool_parsing", v,
                      "Input should be a valid boolean, unable to interpret input");
    else
        qw_issues_add(s, path, "bool_type", v, "Input should be a valid boolean");
}

static void add_choice_issue(qw_issues *s, const char *path, const json_t *v,
                             const char *const *choices)
{
    char list[200];
    size_t len = 0;
    for (size_t i = 0; choices[i] && len < sizeof list; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s'%s'",
                                i == 0           ? ""
                                : choices[i + 1] ? ", "
                                                 : " or ",
                                choices[i]);
    qw_issues_add(s, path, "literal_error", v, "Input should be %s", list);
}

static bool is_choice(const json_t *v, const char *const *choices)
{
    for (; qw_api_is_text(v) && *choices; choices++)
        if (qw_str_is(qw_json_str(v), *choices)) return true;
    return false;
}

// Each function below gives a new reference to the plain form of `v`, or NULL: an issue was added,
// or memory is short.

static json_t *read_bool(const json_t *v, const char *path, qw_issues *s)
{
    bool value;
    if (!qw_json_is_big_integer(v) && qw_json_lax_bool(&value, v, path, NULL) == QW_OK)
        return json_boolean(value);
    add_bool_issue(s, path, v);
    return NULL;
}

static json_t *read_int(const json_t *v, const char *path, const qw_field *f, qw_issues *s)
{
    int64_t value;
    if (qw_json_is_big_integer(v) || qw_json_lax_i64(&value, v, path, NULL) != QW_OK) {
        add_int_issue(s, path, v);
        return NULL;
    }
    if (f->has_min && value < f->min) {
        qw_issues_add(s, path, "greater_than_equal", v,
                      "Input should be greater than or equal to %" PRId64, f->min);
        return NULL;
    }
    return json_integer(value);
}

static json_t *read_float(const json_t *v, const char *path, qw_issues *s)
{
    double value;
    if (!qw_json_is_big_integer(v) && qw_json_lax_f64(&value, v, path, NULL) == QW_OK)
        return json_real(value);
    if (qw_json_is_big_integer(v))
        add_int_issue(s, path, v);
    else
        add_float_issue(s, path, v);
    return NULL;
}

static json_t *share(const json_t *v)
{
    return json_incref((json_t *)(uintptr_t)v);
}

// True if every item fits; the list itself may then be shared.
static bool check_items(const json_t *list, const qw_field *f, qw_issues *s)
{
    size_t n_before = s->n;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        char path[100];
        int64_t id;
        snprintf(path, sizeof path, "'%s', %zu", f->name, i);
        if (f->type == QW_FIELD_INT_LIST) {
            if (qw_json_is_big_integer(v) || json_is_null(v) ||
                qw_json_lax_i64(&id, v, path, NULL) != QW_OK)
                add_int_issue(s, path, v);
        } else if (!qw_api_is_text(v)) {
            qw_issues_add(s, path, "string_type", v, "Input should be a valid string");
        }
    }
    return s->n == n_before;
}

static bool check_map(const json_t *map, const qw_field *f, qw_issues *s)
{
    size_t n_before = s->n;
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)map, key, v)
    {
        char path[100];
        double value;
        snprintf(path, sizeof path, "'%s', '%.40s'", f->name, key);
        if (qw_json_is_big_integer(v))
            add_int_issue(s, path, v);
        else if (json_is_null(v) || qw_json_lax_f64(&value, v, path, NULL) != QW_OK)
            add_float_issue(s, path, v);
    }
    return s->n == n_before;
}

static json_t *read_member(const json_t *v, const qw_field *f, qw_issues *s)
{
    char path[80];
    snprintf(path, sizeof path, "'%s'", f->name);
    switch (f->type) {
    case QW_FIELD_ANY: return share(v);
    case QW_FIELD_BOOL: return read_bool(v, path, s);
    case QW_FIELD_INT: return read_int(v, path, f, s);
    case QW_FIELD_FLOAT: return read_float(v, path, s);
    case QW_FIELD_CHOICE:
        if (is_choice(v, f->choices)) return share(v);
        add_choice_issue(s, path, v, f->choices);
        return NULL;
    case QW_FIELD_STR_OR_LIST:
    case QW_FIELD_STR:
        if (qw_api_is_text(v)) return share(v);
        if (f->type == QW_FIELD_STR_OR_LIST && json_is_array(v))
            return check_items(v, f, s) ? share(v) : NULL;
        qw_issues_add(s, path, "string_type", v, "Input should be a valid string");
        return NULL;
    case QW_FIELD_STR_LIST:
    case QW_FIELD_INT_LIST:
        if (json_is_array(v)) return check_items(v, f, s) ? share(v) : NULL;
        qw_issues_add(s, path, "list_type", v, "Input should be a valid list");
        return NULL;
    case QW_FIELD_LIST:
        if (json_is_array(v)) return share(v);
        qw_issues_add(s, path, "list_type", v, "Input should be a valid list");
        return NULL;
    case QW_FIELD_OBJECT:
    case QW_FIELD_FLOAT_MAP:
        if (json_is_object(v))
            return f->type == QW_FIELD_OBJECT || check_map(v, f, s) ? share(v) : NULL;
        qw_issues_add(s, path, "dict_type", v, "Input should be a valid dictionary");
        return NULL;
    }
    return NULL;
}

qw_status qw_api_schema_read(json_t *to, const json_t *body, const qw_field *fields,
                             size_t n_fields, qw_issues *issues, qw_api_error *err)
{
    for (size_t i = 0; i < n_fields; i++) {
        const qw_field *f = &fields[i];
        const json_t *v = json_object_get(body, f->name);
        char path[80];
        snprintf(path, sizeof path, "'%s'", f->name);
        if (!v) {
            if (f->required) qw_issues_add(issues, path, "missing", NULL, "Field required");
            continue;
        }
        if (json_is_null(v) && !f->not_null && !f->required) continue;
        size_t n_before = issues->n;
        json_t *plain = read_member(v, f, issues);
        if (!plain && issues->n > n_before) continue;
        if (json_object_set_new(to, f->name, plain) == 0) continue;
        return qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL,
                           "out of memory while reading a request");
    }
    return QW_OK;
}
