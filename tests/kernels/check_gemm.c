// Products: every level against plain C to the bit; plain C against float64 within cpu-kernels.md
// 6.2.

#include "kernels/harness.h"

#include <math.h>

enum { C_GAP = 5 }; /* columns of c beyond the panels, which stay as they are */

static const int sizes_n[] = {1, 15, 16, 17, 48, 63, 64, 65, 80, 128};
static const int sizes_k[] = {1,  2,  3,   4,   7,    8,    31,   63,   64,
                              65, 72, 128, 768, 1024, 4304, 9728, 25600};
static const int sizes_m[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 24, 25, 48, 97};

typedef struct gemm_case {
    qw_dtype dtype;
    qw_gemm_fn *now, *ref;
    bool rounded; /* the activations are bf16 values */
    int n_panels, kp, m;
    size_t c_stride, x_stride, c_len;
    void *w;
    float *x, *got, *want;
} gemm_case;

static void gemm_make(kt *t, gemm_case *c, int n, int k, int m, kt_values values)
{
    int unit = c->dtype == QW_DTYPE_F32 ? 16 : 32;
    c->n_panels = (n + 15) / 16;
    c->kp = (k + unit - 1) / unit * unit;
    c->m = m;
    c->c_stride = 16 * (size_t)c->n_panels + C_GAP;
    c->x_stride = (size_t)c->kp + (size_t)kt_below(t, 2) * 16;
    c->c_len = (size_t)(m - 1) * c->c_stride + 16 * (size_t)c->n_panels;
    size_t w_len = 16 * (size_t)c->n_panels * (size_t)c->kp;
    size_t x_len = (size_t)(m - 1) * c->x_stride + (size_t)c->kp;
    c->w = kt_input(t, 0, w_len * (c->dtype == QW_DTYPE_F32 ? 4 : 2));
    c->x = kt_input(t, 1, x_len * sizeof(float));
    kt_fill(t, c->w, c->dtype, w_len, values);
    // One special value per case: with one on each side NaN meets NaN.
    kt_values x_values = values == KT_ONE_NAN ? KT_NORMAL : values;
    if (values == KT_ONE_HOT) x_values = KT_SMALL_INTEGERS;
    if (c->rounded)
        kt_fill_rounded(t, c->x, x_len, x_values);
    else
        kt_fill(t, c->x, QW_DTYPE_F32, x_len, x_values);
    // Between the rows: never read.
    for (int i = 1; i < m; i++)
        for (float *p = c->x + (size_t)i * c->x_stride - (c->x_stride - (size_t)c->kp);
             p < c->x + (size_t)i * c->x_stride; p++)
            *p = NAN;
    c->got = kt_output(t, 2, c->c_len * sizeof(float), 0x77);
    c->want = kt_output(t, 3, c->c_len * sizeof(float), 0x77);
}

static void gemm_against_float64(kt *t, const gemm_case *c)
{
    const bool wide = c->dtype == QW_DTYPE_F32;
    for (int m = 0; m < c->m; m++) {
        for (int o = 0; o < 16 * c->n_panels; o++) {
            double sum = 0, magnitude = 0;
            for (int k = 0; k < c->kp; k++) {
                size_t panel = (size_t)(o / 16) * 16 * (size_t)c->kp;
                size_t at = wide ? panel + (size_t)k * 16 + (size_t)(o % 16)
                                 : panel + (size_t)(k / 2) * 32 + (size_t)(o % 16 * 2 + k % 2);
                float w = wide                        ? ((float *)c->w)[at]
                          : c->dtype == QW_DTYPE_BF16 ? qw_bf16_to_f32(((uint16_t *)c->w)[at])
                                                      : qw_f16_to_f32(((uint16_t *)c->w)[at]);
                double term = (double)w * (double)c->x[(size_t)m * c->x_stride + (size_t)k];
                sum += term;
                magnitude += fabs(term);
            }
            size_t i = (size_t)m * c->c_stride + (size_t)o;
            kt_within(t, c->want[i], sum, (c->kp + 2) * 0x1p-24 * magnitude, i);
        }
    }
}

