#include "engine/engine.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/batch.h"
#include "engine/engine_setup.h"
#include "engine/executor.h"
#include "model/plan_sizes.h"

enum {
    N_BUCKETS = 1024,   /* of the table of requests */
    MAX_TOLD_ROWS = 64, /* logits of so many rows are made at once; the model may take fewer */
};

struct qw_engine {
    qw_model_config config;
    qw_generation_config generation;
    qw_checkpoint checkpoint;
    qw_memory_plan plan;
    qw_backend *be;
    qw_model *model;
    const char *dtype_name;
    qw_head_dtype head;
    int32_t max_logit_rows;
    qw_kv_cache kv;
    qw_scheduler scheduler;
    qw_sampler *sampler;
    qw_executor *executor;
    bool is_async;
    bool is_telling; /* a sink is being called */

    // Steps go round: built, in flight (handed to the executor), untold (run and taken over).
    qw_batch batches[2]; /* the second one only when async */
    qw_batch *in_flight, *untold;
    qw_logprob *logprobs; /* [vocab_size + 1], the prompt position being told */

    qw_request *requests[N_BUCKETS]; /* not done, by id */
    uint64_t seed, n_arrivals;
    int32_t eos_token_id, think_start_id, think_end_id;
    int32_t *eos_ids; /* [n_eos_ids] the tokenizer's and those of generation_config.json */
    size_t n_eos_ids;
    uint64_t n_steps, n_prompt_tokens, n_generated_tokens;
    qw_step_facts last_step;
    qw_step_stats step_stats; /* a copy: the model's own changes while a step runs */
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
                               .enable_prefix_caching = true,
                               .scheduling_policy = "fcfs",
                               .enable_chunked_prefill = true,
                               .scheduler_reserve_full_isl = true,
                               .max_num_partial_prefills = 1,
                               .max_long_partial_prefills = 1,
                               .eos_token_id = -1,
                               .think_start_id = -1,
                               .think_end_id = -1};
}

void qw_engine_options_use_tokenizer(qw_engine_options *o, const qw_tokenizer *tokenizer)
{
    const qw_tokenizer_info *info = qw_tokenizer_get_info(tokenizer);
    o->eos_token_id = info->eos_id;
    o->n_token_ids = info->n_ids;
}

// Opening

