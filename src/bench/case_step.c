// Whole steps of a model with made-up weights, as the engine runs them: embedding, all layers,
// final norm, lm_head and the choice of each sequence's next token. The scheduler is left out; it
// takes microseconds.

#include "base/mem.h"
#include "bench/bench_case.h"
#include "bench/profile.h"
#include "base/clock.h"
#include "engine/kv_cache.h"
#include "engine/sampler.h"
#include "model/model.h"

enum { BLOCK_SIZE = 16, SEED = 1 };

struct qw_bench_step_model {
    const qw_bench_env *env;
    int n_refs;
    qw_profile profile;
    qw_checkpoint checkpoint;
    qw_model *model;
    qw_sampler *sampler;
    qw_sampling_params params;
    qw_sampler_state *state; /* choosing changes nothing in it: one for all sequences */
    int max_tokens;
    const void *planned_for; /* the case whose pages the model's step plans are for */
};

typedef struct step_case {
    qw_bench_step_model *model;
    bool planned;
    qw_kv_cache kv;
    qw_model_step step;
    int32_t *numbers; /* token ids, positions, block tables, logit rows: one array */
    int32_t *logit_rows;
    qw_seq_range *seqs;
    int64_t n_runs, total_ns, sampling_ns;
    int64_t ns[QW_PROFILE_N_PARTS], n_calls;
} step_case;

// The model

void qw_bench_step_model_drop(qw_bench_step_model *m)
{
    if (!m || --m->n_refs > 0) return;
    qw_sampler_state_free(m->state);
    qw_sampler_free(m->sampler);
    qw_sampling_params_release(&m->params);
    qw_model_free(m->model);
    qw_checkpoint_close(&m->checkpoint);
    qw_mem_free(m);
}

static qw_status open_model(qw_bench_step_model *m, qw_error *err)
{
    const qw_model_config *cfg = m->env->config;
    size_t v = (size_t)cfg->vocab_size;
    qw_model_load_args args = {
        .compute = QW_COMPUTE_BF16,
        .limits = {.max_tokens = m->max_tokens,
                   .max_logit_rows = m->max_tokens < 64 ? m->max_tokens : 64}};
    qw_status st = qw_model_dummy_checkpoint(&m->checkpoint, cfg,
                                             qw_dummy_scheme_find(m->env->scheme), SEED, err);
    if (st == QW_OK)
        st = qw_model_load(&m->model, &m->profile.base, cfg, &m->checkpoint, &args, err);
    if (st == QW_OK) st = qw_sampler_new(&m->sampler, v, v, err);
    m->params.temperature = 0.6;
    m->params.top_k = 20;
    m->params.top_p = 0.95;
    qw_sampler_sequence seq = {.params = &m->params, .seed = SEED, .max_output = 1};
    if (st == QW_OK) st = qw_sampler_state_new(&m->state, m->sampler, &seq, err);
    return st;
}

qw_status qw_bench_step_model_new(qw_bench_step_model **out, const qw_bench_env *env,
                                  int max_tokens, qw_error *err)
{
    qw_bench_step_model *m = qw_mem_calloc(1, sizeof *m);
    if (!m) return qw_fail_memory(err, sizeof *m, "a model");
    m->env = env;
    m->n_refs = 1;
    m->max_tokens = max_tokens;
    qw_profile_init(&m->profile, env->be);
    qw_sampling_params_init(&m->params);
    qw_status st = open_model(m, err);
    if (st != QW_OK) {
        qw_bench_step_model_drop(m);
        return st;
    }
    *out = m;
    return QW_OK;
}

// Steps

// Rows take turns, and each has its own pages: plans are made again, or dropped, when another one's
// turn comes. That takes a thousandth of a step.
static void plan_for(step_case *c)
{
    qw_bench_step_model *m = c->model;
    const step_case *planned_for = c->planned ? c : NULL;
    if (m->planned_for == planned_for) return;
    int32_t size = c->step.n_tokens;
    qw_status st =
        qw_model_plan_steps(m->model, &size, c->planned ? 1 : 0, c->kv.layers, &c->kv.layout, NULL);
    QW_ASSERT(st == QW_OK); // some kilobytes, about those that the last plan gave back
    m->planned_for = planned_for;
}

