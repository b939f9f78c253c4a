#ifndef QW_SERVER_API_SCHEMA_H
#define QW_SERVER_API_SCHEMA_H

#include "format/json.h"
#include "server/api_error.h"

/** Types of the members of a request's body, read as leniently as format/json_lax.h does. */
typedef enum qw_field_type {
    QW_FIELD_ANY,
    QW_FIELD_BOOL,
    QW_FIELD_INT,
    QW_FIELD_FLOAT,
    QW_FIELD_STR,
    QW_FIELD_CHOICE,      /* one of `choices` */
    QW_FIELD_STR_OR_LIST, /* a string or a list of strings */
    QW_FIELD_STR_LIST,
    QW_FIELD_INT_LIST,
    QW_FIELD_LIST,
    QW_FIELD_OBJECT,
    QW_FIELD_FLOAT_MAP, /* an object whose values are numbers */
} qw_field_type;

/** One member. Ranges beyond `min` are checked elsewhere, with messages of their own. */
typedef struct qw_field {
    const char *name;
    qw_field_type type;
    bool required;
    bool not_null; /* an explicit null is of a wrong type */
    bool has_min;  /* for INT */
    int64_t min;
    const char *const *choices; /* for CHOICE, ended by NULL */
} qw_field;

/**
 * What is wrong with a body, in the words of vLLM's front end: "N validation error(s):" and for
 * each {'type', 'loc', 'msg', 'input'}. Zeroed: nothing.
 */
typedef struct qw_issues {
    size_t n;
    size_t len; /* of text; issues that do not fit are only counted */
    char text[1800];
} qw_issues;

/** Add an issue at ('body', path). `path` as Python prints the rest of the tuple: "'n'" or
 *  "'messages', 0, 'role'"; "" for the body itself. `input` may be NULL: not shown. */
void qw_issues_add(qw_issues *s, const char *path, const char *type, const json_t *input,
                   const char *fmt, ...) QW_PRINTF(5, 6);
/** QW_OK if there are none, else the refusal (QW_FAULT_SCHEMA). */
QW_MUST_CHECK qw_status qw_issues_check(const qw_issues *s, const char *param, qw_api_error *err);

/**
 * A rule between fields that is broken: the refusal with one issue of the type value_error. `param`
 * may be NULL.
 */
qw_status qw_api_fail_rule(qw_api_error *err, const char *param, const char *fmt, ...)
    QW_PRINTF(3, 4);

/** Parse a body that must be a JSON object. Caller owns *out. */
QW_MUST_CHECK qw_status qw_api_body_parse(json_t **out, qw_str body, const char *content_type,
                                          qw_api_error *err);

/**
 * Put the members of `body` that `fields` name into the object `to`: numbers and booleans in their
 * plain form (the text "5" is the integer 5), null members left out, lists and objects shared with
 * `body`. What does not fit goes to `issues`; the status only tells that memory is short.
 */
QW_MUST_CHECK qw_status qw_api_schema_read(json_t *to, const json_t *body, const qw_field *fields,
                                           size_t n_fields, qw_issues *issues, qw_api_error *err);

/** Members of an object made by qw_api_schema_read. */
static inline int64_t qw_api_int(const json_t *object, const char *name, int64_t def)
{
    const json_t *v = json_object_get(object, name);
    return json_is_integer(v) ? json_integer_value(v) : def;
}

static inline bool qw_api_bool(const json_t *object, const char *name, bool def)
{
    const json_t *v = json_object_get(object, name);
    return json_is_boolean(v) ? json_is_true(v) : def;
}

/** ptr NULL if absent. */
static inline qw_str qw_api_str(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    return json_is_string(v) ? qw_json_str(v) : (qw_str){NULL, 0};
}

/** A string, and not an integer of many digits (format/json.h). */
static inline bool qw_api_is_text(const json_t *v)
{
    return json_is_string(v) && !qw_json_is_big_integer(v);
}

/** True as Python's truth: absent, null, false, 0, "", [] and {} are not. */
bool qw_api_is_truthy(const json_t *v);

#endif
