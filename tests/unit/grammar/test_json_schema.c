// JSON schemas as grammars, keyword by keyword: which documents they let through, and what is
// refused by name. Every mask on the way is compared with the automaton.

#include "test_util.h"

#include "unit/grammar/grammar_fixture.h"

typedef struct schema_case {
    const char *schema;
    const char *yes[6], *no[6];
} schema_case;

static const schema_case cases[] = {
    // Types
    {"true", {"1", "\"a\"", "[]", "{\"a\":null}", "true"}, {"", "tru", "01", "[1,]"}},
    {"{\"type\":\"null\"}", {"null"}, {"0", "nul"}},
    {"{\"type\":\"boolean\"}", {"true", "false"}, {"null", "\"true\""}},
    {"{\"type\":\"integer\"}", {"0", "-12", "123456789012345678901"}, {"1.5", "01", "1e3", "-"}},
    {"{\"type\":\"number\"}", {"0", "-1.25", "1e-3", "2E+5"}, {"1.", ".5", "+1", "1e"}},
    {"{\"type\":[\"integer\",\"null\"]}", {"7", "null"}, {"1.5", "true"}},
    // Strings: lengths count characters, however they are spelled
    {"{\"type\":\"string\"}",
     {"\"\"", "\"a\\n\\u00e9\"", "\"\\ud83d\\ude00\"", "\"\xE4\xBD\xA0\""},
     {"\"", "\"a\nb\"", "\"\\ud83d\"", "\"\\x\"", "'a'"}},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
     {"\"ab\"", "\"\xE4\xBD\xA0\\n\\ud83d\\ude00\"", "\"\\u0041\\u0042\""},
     {"\"a\"", "\"abcd\"", "\"\\ud83d\\ude00\""}},
    {"{\"type\":\"string\",\"pattern\":\"b+\"}", {"\"b\"", "\"abbc\"", "\"\\u0062\""}, {"\"ac\""}},
    {"{\"type\":\"string\",\"pattern\":\"^a|c$\"}", {"\"abb\"", "\"xc\""}, {"\"xa\"", "\"cx\""}},
    {"{\"type\":\"string\",\"pattern\":\"^a*$\",\"minLength\":2}", {"\"aa\""}, {"\"a\"", "\"ab\""}},
    {"{\"type\":\"string\",\"format\":\"date\"}",
     {"\"2024-02-29\""},
     {"\"2023-02-29\"", "\"2024-13-01\"", "\"2024-2-1\""}},
    {"{\"type\":\"string\",\"format\":\"ipv4\"}",
     {"\"1.2.3.255\""},
     {"\"1.2.3.256\"", "\"1.2.3\""}},
    {"{\"type\":\"string\",\"format\":\"uuid\"}",
     {"\"2eb8aa08-aa98-11ea-b4aa-73b441d16380\""},
     {"\"2eb8aa08-aa98-11ea-b4aa73b441d16380\""}},
    // Numbers between bounds
    {"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120}",
     {"-5", "0", "99", "120"},
     {"-6", "121", "1200", "5.0"}},
    {"{\"type\":\"integer\",\"exclusiveMinimum\":9}", {"10", "99999"}, {"9", "0", "-10"}},
    {"{\"type\":\"integer\",\"exclusiveMaximum\":-9}", {"-10", "-123"}, {"-9", "0", "10"}},
    {"{\"type\":\"number\",\"minimum\":1.25,\"exclusiveMaximum\":10.5}",
     {"1.25", "1.250", "9", "10.49"},
     {"1.24", "10.5", "1.2", "11"}},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":1}",
     {"0.001", "1", "1.0"},
     {"0", "0.0", "1.01", "-0.5"}},
    {"{\"type\":\"number\",\"minimum\":-0.5,\"maximum\":0.5}",
     {"-0.5", "0", "0.25", "-0.49"},
     {"-0.51", "0.6", "1"}},
    // Listed values
    {"{\"enum\":[\"a\",\"ab\",1,2.5,null,{\"k\":[1]}]}",
     {"\"a\"", "\"ab\"", "1", "2.5", "null", "{\"k\":[1]}"},
     {"\"b\"", "2", "{\"k\":[2]}"}},
    {"{\"const\":\"x\\ny\"}", {"\"x\\ny\"", "\"x\\u000ay\""}, {"\"xny\""}},
    {"{\"enum\":[1,2,3,\"x\"],\"type\":\"integer\",\"minimum\":2}", {"2", "3"}, {"1", "\"x\""}},
    // Arrays
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
     {"[]", "[1]", "[1, 2]"},
     {"[\"a\"]", "[1,]"}},
    {"{\"type\":\"array\",\"minItems\":1,\"maxItems\":2,\"items\":{\"type\":\"null\"}}",
     {"[null]", "[null,null]"},
     {"[]", "[null,null,null]"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"const\":\"a\"}],\"items\":"
     "false}",
     {"[]", "[1]", "[1,\"a\"]"},
     {"[1,\"a\",2]", "[\"a\"]"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"}],\"minItems\":2}",
     {"[1,\"x\"]", "[1,2,3]"},
     {"[1]", "[\"x\",1]"}},
    {"{\"$schema\":\"http://json-schema.org/draft-07/"
     "schema#\",\"type\":\"array\",\"items\":[{\"type\":"
     "\"null\"}],\"additionalItems\":{\"type\":\"integer\"}}",
     {"[null]", "[null,1]"},
     {"[1]", "[null,null]"}},
    // Objects
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"null\"}},"
     "\"required\":[\"b\"],\"additionalProperties\":false}",
     {"{\"a\":1,\"b\":null}", "{\"b\": null}"},
     {"{\"a\":1}", "{\"b\":null,\"c\":1}", "{}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}",
     {"{}", "{\"a\":1}", "{\"a\":1,\"ab\":\"x\"}", "{\"b\":2}"},
     {"{\"a\":\"x\"}", "{\"b\":1,\"a\":\"x\"}", "{\"\\u0061\":\"x\"}"}},
    {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}",
     {"{}", "{\"x\":1,\"y\":2}"},
     {"{\"x\":\"1\"}"}},
    {"{\"type\":\"object\",\"required\":[\"z\"]}",
     {"{\"z\":1}", "{\"z\":1,\"y\":[]}"},
     {"{}", "{\"y\":1}"}},
    {"{\"type\":\"object\",\"patternProperties\":{\"^n\":{\"type\":\"integer\"},\"s$\":{"
     "\"minimum\":5}},"
     "\"additionalProperties\":false}",
     {"{\"n\":1}", "{\"ns\":7}", "{\"xs\":\"t\"}"},
     {"{\"n\":\"x\"}", "{\"ns\":3}", "{\"x\":1}"}},
    {"{\"type\":\"object\",\"propertyNames\":{\"maxLength\":2}}",
     {"{\"ab\":1}", "{}"},
     {"{\"abc\":1}"}},
    {"{\"type\":\"object\",\"minProperties\":1}", {"{\"a\":1}"}, {"{}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":true,\"b\":true,\"c\":true},"
     "\"additionalProperties\":false,"
     "\"minProperties\":2,\"maxProperties\":2}",
     {"{\"a\":1,\"c\":1}", "{\"b\":1,\"c\":1}"},
     {"{\"a\":1}", "{\"a\":1,\"b\":1,\"c\":1}"}},
    {"{\"type\":\"object\",\"maxProperties\":1}", {"{}", "{\"x\":1}"}, {"{\"x\":1,\"y\":1}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":false}}", {"{}", "{\"b\":1}"}, {"{\"a\":1}"}},
    {"{\"type\":\"object\",\"properties\":{\"\xC3\xA9\":{\"const\":1}},\"required\":[\"\xC3\xA9\"]"
     "}",
     {"{\"\xC3\xA9\":1}", "{\"\\u00e9\":1}"},
     {"{\"e\":1}"}},
    // Combinations
    {"{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}",
     {"12", "\"a\""},
     {"\"ab\"", "null"}},
    {"{\"oneOf\":[{\"properties\":{\"k\":{\"const\":\"a\"},\"x\":{\"type\":\"integer\"}},"
     "\"required\":[\"k\"],"
     "\"type\":\"object\"},{\"properties\":{\"k\":{\"const\":\"b\"}},\"required\":[\"k\"],\"type\":"
     "\"object\"}]}",
     {"{\"k\":\"a\",\"x\":1}", "{\"k\":\"b\",\"x\":\"t\"}"},
     {"{\"k\":\"a\",\"x\":\"t\"}", "{\"k\":\"c\"}"}},
    {"{\"allOf\":[{\"minimum\":2},{\"maximum\":4}],\"type\":\"integer\"}", {"2", "4"}, {"1", "5"}},
    {"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},{"
     "\"properties\":{\"b\":"
     "{\"type\":\"null\"}}}],\"type\":\"object\"}",
     {"{\"a\":1,\"b\":null}", "{\"a\":1}"},
     {"{\"b\":null}", "{\"a\":1,\"b\":1}"}},
    {"{\"type\":\"integer\",\"anyOf\":[{\"minimum\":10},{\"maximum\":0}]}",
     {"10", "0", "-3"},
     {"5"}},
    // References
    {"{\"$ref\":\"#/$defs/a~1b\",\"$defs\":{\"a/b\":{\"type\":\"null\"}}}", {"null"}, {"1"}},
    {"{\"$ref\":\"#x\",\"$defs\":{\"y\":{\"$anchor\":\"x\",\"type\":\"null\"}}}", {"null"}, {"1"}},
    {"{\"type\":\"object\",\"properties\":{\"n\":{\"$ref\":\"#\"}},\"additionalProperties\":false}",
     {"{}", "{\"n\":{\"n\":{}}}"},
     {"{\"n\":1}", "{\"n\":{\"n\":1}}"}},
    {"{\"$defs\":{\"t\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#"
     "/$defs/t\"}}]}},"
     "\"$ref\":\"#/$defs/t\"}",
     {"null", "[[],[null]]"},
     {"[1]", "[[1]]"}},
    // Annotations and unknown keywords say nothing
    {"{\"type\":\"null\",\"title\":\"t\",\"default\":1,\"description\":\"d\",\"x-own\":[]}",
     {"null"},
     {"1"}},
};

