// Products of integer panels (cpu-kernels.md 2.1): with integer rows exactly, in any order; with
// rows of fp32 in the canonical order of float products.

#include "backend/cpu/kernels.h"

#include <math.h>

typedef enum stored { STORED_I8, STORED_I4 } stored;

// Weight (row l, k) of a panel.
static inline int weight_at(stored kind, const uint8_t *panel, int l, int k)
{
    if (kind == STORED_I8) return panel[(size_t)(k / 4) * 64 + (size_t)(l * 4 + k % 4)] - 128;
    uint8_t both = panel[(size_t)(k / 8) * 64 + (size_t)(l * 4 + k % 4)];
    return (k % 8 < 4 ? both & 15 : both >> 4) - 8;
}

static inline size_t panel_size(stored kind, int kp)
{
    return (kind == STORED_I8 ? 16 : 8) * (size_t)kp;
}

// The scale of one output's group.
static inline float group_scale(const qw_int_tile *t, int p, int g, int l)
{
    size_t n_groups = (size_t)(t->k / t->group);
    return t->group_scales[((size_t)p * n_groups + (size_t)g) * 16 + (size_t)l];
}

static inline void int_sums(int32_t sums[16], stored kind, const uint8_t *panel, const int8_t *q,
                            int from, int to)
{
    memset(sums, 0, 16 * sizeof *sums);
    for (int k = from; k < to; k++)
        for (int l = 0; l < 16; l++) sums[l] += weight_at(kind, panel, l, k) * q[k];
}

static inline void gemm_int(stored kind, const qw_int_tile *t)
{
    int32_t sums[16];
    for (int p = 0; p < t->n_panels; p++) {
        const uint8_t *panel = t->w + (size_t)p * panel_size(kind, t->kp);
        for (int m = 0; m < t->n_rows; m++) {
            const int8_t *q = (const int8_t *)t->x.q + (size_t)m * t->x.stride;
            size_t at = (size_t)m * t->c_stride + 16 * (size_t)p;
            if (t->group == 0) {
                int_sums((int32_t *)t->c + at, kind, panel, q, 0, t->kp);
                continue;
            }
            float *f = (float *)t->c + at;
            for (int l = 0; l < 16; l++) f[l] = 0.0f;
            for (int g = 0; g < t->k / t->group; g++) {
                int_sums(sums, kind, panel, q, g * t->group, (g + 1) * t->group);
                for (int l = 0; l < 16; l++)
                    f[l] = fmaf((float)sums[l], group_scale(t, p, g, l), f[l]);
            }
        }
    }
}

void qw_gemm_i8_ref(const qw_int_tile *tile)
{
    gemm_int(STORED_I8, tile);
}

void qw_gemm_i4_ref(const qw_int_tile *tile)
{
    gemm_int(STORED_I4, tile);
}

// Bounds are even, so that pairs stay together.
static inline void float_sums(float acc[16], stored kind, const uint8_t *panel, const float *x,
                              int from, int to)
{
    for (int l = 0; l < 16; l++) acc[l] = 0.0f;
    for (int k = from; k < to; k += 2) {
        for (int l = 0; l < 16; l++)
            acc[l] = fmaf((float)weight_at(kind, panel, l, k + 1), x[k + 1], acc[l]);
        for (int l = 0; l < 16; l++)
            acc[l] = fmaf((float)weight_at(kind, panel, l, k), x[k], acc[l]);
    }
}

static inline void gemm_widened(stored kind, const qw_int_tile *t)
{
    float sums[16];
    for (int p = 0; p < t->n_panels; p++) {
        const uint8_t *panel = t->w + (size_t)p * panel_size(kind, t->kp);
        for (int m = 0; m < t->n_rows; m++) {
            const float *x = t->x_f32 + (size_t)m * t->x_stride;
            float *c = (float *)t->c + (size_t)m * t->c_stride + 16 * (size_t)p;
            if (t->group == 0) {
                float_sums(c, kind, panel, x, 0, t->kp);
                continue;
            }
            for (int l = 0; l < 16; l++) c[l] = 0.0f;
            for (int g = 0; g < t->k / t->group; g++) {
                float_sums(sums, kind, panel, x, g * t->group, (g + 1) * t->group);
                for (int l = 0; l < 16; l++) c[l] = fmaf(sums[l], group_scale(t, p, g, l), c[l]);
            }
        }
    }
}

void qw_gemm_i8_f32_ref(const qw_int_tile *tile)
{
    gemm_widened(STORED_I8, tile);
}

void qw_gemm_i4_f32_ref(const qw_int_tile *tile)
{
    gemm_widened(STORED_I4, tile);
}
