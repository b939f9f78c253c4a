#ifndef QW_FORMAT_CONFIG_JSON_H
#define QW_FORMAT_CONFIG_JSON_H

// What the readers of config.json and generation_config.json share.
#include "format/json.h"

/** Longest configuration file, in bytes. */
#define QW_CONFIG_MAX_SIZE ((size_t)16 << 20)

/**
 * Parse the JSON text of a command-line override; NULL text gives an empty object. Strings that
 * hold a decimal number become that number, at any depth: dotted options once delivered "4.0".
 * `option` names the flag in errors (QW_ERR_USAGE). Caller owns *out.
 */
QW_MUST_CHECK qw_status qw_config_parse_overrides(json_t **out, const char *text,
                                                  const char *option, qw_error *err);

/** Parse configuration text that must be one JSON object. Caller owns *out. */
QW_MUST_CHECK qw_status qw_config_parse_object(json_t **out, const char *text, size_t len,
                                               qw_error *err);

/** object[key] = value, taking over the caller's reference to `value` (NULL counts as failed). */
QW_MUST_CHECK qw_status qw_config_set_new(json_t *object, const char *key, json_t *value,
                                          qw_error *err);

/**
 * A token id or a list of them; absent or null leaves the outputs alone. Caller owns *ids
 * (qw_mem_free).
 */
QW_MUST_CHECK qw_status qw_config_get_token_ids(int32_t **ids, size_t *n, const json_t *object,
                                                const char *key, qw_error *err);

#endif