static qw_status load_model(qw_engine *e, const qw_engine_options *o, const qw_engine_setup *s,
                            qw_error *err)
{
    qw_model_load_args args = {
        .compute = s->compute,
        .limits = s->model_limits,
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

static qw_status open_sampling(qw_engine *e, const qw_engine_options *o, qw_error *err)
{
    size_t v = (size_t)e->config.vocab_size;
    size_t n_valid = o->n_token_ids > 0 && (size_t)o->n_token_ids < v ? (size_t)o->n_token_ids : v;
    qw_status st = qw_sampler_new(&e->sampler, v, n_valid, err);
    if (st != QW_OK) return st;
    e->logprobs = qw_mem_array(v + 1, sizeof *e->logprobs);
    return e->logprobs ? QW_OK : qw_fail_memory(err, v * sizeof *e->logprobs, "logprobs");
}

static qw_status open_steps(qw_engine *e, const qw_engine_setup *s, qw_error *err)
{
    const qw_scheduler_limits *l = &s->scheduler_limits;
    qw_status st = qw_scheduler_init(&e->scheduler, l, err);
    for (int i = 0; i < (e->is_async ? 2 : 1) && st == QW_OK; i++)
        st = qw_batch_init(&e->batches[i], l->max_num_batched_tokens, l->max_num_seqs, i, err);
    e->max_logit_rows = s->model_limits.max_logit_rows;
    e->step_stats = *qw_model_step_stats(e->model);
    qw_executor_args args = {.model = e->model,
                             .kv = &e->kv,
                             .sampler = e->sampler,
                             .max_logit_rows = e->max_logit_rows,
                             .own_thread = e->is_async};
    return st == QW_OK ? qw_executor_new(&e->executor, &args, err) : st;
}

static qw_status collect_eos_ids(qw_engine *e, qw_error *err)
{
    const qw_generation_config *g = &e->generation;
    e->eos_ids = qw_mem_array(g->n_eos_token_ids + 1, sizeof *e->eos_ids);
    if (!e->eos_ids) return qw_fail_memory(err, g->n_eos_token_ids * sizeof *e->eos_ids, "ids");
    if (e->eos_token_id >= 0) e->eos_ids[e->n_eos_ids++] = e->eos_token_id;
    for (size_t i = 0; i < g->n_eos_token_ids; i++)
        e->eos_ids[e->n_eos_ids++] = g->eos_token_ids[i];
    return QW_OK;
}

static qw_status open_engine(qw_engine *e, const qw_engine_options *o, qw_error *err)
{
    qw_engine_setup s;
    qw_status st = qw_model_config_load(&e->config, o->model_dir, o->hf_overrides, err);
    if (st == QW_OK)
        st = qw_generation_config_load(&e->generation, o->model_dir, o->generation_config_overrides,
                                       &e->config, err);
    if (st == QW_OK) st = qw_engine_checkpoint_open(&e->checkpoint, o, &e->config, err);
    if (st == QW_OK) st = qw_engine_setup_make(&s, o, &e->config, &e->checkpoint, err);
    if (st != QW_OK) return st;
    e->plan = s.plan;
    e->dtype_name = s.dtype_name;
    e->head = s.model_limits.head;
    qw_cpu_options cpu = {.n_threads = o->cpu_threads, .isa = o->cpu_isa};
    st = qw_backend_open_cpu(&e->be, &cpu, err);
    if (st == QW_OK) st = load_model(e, o, &s, err);
    if (st == QW_OK)
        st =
            qw_kv_cache_init(&e->kv, &s.layout, e->config.num_hidden_layers, e->plan.n_blocks, err);
    if (st == QW_OK && o->enable_prefix_caching) st = qw_kv_cache_add_prefixes(&e->kv, err);
    if (st == QW_OK) st = plan_steps(e, o, s.scheduler_limits.max_num_seqs, err);
    if (st == QW_OK) st = collect_eos_ids(e, err);
    if (st == QW_OK) st = open_sampling(e, o, err);
    return st == QW_OK ? open_steps(e, &s, err) : st;
}

qw_status qw_engine_open(qw_engine **out, const qw_engine_options *options, qw_error *err)
{
    qw_engine *e = qw_mem_calloc(1, sizeof *e);
    if (!e) return qw_fail_memory(err, sizeof *e, "the engine");
    e->seed = (uint64_t)options->seed;
    e->is_async = options->async_scheduling;
    e->eos_token_id = options->eos_token_id;
    e->think_start_id = options->think_start_id;
    e->think_end_id = options->think_end_id;
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

typedef struct description {
    const qw_engine *engine;
    qw_buf *out;
    bool has_mlp, has_router, has_experts; /* were told about */
} description;

static bool first(bool *was_told)
{
    bool is_first = !*was_told;
    *was_told = true;
    return is_first;
}

// Of each kind of layer the first one's first Linear.
static void describe(void *ctx, const qw_linear_info *l)
{
    description *d = ctx;
    const qw_model_config *c = &d->engine->config;
    int n = c->num_hidden_layers, n_sparse = qw_model_config_n_sparse(c);
    char name[64] = "";
    if (l->layer < 0)
        snprintf(name, sizeof name, "%s",
                 strcmp(l->name, "lm_head") == 0 ? "lm_head" : "lm_head (the embedding)");
    else if (l->layer == 0 && strcmp(l->name, "self_attn.q_proj") == 0)
        snprintf(name, sizeof name, "%d x q/k/v, o", n);
    else if (strcmp(l->name, "mlp.gate_proj") == 0 && first(&d->has_mlp))
        snprintf(name, sizeof name, "%d x gate/up, down", n - n_sparse);
    else if (strcmp(l->name, "mlp.gate") == 0 && first(&d->has_router))
        snprintf(name, sizeof name, "%d x router", n_sparse);
    else if (l->expert == 0 && first(&d->has_experts))
        snprintf(name, sizeof name, "%d x %d experts", n_sparse, c->num_experts);
    if (*name)
        qw_buf_printf(d->out, "  %-26s %s -> %s -> %s\n", name, l->format, l->kernel,
                      d->engine->be->isa);
}

void qw_engine_describe_layers(const qw_engine *e, qw_buf *out)
{
    description d = {.engine = e, .out = out};
    qw_buf_printf(out, "layers\n");
    qw_error why; // what was loaded can be described, if there is memory
    if (qw_model_describe(&e->config, &e->checkpoint, e->head, describe, &d, &why) != QW_OK)
        qw_buf_printf(out, "  %s\n", why.text);
}

const qw_step_stats *qw_engine_step_stats(const qw_engine *e)
{
    return &e->step_stats;
}

void qw_engine_get_stats(const qw_engine *e, qw_engine_stats *out)
{
    const qw_scheduler *s = &e->scheduler;
    *out = (qw_engine_stats){
        .n_running = s->running.n,
        .n_waiting = s->waiting.n,
        .n_blocks = e->kv.pool.n_blocks,
        .n_blocks_used = e->kv.pool.n_blocks - e->kv.pool.n_free,
        .n_prefix_queries = s->n_prefix_queries,
        .n_prefix_hits = s->n_prefix_hits,
        .n_preemptions = s->n_preemptions,
        .n_steps = e->n_steps,
        .n_prompt_tokens = e->n_prompt_tokens,
        .n_generated_tokens = e->n_generated_tokens,
    };
}

qw_step_facts qw_engine_last_step(const qw_engine *e)
{
    return e->last_step;
}

// The table of requests that are not done

static void table_add(qw_engine *e, qw_request *r)
{
    qw_request **bucket = &e->requests[r->id % N_BUCKETS];
    r->prev = NULL;
    r->next = *bucket;
    if (r->next) r->next->prev = r;
    *bucket = r;
}

static void table_remove(qw_engine *e, qw_request *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else
        e->requests[r->id % N_BUCKETS] = r->next;
    if (r->next) r->next->prev = r->prev;
    r->prev = r->next = NULL;
}

static qw_request *table_find(const qw_engine *e, uint64_t id)
{
    qw_request *r = e->requests[id % N_BUCKETS];
    while (r && r->id != id) r = r->next;
    return r;
}

void qw_engine_each(const qw_engine *e, void (*fn)(void *ctx, const qw_sequence *seq), void *ctx)
{
    for (size_t i = 0; i < N_BUCKETS; i++)
        for (const qw_request *r = e->requests[i]; r; r = r->next)
            for (int32_t k = 0; k < r->n_children; k++)
                if (r->children[k] && r->children[k]->state != QW_SEQ_FINISHED)
                    fn(ctx, r->children[k]);
}

// Submitting

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

static qw_status check_request(const qw_engine *e, const int32_t *prompt, size_t n_prompt,
                               const qw_sampling_params *params, qw_error *err)
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
    if (params->n < 1 || params->n > INT32_MAX)
        return qw_fail(err, QW_ERR_USAGE, "n must be at least 1, got %" PRId64, params->n);
    if (params->thinking_token_budget >= 0 && e->think_end_id < 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "thinking_token_budget is set, but this model has no tokens that begin and "
                       "end its thinking");
    return QW_OK;
}

// max_tokens after the context's limit.
static int32_t resolve_length(const qw_engine *e, size_t n_prompt, const qw_sampling_params *params)
{
    int32_t room = e->plan.max_model_len - (int32_t)n_prompt;
    return params->max_tokens > 0 && params->max_tokens < room ? (int32_t)params->max_tokens : room;
}

static qw_status add_logprobs(const qw_engine *e, qw_sequence *seq, qw_error *err)
{
    int64_t n_top = seq->request->params.logprobs;
    if (n_top == QW_LOGPROBS_OFF) return QW_OK;
    size_t n = qw_logprobs_len(e->sampler, n_top), n_rows = e->is_async ? 2 : 1;
    seq->logprobs = qw_mem_array(n_rows * n, sizeof *seq->logprobs);
    if (!seq->logprobs) return qw_fail_memory(err, n * sizeof *seq->logprobs, "logprobs");
    seq->n_logprobs = n;
    return QW_OK;
}

static qw_status add_child(qw_engine *e, qw_request *r, int32_t child, const int32_t *prompt,
                           qw_error *err)
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
        .eos_ids = e->eos_ids,
        .n_eos_ids = e->n_eos_ids,
        .think_start_id = e->think_start_id,
        .think_end_id = e->think_end_id,
        .seed = qw_sampler_seed(&r->params, e->seed, r->id, (uint64_t)child),
        .max_output = (size_t)r->max_tokens,
    };
    st = qw_sampler_state_new(&seq->sampler, e->sampler, &s, err);
    return st == QW_OK ? add_logprobs(e, seq, err) : st;
}

