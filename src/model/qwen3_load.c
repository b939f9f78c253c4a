// Sizes, loading and releasing of a Qwen3 decoder.

#include <math.h>

#include "model/qwen3_internal.h"

static int round16(int n)
{
    return (n + 15) / 16 * 16;
}

// Sizes

// Widths of the step buffers, and the bytes they take together.
static bool plan_scratch(qw_model *m, size_t *total)
{
    const qw_model_config *c = m->config;
    size_t tokens = (size_t)m->limits.max_tokens, rows = (size_t)m->limits.max_logit_rows;
    m->hidden_stride = qw_row_stride((size_t)c->hidden_size);
    m->qkv_stride =
        qw_row_stride((size_t)round16(qw_heads_width(c)) + 2 * (size_t)round16(qw_kv_width(c)));
    m->heads_stride = qw_row_stride((size_t)qw_heads_width(c));
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
    qw_status st = qw_qwen3_check_tensors(config, checkpoint, err);
    if (st != QW_OK) return st;
    qw_model m = {.config = config, .limits = *limits};
    qw_model_footprint f = {0};
    qw_product_rule head = qw_lm_head_product(config);
    bool ok = plan_scratch(&m, &f.activations) &&
              qw_product_add_bytes(&f.weights, &head, config, checkpoint, -1);
    for (int i = 0; i < config->num_hidden_layers && ok; i++)
        for (int p = 0; p < QW_N_LAYER_PRODUCTS && ok; p++)
            ok = qw_product_add_bytes(&f.weights, &qw_layer_products[p], config, checkpoint, i);
    qw_host_matrix embed = qw_weight_view(checkpoint, QW_EMBED_TOKENS, -1);
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
    qw_layer *l = &m->layers[i];
    int64_t h = m->config->hidden_size, d = m->config->head_dim;
    l->input_norm = load_vector(m, ck, QW_LAYER "input_layernorm.weight", i, h);
    l->post_attention_norm = load_vector(m, ck, QW_LAYER "post_attention_layernorm.weight", i, h);
    l->q_norm = load_vector(m, ck, QW_LAYER "self_attn.q_norm.weight", i, d);
    l->k_norm = load_vector(m, ck, QW_LAYER "self_attn.k_norm.weight", i, d);
    if (!l->input_norm || !l->post_attention_norm || !l->q_norm || !l->k_norm)
        return qw_fail_memory(err, (size_t)h * sizeof(float), "norm weights");
    return QW_OK;
}

// Rows of a file are looked up in the map; made-up rows are written to memory first.
static qw_status load_embedding(qw_model *m, const qw_checkpoint *ck, qw_error *err)
{
    m->embed_tokens = qw_weight_view(ck, QW_EMBED_TOKENS, -1);
    if (m->embed_tokens.data) return QW_OK;
    m->embed_size = embed_bytes(&m->embed_tokens);
    m->embed_memory = qw_mem_map(m->embed_size, 4096); // model lifetime
    if (!m->embed_memory) return qw_fail_memory(err, m->embed_size, "the embedding");
    m->be->fill_rows(m->be, m->embed_memory, &m->embed_tokens);
    m->embed_tokens.data = m->embed_memory;
    return QW_OK;
}

static qw_status add_product(qw_product *out, const qw_model *m, const qw_product_rule *p,
                             const qw_checkpoint *ck, int i, qw_linear *linear, qw_arena *names,
                             qw_error *err)
{
    *out = qw_product_bind(p, m->config, ck, i);
    if (strcmp(p->weights[0], QW_EMBED_TOKENS) == 0) out->segments[0] = m->embed_tokens;
    out->linear = linear;
    out->name = qw_weight_name(names, p->name, i);
    return out->name ? QW_OK : qw_fail_memory(err, 0, "a product's name");
}

// All products, in order of use.
static qw_status load_products(qw_model *m, const qw_checkpoint *ck, const qw_model_load_args *args,
                               qw_error *err)
{
    size_t n_max = (size_t)m->n_layers * QW_N_LAYER_PRODUCTS + 1, n = 0;
    qw_arena names;
    qw_arena_init(&names, 16384);
    qw_status st = QW_OK;
    qw_product *products = qw_mem_array(n_max, sizeof *products);
    if (!products) st = qw_fail_memory(err, n_max * sizeof *products, "the list of products");
    for (int i = 0; i < m->n_layers && st == QW_OK; i++) {
        qw_layer *l = &m->layers[i];
        qw_linear *const linears[] = {
            [QW_QKV] = &l->qkv, [QW_O] = &l->o, [QW_GATE_UP] = &l->gate_up, [QW_DOWN] = &l->down};
        for (int p = 0; p < QW_N_LAYER_PRODUCTS && st == QW_OK; p++)
            st = add_product(&products[n++], m, &qw_layer_products[p], ck, i, linears[p], &names,
                             err);
    }
    qw_product_rule head = qw_lm_head_product(m->config);
    if (st == QW_OK) st = add_product(&products[n++], m, &head, ck, -1, &m->lm_head, &names, err);
    if (st == QW_OK)
        st = qw_packed_weights_load(&m->packed, m->be, products, n, ck, &args->cache,
                                    args->progress, args->progress_ctx, err);
    for (size_t i = 0; i < n && st == QW_OK; i++)
        st = m->be->linear_reserve(m->be, products[i].linear, m->limits.max_tokens, err);
    qw_mem_free(products);
    qw_arena_release(&names);
    return st;
}

static qw_status load(qw_model *m, const qw_checkpoint *ck, const qw_model_load_args *args,
                      qw_error *err)
{
    const qw_model_config *c = m->config;
    qw_status st = qw_qwen3_check_tensors(c, ck, err);
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

void qw_model_free(qw_model *m)
{
    if (!m) return;
    qw_qwen3_release_plans(m);
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
