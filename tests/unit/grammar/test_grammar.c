// Regular expressions and lists of choices as grammars: what they accept, that every mask says
// exactly what the automaton can read, and that no expression takes long or much memory.

#include "test_util.h"

#include "unit/grammar/grammar_fixture.h"

static qw_grammar *regex(const char *pattern)
{
    qw_error err;
    qw_grammar *g;
    qw_grammar_spec spec = {.kind = QW_GRAMMAR_REGEX, .text = qw_str_of(pattern)};
    assert_ok(qw_grammar_compile(&g, gf_trie, &spec, &err));
    return g;
}

static void check_regex(const char *pattern, const char *const *yes, const char *const *no)
{
    qw_grammar *g = regex(pattern);
    for (; *yes; yes++)
        if (!gf_accepts(g, qw_str_of(*yes), true)) fail_msg("%s refuses '%s'", pattern, *yes);
    for (; *no; no++)
        if (gf_accepts(g, qw_str_of(*no), true)) fail_msg("%s accepts '%s'", pattern, *no);
    qw_grammar_unref(g);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_regex(void **state)
{
    (void)state;
    check_regex("abc", LIST("abc"), LIST("ab", "abcd", ""));
    check_regex("a*b+c?", LIST("b", "aabbc"), LIST("", "a", "bcc"));
    check_regex("(a|bc){2,3}", LIST("aa", "bca", "bcbcbc"), LIST("a", "aaaa"));
    check_regex("[a-c\\d_-]+", LIST("a1_-", "c"), LIST("d", ""));
    check_regex("[^a\\n]", LIST("b", "\xE4\xBD\xA0", "\r"), LIST("a", "\n", "bb"));
    check_regex("\\d{3}-\\d{2,}", LIST("123-45", "000-00000"), LIST("12-45", "123-4"));
    check_regex("^(?:x|y)$", LIST("x", "y"), LIST("xx"));
    check_regex(".*", LIST("", "anything", "\xC3\xA9"), LIST("a\nb"));
    check_regex("\\u4f60\\x41\\.",
                LIST("\xE4\xBD\xA0"
                     "A."),
                LIST("\xE4\xBD\xA0"
                     "A!"));
    check_regex("\\p{Lu}\\p{Ll}*", LIST("Abc", "\xC3\x89\xC3\xA9"), LIST("abc", "A1"));
    check_regex("(?i)yes", LIST("YES", "yEs"), LIST("no"));
    check_regex("a{,2}", LIST("", "aa"), LIST("aaa"));
    check_regex("a{x}", LIST("a{x}"), LIST("a"));
    check_regex("[\\U0001F600-\\U0001F64F]", LIST("\xF0\x9F\x98\x80"), LIST("\xF0\x9F\x99\x90"));
    check_regex("(a(b(c)*)*)*", LIST("", "abcabc", "a"), LIST("b"));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *part;
        qw_status status;
    } cases[] = {
        {"(?=a)", "look-around", QW_ERR_UNSUPPORTED},
        {"(a)\\1", "back-reference", QW_ERR_UNSUPPORTED},
        {"a\\b", "\\b", QW_ERR_UNSUPPORTED},
        {"(a", "( without )", QW_ERR_USAGE},
        {"a)", ") without (", QW_ERR_USAGE},
        {"[a", "[ without ]", QW_ERR_USAGE},
        {"(?<name", "group name without >", QW_ERR_USAGE},
        {"(?P<", "group name without >", QW_ERR_USAGE},
        {"*a", "repeats nothing", QW_ERR_USAGE},
        {"[z-a]", "wrong order", QW_ERR_USAGE},
        {"a{2,1}", "below its minimum", QW_ERR_USAGE},
        {"a$b", "nothing matches", QW_ERR_USAGE},
        {"\\p{Greek}", "no general category", QW_ERR_UNSUPPORTED},
        {"a{200000}", "100000", QW_ERR_USAGE},
        {"\xFF", "UTF-8", QW_ERR_USAGE},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_error err;
        qw_grammar *g = NULL;
        qw_grammar_spec spec = {.kind = QW_GRAMMAR_REGEX, .text = qw_str_of(cases[i].pattern)};
        assert_fails(qw_grammar_compile(&g, gf_trie, &spec, &err), cases[i].status, cases[i].part);
    }
}

// Each of these would take exponential time or gigabytes somewhere.
static void test_hostile(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "(a|b)*a(a|b){40}",
        "(((a{1,100}){1,100}){1,100}){1,100}",
        "(.*a){30}",
        "(a*)*(a*)*(a*)*b",
        "((((((((((a?){9}){9}){9}){9}){9}){9}){9}){9}){9}){9}",
        "[^x]{0,90000}",
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(patterns); i++) {
        qw_error err;
        qw_grammar *g = NULL;
        qw_grammar_spec spec = {.kind = QW_GRAMMAR_REGEX, .text = qw_str_of(patterns[i])};
        int64_t start = gf_cpu_ms();
        qw_status st = qw_grammar_compile(&g, gf_trie, &spec, &err);
        int64_t ms = gf_cpu_ms() - start;
        if (ms > (QW_TEST_SANITIZED ? 300000 : 90000))
            fail_msg("'%s' took %d ms", patterns[i], (int)ms);
        if (st == QW_OK)
            qw_grammar_unref(g);
        else
            assert_int_equal(st, QW_ERR_USAGE);
    }
}

static void test_choice(void **state)
{
    (void)state;
    qw_error err;
    qw_grammar *g;
    json_t *list = json_pack("[s,s,s,s]", "abc", "ab", "xyz", "ab");
    qw_grammar_spec spec = {.kind = QW_GRAMMAR_CHOICE, .json = list};
    assert_ok(qw_grammar_compile(&g, gf_trie, &spec, &err));
    assert_true(gf_accepts(g, QW_STR("ab"), true));
    assert_true(gf_accepts(g, QW_STR("abc"), true));
    assert_true(gf_accepts(g, QW_STR("xyz"), true));
    assert_false(gf_accepts(g, QW_STR("a"), true));
    assert_false(gf_accepts(g, QW_STR("abcd"), true));
    qw_grammar_unref(g);
    json_decref(list);
    list = json_pack("[s,i]", "a", 1);
    spec.json = list;
    assert_fails(qw_grammar_compile(&g, gf_trie, &spec, &err), QW_ERR_USAGE, "choice[1]");
    json_decref(list);
}

// Every failing allocation is an error, and leaves nothing behind.
static void test_shortage(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    for (uint64_t n = 1;; n++) {
        qw_error err;
        qw_grammar *g = NULL;
        qw_grammar_spec spec = {.kind = QW_GRAMMAR_REGEX, .text = QW_STR("(a|bc){2}[^\"]*x\\d")};
        (void)qw_mem_fail_at(n);
        qw_status st = qw_grammar_compile(&g, gf_trie, &spec, &err);
        bool failed = qw_mem_fail_at(0) == 0;
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
        cmocka_unit_test(test_regex),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_hostile),  cmocka_unit_test(test_choice),
        cmocka_unit_test(test_shortage),
    };
    return cmocka_run_group_tests(tests, gf_set_up, gf_tear_down);
}
