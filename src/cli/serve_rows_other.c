// Options of vLLM that have no field here: accepted so that command lines written for it start, or
// refused where ignoring them would change what is served. Sources: vLLM's `serve --help=all` of
// 0.22 and 0.32, and what its releases before had (cli-and-bench.md 1.3).
#include "cli/serve_rows.h"

#define ROW(name_, type_, group_, effect_, why_)                                                   \
    {                                                                                              \
        name_, type_, QW_OPT_NO_FIELD, .group = group_, .effect = QW_OPT_##effect_, .why = why_    \
    }
#define SHORT_ROW(name_, short_, type_, group_, effect_, why_)                                     \
    {                                                                                              \
        name_, type_, QW_OPT_NO_FIELD, .shorts = short_, .group = group_,                          \
                                       .effect = QW_OPT_##effect_, .why = why_                     \
    }
#define OLD_ROW(name_, type_, why_)                                                                \
    {                                                                                              \
        name_, type_, QW_OPT_NO_FIELD, .effect = QW_OPT_WARNED, .why = why_, .hidden = true        \
    }

#define GPU "it is for accelerators; this computes on the CPU"
#define PYTHON "it names Python code, and there is no Python here"
#define NO_HUB "nothing is downloaded"
#define ONE_RANK "1 rank runs in this process"
#define ONE_HOST "all runs on this host"
#define NO_MEDIA "not built yet: models here take text only"
#define NO_LORA "LoRA adapters are not built; merge them into the checkpoint"
#define NO_TRANSFER "KV caches are not sent to other servers; run one server"
#define OTHER_MODEL "it is for models that do not run here"
#define HOST_MEMORY "all memory is host memory; --gpu-memory-utilization divides it"
#define OWN_GRAMMAR "structured outputs have one backend, and requests set the rest"
#define NO_TRACES "traces are not written; /metrics has the numbers"
#define GONE "vLLM has removed it"

