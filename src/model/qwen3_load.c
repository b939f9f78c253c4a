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
    bool has_mlp = qw_model_config_n_sparse(c) < c->num_hidden_layers;
    m->mlp_stride = has_mlp ? qw_row_stride((size_t)c->intermediate_size) : 0;
    m->logits_stride = qw_row_stride((size_t)c->vocab_size);
    size_t per_token = 2 * m->hidden_stride + m->qkv_stride + m->heads_stride +
                       (m->has_split_gate ? 3 : 1) * m->mlp_stride + (size_t)c->head_dim;
    size_t per_row = 2 * m->hidden_stride + m->logits_stride, a, b, sum, experts;
    return qw_mul_size(&a, per_token, tokens) && qw_mul_size(&b, per_row, rows) &&
           qw_add_size(&sum, a, b) && qw_mul_size(&sum, sum, sizeof(float)) &&
           qw_moe_plan_scratch(m, &experts) && qw_add_size(total, sum, experts);
}

static size_t embed_bytes(const qw_host_matrix *m)
{
    return (size_t)m->rows * (size_t)m->cols * (size_t)(qw_dtype_bits(m->dtype) / 8);
}

typedef struct measurer {
    qw_product_sizes *sizes;
    size_t experts; /* packed bytes of experts */
    const qw_model *m;
    const qw_checkpoint *ck;
} measurer;

// Rows that a product of a layer gets at most: as many as there are, also for one expert.
static int max_rows_of(const qw_model *m, qw_layer_part part)
{
    bool is_expert = part == QW_EXPERT_GATE_UP || part == QW_EXPERT_DOWN;
    int64_t n = m->limits.max_tokens;
    if (is_expert) n *= m->config->num_experts_per_tok;
    return n < INT32_MAX ? (int)n : INT32_MAX; // so many are refused with the buffers
}

static qw_status measure_product(void *ctx, const qw_layer_product *p, qw_error *err)
{
    measurer *w = ctx;
    size_t before = w->sizes->packed;
    qw_status st = qw_product_measure(w->sizes, &p->rule, w->m->config, w->ck, p->layer,
                                      max_rows_of(w->m, p->part), err);
    if (p->expert >= 0) w->experts += w->sizes->packed - before;
    return st;
}

static qw_status measure_products(qw_product_sizes *out, size_t *experts, const qw_model *m,
                                  const qw_checkpoint *ck, qw_error *err)
{
    const qw_model_config *c = m->config;
    *out = (qw_product_sizes){0};
    qw_product_rule head = qw_lm_head_product(c, ck, m->limits.head);
    qw_status st = qw_product_measure(out, &head, c, ck, -1, m->limits.max_logit_rows, err);
    measurer w = {.sizes = out, .m = m, .ck = ck};
    if (st == QW_OK) st = qw_each_layer_product(c, measure_product, &w, err);
    *experts = w.experts;
    return st;
}

qw_status qw_model_measure(qw_model_footprint *out, const qw_model_config *config,
                           const qw_checkpoint *checkpoint, const qw_model_limits *limits,
                           const qw_kv_layout *layout, qw_error *err)
{
    qw_model m = {.config = config, .limits = *limits};
    qw_product_sizes products;
    size_t experts = 0;
    qw_status st = qw_qwen3_check_tensors(config, checkpoint, QW_CHECK_SHAPES, err);
    if (st == QW_OK) st = measure_products(&products, &experts, &m, checkpoint, err);
    if (st != QW_OK) return st;
    m.has_split_gate = products.has_split_gate;
    qw_model_footprint f = {.weights = products.packed, .experts = experts};
    bool ok = plan_scratch(&m, &f.activations) &&
              qw_add_size(&f.activations, f.activations, products.input);
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
        {&m->gate, m->has_split_gate ? tokens * m->mlp_stride : 0},
        {&m->up, m->has_split_gate ? tokens * m->mlp_stride : 0},
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
    qw_moe_cut_scratch(m, p);
}

static float *load_vector(qw_model *m, const qw_checkpoint *ck, const char *pattern, int i,
                          int64_t n)
{
    float *v = qw_arena_array(&m->arena, (size_t)n, sizeof *v);
    if (v) qw_weight_widen(v, ck, pattern, i);
    return v;
}

