#include "test_util.h"

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"

static qw_error err;

static void size_arithmetic(void **state)
{
    (void)state;
    size_t out = 5;
    assert_true(qw_mul_size(&out, 6, 7));
    assert_int_equal(out, 42);
    assert_false(qw_mul_size(&out, SIZE_MAX / 2 + 1, 2));
    assert_false(qw_add_size(&out, SIZE_MAX, 1));
    assert_int_equal(out, 42);
    assert_true(qw_add_size(&out, SIZE_MAX - 1, 1));
    assert_true(out == SIZE_MAX);
}

static void allocation(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    void *a = qw_mem_alloc(0);
    uint8_t *b = qw_mem_calloc(3, 5);
    char *c = qw_mem_strndup("abc\0def", 7);
    assert_true(a && b && c);
    for (int i = 0; i < 15; i++) assert_int_equal(b[i], 0);
    assert_memory_equal(c, "abc\0def", 8);
    assert_int_equal(qw_mem_live(), live + 3);
    b = qw_mem_realloc(b, 1000);
    assert_int_equal(qw_mem_live(), live + 3);
    assert_null(qw_mem_array(SIZE_MAX / 2, 3));
    assert_null(qw_mem_calloc(SIZE_MAX / 2, 3));
    assert_null(qw_mem_strndup("", SIZE_MAX));
    qw_mem_free(a);
    qw_mem_free(b);
    qw_mem_free(c);
    qw_mem_free(NULL);
    assert_int_equal(qw_mem_live(), live);
}

static void mapped(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, 4097, (size_t)3 << 20},
                        aligns[] = {1, 64, 4096, (size_t)1 << 21};
    size_t live = qw_mem_live();
    for (size_t i = 0; i < QW_ARRAY_LEN(sizes); i++) {
        for (size_t k = 0; k < QW_ARRAY_LEN(aligns); k++) {
            uint8_t *p = qw_mem_map(sizes[i], aligns[k]);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % aligns[k], 0);
            for (size_t at = 0; at < sizes[i]; at += 4096) assert_int_equal(p[at], 0);
            if (sizes[i]) p[sizes[i] - 1] = 1;
            qw_mem_unmap(p, sizes[i]);
        }
    }
    qw_mem_unmap(NULL, 5);
    assert_null(qw_mem_map(SIZE_MAX - 10, 4096));
    assert_int_equal(qw_mem_live(), live);
}

// Every allocating function counts, and only the n-th fails.
static void fail_nth(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 7; n++) {
        void *p[7];
        qw_mem_fail_at(n);
        p[0] = qw_mem_alloc(1);
        p[1] = qw_mem_calloc(1, 1);
        p[2] = qw_mem_array(1, 1);
        p[3] = qw_mem_realloc(NULL, 1);
        p[4] = qw_mem_strndup("x", 1);
        p[5] = qw_mem_strdup("x");
        p[6] = qw_mem_map(1, 1);
        for (uint64_t i = 0; i < 7; i++) assert_int_equal(p[i] == NULL, i + 1 == n);
        for (int i = 0; i < 6; i++) qw_mem_free(p[i]);
        qw_mem_unmap(p[6], 1);
    }
    qw_mem_fail_at(1);
    qw_mem_fail_at(0);
    void *p = qw_mem_alloc(1);
    assert_non_null(p);
    qw_mem_fail_at(1);
    assert_null(qw_mem_realloc(p, 100)); // the old block stays
    qw_mem_free(p);
}

