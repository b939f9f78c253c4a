// The products of a Qwen3 decoder, bound to the tensors of a checkpoint.

#include "model/qwen3_internal.h"

static qw_status read_tensors(qw_bound_rule *out, qw_arena *arena, const qw_product_rule *rule,
                              const qw_model_config *c, const qw_checkpoint *ck, int i,
                              qw_error *err)
{
    for (int s = 0; s < rule->n; s++) {
        const char *name = qw_weight_name(arena, rule->weights[s], i);
        if (!name) return qw_fail_memory(err, 0, "a tensor's name");
        const qw_stored_tensor *t = qw_stored_linear_weight(ck, name);
        QW_ASSERT(t); // qw_qwen3_check_tensors has seen it
        int64_t rows, cols;
        qw_stored_linear_shape(&rows, &cols, ck, t);
        qw_stored_linear *l = &out->stored[s];
        qw_status st = qw_stored_linear_read(l, arena, ck, name, rows, cols, QW_VALUES_UNSEEN, err);
        if (st != QW_OK) return st;
        if (!ck->quant && rule->biases[s] && c->attention_bias)
            l->bias = qw_weight_view(ck, rule->biases[s], i);
    }
    out->n_stored = rule->n;
    return QW_OK;
}

void qw_product_add_tensor(qw_product *p, const qw_stored_linear *l)
{
    int s = p->n_segments++;
    p->segments[s] = l->weight;
    p->biases[s] = l->bias;
    if (l->type == QW_QUANT_FLOAT) return;
    p->is_quantized = true;
    p->quant = (qw_quant_source){.input = l->input,
                                 .narrow = l->narrow,
                                 .group = l->group,
                                 .left = l->left,
                                 .right = l->right};
    p->scales[s] = l->scales;
    p->group_scales[s] = l->group_scales;
    p->static_biases[s] = l->static_bias;
}

static bool fit_together(const qw_bound_rule *b)
{
    for (int s = 1; s < b->n_stored; s++)
        if (!qw_stored_linear_fits(&b->stored[0], &b->stored[s])) return false;
    return true;
}

// "....q_proj.weight" without its last part.
static char *own_name(qw_arena *arena, const char *pattern, int i)
{
    char *name = qw_weight_name(arena, pattern, i);
    if (name) *strrchr(name, '.') = '\0';
    return name;
}

qw_status qw_product_bind(qw_bound_rule *out, qw_arena *arena, const qw_product_rule *rule,
                          const qw_model_config *c, const qw_checkpoint *ck, int i, qw_error *err)
{
    *out = (qw_bound_rule){0};
    qw_status st = read_tensors(out, arena, rule, c, ck, i, err);
    if (st != QW_OK) return st;
    bool fused = fit_together(out);
    out->n_products = fused ? 1 : rule->n;
    for (int s = 0, column = 0; s < rule->n; s++) {
        qw_product_add_tensor(&out->products[fused ? 0 : s], &out->stored[s]);
        out->columns[s] = column;
        column += (out->stored[s].rows + 15) / 16 * 16;
    }
    if (rule->to_int8 && out->stored[0].type == QW_QUANT_FLOAT) {
        out->products[0].is_quantized = true;
        out->products[0].quant =
            (qw_quant_source){.input = {.kind = QW_INPUT_TOKEN8}, .from_float = true};
    }
    for (int p = 0; p < out->n_products; p++) {
        qw_product *product = &out->products[p];
        product->concat = fused ? rule->concat : QW_CONCAT_STACK;
        product->name =
            fused ? qw_weight_name(arena, rule->name, i) : own_name(arena, rule->weights[p], i);
        if (!product->name) return qw_fail_memory(err, 0, "a product's name");
    }
    return QW_OK;
}

static qw_status measure(qw_product_sizes *sizes, const qw_bound_rule *b, int max_rows,
                         qw_error *err)
{
    for (int p = 0; p < b->n_products; p++) {
        qw_quant_source quant;
        qw_linear_source source = qw_product_source(&b->products[p], &quant);
        qw_linear w;
        qw_status st = qw_linear_plan(&w, &source, err);
        if (st != QW_OK) return qw_context(err, st, "'%.200s'", b->products[p].name);
        size_t input = qw_linear_reserve_size(&w, max_rows);
        if (input > sizes->input) sizes->input = input;
        if (!qw_add_size(&sizes->packed, sizes->packed, qw_linear_total_size(&w)))
            return qw_fail(err, QW_ERR_FORMAT,
                           "config.json describes a model larger than any memory");
    }
    return QW_OK;
}

qw_status qw_product_measure(qw_product_sizes *sizes, const qw_product_rule *rule,
                             const qw_model_config *c, const qw_checkpoint *ck, int i, int max_rows,
                             qw_error *err)
{
    qw_arena arena;
    qw_arena_init(&arena, 1 << 16);
    qw_bound_rule b;
    qw_status st = qw_product_bind(&b, &arena, rule, c, ck, i, err);
    if (st == QW_OK) st = measure(sizes, &b, max_rows, err);
    if (st == QW_OK && rule->concat == QW_CONCAT_INTERLEAVE && b.n_products > 1)
        sizes->has_split_gate = true;
    qw_arena_release(&arena);
    return st;
}
