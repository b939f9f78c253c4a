// Products with integer weights through the device: the worked vectors of quantization.md 10.2, the
// layouts that they are packed from, and the inputs that are refused.
#include "test_util.h"

#include <math.h>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "base/mem.h"
#include "base/thread.h"

typedef struct vector_case {
    qw_linear_source source;
    const float *x; /* [n_rows][k] */
    int n_rows;
    const float *want; /* [n_rows][n] */
    int n;
    float tolerance;
    bool round;
} vector_case;

static void check_vector(const vector_case *c)
{
    static const char *const levels[] = {"ref", "auto"};
    for (size_t i = 0; i < QW_ARRAY_LEN(levels); i++) {
        qw_error err;
        qw_backend *be;
        qw_cpu_options options = {.n_threads = 2, .isa = levels[i]};
        assert_ok(qw_backend_open_cpu(&be, &options, &err));
        qw_linear w;
        assert_ok(be->linear_pack(be, &w, &c->source, &err));
        assert_ok(be->linear_reserve(be, &w, c->n_rows, &err));
        size_t x_stride = qw_row_stride((size_t)w.k), y_stride = qw_row_stride(16);
        float *x = qw_mem_calloc((size_t)c->n_rows * x_stride, sizeof *x);
        float *y = qw_mem_calloc((size_t)c->n_rows * y_stride, sizeof *y);
        for (int m = 0; m < c->n_rows; m++)
            memcpy(x + (size_t)m * x_stride, c->x + m * w.k, (size_t)w.k * sizeof *x);
        be->ops->linear(be, y, y_stride, x, x_stride, &w, c->n_rows, QW_EPILOGUE_STORE, c->round);
        for (int m = 0; m < c->n_rows; m++)
            for (int o = 0; o < c->n; o++) {
                float got = y[(size_t)m * y_stride + (size_t)o], want = c->want[m * c->n + o];
                if (isnan(want) ? !isnan(got) : !(fabsf(got - want) <= c->tolerance))
                    fail_msg("level %s, row %d, output %d: %.9g, not %.9g", levels[i], m, o,
                             (double)got, (double)want);
            }
        qw_mem_free(x);
        qw_mem_free(y);
        be->linear_release(be, &w);
        qw_backend_close(be);
    }
}

static qw_host_matrix matrix(const void *data, qw_dtype dtype, int rows, int cols)
{
    return (qw_host_matrix){.data = data, .dtype = dtype, .rows = rows, .cols = cols};
}

// Quantize a row by the plain version.
static float quantize(int8_t q[64], const float *x, int k, int32_t *sum, qw_input_scheme s)
{
    qw_quantized_row row = {.q = q, .sums = sum};
    qw_quantize_ref(&row, x, k, 64, 0, &s);
    return row.scale;
}

static void assert_codes(const int8_t *got, const int8_t *want, int n)
{
    for (int i = 0; i < n; i++) assert_int_equal(got[i], want[i]);
}

typedef struct parts {
    uint8_t *data[QW_N_LINEAR_PARTS];
} parts;

static int take_part(void *ctx, qw_linear_part part, size_t offset, const void *data, size_t size)
{
    parts *p = ctx;
    memcpy(p->data[part] + offset, data, size);
    return 0;
}