static const qw_opt rows[] = {
    // ModelConfig
    ROW("tokenizer_mode", QW_OPT_STR, "ModelConfig", INERT, "tokenizer.json is read natively"),
    ROW("tokenizer_revision", QW_OPT_STR, "ModelConfig", INERT, NO_HUB),
    ROW("code_revision", QW_OPT_STR, "ModelConfig", INERT, "no code of a checkpoint is ever run"),
    ROW("hf_token", QW_OPT_STR, "ModelConfig", INERT, NO_HUB),
    ROW("hf_config_path", QW_OPT_STR, "ModelConfig", REFUSED,
        "config.json is read from the model's directory; put it there, or name what differs by "
        "--hf-overrides"),
    ROW("config_format", QW_OPT_STR, "ModelConfig", INERT, "config.json says all that is needed"),
    ROW("model_impl", QW_OPT_STR, "ModelConfig", INERT, "there is one implementation"),
    ROW("model_class_overrides", QW_OPT_STR, "ModelConfig", REFUSED, PYTHON),
    ROW("convert", QW_OPT_STR, "ModelConfig", INERT, "models here generate"),
    ROW("pooler_config", QW_OPT_JSON, "ModelConfig", INERT, "models here generate"),
    ROW("skip_tokenizer_init", QW_OPT_BOOL, "ModelConfig", WARNED,
        "the tokenizer is loaded when the model has one"),
    ROW("enable_prompt_embeds", QW_OPT_BOOL, "ModelConfig", WARNED,
        "prompts are texts, messages or token ids"),
    ROW("enable_sleep_mode", QW_OPT_BOOL, "ModelConfig", WARNED, "the server does not sleep"),
    ROW("enable_return_routed_experts", QW_OPT_BOOL, "ModelConfig", WARNED,
        "not built yet: answers do not tell the experts of their tokens"),
    ROW("enable_cumem_allocator", QW_OPT_BOOL, "ModelConfig", INERT, GPU),
    ROW("disable_sliding_window", QW_OPT_BOOL, "ModelConfig", INERT,
        "every layer attends to the whole context"),
    ROW("disable_cascade_attn", QW_OPT_BOOL, "ModelConfig", INERT, GPU),
    ROW("allow_deprecated_quantization", QW_OPT_BOOL, "ModelConfig", INERT,
        "formats are read or refused by name"),
    ROW("quantization_config", QW_OPT_JSON, "ModelConfig", WARNED,
        "the checkpoint says how it is quantized"),
    ROW("renderer_num_workers", QW_OPT_INT, "ModelConfig", INERT, "templates are fast here"),
    ROW("use_fp64_gumbel", QW_OPT_BOOL, "ModelConfig", INERT,
        "samples are drawn by Philox and an exact race"),
    ROW("logits_processors", QW_OPT_STRS, "ModelConfig", REFUSED, PYTHON),
    ROW("io_processor_plugin", QW_OPT_STR, "ModelConfig", REFUSED, PYTHON),
    ROW("allowed_local_media_path", QW_OPT_STR, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("allowed_media_domains", QW_OPT_STRS, "MultiModalConfig", INERT, NO_MEDIA),

    // LoadConfig
    ROW("ignore_patterns", QW_OPT_STRS, "LoadConfig", INERT, NO_HUB),
    ROW("model_loader_extra_config", QW_OPT_JSON, "LoadConfig", INERT, "weights are mapped"),
    ROW("pt_load_map_location", QW_OPT_STR, "LoadConfig", INERT, "only safetensors are read"),
    ROW("safetensors_load_strategy", QW_OPT_STR, "LoadConfig", INERT,
        "weights are mapped, as under 'lazy'"),
    ROW("safetensors_prefetch_num_threads", QW_OPT_INT, "LoadConfig", INERT, "weights are mapped"),
    ROW("safetensors_prefetch_block_size", QW_OPT_INT, "LoadConfig", INERT, "weights are mapped"),
    ROW("use_tqdm_on_load", QW_OPT_BOOL, "LoadConfig", INERT, "loading takes a moment"),

    // StructuredOutputsConfig
    ROW("structured_outputs_config", QW_OPT_JSON, "StructuredOutputsConfig", WARNED, OWN_GRAMMAR),
    ROW("reasoning_config", QW_OPT_JSON, "StructuredOutputsConfig", INERT,
        "the markers are those of the chat template"),
    ROW("reasoning_parser_plugin", QW_OPT_STR, "StructuredOutputsConfig", REFUSED, PYTHON),

    // ParallelConfig
    SHORT_ROW("data_parallel_size_local", "dpl", QW_OPT_INT, "ParallelConfig", ADJUSTED,
              "1 copy of the model serves all"),
    SHORT_ROW("data_parallel_address", "dpa", QW_OPT_STR, "ParallelConfig", INERT, ONE_HOST),
    SHORT_ROW("data_parallel_rpc_port", "dpp", QW_OPT_INT, "ParallelConfig", INERT, ONE_HOST),
    SHORT_ROW("data_parallel_backend", "dpb", QW_OPT_STR, "ParallelConfig", INERT, ONE_HOST),
    SHORT_ROW("data_parallel_rank", "dpn", QW_OPT_INT, "ParallelConfig", WARNED, ONE_RANK),
    SHORT_ROW("data_parallel_start_rank", "dpr", QW_OPT_INT, "ParallelConfig", WARNED, ONE_RANK),
    SHORT_ROW("data_parallel_hybrid_lb", "dph", QW_OPT_BOOL, "ParallelConfig", INERT, ONE_RANK),
    SHORT_ROW("data_parallel_external_lb", "dpe", QW_OPT_BOOL, "ParallelConfig", INERT, ONE_RANK),
    SHORT_ROW("api_server_count", "asc", QW_OPT_INT, "ParallelConfig", ADJUSTED,
              "1 process answers; its threads share the work"),
    SHORT_ROW("nnodes", "n", QW_OPT_INT, "ParallelConfig", INERT, ONE_HOST),
    SHORT_ROW("node_rank", "r", QW_OPT_INT, "ParallelConfig", INERT, ONE_HOST),
    ROW("master_addr", QW_OPT_STR, "ParallelConfig", INERT, ONE_HOST),
    ROW("master_port", QW_OPT_INT, "ParallelConfig", INERT, ONE_HOST),
    ROW("headless", QW_OPT_FLAG, "ParallelConfig", REFUSED,
        "there are no other nodes to follow; leave it out"),
    SHORT_ROW("decode_context_parallel_size", "dcp", QW_OPT_INT, "ParallelConfig", INERT, ONE_RANK),
    SHORT_ROW("prefill_context_parallel_size", "pcp", QW_OPT_INT, "ParallelConfig", INERT,
              ONE_RANK),
    ROW("cp_kv_cache_interleave_size", QW_OPT_INT, "ParallelConfig", INERT, ONE_RANK),
    ROW("dcp_kv_cache_interleave_size", QW_OPT_INT, "ParallelConfig", INERT, ONE_RANK),
    ROW("enable_eplb", QW_OPT_BOOL, "ParallelConfig", INERT, "1 rank holds all experts"),
    ROW("eplb_config", QW_OPT_JSON, "ParallelConfig", INERT, "1 rank holds all experts"),
    ROW("num_redundant_experts", QW_OPT_INT, "ParallelConfig", INERT, "1 rank holds all experts"),
    ROW("expert_placement_strategy", QW_OPT_STR, "ParallelConfig", INERT,
        "1 rank holds all experts"),
    ROW("enable_ep_weight_filter", QW_OPT_BOOL, "ParallelConfig", INERT,
        "1 rank holds all experts"),
    ROW("enable_elastic_ep", QW_OPT_BOOL, "ParallelConfig", INERT, "1 rank holds all experts"),
    ROW("all2all_backend", QW_OPT_STR, "ParallelConfig", INERT, "1 rank holds all experts"),
    ROW("enable_dbo", QW_OPT_BOOL, "ParallelConfig", WARNED,
        "batches are not split in two: there is no communication to hide"),
    ROW("dbo_decode_token_threshold", QW_OPT_INT, "ParallelConfig", INERT, ONE_RANK),
    ROW("dbo_prefill_token_threshold", QW_OPT_INT, "ParallelConfig", INERT, ONE_RANK),
    ROW("ubatch_size", QW_OPT_INT, "ParallelConfig", INERT, ONE_RANK),
    ROW("disable_nccl_for_dp_synchronization", QW_OPT_BOOL, "ParallelConfig", INERT, ONE_RANK),
    ROW("disable_custom_all_reduce", QW_OPT_BOOL, "ParallelConfig", INERT, ONE_RANK),
    ROW("distributed_timeout_seconds", QW_OPT_INT, "ParallelConfig", INERT, ONE_RANK),
    ROW("max_parallel_loading_workers", QW_OPT_INT, "ParallelConfig", INERT, "weights are mapped"),
    ROW("ray_workers_use_nsight", QW_OPT_BOOL, "ParallelConfig", INERT, GPU),
    ROW("worker_cls", QW_OPT_STR, "ParallelConfig", REFUSED, PYTHON),
    ROW("worker_extension_cls", QW_OPT_STR, "ParallelConfig", REFUSED, PYTHON),
    ROW("numa_bind", QW_OPT_BOOL, "ParallelConfig", WARNED,
        "not built yet: threads are bound to cores, memory is not to nodes; numactl does it"),
    ROW("numa_bind_nodes", QW_OPT_STRS, "ParallelConfig", WARNED, "not built yet; numactl does it"),
    ROW("numa_bind_cpus", QW_OPT_STRS, "ParallelConfig", WARNED,
        "not built yet; VLLM_CPU_OMP_THREADS_BIND names CPUs"),
    ROW("device_ids", QW_OPT_STR, "ParallelConfig", INERT, GPU),

    // CacheConfig, OffloadConfig
    ROW("calculate_kv_scales", QW_OPT_BOOL, "CacheConfig", INERT, "the KV cache needs no scales"),
    ROW("kv_cache_dtype_skip_layers", QW_OPT_STRS, "CacheConfig", INERT,
        "all layers have one KV dtype"),
    ROW("kv_sharing_fast_prefill", QW_OPT_BOOL, "CacheConfig", INERT, OTHER_MODEL),
    ROW("kv_cache_metrics", QW_OPT_BOOL, "ObservabilityConfig", INERT, NO_TRACES),
    ROW("kv_cache_metrics_sample", QW_OPT_FLOAT, "ObservabilityConfig", INERT, NO_TRACES),
    ROW("mamba_block_size", QW_OPT_INT, "CacheConfig", INERT, OTHER_MODEL),
    ROW("mamba_cache_dtype", QW_OPT_STR, "CacheConfig", INERT, OTHER_MODEL),
    ROW("mamba_cache_mode", QW_OPT_STR, "CacheConfig", INERT, OTHER_MODEL),
    ROW("mamba_ssm_cache_dtype", QW_OPT_STR, "CacheConfig", INERT, OTHER_MODEL),
    ROW("mamba_backend", QW_OPT_STR, "CacheConfig", INERT, OTHER_MODEL),
    ROW("cpu_offload_gb", QW_OPT_FLOAT, "OffloadConfig", WARNED, HOST_MEMORY),
    ROW("cpu_offload_params", QW_OPT_STRS, "OffloadConfig", INERT, HOST_MEMORY),
    ROW("offload_backend", QW_OPT_STR, "OffloadConfig", INERT, HOST_MEMORY),
    ROW("offload_group_size", QW_OPT_INT, "OffloadConfig", INERT, HOST_MEMORY),
    ROW("offload_num_in_group", QW_OPT_INT, "OffloadConfig", INERT, HOST_MEMORY),
    ROW("offload_prefetch_step", QW_OPT_INT, "OffloadConfig", INERT, HOST_MEMORY),
    ROW("offload_params", QW_OPT_STRS, "OffloadConfig", INERT, HOST_MEMORY),
    ROW("kv_offloading_size", QW_OPT_FLOAT, "OffloadConfig", WARNED, HOST_MEMORY),
    ROW("kv_offloading_backend", QW_OPT_STR, "OffloadConfig", INERT, HOST_MEMORY),

    // MultiModalConfig
    ROW("limit_mm_per_prompt", QW_OPT_JSON, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("media_io_kwargs", QW_OPT_JSON, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("mm_processor_kwargs", QW_OPT_JSON, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("mm_processor_cache_gb", QW_OPT_FLOAT, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("mm_processor_cache_type", QW_OPT_STR, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("mm_shm_cache_max_object_size_mb", QW_OPT_INT, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("mm_encoder_only", QW_OPT_BOOL, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("mm_encoder_tp_mode", QW_OPT_STR, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("mm_encoder_attn_backend", QW_OPT_STR, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("enable_mm_embeds", QW_OPT_BOOL, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("interleave_mm_strings", QW_OPT_BOOL, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("language_model_only", QW_OPT_BOOL, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("skip_mm_profiling", QW_OPT_BOOL, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("video_pruning_rate", QW_OPT_FLOAT, "MultiModalConfig", INERT, NO_MEDIA),
    ROW("trust_request_mm_kwargs", QW_OPT_BOOL, "MultiModalConfig", INERT, NO_MEDIA),

    // LoRAConfig
    ROW("enable_lora", QW_OPT_BOOL, "LoRAConfig", REFUSED, NO_LORA),
    ROW("lora_modules", QW_OPT_STRS, "LoRAConfig", REFUSED, NO_LORA),
    ROW("default_mm_loras", QW_OPT_JSON, "LoRAConfig", REFUSED, NO_LORA),
    ROW("max_loras", QW_OPT_INT, "LoRAConfig", INERT, NO_LORA),
    ROW("max_lora_rank", QW_OPT_INT, "LoRAConfig", INERT, NO_LORA),
    ROW("max_cpu_loras", QW_OPT_INT, "LoRAConfig", INERT, NO_LORA),
    ROW("lora_dtype", QW_OPT_STR, "LoRAConfig", INERT, NO_LORA),
    ROW("lora_extra_vocab_size", QW_OPT_INT, "LoRAConfig", INERT, NO_LORA),
    ROW("lora_target_modules", QW_OPT_STRS, "LoRAConfig", INERT, NO_LORA),
    ROW("fully_sharded_loras", QW_OPT_BOOL, "LoRAConfig", INERT, NO_LORA),
    ROW("enable_tower_connector_lora", QW_OPT_BOOL, "LoRAConfig", INERT, NO_LORA),
    ROW("specialize_active_lora", QW_OPT_BOOL, "LoRAConfig", INERT, NO_LORA),

    // ObservabilityConfig
    ROW("show_hidden_metrics_for_version", QW_OPT_STR, "ObservabilityConfig", WARNED,
        "no metric is hidden"),
    ROW("otlp_traces_endpoint", QW_OPT_STR, "ObservabilityConfig", WARNED, NO_TRACES),
    ROW("collect_detailed_traces", QW_OPT_STRS, "ObservabilityConfig", WARNED, NO_TRACES),
    ROW("cudagraph_metrics", QW_OPT_BOOL, "ObservabilityConfig", INERT, NO_TRACES),
    ROW("enable_layerwise_nvtx_tracing", QW_OPT_BOOL, "ObservabilityConfig", INERT, GPU),
    ROW("enable_mfu_metrics", QW_OPT_BOOL, "ObservabilityConfig", INERT, NO_TRACES),
    ROW("enable_logging_iteration_details", QW_OPT_BOOL, "ObservabilityConfig", INERT, NO_TRACES),
    ROW("aggregate_engine_logging", QW_OPT_FLAG, "ObservabilityConfig", INERT,
        "there is one engine"),
    ROW("enable_log_deltas", QW_OPT_BOOL, "Frontend", INERT, "outputs are logged when complete"),
    ROW("log_error_stack", QW_OPT_BOOL, "Frontend", INERT, "errors are sentences here"),

    // SchedulerConfig
    ROW("disable_chunked_mm_input", QW_OPT_BOOL, "SchedulerConfig", INERT, NO_MEDIA),
    ROW("disable_hybrid_kv_cache_manager", QW_OPT_BOOL, "SchedulerConfig", INERT, OTHER_MODEL),
    ROW("scheduler_cls", QW_OPT_STR, "SchedulerConfig", REFUSED, PYTHON),

    // AttentionConfig, KernelConfig, VllmConfig
    ROW("attention_backend", QW_OPT_STR, "AttentionConfig", INERT, GPU),
    SHORT_ROW("attention_config", "ac", QW_OPT_JSON, "AttentionConfig", INERT, GPU),
    ROW("kernel_config", QW_OPT_JSON, "KernelConfig", INERT, GPU),
    ROW("moe_backend", QW_OPT_STR, "KernelConfig", INERT, GPU),
    ROW("linear_backend", QW_OPT_STR, "KernelConfig", INERT, GPU),
    ROW("ir_op_priority", QW_OPT_JSON, "KernelConfig", INERT, GPU),
    ROW("enable_flashinfer_autotune", QW_OPT_BOOL, "KernelConfig", INERT, GPU),
    ROW("kv_transfer_config", QW_OPT_JSON, "VllmConfig", REFUSED, NO_TRANSFER),
    ROW("ec_transfer_config", QW_OPT_JSON, "VllmConfig", WARNED, NO_TRANSFER),
    ROW("kv_events_config", QW_OPT_JSON, "VllmConfig", WARNED, NO_TRANSFER),
    ROW("weight_transfer_config", QW_OPT_JSON, "VllmConfig", WARNED,
        "weights are read from the checkpoint"),
    ROW("profiler_config", QW_OPT_JSON, "VllmConfig", INERT, "perf and QWENCH_LOG profile here"),
    ROW("spec_method", QW_OPT_STR, "VllmConfig", WARNED, "not built yet: answers are not drafted"),
    ROW("spec_model", QW_OPT_STR, "VllmConfig", WARNED, "not built yet: answers are not drafted"),
    ROW("spec_tokens", QW_OPT_INT, "VllmConfig", WARNED, "not built yet: answers are not drafted"),

    // Frontend
    ROW("middleware", QW_OPT_STRS, "Frontend", REFUSED, PYTHON),
    ROW("tool_parser_plugin", QW_OPT_STR, "Frontend", REFUSED, PYTHON),
    ROW("tool_server", QW_OPT_STR, "Frontend", REFUSED, "tools are run by clients"),
    ROW("disable_fastapi_docs", QW_OPT_BOOL, "Frontend", INERT, "there are no such pages"),
    ROW("enable_offline_docs", QW_OPT_BOOL, "Frontend", INERT, "there are no such pages"),
    ROW("grpc", QW_OPT_FLAG, "Frontend", REFUSED, "HTTP is spoken; leave it out"),
    ROW("tokens_only", QW_OPT_BOOL, "Frontend", REFUSED, "texts are served; leave it out"),
    ROW("fail_on_environ_validation", QW_OPT_BOOL, NULL, INERT,
        "unknown variables are warned about"),

    // Removed from vLLM, still in scripts (1.3)
    OLD_ROW("swap_space", QW_OPT_FLOAT, GONE ": all memory is host memory"),
    OLD_ROW("disable_log_requests", QW_OPT_FLAG,
            GONE ": requests are not logged unless --enable-log-requests says so"),
    OLD_ROW("enable_reasoning", QW_OPT_FLAG, GONE ": reasoning is parsed without it"),
    OLD_ROW("device", QW_OPT_STR, GONE ": this computes on the CPU"),
    OLD_ROW("use_v2_block_manager", QW_OPT_FLAG, GONE ": there is one block manager"),
    OLD_ROW("num_scheduler_steps", QW_OPT_INT, GONE ": --async-scheduling overlaps steps"),
    OLD_ROW("multi_step_stream_outputs", QW_OPT_STR, GONE),
    OLD_ROW("guided_decoding_backend", QW_OPT_STR, GONE "; " OWN_GRAMMAR),
    OLD_ROW("rope_scaling", QW_OPT_JSON, GONE ": taken as --hf-overrides.rope_scaling"),
    OLD_ROW("rope_theta", QW_OPT_FLOAT, GONE ": taken as --hf-overrides.rope_theta"),
    OLD_ROW("disable_frontend_multiprocessing", QW_OPT_FLAG, GONE ": there is one process"),
    OLD_ROW("cuda_graph_sizes", QW_OPT_INTS, GONE ": taken as --cudagraph-capture-sizes"),
    OLD_ROW("max_seq_len_to_capture", QW_OPT_INT, GONE ": plans do not depend on the length"),
    OLD_ROW("preemption_mode", QW_OPT_STR, GONE ": preempted requests are computed again"),
    OLD_ROW("tokenizer_pool_size", QW_OPT_INT, GONE ": texts are tokenized on worker threads"),
    OLD_ROW("tokenizer_pool_type", QW_OPT_STR, GONE),
    OLD_ROW("num_lookahead_slots", QW_OPT_INT, GONE),
    OLD_ROW("task", QW_OPT_STR, GONE ": models here generate"),
    OLD_ROW("disable_async_output_proc", QW_OPT_FLAG, GONE),
};

const qw_opt *qw_serve_other_rows(size_t *n_rows)
{
    *n_rows = QW_ARRAY_LEN(rows);
    return rows;
}

static const char dtype_why[] =
    "F16 weights are used as they are; activations are computed as under float32, KV as bfloat16";
static const char rank_why[] = "1 rank: this process computes what all would";

static const qw_value_rule rules[] = {
    {"dtype", "float16 half", 0, QW_OPT_ADJUSTED, dtype_why},
    {"runner", "pooling draft", 0, QW_OPT_REFUSED, "models here generate; choose auto or generate"},
    {"logprobs-mode", "raw_logits processed_logprobs processed_logits", 0, QW_OPT_REFUSED,
     "not built yet; choose raw_logprobs"},
    {"distributed-executor-backend", "ray", 0, QW_OPT_WARNED, "there is no Ray; 1 rank runs here"},
    {"tensor-parallel-size", NULL, 1, QW_OPT_ADJUSTED, rank_why},
    {"pipeline-parallel-size", NULL, 1, QW_OPT_ADJUSTED, rank_why},
    {"data-parallel-size", NULL, 1, QW_OPT_ADJUSTED, "1 rank: one copy of the model serves all"},
    {"nnodes", NULL, 1, QW_OPT_REFUSED, "all runs on this host; start a server on each node"},
    {"node-rank", NULL, 0, QW_OPT_REFUSED, "all runs on this host; start a server on each node"},
    {"performance-mode", "interactivity", 0, QW_OPT_ADJUSTED, "it is as balanced"},
    {"optimization-level", "0", 0, QW_OPT_ACTIVE, "no step plans"},
    {"reasoning-parser", "none", 0, QW_OPT_ACTIVE, "answers are left as they are"},
};

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = words; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (n == len && memcmp(p, word, n) == 0) return true;
        p += n;
    }
    return false;
}

const qw_value_rule *qw_value_rule_find(const char *option, const char *value)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(rules); i++) {
        const qw_value_rule *r = &rules[i];
        if (strcmp(r->option, option) != 0) continue;
        int64_t n;
        if (r->values ? has_word(r->values, value)
                      : qw_str_to_i64(qw_str_of(value), &n) && n > r->above)
            return r;
    }
    return NULL;
}
