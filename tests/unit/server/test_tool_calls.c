// Tool calls in texts as models write them: right, and the same whatever pieces the text comes in
// (http-api.md 3.3 to 3.5).

#include "test_util.h"

#include "base/mem.h"
#include "server/tool_calls.h"

enum { MOST_CALLS = 4 };

typedef struct outcome {
    char content[600];
    size_t n;
    bool broken;
    struct {
        char name[64], arguments[400];
        bool whole;
    } calls[MOST_CALLS];
} outcome;

static json_t *tools;

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},"
    "\"f\":{\"type\":\"number\"},\"deep\":{\"type\":\"object\"},\"list\":{\"type\":\"array\"},"
    "\"flag\":{\"type\":\"boolean\"},\"maybe\":{\"type\":[\"string\",\"null\"]},"
    "\"any\":{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]},"
    "\"pick\":{\"enum\":[1,2]}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"now\"}}]";

static int set_up_tools(void **state)
{
    (void)state;
    qw_error err;
    qw_json_init();
    assert_ok(qw_json_parse(&tools, tools_text, strlen(tools_text), "tools", &err));
    return 0;
}

static int tear_down_tools(void **state)
{
    (void)state;
    json_decref(tools);
    return 0;
}

static void copy_text(char *out, size_t size, const qw_buf *b)
{
    assert_true(b->len < size);
    if (b->len) memcpy(out, b->data, b->len);
    out[b->len] = '\0';
}

// Parse the text in pieces that end at the given bytes (ascending).
static outcome parse_cut(qw_tool_form form, const char *text, qw_text_end end, size_t max_calls,
                         const size_t *cuts, size_t n_cuts)
{
    outcome o;
    qw_error err;
    qw_buf content;
    qw_tool_calls *p;
    size_t done = 0, len = strlen(text);
    memset(&o, 0, sizeof o);
    qw_buf_init(&content, 1 << 20);
    assert_ok(qw_tool_calls_new(&p, form, tools, max_calls, &err));
    for (size_t i = 0; i <= n_cuts; i++) {
        // cppcheck-suppress nullPointer ; no cuts, no n_cuts
        size_t to = i < n_cuts ? cuts[i] : len;
        qw_tool_calls_push(p, (qw_str){text + done, to - done}, i < n_cuts ? QW_TEXT_GOES_ON : end,
                           &content);
        done = to;
    }
    assert_ok(qw_tool_calls_check(p, &err));
    copy_text(o.content, sizeof o.content, &content);
    o.broken = qw_tool_calls_is_broken(p);
    o.n = qw_tool_calls_count(p);
    assert_true(o.n <= MOST_CALLS);
    for (size_t i = 0; i < o.n; i++) {
        const qw_tool_call *c = qw_tool_calls_at(p, i);
        copy_text(o.calls[i].name, sizeof o.calls[i].name, &c->name);
        copy_text(o.calls[i].arguments, sizeof o.calls[i].arguments, &c->arguments);
        o.calls[i].whole = c->is_whole;
        assert_true(c->id[0] != '\0');
        if (c->is_whole) { // what is told as whole can be read
            json_t *v = NULL;
            assert_ok(qw_json_parse(&v, c->arguments.data, c->arguments.len, "arguments", &err));
            json_decref(v);
        }
    }
    qw_tool_calls_free(p);
    qw_buf_release(&content);
    return o;
}

static void assert_same(const outcome *got, const outcome *want, const char *text)
{
    if (memcmp(got, want, sizeof *got) == 0) return;
    fail_msg("'%s': got content '%s' and %zu calls, first '%s' '%s'; want '%s' and %zu, '%s' '%s'",
             text, got->content, got->n, got->calls[0].name, got->calls[0].arguments, want->content,
             want->n, want->calls[0].name, want->calls[0].arguments);
}

#define HERMES QW_TOOL_FORM_HERMES
#define CODER QW_TOOL_FORM_QWEN3_CODER

