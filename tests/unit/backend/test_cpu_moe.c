// Operations of layers with experts: choices, ties and places of `route`; products of experts
// against `linear` row by row, to the bit, in every format; the order of the sum of `combine`; the
// worked expert of quantization.md 10.2 (T6).
#include "test_util.h"

#include <math.h>

#include "backend/backend.h"
#include "base/mem.h"

enum { MAX_ROWS = 40, MAX_EXPERTS = 130, MAX_K = 130 };

static uint64_t seed = 1;

static uint32_t next_random(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33);
}

static float uniform(void)
{
    return (float)(next_random() % 20001) / 10000.0f - 1.0f;
}

static qw_backend *open_backend(const char *isa, int n_threads)
{
    qw_error err;
    qw_backend *be = NULL;
    qw_cpu_options options = {.n_threads = n_threads, .isa = isa};
    assert_ok(qw_backend_open_cpu(&be, &options, &err));
    return be;
}

typedef struct arrays {
    int32_t experts[MAX_ROWS * MAX_K], places[MAX_ROWS * MAX_K];
    float weights[MAX_ROWS * MAX_K];
    int32_t first[MAX_EXPERTS + 1], active[MAX_EXPERTS + 1];
} arrays;

static qw_routing routing_of(arrays *a, int n_experts, int top_k)
{
    return (qw_routing){.n_experts = n_experts,
                        .top_k = top_k,
                        .experts = a->experts,
                        .weights = a->weights,
                        .places = a->places,
                        .first = a->first,
                        .active = a->active};
}

// ---- route ----

// Places are those of a stable sort by expert.
static void check_places(const qw_routing *r, int n_rows)
{
    int32_t place = 0, n_active = 0;
    for (int e = 0; e < r->n_experts; e++) {
        assert_int_equal(r->first[e], place);
        for (int i = 0; i < n_rows * r->top_k; i++)
            if (r->experts[i] == e) assert_int_equal(r->places[i], place++);
        if (place > r->first[e]) assert_int_equal(r->active[n_active++], e);
    }
    assert_int_equal(r->first[r->n_experts], place);
    assert_int_equal(place, n_rows * r->top_k);
    assert_int_equal(r->active[r->n_experts], n_active);
}

// Against a softmax in double: the same experts in the same order where they differ, and weights.
static void check_row(const qw_routing *r, const float *z, int row, bool renormalize)
{
    double max = -INFINITY, sum = 0, chosen = 0;
    for (int i = 0; i < r->n_experts; i++) max = fmax(max, (double)z[i]);
    for (int i = 0; i < r->n_experts; i++) sum += exp((double)z[i] - max);
    const int32_t *experts = r->experts + row * r->top_k;
    bool taken[MAX_EXPERTS] = {false};
    for (int k = 0; k < r->top_k; k++) {
        int best = -1;
        for (int i = 0; i < r->n_experts; i++)
            if (!taken[i] && (best < 0 || z[i] > z[best])) best = i;
        assert_int_equal(experts[k], best);
        taken[best] = true;
        chosen += exp((double)z[best] - max);
    }
    for (int k = 0; k < r->top_k; k++) {
        double p = exp((double)z[experts[k]] - max) / (renormalize ? chosen : sum);
        assert_true(fabs((double)r->weights[row * r->top_k + k] - p) <= 2e-6 * p + 1e-30);
    }
}

