#ifndef QW_BACKEND_CPU_ARM_VEC16_NEON_H
#define QW_BACKEND_CPU_ARM_VEC16_NEON_H

// 16 fp32 lanes as four NEON registers of four; the names of x86/vec16_avx2.h, where they are
// explained. NEON has no masked loads: the last, partial vector of a row goes through memory.

#include "base/fmath.h"

#include <arm_neon.h>

#define QW_LEVEL(name) name##_neon
// At most 24 of the 32 registers are accumulators; a panel's vector takes four.
#define GEMM_WIDE(R) ((R) == 1 ? 4 : (R) == 2 ? 2 : 1)
#define V16_INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define V16_UNROLL _Pragma("clang loop unroll(full)")
#else
#define V16_UNROLL _Pragma("GCC unroll 64")
#endif

typedef struct v16 {
    float32x4_t q[4]; /* lanes 0-3, 4-7, 8-11, 12-15 */
} v16;

V16_INLINE v16 v16_set1(float x)
{
    float32x4_t v = vdupq_n_f32(x);
    return (v16){{v, v, v, v}};
}

V16_INLINE v16 v16_load(const float *p)
{
    return (v16){{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}

V16_INLINE void v16_store(float *p, v16 v)
{
    vst1q_f32(p, v.q[0]);
    vst1q_f32(p + 4, v.q[1]);
    vst1q_f32(p + 8, v.q[2]);
    vst1q_f32(p + 12, v.q[3]);
}

V16_INLINE v16 v16_load_n(const float *p, int n)
{
    if (n >= 16) return v16_load(p);
    float lanes[16] = {0};
    if (n > 0) memcpy(lanes, p, (size_t)n * sizeof *lanes);
    return v16_load(lanes);
}

V16_INLINE void v16_store_n(float *p, v16 v, int n)
{
    if (n >= 16) {
        v16_store(p, v);
        return;
    }
    float lanes[16];
    v16_store(lanes, v);
    if (n > 0) memcpy(p, lanes, (size_t)n * sizeof *lanes);
}

V16_INLINE v16 v16_first_n(v16 a, v16 b, int n)
{
    static const int32_t lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    V16_UNROLL
    for (int i = 0; i < 4; i++) {
        uint32x4_t below = vcltq_s32(vld1q_s32(lanes + 4 * i), vdupq_n_s32(n));
        a.q[i] = vbslq_f32(below, a.q[i], b.q[i]);
    }
    return a;
}

V16_INLINE v16 v16_add(v16 a, v16 b)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) a.q[i] = vaddq_f32(a.q[i], b.q[i]);
    return a;
}

V16_INLINE v16 v16_sub(v16 a, v16 b)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) a.q[i] = vsubq_f32(a.q[i], b.q[i]);
    return a;
}

V16_INLINE v16 v16_mul(v16 a, v16 b)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) a.q[i] = vmulq_f32(a.q[i], b.q[i]);
    return a;
}

V16_INLINE v16 v16_div(v16 a, v16 b)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) a.q[i] = vdivq_f32(a.q[i], b.q[i]);
    return a;
}

V16_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) c.q[i] = vfmaq_f32(c.q[i], a.q[i], b.q[i]);
    return c;
}

V16_INLINE v16 v16_mac(v16 a, v16 b, v16 acc)
{
    return v16_fma(a, b, acc);
}

// Compared and selected: FMAX would give NaN where either is NaN.
V16_INLINE float32x4_t v16_quarter_max(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

V16_INLINE v16 v16_max(v16 a, v16 b)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) a.q[i] = v16_quarter_max(a.q[i], b.q[i]);
    return a;
}

V16_INLINE v16 v16_neg_abs(v16 a)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) a.q[i] = vnegq_f32(vabsq_f32(a.q[i]));
    return a;
}

V16_INLINE v16 v16_select_nonneg(v16 x, v16 a, v16 b)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) a.q[i] = vbslq_f32(vcgezq_f32(x.q[i]), a.q[i], b.q[i]);
    return a;
}

V16_INLINE float32x4_t v16_quarter_round_bf16(float32x4_t x)
{
    uint32x4_t u = vreinterpretq_u32_f32(x);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    uint32x4_t rounded = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7FFF)), odd);
    uint32x4_t quiet = vorrq_u32(u, vdupq_n_u32(0x00400000));
    uint32x4_t r = vbslq_u32(vceqq_f32(x, x), rounded, quiet);
    return vreinterpretq_f32_u32(vandq_u32(r, vdupq_n_u32(0xFFFF0000)));
}

