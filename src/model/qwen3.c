// Qwen3 dense decoder (qwen3-dense.md 2 and 3).

#include <math.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/model.h"
#include "model/rope.h"
#include "model/step_plan.h"
#include "model/weights.h"

typedef struct layer {
    float *input_norm, *post_attention_norm; /* [hidden_size] */
    float *q_norm, *k_norm;                  /* [head_dim] */
    qw_linear qkv, o, gate_up, down;
} layer;

// Steps that were prepared, and the arrays their plans read instead of the caller's.
typedef struct planned_steps {
    qw_step_plans forward, logits;
    uint8_t *const *kv; /* the pages they are for */
    qw_kv_layout layout;
    int32_t *token_ids; /* [largest step] */
    qw_seq_range *seqs; /* [largest step] */
    int32_t *rows;      /* [max_logit_rows] */
} planned_steps;

struct qw_model {
    qw_backend *be;
    const qw_model_config *config;
    qw_model_limits limits;
    bool round;     /* dtype bfloat16 */
    qw_arena arena; /* norms and the list of layers; model lifetime */
    int n_layers;
    layer *layers;
    float *final_norm;
    qw_host_matrix embed_tokens; /* rows stay in the mapped file ... */
    void *embed_memory;          /* ... or, when made up, here */
    size_t embed_size;
    qw_linear lm_head;
    qw_packed_weights packed; /* what the linears borrow from */
    qw_rope rope;
    float scale; /* head_dim^-0.5 */

    // Step scratch: one mapping, cut up once. Widths in floats, strides from qw_row_stride.
    void *scratch;
    size_t scratch_size;
    size_t hidden_stride, qkv_stride, heads_stride, mlp_stride, logits_stride;
    float *hidden;                           /* residual stream [max_tokens] */
    float *normed;                           /* [max_tokens] */
    float *qkv;                              /* [max_tokens] */
    float *heads;                            /* attention output [max_tokens] */
    float *mlp;                              /* silu(gate) * up [max_tokens] */
    float *cos, *sin;                        /* [max_tokens][head_dim / 2] */
    float *logit_in, *logit_normed, *logits; /* [max_logit_rows] */

    planned_steps planned;
    qw_step_stats stats; /* engine thread only */
};

#define LAYER "model.layers.%d."
#define EMBED_TOKENS "model.embed_tokens.weight"

static int heads_width(const qw_model_config *c)
{
    return (int)(c->num_attention_heads * c->head_dim);
}

static int kv_width(const qw_model_config *c)
{
    return (int)(c->num_key_value_heads * c->head_dim);
}

static int round16(int n)
{
    return (n + 15) / 16 * 16;
}

// Tensors

typedef struct tensor_row {
    const char *pattern;
    int64_t rows, cols;
} tensor_row;

static qw_status list_layer(qw_weight_list *list, const qw_model_config *c, int i, qw_error *err)
{
    int64_t h = c->hidden_size, f = c->intermediate_size, q = heads_width(c), kv = kv_width(c);
    const tensor_row rows[] = {
        {LAYER "input_layernorm.weight", h, 0},
        {LAYER "self_attn.q_proj.weight", q, h},
        {LAYER "self_attn.k_proj.weight", kv, h},
        {LAYER "self_attn.v_proj.weight", kv, h},
        {LAYER "self_attn.q_norm.weight", c->head_dim, 0},
        {LAYER "self_attn.k_norm.weight", c->head_dim, 0},
        {LAYER "self_attn.o_proj.weight", h, q},
        {LAYER "post_attention_layernorm.weight", h, 0},
        {LAYER "mlp.gate_proj.weight", f, h},
        {LAYER "mlp.up_proj.weight", f, h},
        {LAYER "mlp.down_proj.weight", h, f},
        // with attention_bias only
        {LAYER "self_attn.q_proj.bias", q, 0},
        {LAYER "self_attn.k_proj.bias", kv, 0},
        {LAYER "self_attn.v_proj.bias", kv, 0},
        {LAYER "self_attn.o_proj.bias", h, 0},
    };
    size_t n = QW_ARRAY_LEN(rows) - (c->attention_bias ? 0 : 4);
    qw_status st = QW_OK;
    for (size_t r = 0; r < n && st == QW_OK; r++)
        st = qw_weight_list_add(list, rows[r].pattern, i, rows[r].rows, rows[r].cols, err);
    return st;
}

