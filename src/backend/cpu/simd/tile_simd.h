#ifndef QW_BACKEND_CPU_SIMD_TILE_SIMD_H
#define QW_BACKEND_CPU_SIMD_TILE_SIMD_H

// The register tile that products and attention scores are made of: R rows times P panels, one
// fp32 accumulator per output, k = 1, 0, 3, 2, ... (cpu-kernels.md 3.0). Included after a level's
// vec16 header, which also says how wide a tile is:
//
//   GEMM_WIDE(R)  panels side by side in a tile of R rows, R = 1 .. GEMM_ROWS

#include "backend/cpu/kernels.h"

enum {
    GEMM_ROWS = 6,
    GEMM_MAX_WIDE = 4,
    GEMM_PREFETCH = 2048, /* bytes ahead, in each panel */
};

typedef enum gemm_kind { GEMM_BF16, GEMM_F16, GEMM_F32 } gemm_kind;

V16_INLINE v16 gemm_odd(gemm_kind kind, const uint8_t *row)
{
    if (kind == GEMM_F32) return v16_load((const float *)row + 16);
    return kind == GEMM_BF16 ? v16_bf16_odd(row) : v16_f16_odd(row);
}

V16_INLINE v16 gemm_even(gemm_kind kind, const uint8_t *row)
{
    if (kind == GEMM_F32) return v16_load((const float *)row);
    return kind == GEMM_BF16 ? v16_bf16_even(row) : v16_f16_even(row);
}

// One operand set: `n_pairs` pairs of k of panels that lie `panel_stride` bytes apart.
typedef struct gemm_block {
    float *c;
    size_t c_stride;
    const uint8_t *w;
    ptrdiff_t panel_stride;
    const float *x;
    size_t x_stride;
    int n_pairs;
    bool add; /* continue the sums in c */
} gemm_block;

// c[R][16 P] of one block, in registers.
V16_INLINE void gemm_tile(int R, int P, gemm_kind kind, bool prefetch, const gemm_block *b)
{
    const size_t pair_size = kind == GEMM_F32 ? 128 : 64;
    v16 acc[8][GEMM_MAX_WIDE];
    float *c = b->c;
    size_t c_stride = b->c_stride, x_stride = b->x_stride;
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        V16_UNROLL
        for (int p = 0; p < P; p++)
            acc[r][p] = b->add ? v16_load(c + (size_t)r * c_stride + 16 * p) : v16_set1(0.0f);
    }
    const float *x = b->x;
    const uint8_t *w = b->w;
    const ptrdiff_t panel_stride = b->panel_stride;
    for (int i = b->n_pairs; i > 0; i--) {
        V16_UNROLL
        for (int p = 0; p < P; p++) {
            const uint8_t *row = w + p * panel_stride;
            if (prefetch) {
                v16_prefetch(row + GEMM_PREFETCH);
                if (kind == GEMM_F32) v16_prefetch(row + GEMM_PREFETCH + 64);
            }
            v16 odd = gemm_odd(kind, row);
            V16_UNROLL
            for (int r = 0; r < R; r++)
                acc[r][p] = v16_mac(odd, v16_set1(x[(size_t)r * x_stride + 1]), acc[r][p]);
        }
        V16_UNROLL
        for (int p = 0; p < P; p++) {
            v16 even = gemm_even(kind, w + p * panel_stride);
            V16_UNROLL
            for (int r = 0; r < R; r++)
                acc[r][p] = v16_mac(even, v16_set1(x[(size_t)r * x_stride]), acc[r][p]);
        }
        w += pair_size;
        x += 2;
    }
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        V16_UNROLL
        for (int p = 0; p < P; p++) v16_store(c + (size_t)r * c_stride + 16 * p, acc[r][p]);
    }
}

#endif