static void gemm_one(kt *t, gemm_case *c, int n, int k, int m, kt_values values)
{
    if (kt_is_ref(t) && values > KT_NORMAL) return; // nothing to compare with
    gemm_make(t, c, n, k, m, values);
    kt_case(t, "N %d K %d M %d, values %d", n, k, m, (int)values);
    c->ref(c->want, c->c_stride, c->w, c->n_panels, c->x, c->x_stride, c->m, c->kp);
    if (kt_is_ref(t)) {
        if (values <= KT_NORMAL) gemm_against_float64(t, c);
        return;
    }
    c->now(c->got, c->c_stride, c->w, c->n_panels, c->x, c->x_stride, c->m, c->kp);
    kt_same_bits(t, c->got, c->want, c->c_len);
    kt_check_canaries(t, c->got, c->c_len * sizeof(float));
}

#define EACH(i, list) for (size_t i = 0; (i) < QW_ARRAY_LEN(list); (i)++)

static void gemm_kernel(kt *t, const char *name, gemm_case c)
{
    t->kernel = name;
    if (c.now == c.ref && !kt_is_ref(t)) return; // no variant at this level
    int v = 0;
    // All pairs; the third size is small.
    EACH(i, sizes_n) EACH(j, sizes_k)
    {
        if ((int64_t)sizes_n[i] * sizes_k[j] > 40000 * (int64_t)t->work) continue;
        gemm_one(t, &c, sizes_n[i], sizes_k[j], 1 + v % 2, (kt_values)(v % KT_N_VALUES)), v++;
    }
    EACH(i, sizes_n)
    EACH(j, sizes_m) gemm_one(t, &c, sizes_n[i], 40, sizes_m[j], (kt_values)(v % KT_N_VALUES)), v++;
    EACH(i, sizes_k) EACH(j, sizes_m)
    {
        if ((int64_t)sizes_k[i] * sizes_m[j] > 3000 * (int64_t)t->work) continue;
        gemm_one(t, &c, 16, sizes_k[i], sizes_m[j], (kt_values)(v++ % KT_N_VALUES));
    }
    // Random triples that are not too much work for plain C.
    for (int done = 0; done < 250 * t->work / 100;) {
        int n = sizes_n[kt_below(t, QW_ARRAY_LEN(sizes_n))];
        int k = sizes_k[kt_below(t, QW_ARRAY_LEN(sizes_k))];
        int m = sizes_m[kt_below(t, QW_ARRAY_LEN(sizes_m))];
        if ((int64_t)n * k * m > 400000) continue;
        gemm_one(t, &c, n, k, m, (kt_values)kt_below(t, KT_N_VALUES));
        done++;
    }
}

// Any number of rows gives the bits of one row alone.
static void gemm_rows_alone(kt *t, gemm_case c)
{
    static const int rows[] = {1, 2, 5, 6, 7, 12, 13, 48, 512};
    EACH(i, rows)
    {
        gemm_make(t, &c, 64, 288, rows[i], KT_NORMAL);
        kt_case(t, "%d rows at once or one by one", rows[i]);
        c.now(c.got, c.c_stride, c.w, c.n_panels, c.x, c.x_stride, c.m, c.kp);
        for (int m = 0; m < c.m; m++)
            c.now(c.want + (size_t)m * c.c_stride, c.c_stride, c.w, c.n_panels,
                  c.x + (size_t)m * c.x_stride, c.x_stride, 1, c.kp);
        kt_same_bits(t, c.got, c.want, c.c_len);
    }
}

void check_gemm(kt *t)
{
    const struct {
        const char *name;
        gemm_case c;
    } kernels[] = {
        {"gemm_bf16", {.dtype = QW_DTYPE_BF16, .now = t->now.gemm_bf16, .ref = t->ref.gemm_bf16}},
        {"gemm_bf16_x16",
         {.dtype = QW_DTYPE_BF16,
          .rounded = true,
          .now = t->now.gemm_bf16_x16,
          .ref = t->ref.gemm_bf16_x16}},
        {"gemm_f16", {.dtype = QW_DTYPE_F16, .now = t->now.gemm_f16, .ref = t->ref.gemm_f16}},
        {"gemm_f32", {.dtype = QW_DTYPE_F32, .now = t->now.gemm_f32, .ref = t->ref.gemm_f32}},
    };
    EACH(i, kernels)
    {
        // At most levels gemm_bf16_x16 is gemm_bf16.
        if (kernels[i].c.rounded && kernels[i].c.now == t->now.gemm_bf16) continue;
        gemm_kernel(t, kernels[i].name, kernels[i].c);
        if (kernels[i].c.now != kernels[i].c.ref) gemm_rows_alone(t, kernels[i].c);
    }
}
