#ifndef QW_QUANT_QUANTIZE_H
#define QW_QUANT_QUANTIZE_H

// A float checkpoint into one in msModelSlim's ("ascend") formats: quantization.md part B.
#include "quant/calibration.h"
#include "quant/quant_plan.h"

/** Progress: `done` of `total` bytes of the source, or tokens while calibrating. */
typedef void qw_quantize_progress_fn(void *ctx, const char *what, uint64_t done, uint64_t total);

/** What to do. Strings are borrowed. */
typedef struct qw_quantize_options {
    const char *src, *dst;
    qw_quant_choices choices;
    const qw_calibration_samples *samples; /* NULL: no calibration */
    bool smooth;                           /* with samples */
    double alpha;                          /* of smoothing; < 0: by the weights' bits */
    bool resume;
    int n_threads;                     /* 0: one per core */
    const char *cache_dir;             /* of packed weights, for calibration; may be NULL */
    qw_quantize_progress_fn *progress; /* may be NULL */
    void *progress_ctx;
} qw_quantize_options;

/** What was written. */
typedef struct qw_quantize_result {
    uint64_t source_bytes, bytes; /* of all tensors */
    size_t n_linears[QW_N_TARGETS];
    size_t n_parts;
} qw_quantize_result;

/**
 * Quantize `src` into the new directory `dst`, which appears complete or not at all
 * (quant/quant_output.h). The same input and options give the same bytes, on any number of threads
 * and in any number of runs. Errors: `src` is quantized already; a static type without samples; and
 * those of the plan, the output and the calibration.
 */
QW_MUST_CHECK qw_status qw_quantize(qw_quantize_result *out, const qw_quantize_options *options,
                                    qw_error *err);

#endif
