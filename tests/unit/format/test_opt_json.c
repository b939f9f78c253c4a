#include "test_util.h"

#include "base/mem.h"
#include "format/json_lax.h"
#include "format/opt_json.h"

static qw_error err;

// Merge and compare with compact JSON text.
static void assert_merges(const char *text, const qw_opt_assign *assigns, size_t n,
                          const char *want)
{
    json_t *v = NULL;
    qw_opt_json value = {text, assigns, n};
    assert_ok(qw_opt_json_merge(&v, &value, "x", &err));
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    qw_json_write(&out, v, true);
    assert_ok(qw_buf_check(&out, "text", &err));
    assert_string_equal(out.data, want);
    qw_buf_release(&out);
    json_decref(v);
}

static void assert_refuses(const char *text, const qw_opt_assign *assigns, size_t n,
                           const char *part)
{
    json_t *v = NULL;
    qw_opt_json value = {text, assigns, n};
    assert_fails(qw_opt_json_merge(&v, &value, "x", &err), QW_ERR_USAGE, part);
    assert_int_equal(err.code, QW_ERR_USAGE);
    assert_null(v);
}

#define MERGES(text, want, ...)                                                                    \
    do {                                                                                           \
        const qw_opt_assign a[] = {__VA_ARGS__};                                                   \
        assert_merges(text, a, QW_ARRAY_LEN(a), want);                                             \
    } while (0)
#define REFUSES(text, part, ...)                                                                   \
    do {                                                                                           \
        const qw_opt_assign a[] = {__VA_ARGS__};                                                   \
        assert_refuses(text, a, QW_ARRAY_LEN(a), part);                                            \
    } while (0)

static void test_values(void **unused)
{
    (void)unused;
    assert_merges(NULL, NULL, 0, "{}");
    assert_merges("{\"a\":[1,2]}", NULL, 0, "{\"a\":[1,2]}");
    MERGES(NULL, "{\"mode\":\"FULL\"}", {"mode", "FULL", false});
    MERGES(NULL, "{\"a\":{\"b\":4}}", {"a.b", "4", false});
    MERGES(NULL, "{\"a\":true,\"b\":null,\"c\":1.5,\"d\":\"1\",\"e\":[1],\"f\":\"\"}",
           {"a", "true", false}, {"b", "null", false}, {"c", "1.5", false}, {"d", "\"1\"", false},
           {"e", "[1]", false}, {"f", "", false});
    MERGES(NULL, "{\"a\":25600,\"b\":4096,\"c\":\"4x\"}", {"a", "25.6k", false}, {"b", "4K", false},
           {"c", "4x", false});
    MERGES(NULL, "{\"a\":{\"b\":2}}", {"a.b", "1", false}, {"a.b", "2", false}); // last wins
    MERGES("{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":9,\"c\":2},\"d\":3}", {"a.b", "9", false},
           {"d", "3", false});
    MERGES(NULL, "{\"a\":{\"z\":1,\"b\":2}}", {"a", "{\"z\":1}", false}, {"a.b", "2", false});
}

static void test_lists(void **unused)
{
    (void)unused;
    MERGES(NULL, "{\"l\":[\"a\",\"b\"]}", {"l", "a,b", true});
    MERGES(NULL, "{\"l\":[1,1000,\"\",\"c\"]}", {"l", "1,1k,", true}, {"l", "c", true});
    MERGES("{\"p\":{\"l\":[0]}}", "{\"p\":{\"l\":[0,1,2]}}", {"p.l", "[1,2]", true});
    REFUSES("{\"l\":3}", "argument --x.l: 'l' is already set to integer, not a list",
            {"l", "1", true});
}

static void test_refusals(void **unused)
{
    (void)unused;
    assert_refuses("[1]", NULL, 0, "argument --x: expected a JSON object, got array");
    assert_refuses("{", NULL, 0, "argument --x");
    assert_refuses("", NULL, 0, "argument --x");
    REFUSES("{\"a\":1}", "argument --x.a.b: 'a' is already set to integer, not an object",
            {"a.b", "1", false});
    REFUSES(NULL, "'a..b' has an empty key", {"a..b", "1", false});
    REFUSES(NULL, "'a.' has an empty key", {"a.", "1", false});
    REFUSES(NULL, "'' has an empty key", {"", "1", false});
    REFUSES(NULL, "a value is not valid UTF-8", {"a", "\xff", false});
    REFUSES(NULL, "a key is not valid UTF-8", {"\xff", "1", false});
    char deep[200] = "a";
    for (int i = 1; i < 64; i++) memcpy(deep + 2 * i - 1, ".a", 3);
    json_t *v = NULL;
    qw_opt_json value = {NULL, &(qw_opt_assign){deep, "1", false}, 1};
    assert_ok(qw_opt_json_merge(&v, &value, "x", &err));
    json_decref(v);
    memcpy(deep + strlen(deep), ".a", 3);
    REFUSES(NULL, "has too many levels", {deep, "1", false});
}

