#include "bench/x86/limit_loops_512.h"

static void bf16_512(size_t n_rounds)
{
    __m512 acc[QW_LIMIT_ACCUMULATORS];
    __m512i bits = _mm512_set1_epi16(0x3F00); // 0.5
    __asm__ volatile("" : "+v"(bits));
    __m512bh a = (__m512bh)bits;
    // Hidden from the compiler: it would see twelve equal sums and compute one.
#pragma GCC unroll 12
    for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) {
        acc[i] = _mm512_setzero_ps();
        __asm__ volatile("" : "+v"(acc[i]));
    }
    for (size_t r = 0; r < n_rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) acc[i] = _mm512_dpbf16_ps(acc[i], a, a);
    }
#pragma GCC unroll 12
    for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) __asm__ volatile("" : : "v"(acc[i]));
}

const qw_limit_loops qw_limit_loops_avx512bf16 = {
    .isa = "avx512bf16",
    .read = read_512,
    .fma = fma_512,
    .fma_ops = QW_LIMIT_FMA_512_OPS,
    .bf16 = bf16_512,
    .bf16_ops = 2 * QW_LIMIT_FMA_512_OPS,
};
