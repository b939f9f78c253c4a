#ifndef QW_BACKEND_CPU_X86_VEC16I_AVX2_H
#define QW_BACKEND_CPU_X86_VEC16I_AVX2_H

// 16 lanes of 32 bits, or 64 bytes, as two ymm registers: what integer kernels are written in
// beside vec16_avx2.h. vec16i_avx512.h has the same names. A v16b holds one word of activations in
// every lane.

#include "backend/cpu/x86/vec16_avx2.h"

typedef struct v16i {
    __m256i lo, hi;
} v16i;

typedef __m256i v16b;

/** Bytes of panels that L2 holds beside activations (gemm_int_simd.h). */
#define V16_L2_SHARE ((size_t)256 << 10)

/** Have this vector in memory now: the registers are needed for others. */
#define V16I_TO_MEMORY(v) __asm__ volatile("" : "+m"((v).lo), "+m"((v).hi))

V16_INLINE v16i v16i_set1(int32_t x)
{
    __m256i v = _mm256_set1_epi32(x);
    return (v16i){v, v};
}

V16_INLINE v16i v16i_load(const void *p)
{
    return (v16i){_mm256_loadu_si256(p), _mm256_loadu_si256((const __m256i *)p + 1)};
}

V16_INLINE void v16i_store(void *p, v16i v)
{
    _mm256_storeu_si256(p, v.lo);
    _mm256_storeu_si256((__m256i *)p + 1, v.hi);
}

V16_INLINE v16i v16i_add(v16i a, v16i b)
{
    return (v16i){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}

V16_INLINE v16i v16i_max(v16i a, v16i b)
{
    return (v16i){_mm256_max_epi32(a.lo, b.lo), _mm256_max_epi32(a.hi, b.hi)};
}

V16_INLINE v16i v16i_min(v16i a, v16i b)
{
    return (v16i){_mm256_min_epi32(a.lo, b.lo), _mm256_min_epi32(a.hi, b.hi)};
}

/** The even bytes of each 16 bits, or the odd ones, as 16-bit numbers. */
V16_INLINE v16i v16i_even_bytes(v16i v)
{
    // Two shifts instead of a mask, which would take the register that a tile has not.
    return (v16i){_mm256_srli_epi16(_mm256_slli_epi16(v.lo, 8), 8),
                  _mm256_srli_epi16(_mm256_slli_epi16(v.hi, 8), 8)};
}

V16_INLINE v16i v16i_odd_bytes(v16i v)
{
    return (v16i){_mm256_srli_epi16(v.lo, 8), _mm256_srli_epi16(v.hi, 8)};
}

/** The low nibble of each byte, or the high one. */
V16_INLINE v16i v16i_low_nibbles(v16i v)
{
    const __m256i mask = _mm256_set1_epi8(0x0F);
    return (v16i){_mm256_and_si256(v.lo, mask), _mm256_and_si256(v.hi, mask)};
}

V16_INLINE v16i v16i_high_nibbles(v16i v)
{
    const __m256i mask = _mm256_set1_epi8(0x0F);
    return (v16i){_mm256_and_si256(_mm256_srli_epi16(v.lo, 4), mask),
                  _mm256_and_si256(_mm256_srli_epi16(v.hi, 4), mask)};
}

V16_INLINE v16b v16b_word(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm256_set1_epi32(word);
}

// In assembly as v16_mac: one spare register for all products of a tile.
V16_INLINE __m256i v16i_half_mac_pairs(__m256i acc, __m256i w, __m256i x)
{
    __m256i t;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(t) : "x"(w), "x"(x));
    return acc;
}

V16_INLINE __m256i v16i_half_mac_bytes16(__m256i acc, __m256i w, __m256i x)
{
    __m256i t;
    __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(acc), "=&x"(t) : "x"(w), "x"(x));
    return acc;
}

/** acc + the products of two 16-bit pairs per lane. */
V16_INLINE v16i v16i_mac_pairs(v16i acc, v16i w, v16b x)
{
    return (v16i){v16i_half_mac_pairs(acc.lo, w.lo, x), v16i_half_mac_pairs(acc.hi, w.hi, x)};
}

/** acc + the products of unsigned and signed bytes, two and two in 16 bits. The caller sees to it
 *  that nothing overflows. */
