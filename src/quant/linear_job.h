#ifndef QW_QUANT_LINEAR_JOB_H
#define QW_QUANT_LINEAR_JOB_H

// From a stored float matrix to the bytes of its quantized form: factors, rotations, rounding.
#include "base/thread.h"
#include "base/str.h"
#include "format/safetensors.h"
#include "quant/rotation.h"
#include "quant/row_quant.h"

/** How a Linear is to be stored (quantization.md 3). */
typedef enum qw_target {
    QW_TARGET_FLOAT,
    QW_TARGET_W8A8, /* static activations */
    QW_TARGET_W8A8_DYNAMIC,
    QW_TARGET_W8A8_MIX,
    QW_TARGET_W8A16,
    QW_TARGET_W4A8,
    QW_TARGET_W4A4,
    QW_TARGET_FLATQUANT,
    QW_N_TARGETS,
} qw_target;

/** The description's word: "W8A8_DYNAMIC". */
const char *qw_target_name(qw_target t);
/** False if `name` is none of them. */
bool qw_target_from_name(qw_target *out, qw_str name);
/** Bits of a weight; 0 for FLOAT. */
int qw_target_bits(qw_target t);
/** W8A8 and W8A8_MIX: the range of the input must be known. */
bool qw_target_is_static(qw_target t);

/**
 * A matrix and what becomes of it, in this order, in fp32:
 *   w[r][k] * row_factor[r] * col_factor[k],  rows from the right by `in_rotation`,
 *   columns by `out_rotation`, then rounding
 * A rotation of order n turns each n values, so n must divide the width (the height).
 */
typedef struct qw_linear_job {
    const qw_stored_tensor *weight; /* BF16, F16 or F32; a vector is one row */
    size_t out, in;
    const float *row_factor, *col_factor;          /* [out], [in]; NULL: ones */
    const qw_rotation *in_rotation, *out_rotation; /* NULL: none */
    qw_target target;
    qw_dtype float_dtype; /* of a FLOAT target: BF16, F16 or F32 */
    qw_scale_method method;
    size_t group;    /* W4A8: columns that share a second-level scale; 0: one level */
    size_t n_slices; /* W4A8: columns of scale_bias, 1 or 16 */
} qw_linear_job;

/** What a job tells about its rows. Members that the target does not have are not written. */
typedef struct qw_linear_rows {
    float *scale;      /* [out]: weight_scale */
    float *second;     /* [out][in / group]: weight_scale_second */
    float *scale_bias; /* [out][n_slices] */
    int64_t *sum;      /* [out]: sum of a row's integers */
} qw_linear_rows;

/** Takes `size` bytes of the weight that belong at `offset`, in order. */
typedef qw_status qw_linear_job_sink(void *ctx, size_t offset, const void *data, size_t size,
                                     qw_error *err);

/**
 * Run a job: hand all bytes of the stored weight to `sink` (int8; two rows a byte for W4A8, whose
 * `out` is even; floats for FLOAT) and fill in `rows`. The result does not depend on the pool's
 * size. QW_ERR_FORMAT: the weight holds a NaN or an infinity.
 */
QW_MUST_CHECK qw_status qw_linear_job_run(const qw_linear_job *job, qw_thread_pool *pool,
                                          qw_linear_rows *rows, qw_linear_job_sink *sink,
                                          void *sink_ctx, qw_error *err);

/** max[k] = max(max[k], |w[r][k] * row_factor[r]|) over all rows; row_factor may be NULL. */
void qw_column_amax(float *max, const qw_stored_tensor *weight, size_t out, size_t in,
                    const float *row_factor, qw_thread_pool *pool);

/** n elements of a BF16, F16 or F32 tensor from `first` on, as fp32. */
void qw_tensor_widen(float *out, const qw_stored_tensor *t, size_t first, size_t n);
/** n floats as BF16, F16 (both to nearest even) or F32 elements. */
void qw_tensor_narrow(void *out, qw_dtype dtype, const float *x, size_t n);

#endif
