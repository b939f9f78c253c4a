#include "test_util.h"

#include "base/rng.h"

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
static void philox_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        uint32_t got[4];
        qw_philox4x32(got, cases[i].counter, cases[i].key);
        assert_memory_equal(got, cases[i].want, sizeof got);
    }
}

static void token_words_use_the_documented_counter(void **state)
{
    (void)state;
    uint32_t got[4], want[4];
    const uint32_t counter[4] = {5, 0, 0x89abcdef, 0x01234567}, key[2] = {0x55667788, 0x11223344};
    qw_philox4x32(want, counter, key);
    qw_rng_token_words(got, UINT64_C(0x1122334455667788), UINT64_C(0x0123456789abcdef), 5);
    assert_memory_equal(got, want, sizeof got);
    assert_int_equal(qw_rng_child_seed(7, 3), qw_rng_child_seed(7, 3));
    assert_int_not_equal(qw_rng_child_seed(7, 3), qw_rng_child_seed(7, 4));
    assert_int_not_equal(qw_rng_child_seed(7, 3), qw_rng_child_seed(8, 3));
}

static void uniform_stays_inside_the_open_interval(void **state)
{
    (void)state;
    assert_true(qw_rng_uniform(0) == 0x1p-24f);
    assert_true(qw_rng_uniform(UINT32_MAX) == 1.0f - 0x1p-24f);
    assert_true(qw_rng_uniform(0x80000000) == 0.5f + 0x1p-24f);
    assert_true(qw_rng_uniform(0x7FFFFFFF) == 0.5f - 0x1p-24f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(token_words_use_the_documented_counter),
        cmocka_unit_test(uniform_stays_inside_the_open_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
