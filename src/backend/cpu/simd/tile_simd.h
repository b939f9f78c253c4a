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

typedef enum gemm_kind {
    GEMM_BF16,
    GEMM_F16,
    GEMM_F32,
    GEMM_DOT, /* bf16 panels and bf16 activations, which x holds as pairs in 32-bit words */
} gemm_kind;

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

// What a tile brings into the cache while it computes: nothing, its own panels further on, or as
// many bytes of something that is needed afterwards.
typedef enum gemm_fetch { GEMM_FETCH_NONE, GEMM_FETCH_PANELS, GEMM_FETCH_AHEAD } gemm_fetch;

// One operand set: `n_pairs` pairs of k of panels that lie `panel_stride` bytes apart.
typedef struct gemm_block {
    float *c;
    size_t c_stride;
    const uint8_t *w;
    ptrdiff_t panel_stride;
    const float *x; /* GEMM_DOT: words */
    size_t x_stride;
    int n_pairs;
    bool add;                /* continue the sums in c */
    const uint8_t *ahead[2]; /* GEMM_FETCH_AHEAD, up to two panels: a stream for each */
} gemm_block;

// acc[r][p] += w[p] * x[r], one k. Few rows: panel by panel, which keeps one in registers.
V16_INLINE void gemm_step(int R, int P, v16 acc[GEMM_ROWS][GEMM_MAX_WIDE], gemm_kind kind, bool odd,
                          const uint8_t *row, ptrdiff_t panel_stride, const float *x,
                          size_t x_stride)
{
    v16 w[GEMM_MAX_WIDE];
    if (R <= 2) {
        V16_UNROLL
        for (int p = 0; p < P; p++) {
            const uint8_t *at = row + p * panel_stride;
            w[p] = odd ? gemm_odd(kind, at) : gemm_even(kind, at);
            V16_UNROLL
            for (int r = 0; r < R; r++)
                acc[r][p] = v16_mac(w[p], v16_set1(x[(size_t)r * x_stride]), acc[r][p]);
        }
        return;
    }
    V16_UNROLL
    for (int p = 0; p < P; p++) {
        const uint8_t *at = row + p * panel_stride;
        w[p] = odd ? gemm_odd(kind, at) : gemm_even(kind, at);
    }
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        v16 xr = v16_set1(x[(size_t)r * x_stride]);
        V16_UNROLL
        for (int p = 0; p < P; p++) acc[r][p] = v16_mac(w[p], xr, acc[r][p]);
    }
}

#if defined(V16_HAS_DOT)
V16_INLINE void gemm_step_dot(int R, int P, v16 acc[GEMM_ROWS][GEMM_MAX_WIDE], const uint8_t *row,
                              ptrdiff_t panel_stride, const float *x, size_t x_stride)
{
    __m512i w[GEMM_MAX_WIDE];
    V16_UNROLL
    for (int p = 0; p < P; p++) w[p] = _mm512_loadu_si512(row + p * panel_stride);
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        uint32_t pair;
        memcpy(&pair, x + (size_t)r * x_stride, sizeof pair);
        V16_UNROLL
        for (int p = 0; p < P; p++) acc[r][p] = v16_dot(acc[r][p], w[p], pair);
    }
}
#endif

// c[R][16 P] of one block, in registers.
V16_INLINE void gemm_tile(int R, int P, gemm_kind kind, gemm_fetch fetch, const gemm_block *b)
{
    const size_t pair_size = kind == GEMM_F32 ? 128 : 64;
    const size_t c_stride = b->c_stride, x_stride = b->x_stride;
    const ptrdiff_t panel_stride = b->panel_stride;
    const float *x = b->x;
    const uint8_t *w = b->w;
    float *c = b->c;
    v16 acc[GEMM_ROWS][GEMM_MAX_WIDE];
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        V16_UNROLL
        for (int p = 0; p < P; p++)
            acc[r][p] = b->add ? v16_load(c + (size_t)r * c_stride + 16 * p) : v16_set1(0.0f);
    }
    for (int i = b->n_pairs; i > 0; i--) {
        V16_UNROLL
        for (int p = 0; p < P && fetch != GEMM_FETCH_NONE; p++) {
            const uint8_t *at = fetch == GEMM_FETCH_AHEAD ? b->ahead[p] + (w - b->w)
                                                          : w + p * panel_stride + GEMM_PREFETCH;
            v16_prefetch(at);
            if (kind == GEMM_F32) v16_prefetch(at + 64);
        }
#if defined(V16_HAS_DOT)
        if (kind == GEMM_DOT) {
            gemm_step_dot(R, P, acc, w, panel_stride, x, x_stride);
            w += pair_size;
            x += 1;
            continue;
        }
#endif
        gemm_step(R, P, acc, kind, true, w, panel_stride, x + 1, x_stride);
        gemm_step(R, P, acc, kind, false, w, panel_stride, x, x_stride);
        w += pair_size;
        x += 2;
    }
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        V16_UNROLL
        for (int p = 0; p < P; p++) v16_store(c + (size_t)r * c_stride + 16 * p, acc[r][p]);
    }
}

// All panels of a block for R rows.
V16_INLINE void gemm_strip(const int R, gemm_kind kind, gemm_fetch fetch, gemm_block b,
                           int n_panels)
{
    const int P = GEMM_WIDE(R);
    for (; n_panels >= P; n_panels -= P) {
        gemm_tile(R, P, kind, fetch, &b);
        b.w += P * b.panel_stride;
        b.c += 16 * P;
    }
    for (; P > 1 && n_panels > 0; n_panels--) {
        gemm_tile(R, 1, kind, fetch, &b);
        b.w += b.panel_stride;
        b.c += 16;
    }
}

// The same for 1 to GEMM_ROWS rows.
V16_INLINE void gemm_rows(int n_rows, gemm_kind kind, gemm_fetch fetch, gemm_block b, int n_panels)
{
    switch (n_rows) {
    case 1: gemm_strip(1, kind, fetch, b, n_panels); break;
    case 2: gemm_strip(2, kind, fetch, b, n_panels); break;
    case 3: gemm_strip(3, kind, fetch, b, n_panels); break;
    case 4: gemm_strip(4, kind, fetch, b, n_panels); break;
    case 5: gemm_strip(5, kind, fetch, b, n_panels); break;
    case 6: gemm_strip(6, kind, fetch, b, n_panels); break;
    default: break;
    }
}

#endif