static void test_choices(void **state)
{
    (void)state;
    static const struct {
        int n, k;
    } sizes[] = {{1, 1}, {2, 1}, {3, 3}, {8, 2}, {17, 5}, {33, 33}, {127, 8}, {128, 8}, {130, 130}};
    static arrays a, b;
    qw_backend *one = open_backend("ref", 1), *three = open_backend(NULL, 3);
    for (size_t s = 0; s < QW_ARRAY_LEN(sizes); s++) {
        int n = sizes[s].n, k = sizes[s].k;
        size_t stride = qw_row_stride((size_t)n);
        for (int n_rows = 1; n_rows <= MAX_ROWS; n_rows += 13) {
            bool renormalize = n_rows % 2 == 0;
            float *z = qw_mem_array((size_t)n_rows * stride, sizeof *z);
            for (size_t i = 0; i < (size_t)n_rows * stride; i++) z[i] = NAN; // padding is not read
            for (int r = 0; r < n_rows; r++) // whole numbers apart, so that ranks are certain
                for (int i = 0; i < n; i++)
                    z[(size_t)r * stride + (size_t)i] = (float)((i * 37 + r * 11) % n) / 8.0f;
            qw_routing x = routing_of(&a, n, k), y = routing_of(&b, n, k);
            one->ops->route(one, &x, z, stride, n_rows, renormalize, false);
            check_places(&x, n_rows);
            if (n % 37 != 0)
                for (int r = 0; r < n_rows; r++)
                    check_row(&x, z + (size_t)r * stride, r, renormalize);
            three->ops->route(three, &y, z, stride, n_rows, renormalize, false);
            size_t ranks = (size_t)(n_rows * k);
            assert_memory_equal(a.experts, b.experts, ranks * sizeof *a.experts);
            assert_memory_equal(a.weights, b.weights, ranks * sizeof *a.weights);
            assert_memory_equal(a.places, b.places, ranks * sizeof *a.places);
            qw_mem_free(z);
        }
    }
    qw_backend_close(one);
    qw_backend_close(three);
}

// Equal probabilities: the lower index first. No number: the first experts, NaN, and nobody else.
static void test_ties_and_nan(void **state)
{
    (void)state;
    static arrays a;
    qw_backend *be = open_backend(NULL, 2);
    const float inf = INFINITY;
    const float z[6][5] = {{1, 1, 1, 1, 1},   {0, 3, 3, -1, 3},  {-inf, 2, -inf, 2, -inf},
                           {1, NAN, 9, 1, 1}, {0, inf, 0, 0, 0}, {-inf, -inf, -inf, 0, -inf}};
    static const int32_t want[6][3] = {{0, 1, 2}, {1, 2, 4}, {1, 3, 0},
                                       {0, 1, 2}, {0, 1, 2}, {3, 0, 1}};
    qw_routing r = routing_of(&a, 5, 3);
    be->ops->route(be, &r, &z[0][0], 5, 6, true, true);
    check_places(&r, 6);
    for (int row = 0; row < 6; row++)
        for (int k = 0; k < 3; k++) {
            float w = a.weights[row * 3 + k];
            assert_int_equal(a.experts[row * 3 + k], want[row][k]);
            if (row == 3 || row == 4)
                assert_true(isnan(w));
            else
                assert_true(w == qw_round_bf16(w) && w >= 0 && w <= 1);
        }
    assert_true(a.weights[0] == qw_round_bf16(1.0f / 3.0f));
    assert_true(a.weights[6] == 0.5f && a.weights[7] == 0.5f && a.weights[8] == 0.0f);
    assert_true(a.weights[15] == 1.0f);
    // Not renormalized: of all five.
    be->ops->route(be, &r, &z[0][0], 5, 1, false, false);
    assert_true(a.weights[0] == 0.2f);
    qw_backend_close(be);
}

// ---- expert_linear ----

typedef struct format {
    const char *name;
    qw_dtype dtype; /* of the segments */
    bool narrow;
    qw_input_kind input;
    int group;
} format;

static const format formats[] = {
    {"bf16", QW_DTYPE_BF16, false, QW_INPUT_FLOAT, 0},
    {"f32", QW_DTYPE_F32, false, QW_INPUT_FLOAT, 0},
    {"w8a16", QW_DTYPE_I8, false, QW_INPUT_FLOAT, 0},
    {"w8a8", QW_DTYPE_I8, false, QW_INPUT_TOKEN8, 0},
    {"w8a8 in groups", QW_DTYPE_I8, false, QW_INPUT_TOKEN8, 8},
    {"w8a8 static", QW_DTYPE_I8, false, QW_INPUT_STATIC8, 0},
    {"w4a8", QW_DTYPE_I4, false, QW_INPUT_TOKEN8, 0},
    {"w4a8 in groups", QW_DTYPE_I8, true, QW_INPUT_TOKEN8, 24},
    {"w4a4", QW_DTYPE_I8, true, QW_INPUT_TOKEN4, 0},
    {"flatquant", QW_DTYPE_I8, true, QW_INPUT_FLAT4, 0},
};

