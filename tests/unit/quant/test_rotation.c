// Orthogonal matrices: every order that models need, against their definition.
#include "test_util.h"

#include <math.h>

#include "base/mem.h"
#include "quant/rotation.h"

static void check_order(size_t n)
{
    qw_error err;
    qw_hadamard h;
    assert_ok(qw_hadamard_init(&h, n, &err));
    float *m = qw_mem_array(n * n, sizeof *m), *x = qw_mem_array(2 * n, sizeof *x);
    qw_hadamard_fill(&h, m);
    for (size_t i = 0; i < n; i += n / 4 + 1)
        for (size_t j = 0; j < n; j++) {
            double dot = 0;
            for (size_t k = 0; k < n; k++) dot += (double)m[i * n + k] * (double)m[j * n + k];
            if (fabs(dot - (i == j)) > 1e-5) fail_msg("order %zu: rows %zu, %zu: %g", n, i, j, dot);
        }
    // Applied, it is the product with the matrix that fill writes down.
    for (size_t k = 0; k < n; k++) x[k] = (float)(k * k % 7) - 3;
    qw_hadamard_apply(&h, x, x + n);
    for (size_t j = 0; j < n; j++) {
        double want = 0;
        for (size_t k = 0; k < n; k++) want += ((double)(k * k % 7) - 3) * (double)m[k * n + j];
        assert_float_equal(x[j], want, 1e-4);
    }
    qw_mem_free(x);
    qw_mem_free(m);
    qw_hadamard_release(&h);
}

static void test_orders(void **state)
{
    (void)state;
    static const size_t orders[] = {1,  2,  4,  8,  12, 20, 24,  28,  32,  36,  40,  44, 48,
                                    60, 64, 68, 76, 80, 96, 128, 136, 160, 256, 640, 0};
    for (const size_t *n = orders; *n; n++) check_order(*n);
}

static void test_unknown_orders(void **state)
{
    (void)state;
    qw_error err;
    qw_hadamard h;
    static const size_t orders[] = {3, 5, 6, 10, 7 * 2, 0};
    for (size_t i = 0; i < QW_ARRAY_LEN(orders); i++)
        assert_fails(qw_hadamard_init(&h, orders[i], &err), QW_ERR_UNSUPPORTED, "Hadamard");
}

static void test_decompose_t12(void **state)
{
    (void)state;
    static const size_t want[][3] = {
        {99, 9, 11},     {768, 24, 32},    {896, 28, 32},     {1024, 32, 32},
        {1536, 32, 48},  {2048, 32, 64},   {2560, 40, 64},    {3072, 48, 64},
        {4096, 64, 64},  {5120, 64, 80},   {6144, 64, 96},    {8192, 64, 128},
        {9728, 76, 128}, {12288, 96, 128}, {17408, 128, 136}, {25600, 160, 160}};
    size_t left, right;
    for (size_t i = 0; i < QW_ARRAY_LEN(want); i++) {
        assert_true(qw_kronecker_split(want[i][0], &left, &right));
        assert_int_equal(left, want[i][1]);
        assert_int_equal(right, want[i][2]);
    }
    assert_false(qw_kronecker_split(6, &left, &right));
}

// x * (L x R) = L^T * X * R, and what it leaves alone: products of rows.
static void test_kronecker(void **state)
{
    (void)state;
    enum { L = 12, R = 16, N = L * R };
    qw_error err;
    qw_rotation r;
    assert_ok(qw_rotation_init_kronecker(&r, L, R, &err));
    float l[L * L], right[R * R], x[N], y[N], w[N], scratch[2 * N];
    qw_hadamard_fill(&r.left, l);
    qw_hadamard_fill(&r.right, right);
    double before = 0, after = 0;
    for (int k = 0; k < N; k++) {
        y[k] = x[k] = (float)(k * 5 % 11) - 5;
        w[k] = (float)(k * 3 % 13) - 6;
        before += (double)x[k] * (double)w[k];
    }
    qw_rotation_apply(&r, y, scratch);
    qw_rotation_apply(&r, w, scratch);
    for (int a = 0; a < L; a++)
        for (int b = 0; b < R; b++) {
            double want = 0;
            for (int i = 0; i < L; i++)
                for (int j = 0; j < R; j++)
                    want += (double)l[i * L + a] * (double)x[i * R + j] * (double)right[j * R + b];
            assert_float_equal(y[a * R + b], want, 1e-4);
        }
    for (int k = 0; k < N; k++) after += (double)y[k] * (double)w[k];
    assert_float_equal(after, before, 1e-2);
    qw_rotation_release(&r);
}

static void test_signs(void **state)
{
    (void)state;
    enum { N = 256 };
    qw_error err;
    qw_rotation a, b, c;
    assert_ok(qw_rotation_init(&a, N, 1234, &err));
    assert_ok(qw_rotation_init(&b, N, 1234, &err));
    assert_ok(qw_rotation_init(&c, N, 1, &err));
    int n_minus = 0;
    for (int k = 0; k < N; k++) {
        assert_true(a.signs[k] == 1 || a.signs[k] == -1);
        n_minus += a.signs[k] < 0;
    }
    assert_in_range(n_minus, N / 3, 2 * N / 3);
    assert_memory_equal(a.signs, b.signs, N * sizeof(float));
    assert_memory_not_equal(a.signs, c.signs, N * sizeof(float));
    float x[N] = {1}, scratch[2 * N];
    qw_rotation_apply(&a, x, scratch);
    for (int k = 0; k < N; k++) assert_float_equal(x[k], a.signs[k] / 16, 0); // row 0 of H is ones
    qw_rotation_release(&a);
    qw_rotation_release(&b);
    qw_rotation_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),    cmocka_unit_test(test_unknown_orders),
        cmocka_unit_test(test_kronecker), cmocka_unit_test(test_decompose_t12),
        cmocka_unit_test(test_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
