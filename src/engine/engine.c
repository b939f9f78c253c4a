#include "engine/engine.h"

#include "base/mem.h"
#include "engine/batch.h"
#include "model/plan_sizes.h"

enum {
    DEFAULT_MAX_NUM_SEQS = 256,
    DEFAULT_MAX_BATCHED_TOKENS = 2048,
    MAX_LOGIT_ROWS = 64, /* rows of logits in memory at a time; more are computed in turns */
};

struct qw_engine {
    qw_model_config config;
    qw_generation_config generation;
    qw_checkpoint checkpoint;
    qw_memory_plan plan;
    qw_backend *be;
    qw_model *model;
    qw_compute compute;
    const char *dtype_name;
    qw_kv_cache kv;
    qw_scheduler scheduler;
    qw_batch batch;
    qw_sampler *sampler;
    qw_logprob *logprobs; /* [vocab_size + 1], the row being told */
    uint64_t seed, n_arrivals;
    int32_t eos_token_id;
};

qw_engine_options qw_engine_options_default(void)
{
    return (qw_engine_options){.load_format = "auto",
                               .dtype = "auto",
                               .kv_cache_dtype = "auto",
                               .cpu_isa = "auto",
                               .max_capture_size = -1,
                               .block_size = 16,
                               .gpu_memory_utilization = 0.92,
                               .eos_token_id = -1};
}

// Options that depend on the checkpoint

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
    } else if (strcmp(kv, "auto") != 0) {
        return qw_fail(err, QW_ERR_USAGE,
                       "--kv-cache-dtype '%s' is not supported; choose auto, bfloat16 or float32",
                       kv);
    }
    *out = p;
    return QW_OK;
}

// Unset limits are made to agree with those that are set; limits that were both set must agree.
static qw_status choose_limits(int32_t *max_num_seqs, int32_t *max_tokens,
                               const qw_engine_options *o, qw_error *err)
{
    int32_t seqs = o->max_num_seqs, tokens = o->max_num_batched_tokens;
    if (tokens == 0) tokens = seqs > DEFAULT_MAX_BATCHED_TOKENS ? seqs : DEFAULT_MAX_BATCHED_TOKENS;
    if (seqs == 0) seqs = tokens < DEFAULT_MAX_NUM_SEQS ? tokens : DEFAULT_MAX_NUM_SEQS;
    if (tokens < seqs)
        return qw_fail(
            err, QW_ERR_USAGE,
            "--max-num-batched-tokens (%d) must be at least --max-num-seqs (%d), or no step "
            "could hold a token of each sequence",
            tokens, seqs);
    *max_num_seqs = seqs;
    *max_tokens = tokens;
    return QW_OK;
}

