#include "engine/engine_setup.h"

#include "base/log.h"

enum {
    DEFAULT_MAX_NUM_SEQS = 256,
    DEFAULT_MAX_BATCHED_TOKENS = 2048,
    MAX_LOGIT_ROWS = 64, /* rows of logits in memory at a time; more are computed in turns */
};

typedef struct precision {
    qw_compute compute;
    qw_dtype kv;
    const char *name;
} precision;

static qw_status choose_precision(precision *out, const qw_engine_options *o,
                                  const qw_checkpoint *checkpoint, qw_error *err)
{
    const qw_stored_tensor *t = qw_checkpoint_find(checkpoint, "model.embed_tokens.weight");
    qw_dtype stored = t ? t->dtype : QW_DTYPE_BF16;
    const char *name = o->dtype ? o->dtype : "auto";
    if (strcmp(name, "auto") == 0)
        name = stored == QW_DTYPE_F16 ? "float16" : stored == QW_DTYPE_F32 ? "float32" : "bfloat16";
    precision p;
    if (strcmp(name, "bfloat16") == 0) {
        p = (precision){QW_COMPUTE_BF16, QW_DTYPE_BF16, "bfloat16"};
    } else if (strcmp(name, "float32") == 0 || strcmp(name, "float") == 0) {
        p = (precision){QW_COMPUTE_F32, QW_DTYPE_F32, "float32"};
    } else if (strcmp(name, "float16") == 0 || strcmp(name, "half") == 0) {
        // F16 weights as they are, activations in fp32: no CPU here computes in half precision.
        p = (precision){QW_COMPUTE_F32, QW_DTYPE_BF16, "float16"};
    } else {
        return qw_fail(err, QW_ERR_USAGE,
                       "--dtype '%s' is unknown; choose auto, bfloat16, float32, float16, half or "
                       "float",
                       name);
    }
    const char *kv = o->kv_cache_dtype ? o->kv_cache_dtype : "auto";
    if (strcmp(kv, "bfloat16") == 0) {
        p.kv = QW_DTYPE_BF16;
    } else if (strcmp(kv, "float32") == 0) {
        p.kv = QW_DTYPE_F32;
    } else if (strcmp(kv, "int8") == 0) {
        p.kv = QW_DTYPE_I8;
    } else if (strcmp(kv, "auto") != 0) {
        return qw_fail(
            err, QW_ERR_USAGE,
            "--kv-cache-dtype '%s' is not supported; choose auto, bfloat16, float32 or int8", kv);
    }
    *out = p;
    return QW_OK;
}

qw_status qw_engine_checkpoint_open(qw_checkpoint *out, const qw_engine_options *o,
                                    const qw_model_config *config, qw_error *err)
{
    const char *format = o->load_format ? o->load_format : "auto";
    const char *name = o->dummy_quantization ? o->dummy_quantization : "none";
    const qw_dummy_scheme *scheme = qw_dummy_scheme_find(name);
    bool is_dummy = strcmp(format, "dummy") == 0;
    if (!is_dummy && strcmp(format, "auto") != 0 && strcmp(format, "safetensors") != 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "--load-format '%s' is unknown; choose auto, safetensors or dummy", format);
    if (!scheme)
        return qw_fail(err, QW_ERR_USAGE,
                       "--dummy-quantization '%.60s' is unknown; choose none, w8a8, w8a8-dynamic, "
                       "w8a16, w4a8, w4a8-g128, w4a8-g256, w4a4 or w4a4-flatquant",
                       name);
    if (!is_dummy && strcmp(name, "none") != 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "--dummy-quantization %s is about made-up weights; give --load-format dummy "
                       "too, or leave it out",
                       name);
    return is_dummy ? qw_model_dummy_checkpoint(out, config, scheme, o->dummy_seed, err)
                    : qw_checkpoint_open(out, o->model_dir, err);
}

qw_status qw_engine_head_dtype(qw_head_dtype *out, const qw_engine_options *o, qw_error *err)
{
    static const char *const names[] = {
        [QW_HEAD_AUTO] = "auto", [QW_HEAD_INT8] = "int8", [QW_HEAD_FLOAT] = "float"};
    const char *name = o->lm_head_dtype ? o->lm_head_dtype : "auto";
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (qw_head_dtype)i;
        return QW_OK;
    }
    return qw_fail(err, QW_ERR_USAGE,
                   "--lm-head-dtype '%.60s' is unknown; choose auto, int8 or float", name);
}

