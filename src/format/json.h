#ifndef QW_FORMAT_JSON_H
#define QW_FORMAT_JSON_H

// Thin helpers over jansson: limits, getters whose errors name the field, and a writer that spells
// numbers as Python does. A json_t is used directly everywhere; include this header to get it.
#include <jansson.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/** Make jansson allocate through base/mem.h. Called once, before any other use of jansson. */
void qw_json_init(void);

/**
 * Parse one JSON value of any kind. Duplicate keys, invalid UTF-8 (lone surrogates too), trailing
 * text, nesting beyond 2,048, integers beyond int64 and numbers beyond double are errors. NUL
 * (\u0000) is legal in strings, not in keys: use json_string_length. `what` names the text in
 * errors. Caller owns *out (json_decref).
 */
QW_MUST_CHECK qw_status qw_json_parse(json_t **out, const char *text, size_t len, const char *what,
                                      qw_error *err);
/** The same, but an integer beyond int64 becomes a real: the model_max_length of many a
 *  tokenizer_config.json is 10^30. */
QW_MUST_CHECK qw_status qw_json_parse_wide(json_t **out, const char *text, size_t len,
                                           const char *what, qw_error *err);
/**
 * The same, but an integer beyond int64 keeps all its digits (qw_json_is_big_integer), for values
 * that are only passed on, as a tool's description is to a chat template. To every getter here it
 * is of a wrong type; qw_json_refuse_big_integers tells where none may be.
 */
QW_MUST_CHECK qw_status qw_json_parse_digits(json_t **out, const char *text, size_t len,
                                             const char *what, qw_error *err);
/** The same as qw_json_parse for a whole file of at most `max` bytes. */
QW_MUST_CHECK qw_status qw_json_load(json_t **out, const char *path, size_t max, qw_error *err);

/** Text of a JSON string value (borrowed from `v`). */
static inline qw_str qw_json_str(const json_t *v)
{
    return (qw_str){json_string_value(v), json_string_length(v)};
}

/** First byte of a big integer's text; the digits, perhaps with a sign, follow. */
#define QW_JSON_BIG_INTEGER_MARK ((char)0xFF)

/** True for an integer beyond int64. jansson takes it for a string. */
static inline bool qw_json_is_big_integer(const json_t *v)
{
    return json_is_string(v) && json_string_length(v) > 1 &&
           json_string_value(v)[0] == QW_JSON_BIG_INTEGER_MARK;
}

/** The digits of a big integer (borrowed from `v`). */
static inline qw_str qw_json_digits(const json_t *v)
{
    return (qw_str){json_string_value(v) + 1, json_string_length(v) - 1};
}

/** QW_ERR_FORMAT naming the place, "name[3].member", if there is a big integer in `v`. */
QW_MUST_CHECK qw_status qw_json_refuse_big_integers(const json_t *v, const char *name,
                                                    qw_error *err);

/** "object", "array", "string", "integer", "number", "boolean" or "null". */
const char *qw_json_type_name(const json_t *v);

/**
 * Typed members of an object. A member that is absent or null leaves *out as it is (so the caller
 * sets the default first); a wrong type or a value out of range is an error naming `key` and the
 * value. An integral number spelled as a float (1e6, 2.0) is accepted as an integer.
 */
QW_MUST_CHECK qw_status qw_json_get_i64(int64_t *out, const json_t *object, const char *key,
                                        int64_t min, int64_t max, qw_error *err);
QW_MUST_CHECK qw_status qw_json_get_f64(double *out, const json_t *object, const char *key,
                                        double min, double max, qw_error *err);
QW_MUST_CHECK qw_status qw_json_get_bool(bool *out, const json_t *object, const char *key,
                                         qw_error *err);
/** Borrowed from the object. */
QW_MUST_CHECK qw_status qw_json_get_str(qw_str *out, const json_t *object, const char *key,
                                        qw_error *err);
/** True if the member is there and not null. */
bool qw_json_has(const json_t *object, const char *key);

/** Append a JSON string with quotes: `"`, `\`, control characters escaped; all else raw. */
void qw_json_write_string(qw_buf *b, qw_str text);
/** Append a number as Python's json does: shortest repr, Infinity, -Infinity, NaN. */
void qw_json_write_f64(qw_buf *b, double value);
/**
 * Append `v` as Python's json.dumps(v, ensure_ascii=False) does: separators ", " and ": ", key
 * order kept; compact: separators "," and ":".
 */
void qw_json_write(qw_buf *b, const json_t *v, bool compact);

#endif
