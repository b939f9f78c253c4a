#ifndef QW_BACKEND_CPU_CPU_LINEAR_H
#define QW_BACKEND_CPU_CPU_LINEAR_H

// What the products of one matrix and those of experts share.

#include "backend/cpu/cpu_device.h"

/** A product, as its items see it. */
typedef struct cpu_linear_job {
    const cpu_device *device;
    float *y;
    size_t y_stride;
    const float *x;
    size_t x_stride;
    const qw_linear *w;
    const cpu_extent *extent;
    size_t n_groups; /* of panels: the items */
    qw_epilogue epilogue;
    bool round;
    qw_gemm_fn *gemm;                 /* float weights, */
    qw_gemm_int_fn *gemm_int;         /* or integers and quantized rows, */
    qw_gemm_widened_fn *gemm_widened; /* or integers and x */
    qw_int_rows rows;                 /* quantized */
    float *row_scales;
} cpu_linear_job;

/** Set the kernel for the job's weights. */
void qw_cpu_linear_choose(cpu_linear_job *job);
/** The outputs of one group of panels for the first n_rows rows. */
void qw_cpu_linear_group(const cpu_linear_job *job, size_t group, size_t n_rows, int i_thread);

/** Where a product keeps its quantized rows, the same for all threads. */
typedef struct cpu_quantize_job {
    const cpu_device *device;
    const float *x;
    size_t x_stride;
    qw_made_rows made; /* norm or up set: rows are made of x first, */
    bool round;        /* and so rounded */
    const qw_linear *w;
    uint8_t *q;
    size_t stride;
    int32_t *sums;
    size_t n_sums;
    float *scales;
    bool widen; /* to 16-bit pairs */
} cpu_quantize_job;

/** The layout of n_rows rows for products with `w`. */
cpu_quantize_job qw_cpu_quantize_job(const cpu_device *d, const float *x, size_t x_stride,
                                     const qw_linear *w, int n_rows);
/** Row i becomes x, quantized as the input of `w`, which has the layout's shapes. */
void qw_cpu_quantize_row(const cpu_quantize_job *job, const qw_linear *w, size_t i, const float *x,
                         int i_thread);

#endif
