// RMSNorm and rotation with 16-lane vectors; included once per level after its vec16 header. The
// last vector of a row is partial: its missing lanes read as +0 and are not written.

#include "backend/cpu/kernels.h"

#include <math.h>

V16_INLINE v16 norm_maybe_round(v16 x, bool round)
{
    return round ? v16_round_bf16(x) : x;
}

V16_INLINE void norm_row(float *y, const float *x, const float *weight, int n, float eps,
                         bool round)
{
    v16 sum = v16_set1(0.0f);
    int whole = n / 16 * 16;
    for (int i = 0; i < whole; i += 16) sum = v16_fma(v16_load(x + i), v16_load(x + i), sum);
    if (whole < n) {
        v16 last = v16_load_n(x + whole, n - whole);
        sum = v16_first_n(v16_fma(last, last, sum), sum, n - whole);
    }
    v16 r = v16_set1(1.0f / sqrtf(v16_fold(sum) / (float)n + eps));
    for (int i = 0; i < whole; i += 16) {
        v16 scaled = norm_maybe_round(v16_mul(v16_load(x + i), r), round);
        v16_store(y + i, norm_maybe_round(v16_mul(scaled, v16_load(weight + i)), round));
    }
    if (whole < n) {
        v16 scaled = norm_maybe_round(v16_mul(v16_load_n(x + whole, n - whole), r), round);
        v16 w = v16_load_n(weight + whole, n - whole);
        v16_store_n(y + whole, norm_maybe_round(v16_mul(scaled, w), round), n - whole);
    }
}

void QW_LEVEL(qw_rms_norm)(float *y, const float *x, const float *weight, int n, float eps,
                           bool round)
{
    if (round)
        norm_row(y, x, weight, n, eps, true);
    else
        norm_row(y, x, weight, n, eps, false);
}

V16_INLINE void rotate_head(float *x, const float *cos, const float *sin, int d, bool round)
{
    int half = d / 2;
    for (int i = 0; i < half; i += 16) {
        int n = half - i;
        v16 a = v16_load_n(x + i, n), b = v16_load_n(x + half + i, n);
        v16 c = v16_load_n(cos + i, n), s = v16_load_n(sin + i, n);
        v16 a_cos = norm_maybe_round(v16_mul(a, c), round);
        v16 b_sin = norm_maybe_round(v16_mul(b, s), round);
        v16 b_cos = norm_maybe_round(v16_mul(b, c), round);
        v16 a_sin = norm_maybe_round(v16_mul(a, s), round);
        v16_store_n(x + i, norm_maybe_round(v16_sub(a_cos, b_sin), round), n);
        v16_store_n(x + half + i, norm_maybe_round(v16_add(b_cos, a_sin), round), n);
    }
}

void QW_LEVEL(qw_norm_rope)(float *x, const float *weight, const float *cos, const float *sin,
                            int d, float eps, bool round)
{
    QW_LEVEL(qw_rms_norm)(x, x, weight, d, eps, round);
    if (round)
        rotate_head(x, cos, sin, d, true);
    else
        rotate_head(x, cos, sin, d, false);
}