V16_INLINE v16i v16i_mac_bytes16(v16i acc, v16i w, v16b x)
{
    return (v16i){v16i_half_mac_bytes16(acc.lo, w.lo, x), v16i_half_mac_bytes16(acc.hi, w.hi, x)};
}

/** acc + both 16-bit halves of each lane. */
V16_INLINE v16i v16i_add_halves(v16i acc, v16i sums16)
{
    return v16i_mac_pairs(acc, sums16, _mm256_set1_epi16(1));
}

V16_INLINE v16 v16i_to_float(v16i v)
{
    return (v16){_mm256_cvtepi32_ps(v.lo), _mm256_cvtepi32_ps(v.hi)};
}

/** To nearest, ties to even; out of range gives INT32_MIN. */
V16_INLINE v16i v16i_from_float(v16 v)
{
    return (v16i){_mm256_cvtps_epi32(v.lo), _mm256_cvtps_epi32(v.hi)};
}

/** The bits of the magnitudes of 16 floats. */
V16_INLINE v16i v16i_abs_bits(v16 v)
{
    const __m256i mask = _mm256_set1_epi32(0x7FFFFFFF);
    return (v16i){_mm256_and_si256(_mm256_castps_si256(v.lo), mask),
                  _mm256_and_si256(_mm256_castps_si256(v.hi), mask)};
}

V16_INLINE v16 v16_clamp(v16 v, float low, float high)
{
    const __m256 l = _mm256_set1_ps(low), h = _mm256_set1_ps(high);
    return (v16){_mm256_min_ps(_mm256_max_ps(v.lo, l), h),
                 _mm256_min_ps(_mm256_max_ps(v.hi, l), h)};
}

/** 16 numbers, saturated to int8. */
V16_INLINE void v16i_store_i8(int8_t *p, v16i v)
{
    __m128i a = _mm_packs_epi32(_mm256_castsi256_si128(v.lo), _mm256_extracti128_si256(v.lo, 1));
    __m128i b = _mm_packs_epi32(_mm256_castsi256_si128(v.hi), _mm256_extracti128_si256(v.hi, 1));
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi16(a, b));
}

V16_INLINE int32_t v16i_fold_max(v16i v)
{
    int32_t lanes[16], most = INT32_MIN;
    v16i_store(lanes, v);
    for (int i = 0; i < 16; i++) most = lanes[i] > most ? lanes[i] : most;
    return most;
}

/** Byte j of each of 16 words less 128, as a float. */
V16_INLINE v16 v16i_byte_to_float(v16i v, int j)
{
    const __m256i mask = _mm256_set1_epi32(0xFF), offset = _mm256_set1_epi32(128);
    __m256i lo = _mm256_and_si256(_mm256_srli_epi32(v.lo, 8 * j), mask);
    __m256i hi = _mm256_and_si256(_mm256_srli_epi32(v.hi, 8 * j), mask);
    return (v16){_mm256_cvtepi32_ps(_mm256_sub_epi32(lo, offset)),
                 _mm256_cvtepi32_ps(_mm256_sub_epi32(hi, offset))};
}

/** Nibble j of each of 16 words less 8, as a float. */
V16_INLINE v16 v16i_nibble_to_float(v16i v, int j)
{
    const __m256i mask = _mm256_set1_epi32(0x0F), offset = _mm256_set1_epi32(8);
    __m256i lo = _mm256_and_si256(_mm256_srli_epi32(v.lo, 4 * j), mask);
    __m256i hi = _mm256_and_si256(_mm256_srli_epi32(v.hi, 4 * j), mask);
    return (v16){_mm256_cvtepi32_ps(_mm256_sub_epi32(lo, offset)),
                 _mm256_cvtepi32_ps(_mm256_sub_epi32(hi, offset))};
}

/** 32 int8 become 32 int16 in the order (0, 2), (1, 3) of every four. */
V16_INLINE void v16_widen_i8(int16_t *out, const int8_t *q)
{
    const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    __m128i a = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)q), order);
    __m128i b = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)q + 1), order);
    _mm256_storeu_si256((__m256i *)out, _mm256_cvtepi8_epi16(a));
    _mm256_storeu_si256((__m256i *)out + 1, _mm256_cvtepi8_epi16(b));
}

#endif