static qw_host_matrix random_matrix(qw_arena *a, qw_dtype dtype, bool narrow, int rows, int cols)
{
    size_t n = (size_t)rows * (size_t)cols;
    uint8_t *data = qw_arena_alloc(a, 4 * n);
    assert_non_null(data);
    for (size_t i = 0; i < n; i++) {
        float x = uniform();
        uint16_t bf16 = qw_f32_to_bf16(x);
        int32_t whole = (int32_t)(next_random() % 2000) - 1000;
        switch (dtype) {
        case QW_DTYPE_F32: memcpy(data + 4 * i, &x, 4); break;
        case QW_DTYPE_BF16: memcpy(data + 2 * i, &bf16, 2); break;
        case QW_DTYPE_I32: memcpy(data + 4 * i, &whole, 4); break;
        default: data[i] = (uint8_t)(narrow ? (int)(next_random() % 16) - 8 : (int)next_random());
        }
    }
    return (qw_host_matrix){.data = data, .dtype = dtype, .rows = rows, .cols = cols};
}

static void pack_expert(qw_linear *out, qw_backend *be, const format *f, int n_segments, int rows,
                        int k, int i_expert)
{
    qw_error err;
    qw_arena a;
    qw_arena_init(&a, 1 << 16);
    qw_host_matrix segments[2], biases[2] = {{0}}, scales[2], groups[2], statics[2];
    bool is_integer = f->dtype == QW_DTYPE_I8 || f->dtype == QW_DTYPE_I4;
    for (int s = 0; s < n_segments; s++) {
        segments[s] = random_matrix(&a, f->dtype, f->narrow, rows, k);
        scales[s] = random_matrix(&a, QW_DTYPE_F32, false, 1, rows);
        statics[s] = random_matrix(&a, QW_DTYPE_I32, false, 1, rows);
        if (f->group) groups[s] = random_matrix(&a, QW_DTYPE_BF16, false, rows, k / f->group);
        if (i_expert % 2) biases[s] = random_matrix(&a, QW_DTYPE_F32, false, 1, rows);
    }
    bool is_static = f->input == QW_INPUT_STATIC8; // some share one of the two
    float quant_scale = is_static ? 0.01f + 0.001f * (float)(i_expert / 2) : 0;
    qw_quant_source quant = {.input = {.kind = f->input,
                                       .scale = quant_scale,
                                       .offset = is_static ? (float)(i_expert % 2) : 0,
                                       .clip_ratio = 0.9f,
                                       .left = 6,
                                       .right = k / 6,
                                       .has_right = true},
                             .narrow = f->narrow,
                             .scales = scales,
                             .group = f->group,
                             .group_scales = groups,
                             .static_biases = statics,
                             .left = random_matrix(&a, QW_DTYPE_F32, false, 6, 6),
                             .right = random_matrix(&a, QW_DTYPE_F32, false, k / 6, k / 6)};
    qw_linear_source source = {.segments = segments,
                               .biases = biases,
                               .n_segments = n_segments,
                               .concat = n_segments == 2 ? QW_CONCAT_INTERLEAVE : QW_CONCAT_STACK,
                               .quant = is_integer ? &quant : NULL};
    assert_ok(be->linear_pack(be, out, &source, &err));
    qw_arena_release(&a);
}

enum { N_EXPERTS = 7, TOP_K = 3 };

typedef struct product {
    const format *f;
    qw_linear experts[N_EXPERTS];
    int k, columns, n_rows;
    size_t x_stride, y_stride, n_y;
    qw_epilogue epilogue;
    bool by_place, round;
    const float *x;
    const qw_routing *routing;
} product;

