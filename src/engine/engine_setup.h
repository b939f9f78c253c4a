#ifndef QW_ENGINE_ENGINE_SETUP_H
#define QW_ENGINE_ENGINE_SETUP_H

#include "engine/engine.h"
#include "engine/scheduler.h"

/** What the options, the config and the checkpoint come to, before memory is spent. */
typedef struct qw_engine_setup {
    qw_compute compute;
    const char *dtype_name; /* static */
    qw_kv_layout layout;
    qw_model_limits model_limits;
    qw_scheduler_limits scheduler_limits;
    qw_memory_plan plan;
} qw_engine_setup;

/**
 * Values for the limits of a step that are 0, not given (cli-and-bench.md 2.3): 256 sequences and
 * 2048 tokens, times `factor`, made to agree with the other one and with a context of `len` tokens
 * (0: not known). Whether what was given agrees is the caller's to check.
 */
void qw_step_limits_fill(int64_t *max_num_seqs, int64_t *max_num_batched_tokens, int64_t len,
                         bool chunked_prefill, int64_t factor);

/**
 * Open the weights that the options name, or make them up. Close with qw_checkpoint_close. Errors:
 * those of the checkpoint; names that are unknown; --dummy-quantization of weights that are not.
 */
QW_MUST_CHECK qw_status qw_engine_checkpoint_open(qw_checkpoint *out, const qw_engine_options *o,
                                                  const qw_model_config *config, qw_error *err);

/** The choice of --lm-head-dtype. Errors: the name is unknown. */
QW_MUST_CHECK qw_status qw_engine_head_dtype(qw_head_dtype *out, const qw_engine_options *o,
                                             qw_error *err);

/**
 * Check the options against each other and the model, give those that were not set their values
 * (cli-and-bench.md 2.2, 2.3), and make the memory plan. Errors name the option.
 */
QW_MUST_CHECK qw_status qw_engine_setup_make(qw_engine_setup *out, const qw_engine_options *o,
                                             const qw_model_config *config,
                                             const qw_checkpoint *checkpoint, qw_error *err);

#endif
