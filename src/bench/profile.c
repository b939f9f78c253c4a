#include "bench/profile.h"

#include "base/clock.h"

static qw_profile *self(qw_backend *be)
{
    return (qw_profile *)be; // base is the first member
}

static void add(qw_profile *p, qw_profile_part part, int64_t start_ns)
{
    p->ns[part] += qw_clock_ns() - start_ns;
    p->n_calls++;
}

static void embed(qw_backend *be, float *y, size_t y_stride, const qw_host_matrix *table,
                  const int32_t *ids, int n_ids)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->embed(p->inner, y, y_stride, table, ids, n_ids);
    add(p, QW_PROFILE_OTHER, start);
}

static void rms_norm(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                     const float *weight, int n, float eps, int n_rows, bool round)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->rms_norm(p->inner, y, y_stride, x, x_stride, weight, n, eps, n_rows, round);
    add(p, QW_PROFILE_NORMS, start);
}

static void linear(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                   const qw_linear *w, int n_rows, qw_epilogue epilogue, bool round)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->linear(p->inner, y, y_stride, x, x_stride, w, n_rows, epilogue, round);
    add(p, QW_PROFILE_PRODUCTS, start);
}

static void made_linear(qw_backend *be, float *y, size_t y_stride, const qw_made_rows *made,
                        const qw_linear *w, int n_rows, qw_epilogue epilogue, bool round)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->made_linear(p->inner, y, y_stride, made, w, n_rows, epilogue, round);
    add(p, QW_PROFILE_PRODUCTS, start);
}

static void norm_rope_store(qw_backend *be, const qw_qkv_args *args)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->norm_rope_store(p->inner, args);
    add(p, QW_PROFILE_NORMS, start);
}

static void attention(qw_backend *be, const qw_attention_args *args)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->attention(p->inner, args);
    add(p, QW_PROFILE_ATTENTION, start);
}

static void gather_rows(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                        const int32_t *rows, int n_rows, int n)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->gather_rows(p->inner, y, y_stride, x, x_stride, rows, n_rows, n);
    add(p, QW_PROFILE_OTHER, start);
}

static void add_vector(qw_backend *be, float *y, size_t y_stride, const float *v, int n, int n_rows,
                       bool round)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->add_vector(p->inner, y, y_stride, v, n, n_rows, round);
    add(p, QW_PROFILE_NORMS, start);
}

static void silu_mul(qw_backend *be, float *y, size_t y_stride, const float *gate, const float *up,
                     size_t x_stride, int n, int n_rows, bool round)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->silu_mul(p->inner, y, y_stride, gate, up, x_stride, n, n_rows, round);
    add(p, QW_PROFILE_OTHER, start);
}

static void route(qw_backend *be, const qw_routing *routing, const float *logits, size_t stride,
                  int n_rows, bool renormalize, bool round)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->route(p->inner, routing, logits, stride, n_rows, renormalize, round);
    add(p, QW_PROFILE_OTHER, start);
}

static void expert_linear(qw_backend *be, const qw_expert_linear_args *args)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->expert_linear(p->inner, args);
    add(p, QW_PROFILE_PRODUCTS, start);
}

static void combine(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qw_routing *routing, int n, int n_rows, bool round, bool round_terms)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->ops->combine(p->inner, y, y_stride, x, x_stride, routing, n, n_rows, round,
                           round_terms);
    add(p, QW_PROFILE_OTHER, start);
}

static const qw_ops timed_ops = {
    .embed = embed,
    .rms_norm = rms_norm,
    .linear = linear,
    .made_linear = made_linear,
    .norm_rope_store = norm_rope_store,
    .attention = attention,
    .gather_rows = gather_rows,
    .add_vector = add_vector,
    .silu_mul = silu_mul,
    .route = route,
    .expert_linear = expert_linear,
    .combine = combine,
};

static void plan_run(qw_backend *be, qw_plan *plan, int n_rows, int n_seqs)
{
    qw_profile *p = self(be);
    int64_t start = qw_clock_ns();
    p->inner->plan_run(p->inner, plan, n_rows, n_seqs);
    add(p, QW_PROFILE_PLANS, start);
}

// Loading and planning are not timed.

static qw_status plan_make(qw_backend *be, qw_plan **out, int max_rows, qw_plan_calls *calls,
                           void *ctx, qw_error *err)
{
    qw_backend *inner = self(be)->inner;
    return inner->plan_make(inner, out, max_rows, calls, ctx, err);
}

static void plan_free(qw_backend *be, qw_plan *plan)
{
    qw_backend *inner = self(be)->inner;
    inner->plan_free(inner, plan);
}

static qw_status linear_pack(qw_backend *be, qw_linear *out, const qw_linear_source *source,
                             qw_error *err)
{
    qw_backend *inner = self(be)->inner;
    return inner->linear_pack(inner, out, source, err);
}

static qw_status linear_write(qw_backend *be, const qw_linear *w, const qw_linear_source *source,
                              qw_linear_sink *sink, void *sink_ctx, qw_error *err)
{
    qw_backend *inner = self(be)->inner;
    return inner->linear_write(inner, w, source, sink, sink_ctx, err);
}

static qw_status linear_reserve(qw_backend *be, const qw_linear *w, int max_rows, qw_error *err)
{
    qw_backend *inner = self(be)->inner;
    return inner->linear_reserve(inner, w, max_rows, err);
}

static void linear_release(qw_backend *be, qw_linear *w)
{
    qw_backend *inner = self(be)->inner;
    inner->linear_release(inner, w);
}

static void fill_rows(qw_backend *be, void *out, const qw_host_matrix *m)
{
    qw_backend *inner = self(be)->inner;
    inner->fill_rows(inner, out, m);
}

static void stay_open(qw_backend *be)
{
    (void)be; // the inner device belongs to somebody else
}

void qw_profile_init(qw_profile *p, qw_backend *inner)
{
    *p = (qw_profile){.base = {.ops = &timed_ops,
                               .isa = inner->isa,
                               .n_threads = inner->n_threads,
                               .linear_pack = linear_pack,
                               .linear_reserve = linear_reserve,
                               .linear_write = linear_write,
                               .linear_release = linear_release,
                               .fill_rows = fill_rows,
                               .plan_make = inner->plan_make ? plan_make : NULL,
                               .plan_run = plan_run,
                               .plan_free = plan_free,
                               .close = stay_open},
                      .inner = inner};
}
