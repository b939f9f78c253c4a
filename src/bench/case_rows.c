// What a step does beside products and attention: norms, rotation, sampling. The data of these fits
// in the caches; still they are compared with reading it from memory, as the formulas of
// cpu-kernels.md 1.3 do, so more than 100 % is possible.

#include "base/mem.h"
#include "bench/bench_case.h"
#include "engine/sampler.h"

// RMSNorm

typedef struct norm_case {
    const qw_bench_env *env;
    float *x, *y, *weight;
    size_t stride, size;
    int n, m;
} norm_case;

static void run_norm(void *ctx)
{
    norm_case *c = ctx;
    c->env->be->ops->rms_norm(c->env->be, c->y, c->stride, c->x, c->stride, c->weight, c->n, 1e-6f,
                              c->m, c->env->round);
}

static void free_norm(void *ctx)
{
    norm_case *c = ctx;
    qw_mem_unmap(c->x, c->size);
    qw_mem_unmap(c->y, c->size);
    qw_mem_free(c->weight);
    qw_mem_free(c);
}

qw_status qw_bench_norm_case(qw_bench_case *out, const qw_bench_env *env, int m, qw_error *err)
{
    int n = env->config->hidden_size;
    norm_case *c = qw_mem_calloc(1, sizeof *c);
    if (!c) return qw_fail_memory(err, sizeof *c, "a benchmark row");
    *c = (norm_case){.env = env, .n = n, .m = m, .stride = qw_row_stride((size_t)n)};
    c->size = c->stride * (size_t)m * sizeof(float);
    c->x = qw_mem_map(c->size, 4096);
    c->y = qw_mem_map(c->size, 4096);
    c->weight = qw_mem_array((size_t)n, sizeof *c->weight);
    if (!c->x || !c->y || !c->weight) {
        qw_status st = qw_fail_memory(err, c->size, "a benchmark row");
        free_norm(c);
        return st;
    }
    for (size_t i = 0; i < c->stride * (size_t)m; i++)
        c->x[i] = (float)((int)(i * 37 % 127) - 63) / 64.0f;
    for (int i = 0; i < n; i++) c->weight[i] = 1.0f;
    *out = (qw_bench_case){.op = "norm",
                           .format = env->format,
                           .m = m,
                           .kernel = "rms_norm",
                           .work = {.bytes = 2.0 * m * n * sizeof(float), .peak = QW_LIMIT_FMA},
                           .run = run_norm,
                           .free = free_norm,
                           .ctx = c};
    snprintf(out->shape, sizeof out->shape, "%s/rms", env->model);
    return QW_OK;
}

// Norm, rotation and cache write

typedef struct rope_case {
    const qw_bench_env *env;
    qw_qkv_args args;
    qw_kv_layout layout;
    qw_seq_range seq;
    float *qkv, *angles; /* angles: cos of every token, then sin */
    float *norms;
    uint8_t *pages;
    int32_t *table;
    size_t qkv_size, angles_size, pages_size;
} rope_case;

static void run_rope(void *ctx)
{
    rope_case *c = ctx;
    c->env->be->ops->norm_rope_store(c->env->be, &c->args);
}

static void free_rope(void *ctx)
{
    rope_case *c = ctx;
    qw_mem_unmap(c->qkv, c->qkv_size);
    qw_mem_unmap(c->angles, c->angles_size);
    qw_mem_unmap(c->pages, c->pages_size);
    qw_mem_free(c->norms);
    qw_mem_free(c->table);
    qw_mem_free(c);
}