static bool may_skip(const char *name, const void *ctx)
{
    const qw_model_config *c = ctx;
    int64_t i_layer;
    if (qw_str_ends_with(qw_str_of(name), QW_STR("rotary_emb.inv_freq"))) return true;
    if (c->tie_word_embeddings && qw_str_starts_with(qw_str_of(name), QW_STR("lm_head.")))
        return true;
    // Layers beyond num_hidden_layers: a model cut short by --hf-overrides runs its first layers.
    const char *p = "model.layers.";
    if (!qw_str_starts_with(qw_str_of(name), qw_str_of(p))) return false;
    const char *number = name + strlen(p), *dot = strchr(number, '.');
    return dot && qw_str_to_i64((qw_str){number, (size_t)(dot - number)}, &i_layer) &&
           i_layer >= c->num_hidden_layers;
}

static qw_status list_tensors(qw_weight_list *list, const qw_model_config *c, qw_error *err)
{
    int64_t v = c->vocab_size, h = c->hidden_size;
    qw_status st = qw_weight_list_add(list, EMBED_TOKENS, -1, v, h, err);
    if (st == QW_OK) st = qw_weight_list_add(list, "model.norm.weight", -1, h, 0, err);
    if (st == QW_OK && !c->tie_word_embeddings)
        st = qw_weight_list_add(list, "lm_head.weight", -1, v, h, err);
    for (int i = 0; i < c->num_hidden_layers && st == QW_OK; i++) st = list_layer(list, c, i, err);
    return st;
}

static qw_status check_tensors(const qw_model_config *c, const qw_checkpoint *ck, qw_error *err)
{
    qw_weight_list list;
    qw_weight_list_init(&list);
    qw_status st = list_tensors(&list, c, err);
    if (st == QW_OK) st = qw_weight_list_check(&list, ck, may_skip, c, err);
    qw_weight_list_release(&list);
    return st;
}

qw_status qw_model_dummy_checkpoint(qw_checkpoint *out, const qw_model_config *config,
                                    uint64_t seed, qw_error *err)
{
    qw_weight_list list;
    qw_weight_list_init(&list);
    qw_status st = list_tensors(&list, config, err);
    if (st == QW_OK) st = qw_weight_list_make_up(&list, out, seed, err);
    qw_weight_list_release(&list);
    return st;
}

// Products: which tensors they are made of

typedef struct product {
    const char *name; /* in the packed cache */
    const char *weights[3], *biases[3];
    int n;
    qw_concat concat;
} product;

enum { QKV, O, GATE_UP, DOWN, N_LAYER_PRODUCTS };

static const product layer_products[N_LAYER_PRODUCTS] = {
    [QKV] = {LAYER "self_attn.qkv_proj",
             {LAYER "self_attn.q_proj.weight", LAYER "self_attn.k_proj.weight",
              LAYER "self_attn.v_proj.weight"},
             {LAYER "self_attn.q_proj.bias", LAYER "self_attn.k_proj.bias",
              LAYER "self_attn.v_proj.bias"},
             3,
             QW_CONCAT_STACK},
    [O] = {LAYER "self_attn.o_proj",
           {LAYER "self_attn.o_proj.weight"},
           {LAYER "self_attn.o_proj.bias"},
           1,
           QW_CONCAT_STACK},
    [GATE_UP] = {LAYER "mlp.gate_up_proj",
                 {LAYER "mlp.gate_proj.weight", LAYER "mlp.up_proj.weight"},
                 {0},
                 2,
                 QW_CONCAT_INTERLEAVE},
    [DOWN] = {LAYER "mlp.down_proj", {LAYER "mlp.down_proj.weight"}, {0}, 1, QW_CONCAT_STACK},
};

static product lm_head_product(const qw_model_config *c)
{
    bool tied = c->tie_word_embeddings;
    return (product){tied ? "model.embed_tokens" : "lm_head",
                     {tied ? EMBED_TOKENS : "lm_head.weight"},
                     {0},
                     1,
                     QW_CONCAT_STACK};
}

static qw_product bind(const product *p, const qw_model_config *c, const qw_checkpoint *ck, int i)
{
    qw_product out = {.n_segments = p->n, .concat = p->concat};
    bool has_bias = p->biases[0] && c->attention_bias;
    for (int s = 0; s < p->n; s++) {
        out.segments[s] = qw_weight_view(ck, p->weights[s], i);
        if (has_bias) out.biases[s] = qw_weight_view(ck, p->biases[s], i);
    }
    return out;
}

