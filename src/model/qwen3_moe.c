// Layers with experts in the place of an MLP (qwen3-omni.md 2.3, cpu-kernels.md 3.9): their tensors
// and products, their buffers, and how they are run. The operations take all experts of a layer at
// once, so these are stored in one way; layers may differ.

#include "model/qwen3_internal.h"

#define MLP QW_LAYER "mlp."

// Tensors and products

static const char *const matrices[] = {"gate_proj", "up_proj", "down_proj"};

/** Names of one expert's tensors and products, still with the layer's %d. */
typedef struct expert_names {
    char weights[3][64], gate_up[64], down[64];
} expert_names;

static void name_expert(expert_names *out, int expert)
{
    for (int i = 0; i < 3; i++)
        snprintf(out->weights[i], sizeof out->weights[i], "%sexperts.%d.%s.weight", MLP, expert,
                 matrices[i]);
    snprintf(out->gate_up, sizeof out->gate_up, "%sexperts.%d.gate_up_proj", MLP, expert);
    snprintf(out->down, sizeof out->down, "%sexperts.%d.down_proj", MLP, expert);
}

qw_status qw_moe_list_tensors(qw_weight_list *list, const qw_model_config *c, int layer,
                              qw_error *err)
{
    int64_t h = c->hidden_size, f = c->moe_intermediate_size;
    qw_status st = qw_weight_list_add(list, MLP "gate.weight", layer, c->num_experts, h, err);
    for (int e = 0; e < c->num_experts && st == QW_OK; e++) {
        expert_names names;
        name_expert(&names, e);
        st = qw_weight_list_add(list, names.weights[0], layer, f, h, err);
        if (st == QW_OK) st = qw_weight_list_add(list, names.weights[1], layer, f, h, err);
        if (st == QW_OK) st = qw_weight_list_add(list, names.weights[2], layer, h, f, err);
    }
    return st;
}

static qw_product_rule gate_up_rule(const expert_names *n)
{
    return (qw_product_rule){.name = n->gate_up,
                             .weights = {n->weights[0], n->weights[1]},
                             .n = 2,
                             .concat = QW_CONCAT_INTERLEAVE};
}

static qw_product_rule down_rule(const expert_names *n)
{
    return (qw_product_rule){
        .name = n->down, .weights = {n->weights[2]}, .n = 1, .concat = QW_CONCAT_STACK};
}

qw_status qw_moe_each_product(const qw_model_config *c, int layer, qw_layer_product_fn *fn,
                              void *ctx, qw_error *err)
{
    qw_layer_product p = {
        QW_ROUTER,
        layer,
        -1,
        {.name = MLP "gate", .weights = {MLP "gate.weight"}, .n = 1, .concat = QW_CONCAT_STACK}};
    qw_status st = fn(ctx, &p, err);
    for (int e = 0; e < c->num_experts && st == QW_OK; e++) {
        expert_names names;
        name_expert(&names, e);
        p = (qw_layer_product){QW_EXPERT_GATE_UP, layer, e, gate_up_rule(&names)};
        st = fn(ctx, &p, err);
        if (st != QW_OK) break;
        p = (qw_layer_product){QW_EXPERT_DOWN, layer, e, down_rule(&names)};
        st = fn(ctx, &p, err);
    }
    return st;
}

// Checks

/** What the experts of a layer must have in common. */
typedef struct expert_format {
    bool is_set;
    qw_quant_type type; /* for the error */
    bool is_float;
    qw_dtype dtype; /* of integers as they are packed */
    qw_input_kind input;
    int group;
} expert_format;

typedef struct expert_checker {
    const qw_model_config *c;
    const qw_checkpoint *ck;
    expert_format formats[2]; /* of the layer that is being read: gate and up, down */
} expert_checker;

static qw_status compare(expert_format *common, const qw_stored_linear *l,
                         const qw_layer_product *p, qw_error *err)
{
    expert_format f = {.is_set = true, .type = l->type, .is_float = l->type == QW_QUANT_FLOAT};
    if (!f.is_float) {
        f.dtype = l->narrow ? QW_DTYPE_I4 : l->weight.dtype;
        f.input = l->input.kind;
        f.group = l->group;
    }
    if (!common->is_set) *common = f;
    if (common->is_float == f.is_float && common->dtype == f.dtype && common->input == f.input &&
        common->group == f.group)
        return QW_OK;
    return qw_fail(err, QW_ERR_UNSUPPORTED,
                   "layer %d: expert %d stores its %s as %s (groups of %d) and expert 0 as %s "
                   "(groups of %d); the experts of a layer must be stored in one way",
                   p->layer, p->expert, p->part == QW_EXPERT_DOWN ? "down_proj" : "gate_proj",
                   qw_quant_type_name(f.type), f.group, qw_quant_type_name(common->type),
                   common->group);
}

static qw_status check_product(void *ctx, const qw_layer_product *p, qw_error *err)
{
    expert_checker *checker = ctx;
    bool is_down = p->part == QW_EXPERT_DOWN;
    if (p->expert < 0) {
        memset(checker->formats, 0, sizeof checker->formats);
        return QW_OK;
    }
    qw_arena arena;
    qw_arena_init(&arena, 1 << 14);
    qw_bound_rule b;
    qw_status st = qw_product_bind(&b, &arena, &p->rule, checker->c, checker->ck, p->layer, err);
    if (st == QW_OK && b.n_products > 1)
        st = qw_fail(err, QW_ERR_UNSUPPORTED,
                     "layer %d: expert %d stores gate_proj as %s and up_proj as %s, or with other "
                     "scales of their input; the two must be stored in one way",
                     p->layer, p->expert, qw_quant_type_name(b.stored[0].type),
                     qw_quant_type_name(b.stored[1].type));
    if (st == QW_OK) st = compare(&checker->formats[is_down], &b.stored[0], p, err);
    qw_arena_release(&arena);
    return st;
}

