#include "eval/task_run.h"

#include "base/clock.h"
#include "engine/output.h"
#include "eval/score.h"

enum { MAX_PROMPT = 64 << 20, MAX_TEXT = 1 << 30 };

const char *qw_outcome_name(qw_outcome outcome)
{
    static const char *const names[] = {"right", "wrong", "truncated", "empty"};
    return names[outcome];
}

typedef struct runner runner;

/** One question on its way. */
typedef struct question {
    runner *run;
    qw_ids prompt;
    qw_output output; /* begun once `has_output` */
    bool has_output;
    uint64_t id; /* of the request */
    qw_finish_reason finish;
} question;

struct runner {
    const qw_task_run_args *args;
    question *questions; /* [n] */
    size_t n, n_done;
    qw_error error; /* the first in a sink; code QW_OK: none */
};

// What the engine tells

static bool on_token(void *ctx, const qw_token_event *event)
{
    question *q = ctx;
    qw_error *first = &q->run->error, err;
    bool stopped = false;
    qw_status st = QW_OK;
    q->finish = event->finish;
    if (event->error) {
        st = event->error->code;
        err = *event->error;
    } else if (event->id >= 0) {
        st = qw_output_push(&q->output, event->id, event->finish == QW_FINISH_STOP, &stopped, &err);
    }
    if (stopped) q->finish = QW_FINISH_STOP;
    if (st == QW_OK) return stopped;
    if (first->code == QW_OK) *first = err;
    return true;
}

static void on_done(void *ctx, const qw_request_facts *facts)
{
    (void)facts;
    ((question *)ctx)->run->n_done++;
}

// Asking

static json_t *chat_request(const qw_task_run_args *args, const qw_task_item *item, qw_str text)
{
    json_t *messages = json_deep_copy(item->messages), *request = json_object();
    if (!item->messages)
        messages = json_pack("[{s:s, s:s%}]", "role", "user", "content", text.ptr ? text.ptr : "",
                             text.len);
    bool ok = messages && request && json_object_set(request, "messages", messages) == 0;
    if (ok && args->template_kwargs)
        ok = json_object_set(request, "chat_template_kwargs",
                             (json_t *)(uintptr_t)args->template_kwargs) == 0;
    json_decref(messages);
    if (ok) return request;
    json_decref(request);
    return NULL;
}

static json_t *text_request(qw_str text)
{
    return json_pack("{s:s%}", "prompt", text.ptr ? text.ptr : "", text.len);
}

static qw_status make_prompt(question *q, const qw_task_item *item, qw_error *err)
{
    const qw_task_run_args *args = q->run->args;
    qw_buf text;
    qw_buf_init(&text, MAX_PROMPT);
    if (!args->chat) qw_buf_puts(&text, "Question: ");
    qw_task_write_question(item, args->instruction, &text);
    if (!args->chat) qw_buf_puts(&text, "\nAnswer:");
    qw_status st = qw_buf_check(&text, "a question", err);
    if (st == QW_OK && item->messages && !args->chat)
        st = qw_fail(err, QW_ERR_USAGE, "messages need a chat template: --no-chat cannot be");
    if (st == QW_OK) {
        const qw_str asked = {text.data, text.len};
        json_t *request = args->chat ? chat_request(args, item, asked) : text_request(asked);
        st = request ? qw_frontend_prompt_ids(args->frontend, request, &q->prompt, err)
                     : qw_fail_memory(err, text.len, "a question");
        json_decref(request);
    }
    qw_buf_release(&text);
    return st;
}

static qw_status submit(question *q, const qw_task_item *item, qw_error *err)
{
    const qw_task_run_args *args = q->run->args;
    qw_sampling_params params;
    qw_sampling_params_init(&params);
    qw_status st = make_prompt(q, item, err);
    if (st == QW_OK) st = qw_sampling_params_copy(&params, args->params, err);
    if (st == QW_OK)
        st = qw_output_init(&q->output, args->frontend->tokenizer, args->params, q->prompt.data,
                            q->prompt.len, err);
    q->has_output = st == QW_OK;
    const qw_request_sink sink = {.ctx = q, .token = on_token, .done = on_done};
    if (st == QW_OK)
        st = qw_engine_submit(args->engine, q->prompt.data, q->prompt.len, &params, NULL, &sink,
                              &q->id, err);
    qw_sampling_params_release(&params);
    return st;
}

// Judging

// A template may open the thinking block itself: then the reply begins inside of it.
static bool begins_thinking(const question *q)
{
    enum { TAIL = 8 };
    size_t n = q->prompt.len < TAIL ? q->prompt.len : TAIL;
    qw_buf text;
    qw_buf_init(&text, MAX_PROMPT);
    qw_tokenizer_decode(q->run->args->frontend->tokenizer, q->prompt.data + q->prompt.len - n, n,
                        false, &text);
    while (text.len > 0 && strchr(" \n", text.data[text.len - 1])) text.len--;
    bool is_open = text.data && qw_str_ends_with((qw_str){text.data, text.len}, QW_STR("<think>"));
    qw_buf_release(&text);
    return is_open;
}

