#include "model/rope.h"

#include <math.h>

#include "base/dtype.h"
#include "base/mem.h"

// Index of the frequency that turns `rotations` times over the original context (4.1: corr).
static double correction_index(double rotations, int dim, double theta, double original)
{
    return dim * log(original / (2.0 * M_PI * rotations)) / (2.0 * log(theta));
}

// YaRN: fast frequencies stay, slow ones are divided by the factor, a ramp in between.
static void scale_yarn(float *inv_freq, const qw_model_config *config)
{
    const qw_rope_config *r = &config->rope;
    int d = (int)config->head_dim;
    double low =
        correction_index(r->beta_fast, d, r->rope_theta, r->original_max_position_embeddings);
    double high =
        correction_index(r->beta_slow, d, r->rope_theta, r->original_max_position_embeddings);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    if (low < 0) low = 0;
    if (high > d - 1) high = d - 1;
    if (low == high) high += 0.001;
    for (int i = 0; i < d / 2; i++) {
        double ramp = (i - low) / (high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        double keep = (1 - ramp) * r->extrapolation_factor;
        double f = pow(r->rope_theta, -2.0 * i / d);
        inv_freq[i] = (float)(keep * f + (1 - keep) * f / r->factor);
    }
}

qw_status qw_rope_init(qw_rope *rope, const qw_model_config *config, qw_error *err)
{
    int half = (int)config->head_dim / 2;
    float *inv_freq = qw_mem_array((size_t)half, sizeof *inv_freq); // model lifetime
    if (!inv_freq) return qw_fail_memory(err, (size_t)half * sizeof *inv_freq, "frequencies");
    const qw_rope_config *r = &config->rope;
    if (r->rope_type == QW_ROPE_YARN) {
        scale_yarn(inv_freq, config);
    } else {
        double divisor = r->rope_type == QW_ROPE_LINEAR ? r->factor : 1.0;
        for (int i = 0; i < half; i++)
            inv_freq[i] = (float)(pow(r->rope_theta, -2.0 * i / (2 * half)) / divisor);
    }
    *rope = (qw_rope){inv_freq, half, (float)qw_model_config_attention_factor(config)};
    return QW_OK;
}

void qw_rope_release(qw_rope *rope)
{
    qw_mem_free(rope->inv_freq);
    *rope = (qw_rope){0};
}

void qw_rope_fill(const qw_rope *rope, float *cos_out, float *sin_out, const int32_t *positions,
                  int n, bool round)
{
    for (int t = 0; t < n; t++) {
        for (int i = 0; i < rope->half; i++) {
            float angle = (float)positions[t] * rope->inv_freq[i];
            float c = (float)cos(angle) * rope->factor, s = (float)sin(angle) * rope->factor;
            *cos_out++ = round ? qw_round_bf16(c) : c;
            *sin_out++ = round ? qw_round_bf16(s) : s;
        }
    }
}