// The bias of a norm in an ascend checkpoint (quantization.md 5.1); NULL when there is none or it
// is all 0, as some writers leave it.
static qw_status load_bias(float **out, qw_model *m, const qw_checkpoint *ck, const char *weight,
                           int i, int64_t n, qw_error *err)
{
    *out = NULL;
    if (!ck->quant) return QW_OK;
    char name[256];
    const qw_stored_tensor *t = qw_weight_sibling(name, ck, weight, i, "bias");
    if (!t) return QW_OK;
    if (t->rank != 1 || t->shape[0] != (size_t)n ||
        (t->dtype != QW_DTYPE_BF16 && t->dtype != QW_DTYPE_F16 && t->dtype != QW_DTYPE_F32))
        return qw_fail(err, QW_ERR_FORMAT,
                       "tensor '%.200s' must have %" PRId64 " elements of BF16, F16 or F32", name,
                       n);
    bool is_zero = true;
    float *v = load_vector(m, ck, name, -1, n);
    if (!v) return qw_fail_memory(err, (size_t)n * sizeof *v, "a norm's bias");
    for (int64_t k = 0; k < n; k++) {
        if (v[k] != 0) is_zero = false;
        if (!isfinite(v[k]))
            return qw_fail(err, QW_ERR_FORMAT, "tensor '%.200s' holds %g", name, (double)v[k]);
    }
    if (!is_zero) *out = v;
    return QW_OK;
}

static qw_status load_norm(qw_norm *out, qw_model *m, const qw_checkpoint *ck, const char *pattern,
                           int i, qw_error *err)
{
    int64_t h = m->config->hidden_size;
    out->weight = load_vector(m, ck, pattern, i, h);
    if (!out->weight) return qw_fail_memory(err, (size_t)h * sizeof(float), "norm weights");
    return load_bias(&out->bias, m, ck, pattern, i, h, err);
}

static qw_status load_head_norm(float **out, qw_model *m, const qw_checkpoint *ck,
                                const char *pattern, int i, qw_error *err)
{
    int64_t d = m->config->head_dim;
    float *bias;
    *out = load_vector(m, ck, pattern, i, d);
    if (!*out) return qw_fail_memory(err, (size_t)d * sizeof(float), "norm weights");
    qw_status st = load_bias(&bias, m, ck, pattern, i, d, err);
    if (st == QW_OK && bias)
        st = qw_fail(err, QW_ERR_UNSUPPORTED,
                     "layer %d: the norm of its query or key heads has a bias that is not 0, which "
                     "is not supported",
                     i);
    return st;
}

static qw_status load_norms(qw_model *m, const qw_checkpoint *ck, int i, qw_error *err)
{
    qw_layer *l = &m->layers[i];
    qw_status st = load_norm(&l->input_norm, m, ck, QW_LAYER "input_layernorm.weight", i, err);
    if (st == QW_OK)
        st = load_norm(&l->post_attention_norm, m, ck, QW_LAYER "post_attention_layernorm.weight",
                       i, err);
    if (st == QW_OK)
        st = load_head_norm(&l->q_norm, m, ck, QW_LAYER "self_attn.q_norm.weight", i, err);
    if (st == QW_OK)
        st = load_head_norm(&l->k_norm, m, ck, QW_LAYER "self_attn.k_norm.weight", i, err);
    return st;
}

// Scales of an int8 KV cache, one for each channel or one for all (quantization.md 3.9).
static qw_status load_kv_scale(float **out, qw_model *m, const qw_checkpoint *ck,
                               const char *weight, int i, qw_error *err)
{
    char name[256];
    size_t n = (size_t)qw_kv_width(m->config);
    const qw_stored_tensor *t = qw_weight_sibling(name, ck, weight, i, "kv_cache_offset");
    if (t && !qw_weight_is_zero(t))
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "tensor '%.200s' is not all 0; an asymmetric KV cache is not supported",
                       name);
    t = qw_weight_sibling(name, ck, weight, i, "kv_cache_scale");
    if (!t) return QW_OK;
    bool is_float =
        t->dtype == QW_DTYPE_BF16 || t->dtype == QW_DTYPE_F16 || t->dtype == QW_DTYPE_F32;
    size_t n_stored = is_float ? t->size / ((size_t)qw_dtype_bits(t->dtype) / 8) : 0;
    if (n_stored != n && n_stored != 1)
        return qw_fail(err, QW_ERR_FORMAT,
                       "tensor '%.200s' must have %zu elements, or one, of BF16, F16 or F32", name,
                       n);
    float *v = qw_arena_array(&m->arena, n, sizeof *v);
    if (!v) return qw_fail_memory(err, n * sizeof *v, "scales of the KV cache");
    qw_host_matrix stored = {.data = t->data, .dtype = t->dtype, .rows = 1, .cols = (int)n_stored};
    for (size_t k = 0; k < n; k++) {
        v[k] = qw_host_matrix_at(&stored, 0, n_stored == 1 ? 0 : k);
        if (!isnormal(v[k]) || v[k] < 0)
            return qw_fail(err, QW_ERR_FORMAT,
                           "tensor '%.200s' holds %g; scales must be finite and above 0", name,
                           (double)v[k]);
    }
    *out = v;
    return QW_OK;
}

