// Scorers on recorded answers: what models of this family really write, and traps.
#include "test_util.h"

#include "eval/score.h"

/** A line of a task file, a reply, what is found in it ("": nothing), and whether that is right. */
typedef struct scored {
    const char *line, *reply, *found;
    bool is_right;
} scored;

static const scored cases[] = {
    // gsm8k in its own form; the first two replies are of the built-in model, asked as it is
    // trained.
    {"{\"question\": \"47 + 38?\", \"answer\": \"47+38=<<47+38=85>>85\\n#### 85\"}",
     "<think>\nOnes: 7 + 8 = 15, write 5, carry 1.\nTens: 4 + 3 + 1 = 8.\n</think>\n\n47 + 38 = 85",
     "85", true},
    {"{\"question\": \"q\", \"answer\": \"#### 85\"}", "<think>\n\n</think>\n\n47 + 38 = 75", "75",
     false},
    {"{\"question\": \"q\", \"answer\": \"a #### b\\n#### 1,234\"}",
     "So 12 * 100 = 1200, and 34 more.\n#### 1234", "1234", true},
    {"{\"question\": \"q\", \"answer\": \"#### 18\"}",
     "Janet sells 16 - 3 - 4 = 9 eggs.\nShe makes 9 * 2 = $18.\n#### $18.00\n\nQuestion: 5 birds",
     "18", true},
    {"{\"question\": \"q\", \"answer\": \"#### 70000\"}",
     "The profit is \\boxed{\\$70,000}, since 200,000 - 130,000 = 70,000 (80,000 + 50,000 spent).",
     "70000", true},
    {"{\"question\": \"q\", \"answer\": \"#### 3\"}",
     "It takes 2/2 = 1 bolt of white fibre, so in total 2 + 1 = 3 bolts.", "3", true},
    {"{\"question\": \"q\", \"answer\": \"#### -5\"}",
     "The temperature is \xE2\x88\x92"
     "5 degrees.",
     "-5", true},
    {"{\"question\": \"q\", \"answer\": \"#### 540\"}", "I do not know.", "", false},
    {"{\"question\": \"q\", \"answer\": \"#### 540\"}", "<think>\n540, so 540", "", false},
    {"{\"question\": \"q\", \"answer\": \"#### 9\"}", "#### \nThe answer is 9", "9", true},
    // arithmetic
    {"{\"question\": \"q\", \"answer\": \"42\"}", "12 + 30 = 42", "42", true},
    {"{\"question\": \"q\", \"answer\": 42}", "12 + 30 = 42, because 2 + 0 is 2.", "42", true},
    {"{\"question\": \"q\", \"answer\": 42}", "12 + 30 is 42, because 2 + 0 is 2.", "2", false},
    {"{\"question\": \"q\", \"answer\": 42}", "12 + 30 = 42, by 10 and 2", "42", true},
    {"{\"question\": \"q\", \"answer\": -17}", "24 - 41 = -17", "-17", true},
    {"{\"question\": \"q\", \"answer\": -17}", "24-41=-17.", "-17", true},
    {"{\"question\": \"q\", \"answer\": 17}", "41-24 is 17", "17", true},
    {"{\"question\": \"q\", \"answer\": 24}", "it is 41-24", "24", true},
    {"{\"question\": \"q\", \"answer\": 0.5}", "= 0.50", "0.5", true},
    {"{\"question\": \"q\", \"answer\": \"1,000,000\"}", "= 1000000.0", "1000000", true},
    {"{\"question\": \"q\", \"answer\": 3}", "The numbers are 1, 2, 3", "3", true},
    {"{\"question\": \"q\", \"answer\": 0}", "-0", "0", true},
    // choice
    {"{\"question\": \"q\", \"choices\": [\"red\", \"green\"], \"answer\": \"B\"}", "B", "B", true},
    {"{\"question\": \"q\", \"choices\": [\"red\", \"green\"], \"answer\": 1}", "B. green", "B",
     true},
    {"{\"question\": \"q\", \"choices\": [\"red\", \"green\"], \"answer\": \"green\"}", "(A)", "A",
     false},
    {"{\"question\": \"q\", \"choices\": [\"red\", \"green\"], \"answer\": \"b\"}",
     "A is wrong, as grass is green. The answer is **B**.", "B", true},
    {"{\"question\": \"q\", \"choices\": [\"a cat\", \"a dog\"], \"answer\": 1}",
     "A dog barks, so it is a dog.", "B", true},
    {"{\"question\": \"q\", \"choices\": [\"cat\", \"wildcat\"], \"answer\": 1}",
     "A wildcat, surely", "B", true},
    {"{\"question\": \"q\", \"choices\": [\"x\", \"y\", \"z\"], \"answer\": 2}",
     "Thus \\boxed{\\text{C}}.", "C", true},
    {"{\"question\": \"q\", \"choices\": [\"ha\", \"hb\"], \"answer\": 0}", "Answer: C", "", false},
    {"{\"question\": \"q\", \"choices\": [\"ha\", \"hb\"], \"answer\": 0}",
     "Both ha and hb may be, but I take (A) here", "A", true},
    {"{\"question\": \"q\", \"choices\": [\"ha\", \"hb\"], \"answer\": 0}",
     "<think>\nAnswer: B\n</think>\n\nAnswer: A", "A", true},
    // exact
    {"{\"question\": \"q\", \"answer\": \"Paris\"}", "  paris.\n", "paris.", true},
    {"{\"question\": \"q\", \"answer\": \"The  capital is Paris\"}", "The capital\nis Paris.",
     "The capital\nis Paris.", true},
    {"{\"question\": \"q\", \"answer\": \"Paris\"}", "It is Paris", "It is Paris", false},
    {"{\"question\": \"q\", \"answer\": [\"Paris\", \"Paris, France\"]}", "Paris, France",
     "Paris, France", true},
    {"{\"question\": \"q\", \"answer\": \"a b\"}", "ab", "ab", false},
    {"{\"question\": \"q\", \"answer\": 42, \"scorer\": \"exact\"}", "It is 42", "It is 42", false},
    {"{\"question\": \"q\", \"answer\": \".\"}", ".", ".", true},
};

