#ifndef QW_ENGINE_EXECUTOR_H
#define QW_ENGINE_EXECUTOR_H

#include "engine/batch.h"
#include "model/model.h"

/**
 * Runs steps: the model's forward pass, the logits of the rows that are sampled, and the choice of
 * their tokens. On the thread that submits, or on one of its own, which then drives the compute
 * pool while the engine thread prepares the next step. Waiting threads sleep.
 *
 * While a step runs, the model, the sampler, the pages, the batch, and of its sequences the
 * sampler states, block tables (up to what the step uses) and this batch's logprobs are the
 * executor's. Nothing is allocated.
 */
typedef struct qw_executor qw_executor;

typedef struct qw_executor_args {
    qw_model *model;
    const qw_kv_cache *kv;
    qw_sampler *sampler;
    int32_t max_logit_rows; /* that the model takes in one call */
    bool own_thread;
} qw_executor_args;

/** Everything in `args` is borrowed until qw_executor_free. Errors: no memory, no thread (io). */
QW_MUST_CHECK qw_status qw_executor_new(qw_executor **out, const qw_executor_args *args,
                                        qw_error *err);
/** No step may be running. NULL is fine. */
void qw_executor_free(qw_executor *x);

/** Start a step; with no thread of its own, run it. Only one at a time. */
void qw_executor_submit(qw_executor *x, qw_batch *batch);
/** Wait until the step has run; its results are in the batch. */
void qw_executor_wait(qw_executor *x);

#endif
