#ifndef QW_BACKEND_CPU_X86_VEC16I_AVX512_H
#define QW_BACKEND_CPU_X86_VEC16I_AVX512_H

// 64 bytes as one zmm register; the names of vec16i_avx2.h, where they are explained.

#include "backend/cpu/x86/vec16_avx512.h"

typedef __m512i v16i;
typedef __m512i v16b;

#define V16I_TO_MEMORY(v) ((void)(v)) // there are enough registers

V16_INLINE v16i v16i_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}

V16_INLINE v16i v16i_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

V16_INLINE void v16i_store(void *p, v16i v)
{
    _mm512_storeu_si512(p, v);
}

V16_INLINE v16i v16i_add(v16i a, v16i b)
{
    return _mm512_add_epi32(a, b);
}

V16_INLINE v16i v16i_max(v16i a, v16i b)
{
    return _mm512_max_epi32(a, b);
}

V16_INLINE v16i v16i_min(v16i a, v16i b)
{
    return _mm512_min_epi32(a, b);
}

V16_INLINE v16i v16i_even_bytes(v16i v)
{
    return _mm512_and_si512(v, _mm512_set1_epi32(0x00FF00FF));
}

V16_INLINE v16i v16i_odd_bytes(v16i v)
{
    return _mm512_srli_epi16(v, 8);
}

V16_INLINE v16i v16i_low_nibbles(v16i v)
{
    return _mm512_and_si512(v, _mm512_set1_epi32(0x0F0F0F0F));
}

V16_INLINE v16i v16i_high_nibbles(v16i v)
{
    return _mm512_and_si512(_mm512_srli_epi16(v, 4), _mm512_set1_epi32(0x0F0F0F0F));
}

V16_INLINE v16b v16b_word(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
}

V16_INLINE v16i v16i_mac_pairs(v16i acc, v16i w, v16b x)
{
    return _mm512_add_epi32(acc, _mm512_madd_epi16(w, x));
}

V16_INLINE v16i v16i_mac_bytes16(v16i acc, v16i w, v16b x)
{
    return _mm512_add_epi16(acc, _mm512_maddubs_epi16(w, x));
}

V16_INLINE v16i v16i_add_halves(v16i acc, v16i sums16)
{
    return v16i_mac_pairs(acc, sums16, _mm512_set1_epi32(0x00010001));
}

#if defined(V16_HAS_VNNI)
/** acc + four products of unsigned and signed bytes per lane. In assembly as v16_mac. */
V16_INLINE v16i v16i_mac_bytes(v16i acc, v16i w, v16b x)
{
#if defined(QW_KERNEL_EMULATION)
    return _mm512_dpbusd_epi32(acc, w, x);
#else
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
    return acc;
#endif
}
#endif

V16_INLINE v16 v16i_to_float(v16i v)
{
    return _mm512_cvtepi32_ps(v);
}

V16_INLINE v16i v16i_from_float(v16 v)
{
    return _mm512_cvtps_epi32(v);
}

V16_INLINE v16i v16i_abs_bits(v16 v)
{
    return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7FFFFFFF));
}

V16_INLINE v16 v16_clamp(v16 v, float low, float high)
{
    return _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(low)), _mm512_set1_ps(high));
}

V16_INLINE void v16i_store_i8(int8_t *p, v16i v)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtsepi32_epi8(v));
}

V16_INLINE int32_t v16i_fold_max(v16i v)
{
    int32_t lanes[16], most = INT32_MIN;
    v16i_store(lanes, v);
    for (int i = 0; i < 16; i++) most = lanes[i] > most ? lanes[i] : most;
    return most;
}

V16_INLINE v16 v16i_byte_to_float(v16i v, int j)
{
    __m512i bytes =
        _mm512_and_si512(_mm512_srli_epi32(v, (unsigned)(8 * j)), _mm512_set1_epi32(0xFF));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(bytes, _mm512_set1_epi32(128)));
}

V16_INLINE v16 v16i_nibble_to_float(v16i v, int j)
{
    __m512i nibbles =
        _mm512_and_si512(_mm512_srli_epi32(v, (unsigned)(4 * j)), _mm512_set1_epi32(0x0F));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(nibbles, _mm512_set1_epi32(8)));
}

V16_INLINE void v16_widen_i8(int16_t *out, const int8_t *q)
{
    const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    __m128i a = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)q), order);
    __m128i b = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)q + 1), order);
    _mm256_storeu_si256((__m256i *)out, _mm256_cvtepi8_epi16(a));
    _mm256_storeu_si256((__m256i *)out + 1, _mm256_cvtepi8_epi16(b));
}

#endif
