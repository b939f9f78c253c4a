// Mixture of experts on CPU (cpu-kernels.md 3.9): which experts a row goes to, the products of each
// expert with its rows, and the sum over a row's experts. The products of all experts are one list
// of items, so that a step of few rows waits once for all of them, not once for each. How many
// experts have rows is known only when the items run: there are items for as many as there can be,
// and those beyond do nothing, so that a plan can hold them.

#include "backend/cpu/cpu_linear.h"
#include "base/fmath.h"

// ---- routing ----

typedef struct route_job {
    qw_routing r;
    const float *logits;
    size_t stride;
    const cpu_extent *extent;
    bool renormalize, round;
} route_job;

static void softmax(float *p, const float *z, size_t n)
{
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) max = z[i] > max ? z[i] : max;
    qw_exp_row(p, z, n, max, 1.0f);
    float sum = qw_sum16(p, n);
    for (size_t i = 0; i < n; i++) p[i] /= sum;
}

// The largest k of n, the lower index first among equals. Those taken become -1. A NaN is never
// larger, so where all are NaN the first k are taken.
static void take_largest(int32_t *experts, float *weights, float *p, int n, int k)
{
    for (int rank = 0; rank < k; rank++) {
        int best = -1;
        for (int i = 0; i < n; i++)
            if (p[i] != -1.0f && (best < 0 || p[i] > p[best])) best = i;
        experts[rank] = best;
        weights[rank] = p[best];
        p[best] = -1.0f;
    }
}

static void route_rows(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const route_job *job = ctx;
    float p[QW_ROUTE_MAX_EXPERTS];
    const int n = job->r.n_experts, k = job->r.top_k;
    for (size_t row = begin; row < end; row++) {
        float *weights = job->r.weights + row * (size_t)k, sum = 0.0f;
        softmax(p, job->logits + row * job->stride, (size_t)n);
        take_largest(job->r.experts + row * (size_t)k, weights, p, n, k);
        for (int rank = 0; rank < k; rank++) sum += weights[rank];
        for (int rank = 0; rank < k; rank++) {
            if (job->renormalize) weights[rank] /= sum;
            if (job->round) weights[rank] = qw_round_bf16(weights[rank]);
        }
    }
}

// Stable counting sort by expert: one item, some microseconds.
static void give_places(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)begin, (void)end, (void)i_thread;
    const route_job *job = ctx;
    const qw_routing *r = &job->r;
    const size_t n = job->extent->n_rows * (size_t)r->top_k;
    int32_t *first = r->first, n_active = 0;
    memset(first, 0, ((size_t)r->n_experts + 1) * sizeof *first);
    for (size_t i = 0; i < n; i++) first[r->experts[i] + 1]++;
    for (int e = 0; e < r->n_experts; e++) {
        if (first[e + 1] > 0) r->active[n_active++] = e;
        first[e + 1] += first[e];
    }
    r->active[r->n_experts] = n_active;
    for (size_t i = 0; i < n; i++) r->places[i] = first[r->experts[i]]++;
    // Each start has moved on to the next one's.
    for (int e = r->n_experts; e > 0; e--) first[e] = first[e - 1];
    first[0] = 0;
}

void qw_cpu_route(qw_backend *be, const qw_routing *routing, const float *logits, size_t stride,
                  int n_rows, bool renormalize, bool round)
{
    static const size_t one = 1;
    const cpu_backend *cpu = cpu_self(be);
    QW_ASSERT(routing->n_experts <= QW_ROUTE_MAX_EXPERTS && routing->top_k <= routing->n_experts);
    cpu_extent own;
    route_job job = {.r = *routing,
                     .logits = logits,
                     .stride = stride,
                     .extent = qw_cpu_extent(cpu, &own, n_rows, 0),
                     .renormalize = renormalize,
                     .round = round};
    qw_cpu_submit(cpu, route_rows, &job, sizeof job, &job.extent->n_rows, 4);
    qw_cpu_submit(cpu, give_places, &job, sizeof job, &one, 1);
}

// ---- products ----

// The rows of x, quantized or copied to their places.
typedef struct place_job {
    qw_routing r;
    const qw_linear *experts;
    const float *x;
    size_t x_stride;
    bool x_by_place;
    float *gathered;
    size_t width; /* of a copied row, with the zeros that any panels need */
    cpu_quantize_job quantize;
} place_job;

