// RMSNorm and rotation with 16-lane vectors; included once per level after its vec16 header. The
// last vector of a row is partial: its missing lanes read as +0 and are not written.

#include "backend/cpu/kernels.h"

#include "backend/cpu/simd/norm_row_simd.h"

V16_INLINE void norm_row(float *y, const float *x, const float *weight, int n, float eps,
                         bool round)
{
    const int whole = n / 16 * 16, rest = n - whole;
    v16 r = norm_factor(x, n, eps);
    for (int i = 0; i < whole; i += 16)
        v16_store(y + i, norm_apply(v16_load(x + i), r, v16_load(weight + i), round));
    if (rest > 0)
        v16_store_n(
            y + whole,
            norm_apply(v16_load_n(x + whole, rest), r, v16_load_n(weight + whole, rest), round),
            rest);
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
