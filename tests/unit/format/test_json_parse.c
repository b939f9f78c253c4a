#include "test_util.h"

#include "base/mem.h"
#include "format/json.h"

static qw_error err;

static void expect_error(const char *text, size_t len, const char *part)
{
    json_t *v;
    size_t live = qw_mem_live();
    assert_fails(qw_json_parse(&v, text, len, "'x'", &err), QW_ERR_FORMAT, part);
    assert_non_null(strstr(err.text, "'x': no valid JSON: "));
    assert_int_equal(qw_mem_live(), live);
}

#define EXPECT_ERROR(text, part) expect_error(text, sizeof(text) - 1, part)

static void invalid_texts(void **state)
{
    (void)state;
    EXPECT_ERROR("", "the text ends where a value is expected (line 1, column 1)");
    EXPECT_ERROR("[1,\n \xC3\xA4]", "a value expected (line 2, column 2)");
    EXPECT_ERROR("[\"\xC3\xA4\" x]", "',' or ']' expected (line 1, column 6)");
    EXPECT_ERROR("{\"a\":1,\"b\":2,\"\\u0061\":3}", "duplicate object key 'a' (line 1, column 14)");
    EXPECT_ERROR("{\"a\\u0000\":1}", "NUL in an object key");
    EXPECT_ERROR("{\"a\" 1}", "':' expected");
    EXPECT_ERROR("{\"a\":1,}", "a key in quotes expected");
    EXPECT_ERROR("{1:1}", "a key in quotes expected");
    EXPECT_ERROR("[1,]", "a value expected");
    EXPECT_ERROR("[1", "the text ends where ',' or ']' is expected");
    EXPECT_ERROR("1 2", "the end of the text expected");
    EXPECT_ERROR("1\0", "the end of the text expected");
    EXPECT_ERROR("\0", "a value expected");
    EXPECT_ERROR("nul", "a value expected");
    EXPECT_ERROR("NaN", "a value expected");
    EXPECT_ERROR("'a'", "a value expected");
    EXPECT_ERROR("\"a", "a string has no end");
    EXPECT_ERROR("\"a\\\"", "a string has no end");
    EXPECT_ERROR("\"\\", "a string has no end");
    EXPECT_ERROR("\"\n\"", "control character");
    EXPECT_ERROR("\"\\x\"", "invalid escape");
    EXPECT_ERROR("\"\\u12\"", "invalid escape");
    EXPECT_ERROR("\"\\u12g4\"", "invalid escape");
    EXPECT_ERROR("\"\\ud800\"", "invalid escape");
    EXPECT_ERROR("\"\\udc00\\ud800\"", "invalid escape");
    EXPECT_ERROR("\"\\ud800\\u0041\"", "invalid escape");
    EXPECT_ERROR("\"\xFF\"", "invalid UTF-8 (line 1, column 2)");
    EXPECT_ERROR("\"\xED\xA0\x80\"", "invalid UTF-8");
    EXPECT_ERROR("01", "the end of the text expected");
    EXPECT_ERROR("-", "a digit");
    EXPECT_ERROR("1.", "a digit");
    EXPECT_ERROR(".5", "a value expected");
    EXPECT_ERROR("1e", "a digit");
    EXPECT_ERROR("+1", "a value expected");
    EXPECT_ERROR("9223372036854775808", "too big integer");
    EXPECT_ERROR("1e999", "number too large");
}

// Parse, write compactly, compare.
static void expect_text(const char *text, size_t len, const char *want)
{
    json_t *v;
    assert_ok(qw_json_parse(&v, text, len, "'x'", &err));
    qw_buf b;
    qw_buf_init(&b, 1 << 20);
    qw_json_write(&b, v, true);
    assert_string_equal(b.data, want);
    qw_buf_release(&b);
    json_decref(v);
}

#define EXPECT_TEXT(text, want) expect_text(text, sizeof(text) - 1, want)

static void valid_texts(void **state)
{
    (void)state;
    EXPECT_TEXT(
        " \t\r\n{ \"b\" : [ 1 , -2.5e0 , true , false , null , { } , [ ] ] , \"a\" : \"\" } ",
        "{\"b\":[1,-2.5,true,false,null,{},[]],\"a\":\"\"}");
    EXPECT_TEXT("-9223372036854775808", "-9223372036854775808");
    EXPECT_TEXT("-0", "0");
    EXPECT_TEXT("1E2", "100.0");
    EXPECT_TEXT("1e-999", "0.0");
    EXPECT_TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\\u0000|\"",
                "\"\\\"\\\\/\\b\\f\\n\\r\\t\xC3\xA4\xF0\x9F\x98\x80\\u0000|\"");
    EXPECT_TEXT("{\"\\u0061\\n\":1,\"\":2}", "{\"a\\n\":1,\"\":2}");
}