// The longest context there can be, before the plan has settled it.
static int32_t longest_context(const qw_engine_options *o, const qw_model_config *config)
{
    return o->max_model_len > 0 ? o->max_model_len : qw_model_config_max_len(config);
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void qw_step_limits_fill(int64_t *max_num_seqs, int64_t *max_num_batched_tokens, int64_t len,
                         bool chunked_prefill, int64_t factor)
{
    int64_t seqs = *max_num_seqs > 0 ? *max_num_seqs : DEFAULT_MAX_NUM_SEQS * factor;
    int64_t tokens = *max_num_batched_tokens;
    if (tokens <= 0) {
        tokens = DEFAULT_MAX_BATCHED_TOKENS * factor;
        if (len > 0 && !chunked_prefill) tokens = larger(tokens, len);
        if (len > 0) tokens = smaller(tokens, seqs * len);
        tokens = larger(tokens, *max_num_seqs);
    }
    *max_num_seqs = *max_num_seqs > 0 ? seqs : smaller(seqs, tokens);
    *max_num_batched_tokens = tokens;
}

// Limits that were both set must agree.
static qw_status choose_sizes(qw_scheduler_limits *l, const qw_engine_options *o,
                              const qw_model_config *config, qw_error *err)
{
    int32_t len = longest_context(o, config);
    int64_t wide_seqs = o->max_num_seqs, wide_tokens = o->max_num_batched_tokens;
    qw_step_limits_fill(&wide_seqs, &wide_tokens, len, o->enable_chunked_prefill, 1);
    int32_t seqs = (int32_t)wide_seqs, tokens = (int32_t)wide_tokens;
    if (tokens < seqs)
        return qw_fail(
            err, QW_ERR_USAGE,
            "--max-num-batched-tokens (%d) must be at least --max-num-seqs (%d), or no step "
            "could hold a token of each sequence",
            tokens, seqs);
    if (tokens > (int64_t)len * seqs)
        QW_LOG(QW_LOG_WARN, "scheduler",
               "--max-num-batched-tokens (%d) is more than --max-num-seqs (%d) sequences of the "
               "model's %d tokens can fill",
               tokens, seqs, len);
    l->max_num_seqs = seqs;
    l->max_num_batched_tokens = tokens;
    return QW_OK;
}

static qw_status choose_prefills(qw_scheduler_limits *l, const qw_engine_options *o,
                                 const qw_model_config *config, qw_error *err)
{
    int32_t len = longest_context(o, config);
    int32_t n = o->max_num_partial_prefills, n_long = o->max_long_partial_prefills;
    int32_t threshold = o->long_prefill_token_threshold;
    if (n < 1)
        return qw_fail(err, QW_ERR_USAGE, "--max-num-partial-prefills must be at least 1, got %d",
                       n);
    if (n > 1 && !o->enable_chunked_prefill)
        return qw_fail(err, QW_ERR_USAGE,
                       "--max-num-partial-prefills %d needs chunked prefill; leave out "
                       "--no-enable-chunked-prefill",
                       n);
    if (n_long < 1 || n_long > n)
        return qw_fail(err, QW_ERR_USAGE,
                       "--max-long-partial-prefills must be from 1 to --max-num-partial-prefills "
                       "(%d), got %d",
                       n, n_long);
    if (threshold < 0 || threshold > len)
        return qw_fail(err, QW_ERR_USAGE,
                       "--long-prefill-token-threshold must be from 0 to the context of %d, got %d",
                       len, threshold);
    // With several prompts under way at once, a long one is one of more than 4 % of the context.
    if (n > 1 && threshold == 0) threshold = len / 25 > 0 ? len / 25 : 1;
    l->max_num_partial_prefills = n;
    l->max_long_partial_prefills = n_long;
    l->long_prefill_token_threshold = threshold;
    l->enable_chunked_prefill = o->enable_chunked_prefill;
    l->reserve_full_isl = o->scheduler_reserve_full_isl;
    return QW_OK;
}

static qw_status choose_policy(qw_scheduler_limits *l, const qw_engine_options *o, qw_error *err)
{
    const char *policy = o->scheduling_policy ? o->scheduling_policy : "fcfs";
    l->by_priority = strcmp(policy, "priority") == 0;
    if (!l->by_priority && strcmp(policy, "fcfs") != 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "--scheduling-policy '%s' is unknown; choose fcfs or priority", policy);
    return QW_OK;
}

static qw_status check_options(const qw_engine_options *o, qw_error *err)
{
    if (o->block_size < 16 || o->block_size > 128 || o->block_size % 16 != 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "--block-size must be a multiple of 16 from 16 to 128, got %d",
                       o->block_size);
    if (!(o->gpu_memory_utilization > 0 && o->gpu_memory_utilization <= 1))
        return qw_fail(err, QW_ERR_USAGE,
                       "--gpu-memory-utilization must be above 0 and at most 1, got %g",
                       o->gpu_memory_utilization);
    return QW_OK;
}

static bool allow_long_context(void)
{
    const char *v = getenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN");
    return v && strcmp(v, "1") == 0;
}

static qw_status make_plan(qw_engine_setup *s, const qw_engine_options *o,
                           const qw_model_config *config, const qw_checkpoint *checkpoint,
                           qw_error *err)
{
    qw_model_footprint f;
    qw_status st = qw_model_measure(&f, config, checkpoint, &s->model_limits, &s->layout, err);
    if (st != QW_OK) return st;
    // The sampler's rows and the logprobs of one row, beside the model's own buffers.
    size_t sampling = (size_t)config->vocab_size * 64;
    qw_plan_input in = {.weights = f.weights,
                        .experts = f.experts,
                        .activations = f.activations + sampling,
                        .mapped = checkpoint->n_shards ? (size_t)checkpoint->total_size : 0,
                        .kv_per_block = f.kv_per_block,
                        .kv_dtype = s->layout.dtype,
                        .block_size = o->block_size,
                        .derived_max_len = qw_model_config_max_len(config),
                        .max_model_len = o->max_model_len,
                        .allow_long = allow_long_context(),
                        .max_num_seqs = s->scheduler_limits.max_num_seqs,
                        .memory_fraction = o->gpu_memory_utilization,
                        .memory_limit = qw_memory_limit(),
                        .kv_cache_bytes = o->kv_cache_memory_bytes,
                        .n_blocks_override = o->num_gpu_blocks_override};
    return qw_memory_plan_make(&s->plan, &in, err);
}

static qw_status check_plan(const qw_engine_setup *s, qw_error *err)
{
    const qw_scheduler_limits *l = &s->scheduler_limits;
    if (l->enable_chunked_prefill || l->max_num_batched_tokens >= s->plan.max_model_len)
        return QW_OK;
    return qw_fail(err, QW_ERR_USAGE,
                   "--max-num-batched-tokens (%d) must be at least --max-model-len (%d) without "
                   "chunked prefill, or a long prompt could never start",
                   l->max_num_batched_tokens, s->plan.max_model_len);
}

qw_status qw_engine_setup_make(qw_engine_setup *out, const qw_engine_options *o,
                               const qw_model_config *config, const qw_checkpoint *checkpoint,
                               qw_error *err)
{
    qw_engine_setup s = {0};
    precision p = {0};
    qw_status st = check_options(o, err);
    if (st == QW_OK) st = choose_precision(&p, o, checkpoint, err);
    qw_head_dtype head = QW_HEAD_AUTO;
    if (st == QW_OK) st = qw_engine_head_dtype(&head, o, err);
    if (st == QW_OK) st = choose_sizes(&s.scheduler_limits, o, config, err);
    if (st == QW_OK) st = choose_prefills(&s.scheduler_limits, o, config, err);
    if (st == QW_OK) st = choose_policy(&s.scheduler_limits, o, err);
    if (st != QW_OK) return st;
    s.compute = p.compute;
    s.dtype_name = p.name;
    s.layout =
        qw_kv_layout_make(p.kv, o->block_size, config->num_key_value_heads, config->head_dim);
    int32_t tokens = s.scheduler_limits.max_num_batched_tokens;
    s.model_limits =
        (qw_model_limits){.max_tokens = tokens,
                          .max_logit_rows = tokens < MAX_LOGIT_ROWS ? tokens : MAX_LOGIT_ROWS,
                          .head = head};
    st = make_plan(&s, o, config, checkpoint, err);
    if (st == QW_OK) st = check_plan(&s, err);
    if (st == QW_OK) *out = s;
    return st;
}
