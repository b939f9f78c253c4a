// Reasoning and content: the same whatever pieces the text comes in, and right for what real
// templates lead to (http-api.md 3.1, 3.2).

#include "test_util.h"

#include "format/detokenizer.h"
#include "unit/server/api_test.h"

typedef struct split {
    char reasoning[512], content[512];
    int64_t n_tokens;
} split;

// An answer as ids, and how long its text is after each of them.
typedef struct answer {
    qw_ids ids;
    qw_buf text;
    size_t ends[256];
} answer;

static answer answer_of(const char *text)
{
    qw_error err;
    answer a = {0};
    qw_detokenizer d;
    qw_buf_init(&a.text, 1 << 16);
    assert_ok(qw_tokenizer_encode(frontend.tokenizer, qw_str_of(text), 0, &a.ids, &err));
    assert_true(a.ids.len <= 256);
    assert_ok(qw_detokenizer_init(&d, frontend.tokenizer, false, NULL, 0, &err));
    for (size_t i = 0; i < a.ids.len; i++) {
        assert_ok(qw_detokenizer_push(&d, a.ids.data[i], &a.text, &err));
        a.ends[i] = a.text.len;
    }
    qw_detokenizer_release(&d);
    return a;
}

static void release(answer *a)
{
    qw_ids_release(&a->ids);
    qw_buf_release(&a->text);
}

// Divide the text in pieces that end at the given bytes (ascending), telling as few tokens as each
// piece needs, or all of them first.
static split divide(const answer *a, qw_reasoning_state start, const size_t *cuts, size_t n_cuts,
                    bool all_first)
{
    split s = {0};
    qw_reasoning r;
    qw_buf reasoning, content;
    size_t done = 0, told = 0;
    qw_buf_init(&reasoning, sizeof s.reasoning - 1);
    qw_buf_init(&content, sizeof s.content - 1);
    qw_reasoning_init(&r, &config.reasoning, start);
    for (size_t i = 0; i <= n_cuts; i++) {
        // cppcheck-suppress nullPointer ; no cuts, no n_cuts
        size_t end = i < n_cuts ? cuts[i] : a->text.len;
        while (told < a->ids.len &&
               (all_first || i == n_cuts || told == 0 || a->ends[told - 1] < end)) {
            qw_reasoning_token(&r, a->ids.data[told], (qw_str){a->text.data, a->ends[told]});
            told++;
        }
        qw_reasoning_divide(&r, (qw_str){a->text.data + done, end - done}, i == n_cuts, &reasoning,
                            &content);
        done = end;
    }
    if (reasoning.len) memcpy(s.reasoning, reasoning.data, reasoning.len);
    if (content.len) memcpy(s.content, content.data, content.len);
    s.n_tokens = r.n_reasoning_tokens;
    qw_buf_release(&reasoning);
    qw_buf_release(&content);
    return s;
}

static void assert_same(const split *got, const split *want, const char *text)
{
    if (strcmp(got->reasoning, want->reasoning) != 0 || strcmp(got->content, want->content) != 0 ||
        got->n_tokens != want->n_tokens)
        fail_msg("'%s': got ('%s', '%s', %d), want ('%s', '%s', %d)", text, got->reasoning,
                 got->content, (int)got->n_tokens, want->reasoning, want->content,
                 (int)want->n_tokens);
}

enum {
    UNDECIDED = QW_REASONING_UNDECIDED,
    THINKING = QW_REASONING_THINKING,
    CONTENT = QW_REASONING_CONTENT
};

