// Structural tags: every form of grammar.h, what it accepts and what is refused.

#include "test_util.h"

#include "unit/grammar/grammar_fixture.h"

static qw_status compile(qw_grammar **g, const char *tag, qw_error *err)
{
    json_t *json = json_loads(tag, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    qw_grammar_spec spec = {.kind = QW_GRAMMAR_STRUCTURAL_TAG, .json = json, .compact = true};
    qw_status st = qw_grammar_compile(g, gf_trie, &spec, err);
    json_decref(json);
    return st;
}

static void check(const char *tag, const char *const *yes, const char *const *no)
{
    qw_error err;
    qw_grammar *g;
    assert_ok(compile(&g, tag, &err));
    for (; *yes; yes++)
        if (!gf_accepts(g, qw_str_of(*yes), true)) fail_msg("%s refuses '%s'", tag, *yes);
    for (; *no; no++)
        if (gf_accepts(g, qw_str_of(*no), true)) fail_msg("%s accepts '%s'", tag, *no);
    qw_grammar_unref(g);
}

#define LIST(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define TAG "{\"type\": \"tag\", \"begin\": \"<a>\", \"content\": "
#define DIGITS "{\"type\": \"regex\", \"pattern\": \"[0-9]+\"}"

static void test_parts(void **state)
{
    (void)state;
    check("{\"type\": \"const_string\", \"value\": \"xyz\"}", LIST("xyz"), LIST("xy", ""));
    check("{\"type\": \"structural_tag\", \"format\": {\"type\": \"const_string\", \"value\": "
          "\"a\"}}",
          LIST("a"), LIST("b"));
    check("{\"type\": \"json_schema\", \"json_schema\": {\"enum\": [1, \"a\"]}}",
          LIST("1", "\"a\""), LIST("2", "a"));
    check(DIGITS, LIST("1", "42"), LIST("", "a"));
    check("{\"type\": \"grammar\", \"grammar\": \"root ::= \\\"a\\\" root | \\\"b\\\"\"}",
          LIST("b", "aab"), LIST("a"));
    check("{\"type\": \"any_text\"}", LIST("", "anything <a>"), LIST(NULL));
    check(
        "{\"type\": \"or\", \"elements\": [{\"type\": \"const_string\", \"value\": \"no\"}, " DIGITS
        "]}",
        LIST("no", "7"), LIST("no7", ""));
    check("{\"type\": \"sequence\", \"elements\": [{\"type\": \"const_string\", \"value\": "
          "\"n\"}, " DIGITS "]}",
          LIST("n1", "n23"), LIST("n", "1", "n1n"));
    check("{\"type\": \"qwen_xml_parameter\", \"json_schema\": {\"type\": \"object\", "
          "\"properties\": "
          "{\"q\": {\"type\": \"string\"}, \"n\": {\"type\": \"integer\"}}, \"required\": [\"q\", "
          "\"n\"], \"additionalProperties\": false}}",
          LIST("<parameter=q>a b</parameter><parameter=n>3</parameter>"),
          LIST("", "<parameter=q>a b</parameter>", "<parameter=n>x</parameter>"));
}

static void test_tags(void **state)
{
    (void)state;
    check(TAG DIGITS ", \"end\": \"</a>\"}", LIST("<a>1</a>", "<a>23</a>"),
          LIST("<a></a>", "<a>1", "1</a>", "x<a>1</a>"));
    check(TAG DIGITS ", \"end\": [\"</a>\", \"!\"]}", LIST("<a>1</a>", "<a>1!"), LIST("<a>1?"));
    check(TAG "{\"type\": \"any_text\"}, \"end\": \"</a>\"}", LIST("<a></a>", "<a>x</b></a>"),
          LIST("<a>x", "<a></a></a>"));
}

static void test_triggers(void **state)
{
    (void)state;
#define TRIGGERED                                                                                  \
    "{\"type\": \"triggered_tags\", \"triggers\": [\"<a\"], \"tags\": [" TAG DIGITS                \
    ", \"end\": \"</a>\"}]"
    check(TRIGGERED "}", LIST("", "free text", "x <a>1</a> y <a>2</a>", "a < b"),
          LIST("<a", "<b <a>x</a>", "<ab", "x <a>1"));
    check(TRIGGERED ", \"at_least_one\": true}",
          LIST("<a>1</a>", "x <a>1</a> y", "<a>1</a><a>2</a>"), LIST("", "free text"));
    check(TRIGGERED ", \"stop_after_first\": true}", LIST("", "x", "x<a>1</a>"),
          LIST("x<a>1</a> ", "<a>1</a><a>2</a>"));
    check(TRIGGERED ", \"at_least_one\": true, \"stop_after_first\": true}", LIST("x<a>1</a>"),
          LIST("", "x", "<a>1</a> "));
    // The older form.
    check("{\"structures\": [{\"begin\": \"<f>\", \"schema\": {\"type\": \"integer\"}, \"end\": "
          "\"</f>\"}], \"triggers\": [\"<f\"]}",
          LIST("", "so: <f>12</f>."), LIST("<f>x</f>", "<f>12"));
}

static void test_separated(void **state)
{
    (void)state;
#define SEPARATED                                                                                  \
    "{\"type\": \"tags_with_separator\", \"separator\": \"; \", \"tags\": [" TAG DIGITS            \
    ", \"end\": \"</a>\"}]"
    check(SEPARATED "}", LIST("", "<a>1</a>", "<a>1</a>; <a>2</a>"),
          LIST("x", "<a>1</a>; ", "<a>1</a><a>2</a>"));
    check(SEPARATED ", \"at_least_one\": true}", LIST("<a>1</a>; <a>2</a>"), LIST(""));
    check(SEPARATED ", \"stop_after_first\": true}", LIST("", "<a>1</a>"),
          LIST("<a>1</a>; <a>2</a>"));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *tag, *part;
    } cases[] = {
        {"{}", "'type'"},
        {"{\"type\": \"nosuch\"}", "'nosuch'"},
        {"{\"type\": \"structural_tag\", \"format\": 3}", "must be an object"},
        {"{\"type\": \"const_string\"}", "'value'"},
        {"{\"type\": \"regex\", \"pattern\": \"(\"}", "( without )"},
        {"{\"type\": \"sequence\", \"elements\": []}", "'elements' that is not empty"},
        {TAG DIGITS "}", "'end'"},
        {TAG DIGITS ", \"end\": []}", "'end'"},
        {TAG "{\"type\": \"any_text\"}, \"end\": [\"\", \"x\"]}", "empty"},
        {"{\"type\": \"triggered_tags\", \"triggers\": [\"<b\"], \"tags\": [" TAG DIGITS
         ", \"end\": \"\"}]}",
         "none of the triggers"},
        {"{\"type\": \"triggered_tags\", \"triggers\": [\"\"], \"tags\": [" TAG DIGITS
         ", \"end\": \"\"}]}",
         "empty"},
        {"{\"type\": \"triggered_tags\", \"triggers\": [3], \"tags\": [{}]}", "list of strings"},
        {"{\"type\": \"tags_with_separator\", \"tags\": [{}]}", "'separator'"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_error err;
        qw_grammar *g = NULL;
        if (compile(&g, cases[i].tag, &err) == QW_OK) fail_msg("accepted: %s", cases[i].tag);
        if (!strstr(err.text, cases[i].part))
            fail_msg("%s: '%s' is not about %s", cases[i].tag, err.text, cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),    cmocka_unit_test(test_tags),
        cmocka_unit_test(test_triggers), cmocka_unit_test(test_separated),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, gf_set_up, gf_tear_down);
}
