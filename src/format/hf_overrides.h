#ifndef QW_FORMAT_HF_OVERRIDES_H
#define QW_FORMAT_HF_OVERRIDES_H

#include "format/json.h"

/**
 * Merge the object `overrides` (qw_config_parse_overrides) into `config`, the object of a
 * config.json, as --hf-overrides does (qwen3-dense 4.4). Nested configs ("..._config") merge
 * member by member, everything else replaces, with one exception: a rope object replaces both
 * spellings of the file and inherits the file's rope_theta when it has none; that and keys that
 * nobody knows are noted in `warnings`, one line each. On failure `config` may be half merged.
 */
QW_MUST_CHECK qw_status qw_hf_overrides_apply(json_t *config, const json_t *overrides,
                                              qw_buf *warnings, qw_error *err);

#endif