static const struct {
    qw_tool_form form;
    const char *text, *content;
    const char *calls[2 * MOST_CALLS]; // names and arguments
    bool broken;
} cases[] = {
    // As Qwen3 writes them
    {HERMES,
     "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>",
     "",
     {"get", "{\"city\": \"Paris\"}"},
     false},
    {HERMES,
     "\n\nLet me look.\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": \"Oslo\", "
     "\"days\": 12}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": "
     "{}}\n</tool_call>",
     "\n\nLet me look.\n",
     {"get", "{\"city\": \"Oslo\", \"days\": 12}", "now", "{}"},
     false},
    {HERMES, "\n\n<tool_call>{\"name\":\"now\",\"arguments\":{}}", "", {"now", "{}"}, false},
    // What vLLM's parser gets wrong: order, no arguments, braces and tags inside strings
    {HERMES,
     "<tool_call>{\"arguments\":{\"a\":[1,{\"b\":2}]},\"name\":\"get\"}</tool_call>",
     "",
     {"get", "{\"a\":[1,{\"b\":2}]}"},
     false},
    {HERMES, "<tool_call>{\"name\":\"now\"}</tool_call>", "", {"now", "{}"}, false},
    {HERMES,
     "<tool_call>{\"name\":\"get\",\"arguments\":{\"city\":\"}{ </tool_call> \\\"<tool_call>\\\" "
     "\"}}"
     "</tool_call>",
     "",
     {"get", "{\"city\":\"}{ </tool_call> \\\"<tool_call>\\\" \"}"},
     false},
    {HERMES,
     "<tool_call>{\"id\":{\"name\":\"x\"},\"name\":\"g\\u0065t\",\"arguments\" : {\"city\":"
     "\"\xE4\xBD\xA0 \xF0\x9F\x98\x80\"} , \"z\":[1.5e3]}</tool_call>",
     "",
     {"get", "{\"city\":\"\xE4\xBD\xA0 \xF0\x9F\x98\x80\"}"},
     false},
    {HERMES,
     "<tool_call>{\"name\":\"get\",\"parameters\":{\"days\":-3}}}</tool_call> bye",
     "",
     {"get", "{\"days\":-3}"},
     false},
    {HERMES, "<tool_call>{\"name\":\"get\",\"arguments\":7}</tool_call>", "", {"get", "7"}, false},
    {HERMES,
     "<tool_call>{\"name\":\"get\",\"arguments\":null }</tool_call>",
     "",
     {"get", "null"},
     false},
    // No calls
    {HERMES,
     "Just words, 1 < 2, <tool> and <tool_cal",
     "Just words, 1 < 2, <tool> and <tool_cal",
     {NULL},
     false},
    {HERMES, "\n \n", "\n \n", {NULL}, false},
    {HERMES, "", "", {NULL}, false},
    // Broken before the name: it was text. Broken after it: told is told.
    {HERMES, " <tool_call> is a tag", " <tool_call> is a tag", {NULL}, true},
    {HERMES,
     "<tool_call>\n{\"nam\": 3, oops}</tool_call> x",
     "<tool_call>\n{\"nam\": 3, oops}</tool_call> x",
     {NULL},
     true},
    {HERMES, "<tool_call>{}</tool_call>", "<tool_call>{}</tool_call>", {NULL}, true},
    {HERMES,
     "<tool_call>{\"name\":\"\"}</tool_call>",
     "<tool_call>{\"name\":\"\"}</tool_call>",
     {NULL},
     true},
    {HERMES,
     "<tool_call>{\"name\":5}</tool_call>",
     "<tool_call>{\"name\":5}</tool_call>",
     {NULL},
     true},
    {HERMES,
     "a<tool_call>{\"name\":\"get\",\"arguments\":{\"city\":\"Par",
     "a",
     {"get", "{\"city\":\"Par"},
     true},
    {HERMES,
     "<tool_call>{\"name\":\"get\",\"arguments\":{\"city\":}} x</tool_call>",
     "",
     {"get", "{\"city\":"},
     true},
    {HERMES, "<tool_call>", "<tool_call>", {NULL}, true},
    // Qwen3-Coder
    {CODER,
     "<tool_call>\n<function=get>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n"
     "</parameter>\n</function>\n</tool_call>",
     "",
     {"get", "{\"city\": \"Paris\", \"days\": 3}"},
     false},
    {CODER,
     "I "
     "look.\n\n<tool_call>\n<function=now>\n</function>\n</"
     "tool_call>\n<tool_call>\n<function=get>\n"
     "<parameter=city>\nA\n</parameter>\n</function>\n</tool_call>",
     "I look.\n\n",
     {"now", "{}", "get", "{\"city\": \"A\"}"},
     false},
    {CODER,
     "<tool_call><function=get><parameter=f>2.0</parameter><parameter=deep>{\"a\":[1, "
     "2]}</parameter>"
     "<parameter=list>\n[\"x\"]\n</parameter><parameter=flag>True</parameter><parameter=maybe>null"
     "</parameter><parameter=any>x1</parameter><parameter=pick>2</parameter></function></"
     "tool_call>",
     "",
     {"get",
      "{\"f\": 2, \"deep\": {\"a\": [1, 2]}, \"list\": [\"x\"], \"flag\": true, \"maybe\": null, "
      "\"any\": \"x1\", \"pick\": 2}"},
     false},
    // Values that cannot be what the schema says stay text; null is text for a string.
    {CODER,
     "<function=get><parameter=days>many</parameter><parameter=city>null</"
     "parameter><parameter=deep>"
     "{'a'}</parameter><parameter=new>\n\n x \n\n</parameter></function>",
     "",
     {"get",
      "{\"days\": \"many\", \"city\": \"null\", \"deep\": \"{'a'}\", \"new\": \"\\n x \\n\"}"},
     false},
    // Tags inside of values
    {CODER,
     "<tool_call>\n<function=get>\n<parameter=city>\nx </parameter> y </function> z <tool_call> <\n"
     "</parameter>\n</function>\n</tool_call>",
     "",
     {"get", "{\"city\": \"x </parameter> y </function> z <tool_call> <\"}"},
     false},
    {CODER,
     "<tool_call>\n<function=get>\n<parameter=city>\nA\n<parameter=days>\n3\n</function>\n</"
     "tool_call>",
     "",
     {"get", "{\"city\": \"A\", \"days\": 3}"},
     false},
    {CODER,
     "<tool_call>\n<function=get>\n<parameter=city>\nA\n</parameter>",
     "",
     {"get", "{\"city\": \"A\"}"},
     false},
    {CODER,
     "<function=get>\n<parameter=city>A</parameter><parameter=city>B</parameter></tool_call>",
     "",
     {"get", "{\"city\": \"A\"}"},
     false},
    {CODER,
     "<tool_call> is a tag, <function= too",
     "<tool_call> is a tag, <function= too",
     {NULL},
     true},
    {CODER, "<function={{ x }}>", "<function={{ x }}>", {NULL}, true},
    {CODER, "words <tool_c", "words <tool_c", {NULL}, false},
    {CODER, "a<tool_call><function=get><parameter=city>half", "a", {"get", ""}, true},
};

