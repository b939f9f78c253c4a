// Epilogues of a product (cpu-kernels.md 3.5, 3.6): separate multiply and add, true division.

#include "backend/cpu/kernels.h"

#include <math.h>

#include "base/fmath.h"

void qw_store_ref(float *y, const float *t, int n, bool round)
{
    for (int i = 0; i < n; i++) y[i] = round ? qw_round_bf16(t[i]) : t[i];
}

void qw_residual_ref(float *y, const float *t, int n, bool round)
{
    for (int i = 0; i < n; i++)
        y[i] = round ? qw_round_bf16(y[i] + qw_round_bf16(t[i])) : y[i] + t[i];
}

static float silu(float g)
{
    float t = qw_exp_ref(-fabsf(g));
    float s = g >= 0 ? 1.0f / (1.0f + t) : t / (1.0f + t);
    return g * s;
}

void qw_silu_mul_ref(float *y, const float *gate, const float *up, int n, bool round)
{
    for (int i = 0; i < n; i++) {
        if (round)
            y[i] =
                qw_round_bf16(qw_round_bf16(silu(qw_round_bf16(gate[i]))) * qw_round_bf16(up[i]));
        else
            y[i] = silu(gate[i]) * up[i];
    }
}
