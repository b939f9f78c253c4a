#ifndef QW_QUANT_SMOOTHING_H
#define QW_QUANT_SMOOTHING_H

// Moving outliers from activations into weights (quantization.md 7.3; iter_smooth, symmetric).
#include "quant/calibration.h"
#include "quant/quant_plan.h"

/** s[k] = max(amax[k]^alpha / max(weight_amax[k], 1e-5)^(1 - alpha), 1e-5); 1 where amax is 0, as a
 *  channel that is always zero tells nothing. `s` may be `weight_amax`. */
void qw_smooth_scales(float *s, const float *amax, const float *weight_amax, size_t n,
                      double alpha);

/**
 * The factors of one layer's tensors. A consumer's columns are multiplied and its producer divided:
 * by the norm's weight, rows of v, rows of up. NULL: ones. Owned.
 */
typedef struct qw_layer_factors {
    float *columns[QW_N_TAP_POINTS]; /* of the Linears that read there */
    float *norms[2];                 /* [hidden]: input norm, post attention norm */
    float *v_rows, *up_rows;         /* factors: 1 / s */
} qw_layer_factors;

/**
 * Work out the factors of a layer: up-down, v-o, then norms, each with what the ones before have
 * changed. A group whose consumers keep float activations is left alone. `alpha` < 0: by the bits
 * of the consumers' weights, 0.9 for 8, 0.5 for 4. The norms' own rounding to the model's dtype is
 * made good by their consumers: factor = old weight / new weight as stored.
 */
QW_MUST_CHECK qw_status qw_smooth_layer(qw_layer_factors *out, const qw_quant_plan *p, int layer,
                                        const qw_calibration *calibration, double alpha,
                                        qw_thread_pool *pool, qw_error *err);
void qw_layer_factors_release(qw_layer_factors *f);

/** Where a Linear of this role listens; QW_N_TAP_POINTS for a role that reads no such input. */
qw_tap_point qw_role_point(qw_role role);

#endif