static outcome whole(size_t i)
{
    return parse_cut(cases[i].form, cases[i].text, QW_TEXT_ENDED, 0, NULL, 0);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        outcome want, got = whole(i);
        memset(&want, 0, sizeof want);
        snprintf(want.content, sizeof want.content, "%s", cases[i].content);
        want.broken = cases[i].broken;
        for (size_t k = 0; k < MOST_CALLS && cases[i].calls[2 * k]; k++) {
            snprintf(want.calls[k].name, 64, "%s", cases[i].calls[2 * k]);
            snprintf(want.calls[k].arguments, 400, "%s", cases[i].calls[2 * k + 1]);
            want.calls[k].whole = got.calls[k].whole;
            if (!want.broken) assert_true(got.calls[k].whole);
            want.n++;
        }
        assert_same(&got, &want, cases[i].text);
        assert_int_equal(got.broken, want.broken);
    }
}

static void test_every_one_and_two_cuts(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        outcome want = whole(i);
        size_t len = strlen(cases[i].text);
        for (size_t x = 0; x <= len; x++)
            for (size_t y = x; y <= len; y++) {
                size_t cuts[] = {x, y};
                outcome got = parse_cut(cases[i].form, cases[i].text, QW_TEXT_ENDED, 0, cuts, 2);
                assert_same(&got, &want, cases[i].text);
            }
    }
}

