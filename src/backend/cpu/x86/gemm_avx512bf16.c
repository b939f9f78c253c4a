// Products of bf16 panels with bf16 activations by vdpbf16ps: two k per instruction.

#include "backend/cpu/x86/vec16_avx512bf16.h"

#include "backend/cpu/simd/tile_simd.h"

enum { KC = 128 }; /* k of a block: 16 KiB of four panels */

// Rows of x, n_k values each, as pairs.
static void pack_rows(uint32_t *out, const float *x, size_t x_stride, int n_rows, int n_k)
{
    for (int r = 0; r < n_rows; r++)
        for (int k = 0; k < n_k; k += 32)
            v16_store_pairs(out + r * (KC / 2) + k / 2, v16_load(x + (size_t)r * x_stride + k),
                            v16_load(x + (size_t)r * x_stride + k + 16));
}

static void run_block(int n_rows, gemm_block b, int n_panels)
{
    gemm_rows(n_rows, GEMM_DOT, GEMM_FETCH_PANELS, b, n_panels);
}

void qw_gemm_bf16_x16_avx512bf16(float *restrict c, size_t c_stride, const void *restrict w,
                                 int n_panels, const float *restrict x, size_t x_stride, int n_rows,
                                 int kp)
{
    QW_ALIGNED(64) uint32_t pairs[GEMM_ROWS * (KC / 2)];
    int n_tiles = (n_rows + GEMM_ROWS - 1) / GEMM_ROWS;
    for (int k = 0; k < kp; k += KC) {
        int n_k = kp - k < KC ? kp - k : KC, row = 0;
        for (int t = 0; t < n_tiles; t++) {
            int n = (n_rows + n_tiles - 1 - t) / n_tiles;
            pack_rows(pairs, x + (size_t)row * x_stride + k, x_stride, n, n_k);
            gemm_block b = {.c = c + (size_t)row * c_stride,
                            .c_stride = c_stride,
                            .w = (const uint8_t *)w + (size_t)k * 32,
                            .panel_stride = (ptrdiff_t)kp * 32,
                            .x = (const float *)pairs,
                            .x_stride = KC / 2,
                            .n_pairs = n_k / 2,
                            .add = k > 0};
            run_block(n, b, n_panels);
            row += n;
        }
    }
}
