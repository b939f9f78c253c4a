#ifndef QW_ENGINE_ENGINE_H
#define QW_ENGINE_ENGINE_H

#include "engine/memory_plan.h"
#include "engine/request.h"
#include "format/generation_config.h"
#include "format/tokenizer.h"
#include "model/model.h"

/** What every command that runs a model can set. Strings are borrowed for qw_engine_open. */
typedef struct qw_engine_options {
    const char *model_dir;
    const char *hf_overrides;                /* JSON text or NULL */
    const char *generation_config_overrides; /* JSON text or NULL */
    const char *load_format;                 /* auto, safetensors, dummy */
    uint64_t dummy_seed;                     /* of the weights under load_format dummy */
    const char *dummy_quantization;          /* how these are stored: NULL, none, w8a8, ... */
    const char *lm_head_dtype;               /* auto, int8, float */
    const char *pack_cache_dir;              /* where packed weights are kept; NULL: nowhere */
    bool verify_pack;                        /* hash all kept packed weights before using them */
    const char *dtype;                       /* auto, bfloat16, float32, float16, half, float */
    const char *kv_cache_dtype;              /* auto, bfloat16, float32, int8 */
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
    bool enable_prefix_caching;              /* find computed prefixes again */
    bool async_scheduling;           /* prepare a step while another runs, on a thread of its own */
    const char *scheduling_policy;   /* fcfs, priority */
    bool enable_chunked_prefill;     /* a prompt may be spread over steps */
    bool scheduler_reserve_full_isl; /* admit a prompt only if all of it fits */
    int32_t long_prefill_token_threshold; /* most tokens of a sequence in a step; 0: no limit */
    int32_t max_num_partial_prefills;     /* prompts under way at once, >= 1 */
    int32_t max_long_partial_prefills;    /* of these, longer than the threshold */
    int32_t think_start_id, think_end_id; /* of thinking_token_budget; -1: the model has none */
    int32_t eos_token_id;                 /* the tokenizer's EOS: ends silently; -1: no tokenizer */
    int32_t n_token_ids; /* ids from here on have no token and are never sampled; 0: all do */
    qw_model_progress_fn *progress; /* may be NULL */
    void *progress_ctx;
} qw_engine_options;

/** The defaults. */
qw_engine_options qw_engine_options_default(void);
/** Set eos_token_id and n_token_ids to the tokenizer's. */
void qw_engine_options_use_tokenizer(qw_engine_options *o, const qw_tokenizer *tokenizer);

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
/** Append what each kind of layer is stored as and which kernel runs it, a line each. */
void qw_engine_describe_layers(const qw_engine *e, qw_buf *out);

/** How things stand. */
typedef struct qw_engine_stats {
    int32_t n_running, n_waiting;    /* sequences */
    int32_t n_blocks, n_blocks_used; /* used: held by a sequence; what is only cached is free */
    uint64_t n_prefix_queries, n_prefix_hits; /* tokens looked up and found at first admissions */
    uint64_t n_preemptions;
    uint64_t n_steps;
    uint64_t n_prompt_tokens;    /* prompt positions computed, recomputed ones again */
    uint64_t n_generated_tokens; /* told */
} qw_engine_stats;

void qw_engine_get_stats(const qw_engine *e, qw_engine_stats *out);

/** What the last call of qw_engine_step brought to an end. */
typedef struct qw_step_facts {
    int32_t n_tokens;        /* all tokens of the step; 0: no step ended */
    int32_t n_prompt_tokens; /* of these, positions of prompts */
    int32_t n_seqs;
} qw_step_facts;

qw_step_facts qw_engine_last_step(const qw_engine *e);

/** Step plans: how many, what they cost, how often they were used until the last step ended. */
const qw_step_stats *qw_engine_step_stats(const qw_engine *e);

/*
 * One thread at a time, called the engine thread, makes all calls, and the sinks are called on it.
 */

/**
 * Queue a request. `params` is moved in on success; `options` NULL: the defaults; `*id` (may be
 * NULL) names it for qw_engine_cancel. QW_ERR_USAGE when the prompt is empty, holds ids outside the
 * vocabulary, or leaves no room in the context, or when there is a thinking_token_budget and the
 * model has no ids for it. A refused request's sink is never called.
 */
QW_MUST_CHECK qw_status qw_engine_submit(qw_engine *e, const int32_t *prompt, size_t n_prompt,
                                         qw_sampling_params *params,
                                         const qw_submit_options *options,
                                         const qw_request_sink *sink, uint64_t *id, qw_error *err);
/**
 * Withdraw all children of a request, wherever they are. Its blocks are free on return. Of its
 * sink only `done` is called, before the return; tokens not yet told are not told any more. An id
 * that is unknown or whose request is done: nothing happens.
 */
void qw_engine_cancel(qw_engine *e, uint64_t id);
/** Show every child that waits or runs, in no particular order. */
void qw_engine_each(const qw_engine *e, void (*fn)(void *ctx, const qw_sequence *seq), void *ctx);
/** What was computed so far is not found again by later requests. Running ones go on. */
void qw_engine_reset_prefix_cache(qw_engine *e);

/**
 * Go on by at most one step. False when there was nothing to do: nothing queued, running or left to
 * tell.
 *
 * Without async_scheduling a call schedules a step, runs it and tells its results. With it a call
 * tells the results of the step before, schedules the next one while one runs, waits for that, and
 * hands out the next; so the results of a step are told by the call after it, and what was
 * submitted during a call enters the second step after. Tokens, logprobs and ends are the same.
 */
bool qw_engine_step(qw_engine *e);

#endif