// Byte by byte, and cut off at every byte: what was told before is a beginning of what is told.
static void test_every_beginning(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].text), *cuts = calloc(len + 1, sizeof *cuts);
        outcome want = whole(i);
        for (size_t k = 0; k < len; k++) cuts[k] = k + 1;
        outcome got = parse_cut(cases[i].form, cases[i].text, QW_TEXT_ENDED, 0, cuts, len);
        assert_same(&got, &want, cases[i].text);
        for (size_t n = 0; n < len; n++) {
            char *text = strndup(cases[i].text, n);
            outcome part = parse_cut(cases[i].form, text, QW_TEXT_GOES_ON, 0, NULL, 0);
            assert_true(part.n <= want.n);
            assert_int_equal(strncmp(part.content, want.content, strlen(part.content)), 0);
            for (size_t k = 0; k < part.n; k++) {
                assert_string_equal(part.calls[k].name, want.calls[k].name);
                assert_int_equal(strncmp(part.calls[k].arguments, want.calls[k].arguments,
                                         strlen(part.calls[k].arguments)),
                                 0);
            }
            outcome cut = parse_cut(cases[i].form, text, QW_TEXT_CUT, 0, cuts, n);
            outcome again = parse_cut(cases[i].form, text, QW_TEXT_CUT, 0, NULL, 0);
            assert_same(&cut, &again, text);
            free(text);
        }
        free(cuts);
    }
}

// Random strings of what calls are made of.
static void test_random(void **state)
{
    (void)state;
    static const char *const pieces[] = {"<tool_call>",
                                         "</tool_call>",
                                         "<function=get>",
                                         "</function>",
                                         "<parameter=city>",
                                         "</parameter>",
                                         "<parameter=days>",
                                         "\n",
                                         " ",
                                         "x",
                                         "{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         "\"name\":\"get\"",
                                         "\"arguments\":",
                                         "\"parameters\":",
                                         "{\"name\":\"now\",\"arguments\":{}}",
                                         "{\"a\":1}",
                                         "3",
                                         "<",
                                         "</",
                                         "\xE4\xBD\xA0",
                                         "\"",
                                         "\\"};
    static const qw_tool_form forms[] = {HERMES, CODER};
    uint64_t seed = 4711;
#define NEXT(n) ((size_t)((seed = seed * 6364136223846793005u + 1442695040888963407u) >> 33) % (n))
    for (int round = 0; round < 20000; round++) {
        char text[300] = "";
        size_t len = 0;
        qw_tool_form form = forms[NEXT(QW_ARRAY_LEN(forms))];
        qw_text_end end = NEXT(2) ? QW_TEXT_ENDED : QW_TEXT_CUT;
        size_t n_calls = 0;
        for (size_t k = NEXT(12); k > 0 && len + 40 < sizeof text; k--) {
            const char *piece = pieces[NEXT(QW_ARRAY_LEN(pieces))];
            n_calls += strstr(piece, "name") || strstr(piece, "function=") ? 1 : 0;
            if (n_calls > MOST_CALLS) break;
            len += (size_t)snprintf(text + len, sizeof text - len, "%s", piece);
        }
        outcome want = parse_cut(form, text, end, 0, NULL, 0);
        for (int k = 0; k < 4; k++) {
            size_t cuts[8], n = NEXT(9);
            for (size_t c = 0; c < n; c++) {
                size_t cut = NEXT(len + 1), at = c;
                for (; at > 0 && cuts[at - 1] > cut; at--) cuts[at] = cuts[at - 1];
                cuts[at] = cut;
            }
            outcome got = parse_cut(form, text, end, 0, cuts, n);
            assert_same(&got, &want, text);
        }
    }
}

