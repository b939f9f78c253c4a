// Which tensors a Qwen3 decoder has (qwen3-dense.md 2), and which products are made of them.

#include "base/str.h"
#include "model/qwen3_internal.h"

typedef struct tensor_row {
    const char *pattern;
    int64_t rows, cols;
} tensor_row;

static qw_status list_mlp(qw_weight_list *list, const qw_model_config *c, int i, qw_error *err)
{
    int64_t h = c->hidden_size, f = c->intermediate_size;
    qw_status st = qw_weight_list_add(list, QW_LAYER "mlp.gate_proj.weight", i, f, h, err);
    if (st == QW_OK) st = qw_weight_list_add(list, QW_LAYER "mlp.up_proj.weight", i, f, h, err);
    if (st == QW_OK) st = qw_weight_list_add(list, QW_LAYER "mlp.down_proj.weight", i, h, f, err);
    return st;
}

static qw_status list_layer(qw_weight_list *list, const qw_model_config *c, int i, qw_error *err)
{
    int64_t h = c->hidden_size, q = qw_heads_width(c), kv = qw_kv_width(c);
    const tensor_row rows[] = {
        {QW_LAYER "input_layernorm.weight", h, 0},
        {QW_LAYER "self_attn.q_proj.weight", q, h},
        {QW_LAYER "self_attn.k_proj.weight", kv, h},
        {QW_LAYER "self_attn.v_proj.weight", kv, h},
        {QW_LAYER "self_attn.q_norm.weight", c->head_dim, 0},
        {QW_LAYER "self_attn.k_norm.weight", c->head_dim, 0},
        {QW_LAYER "self_attn.o_proj.weight", h, q},
        {QW_LAYER "post_attention_layernorm.weight", h, 0},
        // with attention_bias only
        {QW_LAYER "self_attn.q_proj.bias", q, 0},
        {QW_LAYER "self_attn.k_proj.bias", kv, 0},
        {QW_LAYER "self_attn.v_proj.bias", kv, 0},
        {QW_LAYER "self_attn.o_proj.bias", h, 0},
    };
    size_t n = QW_ARRAY_LEN(rows) - (c->attention_bias ? 0 : 4);
    qw_status st = QW_OK;
    for (size_t r = 0; r < n && st == QW_OK; r++)
        st = qw_weight_list_add(list, rows[r].pattern, i, rows[r].rows, rows[r].cols, err);
    if (st != QW_OK) return st;
    return qw_model_config_is_sparse(c, i) ? qw_moe_list_tensors(list, c, i, err)
                                           : list_mlp(list, c, i, err);
}

// The model as its tensors tell.
typedef struct model_tensors {
    const qw_model_config *config;
    bool has_head; /* lm_head.weight is a tensor of its own */
} model_tensors;

// The head that ascend checkpoints store is what counts, also where the config says that it is
// tied: folding norms or rotations into it makes it differ (quantization.md 1.1).
static bool has_head(const qw_model_config *c, const qw_checkpoint *ck)
{
    return !c->tie_word_embeddings ||
           (ck && ck->quant && qw_stored_linear_weight(ck, "lm_head.weight"));
}

static bool may_skip(const char *name, const void *ctx)
{
    const model_tensors *m = ctx;
    int64_t i_layer;
    if (qw_str_ends_with(qw_str_of(name), QW_STR("rotary_emb.inv_freq"))) return true;
    if (!m->has_head && qw_str_starts_with(qw_str_of(name), QW_STR("lm_head."))) return true;
    // Layers beyond num_hidden_layers: a model cut short by --hf-overrides runs its first layers.
    const char *p = "model.layers.";
    if (!qw_str_starts_with(qw_str_of(name), qw_str_of(p))) return false;
    const char *number = name + strlen(p), *dot = strchr(number, '.');
    return dot && qw_str_to_i64((qw_str){number, (size_t)(dot - number)}, &i_layer) &&
           i_layer >= m->config->num_hidden_layers;
}

static qw_status list_tensors(qw_weight_list *list, const model_tensors *m, qw_error *err)
{
    const qw_model_config *c = m->config;
    int64_t v = c->vocab_size, h = c->hidden_size;
    qw_status st = qw_weight_list_add(list, QW_EMBED_TOKENS, -1, v, h, err);
    if (st == QW_OK) st = qw_weight_list_add(list, "model.norm.weight", -1, h, 0, err);
    if (st == QW_OK && m->has_head) st = qw_weight_list_add(list, "lm_head.weight", -1, v, h, err);
    for (int i = 0; i < c->num_hidden_layers && st == QW_OK; i++) st = list_layer(list, c, i, err);
    return st;
}