V16_INLINE v16 v16_round_bf16(v16 a)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) a.q[i] = v16_quarter_round_bf16(a.q[i]);
    return a;
}

V16_INLINE float32x4_t v16_quarter_exp(float32x4_t x)
{
    const float32x4_t zero = vdupq_n_f32(0.0f);
    uint32x4_t in_range = vcgeq_f32(x, vdupq_n_f32(QW_EXP_MIN));
    float32x4_t in = vbslq_f32(in_range, x, zero);
    float32x4_t n = vrndnq_f32(vmulq_f32(in, vdupq_n_f32(0x1.715476p+0f)));
    float32x4_t r = vfmaq_f32(in, n, vdupq_n_f32(-QW_LN2_HI));
    r = vfmaq_f32(r, n, vdupq_n_f32(-QW_LN2_LO));
    float32x4_t p = vdupq_n_f32(0x1.6a23b2p-10f);
    p = vfmaq_f32(vdupq_n_f32(0x1.123a24p-7f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.5558f4p-5f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.55549p-3f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.fffffcp-2f), p, r);
    float32x4_t y = vaddq_f32(vfmaq_f32(r, p, vmulq_f32(r, r)), vdupq_n_f32(1.0f));
    int32x4_t scale = vshlq_n_s32(vcvtq_s32_f32(n), 23); // n is whole
    y = vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(y), scale));
    // Out of range: NaN stays, the rest is +0.
    float32x4_t other = vbslq_f32(vceqq_f32(x, x), zero, x);
    return vbslq_f32(in_range, y, other);
}

V16_INLINE v16 v16_exp(v16 x)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) x.q[i] = v16_quarter_exp(x.q[i]);
    return x;
}

V16_INLINE float v16_fold(v16 v)
{
    float32x4_t s4 = vaddq_f32(vaddq_f32(v.q[0], v.q[2]), vaddq_f32(v.q[1], v.q[3]));
    float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}

V16_INLINE float v16_fold_max(v16 v, float least)
{
    v = v16_max(v, v16_set1(least));
    float32x4_t m4 = v16_quarter_max(v16_quarter_max(v.q[0], v.q[2]), // lanes as in v16_fold
                                     v16_quarter_max(v.q[1], v.q[3]));
    float32x4_t m2 = v16_quarter_max(m4, vextq_f32(m4, m4, 2));
    float a = vgetq_lane_f32(m2, 0), b = vgetq_lane_f32(m2, 1);
    return a > b ? a : b;
}

V16_INLINE const uint32_t *v16_words(const void *row, int i)
{
    return (const uint32_t *)row + 4 * i;
}

V16_INLINE v16 v16_bf16_odd(const void *row)
{
    v16 a;
    V16_UNROLL
    for (int i = 0; i < 4; i++) {
        uint32x4_t u = vandq_u32(vld1q_u32(v16_words(row, i)), vdupq_n_u32(0xFFFF0000));
        a.q[i] = vreinterpretq_f32_u32(u);
    }
    return a;
}

V16_INLINE v16 v16_bf16_even(const void *row)
{
    v16 a;
    V16_UNROLL
    for (int i = 0; i < 4; i++)
        a.q[i] = vreinterpretq_f32_u32(vshlq_n_u32(vld1q_u32(v16_words(row, i)), 16));
    return a;
}

V16_INLINE v16 v16_f16_odd(const void *row)
{
    v16 a;
    V16_UNROLL
    for (int i = 0; i < 4; i++) {
        uint16x4_t half = vshrn_n_u32(vld1q_u32(v16_words(row, i)), 16);
        a.q[i] = vcvt_f32_f16(vreinterpret_f16_u16(half));
    }
    return a;
}

V16_INLINE v16 v16_f16_even(const void *row)
{
    v16 a;
    V16_UNROLL
    for (int i = 0; i < 4; i++) {
        uint16x4_t half = vmovn_u32(vld1q_u32(v16_words(row, i)));
        a.q[i] = vcvt_f32_f16(vreinterpret_f16_u16(half));
    }
    return a;
}

V16_INLINE void v16_store_bf16_pairs(void *p, v16 low, v16 high)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) {
        uint32x4_t lo = vreinterpretq_u32_f32(low.q[i]), hi = vreinterpretq_u32_f32(high.q[i]);
        vst1q_u32((uint32_t *)p + 4 * i, vsriq_n_u32(hi, lo, 16));
    }
}

V16_INLINE void v16_prefetch(const void *p)
{
    __builtin_prefetch(p);
}

#endif
