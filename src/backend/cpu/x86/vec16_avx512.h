#ifndef QW_BACKEND_CPU_X86_VEC16_AVX512_H
#define QW_BACKEND_CPU_X86_VEC16_AVX512_H

// 16 fp32 lanes as one zmm register; the names of vec16_avx2.h, where they are explained.

#include "backend/cpu/x86/intrinsics.h"
#include "base/fmath.h"

#if !defined(QW_LEVEL)
#define QW_LEVEL(name) name##_avx512
#endif
// 24 of the 32 registers are accumulators.
#define GEMM_WIDE(R) 4
#define V16_INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define V16_UNROLL _Pragma("clang loop unroll(full)")
#else
#define V16_UNROLL _Pragma("GCC unroll 64")
#endif

typedef __m512 v16;

V16_INLINE v16 v16_set1(float x)
{
    return _mm512_set1_ps(x);
}

V16_INLINE v16 v16_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

V16_INLINE void v16_store(float *p, v16 v)
{
    _mm512_storeu_ps(p, v);
}

// The first n lanes, n of any size.
V16_INLINE __mmask16 v16_mask(int n)
{
    unsigned mask = n >= 16 ? 0xFFFFu : n <= 0 ? 0 : (1u << n) - 1;
    return (__mmask16)mask;
}

V16_INLINE v16 v16_load_n(const float *p, int n)
{
    return _mm512_maskz_loadu_ps(v16_mask(n), p);
}

V16_INLINE void v16_store_n(float *p, v16 v, int n)
{
    _mm512_mask_storeu_ps(p, v16_mask(n), v);
}

V16_INLINE v16 v16_first_n(v16 a, v16 b, int n)
{
    return _mm512_mask_blend_ps(v16_mask(n), b, a);
}

V16_INLINE v16 v16_add(v16 a, v16 b)
{
    return _mm512_add_ps(a, b);
}

V16_INLINE v16 v16_sub(v16 a, v16 b)
{
    return _mm512_sub_ps(a, b);
}

V16_INLINE v16 v16_mul(v16 a, v16 b)
{
    return _mm512_mul_ps(a, b);
}

V16_INLINE v16 v16_div(v16 a, v16 b)
{
    return _mm512_div_ps(a, b);
}

V16_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

V16_INLINE v16 v16_mac(v16 a, v16 b, v16 acc)
{
#if defined(QW_KERNEL_EMULATION)
    return _mm512_fmadd_ps(a, b, acc);
#else
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
#endif
}

V16_INLINE v16 v16_max(v16 a, v16 b)
{
    return _mm512_max_ps(a, b);
}

V16_INLINE v16 v16_neg_abs(v16 a)
{
    __m512i sign = _mm512_set1_epi32((int)0x80000000u);
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(a), sign));
}

V16_INLINE v16 v16_select_nonneg(v16 x, v16 a, v16 b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ), b, a);
}

V16_INLINE v16 v16_round_bf16(v16 x)
{
    __m512i u = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7FFF)), odd);
    __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x00400000));
    __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    __m512i r = _mm512_mask_blend_epi32(is_nan, rounded, quiet);
    return _mm512_castsi512_ps(_mm512_and_si512(r, _mm512_set1_epi32((int)0xFFFF0000u)));
}

V16_INLINE v16 v16_exp(v16 x)
{
    __mmask16 in_range = _mm512_cmp_ps_mask(x, _mm512_set1_ps(QW_EXP_MIN), _CMP_GE_OQ);
    __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    __m512 zero = _mm512_setzero_ps();
    __m512 in = _mm512_mask_blend_ps(in_range, zero, x);
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(in, _mm512_set1_ps(0x1.715476p+0f)),
                                    _MM_FROUND_TO_NEAREST_INT);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-QW_LN2_HI), in);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-QW_LN2_LO), r);
    __m512 p = _mm512_set1_ps(0x1.6a23b2p-10f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.123a24p-7f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.5558f4p-5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.55549p-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.fffffcp-2f));
    __m512 y = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
    __m512i scale = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
    y = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), scale));
    return _mm512_mask_blend_ps(in_range, _mm512_mask_blend_ps(is_nan, zero, x), y);
}

V16_INLINE __m256 v16_upper_half(v16 v)
{
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
}

V16_INLINE float v16_fold(v16 v)
{
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(v), v16_upper_half(v));
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

V16_INLINE float v16_fold_max(v16 v, float least)
{
    v = v16_max(v, v16_set1(least));
    __m256 m8 = _mm256_max_ps(_mm512_castps512_ps256(v), v16_upper_half(v));
    __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}

V16_INLINE v16 v16_bf16_odd(const void *row)
{
    __m512i high = _mm512_set1_epi32((int)0xFFFF0000u);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(row), high));
}

V16_INLINE v16 v16_bf16_even(const void *row)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(row), 16));
}

V16_INLINE v16 v16_f16_odd(const void *row)
{
    __m512i high = _mm512_srli_epi32(_mm512_loadu_si512(row), 16);
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(high));
}

V16_INLINE v16 v16_f16_even(const void *row)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_loadu_si512(row)));
}

V16_INLINE void v16_store_bf16_pairs(void *p, v16 low, v16 high)
{
    __m512i lo = _mm512_srli_epi32(_mm512_castps_si512(low), 16);
    _mm512_storeu_si512(p, _mm512_or_si512(lo, _mm512_castps_si512(high)));
}

V16_INLINE void v16_prefetch(const void *p)
{
    _mm_prefetch(p, _MM_HINT_T0);
}

#endif
