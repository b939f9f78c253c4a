#include "test_util.h"

#include "base/mem.h"
#include "engine/topk.h"

#include <math.h>

static qw_error err;

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static int descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

#define MAX_N 1000

static void check_select(qw_topk *t, const float *z, size_t n, size_t k)
{
    static float sorted[MAX_N];
    static int32_t ids[MAX_N];
    memcpy(sorted, z, n * sizeof *z);
    qsort(sorted, n, sizeof *sorted, descending);
    bool has_nan;
    float max = qw_topk_scan(t, z, &has_nan);
    assert_false(has_nan);
    assert_true(max == sorted[0]);
    size_t i_max = qw_topk_argmax(t, z, max);
    for (size_t i = 0; i < n; i++) assert_true(i < i_max ? z[i] < max : z[i] <= max);
    assert_true(z[i_max] == max);

    float least = k <= n ? sorted[k - 1] : -INFINITY;
    size_t n_ids = qw_topk_select(t, ids, z, k), n_want = 0, n_at_least = 0;
    for (size_t i = 0; i < n; i++) {
        n_at_least += z[i] >= least;
        if (!(z[i] >= least) || z[i] == -INFINITY) continue;
        assert_true(n_want < n_ids);
        assert_int_equal(ids[n_want++], i);
    }
    assert_int_equal(n_ids, n_want);
    assert_int_equal(qw_topk_count(t, z, least), n_at_least);
}

static void select_equals_sorting(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 15, 16, 17, 31, 33, 100, 256, MAX_N};
    static const size_t ks[] = {1, 2, 3, 7, 20, 63, 64, 99, 500, 1000, 2000};
    static float z[MAX_N];
    uint32_t random = 42;
    for (size_t i = 0; i < QW_ARRAY_LEN(sizes); i++) {
        size_t n = sizes[i];
        qw_topk t;
        assert_ok(qw_topk_init(&t, n, &err));
        for (int kind = 0; kind < 5; kind++) {
            for (size_t j = 0; j < n; j++) {
                float x = (float)next_random(&random) * 0x1p-20f - 8.0f;
                if (kind == 1) x = floorf(x);                                       // many ties
                if (kind == 2 && j % 3) x = -INFINITY;                              // masked
                if (kind == 3) x = 0.5f;                                            // all equal
                if (kind == 4) x *= next_random(&random) % 2 ? 1e-38f : 1e38f / 16; // all exponents
                z[j] = x;
            }
            for (size_t j = 0; j < QW_ARRAY_LEN(ks); j++) check_select(&t, z, n, ks[j]);
        }
        qw_topk_release(&t);
    }
}

static void nan_is_found_wherever_it_is(void **state)
{
    (void)state;
    float z[37];
    qw_topk t;
    assert_ok(qw_topk_init(&t, 37, &err));
    for (size_t at = 0; at < 37; at++) {
        for (size_t i = 0; i < 37; i++) z[i] = i == at ? (at % 2 ? NAN : -NAN) : (float)i;
        bool has_nan = false;
        (void)qw_topk_scan(&t, z, &has_nan);
        assert_true(has_nan);
    }
    qw_topk_release(&t);
}

static void zeros_of_both_signs_are_equal(void **state)
{
    (void)state;
    float z[20];
    for (int i = 0; i < 20; i++) z[i] = i % 2 ? 0.0f : -0.0f;
    qw_topk t;
    assert_ok(qw_topk_init(&t, 20, &err));
    for (size_t k = 1; k <= 20; k++) check_select(&t, z, 20, k);
    qw_topk_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(select_equals_sorting),
        cmocka_unit_test(nan_is_found_wherever_it_is),
        cmocka_unit_test(zeros_of_both_signs_are_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