static bool product_bytes(size_t *total, const product *p, const qw_model_config *c,
                          const qw_checkpoint *ck, int i)
{
    qw_product bound = bind(p, c, ck, i);
    qw_linear_source source = {bound.segments, bound.biases, bound.n_segments, bound.concat};
    qw_linear w;
    return qw_linear_plan(&w, &source, NULL) == QW_OK && qw_add_size(total, *total, w.size) &&
           qw_add_size(total, *total, w.bias_size);
}

// Sizes

// Widths of the step buffers, and the bytes they take together.
static bool plan_scratch(qw_model *m, size_t *total)
{
    const qw_model_config *c = m->config;
    size_t tokens = (size_t)m->limits.max_tokens, rows = (size_t)m->limits.max_logit_rows;
    m->hidden_stride = qw_row_stride((size_t)c->hidden_size);
    m->qkv_stride =
        qw_row_stride((size_t)round16(heads_width(c)) + 2 * (size_t)round16(kv_width(c)));
    m->heads_stride = qw_row_stride((size_t)heads_width(c));
    m->mlp_stride = qw_row_stride((size_t)c->intermediate_size);
    m->logits_stride = qw_row_stride((size_t)c->vocab_size);
    size_t per_token = 2 * m->hidden_stride + m->qkv_stride + m->heads_stride + m->mlp_stride +
                       (size_t)c->head_dim;
    size_t per_row = 2 * m->hidden_stride + m->logits_stride, a, b, sum;
    return qw_mul_size(&a, per_token, tokens) && qw_mul_size(&b, per_row, rows) &&
           qw_add_size(&sum, a, b) && qw_mul_size(total, sum, sizeof(float));
}

static size_t embed_bytes(const qw_host_matrix *m)
{
    return (size_t)m->rows * (size_t)m->cols * (size_t)(qw_dtype_bits(m->dtype) / 8);
}

qw_status qw_model_measure(qw_model_footprint *out, const qw_model_config *config,
                           const qw_checkpoint *checkpoint, const qw_model_limits *limits,
                           const qw_kv_layout *layout, qw_error *err)
{
    qw_status st = check_tensors(config, checkpoint, err);
    if (st != QW_OK) return st;
    qw_model m = {.config = config, .limits = *limits};
    qw_model_footprint f = {0};
    product head = lm_head_product(config);
    bool ok = plan_scratch(&m, &f.activations) &&
              product_bytes(&f.weights, &head, config, checkpoint, -1);
    for (int i = 0; i < config->num_hidden_layers && ok; i++)
        for (int p = 0; p < N_LAYER_PRODUCTS && ok; p++)
            ok = product_bytes(&f.weights, &layer_products[p], config, checkpoint, i);
    qw_host_matrix embed = qw_weight_view(checkpoint, EMBED_TOKENS, -1);
    if (!embed.data) ok = ok && qw_add_size(&f.weights, f.weights, embed_bytes(&embed));
    size_t norms = (2 * (size_t)config->hidden_size + 2 * (size_t)config->head_dim) * sizeof(float);
    ok = ok && qw_mul_size(&norms, norms, (size_t)config->num_hidden_layers) &&
         qw_add_size(&f.weights, f.weights, norms) &&
         qw_mul_size(&f.kv_per_block, layout->block_bytes, (size_t)config->num_hidden_layers);
    if (!ok)
        return qw_fail(err, QW_ERR_FORMAT, "config.json describes a model larger than any memory");
    *out = f;
    return QW_OK;
}

// Loading

static void cut_scratch(qw_model *m)
{
    float *p = m->scratch;
    size_t tokens = (size_t)m->limits.max_tokens, rows = (size_t)m->limits.max_logit_rows;
    size_t half = (size_t)m->config->head_dim / 2;
    struct {
        float **out;
        size_t n;
    } parts[] = {
        {&m->hidden, tokens * m->hidden_stride},
        {&m->normed, tokens * m->hidden_stride},
        {&m->qkv, tokens * m->qkv_stride},
        {&m->heads, tokens * m->heads_stride},
        {&m->mlp, tokens * m->mlp_stride},
        {&m->logit_in, rows * m->hidden_stride},
        {&m->logit_normed, rows * m->hidden_stride},
        {&m->logits, rows * m->logits_stride},
        {&m->cos, tokens * half},
        {&m->sin, tokens * half},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(parts); i++) {
        *parts[i].out = p;
        p += parts[i].n;
    }
}

