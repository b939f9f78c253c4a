// Quantization of rows and the way back from integer sums, with 16-lane vectors; included once per
// level after its vec16i header. quantize_ref.c says what comes out.

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/norm_row_simd.h"
#include "backend/cpu/simd/silu_simd.h"

#include <float.h>

// The bits of the largest magnitude; those of NaN and infinity are above all others.
static int32_t largest_bits(const float *x, int k)
{
    v16i most = v16i_set1(0);
    int whole = k / 16 * 16;
    for (int i = 0; i < whole; i += 16) most = v16i_max(most, v16i_abs_bits(v16_load(x + i)));
    if (whole < k) most = v16i_max(most, v16i_abs_bits(v16_load_n(x + whole, k - whole)));
    return v16i_fold_max(most);
}

V16_INLINE v16i quantize_16(v16 x, const qw_input_scheme *s, v16 factor, bool is_static)
{
    if (!is_static) return v16i_from_float(v16_mul(x, factor));
    v16 scaled = s->inverse != 0.0f ? v16_mul(x, factor) : v16_div(x, factor);
    return v16i_from_float(v16_clamp(v16_add(scaled, v16_set1(s->offset)), -128.0f, 127.0f));
}

V16_INLINE void quantize_row(int8_t *q, const float *x, int k, const qw_input_scheme *s,
                             float factor, bool is_static, int low, int high)
{
    const v16 f = v16_set1(factor);
    const v16i l = v16i_set1(low), h = v16i_set1(high);
    int whole = k / 16 * 16;
    for (int i = 0; i < whole; i += 16)
        v16i_store_i8(q + i,
                      v16i_min(v16i_max(quantize_16(v16_load(x + i), s, f, is_static), l), h));
    if (whole == k) return;
    int8_t last[16];
    v16 rest = v16_load_n(x + whole, k - whole);
    v16i_store_i8(last, v16i_min(v16i_max(quantize_16(rest, s, f, is_static), l), h));
    memcpy(q + whole, last, (size_t)(k - whole));
}

static int32_t sum_of(const int8_t *q, int n)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++) sum += q[i];
    return sum;
}

// `bits`: of the largest magnitude in x.
static void quantize_known(qw_quantized_row *out, const float *x, int32_t bits, int k, int kp,
                           int group, const qw_input_scheme *s)
{
    bool is_static = s->kind == QW_INPUT_STATIC8;
    float qmax = s->kind == QW_INPUT_TOKEN8 ? 127.0f : 7.0f;
    float clip = s->kind == QW_INPUT_FLAT4 ? s->clip_ratio : 1.0f;
    float amax = qw_f32_from_bits((uint32_t)bits), scale = is_static ? 1.0f : amax * clip / qmax;
    if (bits >= 0x7F800000) scale = qw_f32_from_bits(0x7FC00000);
    bool is_zero = !(scale >= FLT_MIN);
    out->scale = scale < FLT_MIN ? 0.0f : scale;
    if (is_zero) {
        memset(out->q, 0, (size_t)kp);
    } else {
        memset(out->q + k, 0, (size_t)(kp - k));
        if (is_static)
            quantize_row(out->q, x, k, s, s->inverse != 0.0f ? s->inverse : s->scale, true, -128,
                         127);
        else
            quantize_row(out->q, x, k, s, qmax / clip / amax, false, -(int)qmax - 1, (int)qmax);
    }
    int n = group > 0 ? group : k;
    for (int g = 0; g * n < k; g++) out->sums[g] = sum_of(out->q + g * n, n);
}

void QW_LEVEL(qw_quantize)(qw_quantized_row *out, const float *x, int k, int kp, int group,
                           const qw_input_scheme *s)
{
    quantize_known(out, x, largest_bits(x, k), k, kp, group, s);
}

// The bits of the largest magnitude in y = RMSNorm(x).
V16_INLINE int32_t norm_row_bits(float *y, const float *x, const float *weight, int n, float eps,
                                 bool round)
{
    const int whole = n / 16 * 16, rest = n - whole;
    const v16 r = norm_factor(x, n, eps);
    v16i most = v16i_set1(0);
    for (int i = 0; i < whole; i += 16) {
        v16 v = norm_apply(v16_load(x + i), r, v16_load(weight + i), round);
        most = v16i_max(most, v16i_abs_bits(v));
        v16_store(y + i, v);
    }
    if (rest > 0) {
        v16 v = norm_apply(v16_load_n(x + whole, rest), r, v16_load_n(weight + whole, rest), round);
        most = v16i_max(most, v16i_abs_bits(v16_first_n(v, v16_set1(0.0f), rest)));
        v16_store_n(y + whole, v, rest);
    }
    return v16i_fold_max(most);
}

