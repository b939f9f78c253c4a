// Quantization of rows and what comes after integer sums (quantization.md 2, cpu-kernels.md 3.5 and
// 3.6). All rounding is to nearest, ties to even.

#include "backend/cpu/kernels.h"

#include <float.h>
#include <math.h>

// The largest magnitude; NaN if any value is NaN.
static float largest(const float *x, int n)
{
    float amax = 0.0f;
    for (int i = 0; i < n; i++) {
        float a = fabsf(x[i]);
        if (!(a <= amax)) amax = a;
        if (amax != amax) return amax;
    }
    return amax;
}

static int clamp(float rounded, int low, int high)
{
    if (rounded < (float)low) return low;
    return rounded > (float)high ? high : (int)rounded;
}

static void sum_groups(const qw_quantized_row *out, int k, int group)
{
    int n = group > 0 ? group : k;
    for (int g = 0; g * n < k; g++) {
        int32_t sum = 0;
        for (int i = 0; i < n; i++) sum += out->q[g * n + i];
        out->sums[g] = sum;
    }
}

static void quantize_static(qw_quantized_row *out, const float *x, int k, const qw_input_scheme *s)
{
    float amax = largest(x, k);
    out->scale = amax <= FLT_MAX ? 1.0f : NAN;
    if (out->scale != out->scale) return;
    for (int i = 0; i < k; i++) {
        float scaled = s->inverse != 0.0f ? x[i] * s->inverse : x[i] / s->scale;
        out->q[i] = (int8_t)clamp(rintf(scaled + s->offset), -128, 127);
    }
}

static void quantize_by_row(qw_quantized_row *out, const float *x, int k, const qw_input_scheme *s)
{
    float qmax = s->kind == QW_INPUT_TOKEN8 ? 127.0f : 7.0f;
    float clip = s->kind == QW_INPUT_FLAT4 ? s->clip_ratio : 1.0f;
    float amax = largest(x, k);
    float scale = amax * clip / qmax;
    if (!(amax <= FLT_MAX)) {
        out->scale = NAN;
    } else if (scale < FLT_MIN) {
        out->scale = 0.0f;
    } else {
        float inverse = qmax / clip / amax;
        for (int i = 0; i < k; i++)
            out->q[i] = (int8_t)clamp(rintf(x[i] * inverse), (int)-qmax - 1, (int)qmax);
        out->scale = scale;
    }
}

void qw_quantize_ref(qw_quantized_row *out, const float *x, int k, int kp, int group,
                     const qw_input_scheme *scheme)
{
    memset(out->q, 0, (size_t)kp);
    if (scheme->kind == QW_INPUT_STATIC8)
        quantize_static(out, x, k, scheme);
    else
        quantize_by_row(out, x, k, scheme);
    sum_groups(out, k, group);
}

void qw_norm_quantize_ref(qw_quantized_row *out, float *normed, const float *x, const float *weight,
                          float eps, bool round, int k, int kp, int group,
                          const qw_input_scheme *scheme)
{
    qw_rms_norm_ref(normed, x, weight, k, eps, round);
    qw_quantize_ref(out, normed, k, kp, group, scheme);
}

void qw_silu_quantize_ref(qw_quantized_row *out, float *product, const float *gate, const float *up,
                          bool round, int k, int kp, int group, const qw_input_scheme *scheme)
{
    qw_silu_mul_ref(product, gate, up, k, round);
    qw_quantize_ref(out, product, k, kp, group, scheme);
}

void qw_widen_i8_ref(int16_t *out, const int8_t *q, int kp)
{
    for (int k = 0; k < kp; k += 4) {
        out[k] = q[k];
        out[k + 1] = q[k + 2];
        out[k + 2] = q[k + 1];
        out[k + 3] = q[k + 3];
    }
}

// y[i] = sum over k of a(k) * b[k][i] for n values of i, k = 1, 0, 3, 2, ...
static void combine_rows(float *y, int n, const float *a, size_t a_stride, const float *b,
                         size_t b_stride, int n_k)
{
    for (int i = 0; i < n; i++) {
        float acc = 0.0f;
        for (int pair = 0; pair < n_k; pair += 2) {
            if (pair + 1 < n_k)
                acc = fmaf(a[(size_t)(pair + 1) * a_stride],
                           b[(size_t)(pair + 1) * b_stride + (size_t)i], acc);
            acc = fmaf(a[(size_t)pair * a_stride], b[(size_t)pair * b_stride + (size_t)i], acc);
        }
        y[i] = acc;
    }
}

void qw_flat_ref(float *y, float *t, const float *x, const float *transforms,
                 const qw_input_scheme *scheme)
{
    const size_t left = (size_t)scheme->left, right = (size_t)scheme->right;
    const size_t stride = (right + 15) / 16 * 16;
    const float *r = transforms + left * left;
    for (size_t i = 0; i < left; i++) {
        if (scheme->has_right)
            combine_rows(t + i * stride, (int)right, x + i * right, 1, r, stride, (int)right);
        else
            memcpy(t + i * stride, x + i * right, right * sizeof *t);
    }
    // Column i of the left matrix makes row i of the result, which is one row of values.
    for (size_t i = 0; i < left; i++)
        combine_rows(y + i * right, (int)right, transforms + i, left, t, stride, (int)left);
}

void qw_dequant_ref(float *t, const int32_t *c, const int32_t *static_bias, const float *scales,
                    float xs, int n)
{
    for (int i = 0; i < n; i++) {
        int32_t sum = static_bias ? c[i] + static_bias[i] : c[i];
        float scaled = (float)sum * scales[i];
        t[i] = scaled * xs;
    }
}

void qw_scale_ref(float *t, const float *scales, float xs, int n)
{
    for (int i = 0; i < n; i++) {
        float scaled = t[i] * scales[i];
        t[i] = scaled * xs;
    }
}