static float *load_vector(qw_model *m, const qw_checkpoint *ck, const char *pattern, int i,
                          int64_t n)
{
    float *v = qw_arena_array(&m->arena, (size_t)n, sizeof *v);
    if (v) qw_weight_widen(v, ck, pattern, i);
    return v;
}

static qw_status load_norms(qw_model *m, const qw_checkpoint *ck, int i, qw_error *err)
{
    layer *l = &m->layers[i];
    int64_t h = m->config->hidden_size, d = m->config->head_dim;
    l->input_norm = load_vector(m, ck, LAYER "input_layernorm.weight", i, h);
    l->post_attention_norm = load_vector(m, ck, LAYER "post_attention_layernorm.weight", i, h);
    l->q_norm = load_vector(m, ck, LAYER "self_attn.q_norm.weight", i, d);
    l->k_norm = load_vector(m, ck, LAYER "self_attn.k_norm.weight", i, d);
    if (!l->input_norm || !l->post_attention_norm || !l->q_norm || !l->k_norm)
        return qw_fail_memory(err, (size_t)h * sizeof(float), "norm weights");
    return QW_OK;
}

// Rows of a file are looked up in the map; made-up rows are written to memory first.
static qw_status load_embedding(qw_model *m, const qw_checkpoint *ck, qw_error *err)
{
    m->embed_tokens = qw_weight_view(ck, EMBED_TOKENS, -1);
    if (m->embed_tokens.data) return QW_OK;
    m->embed_size = embed_bytes(&m->embed_tokens);
    m->embed_memory = qw_mem_map(m->embed_size, 4096); // model lifetime
    if (!m->embed_memory) return qw_fail_memory(err, m->embed_size, "the embedding");
    m->be->fill_rows(m->be, m->embed_memory, &m->embed_tokens);
    m->embed_tokens.data = m->embed_memory;
    return QW_OK;
}

static qw_status add_product(qw_product *out, const qw_model *m, const product *p,
                             const qw_checkpoint *ck, int i, qw_linear *linear, qw_arena *names,
                             qw_error *err)
{
    *out = bind(p, m->config, ck, i);
    if (strcmp(p->weights[0], EMBED_TOKENS) == 0) out->segments[0] = m->embed_tokens;
    out->linear = linear;
    out->name = qw_weight_name(names, p->name, i);
    return out->name ? QW_OK : qw_fail_memory(err, 0, "a product's name");
}

// All products, in order of use.
static qw_status load_products(qw_model *m, const qw_checkpoint *ck, const qw_model_load_args *args,
                               qw_error *err)
{
    size_t n_max = (size_t)m->n_layers * N_LAYER_PRODUCTS + 1, n = 0;
    qw_arena names;
    qw_arena_init(&names, 16384);
    qw_status st = QW_OK;
    qw_product *products = qw_mem_array(n_max, sizeof *products);
    if (!products) st = qw_fail_memory(err, n_max * sizeof *products, "the list of products");
    for (int i = 0; i < m->n_layers && st == QW_OK; i++) {
        layer *l = &m->layers[i];
        qw_linear *const linears[] = {
            [QKV] = &l->qkv, [O] = &l->o, [GATE_UP] = &l->gate_up, [DOWN] = &l->down};
        for (int p = 0; p < N_LAYER_PRODUCTS && st == QW_OK; p++)
            st = add_product(&products[n++], m, &layer_products[p], ck, i, linears[p], &names, err);
    }
    product head = lm_head_product(m->config);
    if (st == QW_OK) st = add_product(&products[n++], m, &head, ck, -1, &m->lm_head, &names, err);
    if (st == QW_OK)
        st = qw_packed_weights_load(&m->packed, m->be, products, n, ck, &args->cache,
                                    args->progress, args->progress_ctx, err);
    qw_mem_free(products);
    qw_arena_release(&names);
    return st;
}

