#ifndef QW_FORMAT_OPT_JSON_H
#define QW_FORMAT_OPT_JSON_H

#include "base/opt.h"
#include "format/json.h"

/**
 * The JSON object that an option of type QW_OPT_JSON stands for: its text (an object; none: empty),
 * then its dotted assignments in order. A dotted value is read as JSON, else as a number with a
 * k/m/g/t suffix, else as a string. An appended value ("--x.list+ a,b") is split at commas, or is
 * one JSON list; its items are read the same way. Missing objects and lists on the path are made;
 * members that are something else are an error, as are empty keys and more than 64 levels.
 *
 * `name` is the option's, without dashes, for errors (QW_ERR_USAGE). Caller owns *out.
 */
QW_MUST_CHECK qw_status qw_opt_json_merge(json_t **out, const qw_opt_json *value, const char *name,
                                          qw_error *err);

#endif
