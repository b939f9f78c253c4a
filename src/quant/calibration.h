#ifndef QW_QUANT_CALIBRATION_H
#define QW_QUANT_CALIBRATION_H

// What the inputs of a model's Linears look like, from running it over texts (quantization.md 7.2).
#include "format/ids.h"
#include "model/model.h"

/** What went into the Linears at one point of one layer. */
typedef struct qw_input_range {
    float *min, *max; /* [n], over all tokens */
    float *rows; /* [n_rows][n]: some of the inputs, spread over all samples; NULL: none kept */
    size_t n, n_rows;
} qw_input_range;

/** All layers: ranges[layer * QW_N_TAP_POINTS + point]. All zero: nothing is known. */
typedef struct qw_calibration {
    qw_input_range *ranges;
    int n_layers;
    qw_arena arena;
} qw_calibration;

/** Texts to run, as token ids. Borrowed. */
typedef struct qw_calibration_samples {
    const qw_ids *samples; /* [n], each of 1 .. max_len ids */
    size_t n;
} qw_calibration_samples;

/** How to run it. */
typedef struct qw_calibration_args {
    const char *model_dir, *cache_dir; /* of packed weights; cache_dir NULL: none kept */
    const char *isa;                   /* "auto" or a level */
    int n_threads;
    bool keep_rows;                 /* for FlatQuant's clip ratios */
    qw_model_progress_fn *progress; /* may be NULL; counts tokens */
    void *progress_ctx;
} qw_calibration_args;

/**
 * Run the float model over the samples, each alone, in fp32. What comes out does not depend on the
 * number of threads. Release with qw_calibration_release.
 */
QW_MUST_CHECK qw_status qw_calibration_run(qw_calibration *out, const qw_model_config *config,
                                           const qw_checkpoint *checkpoint,
                                           const qw_calibration_samples *samples,
                                           const qw_calibration_args *args, qw_error *err);
void qw_calibration_release(qw_calibration *c);

/** Keep it in a file, and take it from there. */
QW_MUST_CHECK qw_status qw_calibration_save(const qw_calibration *c, const char *path,
                                            qw_error *err);
QW_MUST_CHECK qw_status qw_calibration_load(qw_calibration *out, const qw_model_config *config,
                                            const char *path, qw_error *err);

#endif