// A request with all its children, in no queue yet.
static qw_status make_request(qw_engine *e, qw_request *r, const int32_t *prompt, qw_error *err)
{
    qw_status st = collect_stop_ids(e, r, err);
    for (int32_t i = 0; i < r->n_children && st == QW_OK; i++) st = add_child(e, r, i, prompt, err);
    return st == QW_OK ? qw_scheduler_reserve(&e->scheduler, r->n_children, err) : st;
}

qw_status qw_engine_submit(qw_engine *e, const int32_t *prompt, size_t n_prompt,
                           qw_sampling_params *params, const qw_submit_options *options,
                           const qw_request_sink *sink, uint64_t *id, qw_error *err)
{
    QW_ASSERT(!e->is_telling);
    qw_status st = check_request(e, prompt, n_prompt, params, err);
    if (st != QW_OK) return st;
    qw_sampling_params given = *params; // given back untouched on failure
    qw_request_args args = {.id = e->n_arrivals,
                            .n_prompt = (int32_t)n_prompt,
                            .max_tokens = resolve_length(e, n_prompt, params),
                            .sink = sink,
                            .options = options};
    qw_request *r;
    st = qw_request_new(&r, &args, params, err);
    if (st != QW_OK) return st;
    st = make_request(e, r, prompt, err);
    if (st != QW_OK) {
        for (int32_t i = 0; i < r->n_children; i++) qw_sequence_free(r->children[i]);
        *params = given;
        qw_sampling_params_init(&r->params);
        qw_request_free(r);
        return st;
    }
    if (options && options->cache_salt && e->kv.has_prefixes)
        r->salt = qw_prefix_cache_hash_bytes(&e->kv.prefixes, options->cache_salt,
                                             strlen(options->cache_salt));
    r->facts.arrival_ns = qw_clock_ns();
    e->n_arrivals++;
    table_add(e, r);
    for (int32_t i = 0; i < r->n_children; i++) qw_scheduler_add(&e->scheduler, r->children[i]);
    if (id) *id = r->id;
    return QW_OK;
}

