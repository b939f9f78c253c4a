#ifndef QW_MODEL_PLAN_SIZES_H
#define QW_MODEL_PLAN_SIZES_H

#include "base/status.h"

enum { QW_PLAN_SIZES_MAX = 512 };

/** What the user says about the sizes of step plans (features.md 1H). */
typedef struct qw_plan_sizes_input {
    const int64_t *sizes; /* cudagraph_capture_sizes as given; NULL: not given */
    size_t n_sizes;
    int64_t max_size; /* max_cudagraph_capture_size; -1: not given */
    int32_t max_rows; /* rows of the largest decode step: max_num_seqs * (draft tokens + 1), >= 1 */
} qw_plan_sizes_input;

/**
 * The sizes plans are made for: ascending, all different, the last one `max_rows`, so that every
 * decode step finds a plan. n 0: plans are off.
 */
typedef struct qw_plan_sizes {
    int32_t sizes[QW_PLAN_SIZES_MAX];
    size_t n;
    // What became of the list that was given, for the log:
    size_t n_repeated;  /* entries that were there already */
    size_t n_above;     /* entries above max_rows, which no step can fill */
    bool is_last_added; /* max_rows was not in the list */
} qw_plan_sizes;

/**
 * Decide the sizes. Without a list: 1, 2, 4, then steps of 8 below 256 and steps of 16 from there,
 * up to max_size or else min(max_rows, 512). A max_size of 0 and an empty list turn plans off, as
 * vLLM does. Errors (usage): a size below 1, more than QW_PLAN_SIZES_MAX different ones, a max_size
 * below 0 or one that is not the largest of the list. Pure: nothing but `out` and `err` is written.
 */
QW_MUST_CHECK qw_status qw_plan_sizes_make(qw_plan_sizes *out, const qw_plan_sizes_input *in,
                                           qw_error *err);

#endif