// Every place by itself, on one thread.
static void want_rows(const product *p, qw_backend *be, float *y)
{
    for (int row = 0; row < p->n_rows; row++)
        for (int rank = 0; rank < TOP_K; rank++) {
            int i = row * TOP_K + rank;
            size_t place = (size_t)p->routing->places[i];
            const float *x = p->x + (p->by_place ? place : (size_t)row) * p->x_stride;
            be->ops->linear(be, y + place * p->y_stride, p->y_stride, x, p->x_stride,
                            &p->experts[p->routing->experts[i]], 1, p->epilogue, p->round);
        }
}

static void check_product(product *p, qw_backend *ref, qw_backend **backends, int n_backends)
{
    qw_error err;
    int n_places = p->n_rows * TOP_K;
    float *want = qw_mem_calloc(p->n_y, sizeof *want), *got = qw_mem_array(p->n_y, sizeof *got);
    size_t n_gathered = (size_t)n_places * p->x_stride;
    float *gathered = qw_mem_calloc(n_gathered, sizeof *gathered);
    assert_ok(ref->linear_reserve(ref, &p->experts[0], 1, &err));
    want_rows(p, ref, want);
    for (int b = 0; b < n_backends; b++) {
        qw_backend *be = backends[b];
        memset(got, 0, p->n_y * sizeof *got);
        assert_ok(be->linear_reserve(be, &p->experts[0], n_places, &err));
        be->ops->expert_linear(be, &(qw_expert_linear_args){.y = got,
                                                            .y_stride = p->y_stride,
                                                            .x = p->x,
                                                            .x_stride = p->x_stride,
                                                            .x_by_place = p->by_place,
                                                            .gathered = gathered,
                                                            .experts = p->experts,
                                                            .routing = p->routing,
                                                            .n_rows = p->n_rows,
                                                            .epilogue = p->epilogue,
                                                            .round = p->round});
        if (memcmp(got, want, p->n_y * sizeof *got) != 0)
            fail_msg("%s, %d rows, by place %d, epilogue %d, %s on %d threads: bits differ",
                     p->f->name, p->n_rows, p->by_place, (int)p->epilogue, be->isa, be->n_threads);
    }
    qw_mem_free(want);
    qw_mem_free(got);
    qw_mem_free(gathered);
}

static void test_products(void **state)
{
    (void)state;
    static arrays a;
    qw_backend *ref = open_backend("ref", 1);
    setenv("QWENCH_TEST_SHUFFLE", "5", 1);
    qw_backend *shuffled = open_backend(NULL, 3);
    unsetenv("QWENCH_TEST_SHUFFLE");
    qw_backend *backends[] = {open_backend(NULL, 1), open_backend(NULL, 2), shuffled};
    for (size_t f = 0; f < QW_ARRAY_LEN(formats); f++) {
        for (int silu = 0; silu < 2; silu++) {
            int rows = silu ? 40 : 83, k = 96, n_segments = 1 + silu;
            product p = {.f = &formats[f],
                         .k = k,
                         .columns = (rows + 15) / 16 * 16,
                         .epilogue = silu ? QW_EPILOGUE_SILU_MUL : QW_EPILOGUE_STORE,
                         .x_stride = qw_row_stride((size_t)k),
                         .y_stride = qw_row_stride((size_t)(rows + 15))};
            for (int e = 0; e < N_EXPERTS; e++)
                pack_expert(&p.experts[e], ref, p.f, n_segments, rows, k, e);
            static const int counts[] = {1, 2, 9, MAX_ROWS};
            for (size_t c = 0; c < QW_ARRAY_LEN(counts); c++) {
                p.n_rows = counts[c];
                p.by_place = c % 2 == 1;
                p.round = c > 1;
                p.n_y = (size_t)(p.n_rows * TOP_K) * p.y_stride;
                size_t n_x = (size_t)(p.n_rows * TOP_K) * p.x_stride;
                float *x = qw_mem_calloc(n_x, sizeof *x), *z = qw_mem_array(n_x, sizeof *z);
                for (int r = 0; r < p.n_rows * TOP_K; r++)
                    for (int i = 0; i < k; i++)
                        x[(size_t)r * p.x_stride + (size_t)i] = qw_round_bf16(uniform());
                for (size_t i = 0; i < n_x; i++) z[i] = uniform() - (float)(i % 7 == 5) * 9;
                qw_routing routing = routing_of(&a, N_EXPERTS, TOP_K);
                ref->ops->route(ref, &routing, z, N_EXPERTS, p.n_rows, true, false);
                p.x = x;
                p.routing = &routing;
                check_product(&p, ref, backends, QW_ARRAY_LEN(backends));
                qw_mem_free(x);
                qw_mem_free(z);
            }
            for (int e = 0; e < N_EXPERTS; e++) ref->linear_release(ref, &p.experts[e]);
        }
    }
    qw_backend_close(ref);
    for (size_t b = 0; b < QW_ARRAY_LEN(backends); b++) qw_backend_close(backends[b]);
}

