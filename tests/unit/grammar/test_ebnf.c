// EBNF: what rules accept, and what is refused by name and line.

#include "test_util.h"

#include "unit/grammar/grammar_fixture.h"

static void check(const char *rules, const char *const *yes, const char *const *no)
{
    qw_error err;
    qw_grammar *g;
    qw_grammar_spec spec = {.kind = QW_GRAMMAR_EBNF, .text = qw_str_of(rules)};
    assert_ok(qw_grammar_compile(&g, gf_trie, &spec, &err));
    for (; *yes; yes++)
        if (!gf_accepts(g, qw_str_of(*yes), true)) fail_msg("%s refuses '%s'", rules, *yes);
    for (; *no; no++)
        if (gf_accepts(g, qw_str_of(*no), true)) fail_msg("%s accepts '%s'", rules, *no);
    qw_grammar_unref(g);
}

#define LIST(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void test_forms(void **state)
{
    (void)state;
    check("root ::= \"abc\"", LIST("abc"), LIST("ab", "abcd", ""));
    check("root ::= 'it''s'", LIST("its"), LIST("it's"));
    check("root ::= \"a\" | \"b\" \"c\" |", LIST("a", "bc", ""), LIST("b", "abc"));
    check("root ::= (\"a\" | \"b\")* \"c\"", LIST("c", "abbac"), LIST("ab", "cc"));
    check("root ::= \"a\"+ \"b\"? [0-9]{2,3}", LIST("a12", "aab123"), LIST("b12", "a1", "a1234"));
    check("root ::= [0-9]{2}", LIST("12"), LIST("1", "123"));
    check("root ::= \"x\"{1,}", LIST("x", "xxxxx"), LIST("", "xy"));
    check("root ::= \"a\"*?", LIST("", "a", "aaa"), LIST("b"));
    check("root ::= [^\"\\n]+", LIST("abc", "\xE4\xBD\xA0"), LIST("a\"", "\n", ""));
    check("root ::= .", LIST("a", "\xE4\xBD\xA0"), LIST("", "ab"));
    check("root ::= \"\\x41\\u4f60\\U0001F600\\n\\\"\"", LIST("A\xE4\xBD\xA0\xF0\x9F\x98\x80\n\""),
          LIST("A"));
}

static void test_rules(void **state)
{
    (void)state;
    check("# sums\n"
          "root ::= sum\n"
          "sum ::= number (\" + \" sum)?   # right-recursive\n"
          "number ::= [1-9] [0-9]*\n"
          "         | \"0\"\n",
          LIST("1", "12 + 0", "1 + 2 + 30"), LIST("", "01", "1 +", "1 + "));
    check("root ::= \"(\" root \")\" | \"\"", LIST("", "()", "((()))"), LIST("(", "(()", ")("));
    check("list-of.2 ::= \"x\" root ::= list-of.2 list-of.2", LIST("xx"), LIST("x"));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *rules, *part;
    } cases[] = {
        {"", "no rule `root"},
        {"start ::= \"a\"", "no rule `root"},
        {"root ::= other", "'other'"},
        {"root \"a\"", "`name ::= ...`, in line 1"},
        {"root ::= \"a\"\n)", ") without ("},
        {"root ::= (\"a\"", "( without )"},
        {"root ::= \"a", "without its closing quote"},
        {"root ::= \"a\n\"", "without its closing quote, in line 1"},
        {"root ::= \"\\q\"", "unknown escape"},
        {"root ::= \"\\", "unknown escape"},
        {"root ::= \"\\u12\"", "too few hexadecimal"},
        {"root ::= \"\\ud800\"", "no character"},
        {"root ::= [a", "[ without ]"},
        {"root ::= \"a\"{3,1}", "not {m}, {m,} or {m,n}"},
        {"root ::= \"a\"{99999}", "20000"},
        {"root ::= root \"a\" | \"b\"", "left-recursive"},
        {"root ::= x | \"a\"\nx ::= root \"b\"", "left-recursive"},
        {"root ::= (=\"a\")", "look-ahead"},
        {"root ::= f(\"a\")", "macro"},
        {"root ::= \"a\" root", "nothing matches"},
        {"root ::= \"\xFF\"", "UTF-8"},
        {"root ::= @", "unexpected character"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_error err;
        qw_grammar *g = NULL;
        qw_grammar_spec spec = {.kind = QW_GRAMMAR_EBNF, .text = qw_str_of(cases[i].rules)};
        qw_status st = qw_grammar_compile(&g, gf_trie, &spec, &err);
        if (st == QW_OK) fail_msg("accepted: %s", cases[i].rules);
        if (!strstr(err.text, cases[i].part))
            fail_msg("%s: '%s' is not about %s", cases[i].rules, err.text, cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, gf_set_up, gf_tear_down);
}
