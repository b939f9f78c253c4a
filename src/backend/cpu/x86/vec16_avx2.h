#ifndef QW_BACKEND_CPU_X86_VEC16_AVX2_H
#define QW_BACKEND_CPU_X86_VEC16_AVX2_H

// 16 fp32 lanes as two ymm registers: lanes 0-7, lanes 8-15. What the kernels of cpu/simd are
// written in; vec16_avx512.h has the same names. Loads and stores take any address.

#include "backend/cpu/x86/intrinsics.h"
#include "base/fmath.h"

#define QW_LEVEL(name) name##_avx2
// 12 of the 16 registers are accumulators.
#define GEMM_WIDE(R) ((R) == 1 ? 4 : (R) == 2 ? 2 : 1)
#define V16_INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define V16_UNROLL _Pragma("clang loop unroll(full)")
#else
#define V16_UNROLL _Pragma("GCC unroll 64")
#endif

typedef struct v16 {
    __m256 lo, hi;
} v16;

V16_INLINE v16 v16_set1(float x)
{
    __m256 v = _mm256_set1_ps(x);
    return (v16){v, v};
}

V16_INLINE v16 v16_load(const float *p)
{
    return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

V16_INLINE void v16_store(float *p, v16 v)
{
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps(p + 8, v.hi);
}

// All ones in lanes 8h .. 8h+7 that are below n.
V16_INLINE __m256i v16_half_mask(int n, int first)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n - first), lanes);
}

/** The first n of 16 floats, +0 in the other lanes; memory beyond n is not touched. */
V16_INLINE v16 v16_load_n(const float *p, int n)
{
    return (v16){_mm256_maskload_ps(p, v16_half_mask(n, 0)),
                 _mm256_maskload_ps(p + 8, v16_half_mask(n, 8))};
}

V16_INLINE void v16_store_n(float *p, v16 v, int n)
{
    _mm256_maskstore_ps(p, v16_half_mask(n, 0), v.lo);
    _mm256_maskstore_ps(p + 8, v16_half_mask(n, 8), v.hi);
}

/** Lanes 0 .. n-1 of a, the others of b. */
V16_INLINE v16 v16_first_n(v16 a, v16 b, int n)
{
    return (v16){_mm256_blendv_ps(b.lo, a.lo, _mm256_castsi256_ps(v16_half_mask(n, 0))),
                 _mm256_blendv_ps(b.hi, a.hi, _mm256_castsi256_ps(v16_half_mask(n, 8)))};
}

V16_INLINE v16 v16_add(v16 a, v16 b)
{
    return (v16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

V16_INLINE v16 v16_sub(v16 a, v16 b)
{
    return (v16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

V16_INLINE v16 v16_mul(v16 a, v16 b)
{
    return (v16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

V16_INLINE v16 v16_div(v16 a, v16 b)
{
    return (v16){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

/** a * b + c, one rounding. */
V16_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

/**
 * acc = a * b + acc, as v16_fma. Written in assembly for the inner loops of products: compilers
 * choose other forms of the instruction there, move accumulators about and spill.
 */
V16_INLINE v16 v16_mac(v16 a, v16 b, v16 acc)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(acc.lo) : "x"(a.lo), "x"(b.lo));
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(acc.hi) : "x"(a.hi), "x"(b.hi));
    return acc;
}

/** The larger; b where either is NaN. */
V16_INLINE v16 v16_max(v16 a, v16 b)
{
    return (v16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

/** -|a| */
V16_INLINE v16 v16_neg_abs(v16 a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (v16){_mm256_or_ps(a.lo, sign), _mm256_or_ps(a.hi, sign)};
}

/** x >= 0 ? a : b, per lane (b where x is NaN). */
V16_INLINE v16 v16_select_nonneg(v16 x, v16 a, v16 b)
{
    const __m256 zero = _mm256_setzero_ps();
    return (v16){_mm256_blendv_ps(b.lo, a.lo, _mm256_cmp_ps(x.lo, zero, _CMP_GE_OQ)),
                 _mm256_blendv_ps(b.hi, a.hi, _mm256_cmp_ps(x.hi, zero, _CMP_GE_OQ))};
}

V16_INLINE __m256 v16_half_round_bf16(__m256 x)
{
    __m256i u = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7FFF)), odd);
    __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x00400000));
    __m256 r = _mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet),
                                _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_and_ps(r, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xFFFF0000u)));
}