// Float weights that become integers on the way are packed as if they had been stored so: each row
// as an input of 8 bits, into memory and through a sink.
static void from_float(void **state)
{
    (void)state;
    enum { N = 71, K = 100 };
    qw_error err;
    qw_backend *be;
    uint16_t weights[N * K];
    int8_t codes[N * K];
    float scales[N];
    for (int i = 0; i < N; i++) {
        float row[K];
        int8_t q[128];
        int32_t sum;
        for (int k = 0; k < K; k++) {
            float x = i == 5 ? 0.0f : sinf((float)(i * K + k)) * (float)(i + 1) / 50.0f;
            weights[i * K + k] = qw_f32_to_bf16(x);
            row[k] = qw_bf16_to_f32(weights[i * K + k]);
        }
        qw_quantized_row out = {.q = q, .sums = &sum};
        qw_quantize_ref(&out, row, K, 128, 0, &(qw_input_scheme){.kind = QW_INPUT_TOKEN8});
        memcpy(codes + i * K, q, K);
        scales[i] = out.scale;
    }
    qw_host_matrix f = matrix(weights, QW_DTYPE_BF16, N, K), c = matrix(codes, QW_DTYPE_I8, N, K);
    qw_host_matrix s = matrix(scales, QW_DTYPE_F32, 1, N);
    const qw_quant_source stored = {.input = {.kind = QW_INPUT_TOKEN8}, .scales = &s};
    const qw_quant_source made = {.input = {.kind = QW_INPUT_TOKEN8}, .from_float = true};
    const qw_linear_source sources[] = {{.segments = &c, .n_segments = 1, .quant = &stored},
                                        {.segments = &f, .n_segments = 1, .quant = &made}};
    assert_ok(qw_backend_open_cpu(&be, &(qw_cpu_options){.n_threads = 2}, &err));
    qw_linear want, got;
    assert_ok(be->linear_pack(be, &want, &sources[0], &err));
    assert_ok(be->linear_pack(be, &got, &sources[1], &err));
    assert_int_equal(qw_linear_total_size(&got), qw_linear_total_size(&want));
    parts sunk;
    for (int p = 0; p < QW_N_LINEAR_PARTS; p++)
        sunk.data[p] = qw_mem_calloc(1, qw_linear_part_size(&want, (qw_linear_part)p) + 1);
    assert_ok(be->linear_write(be, &got, &sources[1], take_part, &sunk, &err));
    for (int p = 0; p < QW_N_LINEAR_PARTS; p++) {
        size_t size = qw_linear_part_size(&want, (qw_linear_part)p);
        assert_int_equal(qw_linear_part_size(&got, (qw_linear_part)p), size);
        if (size == 0) continue;
        const void *data = qw_linear_part_data(&want, (qw_linear_part)p);
        assert_memory_equal(qw_linear_part_data(&got, (qw_linear_part)p), data, size);
        assert_memory_equal(sunk.data[p], data, size);
    }
    for (int p = 0; p < QW_N_LINEAR_PARTS; p++) qw_mem_free(sunk.data[p]);
    be->linear_release(be, &want);
    be->linear_release(be, &got);
    qw_backend_close(be);
}

// T2: the offset is folded into an int32 bias.
static void static_product(void **state)
{
    (void)state;
    const float x[] = {1.0f, -0.5f, 0.25f, 2.0f};
    const int8_t codes[] = {32, -64, -16, 96};
    const int8_t w[2][4] = {{50, -127, 25, 0}, {40, 60, -80, 127}};
    const uint32_t deq_bits[2] = {0x3923d70a, 0x3703126f};
    const int32_t static_bias[2] = {-1024, 2144};
    const float want[] = {1.2975f, 0.102f};
    float deq[2];
    memcpy(deq, deq_bits, sizeof deq);
    qw_input_scheme s = {.kind = QW_INPUT_STATIC8, .scale = 0.015625f, .offset = -32.0f};
    int8_t q[64];
    int32_t sum;
    assert_true(quantize(q, x, 4, &sum, s) == 1.0f);
    assert_codes(q, codes, 4);
    assert_int_equal(sum, 48);
    qw_host_matrix m = matrix(w, QW_DTYPE_I8, 2, 4), scales = matrix(deq, QW_DTYPE_F32, 1, 2);
    qw_host_matrix biases = matrix(static_bias, QW_DTYPE_I32, 1, 2);
    qw_quant_source quant = {.input = s, .scales = &scales, .static_biases = &biases};
    check_vector(&(vector_case){
        {.segments = &m, .n_segments = 1, .quant = &quant}, x, 1, want, 2, 1e-6f, false});
}

// T2b: asymmetric ranges. T3: the scale as stored, and as the NPU rounds it.
static void static_codes(void **state)
{
    (void)state;
    int8_t q[64];
    int32_t sum;
    const float x_b[] = {0.0f, 3.3f, -0.9f};
    qw_input_scheme b = {.kind = QW_INPUT_STATIC8, .scale = 4.2f / 255.0f, .offset = -73.0f};
    quantize(q, x_b, 3, &sum, b);
    assert_codes(q, (const int8_t[]){-73, 127, -128}, 3);
    const float x[] = {0.5f, 1.0f, 1.5f};
    qw_input_scheme s = {.kind = QW_INPUT_STATIC8, .scale = 0.0123f, .offset = 5.0f};
    quantize(q, x, 3, &sum, s);
    assert_codes(q, (const int8_t[]){46, 86, 127}, 3);
    s = qw_input_npu(s);
    assert_true(s.scale == 0.0123291015625f);
    assert_true(s.inverse == 81.0f);
    quantize(q, x, 3, &sum, s);
    assert_codes(q, (const int8_t[]){46, 86, 126}, 3);
}

