#ifndef QW_ENGINE_TOPK_H
#define QW_ENGINE_TOPK_H

#include "base/status.h"

/**
 * The k largest of a row of floats without sorting it (cpu-kernels 3.8): maxima of panels of 16,
 * the k-th largest of those as a threshold that at least k elements reach, then only the panels
 * that reach it. Exact. Scratch for one row length; one thread at a time.
 */
typedef struct qw_topk {
    size_t n, n_panels; /* elements of a row, panels of 16 */
    float *panel_max;   /* [n_panels] of the row scanned last */
    uint32_t *keys;     /* [n] */
} qw_topk;

QW_MUST_CHECK qw_status qw_topk_init(qw_topk *t, size_t n, qw_error *err);
void qw_topk_release(qw_topk *t);

/** Fill panel_max from z [n] and return the maximum; *has_nan tells of any NaN (then the maximum
 *  means nothing). */
float qw_topk_scan(qw_topk *t, const float *z, bool *has_nan);

/** The lowest index whose element equals `max`, the result of the scan of z. */
size_t qw_topk_argmax(const qw_topk *t, const float *z, float max);

/** How many elements of z, the row scanned last, are at least `least`. */
size_t qw_topk_count(const qw_topk *t, const float *z, float least);

/**
 * Indices of the elements of z that are at least the k-th largest, ascending, into ids [n]; returns
 * how many: k, or more when elements tie with the k-th. Elements of -inf are never selected. z has
 * just been scanned and has no NaN; k >= 1.
 */
size_t qw_topk_select(qw_topk *t, int32_t *ids, const float *z, size_t k);

#endif