qw_status qw_moe_check_experts(const qw_model_config *c, const qw_checkpoint *ck, qw_error *err)
{
    expert_checker checker = {.c = c, .ck = ck};
    if (!ck->quant || c->num_experts == 0) return QW_OK; // floats always go together
    return qw_each_layer_product(c, check_product, &checker, err);
}

// Buffers

/** Sizes of the arrays, in elements of 4 bytes. */
typedef struct moe_sizes {
    size_t router, rows, inner, ranks, experts;
} moe_sizes;

static bool measure(qw_model *m, moe_sizes *s)
{
    const qw_model_config *c = m->config;
    size_t tokens = (size_t)m->limits.max_tokens;
    m->router_stride = qw_row_stride((size_t)c->num_experts);
    m->expert_stride = qw_row_stride((size_t)c->moe_intermediate_size);
    s->experts = (size_t)c->num_experts + 1;
    return qw_mul_size(&s->router, tokens, m->router_stride) &&
           qw_mul_size(&s->ranks, tokens, (size_t)c->num_experts_per_tok) &&
           s->ranks <= INT32_MAX && // places are int32
           qw_mul_size(&s->rows, s->ranks, m->hidden_stride) &&
           qw_mul_size(&s->inner, s->ranks, m->expert_stride);
}

bool qw_moe_plan_scratch(qw_model *m, size_t *total)
{
    moe_sizes s;
    *total = 0;
    if (qw_model_config_n_sparse(m->config) == 0) return true;
    size_t sum;
    // experts, weights and places of each rank; first and active
    return measure(m, &s) && qw_mul_size(&sum, s.ranks, 3) && qw_add_size(&sum, sum, s.router) &&
           qw_add_size(&sum, sum, s.rows) && qw_add_size(&sum, sum, s.inner) &&
           qw_add_size(&sum, sum, 2 * s.experts) && qw_mul_size(total, sum, sizeof(float));
}

void qw_moe_cut_scratch(qw_model *m, float *p)
{
    moe_sizes s;
    if (qw_model_config_n_sparse(m->config) == 0 || !measure(m, &s)) return;
    m->routing =
        (qw_routing){.n_experts = m->config->num_experts, .top_k = m->config->num_experts_per_tok};
    m->router = p;
    m->expert_rows = m->router + s.router;
    m->expert_inner = m->expert_rows + s.rows;
    m->routing.weights = m->expert_inner + s.inner;
    m->routing.experts = (int32_t *)(m->routing.weights + s.ranks);
    m->routing.places = m->routing.experts + s.ranks;
    m->routing.first = m->routing.places + s.ranks;
    m->routing.active = m->routing.first + s.experts;
}

qw_status qw_moe_alloc(qw_model *m, int layer, qw_error *err)
{
    if (!qw_model_config_is_sparse(m->config, layer)) return QW_OK;
    size_t n = (size_t)m->config->num_experts;
    qw_moe *moe = qw_arena_alloc(&m->arena, sizeof *moe);
    qw_linear *linears = qw_arena_array(&m->arena, 2 * n, sizeof *linears);
    if (!moe || !linears)
        return qw_fail_memory(err, 2 * n * sizeof *linears, "the list of experts");
    moe->gate_up = linears;
    moe->down = linears + n;
    m->layers[layer].moe = moe;
    return QW_OK;
}

// Where both products of an expert read integers, what is between them is quantized unrounded, and
// the outputs are summed so (quantization.md 3.3).
void qw_moe_finish(qw_moe *moe)
{
    bool is_integer =
        moe->gate_up[0].input.kind != QW_INPUT_FLOAT && moe->down[0].input.kind != QW_INPUT_FLOAT;
    moe->round_inner = moe->round_terms = !is_integer;
}

// Running

void qw_moe_run(const qw_model *m, qw_backend *be, const qw_moe *moe, int n_tokens)
{
    const qw_ops *op = be->ops;
    const qw_routing *r = &m->routing;
    op->linear(be, m->router, m->router_stride, m->normed, m->hidden_stride, &moe->router.parts[0],
               n_tokens, QW_EPILOGUE_STORE, false);
    op->route(be, r, m->router, m->router_stride, n_tokens, m->config->norm_topk_prob, m->round);
    op->expert_linear(be, &(qw_expert_linear_args){.y = m->expert_inner,
                                                   .y_stride = m->expert_stride,
                                                   .x = m->normed,
                                                   .x_stride = m->hidden_stride,
                                                   .gathered = m->expert_rows,
                                                   .experts = moe->gate_up,
                                                   .routing = r,
                                                   .n_rows = n_tokens,
                                                   .epilogue = QW_EPILOGUE_SILU_MUL,
                                                   .round = m->round && moe->round_inner});
    op->expert_linear(be, &(qw_expert_linear_args){.y = m->expert_rows,
                                                   .y_stride = m->hidden_stride,
                                                   .x = m->expert_inner,
                                                   .x_stride = m->expert_stride,
                                                   .x_by_place = true,
                                                   .experts = moe->down,
                                                   .routing = r,
                                                   .n_rows = n_tokens,
                                                   .epilogue = QW_EPILOGUE_STORE,
                                                   .round = m->round});
    op->combine(be, m->hidden, m->hidden_stride, m->expert_rows, m->hidden_stride, r,
                (int)m->config->hidden_size, n_tokens, m->round, m->round && moe->round_terms);
}
