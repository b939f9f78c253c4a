// The byte by byte scanner agrees with the parser about what is JSON, and knows where it ends.

#include "test_util.h"

#include "format/json.h"
#include "format/json_scan.h"

// All of `text` is one value, as the scanner sees it.
static bool scans(const char *text, size_t len)
{
    qw_json_scan s;
    qw_json_scan_init(&s);
    for (size_t i = 0; i < len; i++) {
        qw_json_scan_result r = qw_json_scan_next(&s, text[i]);
        if (r == QW_JSON_SCAN_BROKEN) return false;
        if (r == QW_JSON_SCAN_MORE) continue;
        for (i += r == QW_JSON_SCAN_LAST; i < len; i++)
            if (!strchr(" \n\r\t", text[i])) return false;
        return true;
    }
    return qw_json_scan_next(&s, '\n') == QW_JSON_SCAN_BEFORE; // a number ends with the text
}

static bool parses(const char *text, size_t len)
{
    qw_error ignored;
    json_t *v = NULL;
    bool ok = qw_json_parse_digits(&v, text, len, "text", &ignored) == QW_OK;
    json_decref(v);
    return ok;
}

static const char *const texts[] = {
    "{}",
    "[]",
    "0",
    "-0",
    "-",
    "01",
    "1.",
    "1.5",
    "1.5e",
    "1.5e3",
    "1e+3",
    "1e+",
    "-1.25E-7",
    "true",
    "tru",
    "truex",
    "false",
    "null",
    "nul",
    "\"\"",
    "\"a",
    "\"\\n\"",
    "\"\\x\"",
    "\"\\u00e4\"",
    "\"\\u00g4\"",
    "\"\n\"",
    "{\"a\":1}",
    "{\"a\":1,}",
    "{\"a\" : 1 , \"bb\" : [ ] }",
    "{,}",
    "{\"a\"}",
    "{1:2}",
    "[1,2,3]",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[[[]]]",
    "[[[]]",
    "[}",
    "{]",
    "{\"a\":{\"b\":[1,\"}\"]}}",
    " \n{ } ",
    "1 ",
    " 1",
    "",
    " ",
    "+1",
    ".5",
    "[1.]",
    "[-]",
    "[1e1,2]",
    "{\"a\":tru}",
    "{\"a\":true}",
    "\"\\\"\"",
    "\"\\\\\"",
    "[\"]\"]",
    "[0]",
    "[00]",
    "[-0.0]",
};

static void test_agrees_with_parser(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(texts); i++)
        if (scans(texts[i], strlen(texts[i])) != parses(texts[i], strlen(texts[i])))
            fail_msg("'%s'", texts[i]);
}

// One byte replaced, removed or doubled, in every text at every place.
static void test_agrees_when_damaged(void **state)
{
    (void)state;
    static const char bytes[] = "{}[]\",:\\ \n01-+.eEtu\"xfan";
    for (size_t i = 0; i < QW_ARRAY_LEN(texts); i++)
        for (size_t at = 0; at < strlen(texts[i]); at++)
            for (size_t b = 0; b < sizeof bytes - 1; b++) {
                char text[64];
                size_t len = strlen(texts[i]);
                memcpy(text, texts[i], len + 1);
                text[at] = bytes[b];
                if (scans(text, len) != parses(text, len)) fail_msg("'%s'", text);
            }
}

static void test_end(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        qw_json_scan_result last;
    } cases[] = {
        {"{\"a\":[1]}}", 9, QW_JSON_SCAN_LAST}, {"12,", 3, QW_JSON_SCAN_BEFORE},
        {"\"x\"y", 3, QW_JSON_SCAN_LAST},       {"truey", 4, QW_JSON_SCAN_LAST},
        {"[1}", 3, QW_JSON_SCAN_BROKEN},        {"x", 1, QW_JSON_SCAN_BROKEN},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_json_scan s;
        qw_json_scan_result r = QW_JSON_SCAN_MORE;
        size_t n = 0;
        qw_json_scan_init(&s);
        while (r == QW_JSON_SCAN_MORE) r = qw_json_scan_next(&s, cases[i].text[n++]);
        assert_int_equal(n, cases[i].n);
        assert_int_equal(r, cases[i].last);
    }
}

static void test_depth(void **state)
{
    (void)state;
    qw_json_scan s;
    qw_json_scan_init(&s);
    for (int i = 0; i < QW_JSON_SCAN_DEPTH; i++)
        assert_int_equal(qw_json_scan_next(&s, '['), QW_JSON_SCAN_MORE);
    assert_int_equal(qw_json_scan_next(&s, '['), QW_JSON_SCAN_BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_parser),
        cmocka_unit_test(test_agrees_when_damaged),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_depth),
    };
    qw_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
