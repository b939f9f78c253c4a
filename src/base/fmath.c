#include "base/fmath.h"

// The row functions exist twice from the same source: for any CPU, where fmaf is a call into libm,
// and for one with fused multiply-add, where the compiler makes vector instructions of the loops
// over 16 elements. Every operation is exact IEEE, so both give the same bits; a vocabulary takes
// about 20 times longer in the first.

static inline __attribute__((always_inline)) void exp_row(float *p, const float *z, size_t n,
                                                          float max, float divisor)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        float y[16];
        for (int l = 0; l < 16; l++) y[l] = qw_exp_ref((z[i + l] - max) / divisor);
        memcpy(p + i, y, sizeof y);
    }
    for (; i < n; i++) p[i] = qw_exp_ref((z[i] - max) / divisor);
}

static inline __attribute__((always_inline)) float exp_sum(const float *z, size_t n, float max)
{
    float s[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) s[l] += qw_exp_ref(z[i + l] - max);
    for (int l = 0; i < n; i++, l++) s[l] += qw_exp_ref(z[i] - max);
    return qw_fold16(s);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void exp_row_fma(float *p, const float *z, size_t n,
                                                            float max, float divisor)
{
    exp_row(p, z, n, max, divisor);
}

__attribute__((target("avx2,fma"))) static float exp_sum_fma(const float *z, size_t n, float max)
{
    return exp_sum(z, n, max);
}

static bool has_fma(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

void qw_exp_row(float *p, const float *z, size_t n, float max, float divisor)
{
#if defined(__x86_64__)
    if (has_fma()) {
        exp_row_fma(p, z, n, max, divisor);
        return;
    }
#endif
    exp_row(p, z, n, max, divisor);
}

float qw_exp_sum(const float *z, size_t n, float max)
{
#if defined(__x86_64__)
    if (has_fma()) return exp_sum_fma(z, n, max);
#endif
    return exp_sum(z, n, max);
}
