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

static inline int32_t int_sum(stored kind, const uint8_t *panel, int l, const int8_t *q, int from,
                              int to)
{
    int32_t sum = 0;
    for (int k = from; k < to; k++) sum += weight_at(kind, panel, l, k) * q[k];
    return sum;
}

static inline void gemm_int(stored kind, const qw_int_tile *t)
{
    for (int p = 0; p < t->n_panels; p++) {
        const uint8_t *panel = t->w + (size_t)p * panel_size(kind, t->kp);
        for (int m = 0; m < t->n_rows; m++) {
            const int8_t *q = (const int8_t *)t->x.q + (size_t)m * t->x.stride;
            size_t at = (size_t)m * t->c_stride + 16 * (size_t)p;
            for (int l = 0; l < 16; l++) {
                if (t->group == 0) {
                    ((int32_t *)t->c)[at + (size_t)l] = int_sum(kind, panel, l, q, 0, t->kp);
                    continue;
                }
                float f = 0.0f;
                for (int g = 0; g < t->k / t->group; g++) {
                    int32_t sum = int_sum(kind, panel, l, q, g * t->group, (g + 1) * t->group);
                    f = fmaf((float)sum, group_scale(t, p, g, l), f);
                }
                ((float *)t->c)[at + (size_t)l] = f;
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
static inline float float_sum(stored kind, const uint8_t *panel, int l, const float *x, int from,
                              int to)
{
    float acc = 0.0f;
    for (int k = from; k < to; k += 2) {
        acc = fmaf((float)weight_at(kind, panel, l, k + 1), x[k + 1], acc);
        acc = fmaf((float)weight_at(kind, panel, l, k), x[k], acc);
    }
    return acc;
}

static inline void gemm_widened(stored kind, const qw_int_tile *t)
{
    for (int p = 0; p < t->n_panels; p++) {
        const uint8_t *panel = t->w + (size_t)p * panel_size(kind, t->kp);
        for (int m = 0; m < t->n_rows; m++) {
            const float *x = t->x_f32 + (size_t)m * t->x_stride;
            float *c = (float *)t->c + (size_t)m * t->c_stride + 16 * (size_t)p;
            for (int l = 0; l < 16; l++) {
                if (t->group == 0) {
                    c[l] = float_sum(kind, panel, l, x, 0, t->kp);
                    continue;
                }
                float f = 0.0f;
                for (int g = 0; g < t->k / t->group; g++)
                    f = fmaf(float_sum(kind, panel, l, x, g * t->group, (g + 1) * t->group),
                             group_scale(t, p, g, l), f);
                c[l] = f;
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