static qw_status judge(qw_task_answer *a, const question *q, const qw_task_item *item,
                       qw_error *err)
{
    qw_score score;
    if (begins_thinking(q)) qw_buf_puts(&a->text, "<think>\n");
    qw_buf_append(&a->text, q->output.text.data, q->output.text.len);
    const qw_str text = {a->text.data ? a->text.data : "", a->text.len};
    qw_score_reply(&score, item, text);
    a->is_right = score.is_right;
    a->n_tokens = q->output.n_tokens;
    if (score.found.ptr) qw_buf_append(&a->found, score.found.ptr, score.found.len);
    if (q->finish == QW_FINISH_LENGTH)
        a->outcome = QW_OUTCOME_TRUNCATED;
    else if (qw_score_final(text).len == 0)
        a->outcome = QW_OUTCOME_EMPTY;
    else
        a->outcome = score.is_right ? QW_OUTCOME_RIGHT : QW_OUTCOME_WRONG;
    qw_status st = qw_buf_check(&a->text, "an answer", err);
    return st == QW_OK ? qw_buf_check(&a->found, "an answer", err) : st;
}

static qw_status judge_all(qw_task_result *r, const runner *run, const qw_task *task, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < r->n && st == QW_OK; i++) {
        const question *q = &run->questions[i];
        qw_task_answer *a = &r->answers[i];
        st = judge(a, q, &task->items[i], err);
        r->n_outcomes[a->outcome]++;
        r->n_truncated_right += a->outcome == QW_OUTCOME_TRUNCATED && a->is_right;
        r->n_prompt_tokens += (int64_t)q->prompt.len;
        r->n_output_tokens += a->n_tokens;
    }
    return st;
}

void qw_task_result_release(qw_task_result *r)
{
    for (size_t i = 0; i < r->n && r->answers; i++) {
        qw_buf_release(&r->answers[i].text);
        qw_buf_release(&r->answers[i].found);
    }
    qw_mem_free(r->answers);
    *r = (qw_task_result){0};
}

static qw_status ask_all(qw_task_result *r, runner *run, const qw_task *task, qw_error *err)
{
    qw_engine *engine = run->args->engine;
    int64_t start_ns = qw_clock_ns();
    qw_status st = QW_OK;
    size_t n_submitted = 0;
    for (; n_submitted < run->n && st == QW_OK; n_submitted++) {
        run->questions[n_submitted].run = run;
        st = submit(&run->questions[n_submitted], &task->items[n_submitted], err);
        if (st != QW_OK) qw_context(err, st, "question %zu", n_submitted + 1);
    }
    for (size_t i = 0; i + 1 < n_submitted && st != QW_OK; i++)
        qw_engine_cancel(engine, run->questions[i].id);
    while (qw_engine_step(engine))
        if (run->args->progress) run->args->progress(run->args->progress_ctx, run->n_done, run->n);
    r->seconds = (double)(qw_clock_ns() - start_ns) * 1e-9;
    if (st == QW_OK && run->error.code != QW_OK)
        st = qw_fail(err, run->error.code, "%s", run->error.text);
    return st == QW_OK ? judge_all(r, run, task, err) : st;
}

qw_status qw_task_run(qw_task_result *out, const qw_task *task, const qw_task_run_args *args,
                      qw_error *err)
{
    runner run = {.args = args, .n = task->n};
    qw_task_result r = {.n = task->n};
    qw_status st = qw_frontend_need_tokenizer(args->frontend, err);
    if (st != QW_OK) return st;
    run.questions = qw_mem_calloc(run.n, sizeof *run.questions);
    r.answers = qw_mem_calloc(r.n, sizeof *r.answers);
    if (!run.questions || !r.answers)
        st = qw_fail_memory(err, run.n * sizeof *run.questions, "the questions");
    for (size_t i = 0; i < r.n && r.answers; i++) {
        qw_buf_init(&r.answers[i].text, MAX_TEXT);
        qw_buf_init(&r.answers[i].found, MAX_TEXT);
    }
    if (st == QW_OK) st = ask_all(&r, &run, task, err);
    for (size_t i = 0; i < run.n && run.questions; i++) {
        qw_ids_release(&run.questions[i].prompt);
        if (run.questions[i].has_output) qw_output_release(&run.questions[i].output);
    }
    qw_mem_free(run.questions);
    if (st == QW_OK)
        *out = r;
    else
        qw_task_result_release(&r);
    return st;
}