static qw_status compile(qw_grammar **out, const char *schema, bool compact, bool closed,
                         qw_error *err)
{
    json_t *json;
    qw_status st = qw_json_parse_digits(&json, schema, strlen(schema), "a schema", err);
    assert_int_equal(st, QW_OK);
    qw_grammar_spec spec = {
        .kind = QW_GRAMMAR_JSON_SCHEMA, .json = json, .compact = compact, .closed = closed};
    st = qw_grammar_compile(out, gf_trie, &spec, err);
    json_decref(json);
    return st;
}

static void test_keywords(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_error err;
        qw_grammar *g;
        if (compile(&g, cases[i].schema, false, false, &err) != QW_OK)
            fail_msg("%s: %s", cases[i].schema, err.text);
        for (int k = 0; k < 6 && cases[i].yes[k]; k++)
            if (!gf_accepts(g, qw_str_of(cases[i].yes[k]), k == 0 && !QW_TEST_SANITIZED))
                fail_msg("%s refuses %s", cases[i].schema, cases[i].yes[k]);
        for (int k = 0; k < 6 && cases[i].no[k]; k++)
            if (gf_accepts(g, qw_str_of(cases[i].no[k]), false))
                fail_msg("%s accepts %s", cases[i].schema, cases[i].no[k]);
        qw_grammar_unref(g);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *part;
        qw_status status;
    } refused[] = {
        {"{\"not\":{}}", "'not'", QW_ERR_UNSUPPORTED},
        {"{\"if\":{},\"then\":{}}", "'if'", QW_ERR_UNSUPPORTED},
        {"{\"type\":\"integer\",\"multipleOf\":3}", "'multipleOf'", QW_ERR_UNSUPPORTED},
        {"{\"type\":\"array\",\"uniqueItems\":true}", "'uniqueItems'", QW_ERR_UNSUPPORTED},
        {"{\"type\":\"array\",\"contains\":{}}", "'contains'", QW_ERR_UNSUPPORTED},
        {"{\"type\":\"array\",\"unevaluatedItems\":false}", "'unevaluatedItems'",
         QW_ERR_UNSUPPORTED},
        {"{\"type\":\"object\",\"unevaluatedProperties\":false}", "'unevaluatedProperties'",
         QW_ERR_UNSUPPORTED},
        {"{\"type\":\"object\",\"dependentRequired\":{}}", "'dependentRequired'",
         QW_ERR_UNSUPPORTED},
        {"{\"type\":\"object\",\"dependentSchemas\":{}}", "'dependentSchemas'", QW_ERR_UNSUPPORTED},
        {"{\"type\":\"object\",\"minProperties\":2}", "'minProperties'", QW_ERR_UNSUPPORTED},
        {"{\"type\":\"string\",\"format\":\"idn-email\"}", "'idn-email'", QW_ERR_UNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "look-around", QW_ERR_UNSUPPORTED},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}", "'oneOf'", QW_ERR_UNSUPPORTED},
        {"{\"$ref\":\"http://x/y\"}", "http://x/y", QW_ERR_UNSUPPORTED},
        {"{\"$ref\":\"#/nowhere\"}", "#/nowhere", QW_ERR_USAGE},
        {"{\"$dynamicRef\":\"#a\"}", "'$dynamicRef'", QW_ERR_UNSUPPORTED},
        {"{\"type\":\"text\"}", "'text'", QW_ERR_USAGE},
        {"{\"properties\":[]}", "'properties'", QW_ERR_USAGE},
        {"{\"minLength\":-1}", "'minLength'", QW_ERR_USAGE},
        {"{\"enum\":3}", "'enum'", QW_ERR_USAGE},
        {"{\"anyOf\":[]}", "'anyOf'", QW_ERR_USAGE},
        {"false", "nothing matches", QW_ERR_USAGE},
        {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", "nothing matches", QW_ERR_USAGE},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":false}}",
         "nothing matches", QW_ERR_USAGE},
        {"{\"type\":\"object\",\"properties\":{\"n\":{\"$ref\":\"#\"}},\"required\":[\"n\"]}",
         "nothing matches", QW_ERR_USAGE}, // without end
        {"{\"type\":\"string\",\"maxLength\":100000000}", "too much", QW_ERR_USAGE},
        {"{\"type\":\"array\",\"minItems\":100000000}", "too much", QW_ERR_USAGE},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(refused); i++) {
        qw_error err;
        qw_grammar *g = NULL;
        if (compile(&g, refused[i].schema, false, false, &err) == QW_OK)
            fail_msg("%s is accepted", refused[i].schema);
        assert_fails(err.code, refused[i].status, refused[i].part);
    }
}