static void run(void *ctx)
{
    step_case *c = ctx;
    qw_bench_step_model *m = c->model;
    plan_for(c);
    memset(m->profile.ns, 0, sizeof m->profile.ns);
    m->profile.n_calls = 0;
    int64_t start = qw_clock_ns();
    qw_model_forward(m->model, &c->step);
    size_t stride;
    const float *logits = qw_model_logits(m->model, c->logit_rows, c->step.n_seqs, &stride);
    int64_t sampling = qw_clock_ns();
    for (int i = 0; i < c->step.n_seqs; i++) {
        int32_t id;
        qw_status st =
            qw_sampler_sample(&id, m->sampler, m->state, logits + (size_t)i * stride, NULL);
        QW_ASSERT(st == QW_OK); // made-up weights give finite logits
    }
    int64_t end = qw_clock_ns();
    c->sampling_ns += end - sampling;
    c->total_ns += end - start;
    c->n_runs++;
    c->n_calls += m->profile.n_calls;
    for (int i = 0; i < QW_PROFILE_N_PARTS; i++) c->ns[i] += m->profile.ns[i];
}

static void describe_parts(void *ctx, char *out, size_t size)
{
    const step_case *c = ctx;
    double total = (double)c->total_ns / 100; // so that quotients are percent
    double rest = (double)(c->total_ns - c->sampling_ns);
    for (int i = 0; i < QW_PROFILE_N_PARTS; i++) rest -= (double)c->ns[i];
    if (c->planned) {
        snprintf(out, size, "plan %.1f %%, sampling %.1f %%, rest %.1f %%",
                 (double)c->ns[QW_PROFILE_PLANS] / total, (double)c->sampling_ns / total,
                 rest / total);
        return;
    }
    snprintf(out, size,
             "products %.1f %%, attention %.1f %%, norms %.1f %%, other kernels %.1f %%, sampling "
             "%.1f %%, rest %.1f %%; barriers about %.1f %%",
             (double)c->ns[QW_PROFILE_PRODUCTS] / total,
             (double)c->ns[QW_PROFILE_ATTENTION] / total, (double)c->ns[QW_PROFILE_NORMS] / total,
             (double)c->ns[QW_PROFILE_OTHER] / total, (double)c->sampling_ns / total, rest / total,
             (double)c->n_calls * c->model->env->barrier_ns / total);
}

static void free_case(void *ctx)
{
    step_case *c = ctx;
    if (c->model && c->model->planned_for == c) c->model->planned_for = NULL;
    qw_kv_cache_release(&c->kv);
    qw_mem_free(c->numbers);
    qw_mem_free(c->seqs);
    qw_bench_step_model_drop(c->model);
    qw_mem_free(c);
}

// Numbers of ordinary size in every page: as if tokens had been computed there.
static void fill_pages(const step_case *c, int32_t n_blocks)
{
    const qw_bench_env *env = c->model->env;
    size_t layer_size = (size_t)n_blocks * c->kv.layout.block_bytes, chunk;
    for (int l = 0; l < env->config->num_hidden_layers; l++) {
        for (size_t done = 0; done < layer_size; done += chunk) {
            chunk = layer_size - done < env->buffer->size ? layer_size - done : env->buffer->size;
            memcpy(c->kv.layers[l] + done, env->buffer->data, chunk);
        }
    }
}

// n_seqs sequences with n_rows tokens each, of which the last stands at position `last`.
static qw_status make(step_case **out, qw_bench_step_model *model, int n_seqs, int n_rows, int last,
                      qw_error *err)
{
    const qw_model_config *cfg = model->env->config;
    step_case *c = qw_mem_calloc(1, sizeof *c);
    if (!c) return qw_fail_memory(err, sizeof *c, "a step");
    model->n_refs++;
    c->model = model;
    size_t n = (size_t)n_seqs * (size_t)n_rows, per_seq = (size_t)last / BLOCK_SIZE + 1;
    int32_t n_blocks = (int32_t)(per_seq * (size_t)n_seqs);
    qw_kv_layout layout = qw_kv_layout_make(model->env->kv_dtype, BLOCK_SIZE,
                                            cfg->num_key_value_heads, cfg->head_dim);
    qw_status st = qw_kv_cache_init(&c->kv, &layout, cfg->num_hidden_layers, n_blocks, err);
    c->numbers = qw_mem_array(2 * n + (size_t)n_blocks + (size_t)n_seqs, sizeof *c->numbers);
    c->seqs = qw_mem_calloc((size_t)n_seqs, sizeof *c->seqs);
    if (st == QW_OK && (!c->numbers || !c->seqs))
        st = qw_fail_memory(err, n * sizeof *c->numbers, "a step");
    if (st != QW_OK) {
        free_case(c);
        return st;
    }
    int32_t *ids = c->numbers, *positions = ids + n, *tables = positions + n;
    c->logit_rows = tables + n_blocks;
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)(i * 7919 % (size_t)cfg->vocab_size);
        positions[i] = last - n_rows + 1 + (int32_t)(i % (size_t)n_rows);
    }
    for (int32_t i = 0; i < n_blocks; i++) tables[i] = i;
    for (int i = 0; i < n_seqs; i++) {
        c->seqs[i] = (qw_seq_range){.first_row = i * n_rows,
                                    .n_rows = n_rows,
                                    .first_pos = last - n_rows + 1,
                                    .block_table = tables + (size_t)i * per_seq};
        c->logit_rows[i] = (i + 1) * n_rows - 1;
    }
    fill_pages(c, n_blocks);
    c->step = (qw_model_step){.n_tokens = (int)n,
                              .token_ids = ids,
                              .positions = positions,
                              .seqs = c->seqs,
                              .n_seqs = n_seqs,
                              .kv = c->kv.layers,
                              .layout = &c->kv.layout};
    *out = c;
    return QW_OK;
}

