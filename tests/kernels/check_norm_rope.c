#include "kernels/harness.h"

#include <math.h>

static const int sizes[] = {2, 6, 15, 16, 17, 31, 32, 48, 64, 80, 100, 128, 256, 1000, 1024, 4096};

static void against_float64(kt *t, const float *y, const float *x, const float *w, int n, float eps)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)x[i] * x[i];
    double r = 1 / sqrt(sum / n + (double)eps);
    for (int i = 0; i < n; i++) {
        double want = x[i] * r * (double)w[i];
        kt_within(t, y[i], want, 8 * 0x1p-24 * fabs(want) + (double)n * 0x1p-26 * fabs(want),
                  (size_t)i);
    }
}

static void rms_norm_one(kt *t, int n, kt_values values, bool round)
{
    size_t size = (size_t)n * sizeof(float);
    float *x = kt_input(t, 0, size), *w = kt_input(t, 1, size);
    kt_fill(t, x, QW_DTYPE_F32, (size_t)n, values);
    kt_fill(t, w, QW_DTYPE_F32, (size_t)n, KT_NORMAL);
    float *got = kt_output(t, 2, size, 0x77), *want = kt_output(t, 3, size, 0x77);
    kt_case(t, "n %d, values %d%s", n, (int)values, round ? ", rounded" : "");
    t->ref.rms_norm(want, x, w, n, 1e-6f, round);
    if (kt_is_ref(t)) {
        if (values == KT_NORMAL && !round) against_float64(t, want, x, w, n, 1e-6f);
        return;
    }
    t->now.rms_norm(got, x, w, n, 1e-6f, round);
    kt_same_bits(t, got, want, (size_t)n);
    memcpy(got, x, size); // in place
    t->now.rms_norm(got, got, w, n, 1e-6f, round);
    kt_same_bits(t, got, want, (size_t)n);
    kt_check_canaries(t, got, size);
}

static void norm_rope_one(kt *t, int d, kt_values values, bool round)
{
    size_t n = (size_t)d, size = n * sizeof(float);
    float *w = kt_input(t, 0, size), *cos = kt_input(t, 1, size / 2),
          *sin = kt_input(t, 4, size / 2);
    float *got = kt_output(t, 2, size, 0x77), *want = kt_output(t, 3, size, 0x77);
    kt_fill(t, want, QW_DTYPE_F32, n, values);
    memcpy(got, want, size);
    kt_fill(t, w, QW_DTYPE_F32, n, KT_NORMAL);
    kt_fill(t, cos, QW_DTYPE_F32, n / 2, KT_NORMAL);
    kt_fill(t, sin, QW_DTYPE_F32, n / 2, KT_NORMAL);
    kt_case(t, "d %d, values %d%s", d, (int)values, round ? ", rounded" : "");
    t->ref.norm_rope(want, w, cos, sin, d, 1e-6f, round);
    if (kt_is_ref(t)) return;
    t->now.norm_rope(got, w, cos, sin, d, 1e-6f, round);
    kt_same_bits(t, got, want, n);
    kt_check_canaries(t, got, size);
}

void check_norm_rope(kt *t)
{
    for (int round = 0; round < 2; round++) {
        for (int v = 0; v < KT_N_VALUES; v++) {
            t->kernel = "rms_norm";
            for (int n = 1; n <= 300; n += v == KT_NORMAL ? 1 : 37)
                rms_norm_one(t, n, (kt_values)v, round);
            for (size_t i = 0; i < QW_ARRAY_LEN(sizes); i++)
                rms_norm_one(t, sizes[i], (kt_values)v, round);
            t->kernel = "norm_rope";
            for (size_t i = 0; i < QW_ARRAY_LEN(sizes); i++)
                norm_rope_one(t, sizes[i] / 2 * 2, (kt_values)v, round);
        }
    }
}