static void copy_rows(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const place_job *job = ctx;
    const size_t k = (size_t)job->r.top_k;
    for (size_t i = begin * k; i < end * k; i++)
        memcpy(job->gathered + (size_t)job->r.places[i] * job->x_stride,
               job->x + i / k * job->x_stride, job->width * sizeof(float));
}

// Are rows quantized for one expert right for another?
static bool same_input(const qw_input_scheme *a, const qw_input_scheme *b)
{
    return a->kind != QW_INPUT_FLAT4 && a->scale == b->scale && a->offset == b->offset &&
           a->inverse == b->inverse;
}

static void copy_quantized(const cpu_quantize_job *q, size_t to, size_t from)
{
    memcpy(q->q + to * q->stride, q->q + from * q->stride, q->stride);
    memcpy(q->sums + to * q->n_sums, q->sums + from * q->n_sums, q->n_sums * sizeof *q->sums);
    q->scales[to] = q->scales[from];
}

static void quantize_rows(void *ctx, size_t begin, size_t end, int i_thread)
{
    const place_job *job = ctx;
    const size_t k = (size_t)job->r.top_k;
    for (size_t row = begin; row < end; row++) {
        const int32_t *places = job->r.places + row * k, *experts = job->r.experts + row * k;
        const qw_linear *first = &job->experts[experts[0]];
        for (size_t rank = 0; rank < k; rank++) {
            const qw_linear *w = &job->experts[experts[rank]];
            size_t place = (size_t)places[rank], from = job->x_by_place ? place : row;
            if (rank > 0 && !job->x_by_place && same_input(&first->input, &w->input))
                copy_quantized(&job->quantize, place, (size_t)places[0]);
            else
                qw_cpu_quantize_row(&job->quantize, w, place, job->x + from * job->x_stride,
                                    i_thread);
        }
    }
}

typedef struct expert_job {
    cpu_linear_job linear; /* of place 0; w is set for each expert */
    qw_routing r;
    const qw_linear *experts;
    size_t n_items; /* of as many experts as can have rows */
} expert_job;

// The job of one expert's rows.
static cpu_linear_job job_of(const expert_job *job, int32_t expert)
{
    cpu_linear_job one = job->linear;
    size_t first = (size_t)job->r.first[expert];
    one.w = &job->experts[expert];
    one.y += first * one.y_stride;
    one.x += first * one.x_stride;
    qw_cpu_linear_choose(&one);
    if (one.gemm_int) {
        one.rows.q = (const uint8_t *)one.rows.q + first * one.rows.stride;
        one.rows.sums += first * (size_t)one.rows.n_sums;
        one.row_scales += first;
    }
    return one;
}

static void expert_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    const expert_job *job = ctx;
    const size_t n_groups = job->linear.n_groups;
    const size_t n = (size_t)job->r.active[job->r.n_experts] * n_groups;
    for (size_t item = begin; item < end && item < n; item++) {
        int32_t expert = job->r.active[item / n_groups];
        cpu_linear_job one = job_of(job, expert);
        size_t n_rows = (size_t)(job->r.first[expert + 1] - job->r.first[expert]);
        qw_cpu_linear_group(&one, item % n_groups, n_rows, i_thread);
    }
}

// Let the items find their rows: where they are already, or where a phase before puts them.
static void submit_rows(const cpu_backend *cpu, expert_job *job, const qw_expert_linear_args *a)
{
    cpu_linear_job *l = &job->linear;
    place_job rows = {.r = *a->routing,
                      .experts = a->experts,
                      .x = a->x,
                      .x_stride = a->x_stride,
                      .x_by_place = a->x_by_place,
                      .gathered = a->gathered,
                      .width = ((size_t)a->experts[0].k + 63) / 64 * 64};
    if (l->gemm_int) {
        int n_places = a->n_rows * a->routing->top_k;
        rows.quantize =
            qw_cpu_quantize_job(cpu->device, a->x, a->x_stride, &a->experts[0], n_places);
        const cpu_quantize_job *q = &rows.quantize;
        l->rows = (qw_int_rows){q->q, q->stride, q->sums, (int)q->n_sums};
        l->row_scales = q->scales;
        qw_cpu_submit(cpu, quantize_rows, &rows, sizeof rows, &l->extent->n_rows, 1);
    } else if (!a->x_by_place) {
        l->x = a->gathered;
        qw_cpu_submit(cpu, copy_rows, &rows, sizeof rows, &l->extent->n_rows, 4);
    }
}

