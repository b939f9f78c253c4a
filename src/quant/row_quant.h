#ifndef QW_QUANT_ROW_QUANT_H
#define QW_QUANT_ROW_QUANT_H

// Symmetric integer quantization of a weight's rows (quantization.md 7.1). All in fp32, rounding to
// nearest even; a row's result depends on nothing but the row. Weights are finite.
#include "base/status.h"

/** How the scale of a row is found. */
typedef enum qw_scale_method {
    QW_SCALE_AUTO,   /* MINMAX for 8 bits, MSE for 4 */
    QW_SCALE_MINMAX, /* the largest magnitude is the largest integer */
    QW_SCALE_MSE,    /* the best of 1.00, 0.99, ... 0.70 times that, by squared error */
    QW_SCALE_SSZ,    /* least squares in turns with rounding, up to 50 times */
} qw_scale_method;

/** Smallest scale: what fp32 calls epsilon. */
#define QW_MIN_SCALE 1.1920929e-07f
/** First level of two-level int4: 7 * 17, so that a group's scale is a whole number up to 17. */
#define QW_TWO_LEVEL_MAX 119

/** Largest magnitude of w[n]; infinity or NaN if there is one of them. */
float qw_row_amax(const float *w, size_t n);

/** q = clamp(rne(w / scale), -2^(bits-1), 2^(bits-1) - 1). */
void qw_row_round(int8_t *q, const float *w, size_t n, float scale, int bits);

/** Quantize w[n] to `bits` (8 or 4) with one scale, which is returned. */
float qw_row_quantize(int8_t *q, const float *w, size_t n, int bits, qw_scale_method method);

/**
 * Two-level int4 (W4A8 per group): w = q * s2[k / group] * *s1, s2 whole numbers 1 .. 17. MINMAX
 * takes a group's largest magnitude for its s2; MSE and AUTO the best of that and the smaller ones
 * down to 0.7 times it. `group` divides n; `scratch` holds n floats.
 */
void qw_row_quantize_two_level(int8_t *q, float *s1, float *s2, const float *w, size_t n,
                               size_t group, qw_scale_method method, float *scratch);

/** Two rows of int4 into one of bytes: `even` in the low nibbles, `odd` in the high ones. */
void qw_int4_pack_rows(int8_t *out, const int8_t *even, const int8_t *odd, size_t n);

/**
 * What the other engine's int4 product adds (quantization.md 3.5): out[j] = 8 * the sum of q * s1
 * (* s2) over the j-th of n_slices equal parts of the row. s2 NULL: one level.
 */
void qw_int4_scale_bias(float *out, size_t n_slices, const int8_t *q, size_t n, float s1,
                        const float *s2, size_t group);

#endif