// T4: ties to even, zero rows, and rows with NaN or infinity.
static void token_product(void **state)
{
    (void)state;
    const float x[4][6] = {{127.0f, -63.5f, 0.5f, 1.5f, 2.5f, -2.5f},
                           {0},
                           {1.0f, NAN, 0.0f, 0.0f, 0.0f, 0.0f},
                           {1.0f, 0.0f, 0.0f, 0.0f, 0.0f, -INFINITY}};
    const int8_t w[2][6] = {{50, -127, 25, 0, 3, -3}, {40, 60, -80, 127, 1, 2}};
    const float ws[] = {0.01f, 0.0005f}, bias[] = {0.5f, -2.0f};
    const float want[] = {145.4f, -1.254f, 0.5f, -2.0f, NAN, NAN, NAN, NAN};
    qw_input_scheme s = {.kind = QW_INPUT_TOKEN8};
    int8_t q[64];
    int32_t sum;
    assert_true(quantize(q, x[0], 6, &sum, s) == 1.0f);
    assert_codes(q, (const int8_t[]){127, -64, 0, 2, 2, -2, 0, 0}, 8);
    assert_true(quantize(q, x[1], 6, &sum, s) == 0.0f);
    assert_true(isnan(quantize(q, x[2], 6, &sum, s)));
    assert_int_equal(sum, 0);
    qw_host_matrix m = matrix(w, QW_DTYPE_I8, 2, 6), scales = matrix(ws, QW_DTYPE_F32, 1, 2);
    qw_host_matrix biases = matrix(bias, QW_DTYPE_F32, 1, 2);
    qw_quant_source quant = {.input = s, .scales = &scales};
    check_vector(
        &(vector_case){{.segments = &m, .biases = &biases, .n_segments = 1, .quant = &quant},
                       x[0],
                       4,
                       want,
                       2,
                       1e-4f,
                       false});
    // 4 bits
    const float x4[] = {14.0f, -7.0f, 1.0f, 3.0f, -5.0f, -14.0f};
    assert_true(quantize(q, x4, 6, &sum, (qw_input_scheme){.kind = QW_INPUT_TOKEN4}) == 2.0f);
    assert_codes(q, (const int8_t[]){7, -4, 0, 2, -2, -7}, 6);
}

// So small that the scale is no normal number: a zero row, whether denormals are flushed or not.
static void tiny_rows_are_zero(void **state)
{
    (void)state;
    const float x[] = {0x1p-125f, -0x1p-130f, 0x1p-149f, 0.0f};
    int8_t q[64];
    int32_t sum;
    assert_true(quantize(q, x, 4, &sum, (qw_input_scheme){.kind = QW_INPUT_TOKEN8}) == 0.0f);
    assert_codes(q, (const int8_t[]){0, 0, 0, 0}, 4);
    const float least[] = {127.0f * 0x1p-126f, 0x1p-126f};
    assert_true(quantize(q, least, 2, &sum, (qw_input_scheme){.kind = QW_INPUT_TOKEN8}) ==
                0x1p-126f);
    assert_codes(q, (const int8_t[]){127, 1}, 2);
}

