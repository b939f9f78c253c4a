// Lines of task files: which scorer, what is asked, what is refused.
#include "test_util.h"

#include "eval/task.h"

static qw_status add(qw_task *task, const char *text, qw_scorer scorer, qw_error *err)
{
    json_t *line;
    if (qw_json_parse(&line, text, strlen(text), "a line", err) != QW_OK) fail_msg("%s", err->text);
    qw_status st = qw_task_add(task, line, scorer, err);
    json_decref(line);
    return st;
}

static void test_scorers(void **unused)
{
    (void)unused;
    qw_error err;
    static const struct {
        const char *line;
        qw_scorer given, want;
    } lines[] = {
        {"{\"question\": \"q\", \"answer\": \"x\\n#### 4\"}", QW_SCORER_AUTO, QW_SCORER_GSM8K},
        {"{\"question\": \"q\", \"answer\": \"4\"}", QW_SCORER_AUTO, QW_SCORER_ARITHMETIC},
        {"{\"question\": \"q\", \"answer\": 4}", QW_SCORER_AUTO, QW_SCORER_ARITHMETIC},
        {"{\"question\": \"q\", \"answer\": \"four\"}", QW_SCORER_AUTO, QW_SCORER_EXACT},
        {"{\"question\": \"q\", \"answer\": [\"4\"]}", QW_SCORER_AUTO, QW_SCORER_EXACT},
        {"{\"question\": \"q\", \"choices\": [\"3\", \"4\"], \"answer\": \"4\"}", QW_SCORER_AUTO,
         QW_SCORER_CHOICE},
        {"{\"question\": \"q\", \"answer\": \"4\"}", QW_SCORER_EXACT, QW_SCORER_EXACT},
        {"{\"question\": \"q\", \"answer\": \"4\", \"scorer\": \"arithmetic\"}", QW_SCORER_EXACT,
         QW_SCORER_ARITHMETIC},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}], \"answer\": \"4\"}",
         QW_SCORER_AUTO, QW_SCORER_ARITHMETIC},
    };
    qw_task task = {0};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_ok(add(&task, lines[i].line, lines[i].given, &err));
        assert_int_equal(task.items[i].scorer, lines[i].want);
    }
    assert_int_equal(task.n, sizeof lines / sizeof *lines);
    qw_task_release(&task);
}

static void test_questions(void **unused)
{
    (void)unused;
    qw_error err;
    static const struct {
        const char *line, *instruction, *want;
    } lines[] = {
        {"{\"question\": \"How many?\", \"answer\": \"4\"}", NULL, "How many?"},
        {"{\"question\": \"How many?\", \"answer\": \"4\"}", "Be brief.", "How many?\n\nBe brief."},
        {"{\"question\": \"Which?\", \"choices\": [\"x\", \"y\"], \"answer\": 0}", NULL,
         "Which?\n\nA. x\nB. y\n\nAnswer with the letter of the right choice."},
        {"{\"question\": \"Which?\", \"choices\": [\"x\", \"y\"], \"answer\": 0}", "",
         "Which?\n\nA. x\nB. y"},
    };
    qw_buf out;
    qw_buf_init(&out, 1 << 16);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        qw_task task = {0};
        assert_ok(add(&task, lines[i].line, QW_SCORER_AUTO, &err));
        qw_buf_clear(&out);
        qw_task_write_question(&task.items[0], lines[i].instruction, &out);
        assert_string_equal(out.data, lines[i].want);
        qw_task_release(&task);
    }
    qw_buf_release(&out);
}

static void test_refusals(void **unused)
{
    (void)unused;
    qw_error err;
    static const struct {
        const char *line;
        qw_scorer scorer;
        const char *said;
    } lines[] = {
        {"{\"answer\": \"4\"}", QW_SCORER_AUTO, "nothing is asked"},
        {"{\"question\": 4, \"answer\": \"4\"}", QW_SCORER_AUTO, "nothing is asked"},
        {"{\"question\": \"q\", \"messages\": [{}], \"answer\": \"4\"}", QW_SCORER_AUTO,
         "not both"},
        {"{\"messages\": [], \"answer\": \"4\"}", QW_SCORER_AUTO, "nothing is asked"},
        {"{\"question\": \"q\"}", QW_SCORER_AUTO, "there is none"},
        {"{\"question\": \"q\", \"answer\": null}", QW_SCORER_AUTO, "null"},
        {"{\"question\": \"q\", \"answer\": []}", QW_SCORER_AUTO, "array"},
        {"{\"question\": \"q\", \"answer\": [1]}", QW_SCORER_AUTO, "array"},
        {"{\"question\": \"q\", \"answer\": {}}", QW_SCORER_AUTO, "object"},
        {"{\"question\": \"q\", \"answer\": \"#### four\"}", QW_SCORER_AUTO, "'#### '"},
        {"{\"question\": \"q\", \"answer\": \"4\"}", QW_SCORER_GSM8K, "'#### '"},
        {"{\"question\": \"q\", \"answer\": \"four\"}", QW_SCORER_ARITHMETIC, "must be a number"},
        {"{\"question\": \"q\", \"answer\": \"A\"}", QW_SCORER_CHOICE, "'choices'"},
        {"{\"question\": \"q\", \"choices\": [\"x\"], \"answer\": 0}", QW_SCORER_AUTO, "'choices'"},
        {"{\"question\": \"q\", \"choices\": [\"x\", \"y\"], \"answer\": 2}", QW_SCORER_AUTO,
         "from 0 to 1"},
        {"{\"question\": \"q\", \"choices\": [\"x\", \"y\"], \"answer\": -1}", QW_SCORER_AUTO,
         "from A to B"},
        {"{\"question\": \"q\", \"choices\": [\"x\", \"y\"], \"answer\": \"C\"}", QW_SCORER_AUTO,
         "from A to B"},
        {"{\"question\": \"q\", \"choices\": [\"x\", \"y\"]}", QW_SCORER_AUTO, "from A to B"},
        {"{\"question\": \"q\", \"answer\": \"4\", \"scorer\": \"rouge\"}", QW_SCORER_AUTO,
         "rouge"},
        {"{\"question\": \"q\", \"answer\": \"4\", \"scorer\": 4}", QW_SCORER_AUTO, "integer"},
    };
    qw_task task = {0};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_fails(add(&task, lines[i].line, lines[i].scorer, &err), QW_ERR_FORMAT,
                     lines[i].said);
    assert_int_equal(task.n, 0);
    qw_task_release(&task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scorers),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
