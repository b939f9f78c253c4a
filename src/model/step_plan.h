#ifndef QW_MODEL_STEP_PLAN_H
#define QW_MODEL_STEP_PLAN_H

#include "backend/backend.h"

/** Plans of one kind of step, for different numbers of rows. All zero: there are none. */
typedef struct qw_step_plans {
    qw_plan **plans; /* [n], ascending max_rows */
    size_t n;
    size_t size;          /* bytes of all of them */
    int64_t build_ns;     /* time it took to make them, */
    int64_t max_build_ns; /* and the one that took longest */
} qw_step_plans;

/** As qw_plan_calls, for a step of `n_rows` rows. */
typedef void qw_step_calls(void *ctx, qw_backend *recorder, int n_rows);

/**
 * Make a plan for each of the sizes (ascending, all different, >= 1) up to the first one that holds
 * `max_rows`, which is made for max_rows. Errors: no memory; then `out` is as it was.
 */
QW_MUST_CHECK qw_status qw_step_plans_make(qw_step_plans *out, qw_backend *be, const int32_t *sizes,
                                           size_t n_sizes, int max_rows, qw_step_calls *calls,
                                           void *ctx, qw_error *err);
/** All zero is fine. */
void qw_step_plans_release(qw_step_plans *p, qw_backend *be);

/** The smallest plan that holds n_rows rows; NULL when none does. */
qw_plan *qw_step_plans_find(const qw_step_plans *p, int n_rows);

#endif
