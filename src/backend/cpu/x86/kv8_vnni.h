#ifndef QW_BACKEND_CPU_X86_KV8_VNNI_H
#define QW_BACKEND_CPU_X86_KV8_VNNI_H

// Integer scores of int8 pages with vpdpbusd: the query's codes as two planes of int8,
// c = 128 * high + low, a product for each. The names of kv8_avx2.h, where they are explained.

#define KV8_VNNI 1

#include "backend/cpu/x86/kv8_avx512.h"

enum { KV8_ROWS = 6 };

V16_INLINE void kv8_pack(uint32_t words[2], const int32_t c[4])
{
    words[0] = words[1] = 0;
    for (int i = 0; i < 4; i++) {
        int32_t high = (c[i] + 64) >> 7, low = c[i] - 128 * high;
        words[0] |= ((uint32_t)high & 0xFF) << 8 * i;
        words[1] |= ((uint32_t)low & 0xFF) << 8 * i;
    }
}

typedef __m512i kv8_row;

typedef struct kv8_acc {
    __m512i high, low;
} kv8_acc;

V16_INLINE kv8_row kv8_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

V16_INLINE kv8_acc kv8_zero(void)
{
    return (kv8_acc){_mm512_set1_epi32(0), _mm512_set1_epi32(0)};
}

V16_INLINE kv8_acc kv8_dot(kv8_acc acc, kv8_row row, const uint32_t words[2])
{
    acc.high = _mm512_dpbusd_epi32(acc.high, row, _mm512_set1_epi32((int)words[0]));
    acc.low = _mm512_dpbusd_epi32(acc.low, row, _mm512_set1_epi32((int)words[1]));
    return acc;
}

V16_INLINE v16 kv8_sums(kv8_acc acc, int32_t correction)
{
    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(acc.high, 7), acc.low);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(sum, _mm512_set1_epi32(correction)));
}

#endif
