#ifndef QW_BENCH_PROFILE_H
#define QW_BENCH_PROFILE_H

#include "backend/backend.h"

/** Kinds of operations whose time is told apart. */
typedef enum qw_profile_part {
    QW_PROFILE_PRODUCTS,
    QW_PROFILE_ATTENTION,
    QW_PROFILE_NORMS, /* norms, rotation, cache write */
    QW_PROFILE_OTHER, /* embedding, gathering of rows */
    QW_PROFILE_PLANS, /* whole plans: what they are made of is not told apart */
    QW_PROFILE_N_PARTS,
} qw_profile_part;

/**
 * A device that hands every operation on to another one and adds up how long it took: what a model
 * runs on to see where its time goes. One thread, the one that runs the model.
 */
typedef struct qw_profile {
    qw_backend base; /* what the model gets */
    qw_backend *inner;
    int64_t ns[QW_PROFILE_N_PARTS];
    int64_t n_calls; /* of all operations */
} qw_profile;

/** `inner` is borrowed and is not closed. */
void qw_profile_init(qw_profile *p, qw_backend *inner);

#endif