// ---- combine ----

static float maybe(float x, bool round)
{
    return round ? qw_round_bf16(x) : x;
}

static void check_combine(qw_backend *be, int n, int n_rows, int top_k, bool round, bool terms)
{
    static arrays a;
    size_t stride = qw_row_stride((size_t)n), n_places = (size_t)(n_rows * top_k);
    qw_routing r = routing_of(&a, top_k + 3, top_k);
    float *z = qw_mem_array((size_t)(n_rows * (top_k + 3)), sizeof *z);
    float *x = qw_mem_array(n_places * stride, sizeof *x);
    float *y = qw_mem_calloc((size_t)n_rows * stride, sizeof *y);
    float *want = qw_mem_calloc((size_t)n_rows * stride, sizeof *want);
    for (int i = 0; i < n_rows * (top_k + 3); i++) z[i] = uniform();
    be->ops->route(be, &r, z, (size_t)(top_k + 3), n_rows, false, round);
    for (size_t i = 0; i < n_places * stride; i++)
        x[i] = i % stride < (size_t)n ? maybe(uniform(), round) : NAN; // padding is not read
    for (int row = 0; row < n_rows; row++)
        for (int i = 0; i < n; i++) {
            float acc = 0.0f, old = maybe(uniform(), round);
            for (int k = 0; k < top_k; k++) {
                size_t place = (size_t)a.places[row * top_k + k];
                volatile float term = a.weights[row * top_k + k] * x[place * stride + (size_t)i];
                acc = maybe(acc + maybe(term, terms), terms);
            }
            y[(size_t)row * stride + (size_t)i] = old;
            want[(size_t)row * stride + (size_t)i] = maybe(old + acc, round);
        }
    be->ops->combine(be, y, stride, x, stride, &r, n, n_rows, round, terms);
    assert_memory_equal(y, want, (size_t)n_rows * stride * sizeof *y);
    qw_mem_free(z);
    qw_mem_free(x);
    qw_mem_free(y);
    qw_mem_free(want);
}

static void test_combine(void **state)
{
    (void)state;
    static const int widths[] = {1, 15, 16, 17, 64, 100};
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        qw_backend *be = open_backend(NULL, n_threads);
        for (size_t w = 0; w < QW_ARRAY_LEN(widths); w++)
            for (int how = 0; how < 3; how++) {
                check_combine(be, widths[w], 1, 1, how > 0, how > 1);
                check_combine(be, widths[w], 11, 8, how > 0, how > 1);
            }
        qw_backend_close(be);
    }
}

// A NaN stays in its row.
static void test_nan_stays(void **state)
{
    (void)state;
    static arrays a;
    qw_backend *be = open_backend(NULL, 2);
    enum { N = 20, ROWS = 3, STRIDE = 80 };
    const float z[ROWS][2] = {{0, 1}, {NAN, 0}, {1, 0}};
    static float x[ROWS * STRIDE], y[ROWS * STRIDE];
    qw_routing r = routing_of(&a, 2, 1);
    for (int i = 0; i < ROWS * STRIDE; i++) x[i] = 1.0f;
    be->ops->route(be, &r, &z[0][0], 2, ROWS, true, true);
    be->ops->combine(be, y, STRIDE, x, STRIDE, &r, N, ROWS, true, true);
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < STRIDE; i++) {
            float v = y[row * STRIDE + i];
            assert_true(i >= N ? v == 0 : row == 1 ? isnan(v) : v == 1.0f);
        }
    qw_backend_close(be);
}