static qw_status load(qw_model *m, const qw_checkpoint *ck, const qw_model_load_args *args,
                      qw_error *err)
{
    const qw_model_config *c = m->config;
    qw_status st = check_tensors(c, ck, err);
    if (st != QW_OK) return st;
    if (!plan_scratch(m, &m->scratch_size))
        return qw_fail(err, QW_ERR_NO_MEMORY, "the step buffers do not fit in memory");
    m->scratch = qw_mem_map(m->scratch_size, 4096);
    if (!m->scratch) return qw_fail_memory(err, m->scratch_size, "the step buffers");
    cut_scratch(m);
    m->layers = qw_arena_array(&m->arena, (size_t)c->num_hidden_layers, sizeof *m->layers);
    m->final_norm = load_vector(m, ck, "model.norm.weight", -1, c->hidden_size);
    if (!m->layers || !m->final_norm) return qw_fail_memory(err, 0, "the list of layers");
    m->n_layers = (int)c->num_hidden_layers;
    st = qw_rope_init(&m->rope, c, err);
    if (st == QW_OK) st = load_embedding(m, ck, err);
    for (int i = 0; i < m->n_layers && st == QW_OK; i++) st = load_norms(m, ck, i, err);
    return st == QW_OK ? load_products(m, ck, args, err) : st;
}

qw_status qw_model_load(qw_model **out, qw_backend *backend, const qw_model_config *config,
                        const qw_checkpoint *checkpoint, const qw_model_load_args *args,
                        qw_error *err)
{
    qw_model *m = qw_mem_calloc(1, sizeof *m);
    if (!m) return qw_fail_memory(err, sizeof *m, "the model");
    m->be = backend;
    m->config = config;
    m->limits = args->limits;
    m->round = args->compute == QW_COMPUTE_BF16;
    m->scale = 1.0f / sqrtf((float)config->head_dim);
    qw_arena_init(&m->arena, (size_t)1 << 20);
    qw_status st = load(m, checkpoint, args, err);
    if (st != QW_OK) {
        qw_model_free(m);
        return st;
    }
    *out = m;
    return QW_OK;
}

size_t qw_model_mapped_weights(const qw_model *m)
{
    return m->packed.mapped_size;
}

static void release_plans(qw_model *m)
{
    planned_steps *p = &m->planned;
    qw_step_plans_release(&p->forward, m->be);
    qw_step_plans_release(&p->logits, m->be);
    qw_mem_free(p->token_ids);
    qw_mem_free(p->seqs);
    qw_mem_free(p->rows);
    *p = (planned_steps){0};
    m->stats.n_plans = m->stats.plan_bytes = 0;
    m->stats.build_ns = m->stats.max_build_ns = 0;
}

void qw_model_free(qw_model *m)
{
    if (!m) return;
    release_plans(m);
    for (int i = 0; i < m->n_layers; i++) {
        m->be->linear_release(m->be, &m->layers[i].qkv);
        m->be->linear_release(m->be, &m->layers[i].o);
        m->be->linear_release(m->be, &m->layers[i].gate_up);
        m->be->linear_release(m->be, &m->layers[i].down);
    }
    m->be->linear_release(m->be, &m->lm_head);
    qw_packed_weights_release(&m->packed);
    qw_mem_unmap(m->embed_memory, m->embed_size);
    qw_rope_release(&m->rope);
    qw_mem_unmap(m->scratch, m->scratch_size);
    qw_arena_release(&m->arena);
    qw_mem_free(m);
}

// Forward. `be` is the device that computes, or the recorder of a plan.

static void attention_block(const qw_model *m, qw_backend *be, const layer *l,
                            const qw_model_step *step, int i_layer)
{
    const qw_model_config *c = m->config;
    const qw_ops *op = be->ops;
    float eps = (float)c->rms_norm_eps;
    op->rms_norm(be, m->normed, m->hidden_stride, m->hidden, m->hidden_stride, l->input_norm,
                 (int)c->hidden_size, eps, step->n_tokens, m->round);
    op->linear(be, m->qkv, m->qkv_stride, m->normed, m->hidden_stride, &l->qkv, step->n_tokens,
               QW_EPILOGUE_STORE, m->round);
    op->norm_rope_store(be, &(qw_qkv_args){.qkv = m->qkv,
                                           .stride = m->qkv_stride,
                                           .q_column = l->qkv.segment_column[0],
                                           .k_column = l->qkv.segment_column[1],
                                           .v_column = l->qkv.segment_column[2],
                                           .n_heads = (int)c->num_attention_heads,
                                           .q_norm = l->q_norm,
                                           .k_norm = l->k_norm,
                                           .cos = m->cos,
                                           .sin = m->sin,
                                           .eps = eps,
                                           .kv = step->kv[i_layer],
                                           .layout = step->layout,
                                           .seqs = step->seqs,
                                           .n_seqs = step->n_seqs,
                                           .round = m->round});
    op->attention(be, &(qw_attention_args){.out = m->heads,
                                           .out_stride = m->heads_stride,
                                           .q = m->qkv,
                                           .q_stride = m->qkv_stride,
                                           .n_heads = (int)c->num_attention_heads,
                                           .scale = m->scale,
                                           .kv = step->kv[i_layer],
                                           .layout = step->layout,
                                           .seqs = step->seqs,
                                           .n_seqs = step->n_seqs,
                                           .round = m->round});
    op->linear(be, m->hidden, m->hidden_stride, m->heads, m->heads_stride, &l->o, step->n_tokens,
               QW_EPILOGUE_RESIDUAL, m->round);
}

