#include "bench/limit_loops.h"

#include <immintrin.h>

static void read_avx2(const void *data, size_t size)
{
    __m256i a = _mm256_setzero_si256(), b = a;
    for (const char *group = data, *end = group + size; group < end; group += QW_LIMIT_READ_GROUP) {
        for (size_t at = 0; at < 4096; at += 128) {
#pragma GCC unroll 4
            for (size_t stream = 0; stream < 4; stream++) {
                const char *p = group + 4096 * stream + at;
                _mm_prefetch(p + QW_LIMIT_READ_GROUP, _MM_HINT_T0);
                _mm_prefetch(p + QW_LIMIT_READ_GROUP + 64, _MM_HINT_T0);
                a = _mm256_xor_si256(a, _mm256_load_si256((const __m256i *)p));
                b = _mm256_xor_si256(b, _mm256_load_si256((const __m256i *)(p + 32)));
                a = _mm256_xor_si256(a, _mm256_load_si256((const __m256i *)(p + 64)));
                b = _mm256_xor_si256(b, _mm256_load_si256((const __m256i *)(p + 96)));
            }
        }
    }
    __asm__ volatile("" : : "x"(a), "x"(b));
}

static void fma_avx2(size_t n_rounds)
{
    __m256 acc[QW_LIMIT_ACCUMULATORS], a = _mm256_set1_ps(0.5f), b = a;
    __asm__ volatile("" : "+x"(a), "+x"(b));
    // Hidden from the compiler: it would see twelve equal sums and compute one.
#pragma GCC unroll 12
    for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) {
        acc[i] = _mm256_setzero_ps();
        __asm__ volatile("" : "+x"(acc[i]));
    }
    for (size_t r = 0; r < n_rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) acc[i] = _mm256_fmadd_ps(a, b, acc[i]);
    }
#pragma GCC unroll 12
    for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) __asm__ volatile("" : : "x"(acc[i]));
}

// A product and its addition; in assembly, since its operands never change.
#define INTEGER_LOOP(name, multiply, add)                                                          \
    static void name(size_t n_rounds)                                                              \
    {                                                                                              \
        __m256i acc[QW_LIMIT_ACCUMULATORS], a = _mm256_set1_epi16(0x0101), t;                      \
        _Pragma("GCC unroll 12") for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) acc[i] =          \
            _mm256_setzero_si256();                                                                \
        for (size_t r = 0; r < n_rounds; r++) {                                                    \
            _Pragma("GCC unroll 12") for (int i = 0; i < QW_LIMIT_ACCUMULATORS;                    \
                                          i++) __asm__ volatile(multiply " %2, %2, %1\n\t" add     \
                                                                         " %1, %0, %0" :           \
                                                                "+x"(acc[i]),                      \
                                                                "=&x"(t) : "x"(a));                \
        }                                                                                          \
        _Pragma("GCC unroll 12") for (int i = 0; i < QW_LIMIT_ACCUMULATORS;                        \
                                      i++) __asm__ volatile("" : : "x"(acc[i]));                   \
    }

INTEGER_LOOP(int8_avx2, "vpmaddwd", "vpaddd")
INTEGER_LOOP(int4_avx2, "vpmaddubsw", "vpaddw")

const qw_limit_loops qw_limit_loops_avx2 = {
    .isa = "avx2",
    .read = read_avx2,
    .fma = fma_avx2,
    .fma_ops = QW_LIMIT_ACCUMULATORS * 8 * 2.0,
    .int8 = int8_avx2,
    .int8_ops = QW_LIMIT_ACCUMULATORS * 16 * 2.0,
    .int4 = int4_avx2,
    .int4_ops = QW_LIMIT_ACCUMULATORS * 32 * 2.0,
};