static void depth_limit(void **state)
{
    (void)state;
    char text[2 * 2049];
    memset(text, '[', 2049);
    memset(text + 2049, ']', 2049);
    json_t *v;
    assert_ok(qw_json_parse(&v, text + 1, 2 * 2048, "'x'", &err));
    json_decref(v);
    expect_error(text, sizeof text, "nested too deeply");
}

// jansson's own parser is the reference: mutated texts must be accepted or refused alike and give
// equal values. (Its parser is safe as long as no allocation fails.)
static void agrees_with_jansson(void **state)
{
    (void)state;
    static const char seed[] = "{\"a\\n\":[1,-2.5e+3,\"\\ud83d\\ude00\xC3\xA4\",true,null,{}],"
                               "\"b\":{\"c\":false,\"d\":[[0.1],[]]}}";
    static const char alphabet[] = "{}[]\":,\\u0d8n-+.eE1 \n\xC3\xA4\xFFtrfa";
    uint64_t x = 88172645463325252u; // xorshift
    int n_valid = 0;
    for (int round = 0; round < 50000; round++) {
        char text[sizeof seed];
        memcpy(text, seed, sizeof seed);
        for (int k = 0; k < 1 + round % 3; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            text[x % (sizeof seed - 1)] = alphabet[(x >> 32) % (sizeof alphabet - 1)];
        }
        json_error_t je;
        json_t *v = NULL,
               *want = json_loadb(text, sizeof seed - 1,
                                  JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &je);
        qw_status st = qw_json_parse(&v, text, sizeof seed - 1, "'x'", &err);
        if ((st == QW_OK) != (want != NULL) || (want && !json_equal(v, want)))
            fail_msg("%s: %s, jansson: %s", text, st ? err.text : "valid",
                     want ? "valid" : je.text);
        n_valid += want != NULL;
        json_decref(v);
        json_decref(want);
    }
    assert_true(n_valid > 500);
}

static void out_of_memory(void **state)
{
    (void)state;
    static const char text[] =
        "{\"abcdefghijklm\\n\":[1,2.5,\"x\\u0061\",\"0123456789abcdef\"],\"d\":"
        "{\"e\":true,\"f\":1,\"g\":2,\"h\":3,\"i\":4,\"j\":5,\"k\":6,\"l\":7}}";
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    int n_failures = -1;
    for (uint64_t n = 1; st != QW_OK; n++, n_failures++) {
        json_t *v;
        qw_mem_fail_at(n);
        st = qw_json_parse(&v, text, sizeof text - 1, "'x'", &err);
        qw_mem_fail_at(0);
        if (st == QW_OK)
            json_decref(v);
        else
            assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_int_equal(qw_mem_live(), live);
    }
    assert_true(n_failures > 20);
}

// Integers beyond int64 as their digits: written as they came, refused where a number is asked for.
static void big_integers_keep_their_digits(void **state)
{
    (void)state;
    json_t *v;
    const char *text = "{\"a\": [-123456789012345678901234567890, 7], \"b\": \"12\"}";
    assert_fails(qw_json_parse(&v, text, strlen(text), "x", &err), QW_ERR_FORMAT, "too big");
    assert_ok(qw_json_parse_digits(&v, text, strlen(text), "x", &err));
    qw_buf out;
    qw_buf_init(&out, 1000);
    qw_json_write(&out, v, false);
    assert_string_equal(out.data, text);
    assert_true(qw_json_is_big_integer(json_array_get(json_object_get(v, "a"), 0)));
    assert_false(qw_json_is_big_integer(json_object_get(v, "b")));
    assert_fails(qw_json_refuse_big_integers(v, "r", &err), QW_ERR_FORMAT, "'r.a[0]'");
    json_t *flat = json_pack("{s:O}", "n", json_array_get(json_object_get(v, "a"), 0));
    int64_t i = 3;
    qw_str s;
    assert_fails(qw_json_get_i64(&i, flat, "n", 0, 10, &err), QW_ERR_FORMAT, "beyond 64 bits");
    assert_fails(qw_json_get_str(&s, flat, "n", &err), QW_ERR_FORMAT, "beyond 64 bits");
    json_decref(flat);
    json_decref(v);
    qw_buf_release(&out);
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(invalid_texts), cmocka_unit_test(valid_texts),
        cmocka_unit_test(depth_limit),   cmocka_unit_test(agrees_with_jansson),
        cmocka_unit_test(out_of_memory), cmocka_unit_test(big_integers_keep_their_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