static void test_recorded(void **unused)
{
    (void)unused;
    qw_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const scored *c = &cases[i];
        qw_task task = {0};
        json_t *line;
        assert_ok(qw_json_parse(&line, c->line, strlen(c->line), "a case", &err));
        assert_ok(qw_task_add(&task, line, QW_SCORER_AUTO, &err));
        qw_score got;
        qw_score_reply(&got, &task.items[0], qw_str_of(c->reply));
        if (!qw_str_is((qw_str){got.found.ptr ? got.found.ptr : "", got.found.len}, c->found) ||
            got.is_right != c->is_right)
            fail_msg("case %zu, '%s': found '%.*s', %s", i, c->reply, (int)got.found.len,
                     got.found.ptr ? got.found.ptr : "", got.is_right ? "right" : "wrong");
        json_decref(line);
        qw_task_release(&task);
    }
}

static void test_numbers(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *first, *last; /* NULL: none */
    } texts[] = {
        {"", NULL, NULL},
        {"none", NULL, NULL},
        {"1,234 and 5,67", "1234", "67"},
        {"1,2345", "1", "2345"},
        {"3.14.", "3.14", "3.14"},
        {"v1.2.3", "1.2", "3"},
        {"-$5", "-5", "-5"},
        {"(-5)", "-5", "-5"},
        {"x-5", "5", "5"},
        {"007", "7", "7"},
        {"0.10", "0.1", "0.1"},
        {"000", "0", "0"},
        {"10", "10", "10"},
        {"100.00", "100", "100"},
        {"2\xE2\x80\x93"
         "3",
         "2", "3"},
    };
    char got[QW_SCORE_NUMBER_SIZE];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (int last = 0; last < 2; last++) {
            const char *want = last ? texts[i].last : texts[i].first;
            bool found = qw_score_number(got, qw_str_of(texts[i].text), last);
            if (found != (want != NULL) || (found && strcmp(got, want) != 0))
                fail_msg("'%s': %s, want %s", texts[i].text, found ? got : "none",
                         want ? want : "none");
        }
    }
    char many[200];
    memset(many, '7', sizeof many);
    assert_false(qw_score_number(got, (qw_str){many, sizeof many}, false));
    assert_true(qw_score_number(got, (qw_str){many, 120}, false));
    assert_int_equal(strlen(got), 120);
    assert_true(qw_score_whole_number(got, QW_STR(" $1,200.50% ")));
    assert_string_equal(got, "1200.5");
    assert_false(qw_score_whole_number(got, QW_STR("1 2")));
    assert_false(qw_score_whole_number(got, QW_STR("x1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