// The ends of sequences and requests

// Free a sequence that is over and that no step and no result needs any more.
static void let_go(qw_sequence *seq)
{
    if (seq->state != QW_SEQ_FINISHED || seq->n_holds > 0) return;
    qw_request *r = seq->request;
    qw_sequence_free(seq);
    if (r->n_alive == 0) qw_request_free(r);
}

static void release_holds(qw_sequence **sequences, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        sequences[i]->n_holds--;
        let_go(sequences[i]);
    }
}

// The child's last word has been told, or it has none. The sequence may be gone afterwards.
static void end_child(qw_engine *e, qw_sequence *seq)
{
    qw_request *r = seq->request;
    seq->is_silent = true;
    qw_scheduler_remove(&e->scheduler, seq, &e->kv);
    if (--r->n_unfinished == 0) {
        table_remove(e, r);
        e->is_telling = true;
        if (r->sink.done) r->sink.done(r->sink.ctx, &r->facts);
        e->is_telling = false;
    }
    let_go(seq);
}

// True if the sink wants no more.
static bool tell(qw_engine *e, qw_sequence *seq, const qw_token_event *event)
{
    const qw_request_sink *sink = &seq->request->sink;
    e->is_telling = true;
    bool withdrawn = sink->token(sink->ctx, event);
    e->is_telling = false;
    return withdrawn || event->finish != QW_FINISH_NONE;
}

static void abort_child(qw_engine *e, qw_sequence *seq, const qw_error *why)
{
    qw_token_event event = {.child = seq->child,
                            .id = -1,
                            .time_ns = qw_clock_ns(),
                            .finish = QW_FINISH_ABORT,
                            .stop_id = -1,
                            .error = why};
    (void)tell(e, seq, &event);
    end_child(e, seq);
}

