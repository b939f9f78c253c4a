// Products: the weights are cut from the big buffer, another piece each run, so that they come from
// memory as they do in a decode step.

#include "base/mem.h"
#include "bench/bench_case.h"

typedef struct product_shape {
    const char *name;
    int n, k; /* outputs, inputs */
    int n_segments;
    qw_epilogue epilogue;
} product_shape;

typedef struct linear_case {
    const qw_bench_env *env;
    qw_linear w;
    float *scales; /* of integers: one array for all copies */
    size_t scales_size;
    uint8_t *own_panels; /* when the matrix is larger than the buffer */
    size_t n_copies, copy_stride, i_copy;
    int m;
    qw_epilogue epilogue;
    float *x, *y, *norm; /* norm: the head's, NULL for the others */
    float *normed;
    size_t x_stride, y_stride, x_size, y_size;
    int k;
} linear_case;

static product_shape shape_of(const qw_model_config *c, const char *name)
{
    int q = (int)(c->num_attention_heads * c->head_dim);
    int kv = (int)(c->num_key_value_heads * c->head_dim);
    const product_shape shapes[] = {
        {"qkv", q + 2 * kv, c->hidden_size, 1, QW_EPILOGUE_STORE},
        {"o", c->hidden_size, q, 1, QW_EPILOGUE_RESIDUAL},
        {"gate_up", 2 * c->intermediate_size, c->hidden_size, 2, QW_EPILOGUE_SILU_MUL},
        {"down", c->hidden_size, c->intermediate_size, 1, QW_EPILOGUE_RESIDUAL},
        {"head", c->vocab_size, c->hidden_size, 1, QW_EPILOGUE_STORE},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(shapes); i++)
        if (strcmp(shapes[i].name, name) == 0) return shapes[i];
    QW_ASSERT(false && "no such product");
    return shapes[0];
}

static bool is_integer(qw_dtype dtype)
{
    return dtype == QW_DTYPE_I8 || dtype == QW_DTYPE_I4;
}

static const char *kernel_name(qw_dtype dtype)
{
    if (is_integer(dtype)) return dtype == QW_DTYPE_I8 ? "gemm_i8" : "gemm_i4";
    return dtype == QW_DTYPE_BF16 ? "gemm_bf16" : dtype == QW_DTYPE_F16 ? "gemm_f16" : "gemm_f32";
}

static void next_weights(linear_case *c)
{
    if (c->own_panels) return;
    c->w.panels = c->env->buffer->data + c->i_copy * c->copy_stride;
    c->i_copy = (c->i_copy + 1) % c->n_copies;
}

static void run(void *ctx)
{
    linear_case *c = ctx;
    qw_backend *be = c->env->be;
    const float *x = c->x;
    next_weights(c);
    if (c->norm) {
        be->ops->rms_norm(be, c->normed, c->x_stride, c->x, c->x_stride, c->norm, c->k, 1e-6f, c->m,
                          c->env->round);
        x = c->normed;
    }
    be->ops->linear(be, c->y, c->y_stride, x, c->x_stride, &c->w, c->m, c->epilogue, c->env->round);
}

static void free_case(void *ctx)
{
    linear_case *c = ctx;
    if (!c) return;
    qw_mem_unmap(c->x, c->x_size);
    qw_mem_unmap(c->normed, c->x_size);
    qw_mem_unmap(c->y, c->y_size);
    qw_mem_unmap(c->own_panels, c->w.size);
    qw_mem_unmap(c->scales, c->scales_size);
    qw_mem_free(c->norm);
    qw_mem_free(c);
}

// Rows of activations of ordinary size, exact in bfloat16; +0 between width and stride.
static void fill_rows(float *x, size_t stride, int width, int m)
{
    for (int r = 0; r < m; r++)
        for (int i = 0; i < width; i++)
            x[(size_t)r * stride + (size_t)i] = (float)((r * 31 + i * 17) % 127 - 63) / 64.0f;
}

// Scales of outputs, then those of groups; and the rows that inputs are quantized into.
static qw_status place_scales(linear_case *c, qw_linear *w, qw_error *err)
{
    if (w->scales_size == 0) return QW_OK;
    c->scales_size = w->scales_size + w->group_scales_size;
    c->scales = qw_mem_map(c->scales_size, 4096);
    if (!c->scales) return qw_fail_memory(err, c->scales_size, "scales");
    size_t n = c->scales_size / sizeof(float);
    for (size_t i = 0; i < n; i++) c->scales[i] = 0.001f * (float)(1 + i % 7);
    w->scales = c->scales;
    if (w->group > 0) w->group_scales = c->scales + w->scales_size / sizeof(float);
    return c->env->be->linear_reserve(c->env->be, w, c->m, err);
}

