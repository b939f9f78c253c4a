// The sizes of step plans from what the user gives: examples, then 200 random lists.

#include "test_util.h"

#include "model/plan_sizes.h"

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 16;
}

static qw_plan_sizes make(const int64_t *sizes, size_t n, int64_t max_size, int32_t max_rows)
{
    qw_error err;
    qw_plan_sizes out;
    qw_plan_sizes_input in = {sizes, n, max_size, max_rows};
    assert_ok(qw_plan_sizes_make(&out, &in, &err));
    return out;
}

static void expect(const qw_plan_sizes *got, const int32_t *want, size_t n)
{
    assert_int_equal(got->n, n);
    assert_memory_equal(got->sizes, want, n * sizeof *want);
}

static void test_defaults(void **state)
{
    (void)state;
    qw_plan_sizes s = make(NULL, 0, -1, 256);
    assert_int_equal(s.n, 3 + 31 + 1); // 1 2 4, 8 .. 248, 256
    assert_int_equal(s.sizes[2], 4);
    assert_int_equal(s.sizes[33], 248);
    assert_int_equal(s.sizes[34], 256);
    assert_false(s.is_last_added);

    s = make(NULL, 0, -1, 1024);
    assert_int_equal(s.n, 3 + 31 + 17 + 1); // .., 256 .. 512 step 16, and the largest step
    assert_int_equal(s.sizes[50], 512);
    assert_int_equal(s.sizes[51], 1024);
    assert_true(s.is_last_added);

    static const int32_t one[] = {1}, odd[] = {1, 2, 3}, fifty[] = {1, 2, 4, 8, 16, 24, 50};
    s = make(NULL, 0, -1, 1);
    expect(&s, one, 1);
    s = make(NULL, 0, -1, 3);
    expect(&s, odd, 3);
    s = make(NULL, 0, 24, 50);
    expect(&s, fifty, 7);
}

static void test_given(void **state)
{
    (void)state;
    static const int64_t page[] = {4, 8, 64, 600}, mess[] = {64, 1, 64, 8, 1}, big[] = {INT64_MAX};
    static const int32_t want_page[] = {4, 8, 64, 256}, want_mess[] = {1, 8, 64, 65}, all[] = {7};
    qw_plan_sizes s = make(page, 4, -1, 256);
    expect(&s, want_page, 4);
    assert_int_equal(s.n_above, 1);
    assert_true(s.is_last_added);
    s = make(page, 4, 600, 256);
    expect(&s, want_page, 4);
    s = make(mess, 5, -1, 65);
    expect(&s, want_mess, 4);
    assert_int_equal(s.n_repeated, 2);
    s = make(big, 1, -1, 7);
    expect(&s, all, 1);
}

static void test_off(void **state)
{
    (void)state;
    static const int64_t none = 0;
    assert_int_equal(make(&none, 0, -1, 64).n, 0);
    assert_int_equal(make(NULL, 0, 0, 64).n, 0);
}

static void expect_refused(const int64_t *sizes, size_t n, int64_t max_size, const char *why)
{
    qw_error err;
    qw_plan_sizes out = {.n = 99};
    qw_plan_sizes_input in = {sizes, n, max_size, 4096};
    assert_fails(qw_plan_sizes_make(&out, &in, &err), QW_ERR_USAGE, why);
    assert_int_equal(out.n, 99);
}

static void test_refused(void **state)
{
    (void)state;
    static const int64_t zero[] = {4, 0}, negative[] = {-3}, eight[] = {8};
    int64_t many[QW_PLAN_SIZES_MAX + 1];
    for (int i = 0; i <= QW_PLAN_SIZES_MAX; i++) many[i] = i + 1;
    expect_refused(zero, 2, -1, "at least 1, got 0");
    expect_refused(negative, 1, -1, "at least 1, got -3");
    expect_refused(eight, 1, 6, "max_cudagraph_capture_size(=6)");
    expect_refused(NULL, 0, -2, "at least 0, got -2");
    expect_refused(many, QW_PLAN_SIZES_MAX + 1, -1, "more than 512 different sizes");
    expect_refused(many, QW_PLAN_SIZES_MAX, -1, "more than 512 different sizes"); // and 4096
}

// One random list: refused for a reason that is there, or normalised.
static void check_list(const int64_t *list, size_t n, int32_t max_rows)
{
    qw_error err;
    qw_plan_sizes s;
    qw_plan_sizes_input in = {list, n, -1, max_rows};
    qw_status st = qw_plan_sizes_make(&s, &in, &err);
    bool has_bad = false;
    for (size_t i = 0; i < n; i++) has_bad |= list[i] < 1;
    assert_int_equal(st, has_bad ? QW_ERR_USAGE : QW_OK);
    if (st != QW_OK) return;
    for (size_t i = 0; i < s.n; i++) {
        assert_true(s.sizes[i] >= 1 && s.sizes[i] <= max_rows);
        assert_true(i == 0 || s.sizes[i - 1] < s.sizes[i]);
        bool is_given = i + 1 == s.n && s.is_last_added;
        for (size_t j = 0; j < n; j++) is_given |= list[j] == s.sizes[i];
        assert_true(is_given);
    }
    assert_int_equal(s.n, n == 0 ? 0 : n - s.n_repeated - s.n_above + s.is_last_added);
    assert_true(n == 0 || s.sizes[s.n - 1] == max_rows);
}

static void test_random_lists(void **state)
{
    (void)state;
    enum { MAX = 40 };
    int64_t list[MAX];
    uint64_t seed = 20261124;
    for (int round = 0; round < 200; round++) {
        uint64_t r = next_random(&seed);
        size_t n = r % (MAX + 1);
        int32_t max_rows = 1 + (int32_t)(r >> 8) % (round % 2 ? 70 : 2000);
        if (max_rows < 1) max_rows = 1;
        for (size_t i = 0; i < n; i++) {
            uint64_t v = next_random(&seed);
            switch (v % 64) {
            case 0: list[i] = round % 4 ? 1 : 0; break;
            case 1: list[i] = round % 4 ? 2 : -(int64_t)(v >> 40); break;
            case 2: list[i] = (int64_t)(v >> 1); break;
            case 3: list[i] = INT64_MAX; break;
            default: list[i] = 1 + (int64_t)(v >> 8) % 100; break;
            }
            if (list[i] < 1 && round % 4) list[i] = 5;
        }
        check_list(list, n, max_rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_given),
        cmocka_unit_test(test_off),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_random_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
