#ifndef QW_MODEL_ROPE_H
#define QW_MODEL_ROPE_H

#include "format/model_config.h"

/** Rotary position embedding of one model: frequencies after YaRN or linear scaling. */
typedef struct qw_rope {
    float *inv_freq; /* [head_dim / 2], fp32 */
    int half;        /* head_dim / 2 */
    float factor;    /* the attention factor: multiplies cos and sin */
} qw_rope;

/** Compute the frequencies (qwen3-dense.md 3.4 and 4.1). Allocates inv_freq: release it. */
QW_MUST_CHECK qw_status qw_rope_init(qw_rope *rope, const qw_model_config *config, qw_error *err);
void qw_rope_release(qw_rope *rope);

/**
 * cos and sin of each position: [n][half] each, fp32, rounded to bfloat16 when `round`. Computed
 * per step instead of kept as a table: half a microsecond per token and layer stack, and a start
 * that does not depend on the context length. The angle is rounded to fp32 as the reference does;
 * cosine and sine are taken in double and rounded once, so that they do not depend on the C
 * library.
 */
void qw_rope_fill(const qw_rope *rope, float *cos_out, float *sin_out, const int32_t *positions,
                  int n, bool round);

#endif