static void describe(qw_bench_case *out, step_case *c, const char *what, int m, int context)
{
    *out = (qw_bench_case){.op = "step",
                           .format = c->model->env->format,
                           .m = m,
                           .context = context,
                           .kernel = c->planned ? "plan" : "model",
                           .run = run,
                           .describe_parts = describe_parts,
                           .free = free_case,
                           .ctx = c};
    snprintf(out->shape, sizeof out->shape, "%s/%s", c->model->env->model, what);
}

// Weights of all layers' products that m rows meet together.
static double layer_weights(const qw_model_config *cfg, int m)
{
    return qw_model_config_layer_weights(cfg, qw_model_config_touched_experts(cfg, m));
}

// And that each of them meets.
static double row_weights(const qw_model_config *cfg)
{
    return qw_model_config_layer_weights(cfg, cfg->num_experts_per_tok);
}

static double head_weights(const qw_model_config *cfg)
{
    return (double)cfg->vocab_size * cfg->hidden_size;
}

// The head of a quantized model is int8.
static bool is_integer(const qw_bench_env *env)
{
    return env->dtype == QW_DTYPE_I8 || env->dtype == QW_DTYPE_I4;
}

// The weights that m rows meet, once, with the scales of groups.
static double weight_bytes(const qw_bench_env *env, int m)
{
    double per_weight = qw_dtype_bits(env->dtype) / 8.0, head = is_integer(env) ? 1 : per_weight;
    if (env->group > 0) per_weight += 4.0 / env->group;
    return layer_weights(env->config, m) * per_weight + head_weights(env->config) * head;
}

// Products of the layers for `m` tokens and of the head for `n_rows`.
static void add_products(qw_work *work, const qw_bench_env *env, int m, int n_rows)
{
    double head = 2 * head_weights(env->config) * n_rows;
    work->peak = env->peak;
    work->product_ops = 2 * row_weights(env->config) * m;
    if (is_integer(env) && env->peak != QW_LIMIT_INT8)
        work->other_ops[QW_LIMIT_INT8] = head;
    else
        work->product_ops += head;
}

qw_status qw_bench_decode_step_case(qw_bench_case *out, qw_bench_step_model *model, int m,
                                    int context, bool planned, qw_error *err)
{
    step_case *c;
    const qw_bench_env *env = model->env;
    const qw_model_config *cfg = env->config;
    qw_status st = make(&c, model, m, 1, context - 1, err);
    if (st != QW_OK) return st;
    c->planned = planned;
    describe(out, c, planned ? "decode" : "decode-eager", m, context);
    double positions = (double)m * context * cfg->num_hidden_layers;
    double group = (double)cfg->num_attention_heads / cfg->num_key_value_heads;
    out->work = (qw_work){
        .bytes = weight_bytes(env, m) + positions * 2 * cfg->num_key_value_heads * cfg->head_dim *
                                            (qw_dtype_bits(env->kv_dtype) / 8.0),
        .attention_ops = 4 * positions * cfg->num_attention_heads * cfg->head_dim * (1 + 1 / group),
    };
    add_products(&out->work, env, m, m);
    return QW_OK;
}

qw_status qw_bench_prefill_step_case(qw_bench_case *out, qw_bench_step_model *model, int m,
                                     qw_error *err)
{
    step_case *c;
    const qw_bench_env *env = model->env;
    const qw_model_config *cfg = env->config;
    qw_status st = make(&c, model, 1, m, m - 1, err);
    if (st != QW_OK) return st;
    describe(out, c, "prefill", m, m);
    out->work = (qw_work){
        .bytes = weight_bytes(env, m),
        .attention_ops =
            2.0 * m * (m + 1) * cfg->num_hidden_layers * cfg->num_attention_heads * cfg->head_dim,
    };
    add_products(&out->work, env, m, 1);
    return QW_OK;
}