static void test_limits(void **state)
{
    (void)state;
    // parallel_tool_calls: false
    outcome o = parse_cut(HERMES,
                          "<tool_call>{\"name\":\"get\"}</tool_call><tool_call>{\"name\":\"now\"}"
                          "</tool_call>",
                          QW_TEXT_ENDED, 1, NULL, 0);
    assert_int_equal(o.n, 1);
    assert_string_equal(o.calls[0].name, "get");
    // A limit that cuts a call leaves it open.
    o = parse_cut(CODER, "<function=get><parameter=city>A</parameter>", QW_TEXT_CUT, 0, NULL, 0);
    assert_int_equal(o.n, 1);
    assert_true(o.broken && !o.calls[0].whole);
    // Names of parsers
    assert_int_equal(qw_tool_form_of("hermes"), HERMES);
    assert_int_equal(qw_tool_form_of("qwen3"), HERMES);
    assert_int_equal(qw_tool_form_of("qwen3_xml"), CODER);
    assert_int_equal(qw_tool_form_of("mistral"), QW_TOOL_FORM_NONE);
    assert_int_equal(qw_tool_form_of(NULL), QW_TOOL_FORM_NONE);
}

static void test_arguments_as_python(void **state)
{
    (void)state;
    qw_error err;
    qw_buf content, out;
    qw_tool_calls *p;
    qw_buf_init(&content, 1 << 20);
    qw_buf_init(&out, 1 << 20);
    assert_ok(qw_tool_calls_new(&p, HERMES, tools, 0, &err));
    qw_tool_calls_push(p,
                       QW_STR("<tool_call>{\"name\":\"get\",\"arguments\":{\"a\":1,\"b\":[ 2 ,"
                              "\"\\u00e4\"],\"n\":123456789012345678901}}"),
                       QW_TEXT_ENDED, &content);
    qw_tool_call_write_arguments(qw_tool_calls_at(p, 0), &out);
    assert_string_equal(out.data,
                        "{\"a\": 1, \"b\": [2, \"\xC3\xA4\"], \"n\": 123456789012345678901}");
    qw_tool_calls_free(p);
    qw_buf_release(&content);
    qw_buf_release(&out);
}

// With the n-th allocation failing: a status, no leak, no crash.
static void test_memory_shortage(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++)
        for (uint64_t n = 1;; n++) {
            qw_error err;
            qw_buf content;
            qw_tool_calls *p;
            size_t live = qw_mem_live();
            qw_buf_init(&content, 1 << 20);
            qw_mem_fail_at(n);
            if (qw_tool_calls_new(&p, cases[i].form, tools, 0, &err) == QW_OK) {
                qw_tool_calls_push(p, qw_str_of(cases[i].text), QW_TEXT_ENDED, &content);
                if (qw_tool_calls_check(p, &err) != QW_OK)
                    assert_int_equal(err.code, QW_ERR_NO_MEMORY);
                qw_tool_calls_free(p);
            }
            qw_buf_release(&content);
            bool all = qw_mem_fail_at(0) > 0;
            assert_int_equal(qw_mem_live(), live);
            if (all) break;
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),           cmocka_unit_test(test_every_one_and_two_cuts),
        cmocka_unit_test(test_every_beginning), cmocka_unit_test(test_random),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_arguments_as_python),
        cmocka_unit_test(test_memory_shortage),
    };
    return cmocka_run_group_tests(tests, set_up_tools, tear_down_tools);
}
