#ifndef QW_BASE_FMATH_H
#define QW_BASE_FMATH_H

#include "base/dtype.h"

#include <math.h>

/*
 * The elementary functions and sums of the numerics contract (cpu-kernels 3.0, 3.7). They are made
 * of IEEE operations in a fixed order, one fmaf where the formula says fma, so that plain C and
 * every vector variant give the same bits. libm's exp and log are not used: they differ between
 * versions. Callers run in the pool's floating-point mode (denormals flushed) or outside it: no
 * denormal occurs for the arguments named here.
 */

#define QW_LN2_HI 0x1.62e4p-1f    /* 14 bits: n * QW_LN2_HI is exact for |n| < 1024 */
#define QW_LN2_LO 0x1.7f7d1cp-20f /* ln 2 - QW_LN2_HI */
#define QW_EXP_MIN (-87.33654f)   /* below, exp gives 0 */

/** exp(x) for x <= 0: at most 0.98 ulp; exp(0) = 1; 0 below QW_EXP_MIN; NaN gives NaN. */
static inline float qw_exp_ref(float x)
{
    float in = x >= QW_EXP_MIN ? x : 0.0f; // the result for the others is replaced below
    float n = rintf(in * 0x1.715476p+0f);
    float r = fmaf(n, -QW_LN2_HI, in);
    r = fmaf(n, -QW_LN2_LO, r);
    float p = 0x1.6a23b2p-10f;
    p = fmaf(p, r, 0x1.123a24p-7f);
    p = fmaf(p, r, 0x1.5558f4p-5f);
    p = fmaf(p, r, 0x1.55549p-3f);
    p = fmaf(p, r, 0x1.fffffcp-2f);
    float y = fmaf(p, r * r, r) + 1.0f;
    y = qw_f32_from_bits(qw_f32_bits(y) + ((uint32_t)(int32_t)n << 23));
    if (x >= QW_EXP_MIN) return y;
    return x != x ? x : 0.0f;
}

// log(1 + r) - r for r in [sqrt(1/2) - 1, sqrt(2) - 1]: interpolation of degree 8 at Chebyshev
// nodes of (log(1 + r) - r + r*r/2) / r^3; its own error is below 0.06 * 2^-24 of log(1 + r).
static inline float qw_log1p_tail(float r)
{
    float q = 0x1.1d8ea6p-4f;
    q = fmaf(q, r, -0x1.d635bcp-4f);
    q = fmaf(q, r, 0x1.dea282p-4f);
    q = fmaf(q, r, -0x1.fcf4c6p-4f);
    q = fmaf(q, r, 0x1.23d21ap-3f);
    q = fmaf(q, r, -0x1.555b4ap-3f);
    q = fmaf(q, r, 0x1.999d5ap-3f);
    q = fmaf(q, r, -0x1.fffffcp-3f);
    q = fmaf(q, r, 0x1.555554p-2f);
    return fmaf(r, q, -0.5f) * (r * r);
}

/** log(x) for finite normal x > 0: at most 0.85 ulp; log(1) = 0. */
static inline float qw_log_ref(float x)
{
    // x = 2^n * m with m in [sqrt(1/2), sqrt(2)); subtracting the bits of sqrt(1/2) carries into
    // the exponent exactly when the mantissa is at least that of sqrt(1/2).
    uint32_t bits = qw_f32_bits(x) - 0x3F3504F3u;
    float n = (float)((int32_t)bits >> 23);
    float r = qw_f32_from_bits((bits & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
    return fmaf(n, QW_LN2_HI, r + fmaf(n, QW_LN2_LO, qw_log1p_tail(r)));
}

/** The smallest value of qw_exponential. */
#define QW_EXPONENTIAL_MIN 0x1p-33f

/**
 * A number of the exponential distribution from 32 random bits: -log(u), u = (word + 1/2) / 2^32.
 * Near u = 1 it works on 1 - u, so small results, which decide a race, keep all 32 bits. At most
 * 2.4 ulp, most of it from rounding u.
 */
static inline float qw_exponential(uint32_t word)
{
    if (word < 0xC0000000u) return -qw_log_ref(((float)word + 0.5f) * 0x1p-32f);
    float v = ((float)~word + 0.5f) * 0x1p-32f; // 1 - u, at most 1/4
    return v - qw_log1p_tail(-v);
}

/** s[0] + ... + s[15] in the canonical order: halves are added, 8, 4, 2, 1. `s` is overwritten. */
static inline float qw_fold16(float s[16])
{
    for (int h = 8; h >= 1; h /= 2)
        for (int l = 0; l < h; l++) s[l] += s[l + h];
    return s[0];
}

/** Sum of x[0..n-1]: lane i % 16 takes element i, in ascending order; then qw_fold16. */
static inline float qw_sum16(const float *x, size_t n)
{
    float s[16] = {0};
    for (size_t i = 0; i < n; i++) s[i % 16] += x[i];
    return qw_fold16(s);
}

/** Sum of squares in the same order, one fma per element. */
static inline float qw_sumsq16(const float *x, size_t n)
{
    float s[16] = {0};
    for (size_t i = 0; i < n; i++) s[i % 16] = fmaf(x[i], x[i], s[i % 16]);
    return qw_fold16(s);
}

/** p[i] = exp((z[i] - max) / divisor); z[i] <= max, divisor > 0. `p` may be `z`. */
void qw_exp_row(float *p, const float *z, size_t n, float max, float divisor);
/** Sum of exp(z[i] - max) in the order of qw_sum16; z[i] <= max. */
float qw_exp_sum(const float *z, size_t n, float max);

#endif