static const struct {
    int start;
    const char *text, *reasoning, *content;
} cases[] = {
    // The prompt left <think> open, or the parser was named.
    {THINKING, "why</think>so", "why", "so"},
    {THINKING, "why\n</think>\n\nso", "why\n", "\n\nso"},
    {THINKING, "<think>why</think>so", "why", "so"},
    {THINKING, "\n<think>\nwhy</think>so", "\nwhy", "so"},
    {THINKING, "why", "why", ""},
    {THINKING, "<think>why", "why", ""},
    {THINKING, " \n", " \n", ""},
    {THINKING, "\nwhy", "\nwhy", ""},
    {THINKING, "", "", ""},
    {THINKING, "</think>so", "", "so"},
    {THINKING, "why<tool_call>\n{}</tool_call>", "why", "<tool_call>\n{}</tool_call>"},
    {THINKING, "a</think>b</think>c<think>d", "a", "b</think>c<think>d"},
    {THINKING, "a</think><tool_call>x", "a", "<tool_call>x"},
    {THINKING, "<think>a<think>b</think>c", "a<think>b", "c"},
    {THINKING, "\xE4\xBD\xA0</think>\xE5\xA5\xBD \xF0\x9F\x98\x80", "\xE4\xBD\xA0",
     "\xE5\xA5\xBD \xF0\x9F\x98\x80"},
    // Nobody said whether the model thinks: its first text tells.
    {UNDECIDED, "<think>\nwhy\n</think>\n\nso", "\nwhy\n", "\n\nso"},
    {UNDECIDED, "\n<think>why</think>so", "why", "so"},
    {UNDECIDED, "so", "", "so"},
    {UNDECIDED, "\n\nso", "", "\n\nso"},
    {UNDECIDED, " \n ", "", " \n "},
    {UNDECIDED, "", "", ""},
    {UNDECIDED, "so <think>x</think>y", "", "so <think>x</think>y"},
    {UNDECIDED, "</think>so", "", "so"},
    {UNDECIDED, "<tool_call>{}", "", "<tool_call>{}"},
    {UNDECIDED, "<think>why", "why", ""},
    {UNDECIDED, "<think></think>so", "", "so"},
    {UNDECIDED, "<think><tool_call>x", "", "<tool_call>x"},
    // Thinking is over, or off.
    {CONTENT, "so", "", "so"},
    {CONTENT, "\nso</think>x<tool_call>", "", "\nso</think>x<tool_call>"},
    {CONTENT, "<think>why</think>so", "", "<think>why</think>so"},
    {CONTENT, "", "", ""},
    // More white space than waits.
    {UNDECIDED,
     "                                                                                    <think>x",
     "",
     "                                                                                    "
     "<think>x"},
    {THINKING,
     "                                                                                    <think>x",
     "                                                                                    x", ""},
};

static void test_cases(void **state)
{
    (void)state;
    use_parser("qwen3");
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        answer a = answer_of(cases[i].text);
        split want = {.n_tokens = -1},
              got = divide(&a, (qw_reasoning_state)cases[i].start, NULL, 0, true);
        snprintf(want.reasoning, sizeof want.reasoning, "%s", cases[i].reasoning);
        snprintf(want.content, sizeof want.content, "%s", cases[i].content);
        want.n_tokens = got.n_tokens;
        assert_same(&got, &want, cases[i].text);
        release(&a);
    }
}

static void test_every_one_and_two_cuts(void **state)
{
    (void)state;
    use_parser("qwen3");
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        answer a = answer_of(cases[i].text);
        split want = divide(&a, (qw_reasoning_state)cases[i].start, NULL, 0, true);
        for (size_t x = 0; x <= a.text.len; x++)
            for (size_t y = x; y <= a.text.len; y++)
                for (int all = 0; all < 2; all++) {
                    size_t cuts[] = {x, y};
                    split got = divide(&a, (qw_reasoning_state)cases[i].start, cuts, 2, all);
                    assert_same(&got, &want, cases[i].text);
                }
        release(&a);
    }
}

// Random strings of tags, words, white space and characters of several bytes; random cuts.
static void test_random_cuts(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "<think>", "</think>", "<tool_call>",  "</tool_call>",     "\n", " ",
        "a",       "word ",    "\xE4\xBD\xA0", "\xF0\x9F\x98\x80", "<",  "</thi"};
    uint64_t seed = 12345;
    use_parser("qwen3");
    for (int round = 0; round < 3000; round++) {
        char text[200] = "";
        size_t len = 0;
#define NEXT(n) ((size_t)((seed = seed * 6364136223846793005u + 1442695040888963407u) >> 33) % (n))
        for (size_t k = NEXT(9); k > 0; k--) {
            const char *piece = pieces[NEXT(QW_ARRAY_LEN(pieces))];
            len += (size_t)snprintf(text + len, sizeof text - len, "%s", piece);
        }
        answer a = answer_of(text);
        qw_reasoning_state start = (qw_reasoning_state)NEXT(3);
        split want = divide(&a, start, NULL, 0, true);
        // What goes in comes out, but for one <think>, one end, and white space in front.
        size_t lost = a.text.len - strlen(want.reasoning) - strlen(want.content);
        assert_true(lost <= strlen("<think></think>") + QW_REASONING_HELD);
        for (int k = 0; k < 10; k++) {
            size_t cuts[8], n = NEXT(9);
            for (size_t c = 0; c < n; c++) {
                size_t cut = NEXT(a.text.len + 1), at = c;
                for (; at > 0 && cuts[at - 1] > cut; at--) cuts[at] = cuts[at - 1];
                cuts[at] = cut;
            }
            split got = divide(&a, start, cuts, n, NEXT(2));
            assert_same(&got, &want, text);
        }
        release(&a);
    }
}

static void test_counts(void **state)
{
    (void)state;
    use_parser("qwen3");
    answer a = answer_of("<think>abc</think>def");
    size_t n_inside = 0;
    while (a.ids.data[1 + n_inside] != id_of("</think>")) n_inside++;
    assert_int_equal(divide(&a, QW_REASONING_UNDECIDED, NULL, 0, true).n_tokens, n_inside);
    assert_int_equal(divide(&a, QW_REASONING_THINKING, NULL, 0, true).n_tokens, n_inside);
    assert_int_equal(divide(&a, QW_REASONING_CONTENT, NULL, 0, true).n_tokens, 0);
    release(&a);
}

