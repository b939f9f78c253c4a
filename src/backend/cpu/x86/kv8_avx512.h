#ifndef QW_BACKEND_CPU_X86_KV8_AVX512_H
#define QW_BACKEND_CPU_X86_KV8_AVX512_H

// Integer scores of int8 pages on AVX-512 without VNNI; the names of kv8_avx2.h, where they are
// explained, and for VNNI those parts that are the same there.

#include "backend/cpu/x86/vec16_avx512.h"

V16_INLINE void kv8_store_rounded(int32_t *p, v16 v)
{
    _mm512_storeu_si512(p, _mm512_cvtps_epi32(v));
}

V16_INLINE v16 kv8_widen(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}

#if !defined(KV8_VNNI)
enum { KV8_ROWS = 4 };

V16_INLINE void kv8_pack(uint32_t words[2], const int32_t c[4])
{
    words[0] = ((uint32_t)c[0] & 0xFFFF) | (uint32_t)c[2] << 16;
    words[1] = ((uint32_t)c[1] & 0xFFFF) | (uint32_t)c[3] << 16;
}

typedef struct kv8_row {
    __m512i even, odd;
} kv8_row;

typedef __m512i kv8_acc;

V16_INLINE kv8_row kv8_load(const void *p)
{
    __m512i v = _mm512_loadu_si512(p);
    return (kv8_row){_mm512_and_si512(v, _mm512_set1_epi32(0x00FF00FF)), _mm512_srli_epi16(v, 8)};
}

V16_INLINE kv8_acc kv8_zero(void)
{
    return _mm512_set1_epi32(0);
}

V16_INLINE kv8_acc kv8_dot(kv8_acc acc, kv8_row row, const uint32_t words[2])
{
    __m512i even = _mm512_set1_epi32((int)words[0]), odd = _mm512_set1_epi32((int)words[1]);
    acc = _mm512_add_epi32(acc, _mm512_madd_epi16(row.even, even));
    return _mm512_add_epi32(acc, _mm512_madd_epi16(row.odd, odd));
}

V16_INLINE v16 kv8_sums(kv8_acc acc, int32_t correction)
{
    return _mm512_cvtepi32_ps(_mm512_add_epi32(acc, _mm512_set1_epi32(correction)));
}
#endif

#endif
