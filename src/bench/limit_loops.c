// The loops of the baseline CPU, and the choice between the levels.

#include "bench/limit_loops.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

// Four lanes of fp32 or of bits, whatever the baseline CPU calls them.
typedef float lanes __attribute__((vector_size(16)));
typedef uint64_t words __attribute__((vector_size(16)));

#if defined(__x86_64__)
#define ANY_REGISTER "x"
#else
#define ANY_REGISTER "w"
#endif

static void read_baseline(const void *data, size_t size)
{
    words a = {0}, b = {0};
    for (const uint8_t *group = data, *end = group + size; group < end;
         group += QW_LIMIT_READ_GROUP) {
        for (size_t at = 0; at < 4096; at += 128) {
            for (size_t stream = 0; stream < 4; stream++) {
                const uint8_t *p = group + 4096 * stream + at;
                __builtin_prefetch(p + QW_LIMIT_READ_GROUP);
                __builtin_prefetch(p + QW_LIMIT_READ_GROUP + 64);
                for (size_t i = 0; i < 128; i += 32) {
                    a ^= *(const words *)(p + i);
                    b ^= *(const words *)(p + i + 16);
                }
            }
        }
    }
    __asm__ volatile("" : : ANY_REGISTER(a), ANY_REGISTER(b));
}

static lanes multiply_add(lanes a, lanes b, lanes c)
{
#if defined(__aarch64__)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c; // the x86-64 baseline multiplies and adds in two instructions
#endif
}

static void fma_baseline(size_t n_rounds)
{
    lanes acc[QW_LIMIT_ACCUMULATORS] = {{0}}, a = {0.5f, 0.5f, 0.5f, 0.5f}, b = a;
    __asm__ volatile("" : "+" ANY_REGISTER(a), "+" ANY_REGISTER(b));
    // Hidden from the compiler: it would see twelve equal sums and compute one.
#pragma GCC unroll 12
    for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) __asm__ volatile("" : "+" ANY_REGISTER(acc[i]));
    for (size_t r = 0; r < n_rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) acc[i] = multiply_add(a, b, acc[i]);
    }
#pragma GCC unroll 12
    for (int i = 0; i < QW_LIMIT_ACCUMULATORS; i++) __asm__ volatile("" : : ANY_REGISTER(acc[i]));
}

static const qw_limit_loops baseline = {
#if defined(__aarch64__)
    .isa = "neon",
#else
    .isa = "ref",
#endif
    .read = read_baseline,
    .fma = fma_baseline,
    .fma_ops = QW_LIMIT_ACCUMULATORS * 4 * 2.0,
};

const qw_limit_loops *qw_limit_loops_select(const char *isa)
{
#if defined(__x86_64__)
    static const struct {
        const char *isa;
        const qw_limit_loops *loops;
    } levels[] = {
        {"avx2", &qw_limit_loops_avx2},
        {"avx512", &qw_limit_loops_avx512},
        {"vnni", &qw_limit_loops_vnni},
        {"avx512bf16", &qw_limit_loops_avx512bf16},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(levels); i++)
        if (strcmp(isa, levels[i].isa) == 0) return levels[i].loops;
#endif
    (void)isa;
    return &baseline;
}