// End all children that have not ended; `why` NULL: silently. The request may be gone afterwards.
static void end_request(qw_engine *e, qw_request *r, const qw_error *why)
{
    for (int32_t i = 0, n = r->n_unfinished; n > 0; i++) {
        qw_sequence *seq = r->children[i];
        if (!seq || seq->is_silent) continue;
        n--;
        if (why)
            abort_child(e, seq, why);
        else
            end_child(e, seq);
    }
}

void qw_engine_cancel(qw_engine *e, uint64_t id)
{
    QW_ASSERT(!e->is_telling);
    qw_request *r = table_find(e, id);
    if (r) end_request(e, r, NULL);
}

void qw_engine_reset_prefix_cache(qw_engine *e)
{
    qw_kv_cache_reset_prefixes(&e->kv);
}

// Taking over what a step brought

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

// Tell what a row's logits say about its position.
static void tell_position(qw_engine *e, qw_sequence *seq, int32_t position, const float *logits)
{
    qw_request *r = seq->request;
    qw_error err;
    seq->n_reported = position + 1;
    e->is_telling = true;
    if (r->sink.logits) r->sink.logits(r->sink.ctx, position, logits, e->config.vocab_size);
    int64_t n_top = r->params.prompt_logprobs;
    qw_status st = QW_OK;
    if (r->sink.prompt_logprobs && n_top != QW_LOGPROBS_OFF && position + 1 < r->n_prompt) {
        int32_t next = seq->tokens[position + 1];
        st = qw_logprobs_row(e->logprobs, e->sampler, logits, next, n_top, &err);
        if (st == QW_OK)
            r->sink.prompt_logprobs(r->sink.ctx, position + 1, e->logprobs,
                                    qw_logprobs_len(e->sampler, n_top));
    }
    e->is_telling = false;
    if (st != QW_OK) abort_child(e, seq, &err);
}

// Logits of the rows that somebody wants to see, from the hidden states the step has left behind.
// They are rarely asked for, so they need not run beside the next step.
static void tell_rows(qw_engine *e, const qw_batch *b)
{
    for (int32_t i = 0, n; i < b->n_told; i += n) {
        int32_t rows[MAX_TOLD_ROWS];
        int32_t most = e->max_logit_rows < MAX_TOLD_ROWS ? e->max_logit_rows : MAX_TOLD_ROWS;
        for (n = 0; n < most && i + n < b->n_told; n++) rows[n] = b->told[i + n].row;
        size_t stride;
        const float *logits = qw_model_logits(e->model, rows, n, &stride);
        for (int32_t j = 0; j < n; j++) {
            const qw_told_row *t = &b->told[i + j];
            qw_sequence *seq = b->sequences[t->i_seq];
            if (!seq->is_silent) tell_position(e, seq, t->position, logits + (size_t)j * stride);
        }
    }
}

static void count_step(qw_engine *e, const qw_batch *b)
{
    e->last_step = (qw_step_facts){.n_tokens = b->n_tokens, .n_seqs = b->n_seqs};
    for (int32_t i = 0; i < b->n_seqs; i++) {
        const qw_seq_range *range = &b->seqs[i];
        qw_request *r = b->sequences[i]->request;
        int32_t n_prompt = r->n_prompt - range->first_pos;
        r->facts.n_computed += range->n_rows;
        if (n_prompt > 0)
            e->last_step.n_prompt_tokens += n_prompt < range->n_rows ? n_prompt : range->n_rows;
    }
    e->n_steps++;
    e->n_prompt_tokens += (uint64_t)e->last_step.n_prompt_tokens;
}

// A sampled token joins its sequence. A surplus one, of a sequence that is over, is dropped.
static void take_sampled(qw_engine *e, const qw_batch *b, qw_sampled *s, int64_t now)
{
    qw_sequence *seq = b->sequences[s->i_seq];
    if (seq->state == QW_SEQ_FINISHED) return;
    s->seq = seq;
    seq->n_holds++;
    s->time_ns = now;
    if (s->status == QW_OK) {
        qw_request_facts *f = &seq->request->facts;
        if (f->first_token_ns == 0) f->first_token_ns = now;
        f->last_token_ns = now;
        qw_scheduler_token(seq, s->id);
        s->finish = finish_reason(e, seq, s->id, &s->stop_id);
    } else {
        s->finish = QW_FINISH_ABORT;
    }
    // Its blocks are free for the step after the next; it lives on until its end is told.
    if (s->finish != QW_FINISH_NONE) qw_scheduler_remove(&e->scheduler, seq, &e->kv);
}

