#ifndef QW_TESTS_EMULATED_INTRINSICS_H
#define QW_TESTS_EMULATED_INTRINSICS_H

// What src/backend/cpu/x86/intrinsics.h includes when the 512-bit kernels are compiled for a CPU
// without them (QW_KERNEL_EMULATION): SIMDe's versions under the native names, and below them the
// few that SIMDe 0.7.4 lacks. An intrinsic that is missing here does not compile, so none is run by
// accident.

#if defined(QW_KERNEL_EMULATION)
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "build the emulated kernels with -mavx2 -mfma -mf16c: SIMDe's own fma rounds twice"
#endif

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#include <simde/x86/avx512.h>
#pragma GCC diagnostic pop

#include <immintrin.h>
#include <string.h>

// Also <immintrin.h> has these names; from here on they are SIMDe's.
#define __m512 simde__m512
#define __m512d simde__m512d
#define __m512i simde__m512i
#define _mm512_add_epi32 simde_mm512_add_epi32
#define _mm512_add_epi16 simde_mm512_add_epi16
#define _mm512_add_ps simde_mm512_add_ps
#define _mm512_and_si512 simde_mm512_and_si512
#define _mm512_castpd_ps simde_mm512_castpd_ps
#define _mm512_castps512_ps256 simde_mm512_castps512_ps256
#define _mm512_castps_pd simde_mm512_castps_pd
#define _mm512_castps_si512 simde_mm512_castps_si512
#define _mm512_castsi512_ps simde_mm512_castsi512_ps
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask simde_mm512_cmp_ps_mask
#define _mm512_cvtsepi32_epi8 simde_mm512_cvtsepi32_epi8
#define _mm512_cvtepi64_epi32 simde_mm512_cvtepi64_epi32
#define _mm512_dpbusd_epi32 simde_mm512_dpbusd_epi32
#define _mm512_div_ps simde_mm512_div_ps
#undef _mm512_extractf64x4_pd
#define _mm512_extractf64x4_pd simde_mm512_extractf64x4_pd
#define _mm512_fmadd_ps simde_mm512_fmadd_ps
#define _mm512_loadu_ps simde_mm512_loadu_ps
#define _mm512_loadu_si512 simde_mm512_loadu_si512
#define _mm512_madd_epi16 simde_mm512_madd_epi16
#define _mm512_maddubs_epi16 simde_mm512_maddubs_epi16
#define _mm512_mask_blend_epi32 simde_mm512_mask_blend_epi32
#define _mm512_mask_blend_ps simde_mm512_mask_blend_ps
#define _mm512_max_epi32 simde_mm512_max_epi32
#define _mm512_max_ps simde_mm512_max_ps
#define _mm512_min_epi32 simde_mm512_min_epi32
#define _mm512_min_ps simde_mm512_min_ps
#define _mm512_mul_ps simde_mm512_mul_ps
#define _mm512_or_si512 simde_mm512_or_si512
#define _mm512_set1_epi32 simde_mm512_set1_epi32
#define _mm512_set1_ps simde_mm512_set1_ps
#define _mm512_setzero_ps simde_mm512_setzero_ps
#define _mm512_slli_epi32 simde_mm512_slli_epi32
#define _mm512_srli_epi16 simde_mm512_srli_epi16
#define _mm512_srli_epi32 simde_mm512_srli_epi32
#define _mm512_srli_epi64 simde_mm512_srli_epi64
#define _mm512_storeu_ps simde_mm512_storeu_ps
#define _mm512_storeu_si512 simde_mm512_storeu_si512
#define _mm512_sub_epi32 simde_mm512_sub_epi32
#define _mm512_sub_ps simde_mm512_sub_ps

// Not in SIMDe 0.7.4, written after the descriptions in Intel's intrinsics guide.
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps(a, mode) emulated_round_ps(a)
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#define _mm512_cvtepi8_epi32 emulated_cvtepi8_epi32
#define _mm512_cvtepi32_epi16 emulated_cvtepi32_epi16
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#define _mm512_cvtph_ps emulated_cvtph_ps
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps

#define EMULATED static inline __attribute__((always_inline))

EMULATED __m512 emulated_round_ps(__m512 a)
{
    float x[16];
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) x[i] = __builtin_rintf(x[i]);
    memcpy(&a, x, sizeof x);
    return a;
}

EMULATED __m512i emulated_cvtps_epi32(__m512 a)
{
    float x[16];
    int32_t y[16];
    __m512i r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = _mm_cvtss_si32(_mm_set_ss(x[i]));
    memcpy(&r, y, sizeof r);
    return r;
}

EMULATED __m512i emulated_cvtepi8_epi32(__m128i a)
{
    int8_t x[16];
    int32_t y[16];
    __m512i r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = x[i];
    memcpy(&r, y, sizeof r);
    return r;
}

// The low half of each word.
EMULATED __m256i emulated_cvtepi32_epi16(__m512i a)
{
    uint32_t x[16];
    uint16_t y[16];
    __m256i r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = (uint16_t)x[i];
    memcpy(&r, y, sizeof r);
    return r;
}

EMULATED __m512 emulated_cvtepi32_ps(__m512i a)
{
    int32_t x[16];
    float y[16];
    __m512 r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = (float)x[i];
    memcpy(&r, y, sizeof r);
    return r;
}

EMULATED __m512 emulated_cvtph_ps(__m256i a)
{
    __m256 halves[2] = {_mm256_cvtph_ps(_mm256_castsi256_si128(a)),
                        _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1))};
    __m512 r;
    memcpy(&r, halves, sizeof r);
    return r;
}

EMULATED __m512 emulated_maskz_loadu_ps(__mmask16 mask, const float *p)
{
    float x[16] = {0};
    __m512 r;
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) x[i] = p[i];
    memcpy(&r, x, sizeof r);
    return r;
}

EMULATED void emulated_mask_storeu_ps(float *p, __mmask16 mask, __m512 v)
{
    float x[16];
    memcpy(x, &v, sizeof x);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) p[i] = x[i];
}

// vdpbf16ps as measured on Zen 4 (cpu-kernels.md 3.0): per lane two fused steps, the odd product
// first, round to nearest, denormals flushed (the mode of the tests does that here).
EMULATED __m512 qw_emulated_dpbf16(__m512 acc, __m512i a, __m512i b)
{
    const __m512i high = _mm512_set1_epi32((int)0xFFFF0000u);
    __m512 odd_a = _mm512_castsi512_ps(_mm512_and_si512(a, high));
    __m512 odd_b = _mm512_castsi512_ps(_mm512_and_si512(b, high));
    acc = _mm512_fmadd_ps(odd_a, odd_b, acc);
    __m512 even_a = _mm512_castsi512_ps(_mm512_slli_epi32(a, 16));
    __m512 even_b = _mm512_castsi512_ps(_mm512_slli_epi32(b, 16));
    return _mm512_fmadd_ps(even_a, even_b, acc);
}

#endif // QW_KERNEL_EMULATION
#endif