// A stop string may cut the text in front of a tag that was already told.
static void test_cut_text(void **state)
{
    (void)state;
    qw_reasoning r;
    qw_buf reasoning, content;
    use_parser("qwen3");
    qw_buf_init(&reasoning, 1 << 16);
    qw_buf_init(&content, 1 << 16);
    qw_reasoning_init(&r, &config.reasoning, QW_REASONING_THINKING);
    qw_reasoning_token(&r, id_of("a"), QW_STR("a"));
    qw_reasoning_token(&r, id_of("</think>"), QW_STR("a</think>"));
    qw_reasoning_token(&r, id_of("b"), QW_STR("a")); // cut: "</think>b" was a stop string
    qw_reasoning_divide(&r, QW_STR("a"), true, &reasoning, &content);
    assert_string_equal(reasoning.data, "a");
    assert_int_equal(content.len, 0);
    qw_buf_release(&reasoning);
    qw_buf_release(&content);
}

// ---- how an answer begins

static qw_reasoning_state start_after(const char *prompt, qw_thinking_wish wish)
{
    qw_error err;
    qw_ids ids = {0};
    assert_ok(qw_tokenizer_encode(frontend.tokenizer, qw_str_of(prompt), 0, &ids, &err));
    qw_reasoning_state s = qw_reasoning_start(&config.reasoning, ids.data, ids.len, wish);
    qw_ids_release(&ids);
    return s;
}

#define USER "<|im_start|>user\nx</think><|im_end|>\n"
#define BOT "<|im_start|>assistant\n"

static void test_start(void **state)
{
    (void)state;
    use_parser("auto");
    assert_int_equal(start_after(USER BOT, QW_THINKING_UNSAID), UNDECIDED);
    assert_int_equal(start_after(USER BOT "<think>\n", QW_THINKING_UNSAID), THINKING);
    assert_int_equal(start_after(USER BOT "<think>\n\n</think>\n\n", QW_THINKING_UNSAID), CONTENT);
    // An earlier turn with a closed <think> does not matter.
    assert_int_equal(
        start_after(USER BOT "<think>\na\n</think>\n\nb<|im_end|>\n" USER BOT, QW_THINKING_ON),
        UNDECIDED);
    // A message that is continued is what the model says itself.
    assert_int_equal(start_after(USER BOT "<think>\na", QW_THINKING_UNSAID), THINKING);
    assert_int_equal(start_after(USER BOT "<think>\na", QW_THINKING_OFF), CONTENT);
    assert_int_equal(start_after("", QW_THINKING_UNSAID), UNDECIDED);
    use_parser("qwen3");
    assert_int_equal(start_after(USER BOT, QW_THINKING_UNSAID), THINKING);
    assert_int_equal(start_after(USER BOT, QW_THINKING_OFF), CONTENT);
    use_parser("deepseek_r1");
    assert_int_equal(start_after(USER BOT, QW_THINKING_UNSAID), THINKING);
    use_parser("none");
    assert_int_equal(start_after(USER BOT "<think>\n", QW_THINKING_ON), CONTENT);
}

static void test_names(void **state)
{
    (void)state;
    qw_error err;
    qw_reasoning_parser p;
    assert_ok(
        qw_reasoning_parser_init(&p, NULL, frontend.tokenizer, QW_STR("{% <think> %}"), &err));
    assert_true(p.is_on && p.is_auto);
    assert_ok(qw_reasoning_parser_init(&p, "auto", frontend.tokenizer, QW_STR("plain"), &err));
    assert_false(p.is_on);
    assert_ok(qw_reasoning_parser_init(&p, "qwen3", frontend.tokenizer, QW_STR("plain"), &err));
    assert_true(p.is_on && !p.is_auto);
    assert_ok(qw_reasoning_parser_init(&p, "auto", NULL, QW_STR("<think>"), &err));
    assert_false(p.is_on);
    assert_fails(qw_reasoning_parser_init(&p, "qwen3", NULL, QW_STR(""), &err), QW_ERR_USAGE,
                 "vocabulary");
    assert_fails(qw_reasoning_parser_init(&p, "granite", frontend.tokenizer, QW_STR(""), &err),
                 QW_ERR_USAGE, "choose auto, qwen3, deepseek_r1 or none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),       cmocka_unit_test(test_every_one_and_two_cuts),
        cmocka_unit_test(test_random_cuts), cmocka_unit_test(test_counts),
        cmocka_unit_test(test_cut_text),    cmocka_unit_test(test_start),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