// The step in flight has run: it becomes the untold one.
static void collect(qw_engine *e)
{
    qw_batch *b = e->in_flight;
    qw_executor_wait(e->executor);
    e->in_flight = NULL;
    e->untold = b;
    e->step_stats = *qw_model_step_stats(e->model);
    count_step(e, b);
    if (b->n_told > 0) tell_rows(e, b);
    int64_t now = qw_clock_ns();
    for (int32_t i = 0; i < b->n_sampled; i++) take_sampled(e, b, &b->sampled[i], now);
    release_holds(b->sequences, b->n_seqs);
}

static void tell_sampled(qw_engine *e, const qw_sampled *s, const qw_error *error)
{
    qw_sequence *seq = s->seq;
    seq->n_holds--;
    if (seq->is_silent) {
        let_go(seq);
        return;
    }
    if (s->status != QW_OK) {
        abort_child(e, seq, error);
        return;
    }
    qw_token_event event = {.child = seq->child,
                            .id = s->id,
                            .time_ns = s->time_ns,
                            .logprobs = s->logprobs,
                            .n_logprobs = seq->n_logprobs,
                            .finish = s->finish,
                            .stop_id = s->stop_id};
    seq->request->facts.n_generated++;
    e->n_generated_tokens++;
    if (tell(e, seq, &event)) end_child(e, seq);
}

static bool tell_results(qw_engine *e)
{
    qw_batch *b = e->untold;
    if (!b) return false;
    e->untold = NULL;
    for (int32_t i = 0; i < b->n_sampled; i++)
        if (b->sampled[i].seq) tell_sampled(e, &b->sampled[i], &b->errors[i]);
    return true;
}

// The next step, in a batch that nobody uses; NULL: nothing to do.
static qw_batch *schedule(qw_engine *e)
{
    if (!qw_scheduler_step(&e->scheduler, &e->kv)) return NULL;
    qw_batch *b = &e->batches[e->in_flight == &e->batches[0]];
    qw_batch_build(b, &e->scheduler);
    return b;
}

bool qw_engine_step(qw_engine *e)
{
    e->last_step = (qw_step_facts){0};
    bool moved = tell_results(e);
    qw_batch *next = schedule(e);
    if (e->in_flight) {
        collect(e);
        if (next) {
            int32_t n_dropped = qw_batch_patch(next);
            release_holds(next->sequences + next->n_seqs, n_dropped);
        }
        moved = true;
    }
    if (next && next->n_seqs > 0) {
        e->in_flight = next;
        qw_executor_submit(e->executor, next);
        moved = true;
        if (!e->is_async) {
            collect(e);
            (void)tell_results(e);
        }
    }
    return moved;
}

// Closing

static void drop_steps(qw_engine *e)
{
    if (e->in_flight) {
        qw_executor_wait(e->executor);
        release_holds(e->in_flight->sequences, e->in_flight->n_seqs);
    }
    for (int32_t i = 0; e->untold && i < e->untold->n_sampled; i++) {
        qw_sequence *seq = e->untold->sampled[i].seq;
        if (!seq) continue;
        seq->n_holds--;
        if (seq->is_silent) let_go(seq);
    }
    e->in_flight = e->untold = NULL;
}

void qw_engine_close(qw_engine *e)
{
    if (!e) return;
    qw_error why = {.code = QW_ERR_CANCELLED, .text = "the engine was closed"};
    drop_steps(e);
    for (int i = 0; i < N_BUCKETS; i++)
        while (e->requests[i]) end_request(e, e->requests[i], &why);
    qw_executor_free(e->executor);
    if (e->scheduler.scheduled) qw_scheduler_release(&e->scheduler);
    for (int i = 0; i < 2; i++) qw_batch_release(&e->batches[i]);
    qw_sampler_free(e->sampler);
    qw_mem_free(e->logprobs);
    qw_mem_free(e->eos_ids);
    qw_kv_cache_release(&e->kv);
    qw_model_free(e->model);
    qw_backend_close(e->be);
    qw_checkpoint_close(&e->checkpoint);
    qw_generation_config_release(&e->generation);
    qw_model_config_release(&e->config);
    qw_mem_free(e);
}