// T5: two output rows a byte, and the same weights one a byte.
static void int4_packings(void **state)
{
    (void)state;
    const uint8_t packed[2][3] = {{0xF1, 0x08, 0x37}, {0x25, 0xED, 0xA9}};
    const int8_t rows[4][3] = {{1, -8, 7}, {-1, 0, 3}, {5, -3, -7}, {2, -2, -6}};
    // One-hot rows bring out the weights: scale 1/127, q 127.
    const float x[3][3] = {{1.0f}, {0.0f, 1.0f}, {0.0f, 0.0f, 1.0f}};
    float want[3][4];
    for (int k = 0; k < 3; k++)
        for (int o = 0; o < 4; o++) want[k][o] = rows[o][k];
    qw_host_matrix two = matrix(packed, QW_DTYPE_I4, 4, 3), one = matrix(rows, QW_DTYPE_I8, 4, 3);
    qw_quant_source quant = {.input = {.kind = QW_INPUT_TOKEN8}};
    vector_case c = {
        {.segments = &two, .n_segments = 1, .quant = &quant}, x[0], 3, want[0], 4, 1e-5f, false};
    check_vector(&c);
    quant.input.kind = QW_INPUT_FLOAT; // weights only
    c.tolerance = 0.0f;
    check_vector(&c);
    quant.narrow = true;
    c.source.segments = &one;
    check_vector(&c);
    quant.narrow = false; // the same as int8
    check_vector(&c);
}

// T5b: scales of groups below scales of rows, made of whole vectors of 8.
static void two_levels(void **state)
{
    (void)state;
    const int8_t w[1][16] = {{7, -3, 0, 0, 0, 0, 0, 0, 5, -8}};
    const float x[16] = {1.0f, -0.5f, [8] = 0.25f, 0.75f};
    const float s1[] = {0.01f}, s2[] = {17.0f, 2.0f}, want[] = {1.3525197f};
    qw_host_matrix m = matrix(w, QW_DTYPE_I8, 1, 16), scales = matrix(s1, QW_DTYPE_F32, 1, 1);
    qw_host_matrix seconds = matrix(s2, QW_DTYPE_F32, 1, 2);
    qw_quant_source quant = {.input = {.kind = QW_INPUT_TOKEN8},
                             .narrow = true,
                             .scales = &scales,
                             .group = 8,
                             .group_scales = &seconds};
    vector_case c = {
        {.segments = &m, .n_segments = 1, .quant = &quant}, x, 1, want, 1, 2e-7f, false};
    check_vector(&c);
    quant.narrow = false;
    check_vector(&c);
    quant.input.kind = QW_INPUT_FLOAT;
    const float exact[] = {1.35f};
    c.want = exact;
    check_vector(&c);
}

// T7: FlatQuant; the left matrix is applied transposed, 4.45 saturates.
static void flat_product(void **state)
{
    (void)state;
    const float left[2][2] = {{0.6f, 0.8f}, {-0.8f, 0.6f}};
    const float right[4][4] = {{0.5f, 0.5f, 0.5f, 0.5f},
                               {0.5f, -0.5f, 0.5f, -0.5f},
                               {0.5f, 0.5f, -0.5f, -0.5f},
                               {0.5f, -0.5f, -0.5f, 0.5f}};
    const float x[] = {1.0f, 2.0f, 3.0f, 4.0f, 0.5f, -1.0f, 0.0f, 2.0f};
    const float transformed[] = {2.4f, -0.4f, -0.2f, -1.4f, 4.45f, -0.95f, -2.35f, 1.05f};
    const int8_t w[1][8] = {{3, 0, 2, -1, 4, 7, 1, 5}};
    const float ws[] = {0.62f / 7.0f}, want[] = {1.7229673f};
    qw_input_scheme s = {
        .kind = QW_INPUT_FLAT4, .clip_ratio = 0.9f, .left = 2, .right = 4, .has_right = true};
    // As they are packed: left, then right with rows of 16.
    float transforms[4 + 64] = {0}, t[32], y[32];
    memcpy(transforms, left, sizeof left);
    for (int i = 0; i < 4; i++) memcpy(transforms + 4 + 16 * i, right[i], sizeof right[i]);
    qw_flat_ref(y, t, x, transforms, &s);
    for (int i = 0; i < 8; i++) assert_true(fabsf(y[i] - transformed[i]) < 1e-6f);
    int8_t q[64];
    int32_t sum;
    assert_true(fabsf(quantize(q, y, 8, &sum, s) - 0.57214286f) < 1e-7f);
    assert_codes(q, (const int8_t[]){4, -1, 0, -2, 7, -2, -4, 2}, 8);
    qw_host_matrix m = matrix(w, QW_DTYPE_I8, 1, 8), scales = matrix(ws, QW_DTYPE_F32, 1, 1);
    qw_quant_source quant = {.input = s,
                             .narrow = true,
                             .scales = &scales,
                             .left = matrix(left, QW_DTYPE_F32, 2, 2),
                             .right = matrix(right, QW_DTYPE_F32, 4, 4)};
    check_vector(&(vector_case){
        {.segments = &m, .n_segments = 1, .quant = &quant}, x, 1, want, 1, 1e-6f, false});
}

