// Products of panels with rows of activations, in the canonical order (cpu-kernels.md 3.0): one
// accumulator per output, k = 1, 0, 3, 2, ... because that is the order of AVX-512's vdpbf16ps.

#include "backend/cpu/kernels.h"

#include <math.h>

// One step of k for the 16 rows of a panel.
static inline void step(float acc[16], const float w[16], float x)
{
    for (int l = 0; l < 16; l++) acc[l] = fmaf(w[l], x, acc[l]);
}

// 16-bit weights: [k/2][16 rows][2].
static inline void gemm_pairs(float *restrict c, size_t c_stride, const uint16_t *restrict w,
                              int n_panels, const float *restrict x, size_t x_stride, int n_rows,
                              int kp, float (*widen)(uint16_t))
{
    for (int p = 0; p < n_panels; p++) {
        const uint16_t *panel = w + (size_t)p * 16 * (size_t)kp;
        for (int m = 0; m < n_rows; m++) {
            const float *xm = x + (size_t)m * x_stride;
            float acc[16] = {0}, odd[16], even[16];
            for (int k = 0; k < kp; k += 2) {
                const uint16_t *row = panel + (size_t)k * 16;
                for (int l = 0; l < 16; l++) {
                    even[l] = widen(row[2 * l]);
                    odd[l] = widen(row[2 * l + 1]);
                }
                step(acc, odd, xm[k + 1]);
                step(acc, even, xm[k]);
            }
            memcpy(c + (size_t)m * c_stride + 16 * (size_t)p, acc, sizeof acc);
        }
    }
}

void qw_gemm_bf16_ref(float *restrict c, size_t c_stride, const void *restrict w, int n_panels,
                      const float *restrict x, size_t x_stride, int n_rows, int kp)
{
    gemm_pairs(c, c_stride, w, n_panels, x, x_stride, n_rows, kp, qw_bf16_to_f32);
}

void qw_gemm_f16_ref(float *restrict c, size_t c_stride, const void *restrict w, int n_panels,
                     const float *restrict x, size_t x_stride, int n_rows, int kp)
{
    gemm_pairs(c, c_stride, w, n_panels, x, x_stride, n_rows, kp, qw_f16_to_f32);
}

void qw_gemm_f32_ref(float *restrict c, size_t c_stride, const void *restrict w, int n_panels,
                     const float *restrict x, size_t x_stride, int n_rows, int kp)
{
    for (int p = 0; p < n_panels; p++) {
        const float *panel = (const float *)w + (size_t)p * 16 * (size_t)kp;
        for (int m = 0; m < n_rows; m++) {
            const float *xm = x + (size_t)m * x_stride;
            float acc[16] = {0};
            for (int k = 0; k < kp; k += 2) {
                step(acc, panel + (size_t)(k + 1) * 16, xm[k + 1]);
                step(acc, panel + (size_t)k * 16, xm[k]);
            }
            memcpy(c + (size_t)m * c_stride + 16 * (size_t)p, acc, sizeof acc);
        }
    }
}
