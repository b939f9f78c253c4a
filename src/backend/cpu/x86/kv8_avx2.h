#ifndef QW_BACKEND_CPU_X86_KV8_AVX2_H
#define QW_BACKEND_CPU_X86_KV8_AVX2_H

// Integer scores of int8 pages on AVX2, after vec16_avx2.h: what attention_i8_simd.h is written in;
// kv8_avx512.h and kv8_vnni.h have the same names. A row of K is 64 bytes, 4 dims of 16 positions.
// Without a product of bytes the dims are split into even and odd ones, 16 bits each, and
// multiplied in pairs with the query's 15-bit codes: both planes at once, exact in 32 bits.

#include "backend/cpu/x86/vec16_avx2.h"

enum { KV8_ROWS = 4 }; // queries that share the reads of a row

/** lanes rounded to nearest even, |v| < 2^31 */
V16_INLINE void kv8_store_rounded(int32_t *p, v16 v)
{
    _mm256_storeu_si256((__m256i *)p, _mm256_cvtps_epi32(v.lo));
    _mm256_storeu_si256((__m256i *)(p + 8), _mm256_cvtps_epi32(v.hi));
}

/** 16 signed bytes */
V16_INLINE v16 kv8_widen(const void *p)
{
    __m128i bytes = _mm_loadu_si128(p);
    return (v16){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
                 _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)))};
}

/** The codes of 4 dims as the two words that kv8_dot multiplies with. */
V16_INLINE void kv8_pack(uint32_t words[2], const int32_t c[4])
{
    words[0] = ((uint32_t)c[0] & 0xFFFF) | (uint32_t)c[2] << 16;
    words[1] = ((uint32_t)c[1] & 0xFFFF) | (uint32_t)c[3] << 16;
}

typedef struct kv8_row {
    __m256i even_lo, odd_lo, even_hi, odd_hi; /* positions 0-7, 8-15 */
} kv8_row;

typedef struct kv8_acc {
    __m256i lo, hi;
} kv8_acc;

V16_INLINE kv8_row kv8_load(const void *p)
{
    const __m256i low = _mm256_set1_epi16(0xFF);
    __m256i a = _mm256_loadu_si256(p), b = _mm256_loadu_si256((const __m256i *)p + 1);
    return (kv8_row){_mm256_and_si256(a, low), _mm256_srli_epi16(a, 8), _mm256_and_si256(b, low),
                     _mm256_srli_epi16(b, 8)};
}

V16_INLINE kv8_acc kv8_zero(void)
{
    return (kv8_acc){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

V16_INLINE kv8_acc kv8_dot(kv8_acc acc, kv8_row row, const uint32_t words[2])
{
    __m256i even = _mm256_set1_epi32((int)words[0]), odd = _mm256_set1_epi32((int)words[1]);
    acc.lo = _mm256_add_epi32(acc.lo, _mm256_madd_epi16(row.even_lo, even));
    acc.hi = _mm256_add_epi32(acc.hi, _mm256_madd_epi16(row.even_hi, even));
    acc.lo = _mm256_add_epi32(acc.lo, _mm256_madd_epi16(row.odd_lo, odd));
    acc.hi = _mm256_add_epi32(acc.hi, _mm256_madd_epi16(row.odd_hi, odd));
    return acc;
}

/** The sums, which were of key code + 128, with `correction` added, as floats. */
V16_INLINE v16 kv8_sums(kv8_acc acc, int32_t correction)
{
    __m256i c = _mm256_set1_epi32(correction);
    return (v16){_mm256_cvtepi32_ps(_mm256_add_epi32(acc.lo, c)),
                 _mm256_cvtepi32_ps(_mm256_add_epi32(acc.hi, c))};
}

#endif
