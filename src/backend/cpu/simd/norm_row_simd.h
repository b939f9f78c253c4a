#ifndef QW_BACKEND_CPU_SIMD_NORM_ROW_SIMD_H
#define QW_BACKEND_CPU_SIMD_NORM_ROW_SIMD_H

// The two steps of RMSNorm with 16-lane vectors, for kernels that norm; after a vec16 header.

#include <math.h>

V16_INLINE v16 norm_maybe_round(v16 x, bool round)
{
    return round ? v16_round_bf16(x) : x;
}

/** 1 / rms in all lanes, with the canonical sum of squares. */
V16_INLINE v16 norm_factor(const float *x, int n, float eps)
{
    v16 sum = v16_set1(0.0f);
    int whole = n / 16 * 16;
    for (int i = 0; i < whole; i += 16) sum = v16_fma(v16_load(x + i), v16_load(x + i), sum);
    if (whole < n) {
        v16 last = v16_load_n(x + whole, n - whole);
        sum = v16_first_n(v16_fma(last, last, sum), sum, n - whole);
    }
    return v16_set1(1.0f / sqrtf(v16_fold(sum) / (float)n + eps));
}

V16_INLINE v16 norm_apply(v16 x, v16 factor, v16 weight, bool round)
{
    return norm_maybe_round(v16_mul(norm_maybe_round(v16_mul(x, factor), round), weight), round);
}

#endif