qw_status qw_bench_rope_case(qw_bench_case *out, const qw_bench_env *env, int m, qw_error *err)
{
    const qw_model_config *cfg = env->config;
    int d = cfg->head_dim, q = cfg->num_attention_heads * d, kv = cfg->num_key_value_heads * d;
    enum { BLOCK_SIZE = 16 };
    rope_case *c = qw_mem_calloc(1, sizeof *c);
    if (!c) return qw_fail_memory(err, sizeof *c, "a benchmark row");
    c->env = env;
    c->layout = qw_kv_layout_make(env->kv_dtype, BLOCK_SIZE, cfg->num_key_value_heads, d);
    size_t stride = qw_row_stride((size_t)(q + 2 * kv)), rows = (size_t)m, half = (size_t)d / 2;
    size_t n_blocks = (rows + BLOCK_SIZE - 1) / BLOCK_SIZE;
    c->qkv_size = stride * rows * sizeof(float);
    c->angles_size = 2 * rows * half * sizeof(float);
    c->pages_size = n_blocks * c->layout.block_bytes;
    c->qkv = qw_mem_map(c->qkv_size, 4096);
    c->angles = qw_mem_map(c->angles_size, 4096);
    c->pages = qw_mem_map(c->pages_size, 4096);
    c->norms = qw_mem_array((size_t)d, sizeof *c->norms);
    c->table = qw_mem_array(n_blocks, sizeof *c->table);
    if (!c->qkv || !c->angles || !c->pages || !c->norms || !c->table) {
        qw_status st = qw_fail_memory(err, c->qkv_size, "a benchmark row");
        free_rope(c);
        return st;
    }
    for (size_t i = 0; i < stride * rows; i++)
        c->qkv[i] = (float)((int)(i * 37 % 127) - 63) / 64.0f;
    for (size_t i = 0; i < rows * half; i++) {
        c->angles[i] = 0.8f; // cos
        c->angles[rows * half + i] = 0.6f;
    }
    for (int i = 0; i < d; i++) c->norms[i] = 1.0f;
    for (size_t i = 0; i < n_blocks; i++) c->table[i] = (int32_t)i;
    c->seq = (qw_seq_range){.n_rows = m, .block_table = c->table};
    c->args = (qw_qkv_args){.qkv = c->qkv,
                            .stride = stride,
                            .k_column = q,
                            .v_column = q + kv,
                            .n_heads = cfg->num_attention_heads,
                            .q_norm = c->norms,
                            .k_norm = c->norms,
                            .cos = c->angles,
                            .sin = c->angles + rows * half,
                            .eps = 1e-6f,
                            .kv = c->pages,
                            .layout = &c->layout,
                            .seqs = &c->seq,
                            .n_seqs = 1,
                            .round = env->round};
    // q and k are read and written in place, k and v go to the cache.
    double bytes = m * (2.0 * (q + kv) * sizeof(float) +
                        2.0 * kv * (qw_dtype_bits(env->kv_dtype) / 8.0) + kv * 4.0);
    *out = (qw_bench_case){.op = "norm",
                           .format = env->format,
                           .m = m,
                           .kernel = "norm_rope",
                           .work = {.bytes = bytes, .peak = QW_LIMIT_FMA},
                           .run = run_rope,
                           .free = free_rope,
                           .ctx = c};
    snprintf(out->shape, sizeof out->shape, "%s/rope", env->model);
    return QW_OK;
}

// Sampling

enum { N_LOGIT_ROWS = 4 };

typedef struct sample_case {
    qw_sampler *sampler;
    qw_sampler_state *state;
    qw_sampling_params params;
    float *logits; /* [N_LOGIT_ROWS][n_vocab] */
    size_t n_vocab;
    int i_row;
} sample_case;

static void run_sample(void *ctx)
{
    sample_case *c = ctx;
    int32_t id;
    qw_error err;
    qw_status st = qw_sampler_sample(&id, c->sampler, c->state,
                                     c->logits + (size_t)c->i_row * c->n_vocab, &err);
    QW_ASSERT(st == QW_OK); // the logits are finite and nothing is masked
    c->i_row = (c->i_row + 1) % N_LOGIT_ROWS;
}

static void free_sample(void *ctx)
{
    sample_case *c = ctx;
    qw_sampler_state_free(c->state);
    qw_sampler_free(c->sampler);
    qw_sampling_params_release(&c->params);
    qw_mem_unmap(c->logits, N_LOGIT_ROWS * c->n_vocab * sizeof(float));
    qw_mem_free(c);
}

// The sum of four uniform numbers is nearly normal; a spread of 2 is that of real logits.
static void fill_logits(float *logits, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        int sum = 0;
        for (int shift = 24; shift < 56; shift += 8) sum += (int)(state >> shift & 0xFF);
        logits[i] = (float)(sum - 510) / 147.8f * 2.0f;
    }
}

qw_status qw_bench_sample_case(qw_bench_case *out, const qw_bench_env *env, qw_error *err)
{
    size_t v = (size_t)env->config->vocab_size;
    sample_case *c = qw_mem_calloc(1, sizeof *c);
    if (!c) return qw_fail_memory(err, sizeof *c, "a benchmark row");
    c->n_vocab = v;
    qw_sampling_params_init(&c->params);
    c->params.temperature = 0.6;
    c->params.top_k = 20;
    c->params.top_p = 0.95;
    c->logits = qw_mem_map(N_LOGIT_ROWS * v * sizeof(float), 4096);
    qw_status st = c->logits ? qw_sampler_new(&c->sampler, v, v, err)
                             : qw_fail_memory(err, N_LOGIT_ROWS * v * sizeof(float), "logits");
    qw_sampler_sequence seq = {.params = &c->params, .seed = 1, .max_output = 1};
    if (st == QW_OK) st = qw_sampler_state_new(&c->state, c->sampler, &seq, err);
    if (st != QW_OK) {
        free_sample(c);
        return st;
    }
    fill_logits(c->logits, N_LOGIT_ROWS * v);
    *out = (qw_bench_case){.op = "sample",
                           .format = "f32",
                           .m = 1,
                           .kernel = "sampler",
                           .work = {.bytes = (double)v * sizeof(float), .peak = QW_LIMIT_FMA},
                           .run = run_sample,
                           .free = free_sample,
                           .ctx = c};
    snprintf(out->shape, sizeof out->shape, "%zu", v);
    return QW_OK;
}
