#ifndef QW_CLI_MODEL_OPTIONS_H
#define QW_CLI_MODEL_OPTIONS_H

#include "base/opt.h"
#include "engine/engine.h"

/** What every command that runs a model can be told (cli-and-bench.md 2.1 to 2.3). */
typedef struct qw_model_options {
    const char *model;                   /* directory or hub id; NULL: the built-in model */
    const char *download_dir, *revision; /* where and what a hub id is looked for: may be NULL */
    const char *tokenizer, *chat_template, *pack_cache;
    int64_t max_model_len, max_num_seqs, max_num_batched_tokens, block_size, cpu_threads;
    int64_t kv_cache_memory_bytes, num_gpu_blocks_override;
    double gpu_memory_utilization;
    int64_t dummy_seed;
    bool verify_pack;
    int load_format, dtype, kv_cache_dtype, dummy_quantization, lm_head_dtype;
    const char *cpu_isa;
    qw_opt_json hf_overrides, override_generation_config;
    const char *generation_config; /* auto, vllm or a directory */
} qw_model_options;

/** Rows whose offsets are in qw_model_options. */
const qw_opt *qw_model_options_rows(size_t *n_rows);

/** Texts that the engine options made of them point to. Release with qw_engine_args_release. */
typedef struct qw_engine_args {
    qw_engine_options options;
    char *model_dir, *hf_overrides, *generation_overrides;
    char *cache_dir; /* of compiled tokenizers and packed weights; NULL: nothing is kept */
} qw_engine_args;

/** Find the model directory and write out the JSON options. Nothing is opened. */
QW_MUST_CHECK qw_status qw_engine_args_make(qw_engine_args *out, const qw_model_options *o,
                                            qw_error *err);
void qw_engine_args_release(qw_engine_args *a);

/** The model's sampling defaults, empty under --generation-config vllm. */
qw_sampling_defaults qw_model_options_defaults(const qw_model_options *o,
                                               const qw_generation_config *g);

#endif
