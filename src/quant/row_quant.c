#include "quant/row_quant.h"

#include <math.h>

#include "base/dtype.h"

// Every loop over a row goes in blocks of this many elements, which compilers turn into vectors.
enum { LANES = 16 };

// x rounded to nearest even, |x| < 2^22: the sum leaves no room for a fraction.
static inline float rne(float x)
{
    const float magic = 0x1.8p23f;
    return (x + magic) - magic;
}

static inline float clampf(float x, float lo, float hi)
{
    x = x < lo ? lo : x;
    return x > hi ? hi : x;
}

float qw_row_amax(const float *w, size_t n)
{
    // As integers, magnitudes keep their order, and NaN is the largest.
    int32_t lanes[LANES] = {0}, most = 0;
    size_t k = 0;
    for (; k + LANES <= n; k += LANES) {
        int32_t bits[LANES];
        memcpy(bits, w + k, sizeof bits);
        for (int i = 0; i < LANES; i++) {
            int32_t m = bits[i] & 0x7FFFFFFF;
            lanes[i] = m > lanes[i] ? m : lanes[i];
        }
    }
    for (; k < n; k++) {
        int32_t m = (int32_t)(qw_f32_bits(w[k]) & 0x7FFFFFFFu);
        most = m > most ? m : most;
    }
    for (int i = 0; i < LANES; i++) most = lanes[i] > most ? lanes[i] : most;
    return qw_f32_from_bits((uint32_t)most);
}

static inline float grid(float w, float scale, float lo, float hi)
{
    // The quotient may be huge: a clamp in front keeps it where rne works.
    return rne(clampf(w / scale, lo - 1, hi + 1));
}

void qw_row_round(int8_t *q, const float *w, size_t n, float scale, int bits)
{
    const float hi = (float)((1 << (bits - 1)) - 1), lo = -hi - 1;
    size_t k = 0;
    for (; k + LANES <= n; k += LANES) {
        float x[LANES];
        for (int i = 0; i < LANES; i++) x[i] = clampf(grid(w[k + i], scale, lo, hi), lo, hi);
        for (int i = 0; i < LANES; i++) q[k + i] = (int8_t)x[i];
    }
    for (; k < n; k++) q[k] = (int8_t)clampf(grid(w[k], scale, lo, hi), lo, hi);
}

// Sum of (w - scale * q(w))^2; gives up once it is beyond `limit`.
static double squared_error(const float *w, size_t n, float scale, int bits, double limit)
{
    const float hi = (float)((1 << (bits - 1)) - 1), lo = -hi - 1;
    double total = 0;
    for (size_t k = 0; k < n && total <= limit; k += 256) {
        size_t end = n - k < 256 ? n : k + 256, j = k;
        float lanes[LANES] = {0}, sum = 0;
        for (; j + LANES <= end; j += LANES)
            for (int i = 0; i < LANES; i++) {
                float d = w[j + i] - scale * clampf(grid(w[j + i], scale, lo, hi), lo, hi);
                lanes[i] += d * d;
            }
        for (; j < end; j++) {
            float d = w[j] - scale * clampf(grid(w[j], scale, lo, hi), lo, hi);
            sum += d * d;
        }
        for (int i = 0; i < LANES; i++) sum += lanes[i];
        total += (double)sum;
    }
    return total;
}

static float mse_scale(const float *w, size_t n, int bits, float widest)
{
    float best = widest;
    double least = squared_error(w, n, widest, bits, (double)INFINITY);
    for (int percent = 99; percent >= 70; percent--) {
        float s = widest * ((float)percent / 100.0f);
        if (s < QW_MIN_SCALE) break;
        double e = squared_error(w, n, s, bits, least);
        if (e < least) {
            least = e;
            best = s;
        }
    }
    return best;
}

// The scale that fits the integers q best, by least squares.
static float fitted_scale(const int8_t *q, const float *w, size_t n)
{
    double wq = 0, qq = 0;
    for (size_t k = 0; k < n; k++) {
        wq += (double)w[k] * q[k];
        qq += (double)(q[k] * q[k]);
    }
    return (float)(wq / (qq > 1e-30 ? qq : 1e-30));
}

static float ssz_scale(int8_t *q, const float *w, size_t n, int bits, float widest)
{
    float best = widest, s = widest;
    double least = squared_error(w, n, widest, bits, (double)INFINITY);
    for (int round = 0; round < 50; round++) {
        qw_row_round(q, w, n, s, bits);
        s = fitted_scale(q, w, n);
        if (!(s >= QW_MIN_SCALE)) break;
        double e = squared_error(w, n, s, bits, (double)INFINITY), gain = least - e;
        if (e < least) {
            least = e;
            best = s;
        }
        if (gain / (double)n < 1e-10) break;
    }
    return best;
}

float qw_row_quantize(int8_t *q, const float *w, size_t n, int bits, qw_scale_method method)
{
    float s = qw_row_amax(w, n) / (float)((1 << (bits - 1)) - 1);
    if (s < QW_MIN_SCALE) s = QW_MIN_SCALE;
    if (method == QW_SCALE_AUTO) method = bits == 8 ? QW_SCALE_MINMAX : QW_SCALE_MSE;
    if (method == QW_SCALE_MSE) s = mse_scale(w, n, bits, s);
    if (method == QW_SCALE_SSZ) s = ssz_scale(q, w, n, bits, s);
    qw_row_round(q, w, n, s, bits);
    return s;
}

static float group_scale(const float *w1, size_t group, bool search)
{
    float widest = rne(qw_row_amax(w1, group) / 7.0f);
    if (widest < 1) widest = 1;
    float best = widest;
    if (!search) return best;
    double least = squared_error(w1, group, widest, 4, (double)INFINITY);
    for (float s = widest - 1; s >= 1 && s >= 0.7f * widest; s--) {
        double e = squared_error(w1, group, s, 4, least);
        if (e < least) {
            least = e;
            best = s;
        }
    }
    return best;
}

void qw_row_quantize_two_level(int8_t *q, float *s1, float *s2, const float *w, size_t n,
                               size_t group, qw_scale_method method, float *scratch)
{
    float s = qw_row_amax(w, n) / (float)QW_TWO_LEVEL_MAX;
    if (s < QW_MIN_SCALE) s = QW_MIN_SCALE;
    for (size_t k = 0; k < n; k++) scratch[k] = rne(w[k] / s);
    for (size_t g = 0; g < n / group; g++) {
        const float *w1 = scratch + g * group;
        s2[g] = group_scale(w1, group, method != QW_SCALE_MINMAX);
        qw_row_round(q + g * group, w1, group, s2[g], 4);
    }
    *s1 = s;
}

void qw_int4_pack_rows(int8_t *out, const int8_t *even, const int8_t *odd, size_t n)
{
    for (size_t k = 0; k < n; k++)
        out[k] = (int8_t)(uint8_t)((even[k] & 0xF) | (odd[k] & 0xF) << 4);
}

void qw_int4_scale_bias(float *out, size_t n_slices, const int8_t *q, size_t n, float s1,
                        const float *s2, size_t group)
{
    size_t width = n / n_slices;
    for (size_t j = 0; j < n_slices; j++) {
        double sum = 0;
        for (size_t k = j * width; k < (j + 1) * width; k++)
            sum += s2 ? (double)q[k] * (double)s2[k / group] : (double)q[k];
        out[j] = (float)(8 * sum * (double)s1);
    }
}