static void mlp_block(const qw_model *m, qw_backend *be, const layer *l, int n_tokens)
{
    const qw_model_config *c = m->config;
    const qw_ops *op = be->ops;
    op->rms_norm(be, m->normed, m->hidden_stride, m->hidden, m->hidden_stride,
                 l->post_attention_norm, (int)c->hidden_size, (float)c->rms_norm_eps, n_tokens,
                 m->round);
    op->linear(be, m->mlp, m->mlp_stride, m->normed, m->hidden_stride, &l->gate_up, n_tokens,
               QW_EPILOGUE_SILU_MUL, m->round);
    op->linear(be, m->hidden, m->hidden_stride, m->mlp, m->mlp_stride, &l->down, n_tokens,
               QW_EPILOGUE_RESIDUAL, m->round);
}

static void layers(const qw_model *m, qw_backend *be, const qw_model_step *step, int n_layers)
{
    be->ops->embed(be, m->hidden, m->hidden_stride, &m->embed_tokens, step->token_ids,
                   step->n_tokens);
    for (int i = 0; i < n_layers; i++) {
        attention_block(m, be, &m->layers[i], step, i);
        mlp_block(m, be, &m->layers[i], step->n_tokens);
    }
}

static void head(const qw_model *m, qw_backend *be, const int32_t *rows, int n_rows)
{
    const qw_ops *op = be->ops;
    int h = (int)m->config->hidden_size;
    op->gather_rows(be, m->logit_in, m->hidden_stride, m->hidden, m->hidden_stride, rows, n_rows,
                    h);
    op->rms_norm(be, m->logit_normed, m->hidden_stride, m->logit_in, m->hidden_stride,
                 m->final_norm, h, (float)m->config->rms_norm_eps, n_rows, m->round);
    op->linear(be, m->logits, m->logits_stride, m->logit_normed, m->hidden_stride, &m->lm_head,
               n_rows, QW_EPILOGUE_STORE, m->round);
}

// Angles of the step's positions: the only thing that is computed outside of the operations.
static void fill_angles(qw_model *m, const qw_model_step *step)
{
    QW_ASSERT(step->n_tokens >= 1 && step->n_tokens <= m->limits.max_tokens);
    qw_rope_fill(&m->rope, m->cos, m->sin, step->positions, step->n_tokens, m->round);
}

void qw_model_forward_layers(qw_model *m, const qw_model_step *step, int n_layers)
{
    fill_angles(m, step);
    layers(m, m->be, step, n_layers);
}

// Plans

static void plan_layers(void *ctx, qw_backend *recorder, int n_rows)
{
    const qw_model *m = ctx;
    const planned_steps *p = &m->planned;
    qw_model_step step = {.n_tokens = n_rows,
                          .token_ids = p->token_ids,
                          .seqs = p->seqs,
                          .n_seqs = n_rows,
                          .kv = p->kv,
                          .layout = &p->layout};
    layers(m, recorder, &step, m->n_layers);
}

static void plan_head(void *ctx, qw_backend *recorder, int n_rows)
{
    const qw_model *m = ctx;
    head(m, recorder, m->planned.rows, n_rows);
}

// Sequences whose number tells the recorder how many rows there are: one each.
static void number_seqs(qw_seq_range *seqs, int n)
{
    for (int i = 0; i < n; i++) seqs[i] = (qw_seq_range){.first_row = i, .n_rows = 1};
}

