#include "test_util.h"

#include "backend/cpu/cpu_features.h"

#include <stdio.h>

static qw_error err;

enum { ALL_X86 = QW_CPU_AVX2 | QW_CPU_AVX512 | QW_CPU_VNNI | QW_CPU_AVX512BF16 };

static void detection_agrees_with_the_compiler(void **state)
{
    (void)state;
    unsigned levels = qw_cpu_detect();
    assert_int_equal(levels, qw_cpu_detect());
#if defined(__x86_64__)
    bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    bool has_vnni = has_avx512 && __builtin_cpu_supports("avx512vnni");
    assert_int_equal((levels & QW_CPU_AVX2) != 0, has_avx2);
    assert_int_equal((levels & QW_CPU_AVX512) != 0, has_avx512);
    assert_int_equal((levels & QW_CPU_VNNI) != 0, has_vnni);
    assert_false(levels & QW_CPU_NEON);
#elif defined(__aarch64__)
    assert_int_equal(levels, QW_CPU_NEON);
#endif
    assert_true((levels & QW_CPU_AVX2) || !(levels & ALL_X86));
}

static void a_level_includes_the_lower_ones(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned want;
    } cases[] = {
        {"ref", 0},
        {"avx2", QW_CPU_AVX2},
        {"avx512", QW_CPU_AVX2 | QW_CPU_AVX512},
        {"vnni", QW_CPU_AVX2 | QW_CPU_AVX512 | QW_CPU_VNNI},
        {"avx512bf16", ALL_X86},
        {"auto", ALL_X86},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        unsigned got = 99;
        assert_ok(qw_cpu_isa_select(&got, cases[i].name, ALL_X86, &err));
        assert_int_equal(got, cases[i].want);
        if (i < 5) assert_string_equal(qw_cpu_level_name(got), cases[i].name);
    }
    unsigned got;
    assert_ok(qw_cpu_isa_select(&got, "neon", QW_CPU_NEON, &err));
    assert_int_equal(got, QW_CPU_NEON);
    assert_string_equal(qw_cpu_level_name(got), "neon");
    assert_ok(qw_cpu_isa_parse(&got, "auto", &err));
    assert_int_equal(got, qw_cpu_detect());
}

static void a_level_that_is_not_there_names_what_is(void **state)
{
    (void)state;
    unsigned out = 77, avx2 = QW_CPU_AVX2;
    assert_fails(qw_cpu_isa_select(&out, "avx512", avx2, &err), QW_ERR_USAGE,
                 "--cpu-isa 'avx512': this CPU lacks it; usable here: ref, avx2");
    assert_fails(qw_cpu_isa_select(&out, "neon", ALL_X86, &err), QW_ERR_USAGE,
                 "usable here: ref, avx2, avx512, vnni, avx512bf16");
    assert_fails(qw_cpu_isa_select(&out, "avx2", 0, &err), QW_ERR_USAGE, "usable here: ref");
    assert_fails(qw_cpu_isa_select(&out, "amx", ALL_X86, &err), QW_ERR_USAGE, "no kernels");
    assert_fails(qw_cpu_isa_select(&out, "dotprod", QW_CPU_NEON, &err), QW_ERR_USAGE, "no kernels");
    assert_fails(qw_cpu_isa_select(&out, "i8mm", QW_CPU_NEON, &err), QW_ERR_USAGE, "no kernels");
    assert_fails(qw_cpu_isa_select(&out, "sse9", avx2, &err), QW_ERR_USAGE, "'sse9' is unknown");
    assert_fails(qw_cpu_isa_select(&out, "", avx2, &err), QW_ERR_USAGE, "'' is unknown");
    assert_int_equal(out, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(detection_agrees_with_the_compiler),
        cmocka_unit_test(a_level_includes_the_lower_ones),
        cmocka_unit_test(a_level_that_is_not_there_names_what_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
