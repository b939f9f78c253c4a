#ifndef QW_FORMAT_GENERATION_CONFIG_H
#define QW_FORMAT_GENERATION_CONFIG_H

// generation_config.json: a model's own sampling defaults (qwen3-dense 1.3; http-api 2.1).
#include "format/model_config.h"

/** Each value counts only if its has_ flag is set. Ranges are those of the API's parameters. */
typedef struct qw_generation_config {
    bool has_do_sample, has_temperature, has_top_p, has_top_k, has_min_p, has_repetition_penalty,
        has_max_new_tokens;
    bool do_sample;
    double temperature;             /* >= 0 */
    double top_p;                   /* (0, 1] */
    int64_t top_k;                  /* 0 or -1: off */
    double min_p;                   /* [0, 1] */
    double repetition_penalty;      /* > 0 */
    int64_t max_new_tokens;         /* >= 1 */
    bool max_new_tokens_overridden; /* from the overrides: a cap, not only a default */
    /* Any of these ends a generation: the file's ids, or config.json's when it names none. */
    int32_t *eos_token_ids;
    size_t n_eos_token_ids;
} qw_generation_config;

/**
 * Read `dir`/generation_config.json, with `overrides` (the JSON text of
 * --override-generation-config; NULL: none) merged over it. A missing file is no error. `cfg` gives
 * the end-of-sequence ids when the file names none. QW_ERR_USAGE: the overrides are no JSON object;
 * QW_ERR_FORMAT: a malformed file or a value out of range.
 */
QW_MUST_CHECK qw_status qw_generation_config_load(qw_generation_config *out, const char *dir,
                                                  const char *overrides, const qw_model_config *cfg,
                                                  qw_error *err);
/** The same from `len` bytes of the file's text. */
QW_MUST_CHECK qw_status qw_generation_config_parse(qw_generation_config *out, const char *text,
                                                   size_t len, const char *overrides,
                                                   const qw_model_config *cfg, qw_error *err);
void qw_generation_config_release(qw_generation_config *g);

/** True if `id` ends a generation. */
bool qw_generation_config_is_eos(const qw_generation_config *g, int32_t id);

#endif