// Lay the product out as the backend does, in pieces of the buffer.
static qw_status place_weights(linear_case *c, const product_shape *s, qw_dtype dtype, int group,
                               qw_error *err)
{
    const qw_bench_env *env = c->env;
    qw_linear w;
    qw_host_matrix segments[2];
    for (int i = 0; i < s->n_segments; i++)
        segments[i] = (qw_host_matrix){.dtype = dtype, .rows = s->n / s->n_segments, .cols = s->k};
    const qw_quant_source quant = {.input = {.kind = QW_INPUT_TOKEN8}, .group = group};
    const qw_linear_source source = {.segments = segments,
                                     .n_segments = s->n_segments,
                                     .concat = s->n_segments == 2 ? QW_CONCAT_INTERLEAVE
                                                                  : QW_CONCAT_STACK,
                                     .quant = is_integer(dtype) ? &quant : NULL};
    qw_status st = qw_linear_plan(&w, &source, err);
    if (st == QW_OK) st = place_scales(c, &w, err);
    if (st != QW_OK) return st;
    c->copy_stride = (w.size + 4095) / 4096 * 4096;
    c->n_copies = env->buffer->size / c->copy_stride;
    c->w = w;
    if (c->n_copies > 0) return QW_OK;
    // Larger than the buffer, so it needs no copies: it evicts itself.
    c->own_panels = qw_mem_map(w.size, 4096);
    if (!c->own_panels) return qw_fail_memory(err, w.size, "a product's weights");
    for (size_t done = 0; done < w.size; done += env->buffer->size)
        memcpy(c->own_panels + done, env->buffer->data,
               w.size - done < env->buffer->size ? w.size - done : env->buffer->size);
    c->w.panels = c->own_panels;
    return QW_OK;
}

static qw_status make(qw_bench_case *out, const qw_bench_env *env, const char *name, int m,
                      bool has_norm, qw_error *err)
{
    product_shape s = shape_of(env->config, name);
    bool is_head = strcmp(name, "head") == 0 && is_integer(env->dtype);
    const qw_dtype dtype = is_head ? QW_DTYPE_I8 : env->dtype;
    const int group = is_head ? 0 : env->group;
    linear_case *c = qw_mem_calloc(1, sizeof *c);
    if (!c) return qw_fail_memory(err, sizeof *c, "a benchmark row");
    c->env = env;
    c->m = m;
    c->k = s.k;
    c->epilogue = s.epilogue;
    c->x_stride = qw_row_stride((size_t)s.k);
    c->y_stride = qw_row_stride((size_t)s.n + 16 * (size_t)s.n_segments);
    c->x_size = c->x_stride * (size_t)m * sizeof(float);
    c->y_size = c->y_stride * (size_t)m * sizeof(float);
    c->x = qw_mem_map(c->x_size, 4096);
    c->y = qw_mem_map(c->y_size, 4096);
    if (has_norm) {
        c->normed = qw_mem_map(c->x_size, 4096);
        c->norm = qw_mem_array((size_t)s.k, sizeof *c->norm);
    }
    qw_status st = QW_OK;
    if (!c->x || !c->y || (has_norm && (!c->normed || !c->norm)))
        st = qw_fail_memory(err, c->x_size + c->y_size, "a benchmark row");
    if (st == QW_OK) st = place_weights(c, &s, dtype, group, err);
    if (st != QW_OK) {
        free_case(c);
        return st;
    }
    fill_rows(c->x, c->x_stride, s.k, m);
    for (int i = 0; has_norm && i < s.k; i++) c->norm[i] = 1.0f;
    *out = (qw_bench_case){
        .op = has_norm ? "head" : "linear",
        .format = env->format,
        .m = m,
        .kernel = kernel_name(dtype),
        .work = {.bytes = (double)s.n * s.k *
                          (qw_dtype_bits(dtype) / 8.0 + (group > 0 ? 4.0 / group : 0.0)),
                 .product_ops = 2.0 * s.n * s.k * m,
                 .peak = is_head ? QW_LIMIT_INT8 : env->peak},
        .run = run,
        .free = free_case,
        .ctx = c,
    };
    snprintf(out->shape, sizeof out->shape, "%s/%s", env->model, name);
    return QW_OK;
}

qw_status qw_bench_linear_case(qw_bench_case *out, const qw_bench_env *env, const char *product,
                               int m, qw_error *err)
{
    return make(out, env, product, m, false, err);
}

qw_status qw_bench_head_case(qw_bench_case *out, const qw_bench_env *env, int m, qw_error *err)
{
    return make(out, env, "head", m, true, err);
}

void qw_bench_case_release(qw_bench_case *c)
{
    if (c->ctx) c->free(c->ctx);
    c->ctx = NULL;
}
