// One layer's experts: rows that choose anew in each run, the products of the experts they choose,
// and the sum. Weights are cut from the big buffer, each expert's from its own place, so that they
// come from memory as they do in a decode step.

#include "base/mem.h"
#include "bench/bench_case.h"

typedef struct moe_case {
    const qw_bench_env *env;
    int m;
    uint64_t seed;
    qw_arena arena; /* the lists of experts and the routing */
    qw_linear *gate_up, *down;
    qw_routing routing;
    float *logits, *memory; /* memory: all rows, one block */
    float *x, *y, *places, *inner;
    size_t h_stride, f_stride, memory_size;
    bool is_integer;
} moe_case;

static void run(void *ctx)
{
    moe_case *c = ctx;
    qw_backend *be = c->env->be;
    const qw_routing *r = &c->routing;
    const bool round = c->env->round;
    for (int i = 0; i < c->m * r->n_experts; i++) {
        c->seed = c->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        c->logits[i] = (float)(c->seed >> 40) * 0x1p-22f;
    }
    be->ops->route(be, r, c->logits, (size_t)r->n_experts, c->m, true, round);
    be->ops->expert_linear(be, &(qw_expert_linear_args){.y = c->inner,
                                                        .y_stride = c->f_stride,
                                                        .x = c->x,
                                                        .x_stride = c->h_stride,
                                                        .gathered = c->places,
                                                        .experts = c->gate_up,
                                                        .routing = r,
                                                        .n_rows = c->m,
                                                        .epilogue = QW_EPILOGUE_SILU_MUL,
                                                        .round = round && !c->is_integer});
    be->ops->expert_linear(be, &(qw_expert_linear_args){.y = c->places,
                                                        .y_stride = c->h_stride,
                                                        .x = c->inner,
                                                        .x_stride = c->f_stride,
                                                        .x_by_place = true,
                                                        .experts = c->down,
                                                        .routing = r,
                                                        .n_rows = c->m,
                                                        .epilogue = QW_EPILOGUE_STORE,
                                                        .round = round});
    be->ops->combine(be, c->y, c->h_stride, c->places, c->h_stride, r,
                     (int)c->env->config->hidden_size, c->m, round, round && !c->is_integer);
}

static void free_case(void *ctx)
{
    moe_case *c = ctx;
    if (!c) return;
    qw_mem_unmap(c->memory, c->memory_size);
    qw_arena_release(&c->arena);
    qw_mem_free(c);
}

// Scales of ordinary size, the same for all experts.
static float *make_scales(moe_case *c, size_t size, qw_error *err)
{
    float *scales = qw_arena_alloc(&c->arena, size);
    if (!scales) (void)qw_fail_memory(err, size, "scales");
    for (size_t i = 0; scales && i < size / sizeof *scales; i++)
        scales[i] = 0.001f * (float)(1 + i % 7);
    return scales;
}

// All experts of one product, `n_segments` matrices of n x k each.
static qw_status place_experts(moe_case *c, qw_linear *experts, int n_segments, int n, int k,
                               qw_error *err)
{
    const qw_bench_env *env = c->env;
    qw_linear w;
    qw_host_matrix segments[2];
    for (int s = 0; s < n_segments; s++)
        segments[s] = (qw_host_matrix){.dtype = env->dtype, .rows = n, .cols = k};
    const qw_quant_source quant = {.input = {.kind = QW_INPUT_TOKEN8}, .group = env->group};
    const qw_linear_source source = {.segments = segments,
                                     .n_segments = n_segments,
                                     .concat =
                                         n_segments == 2 ? QW_CONCAT_INTERLEAVE : QW_CONCAT_STACK,
                                     .quant = c->is_integer ? &quant : NULL};
    qw_status st = qw_linear_plan(&w, &source, err);
    if (st != QW_OK) return st;
    size_t stride = (w.size + 4095) / 4096 * 4096, room = env->buffer->size;
    if (stride > room)
        return qw_fail(err, QW_ERR_UNSUPPORTED, "an expert of %zu bytes is larger than %zu", stride,
                       room);
    if (w.scales_size > 0 && !(w.scales = make_scales(c, w.scales_size, err)))
        return QW_ERR_NO_MEMORY;
    if (w.group > 0 && !(w.group_scales = make_scales(c, w.group_scales_size, err)))
        return QW_ERR_NO_MEMORY;
    for (int e = 0; e < c->routing.n_experts; e++) {
        experts[e] = w;
        experts[e].panels = env->buffer->data + (size_t)e % (room / stride) * stride;
    }
    return env->be->linear_reserve(env->be, &w, c->m * c->routing.top_k, err);
}