static void arena(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    qw_arena a;
    qw_arena_init(&a, 100);
    uint8_t *last = NULL;
    for (size_t size = 0; size < 300; size += 7) {
        uint8_t *p = qw_arena_alloc(&a, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
        memset(p, 0xAA, size); // a neighbour's bytes would show as not zero
        last = p;
    }
    assert_non_null(last);
    assert_string_equal(qw_arena_strndup(&a, "hello world", 5), "hello");
    assert_null(qw_arena_alloc(&a, SIZE_MAX));
    assert_null(qw_arena_alloc(&a, SIZE_MAX - 20));
    assert_null(qw_arena_array(&a, SIZE_MAX / 2, 3));
    assert_null(qw_arena_strndup(&a, "", SIZE_MAX));
    qw_mem_fail_at(1);
    assert_null(qw_arena_alloc(&a, 1000));
    assert_non_null(qw_arena_alloc(&a, 1000));
    qw_arena_release(&a);
    assert_int_equal(qw_mem_live(), live);
}

static void buffer(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    qw_buf b;
    qw_buf_init(&b, 200);
    for (int i = 0; i < 20; i++) qw_buf_printf(&b, "%d,", i);
    qw_buf_puts(&b, "x");
    qw_buf_putc(&b, '\0');
    qw_buf_append(&b, "yz", 2);
    qw_buf_append(&b, NULL, 0);
    assert_ok(qw_buf_check(&b, "b", &err));
    assert_int_equal(b.len, 54);
    assert_memory_equal(b.data, "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,x\0yz", 55);
    size_t len;
    char *taken = qw_buf_take(&b, &len);
    assert_int_equal(len, 54);
    qw_mem_free(taken);
    taken = qw_buf_take(&b, &len); // empty gives an empty text
    assert_string_equal(taken, "");
    assert_int_equal(len, 0);
    qw_mem_free(taken);
    qw_buf_release(&b);
    assert_int_equal(qw_mem_live(), live);
}

static void buffer_limits(void **state)
{
    (void)state;
    qw_buf b;
    qw_buf_init(&b, 10);
    qw_buf_append(&b, "0123456789", 10);
    assert_ok(qw_buf_check(&b, "the text", &err));
    qw_buf_putc(&b, 'x');
    qw_buf_puts(&b, ""); // failed stays failed
    assert_fails(qw_buf_check(&b, "the text", &err), QW_ERR_FORMAT,
                 "the text is larger than the limit of 10 bytes");
    assert_int_equal(b.len, 10);
    assert_null(qw_buf_take(&b, NULL));
    qw_buf_clear(&b);
    qw_buf_puts(&b, "ok");
    assert_ok(qw_buf_check(&b, "the text", &err));
    assert_string_equal(b.data, "ok");
    qw_buf_append(&b, "", SIZE_MAX); // must not overflow
    assert_int_equal(qw_buf_check(&b, "the text", &err), QW_ERR_FORMAT);
    qw_buf_release(&b);

    qw_buf_init(&b, SIZE_MAX);
    qw_mem_fail_at(1);
    qw_buf_puts(&b, "x");
    assert_fails(qw_buf_check(&b, "the text", &err), QW_ERR_NO_MEMORY, "growing the text");
    qw_buf_puts(&b, "y");
    assert_null(b.data);
    qw_buf_release(&b);
}

static void map(void **state)
{
    (void)state;
    enum { N = 20000 };
    static char keys[N][12];
    size_t live = qw_mem_live();
    qw_map m;
    qw_map_init(&m);
    assert_false(qw_map_get(&m, QW_STR("a"), NULL));
    bool was_there;
    for (uint32_t i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        assert_ok(qw_map_put(&m, qw_str_of(keys[i]), i, &was_there, &err));
        assert_false(was_there);
    }
    assert_ok(qw_map_put(&m, QW_STR("k77"), 1000000, &was_there, &err));
    assert_true(was_there);
    assert_int_equal(m.n_used, N);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t value;
        assert_true(qw_map_get(&m, qw_str_of(keys[i]), &value));
        assert_int_equal(value, i == 77 ? 1000000 : i);
    }
    assert_false(qw_map_get(&m, QW_STR("k20000"), NULL));
    // The empty key, NULL or not, and keys with NUL bytes are keys like any other.
    assert_false(qw_map_get(&m, (qw_str){NULL, 0}, NULL));
    assert_ok(qw_map_put(&m, (qw_str){NULL, 0}, 5, &was_there, &err));
    assert_false(was_there);
    assert_ok(qw_map_put(&m, QW_STR(""), 6, &was_there, &err));
    assert_true(was_there);
    assert_true(qw_map_get(&m, (qw_str){NULL, 0}, NULL));
    assert_ok(qw_map_put(&m, QW_STR("k1\0"), 7, &was_there, &err));
    assert_false(was_there);
    qw_map_release(&m);
    assert_int_equal(qw_mem_live(), live);
}

static void map_out_of_memory(void **state)
{
    (void)state;
    qw_map m;
    qw_map_init(&m);
    assert_ok(qw_map_put(&m, QW_STR("a"), 1, NULL, &err));
    qw_mem_fail_at(1);
    assert_int_equal(qw_map_reserve(&m, 1000, &err), QW_ERR_NO_MEMORY);
    qw_mem_fail_at(0);
    assert_true(qw_map_get(&m, QW_STR("a"), NULL));
    assert_int_equal(qw_map_reserve(&m, SIZE_MAX, &err), QW_ERR_NO_MEMORY);
    assert_ok(qw_map_reserve(&m, 1000, &err));
    size_t n_slots = m.n_slots;
    static char keys[1000][4];
    for (uint32_t i = 0; i < 999; i++) {
        snprintf(keys[i], sizeof keys[i], "%u", i);
        assert_ok(qw_map_put(&m, qw_str_of(keys[i]), i, NULL, &err));
    }
    assert_int_equal(m.n_slots, n_slots); // reserved means no growth
    qw_map_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_arithmetic),
        cmocka_unit_test(allocation),
        cmocka_unit_test(mapped),
        cmocka_unit_test(fail_nth),
        cmocka_unit_test(arena),
        cmocka_unit_test(buffer),
        cmocka_unit_test(buffer_limits),
        cmocka_unit_test(map),
        cmocka_unit_test(map_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
