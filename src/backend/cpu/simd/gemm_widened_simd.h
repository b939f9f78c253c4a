// Products of integer panels with rows of fp32: a block of panels is widened to fp32 in L1, then
// the float tile runs over it. Included once per level after its vec16i header.

#include "backend/cpu/simd/tile_simd.h"

enum {
    WIDENED_KC = 64,    /* k of a block: 16 KiB of four panels */
    WIDENED_PANELS = 4, /* side by side */
};

// n_k values of k, a multiple of 8, from k0 on; panels of n_k pairs one behind the other.
static void widen_block(float *out, bool is_i8, const uint8_t *w, ptrdiff_t panel_stride,
                        int n_panels, int k0, int n_k)
{
    const int per_row = is_i8 ? 4 : 8; // nibbles of a word: k, k + 4, k + 1, k + 5, ...
    for (int p = 0; p < n_panels; p++) {
        const uint8_t *row = w + p * panel_stride + k0 / per_row * 64;
        for (int k = 0; k < n_k; k += per_row, row += 64) {
            v16_prefetch(row + GEMM_PREFETCH);
            v16i v = v16i_load(row);
            V16_UNROLL
            for (int j = 0; j < 8; j++)
                if (is_i8 && j < 4)
                    v16_store(out + 16 * j, v16i_byte_to_float(v, j));
                else if (!is_i8)
                    v16_store(out + 16 * (j / 2 + j % 2 * 4), v16i_nibble_to_float(v, j));
            out += 16 * per_row;
        }
    }
}

static void widened_tiles(gemm_block b, int n_rows, int n_panels)
{
    int n_tiles = (n_rows + GEMM_ROWS - 1) / GEMM_ROWS;
    for (int t = 0; t < n_tiles; t++) {
        int n = (n_rows + n_tiles - 1 - t) / n_tiles;
        gemm_rows(n, GEMM_F32, GEMM_FETCH_NONE, b, n_panels);
        b.x += (size_t)n * b.x_stride;
        b.c += (size_t)n * b.c_stride;
    }
}

// c += one group's sums times their scales, for one row of panels.
static void add_group(float *c, const float *sums, const float *scales, size_t scales_stride,
                      int n_panels, bool first)
{
    for (int p = 0; p < n_panels; p++) {
        v16 before = first ? v16_set1(0.0f) : v16_load(c + 16 * p);
        v16_store(c + 16 * p, v16_fma(v16_load(sums + 16 * p),
                                      v16_load(scales + (size_t)p * scales_stride), before));
    }
}

static void widened_panels(const qw_int_tile *t, bool is_i8, int p, int n_panels)
{
    QW_ALIGNED(64) float slab[WIDENED_PANELS * WIDENED_KC * 16];
    float sums[GEMM_ROWS * WIDENED_PANELS * 16];
    const ptrdiff_t panel_stride = (ptrdiff_t)t->kp * (is_i8 ? 16 : 8);
    const uint8_t *w = t->w + p * panel_stride;
    const size_t n_groups = t->group > 0 ? (size_t)(t->k / t->group) : 1;
    const int width = t->group > 0 ? t->group : t->kp; // k of a group
    for (size_t g = 0; g < n_groups; g++) {
        // With groups: six rows at a time, their sums put aside.
        int rows_at_once = t->group > 0 ? GEMM_ROWS : t->n_rows;
        for (int row = 0; row < t->n_rows; row += rows_at_once) {
            int n_r = t->n_rows - row < rows_at_once ? t->n_rows - row : rows_at_once;
            float *c = (float *)t->c + (size_t)row * t->c_stride + 16 * p;
            gemm_block b = {.c = t->group > 0 ? sums : c,
                            .c_stride = t->group > 0 ? 16 * WIDENED_PANELS : t->c_stride,
                            .x_stride = t->x_stride};
            for (int i = 0; i < width; i += WIDENED_KC) {
                int n_k = width - i < WIDENED_KC ? width - i : WIDENED_KC;
                int k = (int)g * width + i;
                widen_block(slab, is_i8, w, panel_stride, n_panels, k, n_k);
                b.w = (const uint8_t *)slab;
                b.panel_stride = (ptrdiff_t)n_k * 64;
                b.x = t->x_f32 + (size_t)row * t->x_stride + k;
                b.n_pairs = n_k / 2;
                b.add = i > 0;
                widened_tiles(b, n_r, n_panels);
            }
            for (int r = 0; r < n_r && t->group > 0; r++)
                add_group(c + (size_t)r * t->c_stride, sums + r * 16 * WIDENED_PANELS,
                          t->group_scales + (size_t)p * n_groups * 16 + 16 * g, n_groups * 16,
                          n_panels, g == 0);
        }
    }
}

static void widened_product(const qw_int_tile *t, bool is_i8)
{
    for (int p = 0; p < t->n_panels; p += WIDENED_PANELS) {
        int n = t->n_panels - p < WIDENED_PANELS ? t->n_panels - p : WIDENED_PANELS;
        widened_panels(t, is_i8, p, n);
    }
}

void QW_LEVEL(qw_gemm_i8_f32)(const qw_int_tile *tile)
{
    widened_product(tile, true);
}

void QW_LEVEL(qw_gemm_i4_f32)(const qw_int_tile *tile)
{
    widened_product(tile, false);
}