void QW_LEVEL(qw_norm_quantize)(qw_quantized_row *out, float *normed, const float *x,
                                const float *weight, float eps, bool round, int k, int kp,
                                int group, const qw_input_scheme *s)
{
    int32_t bits = round ? norm_row_bits(normed, x, weight, k, eps, true)
                         : norm_row_bits(normed, x, weight, k, eps, false);
    quantize_known(out, normed, bits, k, kp, group, s);
}

V16_INLINE int32_t silu_row_bits(float *y, const float *gate, const float *up, int n, bool round)
{
    v16i most = v16i_set1(0);
    for (int i = 0; i < n; i += 16) {
        v16 v = silu_times(v16_load_n(gate + i, n - i), v16_load_n(up + i, n - i), round);
        most = v16i_max(most, v16i_abs_bits(v16_first_n(v, v16_set1(0.0f), n - i)));
        v16_store_n(y + i, v, n - i);
    }
    return v16i_fold_max(most);
}

void QW_LEVEL(qw_silu_quantize)(qw_quantized_row *out, float *product, const float *gate,
                                const float *up, bool round, int k, int kp, int group,
                                const qw_input_scheme *s)
{
    int32_t bits = round ? silu_row_bits(product, gate, up, k, true)
                         : silu_row_bits(product, gate, up, k, false);
    quantize_known(out, product, bits, k, kp, group, s);
}

void QW_LEVEL(qw_widen_i8)(int16_t *out, const int8_t *q, int kp)
{
    for (int k = 0; k < kp; k += 32) v16_widen_i8(out + k, q + k);
}

// y[0..16P) = sum over k of a(k) * b[k][0..16P), k = 1, 0, 3, 2, ...
V16_INLINE void combine_vectors(v16 *acc, const int P, const float *a, size_t a_stride,
                                const float *b, size_t b_stride, int n_k)
{
    V16_UNROLL
    for (int p = 0; p < P; p++) acc[p] = v16_set1(0.0f);
    for (int pair = 0; pair < n_k; pair += 2) {
        if (pair + 1 < n_k) {
            v16 odd = v16_set1(a[(size_t)(pair + 1) * a_stride]);
            V16_UNROLL
            for (int p = 0; p < P; p++)
                acc[p] = v16_mac(v16_load(b + (size_t)(pair + 1) * b_stride + 16 * p), odd, acc[p]);
        }
        v16 even = v16_set1(a[(size_t)pair * a_stride]);
        V16_UNROLL
        for (int p = 0; p < P; p++)
            acc[p] = v16_mac(v16_load(b + (size_t)pair * b_stride + 16 * p), even, acc[p]);
    }
}

// A row of n values of the combination of the rows of b, which have room for whole vectors.
V16_INLINE void combine_rows(float *y, int n, const float *a, size_t a_stride, const float *b,
                             size_t b_stride, int n_k)
{
    v16 acc[4];
    int i = 0;
    for (; i + 64 <= n; i += 64) {
        combine_vectors(acc, 4, a, a_stride, b + i, b_stride, n_k);
        for (int p = 0; p < 4; p++) v16_store(y + i + 16 * p, acc[p]);
    }
    for (; i < n; i += 16) {
        combine_vectors(acc, 1, a, a_stride, b + i, b_stride, n_k);
        v16_store_n(y + i, acc[0], n - i);
    }
}

void QW_LEVEL(qw_flat)(float *y, float *t, const float *x, const float *transforms,
                       const qw_input_scheme *s)
{
    const size_t left = (size_t)s->left, right = (size_t)s->right;
    const size_t stride = (right + 15) / 16 * 16;
    const float *r = transforms + left * left;
    for (size_t i = 0; i < left; i++) {
        // Whole vectors of t are read below: what lies beyond `right` only has to be a number.
        memset(t + i * stride + right / 16 * 16, 0, (stride - right / 16 * 16) * sizeof *t);
        if (s->has_right)
            combine_rows(t + i * stride, (int)right, x + i * right, 1, r, stride, (int)right);
        else
            memcpy(t + i * stride, x + i * right, right * sizeof *t);
    }
    for (size_t i = 0; i < left; i++)
        combine_rows(y + i * right, (int)right, transforms + i, left, t, stride, (int)left);
}

void QW_LEVEL(qw_dequant)(float *t, const int32_t *c, const int32_t *static_bias,
                          const float *scales, float xs, int n)
{
    const v16 s = v16_set1(xs);
    for (int i = 0; i < n; i += 16) {
        v16i sum = v16i_load(c + i);
        if (static_bias) sum = v16i_add(sum, v16i_load(static_bias + i));
        v16_store(t + i, v16_mul(v16_mul(v16i_to_float(sum), v16_load(scales + i)), s));
    }
}

void QW_LEVEL(qw_scale)(float *t, const float *scales, float xs, int n)
{
    const v16 s = v16_set1(xs);
    for (int i = 0; i < n; i += 16)
        v16_store(t + i, v16_mul(v16_mul(v16_load(t + i), v16_load(scales + i)), s));
}