static qw_status load_kv_scales(qw_model *m, const qw_checkpoint *ck, int i, qw_error *err)
{
    qw_layer *l = &m->layers[i];
    if (!ck->quant) return QW_OK;
    qw_status st = load_kv_scale(&l->k_scale, m, ck, QW_LAYER "self_attn.k_proj.weight", i, err);
    if (st == QW_OK)
        st = load_kv_scale(&l->v_scale, m, ck, QW_LAYER "self_attn.v_proj.weight", i, err);
    if (st == QW_OK && !l->k_scale != !l->v_scale)
        st = qw_fail(err, QW_ERR_FORMAT,
                     "layer %d has a scale of the KV cache for only one of keys and values", i);
    return st;
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

// The products of a rule, at the end of the list.
static qw_status add_products(qw_product *list, size_t *n, const qw_model *m,
                              const qw_product_rule *rule, const qw_checkpoint *ck, int i,
                              qw_linears *out, qw_arena *names, qw_error *err)
{
    qw_bound_rule b;
    qw_status st = qw_product_bind(&b, names, rule, m->config, ck, i, err);
    if (st != QW_OK) return st;
    if (strcmp(rule->weights[0], QW_EMBED_TOKENS) == 0) b.products[0].segments[0] = m->embed_tokens;
    out->n_parts = b.n_products;
    out->concat = rule->concat;
    memcpy(out->columns, b.columns, sizeof out->columns);
    for (int p = 0; p < b.n_products; p++) {
        b.products[p].linear = &out->parts[p];
        list[(*n)++] = b.products[p];
    }
    return QW_OK;
}

// Where the weights of a product go. Those of experts are one product each.
static qw_linears *layer_linears(qw_layer *l, qw_layer_part part)
{
    switch (part) {
    case QW_QKV: return &l->qkv;
    case QW_O: return &l->o;
    case QW_GATE_UP: return &l->gate_up;
    case QW_DOWN: return &l->down;
    case QW_ROUTER: return &l->moe->router;
    default: return NULL;
    }
}

// The products of all layers and of the head, in order of use.
typedef struct product_list {
    qw_model *m;
    const qw_checkpoint *ck;
    qw_product *products;
    int *max_rows; /* [n]: of each of them */
    size_t n;
    qw_arena names;
} product_list;

static qw_status list_product(void *ctx, const qw_layer_product *p, qw_error *err)
{
    product_list *l = ctx;
    qw_layer *layer = &l->m->layers[p->layer];
    qw_linears *out = layer_linears(layer, p->part), single;
    size_t first = l->n;
    qw_status st = add_products(l->products, &l->n, l->m, &p->rule, l->ck, p->layer,
                                out ? out : &single, &l->names, err);
    if (st != QW_OK) return st;
    if (!out) {
        bool is_down = p->part == QW_EXPERT_DOWN;
        QW_ASSERT(l->n == first + 1); // qw_moe_check_experts has seen it
        l->products[first].linear = (is_down ? layer->moe->down : layer->moe->gate_up) + p->expert;
    }
    for (size_t i = first; i < l->n; i++) l->max_rows[i] = max_rows_of(l->m, p->part);
    return QW_OK;
}

static qw_status list_products(product_list *l, qw_error *err)
{
    const qw_model_config *c = l->m->config;
    size_t n_max = qw_max_layer_products(c) + 1;
    l->products = qw_mem_array(n_max, sizeof *l->products);
    l->max_rows = qw_mem_array(n_max, sizeof *l->max_rows);
    if (!l->products || !l->max_rows)
        return qw_fail_memory(err, n_max * sizeof *l->products, "the list of products");
    qw_status st = qw_each_layer_product(c, list_product, l, err);
    qw_product_rule head = qw_lm_head_product(c, l->ck, l->m->limits.head);
    if (st != QW_OK) return st;
    l->max_rows[l->n] = l->m->limits.max_logit_rows;
    return add_products(l->products, &l->n, l->m, &head, l->ck, -1, &l->m->lm_head, &l->names, err);
}

// All products, packed, and memory for their quantized inputs.
static qw_status load_products(qw_model *m, const qw_checkpoint *ck, const qw_model_load_args *args,
                               qw_error *err)
{
    product_list l = {.m = m, .ck = ck};
    qw_arena_init(&l.names, 1 << 18);
    qw_status st = list_products(&l, err);
    if (st == QW_OK)
        st = qw_packed_weights_load(&m->packed, m->be, l.products, l.n, ck, &args->cache,
                                    args->progress, args->progress_ctx, err);
    for (size_t i = 0; i < l.n && st == QW_OK; i++)
        st = m->be->linear_reserve(m->be, l.products[i].linear, l.max_rows[i], err);
    for (int i = 0; i < m->n_layers && st == QW_OK; i++)
        if (m->layers[i].moe) qw_moe_finish(m->layers[i].moe);
    qw_mem_free(l.products);
    qw_mem_free(l.max_rows);
    qw_arena_release(&l.names);
    return st;
}

static qw_status load(qw_model *m, const qw_checkpoint *ck, const qw_model_load_args *args,
                      qw_error *err)
{
    const qw_model_config *c = m->config;
    qw_product_sizes products;
    size_t experts;
    qw_status st = qw_qwen3_check_tensors(c, ck, QW_CHECK_VALUES, err);
    if (st == QW_OK) st = measure_products(&products, &experts, m, ck, err);
    if (st != QW_OK) return st;
    m->has_split_gate = products.has_split_gate;
    if (!plan_scratch(m, &m->scratch_size))
        return qw_fail(err, QW_ERR_NO_MEMORY, "the step buffers do not fit in memory");
    m->scratch = qw_mem_map(m->scratch_size, 4096);
    if (!m->scratch) return qw_fail_memory(err, m->scratch_size, "the step buffers");
    cut_scratch(m);
    m->layers = qw_arena_array(&m->arena, (size_t)c->num_hidden_layers, sizeof *m->layers);
    if (!m->layers) return qw_fail_memory(err, 0, "the list of layers");
    m->n_layers = (int)c->num_hidden_layers;
    st = load_norm(&m->final_norm, m, ck, "model.norm.weight", -1, err);
    if (st == QW_OK) st = qw_rope_init(&m->rope, c, err);
    if (st == QW_OK) st = load_embedding(m, ck, err);
    for (int i = 0; i < m->n_layers && st == QW_OK; i++) {
        st = qw_moe_alloc(m, i, err);
        if (st == QW_OK) st = load_norms(m, ck, i, err);
        if (st == QW_OK) st = load_kv_scales(m, ck, i, err);
    }
    if (st == QW_OK) st = load_products(m, ck, args, err);
    if (st == QW_OK && ck->quant) qw_qwen3_log_formats(c, ck, m->limits.head, m->be->isa);
    return st;
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

static void release_linears(qw_model *m, qw_linears *l)
{
    for (int p = 0; p < l->n_parts; p++) m->be->linear_release(m->be, &l->parts[p]);
}

void qw_model_free(qw_model *m)
{
    if (!m) return;
    qw_qwen3_release_plans(m);
    for (int i = 0; i < m->n_layers; i++) {
        qw_layer *l = &m->layers[i];
        for (int p = QW_QKV; p <= QW_DOWN; p++)
            release_linears(m, layer_linears(l, (qw_layer_part)p));
        if (!l->moe) continue;
        release_linears(m, &l->moe->router);
        for (int e = 0; e < m->config->num_experts; e++) {
            m->be->linear_release(m->be, &l->moe->gate_up[e]);
            m->be->linear_release(m->be, &l->moe->down[e]);
        }
    }
    release_linears(m, &m->lm_head);
    qw_packed_weights_release(&m->packed);
    qw_mem_unmap(m->embed_memory, m->embed_size);
    qw_rope_release(&m->rope);
    qw_mem_unmap(m->scratch, m->scratch_size);
    qw_arena_release(&m->arena);
    qw_mem_free(m);
}
