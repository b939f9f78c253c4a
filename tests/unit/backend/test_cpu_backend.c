// Opening the CPU device and packing weights when memory runs out; the start-up probe.

#include "test_util.h"

#include "backend/backend.h"
#include "backend/cpu/cpu_features.h"
#include "backend/cpu/probe.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

static qw_status open_and_pack(qw_error *err)
{
    static float weights[20 * 40], bias[20];
    const qw_host_matrix w = {.data = weights, .dtype = QW_DTYPE_F32, .rows = 20, .cols = 40};
    const qw_host_matrix b = {.data = bias, .dtype = QW_DTYPE_F32, .rows = 1, .cols = 20};
    const qw_linear_source source = {
        .segments = &w, .biases = &b, .n_segments = 1, .concat = QW_CONCAT_STACK};
    qw_cpu_options options = {.n_threads = 2};
    qw_backend *be = NULL;
    qw_linear linear;
    qw_status st = qw_backend_open_cpu(&be, &options, err);
    if (st != QW_OK) return st;
    st = be->linear_pack(be, &linear, &source, err);
    if (st == QW_OK) be->linear_release(be, &linear);
    qw_backend_close(be);
    return st;
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    qw_error err;
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    int n = 0;
    while (st != QW_OK) {
        qw_mem_fail_at((uint64_t)++n);
        st = open_and_pack(&err);
        qw_mem_fail_at(0);
        assert_true(st == QW_OK || st == QW_ERR_NO_MEMORY);
        assert_int_equal(qw_mem_live(), live);
    }
    assert_true(n > 4); // each of them failed once before it went well
}

static void test_levels(void **state)
{
    (void)state;
    qw_error err;
    qw_backend *be = NULL;
    qw_cpu_options options = {.n_threads = 1, .isa = "ref"};
    assert_ok(qw_backend_open_cpu(&be, &options, &err));
    assert_string_equal(be->isa, "ref");
    qw_backend_close(be);
    options.isa = "mmx";
    assert_fails(qw_backend_open_cpu(&be, &options, &err), QW_ERR_USAGE, "'mmx'");
}

static void test_probe(void **state)
{
    (void)state;
    unsigned levels = qw_cpu_detect();
    int64_t start = qw_clock_ns();
    assert_int_equal(qw_probe_levels(levels), levels); // no level of this CPU rounds differently
    print_message("the probe takes %.0f us\n", (double)(qw_clock_ns() - start) * 1e-3);
    assert_int_equal(qw_probe_levels(0), 0);
    assert_false(qw_fp_mode_is_on()); // it puts the mode back
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
