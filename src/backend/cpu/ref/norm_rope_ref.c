// RMSNorm, and RMSNorm with rotation for one head (qwen3-dense.md 3.2 to 3.4).

#include "backend/cpu/kernels.h"

#include <math.h>

#include "base/fmath.h"

static inline float maybe_round(float x, bool round)
{
    return round ? qw_round_bf16(x) : x;
}

// 1 / rms, with the canonical sum of squares: 16 lanes, then the fold.
static float inverse_rms(const float *x, int n, float eps)
{
    float lanes[16] = {0};
    for (int i = 0; i < n; i++) lanes[i % 16] = fmaf(x[i], x[i], lanes[i % 16]);
    return 1.0f / sqrtf(qw_fold16(lanes) / (float)n + eps);
}

void qw_rms_norm_ref(float *y, const float *x, const float *weight, int n, float eps, bool round)
{
    float r = inverse_rms(x, n, eps);
    for (int i = 0; i < n; i++) y[i] = maybe_round(maybe_round(x[i] * r, round) * weight[i], round);
}

void qw_norm_rope_ref(float *x, const float *weight, const float *cos, const float *sin, int d,
                      float eps, bool round)
{
    qw_rms_norm_ref(x, x, weight, d, eps, round);
    int half = d / 2;
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        float a_cos = maybe_round(a * cos[i], round), b_sin = maybe_round(b * sin[i], round);
        float b_cos = maybe_round(b * cos[i], round), a_sin = maybe_round(a * sin[i], round);
        x[i] = maybe_round(a_cos - b_sin, round);
        x[i + half] = maybe_round(b_cos + a_sin, round);
    }
}
