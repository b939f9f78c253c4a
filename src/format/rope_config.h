#ifndef QW_FORMAT_ROPE_CONFIG_H
#define QW_FORMAT_ROPE_CONFIG_H

// The rope members of a config.json in all their spellings (qwen3-dense 4.2).
#include "format/json.h"

typedef enum qw_rope_type {
    QW_ROPE_DEFAULT, /* plain rotation */
    QW_ROPE_LINEAR,  /* every frequency divided by `factor` */
    QW_ROPE_YARN,    /* qwen3-dense 4.1 */
} qw_rope_type;

/** Rotary embedding, both spellings (rope_scaling and rope_parameters) in one form. */
typedef struct qw_rope_config {
    qw_rope_type rope_type;
    double rope_theta;                        /* base b, at least 2 */
    double factor;                            /* s, at least 1; 1 for default */
    int32_t original_max_position_embeddings; /* O; max_position_embeddings when not given */
    double beta_fast, beta_slow;              /* turns per O; beta_fast >= beta_slow > 0 */
    bool truncate;                            /* round the ramp's ends outwards */
    double extrapolation_factor;              /* e, multiplies (1 - ramp) */
    bool has_attention_factor;
    double attention_factor;       /* valid if has_attention_factor */
    double attn_factor;            /* multiplies the formula's factor; 1 when not given */
    double mscale, mscale_all_dim; /* 0 when not given */
} qw_rope_config;

/**
 * Fill `out` from the config object. Missing theta means 10000 and a line in `warnings`.
 * QW_ERR_FORMAT: a value of the wrong type or out of range; QW_ERR_UNSUPPORTED: a rope type other
 * than default, linear and yarn.
 */
QW_MUST_CHECK qw_status qw_rope_config_read(qw_rope_config *out, const json_t *config,
                                            int32_t max_position_embeddings, qw_buf *warnings,
                                            qw_error *err);

/** The config's rope object that applies to full attention, or NULL. Borrowed from `config`. */
json_t *qw_rope_config_find(const json_t *config);
/** `rope` itself, or its member for full attention when it is keyed by layer type. Borrowed. */
json_t *qw_rope_config_of_full_attention(json_t *rope);
/** The config's rope_theta, wherever it is; NULL when it has none. Borrowed from `config`. */
json_t *qw_rope_config_find_theta(const json_t *config);

#endif
