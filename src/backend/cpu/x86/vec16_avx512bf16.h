#ifndef QW_BACKEND_CPU_X86_VEC16_AVX512BF16_H
#define QW_BACKEND_CPU_X86_VEC16_AVX512BF16_H

// vec16_avx512.h and the product of bf16 pairs. vdpbf16ps adds the product of the odd halves first,
// then that of the even ones, each with one rounding: the canonical order (cpu-kernels.md 3.0). It
// flushes denormals whatever the mode, as the mode of the other levels does.

#define QW_LEVEL(name) name##_avx512bf16
#define V16_HAS_DOT 1

#include "backend/cpu/x86/vec16_avx512.h"

/** acc + the pairs of a panel row times one pair, in both of which the odd k is the high half. */
V16_INLINE v16 v16_dot(v16 acc, __m512i row, uint32_t pair)
{
    __m512i x = _mm512_set1_epi32((int)pair);
#if defined(QW_KERNEL_EMULATION)
    return qw_emulated_dpbf16(acc, row, x);
#else
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(row), "v"(x));
    return acc;
#endif
}

/** 32 bf16 values in fp32 containers as 16 pairs, the odd ones in the high halves. */
V16_INLINE void v16_store_pairs(uint32_t *p, v16 first, v16 second)
{
    // Words of the values: the high half of word 2i is the low half of pair i.
    __m512i a = _mm512_castps_si512(first), b = _mm512_castps_si512(second);
    __m256i lo = _mm512_cvtepi64_epi32(_mm512_srli_epi64(a, 16));
    __m256i hi = _mm512_cvtepi64_epi32(_mm512_srli_epi64(b, 16));
    __m256i lo_odd = _mm512_cvtepi64_epi32(_mm512_srli_epi64(a, 32));
    __m256i hi_odd = _mm512_cvtepi64_epi32(_mm512_srli_epi64(b, 32));
    // The odd value's low half is zero, so only the even value's bits remain in lo and hi.
    _mm256_storeu_si256((__m256i *)p, _mm256_or_si256(lo, lo_odd));
    _mm256_storeu_si256((__m256i *)(p + 8), _mm256_or_si256(hi, hi_odd));
}

#endif