static void test_memory(void **unused)
{
    (void)unused;
    const qw_opt_assign assigns[] = {
        {"a.b", "text", false}, {"a.l", "1,two,[3]", true}, {"c", "{\"k\":1.5}", false}};
    qw_opt_json value = {"{\"z\":{}}", assigns, QW_ARRAY_LEN(assigns)};
    size_t live = qw_mem_live();
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        assert_true(n < 1000);
        json_t *v = NULL;
        qw_mem_fail_at(n);
        qw_status st = qw_opt_json_merge(&v, &value, "x", &err);
        qw_mem_fail_at(0);
        done = st == QW_OK;
        if (done) {
            // No shortage may turn a number into text or drop a member.
            qw_buf out;
            qw_buf_init(&out, 4096);
            qw_json_write(&out, v, true);
            assert_string_equal(out.data, "{\"z\":{},\"a\":{\"b\":\"text\",\"l\":[1,\"two\",[3]]},"
                                          "\"c\":{\"k\":1.5}}");
            qw_buf_release(&out);
        } else {
            assert_int_equal(st, QW_ERR_NO_MEMORY);
            assert_null(v);
        }
        json_decref(v);
        assert_int_equal(qw_mem_live(), live);
    }
}

static void test_lax(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        int i64, f64, flag; /* value, or 99 for "refused" */
    } cases[] = {
        {"1", 1, 1, 1},          {"0", 0, 0, 0},       {"true", 1, 1, 1},
        {"false", 0, 0, 0},      {"5.0", 5, 5, 99},    {"\"5\"", 5, 5, 99},
        {"\"5.0\"", 5, 5, 99},   {"\"1\"", 1, 1, 1},   {"\"TRUE\"", 99, 99, 1},
        {"\"off\"", 99, 99, 0},  {"\"y\"", 99, 99, 1}, {"\"\"", 99, 99, 99},
        {"[]", 99, 99, 99},      {"{}", 99, 99, 99},   {"\"nan\"", 99, 99, 99},
        {"\"tru\"", 99, 99, 99}, {"2", 2, 2, 99},      {"1.0", 1, 1, 1},
        {"\"-3\"", -3, -3, 99},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        json_t *v = NULL;
        assert_ok(qw_json_parse(&v, cases[i].text, strlen(cases[i].text), "case", &err));
        int64_t i64 = 99;
        double f64 = 99;
        bool flag = true;
        bool ok_i = qw_json_lax_i64(&i64, v, "k", &err) == QW_OK;
        bool ok_f = qw_json_lax_f64(&f64, v, "k", &err) == QW_OK;
        bool ok_b = qw_json_lax_bool(&flag, v, "k", &err) == QW_OK;
        assert_int_equal(i64, cases[i].i64);
        assert_int_equal(ok_i, cases[i].i64 != 99);
        assert_true(f64 == (double)cases[i].f64);
        assert_int_equal(ok_f, cases[i].f64 != 99);
        assert_int_equal(ok_b ? flag : 99, cases[i].flag);
        json_decref(v);
    }
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"1.5", "'k' must be a 64-bit integer, got 1.5"},
        {"1e19", "'k' must be a 64-bit integer, got 1e+19"},
        {"-1e19", "got -1e+19"},
        {"\"9223372036854775808\"", "got the string '9223372036854775808'"},
        {"[1]", "'k' must be a 64-bit integer, got array"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(bad); i++) {
        json_t *v = NULL;
        int64_t out = 99;
        assert_ok(qw_json_parse(&v, bad[i].text, strlen(bad[i].text), "case", &err));
        assert_fails(qw_json_lax_i64(&out, v, "k", &err), QW_ERR_FORMAT, bad[i].part);
        assert_int_equal(out, 99);
        json_decref(v);
    }
    json_t *v = json_integer(7);
    bool flag;
    assert_fails(qw_json_lax_bool(&flag, v, "k", &err), QW_ERR_FORMAT,
                 "'k' must be true or false, got 7");
    json_decref(v);
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_lists),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_lax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