// A rotated model has nothing left in its norms, and a head that is not its embedding
// (quantization.md 5.2).
static qw_status check_rotation(const model_tensors *m, const qw_checkpoint *ck, qw_error *err)
{
    if (!ck->quant || m->has_head) return QW_OK;
    qw_host_matrix norm = qw_weight_view(ck, "model.norm.weight", -1);
    for (int k = 0; k < norm.cols; k++)
        if (qw_host_matrix_at(&norm, 0, (size_t)k) != 1.0f) return QW_OK;
    return qw_fail(err, QW_ERR_FORMAT,
                   "tensor 'lm_head.weight' is missing: the final norm is all 1, so this model is "
                   "rotated and its head is not its embedding");
}

qw_status qw_qwen3_check_tensors(const qw_model_config *c, const qw_checkpoint *ck,
                                 qw_weight_check check, qw_error *err)
{
    const model_tensors m = {c, has_head(c, ck)};
    qw_weight_list list;
    qw_weight_list_init(&list);
    qw_status st = list_tensors(&list, &m, err);
    if (st == QW_OK) st = qw_weight_list_check(&list, ck, may_skip, &m, check, err);
    qw_weight_list_release(&list);
    if (st == QW_OK) st = check_rotation(&m, ck, err);
    return st == QW_OK ? qw_moe_check_experts(c, ck, err) : st;
}

qw_status qw_model_dummy_checkpoint(qw_checkpoint *out, const qw_model_config *config,
                                    const qw_dummy_scheme *scheme, uint64_t seed, qw_error *err)
{
    const model_tensors m = {config, has_head(config, NULL)};
    qw_weight_list list;
    qw_weight_list_init(&list);
    qw_status st = list_tensors(&list, &m, err);
    if (st == QW_OK) st = qw_weight_list_make_up(&list, out, scheme, seed, err);
    qw_weight_list_release(&list);
    return st;
}

// Products: which tensors they are made of

static const qw_product_rule layer_rules[] = {
    [QW_QKV] = {.name = QW_LAYER "self_attn.qkv_proj",
                .weights = {QW_LAYER "self_attn.q_proj.weight", QW_LAYER "self_attn.k_proj.weight",
                            QW_LAYER "self_attn.v_proj.weight"},
                .biases = {QW_LAYER "self_attn.q_proj.bias", QW_LAYER "self_attn.k_proj.bias",
                           QW_LAYER "self_attn.v_proj.bias"},
                .n = 3,
                .concat = QW_CONCAT_STACK},
    [QW_O] = {.name = QW_LAYER "self_attn.o_proj",
              .weights = {QW_LAYER "self_attn.o_proj.weight"},
              .biases = {QW_LAYER "self_attn.o_proj.bias"},
              .n = 1,
              .concat = QW_CONCAT_STACK},
    [QW_GATE_UP] = {.name = QW_LAYER "mlp.gate_up_proj",
                    .weights = {QW_LAYER "mlp.gate_proj.weight", QW_LAYER "mlp.up_proj.weight"},
                    .n = 2,
                    .concat = QW_CONCAT_INTERLEAVE},
    [QW_DOWN] = {.name = QW_LAYER "mlp.down_proj",
                 .weights = {QW_LAYER "mlp.down_proj.weight"},
                 .n = 1,
                 .concat = QW_CONCAT_STACK},
};

qw_status qw_each_layer_product(const qw_model_config *c, qw_layer_product_fn *fn, void *ctx,
                                qw_error *err)
{
    qw_status st = QW_OK;
    for (int i = 0; i < c->num_hidden_layers && st == QW_OK; i++) {
        bool is_sparse = qw_model_config_is_sparse(c, i);
        int n = is_sparse ? QW_O + 1 : QW_DOWN + 1;
        for (int p = 0; p < n && st == QW_OK; p++) {
            qw_layer_product product = {(qw_layer_part)p, i, -1, layer_rules[p]};
            st = fn(ctx, &product, err);
        }
        if (is_sparse && st == QW_OK) st = qw_moe_each_product(c, i, fn, ctx, err);
    }
    return st;
}

size_t qw_max_layer_products(const qw_model_config *c)
{
    size_t n_layers = (size_t)c->num_hidden_layers, n_sparse = (size_t)qw_model_config_n_sparse(c);
    size_t n_attention = 4, n_mlp = 3, n_experts = 2 * (size_t)c->num_experts + 1;
    return n_layers * n_attention + (n_layers - n_sparse) * n_mlp + n_sparse * n_experts;
}

qw_product_rule qw_lm_head_product(const qw_model_config *c, const qw_checkpoint *ck,
                                   qw_head_dtype dtype)
{
    bool tied = !has_head(c, ck);
    const char *weight = tied ? QW_EMBED_TOKENS : "lm_head.weight";
    bool is_free = ck->quant && !qw_quant_description_entry(ck->quant, weight);
    return (qw_product_rule){.name = tied ? "model.embed_tokens" : "lm_head",
                             .weights = {weight},
                             .n = 1,
                             .concat = QW_CONCAT_STACK,
                             .to_int8 =
                                 dtype == QW_HEAD_INT8 || (dtype == QW_HEAD_AUTO && is_free)};
}