static bool allow_long_context(void)
{
    const char *v = getenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN");
    return v && strcmp(v, "1") == 0;
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

// Everything that is known before memory is spent: sizes, limits, the plan.
static qw_status make_plan(qw_engine *e, const qw_engine_options *o, qw_kv_layout *layout,
                           qw_model_limits *limits, int32_t *max_num_seqs, qw_error *err)
{
    precision p = {0};
    qw_status st = check_options(o, err);
    if (st == QW_OK) st = choose_precision(&p, o, &e->checkpoint, err);
    if (st == QW_OK) st = choose_limits(max_num_seqs, &limits->max_tokens, o, err);
    if (st != QW_OK) return st;
    e->compute = p.compute;
    e->dtype_name = p.name;
    limits->max_logit_rows =
        limits->max_tokens < MAX_LOGIT_ROWS ? limits->max_tokens : MAX_LOGIT_ROWS;
    *layout =
        qw_kv_layout_make(p.kv, o->block_size, e->config.num_key_value_heads, e->config.head_dim);
    qw_model_footprint f;
    st = qw_model_measure(&f, &e->config, &e->checkpoint, limits, layout, err);
    if (st != QW_OK) return st;
    // The sampler's rows and the logprobs of one row, beside the model's own buffers.
    size_t sampling = (size_t)e->config.vocab_size * 64;
    qw_plan_input in = {.weights = f.weights,
                        .activations = f.activations + sampling,
                        .mapped = e->checkpoint.n_shards ? (size_t)e->checkpoint.total_size : 0,
                        .kv_per_block = f.kv_per_block,
                        .block_size = o->block_size,
                        .derived_max_len = qw_model_config_max_len(&e->config),
                        .max_model_len = o->max_model_len,
                        .allow_long = allow_long_context(),
                        .max_num_seqs = *max_num_seqs,
                        .memory_fraction = o->gpu_memory_utilization,
                        .memory_limit = qw_memory_limit(),
                        .kv_cache_bytes = o->kv_cache_memory_bytes,
                        .n_blocks_override = o->num_gpu_blocks_override};
    return qw_memory_plan_make(&e->plan, &in, err);
}

static qw_status open_checkpoint(qw_engine *e, const qw_engine_options *o, qw_error *err)
{
    const char *format = o->load_format ? o->load_format : "auto";
    if (strcmp(format, "dummy") == 0)
        return qw_model_dummy_checkpoint(&e->checkpoint, &e->config, o->dummy_seed, err);
    if (strcmp(format, "auto") != 0 && strcmp(format, "safetensors") != 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "--load-format '%s' is unknown; choose auto, safetensors or dummy", format);
    return qw_checkpoint_open(&e->checkpoint, o->model_dir, err);
}

static qw_status load_model(qw_engine *e, const qw_engine_options *o, const qw_model_limits *limits,
                            qw_error *err)
{
    qw_model_load_args args = {
        .compute = e->compute,
        .limits = *limits,
        .cache = {.dir = o->pack_cache_dir, .model_dir = o->model_dir, .verify = o->verify_pack},
        .progress = o->progress,
        .progress_ctx = o->progress_ctx,
    };
    qw_status st = qw_model_load(&e->model, e->be, &e->config, &e->checkpoint, &args, err);
    if (st == QW_OK) e->plan.mapped_weights = qw_model_mapped_weights(e->model);
    return st;
}

// Decode steps of up to max_num_seqs rows over the pages of the KV cache.
static qw_status plan_steps(qw_engine *e, const qw_engine_options *o, int32_t max_num_seqs,
                            qw_error *err)
{
    if (o->no_step_plans) return QW_OK;
    qw_plan_sizes sizes;
    qw_plan_sizes_input in = {.sizes = o->capture_sizes,
                              .n_sizes = o->n_capture_sizes,
                              .max_size = o->max_capture_size,
                              .max_rows = max_num_seqs};
    qw_status st = qw_plan_sizes_make(&sizes, &in, err);
    if (st != QW_OK) return st;
    return qw_model_plan_steps(e->model, sizes.sizes, sizes.n, e->kv.layers, &e->kv.layout, err);
}

static qw_status open_engine(qw_engine *e, const qw_engine_options *o, qw_error *err)
{
    qw_kv_layout layout = {0};
    qw_model_limits limits = {0};
    int32_t max_num_seqs = 0;
    qw_status st = qw_model_config_load(&e->config, o->model_dir, o->hf_overrides, err);
    if (st == QW_OK)
        st = qw_generation_config_load(&e->generation, o->model_dir, o->generation_config_overrides,
                                       &e->config, err);
    if (st == QW_OK) st = open_checkpoint(e, o, err);
    if (st == QW_OK) st = make_plan(e, o, &layout, &limits, &max_num_seqs, err);
    if (st != QW_OK) return st;
    qw_cpu_options cpu = {.n_threads = o->cpu_threads, .isa = o->cpu_isa};
    st = qw_backend_open_cpu(&e->be, &cpu, err);
    if (st == QW_OK) st = load_model(e, o, &limits, err);
    if (st == QW_OK)
        st = qw_kv_cache_init(&e->kv, &layout, e->config.num_hidden_layers, e->plan.n_blocks, err);
    if (st == QW_OK) st = plan_steps(e, o, max_num_seqs, err);
    if (st == QW_OK) st = qw_scheduler_init(&e->scheduler, max_num_seqs, limits.max_tokens, err);
    if (st == QW_OK) st = qw_batch_init(&e->batch, limits.max_tokens, max_num_seqs, err);
    size_t v = (size_t)e->config.vocab_size;
    size_t n_valid = o->n_token_ids > 0 && (size_t)o->n_token_ids < v ? (size_t)o->n_token_ids : v;
    if (st == QW_OK) st = qw_sampler_new(&e->sampler, v, n_valid, err);
    if (st == QW_OK) {
        e->logprobs = qw_mem_array(v + 1, sizeof *e->logprobs);
        if (!e->logprobs) st = qw_fail_memory(err, v * sizeof *e->logprobs, "logprobs");
    }
    return st;
}

qw_status qw_engine_open(qw_engine **out, const qw_engine_options *options, qw_error *err)
{
    qw_engine *e = qw_mem_calloc(1, sizeof *e);
    if (!e) return qw_fail_memory(err, sizeof *e, "the engine");
    e->seed = (uint64_t)options->seed;
    e->eos_token_id = options->eos_token_id;
    qw_status st = open_engine(e, options, err);
    if (st != QW_OK) {
        qw_engine_close(e);
        return qw_context(err, st, "opening model '%s'", options->model_dir);
    }
    *out = e;
    return QW_OK;
}

const qw_model_config *qw_engine_config(const qw_engine *e)
{
    return &e->config;
}

const qw_generation_config *qw_engine_generation_config(const qw_engine *e)
{
    return &e->generation;
}

const qw_memory_plan *qw_engine_plan(const qw_engine *e)
{
    return &e->plan;
}

const qw_backend *qw_engine_backend(const qw_engine *e)
{
    return e->be;
}

const char *qw_engine_dtype_name(const qw_engine *e)
{
    return e->dtype_name;
}

const qw_step_stats *qw_engine_step_stats(const qw_engine *e)
{
    return qw_model_step_stats(e->model);
}

uint64_t qw_engine_n_preemptions(const qw_engine *e)
{
    return e->scheduler.n_preemptions;
}

// Requests

// EOS (unless ignored) first, then stop_token_ids: what ends the request, and what min_tokens
// masks.
static qw_status collect_stop_ids(const qw_engine *e, qw_request *r, qw_error *err)
{
    const qw_sampling_params *p = &r->params;
    size_t n_eos = p->ignore_eos ? 0 : e->generation.n_eos_token_ids + 1;
    r->stop_ids = qw_mem_array(n_eos + p->n_stop_token_ids + 1, sizeof *r->stop_ids);
    if (!r->stop_ids) return qw_fail_memory(err, n_eos * sizeof *r->stop_ids, "stop ids");
    if (!p->ignore_eos && e->eos_token_id >= 0) r->stop_ids[r->n_stop_ids++] = e->eos_token_id;
    for (size_t i = 0; i < e->generation.n_eos_token_ids && !p->ignore_eos; i++)
        r->stop_ids[r->n_stop_ids++] = e->generation.eos_token_ids[i];
    for (size_t i = 0; i < p->n_stop_token_ids; i++)
        r->stop_ids[r->n_stop_ids++] = p->stop_token_ids[i];
    return QW_OK;
}

// max_tokens after the context's limit.
static qw_status resolve_length(const qw_engine *e, const int32_t *prompt, size_t n_prompt,
                                const qw_sampling_params *params, int32_t *max_tokens,
                                qw_error *err)
{
    int32_t max_len = e->plan.max_model_len;
    if (n_prompt == 0) return qw_fail(err, QW_ERR_USAGE, "the prompt is empty");
    if (n_prompt >= (size_t)max_len)
        return qw_fail(err, QW_ERR_USAGE,
                       "the prompt has %zu tokens, but the context of %d leaves at most %d for it; "
                       "shorten the prompt or raise --max-model-len",
                       n_prompt, max_len, max_len - 1);
    for (size_t i = 0; i < n_prompt; i++)
        if (prompt[i] < 0 || prompt[i] >= e->config.vocab_size)
            return qw_fail(
                err, QW_ERR_USAGE,
                "token id %d at position %zu of the prompt is outside the vocabulary of %d",
                prompt[i], i, e->config.vocab_size);
    int32_t room = max_len - (int32_t)n_prompt;
    *max_tokens =
        params->max_tokens > 0 && params->max_tokens < room ? (int32_t)params->max_tokens : room;
    return QW_OK;
}

static qw_status new_child(qw_engine *e, qw_sequence **out, qw_request *r, int32_t child,
                           const int32_t *prompt, qw_error *err)
{
    qw_sequence *seq;
    qw_status st = qw_sequence_new(&seq, r, child, prompt, e->kv.layout.block_size, err);
    if (st != QW_OK) return st;
    qw_sampler_sequence s = {
        .params = &r->params,
        .prompt_ids = prompt,
        .n_prompt = (size_t)r->n_prompt,
        .stop_ids = r->stop_ids,
        .n_stop_ids = r->n_stop_ids,
        .seed = qw_sampler_seed(&r->params, e->seed, r->id, (uint64_t)child),
        .max_output = (size_t)r->max_tokens,
    };
    st = qw_sampler_state_new(&seq->sampler, e->sampler, &s, err);
    if (st != QW_OK) {
        qw_sequence_free(seq, NULL);
        return st;
    }
    *out = seq;
    return QW_OK;
}

qw_status qw_engine_submit(qw_engine *e, const int32_t *prompt, size_t n_prompt,
                           qw_sampling_params *params, const qw_request_sink *sink, qw_error *err)
{
    int32_t max_tokens = 0;
    qw_status st = resolve_length(e, prompt, n_prompt, params, &max_tokens, err);
    if (st != QW_OK) return st;
    qw_request *r;
    qw_sampling_params given = *params; // given back untouched on failure
    st = qw_request_new(&r, e->n_arrivals, (int32_t)n_prompt, max_tokens, params, sink, err);
    if (st != QW_OK) return st;
    int32_t n = (int32_t)r->params.n;
    qw_sequence *first = NULL; // the children so far, linked by next
    st = collect_stop_ids(e, r, err);
    for (int32_t i = n - 1; i >= 0 && st == QW_OK; i--) {
        qw_sequence *seq;
        st = new_child(e, &seq, r, i, prompt, err);
        if (st != QW_OK) break;
        seq->next = first;
        first = seq;
    }
    if (st != QW_OK) {
        for (qw_sequence *next; first; first = next) {
            next = first->next;
            qw_sequence_free(first, NULL);
        }
        *params = given;
        qw_sampling_params_init(&r->params);
        qw_request_free(r);
        return st;
    }
    r->n_children = n;
    e->n_arrivals++;
    for (qw_sequence *next; first; first = next) {
        next = first->next;
        qw_scheduler_add(&e->scheduler, first);
    }
    return QW_OK;
}

static void finish(qw_engine *e, qw_sequence *seq)
{
    qw_request *r = seq->request;
    qw_scheduler_remove(&e->scheduler, seq, &e->kv);
    qw_sequence_free(seq, &e->kv.pool);
    if (--r->n_children == 0) qw_request_free(r);
}

// Why `id`, just appended, ends the sequence; http-api.md 2.3: EOS, stop ids, length.
static qw_finish_reason finish_reason(const qw_engine *e, const qw_sequence *seq, int32_t id,
                                      int32_t *stop_id)
{
    const qw_request *r = seq->request;
    int32_t n_output = seq->n_tokens - r->n_prompt;
    *stop_id = -1;
    for (size_t i = 0; i < r->n_stop_ids && n_output >= r->params.min_tokens; i++) {
        if (r->stop_ids[i] != id) continue;
        if (r->params.ignore_eos || id != e->eos_token_id) *stop_id = id;
        return QW_FINISH_STOP;
    }
    return n_output >= r->max_tokens ? QW_FINISH_LENGTH : QW_FINISH_NONE;
}

static void abort_sequence(qw_engine *e, qw_sequence *seq, const qw_error *why)
{
    qw_token_event event = {
        .child = seq->child, .id = -1, .finish = QW_FINISH_ABORT, .stop_id = -1, .error = why};
    (void)seq->request->sink.token(seq->request->sink.ctx, &event);
    finish(e, seq);
}

// Choose and tell the next token of a sequence whose last row is `logits`.
static void sample(qw_engine *e, qw_sequence *seq, const float *logits)
{
    qw_request *r = seq->request;
    qw_error err;
    int32_t id;
    qw_token_event event = {.child = seq->child};
    qw_status st = qw_sampler_sample(&id, e->sampler, seq->sampler, logits, &err);
    if (st == QW_OK && r->params.logprobs != QW_LOGPROBS_OFF) {
        st = qw_logprobs_row(e->logprobs, e->sampler, logits, id, r->params.logprobs, &err);
        event.logprobs = e->logprobs;
        event.n_logprobs = qw_logprobs_len(e->sampler, r->params.logprobs);
    }
    if (st != QW_OK) {
        abort_sequence(e, seq, &err);
        return;
    }
    qw_sampler_state_accept(seq->sampler, id);
    seq->tokens[seq->n_tokens++] = id;
    event.id = id;
    event.finish = finish_reason(e, seq, id, &event.stop_id);
    bool withdrawn = r->sink.token(r->sink.ctx, &event);
    if (withdrawn || event.finish != QW_FINISH_NONE) finish(e, seq);
}

// Tell what a row's logits say about its position; false if the sequence is gone afterwards.
static bool tell_position(qw_engine *e, qw_sequence *seq, int32_t position, const float *logits)
{
    qw_request *r = seq->request;
    if (seq->child != 0 || position < seq->n_reported) return true;
    seq->n_reported = position + 1;
    if (r->sink.logits) r->sink.logits(r->sink.ctx, position, logits, e->config.vocab_size);
    if (!r->sink.prompt_logprobs || r->params.prompt_logprobs == QW_LOGPROBS_OFF ||
        position + 1 >= r->n_prompt)
        return true;
    qw_error err;
    int64_t n_top = r->params.prompt_logprobs;
    if (qw_logprobs_row(e->logprobs, e->sampler, logits, seq->tokens[position + 1], n_top, &err) !=
        QW_OK) {
        abort_sequence(e, seq, &err);
        return false;
    }
    r->sink.prompt_logprobs(r->sink.ctx, position + 1, e->logprobs,
                            qw_logprobs_len(e->sampler, n_top));
    return true;
}

static void use_row(qw_engine *e, const qw_logit_row *lr, const float *logits)
{
    qw_sequence *seq = e->scheduler.scheduled[lr->i_seq];
    if (!seq) return; // ended at an earlier row
    bool is_last = lr->position == seq->n_tokens - 1;
    bool alive = tell_position(e, seq, lr->position, logits);
    if (alive && is_last) sample(e, seq, logits);
    if (!alive || is_last) e->scheduler.scheduled[lr->i_seq] = NULL; // maybe freed, surely done
}

bool qw_engine_step(qw_engine *e)
{
    if (!qw_scheduler_step(&e->scheduler, &e->kv)) return false;
    qw_batch *b = &e->batch;
    qw_batch_build(b, &e->scheduler);
    qw_model_step step = {.n_tokens = b->n_tokens,
                          .token_ids = b->token_ids,
                          .positions = b->positions,
                          .seqs = b->seqs,
                          .n_seqs = b->n_seqs,
                          .kv = e->kv.layers,
                          .layout = &e->kv.layout};
    qw_model_forward(e->model, &step);
    qw_scheduler_commit(&e->scheduler);
    for (int32_t i = 0; i < b->n_logit_rows; i += MAX_LOGIT_ROWS) {
        int32_t rows[MAX_LOGIT_ROWS], n = 0;
        for (; n < MAX_LOGIT_ROWS && i + n < b->n_logit_rows; n++)
            rows[n] = b->logit_rows[i + n].row;
        size_t stride;
        const float *logits = qw_model_logits(e->model, rows, n, &stride);
        for (int32_t j = 0; j < n; j++)
            use_row(e, &b->logit_rows[i + j], logits + (size_t)j * stride);
    }
    return true;
}

void qw_engine_close(qw_engine *e)
{
    if (!e) return;
    qw_error why = {.code = QW_ERR_CANCELLED, .text = "the engine was closed"};
    while (e->scheduler.running.head) abort_sequence(e, e->scheduler.running.head, &why);
    while (e->scheduler.waiting.head) abort_sequence(e, e->scheduler.waiting.head, &why);
    qw_scheduler_release(&e->scheduler);
    qw_batch_release(&e->batch);
    qw_sampler_free(e->sampler);
    qw_mem_free(e->logprobs);
    qw_kv_cache_release(&e->kv);
    qw_model_free(e->model);
    qw_backend_close(e->be);
    qw_checkpoint_close(&e->checkpoint);
    qw_generation_config_release(&e->generation);
    qw_model_config_release(&e->config);
    qw_mem_free(e);
}
