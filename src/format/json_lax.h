#ifndef QW_FORMAT_JSON_LAX_H
#define QW_FORMAT_JSON_LAX_H

#include "format/json.h"

// Request fields are read as leniently as vLLM's front end reads them (pydantic's lax mode,
// http-api.md 1.3): "5" and 5.0 are integers, "0.5" is a number, "true", "off" and 1 are booleans.
// `v` is not NULL and not null; `key` names the field in errors (QW_ERR_FORMAT). *out is written
// on success only.

/** An integer, an integral number, a text of either, or a boolean (1, 0). */
QW_MUST_CHECK qw_status qw_json_lax_i64(int64_t *out, const json_t *v, const char *key,
                                        qw_error *err);
/** A number, a text of one, or a boolean. Always finite. */
QW_MUST_CHECK qw_status qw_json_lax_f64(double *out, const json_t *v, const char *key,
                                        qw_error *err);
/** A boolean, 0 or 1, or one of true t yes y on 1, false f no n off 0 in any case. */
QW_MUST_CHECK qw_status qw_json_lax_bool(bool *out, const json_t *v, const char *key,
                                         qw_error *err);

#endif
