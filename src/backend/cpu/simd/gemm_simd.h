// Products of panels with rows of activations over 16-lane vectors; included once per level, after
// its vec16 header and the shape constants below. The canonical order of cpu-kernels.md 3.0 holds
// in every shape: one accumulator per output, k = 1, 0, 3, 2, ...
//
//   GEMM_KC           k of a block when there are many rows
//   GEMM_SLAB_PANELS  panels whose block is in L1 together while all rows pass by
//   GEMM_EXPAND_BF16  rows from which bf16 panels are widened to fp32 before use
//
// Few rows: the weights pass once through the registers, with a prefetch for each line. Many rows:
// one block of k after the other; the accumulators wait in c between blocks, which changes no bit.

#include "backend/cpu/simd/tile_simd.h"

enum {
    GEMM_EXPAND_F16 = 7, /* rows: the conversion takes several shuffles per line */
};

// One copy of the register tiles per kind of operand.
static void gemm_stream_bf16(int n_rows, gemm_block b, int n_panels)
{
    gemm_rows(n_rows, GEMM_BF16, GEMM_FETCH_PANELS, b, n_panels);
}

static void gemm_stream_f16(int n_rows, gemm_block b, int n_panels)
{
    gemm_rows(n_rows, GEMM_F16, GEMM_FETCH_PANELS, b, n_panels);
}

static void gemm_stream_f32(int n_rows, gemm_block b, int n_panels)
{
    gemm_rows(n_rows, GEMM_F32, GEMM_FETCH_PANELS, b, n_panels);
}

static void gemm_slab_bf16(int n_rows, gemm_block b, int n_panels)
{
    gemm_rows(n_rows, GEMM_BF16, GEMM_FETCH_NONE, b, n_panels);
}

static void gemm_slab_f32(int n_rows, gemm_block b, int n_panels)
{
    gemm_rows(n_rows, GEMM_F32, GEMM_FETCH_NONE, b, n_panels);
}

// Widen a block of panels: fp32 panels of n_pairs pairs, one after the other.
V16_INLINE void gemm_expand(float *out, gemm_kind kind, const gemm_block *b, int n_panels)
{
    for (int p = 0; p < n_panels; p++) {
        const uint8_t *row = b->w + p * b->panel_stride;
        for (int i = 0; i < b->n_pairs; i++, row += 64, out += 32) {
            v16_prefetch(row + GEMM_PREFETCH);
            v16_store(out, gemm_even(kind, row));
            v16_store(out + 16, gemm_odd(kind, row));
        }
    }
}

// Rows in tiles of nearly equal height over one block. When the weights are not `widened` they come
// from memory, and the first tile brings them into L1.
V16_INLINE void gemm_all_rows(gemm_kind kind, bool widened, gemm_block b, int n_rows, int n_panels)
{
    int n_tiles = (n_rows + GEMM_ROWS - 1) / GEMM_ROWS;
    for (int t = 0; t < n_tiles; t++) {
        int n = (n_rows + n_tiles - 1 - t) / n_tiles;
        bool cold = !widened && t == 0;
        if (kind == GEMM_F32)
            cold ? gemm_stream_f32(n, b, n_panels) : gemm_slab_f32(n, b, n_panels);
        else
            cold ? gemm_stream_bf16(n, b, n_panels) : gemm_slab_bf16(n, b, n_panels);
        b.x += (size_t)n * b.x_stride;
        b.c += (size_t)n * b.c_stride;
    }
}

V16_INLINE void gemm_many(gemm_kind kind, bool expand, gemm_block b, int n_panels, int n_rows,
                          int kp)
{
    QW_ALIGNED(64) float slab[GEMM_SLAB_PANELS * GEMM_KC * 16];
    const size_t k_size = kind == GEMM_F32 ? 64 : 32;
    const int kc = kind != GEMM_F32 && !expand ? 2 * GEMM_KC : GEMM_KC; // 16 bits, not 32
    for (int k = 0; k < kp; k += kc) {
        int n_k = kp - k < kc ? kp - k : kc;
        for (int p = 0; p < n_panels; p += GEMM_SLAB_PANELS) {
            int n = n_panels - p < GEMM_SLAB_PANELS ? n_panels - p : GEMM_SLAB_PANELS;
            gemm_block block = b;
            block.c += 16 * p;
            block.w += p * b.panel_stride + (size_t)k * k_size;
            block.x += k;
            block.n_pairs = n_k / 2;
            block.add = k > 0;
            if (expand) {
                gemm_expand(slab, kind, &block, n);
                block.w = (const uint8_t *)slab;
                block.panel_stride = (ptrdiff_t)n_k * 64;
            }
            gemm_all_rows(expand ? GEMM_F32 : kind, expand, block, n_rows, n);
        }
    }
}

void QW_LEVEL(qw_gemm_bf16)(float *restrict c, size_t c_stride, const void *restrict w,
                            int n_panels, const float *restrict x, size_t x_stride, int n_rows,
                            int kp)
{
    gemm_block b = {c, c_stride, w, (ptrdiff_t)kp * 32, x, x_stride, kp / 2, false, {NULL, NULL}};
    if (n_rows <= GEMM_ROWS)
        gemm_stream_bf16(n_rows, b, n_panels);
    else if (n_rows < GEMM_EXPAND_BF16)
        gemm_many(GEMM_BF16, false, b, n_panels, n_rows, kp);
    else
        gemm_many(GEMM_BF16, GEMM_FETCH_PANELS, b, n_panels, n_rows, kp);
}

void QW_LEVEL(qw_gemm_f16)(float *restrict c, size_t c_stride, const void *restrict w, int n_panels,
                           const float *restrict x, size_t x_stride, int n_rows, int kp)
{
    gemm_block b = {c, c_stride, w, (ptrdiff_t)kp * 32, x, x_stride, kp / 2, false, {NULL, NULL}};
    if (n_rows < GEMM_EXPAND_F16)
        gemm_stream_f16(n_rows, b, n_panels);
    else
        gemm_many(GEMM_F16, GEMM_FETCH_PANELS, b, n_panels, n_rows, kp);
}

void QW_LEVEL(qw_gemm_f32)(float *restrict c, size_t c_stride, const void *restrict w, int n_panels,
                           const float *restrict x, size_t x_stride, int n_rows, int kp)
{
    gemm_block b = {c, c_stride, w, (ptrdiff_t)kp * 64, x, x_stride, kp / 2, false, {NULL, NULL}};
    if (n_rows <= GEMM_ROWS)
        gemm_stream_f32(n_rows, b, n_panels);
    else
        gemm_many(GEMM_F32, false, b, n_panels, n_rows, kp);
}
