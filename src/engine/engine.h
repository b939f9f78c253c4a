#ifndef QW_ENGINE_ENGINE_H
#define QW_ENGINE_ENGINE_H

#include "engine/memory_plan.h"
#include "engine/request.h"
#include "format/generation_config.h"
#include "model/model.h"

/** What every command that runs a model can set. Strings are borrowed for qw_engine_open. */
typedef struct qw_engine_options {
    const char *model_dir;
    const char *hf_overrides;                /* JSON text or NULL */
    const char *generation_config_overrides; /* JSON text or NULL */
    const char *load_format;                 /* auto, safetensors, dummy */
    uint64_t dummy_seed;                     /* of the weights under load_format dummy */
    const char *pack_cache_dir;              /* where packed weights are kept; NULL: nowhere */
    bool verify_pack;                        /* hash all kept packed weights before using them */
    const char *dtype;                       /* auto, bfloat16, float32, float16, half, float */
    const char *kv_cache_dtype;              /* auto, bfloat16, float32 */
    const char *cpu_isa;                     /* auto, ref, avx2, ... */
    int32_t cpu_threads;                     /* 0: one per usable physical core */
    int32_t max_model_len;                   /* 0: the model's own; -1: what fits */
    int32_t max_num_seqs;                    /* 0: 256, or fewer */
    int32_t max_num_batched_tokens;          /* 0: 2048, or fewer */
    bool no_step_plans;                      /* cudagraph_mode NONE: operation by operation */
    const int64_t *capture_sizes;            /* of decode steps to plan; NULL: the defaults */
    size_t n_capture_sizes;                  /* 0 with a list: none are planned */
    int64_t max_capture_size;                /* max_cudagraph_capture_size; -1: not given */
    int32_t block_size;                      /* 16 .. 128, a multiple of 16 */
    double gpu_memory_utilization;           /* (0, 1] */
    int64_t kv_cache_memory_bytes;           /* 0: by the fraction */
    int32_t num_gpu_blocks_override;         /* 0: none */
    int64_t seed;                            /* base of unseeded sampling */
    int32_t eos_token_id; /* the tokenizer's EOS: ends silently; -1: no tokenizer */
    int32_t n_token_ids;  /* ids from here on have no token and are never sampled; 0: all do */
    qw_model_progress_fn *progress; /* may be NULL */
    void *progress_ctx;
} qw_engine_options;

/** The defaults. */
qw_engine_options qw_engine_options_default(void);

typedef struct qw_engine qw_engine;

/**
 * Read the configuration, make the memory plan, and only then load the weights. Nothing is computed
 * yet. Errors are those of the readers, of the plan and of the loader.
 */
QW_MUST_CHECK qw_status qw_engine_open(qw_engine **out, const qw_engine_options *options,
                                       qw_error *err);
/** Withdraws what is still running (its sinks are told) and frees everything. */
void qw_engine_close(qw_engine *e);

const qw_model_config *qw_engine_config(const qw_engine *e);
const qw_generation_config *qw_engine_generation_config(const qw_engine *e);
const qw_memory_plan *qw_engine_plan(const qw_engine *e);
const qw_backend *qw_engine_backend(const qw_engine *e);
const char *qw_engine_dtype_name(const qw_engine *e);
/** Step plans: how many, what they cost, how often they were used. Current between steps. */
const qw_step_stats *qw_engine_step_stats(const qw_engine *e);
uint64_t qw_engine_n_preemptions(const qw_engine *e);

/**
 * Queue a request. `params` is moved in on success. QW_ERR_USAGE when the prompt is empty, holds
 * ids outside the vocabulary, or leaves no room in the context.
 */
QW_MUST_CHECK qw_status qw_engine_submit(qw_engine *e, const int32_t *prompt, size_t n_prompt,
                                         qw_sampling_params *params, const qw_request_sink *sink,
                                         qw_error *err);
/** Run one step and tell the sinks. False when nothing is queued or running. */
bool qw_engine_step(qw_engine *e);

#endif