static void test_styles(void **state)
{
    (void)state;
    qw_error err;
    qw_grammar *g;
    const char *schema = "{\"type\":\"object\",\"properties\":{\"a\":true,\"b\":true}}";
    assert_ok(compile(&g, schema, true, false, &err));
    assert_true(gf_accepts(g, QW_STR("{\"a\": 1, \"b\": [1, 2]}"), false));
    assert_false(gf_accepts(g, QW_STR("{\"a\":1}"), false));
    assert_false(gf_accepts(g, QW_STR("{ \"a\": 1}"), false));
    qw_grammar_unref(g);
    assert_ok(compile(&g, schema, false, true, &err));
    assert_true(gf_accepts(g, QW_STR("{\n \"a\" : 1}"), false));
    assert_false(gf_accepts(g, QW_STR("{\"c\":1}"), false));
    qw_grammar_unref(g);
}

// Schemas that want exponential time, endless recursion or gigabytes.
static void test_hostile(void **state)
{
    (void)state;
    qw_buf deep, wide, many;
    qw_buf_init(&deep, 1 << 20);
    qw_buf_init(&wide, 1 << 24);
    qw_buf_init(&many, 1 << 20);
    for (int i = 0; i < 1000; i++) qw_buf_puts(&deep, "{\"items\":");
    qw_buf_puts(&deep, "true");
    for (int i = 0; i < 1000; i++) qw_buf_puts(&deep, "}");
    qw_buf_puts(&wide, "{\"enum\":[0");
    for (int i = 0; i < 100000; i++) qw_buf_printf(&wide, ",\"%d-%d\"", i * 7919 % 100003, i);
    qw_buf_puts(&wide, "]}");
    qw_buf_puts(&many, "{\"allOf\":[true");
    for (int i = 0; i < 40; i++)
        qw_buf_printf(&many, ",{\"anyOf\":[{\"minimum\":%d},{\"maximum\":-%d}]}", i, i);
    qw_buf_puts(&many, "]}");
    const char *const schemas[] = {
        deep.data,
        wide.data,
        many.data,
        "{\"anyOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}",
        "{\"$ref\":\"#\"}",
        "{\"allOf\":[{\"$ref\":\"#\"}],\"items\":{\"$ref\":\"#\"}}",
        "{\"pattern\":\"(a|b)*a(a|b){30}\"}",
        "{\"pattern\":\"(.{1,200}){1,200}\",\"maxLength\":40000}",
        "{\"items\":{\"minItems\":19000,\"items\":{\"minItems\":19000}},\"minItems\":19000}",
        "{\"patternProperties\":{\"a.*b\":{},\"b.*c\":{},\"c.*d\":{},\"d.*e\":{},\"e.*f\":{},\"f.*"
        "g\":{},"
        "\"g.*h\":{},\"h.*a\":{}}}",
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(schemas); i++) {
        qw_error err;
        qw_grammar *g = NULL;
        int64_t start = gf_cpu_ms();
        qw_status st = compile(&g, schemas[i], false, false, &err);
        int64_t ms = gf_cpu_ms() - start;
        if (ms > (QW_TEST_SANITIZED ? 300000 : 90000))
            fail_msg("%.80s took %d ms", schemas[i], (int)ms);
        if (st == QW_OK)
            qw_grammar_unref(g);
        else if (st != QW_ERR_USAGE && st != QW_ERR_UNSUPPORTED)
            fail_msg("%.80s: %s", schemas[i], err.text);
    }
    qw_buf_release(&deep);
    qw_buf_release(&wide);
    qw_buf_release(&many);
}

static void test_shortage(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    uint64_t step = QW_TEST_SANITIZED ? 7 : 1;
    for (uint64_t n = 1;; n += step) {
        qw_error err;
        qw_grammar *g = NULL;
        json_t *json;
        const char *schema =
            "{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[\"x\",1]},\"b\":"
            "{\"pattern\":\"a+\"}},\"required\":[\"a\"]}";
        assert_ok(qw_json_parse(&json, schema, strlen(schema), "a schema", &err));
        qw_grammar_spec spec = {.kind = QW_GRAMMAR_JSON_SCHEMA, .json = json};
        (void)qw_mem_fail_at(n);
        qw_status st = qw_grammar_compile(&g, gf_trie, &spec, &err);
        bool failed = qw_mem_fail_at(0) == 0;
        json_decref(json);
        if (st == QW_OK) {
            qw_grammar_unref(g);
            if (!failed) break;
        } else {
            assert_int_equal(st, QW_ERR_NO_MEMORY);
        }
        assert_int_equal(qw_mem_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keywords), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_styles),   cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_shortage),
    };
    return cmocka_run_group_tests(tests, gf_set_up, gf_tear_down);
}
