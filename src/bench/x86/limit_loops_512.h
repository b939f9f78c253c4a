// The 512-bit loops that both AVX-512 levels use.

#include <immintrin.h>

#include "bench/limit_loops.h"

static void read_512(const void *data, size_t size)
{
    __m512i a = _mm512_setzero_si512(), b = a;
    for (const char *group = data, *end = group + size; group < end; group += QW_LIMIT_READ_GROUP) {
        for (size_t at = 0; at < 4096; at += 128) {
#pragma GCC unroll 4
            for (size_t stream = 0; stream < 4; stream++) {
                const char *p = group + 4096 * stream + at;
                _mm_prefetch(p + QW_LIMIT_READ_GROUP, _MM_HINT_T0);
                _mm_prefetch(p + QW_LIMIT_READ_GROUP + 64, _MM_HINT_T0);
                a = _mm512_xor_si512(a, _mm512_load_si512(p));
                b = _mm512_xor_si512(b, _mm512_load_si512(p + 64));
            }
        }
    }
    __asm__ volatile("" : : "v"(a), "v"(b));
}

static void fma_512(size_t n_rounds)
{
    __m512 acc[QW_LIMIT_ACCUMULATORS], a = _mm512_set1_ps(0.5f), b = a;
    __asm__ volatile("" : "+v"(a), "+v"(b));
    // Hidden from the compiler: it would see twelve equal sums and compute one.
#pragma GCC unroll 12
    for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) {
        acc[i] = _mm512_setzero_ps();
        __asm__ volatile("" : "+v"(acc[i]));
    }
    for (size_t r = 0; r < n_rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) acc[i] = _mm512_fmadd_ps(a, b, acc[i]);
    }
#pragma GCC unroll 12
    for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) __asm__ volatile("" : : "v"(acc[i]));
}

#define QW_LIMIT_FMA_512_OPS (QW_LIMIT_ACCUMULATORS * 16 * 2.0)

// A product and its addition; in assembly, since its operands never change.
#define QW_LIMIT_INTEGER_512(name, code)                                                           \
    static void name(size_t n_rounds)                                                              \
    {                                                                                              \
        __m512i acc[QW_LIMIT_ACCUMULATORS], a = _mm512_set1_epi32(0x01010101), t;                  \
        _Pragma("GCC unroll 12") for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) acc[i] =          \
            _mm512_setzero_si512();                                                                \
        for (size_t r = 0; r < n_rounds; r++) {                                                    \
            _Pragma("GCC unroll 12") for (int i = 0; i < QW_LIMIT_ACCUMULATORS;                    \
                                          i++) __asm__ volatile(code : "+v"(acc[i]),               \
                                                                "=&v"(t) : "v"(a));                \
        }                                                                                          \
        _Pragma("GCC unroll 12") for (int i = 0; i < QW_LIMIT_ACCUMULATORS;                        \
                                      i++) __asm__ volatile("" : : "v"(acc[i]));                   \
    }