/** qw_round_bf16 of each lane. */
V16_INLINE v16 v16_round_bf16(v16 a)
{
    return (v16){v16_half_round_bf16(a.lo), v16_half_round_bf16(a.hi)};
}

V16_INLINE __m256 v16_half_exp(__m256 x)
{
    const __m256 min = _mm256_set1_ps(QW_EXP_MIN);
    __m256 in_range = _mm256_cmp_ps(x, min, _CMP_GE_OQ);
    __m256 in = _mm256_and_ps(x, in_range);
    __m256 n = _mm256_round_ps(_mm256_mul_ps(in, _mm256_set1_ps(0x1.715476p+0f)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-QW_LN2_HI), in);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-QW_LN2_LO), r);
    __m256 p = _mm256_set1_ps(0x1.6a23b2p-10f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.123a24p-7f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.5558f4p-5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.55549p-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.fffffcp-2f));
    __m256 y = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
    __m256i scale = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), scale));
    // Out of range: NaN stays, the rest is +0.
    __m256 other = _mm256_and_ps(x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_blendv_ps(other, y, in_range);
}

/** qw_exp_ref of each lane. */
V16_INLINE v16 v16_exp(v16 x)
{
    return (v16){v16_half_exp(x.lo), v16_half_exp(x.hi)};
}

/** Sum of the lanes in the order of qw_fold16. */
V16_INLINE float v16_fold(v16 v)
{
    __m256 s8 = _mm256_add_ps(v.lo, v.hi);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/** The largest lane, NaN lanes left out; `least` if there is none larger. */
V16_INLINE float v16_fold_max(v16 v, float least)
{
    v = v16_max(v, v16_set1(least));
    __m256 m8 = _mm256_max_ps(v.lo, v.hi);
    __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}

/** The odd k of 16 bf16 pairs (a panel row of 64 bytes): high halves. */
V16_INLINE v16 v16_bf16_odd(const void *row)
{
    const __m256i *p = row;
    const __m256i high = _mm256_set1_epi32((int)0xFFFF0000u);
    return (v16){_mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(p), high)),
                 _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(p + 1), high))};
}

/** The even k: low halves. */
V16_INLINE v16 v16_bf16_even(const void *row)
{
    const __m256i *p = row;
    return (v16){_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(p), 16)),
                 _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(p + 1), 16))};
}

V16_INLINE __m256 v16_f16_half(const __m256i *p, __m256i pick)
{
    // Eight halves of a 32-byte row into the low 128 bits.
    __m256i v = _mm256_shuffle_epi8(_mm256_loadu_si256(p), pick);
    v = _mm256_permute4x64_epi64(v, 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(v));
}

V16_INLINE v16 v16_f16_odd(const void *row)
{
    const __m256i pick = _mm256_set1_epi64x(0x0F0E0B0A07060302);
    return (v16){v16_f16_half(row, pick), v16_f16_half((const __m256i *)row + 1, pick)};
}

V16_INLINE v16 v16_f16_even(const void *row)
{
    const __m256i pick = _mm256_set1_epi64x(0x0D0C090805040100);
    return (v16){v16_f16_half(row, pick), v16_f16_half((const __m256i *)row + 1, pick)};
}

/** Two vectors of bf16 values as 16 words: `low` in the low halves, `high` in the high halves. */
V16_INLINE void v16_store_bf16_pairs(void *p, v16 low, v16 high)
{
    __m256i lo = _mm256_srli_epi32(_mm256_castps_si256(low.lo), 16);
    __m256i hi = _mm256_srli_epi32(_mm256_castps_si256(low.hi), 16);
    _mm256_storeu_si256(p, _mm256_or_si256(lo, _mm256_castps_si256(high.lo)));
    _mm256_storeu_si256((__m256i *)p + 1, _mm256_or_si256(hi, _mm256_castps_si256(high.hi)));
}

V16_INLINE void v16_prefetch(const void *p)
{
    _mm_prefetch(p, _MM_HINT_T0);
}

#endif