static qw_status make_rows(moe_case *c, qw_error *err)
{
    const qw_model_config *cfg = c->env->config;
    size_t m = (size_t)c->m, n = (size_t)cfg->num_experts, places = m * (size_t)c->routing.top_k;
    size_t h = c->h_stride, f = c->f_stride;
    c->memory_size = (2 * m * h + places * (h + f)) * sizeof(float);
    c->memory = qw_mem_map(c->memory_size, 4096);
    c->logits = qw_arena_array(&c->arena, m * n, sizeof *c->logits);
    c->gate_up = qw_arena_array(&c->arena, 2 * n, sizeof *c->gate_up);
    c->routing.weights = qw_arena_array(&c->arena, places, sizeof *c->routing.weights);
    int32_t *numbers = qw_arena_array(&c->arena, 2 * places + 2 * (n + 1), sizeof *numbers);
    if (!c->memory || !c->logits || !c->gate_up || !c->routing.weights || !numbers)
        return qw_fail_memory(err, c->memory_size, "a benchmark row");
    c->down = c->gate_up + n;
    c->x = c->memory;
    c->y = c->x + m * h;
    c->places = c->y + m * h;
    c->inner = c->places + places * h;
    c->routing.experts = numbers;
    c->routing.places = numbers + places;
    c->routing.first = numbers + 2 * places;
    c->routing.active = c->routing.first + n + 1;
    for (size_t r = 0; r < m; r++)
        for (size_t i = 0; i < (size_t)cfg->hidden_size; i++)
            c->x[r * h + i] = (float)((int)((r * 31 + i * 17) % 127) - 63) / 64.0f;
    return QW_OK;
}

qw_status qw_bench_moe_case(qw_bench_case *out, const qw_bench_env *env, int m, qw_error *err)
{
    const qw_model_config *cfg = env->config;
    const int h = cfg->hidden_size, f = cfg->moe_intermediate_size;
    moe_case *c = qw_mem_calloc(1, sizeof *c);
    if (!c) return qw_fail_memory(err, sizeof *c, "a benchmark row");
    c->env = env;
    c->m = m;
    c->seed = 1;
    c->is_integer = env->dtype == QW_DTYPE_I8 || env->dtype == QW_DTYPE_I4;
    c->routing = (qw_routing){.n_experts = cfg->num_experts, .top_k = cfg->num_experts_per_tok};
    c->h_stride = qw_row_stride((size_t)h);
    c->f_stride = qw_row_stride((size_t)f);
    qw_arena_init(&c->arena, (size_t)1 << 18);
    qw_status st = make_rows(c, err);
    if (st == QW_OK) st = place_experts(c, c->gate_up, 2, f, h, err);
    if (st == QW_OK) st = place_experts(c, c->down, 1, h, f, err);
    if (st != QW_OK) {
        free_case(c);
        return st;
    }
    double expert = 3.0 * h * f, n_touched = qw_model_config_touched_experts(cfg, m);
    double per_weight = qw_dtype_bits(env->dtype) / 8.0;
    if (env->group > 0) per_weight += 4.0 / env->group;
    *out = (qw_bench_case){.op = "moe",
                           .format = env->format,
                           .m = m,
                           .kernel = "experts",
                           .work = {.bytes = n_touched * expert * per_weight,
                                    .product_ops = 2.0 * m * cfg->num_experts_per_tok * expert,
                                    .peak = env->peak},
                           .run = run,
                           .free = free_case,
                           .ctx = c};
    snprintf(out->shape, sizeof out->shape, "%s/experts", env->model);
    return QW_OK;
}
