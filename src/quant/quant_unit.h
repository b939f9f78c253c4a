#ifndef QW_QUANT_QUANT_UNIT_H
#define QW_QUANT_QUANT_UNIT_H

// The work itself: the tensors of one unit of a plan, computed and written.
#include "quant/quant_output.h"
#include "quant/smoothing.h"

/** What all units share. */
typedef struct qw_quant_work {
    const qw_quant_plan *plan;
    qw_quant_output *output;
    qw_thread_pool *pool;
    const qw_calibration *calibration; /* NULL: there is none */
    bool smooth;                       /* with a calibration; not in a rotated plan */
    double alpha;                      /* of smoothing; < 0: by the weights' bits */
    qw_rotation residual, value;       /* of a rotated plan: hidden_size, head_dim */
} qw_quant_work;

/** Make what a plan needs for all units. Release with qw_quant_work_release. */
QW_MUST_CHECK qw_status qw_quant_work_init(qw_quant_work *w, const qw_quant_plan *plan,
                                           qw_error *err);
void qw_quant_work_release(qw_quant_work *w);

/** Compute and write every tensor of a unit. */
QW_MUST_CHECK qw_status qw_quant_unit_run(qw_quant_work *w, size_t unit, qw_error *err);

/**
 * Scale and offset of an input that lies in min .. max (quantization.md 7.1): 0 is made part of the
 * range; s = (max - min) / 255, z = rne(-min / s) - 128.
 */
void qw_static_range(float *scale, int *offset, float min, float max);

/** quant_bias: the offset's share and the Linear's own bias, in units of deq_scale. */
int32_t qw_static_bias(int64_t row_sum, int offset, float bias, float deq_scale);

#endif
