// What the Linears of a checkpoint are stored as and which kernels run them.

#include "base/log.h"
#include "model/qwen3_internal.h"

static const char *kernel_of(const qw_linear *w)
{
    switch (w->input.kind) {
    case QW_INPUT_TOKEN8:
        return w->dtype == QW_DTYPE_I4 ? "int4 x int8 per token" : "int8 x int8 per token";
    case QW_INPUT_TOKEN4: return "int4 x int4 per token";
    case QW_INPUT_STATIC8: return "int8 x int8 static";
    case QW_INPUT_FLAT4: return "int4 x int4 transformed";
    default: break;
    }
    switch (w->dtype) {
    case QW_DTYPE_I8: return "int8 x float";
    case QW_DTYPE_I4: return "int4 x float";
    case QW_DTYPE_BF16: return "bf16 x float";
    case QW_DTYPE_F16: return "f16 x float";
    default: return "f32 x float";
    }
}

static size_t matrix_bytes(const qw_host_matrix *m)
{
    if (!qw_host_matrix_is_set(m)) return 0;
    return ((size_t)m->rows * (size_t)m->cols * (size_t)qw_dtype_bits(m->dtype) + 7) / 8;
}

static size_t stored_bytes(const qw_stored_linear *l)
{
    return matrix_bytes(&l->weight) + matrix_bytes(&l->bias) + matrix_bytes(&l->scales) +
           matrix_bytes(&l->group_scales) + matrix_bytes(&l->static_bias) + matrix_bytes(&l->left) +
           matrix_bytes(&l->right);
}

// "model.layers.3.mlp.up_proj" as "mlp.up_proj".
static const char *short_name(const char *name, int layer)
{
    const char *dot = layer >= 0 ? strchr(name + strlen("model.layers."), '.') : NULL;
    return dot ? dot + 1 : name;
}

static qw_status describe_rule(const qw_product_rule *rule, int expert, const qw_model_config *c,
                               const qw_checkpoint *ck, int i, qw_linear_info_fn *fn, void *ctx,
                               qw_error *err)
{
    qw_arena arena;
    qw_arena_init(&arena, 1 << 16);
    qw_bound_rule b;
    qw_status st = qw_product_bind(&b, &arena, rule, c, ck, i, err);
    for (int s = 0; s < rule->n && st == QW_OK; s++) {
        const qw_product *product = &b.products[b.n_products > 1 ? s : 0];
        const qw_stored_linear *l = &b.stored[s];
        qw_quant_source quant;
        qw_linear_source source = qw_product_source(product, &quant);
        qw_linear w;
        st = qw_linear_plan(&w, &source, err);
        char *name = qw_weight_name(&arena, rule->weights[s], i);
        if (st == QW_OK && !name) st = qw_fail_memory(err, 0, "a name");
        if (st != QW_OK) break;
        char *suffix = strrchr(name, '.');
        if (suffix && strcmp(suffix, ".weight") == 0) *suffix = '\0';
        bool is_first = s == 0 || b.n_products > 1;
        fn(ctx,
           &(qw_linear_info){.layer = i,
                             .expert = expert,
                             .name = short_name(name, i),
                             .format = l->type == QW_QUANT_FLOAT ? qw_dtype_name(l->weight.dtype)
                                                                 : qw_quant_type_name(l->type),
                             .kernel = kernel_of(&w),
                             .dtype = w.dtype,
                             .input = w.input.kind,
                             .product = short_name(product->name, i),
                             .rows = l->rows,
                             .cols = l->cols,
                             .group = l->group,
                             .has_bias = qw_host_matrix_is_set(&l->bias),
                             .stored_bytes = stored_bytes(l),
                             .packed_bytes = is_first ? qw_linear_total_size(&w) : 0});
    }
    qw_arena_release(&arena);
    return st;
}

typedef struct describer {
    const qw_model_config *c;
    const qw_checkpoint *ck;
    qw_linear_info_fn *fn;
    void *ctx;
} describer;

static qw_status describe_product(void *ctx, const qw_layer_product *p, qw_error *err)
{
    const describer *d = ctx;
    return describe_rule(&p->rule, p->expert, d->c, d->ck, p->layer, d->fn, d->ctx, err);
}

qw_status qw_model_describe(const qw_model_config *config, const qw_checkpoint *checkpoint,
                            qw_head_dtype head, qw_linear_info_fn *fn, void *ctx, qw_error *err)
{
    qw_status st = qw_qwen3_check_tensors(config, checkpoint, QW_CHECK_SHAPES, err);
    describer d = {config, checkpoint, fn, ctx};
    if (st == QW_OK) st = qw_each_layer_product(config, describe_product, &d, err);
    if (st != QW_OK) return st;
    qw_product_rule rule = qw_lm_head_product(config, checkpoint, head);
    return describe_rule(&rule, -1, config, checkpoint, -1, fn, ctx, err);
}

// Formats and their kernels, in the order in which they are met.
typedef struct tally {
    struct {
        const char *format, *kernel;
        size_t n, bytes;
    } rows[24]; /* more than there are */
    size_t n_rows;
} tally;

static void count_linear(void *ctx, const qw_linear_info *l)
{
    tally *t = ctx;
    size_t i = 0;
    while (i < t->n_rows &&
           (strcmp(t->rows[i].format, l->format) != 0 || strcmp(t->rows[i].kernel, l->kernel) != 0))
        i++;
    if (i == QW_ARRAY_LEN(t->rows)) return;
    if (i == t->n_rows) {
        t->n_rows++;
        t->rows[i].format = l->format; // both are static
        t->rows[i].kernel = l->kernel;
    }
    t->rows[i].n++;
    t->rows[i].bytes += l->stored_bytes;
}

void qw_qwen3_log_formats(const qw_model_config *c, const qw_checkpoint *ck, qw_head_dtype head,
                          const char *isa)
{
    tally t = {.n_rows = 0};
    if (!qw_log_is_on(QW_LOG_INFO) ||
        qw_model_describe(c, ck, head, count_linear, &t, NULL) != QW_OK)
        return;
    for (size_t i = 0; i < t.n_rows; i++)
        QW_LOG(QW_LOG_INFO, "weights", "%zu Linears are %s, %.3f GB: %s, %s", t.rows[i].n,
               t.rows[i].format, (double)t.rows[i].bytes * 1e-9, t.rows[i].kernel, isa);
}