// With 4-bit inputs the bias meets a rounded sum (cpu-kernels.md 3.6).
static void bias_of_4_bits(void **state)
{
    (void)state;
    const int8_t w[1][8] = {{7}};
    const float x[2][8] = {{7.0f}, {7.0f * 0x1.01p0f}}, bias[] = {0x1.01p-8f};
    const float ws[] = {1.0f / 49.0f * 0x1.02p0f};
    qw_host_matrix m = matrix(w, QW_DTYPE_I8, 1, 8), scales = matrix(ws, QW_DTYPE_F32, 1, 1);
    qw_host_matrix biases = matrix(bias, QW_DTYPE_F32, 1, 1);
    qw_quant_source quant = {.input = {.kind = QW_INPUT_TOKEN4}, .narrow = true, .scales = &scales};
    float want[2];
    for (int m_ = 0; m_ < 2; m_++) {
        float t = 49.0f * ws[0];
        t = t * (x[m_][0] / 7.0f);
        want[m_] = qw_round_bf16(qw_round_bf16(t) + qw_round_bf16(bias[0]));
    }
    check_vector(
        &(vector_case){{.segments = &m, .biases = &biases, .n_segments = 1, .quant = &quant},
                       x[0],
                       2,
                       want,
                       1,
                       0.0f,
                       true});
}

static void refusals(void **state)
{
    (void)state;
    qw_error err;
    qw_backend *be;
    qw_linear w;
    assert_ok(qw_backend_open_cpu(&be, &(qw_cpu_options){.n_threads = 1}, &err));
    size_t live = qw_mem_live();
    int8_t weights[2][16] = {{0}};
    int32_t static_bias[2] = {0, INT32_MAX};
    qw_host_matrix m = matrix(weights, QW_DTYPE_I8, 2, 16);
    qw_quant_source quant = {.input = {.kind = QW_INPUT_TOKEN8}, .group = 12};
    const qw_linear_source source = {.segments = &m, .n_segments = 1, .quant = &quant};
    assert_fails(be->linear_pack(be, &w, &source, &err), QW_ERR_FORMAT, "groups of 12 inputs");
    quant = (qw_quant_source){.input = {.kind = QW_INPUT_FLAT4, .left = 4, .right = 5}};
    assert_fails(be->linear_pack(be, &w, &source, &err), QW_ERR_FORMAT, "do not make up 16");
    quant = (qw_quant_source){.input = {.kind = QW_INPUT_TOKEN8}, .narrow = true};
    weights[1][15] = -9;
    assert_fails(be->linear_pack(be, &w, &source, &err), QW_ERR_FORMAT, "outside of -8 .. 7");
    weights[1][15] = 8;
    assert_fails(be->linear_pack(be, &w, &source, &err), QW_ERR_FORMAT, "outside of -8 .. 7");
    qw_host_matrix biases = matrix(static_bias, QW_DTYPE_I32, 1, 2);
    quant = (qw_quant_source){.input = {.kind = QW_INPUT_STATIC8, .scale = 1.0f},
                              .static_biases = &biases};
    assert_fails(be->linear_pack(be, &w, &source, &err), QW_ERR_FORMAT, "static bias 2147483647");
    qw_host_matrix wide = {.data = weights, .dtype = QW_DTYPE_I8, .rows = 1, .cols = 131072};
    const qw_linear_source too_wide = {.segments = &wide, .n_segments = 1, .quant = &quant};
    assert_fails(qw_linear_plan(&w, &too_wide, &err), QW_ERR_UNSUPPORTED, "131072 inputs");
    assert_int_equal(qw_mem_live(), live);
    qw_backend_close(be);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(static_product), cmocka_unit_test(static_codes),
        cmocka_unit_test(token_product),  cmocka_unit_test(tiny_rows_are_zero),
        cmocka_unit_test(int4_packings),  cmocka_unit_test(two_levels),
        cmocka_unit_test(flat_product),   cmocka_unit_test(bias_of_4_bits),
        cmocka_unit_test(from_float),     cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