// ---- T6 ----

static qw_host_matrix matrix(const void *data, qw_dtype dtype, int rows, int cols)
{
    return (qw_host_matrix){.data = data, .dtype = dtype, .rows = rows, .cols = cols};
}

static void test_worked_expert(void **state)
{
    (void)state;
    const float x[4] = {0.5f, -1.0f, 0.25f, 2.0f};
    const int8_t gate[2][4] = {{10, -20, 30, 40}, {127, 0, -64, 5}};
    const int8_t up[2][4] = {{-5, 60, 70, -80}, {1, 2, 3, 4}}, down[2][2] = {{100, -50}, {3, 120}};
    const float gate_scale[] = {0.002f, 0.001f}, up_scale[] = {0.004f, 0.01f};
    const float down_scale[] = {0.01f, 0.02f};
    static arrays a;
    qw_error err;
    qw_backend *be = open_backend(NULL, 2);
    const qw_host_matrix gate_up[] = {matrix(gate, QW_DTYPE_I8, 2, 4),
                                      matrix(up, QW_DTYPE_I8, 2, 4)};
    const qw_host_matrix scales[] = {matrix(gate_scale, QW_DTYPE_F32, 1, 2),
                                     matrix(up_scale, QW_DTYPE_F32, 1, 2)};
    const qw_host_matrix second = matrix(down, QW_DTYPE_I8, 2, 2);
    const qw_host_matrix second_scale = matrix(down_scale, QW_DTYPE_F32, 1, 2);
    qw_quant_source quant = {.input = {.kind = QW_INPUT_TOKEN8}, .scales = scales};
    qw_linear w1, w2;
    assert_ok(be->linear_pack(
        be, &w1,
        &(qw_linear_source){
            .segments = gate_up, .n_segments = 2, .concat = QW_CONCAT_INTERLEAVE, .quant = &quant},
        &err));
    quant.scales = &second_scale;
    assert_ok(be->linear_pack(
        be, &w2, &(qw_linear_source){.segments = &second, .n_segments = 1, .quant = &quant}, &err));
    assert_ok(be->linear_reserve(be, &w1, 1, &err));
    assert_ok(be->linear_reserve(be, &w2, 1, &err));
    static float in[80], inner[80], out[80];
    memcpy(in, x, sizeof x);
    const float z = 0.0f;
    qw_routing r = routing_of(&a, 1, 1);
    be->ops->route(be, &r, &z, 1, 1, true, true);
    qw_expert_linear_args args = {.y = inner,
                                  .y_stride = 80,
                                  .x = in,
                                  .x_stride = 80,
                                  .experts = &w1,
                                  .routing = &r,
                                  .n_rows = 1,
                                  .epilogue = QW_EPILOGUE_SILU_MUL};
    be->ops->expert_linear(be, &args);
    assert_true(fabsf(inner[0] + 0.1030190f) <= 1e-7f && fabsf(inner[1] - 0.00215687f) <= 1e-8f);
    args.y = out;
    args.x = inner;
    args.x_by_place = true;
    args.experts = &w2;
    args.epilogue = QW_EPILOGUE_STORE;
    be->ops->expert_linear(be, &args);
    assert_true(fabsf(out[0] + 0.1042358f) <= 1e-7f && fabsf(out[1] + 0.00034069f) <= 1e-8f);
    be->linear_release(be, &w1);
    be->linear_release(be, &w2);
    qw_backend_close(be);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices),   cmocka_unit_test(test_ties_and_nan),
        cmocka_unit_test(test_products),  cmocka_unit_test(test_combine),
        cmocka_unit_test(test_nan_stays), cmocka_unit_test(test_worked_expert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