void qw_cpu_expert_linear(qw_backend *be, const qw_expert_linear_args *a)
{
    const cpu_backend *cpu = cpu_self(be);
    const qw_linear *w = &a->experts[0];
    QW_ASSERT(a->epilogue != QW_EPILOGUE_RESIDUAL); // combine adds
    cpu_extent own;
    expert_job job = {
        .linear = {.device = cpu->device,
                   .y = a->y,
                   .y_stride = a->y_stride,
                   .x = a->x,
                   .x_stride = a->x_stride,
                   .w = w,
                   .extent = qw_cpu_extent(cpu, &own, a->n_rows, 0),
                   .n_groups = ((size_t)w->n_panels + CPU_GROUP_PANELS - 1) / CPU_GROUP_PANELS,
                   .epilogue = a->epilogue,
                   .round = a->round},
        .r = *a->routing,
        .experts = a->experts,
    };
    qw_cpu_linear_choose(&job.linear);
    submit_rows(cpu, &job, a);
    size_t n_places = (size_t)a->n_rows * (size_t)a->routing->top_k;
    size_t n_experts = (size_t)a->routing->n_experts;
    job.n_items = (n_places < n_experts ? n_places : n_experts) * job.linear.n_groups;
    // As in qw_cpu_linear: a chunk is at least 64 KiB of weights.
    size_t item_size = CPU_GROUP_PANELS * w->panel_size;
    size_t grain = item_size >= 65536 ? 1 : (65536 + item_size - 1) / item_size;
    qw_cpu_submit(cpu, expert_items, &job, sizeof job, &job.n_items, grain);
}

// ---- the sum ----

typedef struct combine_job {
    qw_routing r;
    float *y;
    size_t y_stride;
    const float *x;
    size_t x_stride;
    int n;
    bool round, round_terms;
} combine_job;

enum { LANES = 16 };

// Values i .. i + n - 1 of a row; n is LANES but for the last ones.
static inline void combine_lanes(const combine_job *job, size_t row, size_t i, int n)
{
    const size_t k = (size_t)job->r.top_k;
    const int32_t *places = job->r.places + row * k;
    const float *weights = job->r.weights + row * k;
    float *y = job->y + row * job->y_stride + i, acc[LANES] = {0};
    for (size_t rank = 0; rank < k; rank++) {
        const float *x = job->x + (size_t)places[rank] * job->x_stride + i;
        if (job->round_terms)
            for (int l = 0; l < n; l++)
                acc[l] = qw_round_bf16(acc[l] + qw_round_bf16(weights[rank] * x[l]));
        else
            for (int l = 0; l < n; l++) acc[l] += weights[rank] * x[l];
    }
    for (int l = 0; l < n; l++) y[l] = job->round ? qw_round_bf16(y[l] + acc[l]) : y[l] + acc[l];
}

static void combine_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const combine_job *job = ctx;
    for (size_t row = begin; row < end; row++) {
        int i = 0;
        for (; i + LANES <= job->n; i += LANES) combine_lanes(job, row, (size_t)i, LANES);
        if (i < job->n) combine_lanes(job, row, (size_t)i, job->n - i);
    }
}

void qw_cpu_combine(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qw_routing *routing, int n, int n_rows, bool round, bool round_terms)
{
    const cpu_backend *cpu = cpu_self(be);
    cpu_extent own;
    const cpu_extent *extent = qw_cpu_extent(cpu, &own, n_rows, 0);
    combine_job job = {.r = *routing,
                       .y = y,
                       .y_stride = y_stride,
                       .x = x,
                       .x_stride = x_stride,
                       .n = n,
                       .round = round,
                       .round_terms = round_terms};
    qw_cpu_submit(cpu, combine_items, &job, sizeof job, &extent->n_rows, 1);
}