static qw_status make_plans(qw_model *m, const int32_t *sizes, size_t n_sizes, qw_error *err)
{
    planned_steps *p = &m->planned;
    int max_tokens = m->limits.max_tokens, max_rows = m->limits.max_logit_rows;
    if (sizes[n_sizes - 1] < max_tokens) max_tokens = sizes[n_sizes - 1];
    size_t n = (size_t)max_tokens, n_rows = (size_t)max_rows;
    p->token_ids = qw_mem_calloc(n, sizeof *p->token_ids); // all three: until release_plans
    p->seqs = qw_mem_array(n, sizeof *p->seqs);
    p->rows = qw_mem_calloc(n_rows, sizeof *p->rows);
    if (!p->token_ids || !p->seqs || !p->rows)
        return qw_fail_memory(err, n * sizeof *p->seqs, "the rows of step plans");
    number_seqs(p->seqs, max_tokens);
    qw_status st =
        qw_step_plans_make(&p->forward, m->be, sizes, n_sizes, max_tokens, plan_layers, m, err);
    if (st == QW_OK)
        st = qw_step_plans_make(&p->logits, m->be, sizes, n_sizes, max_rows, plan_head, m, err);
    if (st != QW_OK) return st;
    m->stats.n_plans = p->forward.n;
    m->stats.plan_bytes = p->forward.size + p->logits.size + n_rows * sizeof *p->rows +
                          n * (sizeof *p->token_ids + sizeof *p->seqs);
    m->stats.build_ns = p->forward.build_ns + p->logits.build_ns;
    m->stats.max_build_ns = p->forward.max_build_ns + p->logits.max_build_ns;
    return QW_OK;
}

qw_status qw_model_plan_steps(qw_model *m, const int32_t *sizes, size_t n_sizes, uint8_t *const *kv,
                              const qw_kv_layout *layout, qw_error *err)
{
    release_plans(m);
    if (!m->be->plan_make || n_sizes == 0) return QW_OK;
    m->planned.kv = kv;
    m->planned.layout = *layout;
    qw_status st = make_plans(m, sizes, n_sizes, err);
    if (st != QW_OK) release_plans(m);
    return st;
}

const qw_step_stats *qw_model_step_stats(const qw_model *m)
{
    return &m->stats;
}

// The plan for a step; NULL when there is none or the step is not what plans are made for.
static qw_plan *plan_for(const qw_model *m, const qw_model_step *step)
{
    const planned_steps *p = &m->planned;
    bool is_decode = step->n_seqs == step->n_tokens;
    bool same_pages = step->kv == p->kv && step->layout->block_bytes == p->layout.block_bytes &&
                      step->layout->block_size == p->layout.block_size &&
                      step->layout->dtype == p->layout.dtype;
    return is_decode && same_pages ? qw_step_plans_find(&p->forward, step->n_tokens) : NULL;
}

void qw_model_forward(qw_model *m, const qw_model_step *step)
{
    qw_plan *plan = plan_for(m, step);
    if (!plan) {
        m->stats.eager_steps++;
        qw_model_forward_layers(m, step, m->n_layers);
        return;
    }
    m->stats.plan_replays++;
    size_t n = (size_t)step->n_tokens;
    memcpy(m->planned.token_ids, step->token_ids, n * sizeof *step->token_ids);
    memcpy(m->planned.seqs, step->seqs, n * sizeof *step->seqs);
    fill_angles(m, step);
    m->be->plan_run(m->be, plan, step->n_tokens, step->n_seqs);
}

const float *qw_model_logits(qw_model *m, const int32_t *rows, int n_rows, size_t *stride)
{
    QW_ASSERT(n_rows >= 1 && n_rows <= m->limits.max_logit_rows);
    qw_plan *plan = qw_step_plans_find(&m->planned.logits, n_rows);
    if (plan) {
        memcpy(m->planned.rows, rows, (size_t)n_rows * sizeof *rows);
        m->be->plan_run(m->be, plan, n_rows, 0);
    } else {
        head(m, m->be, rows, n_rows);
    }
    *stride = m->logits_stride;
    return m->logits;
}

const float *qw_model_hidden(const qw_model *m, int row)
{
    return m->hidden + (size_t)row * m->hidden_stride;
}

const float *qw_model_normed(const qw_model *m, int i)
{
    return m->logit_normed + (size_t)i * m->hidden_stride;
}
