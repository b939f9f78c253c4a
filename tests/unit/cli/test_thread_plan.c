#include "test_util.h"

#include <stdlib.h>

#include "cli/thread_plan.h"

static qw_error err;

static void check(const qw_thread_wish *wish, int64_t n, const char *why)
{
    qw_thread_plan p;
    assert_ok(qw_thread_plan_choose(&p, wish, &err));
    assert_int_equal(p.n_threads, n);
    if (!strstr(p.why, why)) fail_msg("'%s' not in '%s'", why, p.why);
}

static void test_order(void **unused)
{
    (void)unused;
    check(&(qw_thread_wish){.default_threads = 8}, 8, "each usable core");
    check(&(qw_thread_wish){.default_threads = 8, .omp_num_threads = "3"}, 3, "OMP_NUM_THREADS");
    check(&(qw_thread_wish){.default_threads = 8, .omp_num_threads = "3", .cpu_threads = 5}, 5,
          "--cpu-threads");
    check(&(qw_thread_wish){.default_threads = 8,
                            .omp_num_threads = "3",
                            .omp_threads_bind = "0-3,8|9-12"},
          5, "VLLM_CPU_OMP_THREADS_BIND");
    check(&(qw_thread_wish){.default_threads = 8, .omp_threads_bind = "auto"}, 8, "usable");
    check(&(qw_thread_wish){.default_threads = 8, .omp_threads_bind = "nobind"}, 8, "usable");
    check(&(qw_thread_wish){.default_threads = 8, .reserved_cpus = "3"}, 5, "less the reserved");
    check(&(qw_thread_wish){.default_threads = 2, .reserved_cpus = "3"}, 1, "less the reserved");
}

// The reference page's OMP_NUM_THREADS=1 is for torch on an NPU host.
static void test_ascend(void **unused)
{
    (void)unused;
    qw_thread_plan p;
    qw_thread_wish wish = {
        .default_threads = 8, .omp_num_threads = "1", .has_ascend_variables = true};
    assert_ok(qw_thread_plan_choose(&p, &wish, &err));
    assert_int_equal(p.n_threads, 8);
    assert_true(p.omp_ignored);
    wish.has_ascend_variables = false;
    assert_ok(qw_thread_plan_choose(&p, &wish, &err));
    assert_int_equal(p.n_threads, 1);
    assert_false(p.omp_ignored);
    wish = (qw_thread_wish){
        .default_threads = 8, .omp_num_threads = "2", .has_ascend_variables = true};
    assert_ok(qw_thread_plan_choose(&p, &wish, &err));
    assert_int_equal(p.n_threads, 2);

    unsetenv("HCCL_BUFFSIZE");
    bool before = qw_thread_plan_sees_ascend();
    setenv("HCCL_BUFFSIZE", "1024", 1);
    assert_true(qw_thread_plan_sees_ascend());
    unsetenv("HCCL_BUFFSIZE");
    assert_true(qw_thread_plan_sees_ascend() == before);
}

static void test_binding(void **unused)
{
    (void)unused;
    qw_thread_plan p;
    const qw_thread_wish wish = {
        .default_threads = 8, .omp_threads_bind = "0,2-3|7", .cpu_threads = 2};
    assert_ok(qw_thread_plan_choose(&p, &wish, &err));
    assert_int_equal(p.n_threads, 2);
    assert_int_equal(p.bind_len, 5);
    assert_memory_equal(p.bind, "0,2-3", 5);
    static const char *const wrong[] = {"0-", "-1", "3-1", "0,", ",0", "a", "0;1", "99999", "|1"};
    for (size_t i = 0; i < QW_ARRAY_LEN(wrong); i++) {
        const qw_thread_wish bad = {.default_threads = 8, .omp_threads_bind = wrong[i]};
        assert_fails(qw_thread_plan_choose(&p, &bad, &err), QW_ERR_USAGE, "expected auto, nobind");
    }
    const qw_thread_wish omp = {.default_threads = 8, .omp_num_threads = "0"};
    assert_fails(qw_thread_plan_choose(&p, &omp, &err), QW_ERR_USAGE, "OMP_NUM_THREADS");
    const qw_thread_wish reserved = {.default_threads = 8, .reserved_cpus = "x"};
    assert_fails(qw_thread_plan_choose(&p, &reserved, &err), QW_ERR_USAGE,
                 "VLLM_CPU_NUM_OF_RESERVED_CPU");
    assert_fails(qw_thread_plan_bind("1000", &err), QW_ERR_IO, "cannot stay on the CPUs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_ascend),
        cmocka_unit_test(test_binding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
