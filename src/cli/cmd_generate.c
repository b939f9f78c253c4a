// qwench generate: a prompt, or a file of requests, through the engine; answers in input order.

#include "base/log.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/json_lines.h"
#include "cli/session.h"
#include "format/opt_json.h"

typedef struct generate_options {
    const char *prompt, *system, *prompt_ids, *file, *dump_logits;
    bool chat, json;
    qw_opt_json chat_template_kwargs;
} generate_options;

#define FIELD(x) offsetof(generate_options, x)

static const qw_opt rows[] = {
    {"prompt", QW_OPT_STR, FIELD(prompt), .shorts = "p", .metavar = "TEXT", .help = "the prompt"},
    {"chat", QW_OPT_FLAG, FIELD(chat),
     .help = "the prompt is a user's message: apply the chat template"},
    {"system", QW_OPT_STR, FIELD(system), .metavar = "TEXT",
     .help = "with --chat: a system message"},
    {"chat_template_kwargs", QW_OPT_JSON, FIELD(chat_template_kwargs),
     .help = "variables for the chat template: '{\"enable_thinking\": false}'"},
    {"prompt_ids", QW_OPT_STR, FIELD(prompt_ids), .metavar = "3,17,9",
     .help = "the prompt as token ids, separated by commas"},
    {"file", QW_OPT_STR, FIELD(file), .shorts = "f", .metavar = "FILE.jsonl",
     .help = "a request a line, - for standard input: prompt, prompt_token_ids or messages (with "
             "tools, "
             "chat_template_kwargs), and any sampling field; all run together"},
    {"json", QW_OPT_FLAG, FIELD(json), .help = "print a JSON line for each answer"},
    {"dump_logits", QW_OPT_STR, FIELD(dump_logits), .metavar = "FILE.safetensors",
     .help = "write the raw logits of every position of the one request"},
};

typedef struct run run;

/** One request and its answers. */
typedef struct job {
    run *run;
    qw_ids prompt;
    qw_sampling_params params;
    qw_answer *answers; /* [params.n] */
    int64_t n_answers;  /* made so far: params.n once it is submitted */
    qw_buf prompt_logprobs;
    bool wants_prompt_logprobs;
} job;

struct run {
    const generate_options *options;
    qw_session session;
    json_t *template_kwargs; /* for requests that bring none; may be NULL */
    job **jobs;
    size_t n_jobs, cap;
    size_t i_job;     /* the first job that is not wholly printed ... */
    int64_t i_answer; /* ... and its answer */
    float *logits;    /* --dump-logits: [max_rows][vocab] */
    size_t logits_size, n_logit_rows, max_logit_rows;
    qw_status status; /* first failure inside a sink */
    qw_error *err;
};

// What the engine tells

static bool fail_run(run *r, qw_status st)
{
    if (r->status == QW_OK) r->status = st;
    return true;
}

static bool on_token(void *ctx, const qw_token_event *event)
{
    job *j = ctx;
    run *r = j->run;
    qw_answer *a = &j->answers[event->child];
    if (event->finish == QW_FINISH_ABORT) {
        a->finish = QW_FINISH_ABORT;
        if (r->status == QW_OK && event->error) {
            *r->err = *event->error;
            return fail_run(r, event->error->code);
        }
        return true;
    }
    bool stopped = false;
    qw_status st = qw_answer_add(a, event, &stopped, r->err);
    return st == QW_OK ? stopped : fail_run(r, st);
}

static void on_prompt_logprobs(void *ctx, int32_t position, const qw_logprob *logprobs, size_t n)
{
    job *j = ctx;
    (void)position; // ascending from 1
    if (j->prompt_logprobs.len) qw_buf_puts(&j->prompt_logprobs, ", ");
    qw_logprobs_write(&j->prompt_logprobs, j->run->session.frontend.tokenizer, logprobs, n);
}

static void on_logits(void *ctx, int32_t position, const float *row, int32_t vocab_size)
{
    run *r = ((job *)ctx)->run;
    QW_ASSERT((size_t)position == r->n_logit_rows && r->n_logit_rows < r->max_logit_rows);
    memcpy(r->logits + r->n_logit_rows++ * (size_t)vocab_size, row,
           (size_t)vocab_size * sizeof *row);
}

// Requests

static void job_free(job *j)
{
    if (!j) return;
    for (int64_t i = 0; i < j->n_answers; i++) qw_answer_release(&j->answers[i]);
    qw_mem_free(j->answers);
    qw_sampling_params_release(&j->params);
    qw_ids_release(&j->prompt);
    qw_buf_release(&j->prompt_logprobs);
    qw_mem_free(j);
}

// Keys of a request that are known and no sampling field; others that look like a slip are warned
// of.
static void warn_of_slips(const json_t *request)
{
    static const char *const known[] = {"prompt",
                                        "prompt_token_ids",
                                        "messages",
                                        "tools",
                                        "chat_template_kwargs",
                                        "add_generation_prompt",
                                        "continue_final_message",
                                        "max_completion_tokens",
                                        "top_logprobs",
                                        "response_format",
                                        "structured_outputs",
                                        "model",
                                        "stream",
                                        "user",
                                        "echo"};
    size_t n_rows;
    const qw_opt *fields = qw_sampling_params_options(&n_rows);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)request, key, value)
    {
        bool found = false;
        qw_nearest near;
        qw_nearest_init(&near, qw_str_of(key));
        for (size_t i = 0; i < QW_ARRAY_LEN(known) && !found; i++) {
            found = strcmp(known[i], key) == 0;
            qw_nearest_offer(&near, known[i]);
        }
        for (size_t i = 0; i < n_rows && !found; i++) {
            found = strcmp(fields[i].name, key) == 0;
            qw_nearest_offer(&near, fields[i].name);
        }
        if (!found && near.name)
            QW_LOG(QW_LOG_WARN, "generate", "field '%s' is unknown and ignored; did you mean '%s'?",
                   key, near.name);
    }
}

static qw_status job_prepare(job *j, const json_t *request, qw_error *err)
{
    run *r = j->run;
    warn_of_slips(request);
    qw_status st = qw_frontend_prompt_ids(&r->session.frontend, request, &j->prompt, err);
    if (st == QW_OK) st = qw_sampling_params_apply_json(&j->params, request, err);
    qw_sampling_limits limits = {.max_n = 16384,
                                 .max_logprobs = -1,
                                 .vocab_size = qw_engine_config(r->session.engine)->vocab_size};
    if (st == QW_OK) st = qw_sampling_params_validate(&j->params, &limits, NULL, err);
    if (st == QW_OK && j->params.n_bad_words > 0)
        st = qw_frontend_bad_words(&r->session.frontend, &j->params, err);
    if (st == QW_OK) st = qw_frontend_grammar(&r->session.frontend, request, &j->params, NULL, err);
    if (st == QW_OK && j->params.n_stop > 0)
        st = qw_frontend_need_tokenizer(&r->session.frontend, err);
    return st;
}

static qw_status job_submit(job *j, qw_error *err)
{
    run *r = j->run;
    j->answers = qw_mem_calloc((size_t)j->params.n, sizeof *j->answers);
    if (!j->answers)
        return qw_fail_memory(err, (size_t)j->params.n * sizeof *j->answers, "answers");
    qw_status st = QW_OK;
    for (; j->n_answers < j->params.n && st == QW_OK; j->n_answers++)
        st = qw_answer_init(&j->answers[j->n_answers], r->session.frontend.tokenizer, &j->params,
                            j->prompt.data, j->prompt.len, err);
    qw_sampling_params params;
    qw_sampling_params_init(&params);
    if (st == QW_OK) st = qw_sampling_params_copy(&params, &j->params, err);
    qw_request_sink sink = {.ctx = j,
                            .token = on_token,
                            .prompt_logprobs = on_prompt_logprobs,
                            .logits = r->options->dump_logits ? on_logits : NULL};
    if (st == QW_OK)
        st = qw_engine_submit(r->session.engine, j->prompt.data, j->prompt.len, &params, NULL,
                              &sink, NULL, err);
    qw_sampling_params_release(&params);
    return st;
}

// Check one request and put it in line; nothing runs yet.
static qw_status add_request(void *ctx, json_t *request, qw_error *err)
{
    run *r = ctx;
    if (r->template_kwargs && !json_object_get(request, "chat_template_kwargs") &&
        json_object_set(request, "chat_template_kwargs", r->template_kwargs) != 0)
        return qw_fail_memory(err, 0, "a request");
    if (r->n_jobs == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 16;
        job **jobs = qw_mem_realloc(r->jobs, cap * sizeof(job *));
        if (!jobs) return qw_fail_memory(err, cap * sizeof(job *), "the list of requests");
        r->jobs = jobs;
        r->cap = cap;
    }
    job *j = qw_mem_calloc(1, sizeof *j);
    if (!j) return qw_fail_memory(err, sizeof *j, "a request");
    j->run = r;
    qw_buf_init(&j->prompt_logprobs, (size_t)1 << 30);
    qw_sampling_params_init(&j->params);
    qw_status st = qw_sampling_params_copy(&j->params, &r->session.defaults, err);
    if (st == QW_OK) st = job_prepare(j, request, err);
    j->wants_prompt_logprobs = j->params.prompt_logprobs != QW_LOGPROBS_OFF;
    if (st == QW_OK) st = job_submit(j, err);
    if (st != QW_OK) {
        job_free(j);
        return st;
    }
    r->jobs[r->n_jobs++] = j;
    return QW_OK;
}

// "3,17,9"
static qw_status parse_ids(json_t *request, const char *text, qw_error *err)
{
    json_t *list = json_array();
    qw_status st = list ? QW_OK : qw_fail_memory(err, 0, "a request");
    for (const char *p = text; st == QW_OK; p++) {
        size_t len = strcspn(p, ",");
        const char *from = p, *to = p + len;
        while (from < to && *from == ' ') from++;
        while (to > from && to[-1] == ' ') to--;
        int64_t id;
        if (!qw_str_to_i64((qw_str){from, (size_t)(to - from)}, &id) || id < 0 || id > INT32_MAX)
            st = qw_fail(err, QW_ERR_USAGE, "argument --prompt-ids: '%.*s' is no token id",
                         (int)(to - from), from);
        else if (json_array_append_new(list, json_integer(id)) != 0)
            st = qw_fail_memory(err, 0, "a request");
        p += len;
        if (*p == '\0') break;
    }
    if (st == QW_OK && json_object_set(request, "prompt_token_ids", list) != 0)
        st = qw_fail_memory(err, 0, "a request");
    json_decref(list);
    return st;
}

static json_t *message(const char *role, const char *text)
{
    return json_pack("{s:s, s:s}", "role", role, "content", text);
}

static qw_status check_text(const char *text, const char *what, qw_error *err)
{
    if (!text || qw_utf8_is_valid(qw_str_of(text))) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE, "the %s is no valid UTF-8 text", what);
}

// The request that the command line describes, as a JSON object like a line of a file.
static qw_status command_line_request(run *r, qw_error *err)
{
    const generate_options *o = r->options;
    qw_status st = check_text(o->prompt, "prompt", err);
    if (st == QW_OK) st = check_text(o->system, "system message", err);
    if (st != QW_OK) return st;
    json_t *request = json_object(), *messages = NULL;
    bool ok = request != NULL;
    if (ok && o->prompt_ids) {
        st = parse_ids(request, o->prompt_ids, err);
    } else if (ok && o->chat) {
        messages = json_array();
        ok = messages && json_object_set(request, "messages", messages) == 0;
        if (ok && o->system)
            ok = json_array_append_new(messages, message("system", o->system)) == 0;
        if (ok) ok = json_array_append_new(messages, message("user", o->prompt)) == 0;
    } else if (ok) {
        ok = json_object_set_new(request, "prompt", json_string(o->prompt)) == 0;
    }
    if (!ok) st = qw_fail_memory(err, 0, "a request");
    if (st == QW_OK) st = add_request(r, request, err);
    json_decref(messages);
    json_decref(request);
    return st;
}

static qw_status check_choice(const generate_options *o, qw_error *err)
{
    int n = (o->prompt != NULL) + (o->prompt_ids != NULL) + (o->file != NULL);
    if (n != 1)
        return qw_fail(err, QW_ERR_USAGE, "%s of --prompt (-p), --prompt-ids and --file (-f)",
                       n == 0 ? "give one" : "give only one");
    if (o->chat && !o->prompt)
        return qw_fail(err, QW_ERR_USAGE, "--chat needs --prompt; in a file, write messages");
    if (o->system && !o->chat) return qw_fail(err, QW_ERR_USAGE, "--system needs --chat");
    return QW_OK;
}

// Answers

static qw_status print(const char *data, size_t len, qw_error *err)
{
    if (len > 0 && fwrite(data, 1, len, stdout) != len)
        return qw_fail(err, QW_ERR_IO, "cannot write the output");
    return QW_OK;
}

static qw_status print_json(const job *j, int64_t i_answer, qw_error *err)
{
    qw_status st = qw_buf_check(&j->prompt_logprobs, "the prompt's log-probabilities", err);
    if (st != QW_OK) return st;
    qw_buf line;
    qw_buf_init(&line, SIZE_MAX / 2);
    qw_answer_write(&j->answers[i_answer], (int32_t)i_answer, &j->prompt,
                    j->wants_prompt_logprobs ? &j->prompt_logprobs : NULL, &line);
    st = qw_buf_check(&line, "a line of output", err);
    if (st == QW_OK) st = print(line.data, line.len, err);
    qw_buf_release(&line);
    return st;
}

// Without a tokenizer the answer is its ids.
static qw_status print_bare_ids(const qw_answer *a, qw_error *err)
{
    for (size_t i = 0; i < a->ids.len; i++) printf("%s%d", i ? "," : "", a->ids.data[i]);
    return print("\n", 1, err);
}

// Print what has become known of the first unfinished answer, and of those behind it.
static qw_status print_progress(run *r, qw_error *err)
{
    qw_status st = QW_OK;
    while (r->i_job < r->n_jobs && st == QW_OK) {
        job *j = r->jobs[r->i_job];
        qw_answer *a = &j->answers[r->i_answer];
        bool done = a->finish != QW_FINISH_NONE;
        if (!r->options->json && a->tokenizer) {
            qw_str fresh = qw_output_take(&a->output, done);
            st = print(fresh.ptr, fresh.len, err);
            if (done && st == QW_OK) st = print("\n", 1, err);
        } else if (done) {
            st = r->options->json ? print_json(j, r->i_answer, err) : print_bare_ids(a, err);
        }
        if (!done) break;
        if (++r->i_answer < j->params.n) continue;
        r->i_answer = 0;
        r->i_job++;
    }
    if (st == QW_OK && fflush(stdout) != 0) st = qw_fail(err, QW_ERR_IO, "cannot write the output");
    return st;
}

static qw_status dump_begin(run *r, qw_error *err)
{
    if (r->n_jobs != 1 || r->jobs[0]->params.n != 1)
        return qw_fail(err, QW_ERR_USAGE,
                       "--dump-logits takes exactly one request with n = 1, got %zu", r->n_jobs);
    const job *j = r->jobs[0];
    size_t max_len = (size_t)qw_engine_plan(r->session.engine)->max_model_len;
    size_t v = (size_t)qw_engine_config(r->session.engine)->vocab_size;
    r->max_logit_rows = max_len;
    if (j->params.max_tokens > 0 && j->prompt.len + (size_t)j->params.max_tokens - 1 < max_len)
        r->max_logit_rows = j->prompt.len + (size_t)j->params.max_tokens - 1;
    r->logits_size = r->max_logit_rows * v * sizeof *r->logits;
    r->logits = qw_mem_map(r->logits_size, 4096); // committed row by row
    return r->logits ? QW_OK : qw_fail_memory(err, r->logits_size, "the logits");
}

static qw_status dump_end(const run *r, qw_error *err)
{
    size_t v = (size_t)qw_engine_config(r->session.engine)->vocab_size;
    const size_t shape[2] = {r->n_logit_rows, v};
    qw_stored_tensor t = {.name = "logits",
                          .dtype = QW_DTYPE_F32,
                          .rank = 2,
                          .shape = shape,
                          .data = (const uint8_t *)r->logits,
                          .size = r->n_logit_rows * v * sizeof *r->logits};
    return qw_safetensors_write(r->options->dump_logits, &t, 1, NULL, 0, err);
}

static qw_status run_all(run *r, qw_error *err)
{
    qw_status st = r->options->file ? qw_json_lines_read(r->options->file, add_request, r, err)
                                    : command_line_request(r, err);
    if (st == QW_OK && r->options->dump_logits) st = dump_begin(r, err);
    while (st == QW_OK && qw_engine_step(r->session.engine)) {
        st = r->status;
        if (st == QW_OK) st = print_progress(r, err);
    }
    if (st == QW_OK && r->options->dump_logits) st = dump_end(r, err);
    return st;
}

static void run_release(run *r)
{
    qw_session_close(&r->session); // tells the sinks of what is left: before the jobs go
    for (size_t i = 0; i < r->n_jobs; i++) job_free(r->jobs[i]);
    qw_mem_free(r->jobs);
    qw_mem_unmap(r->logits, r->logits_size);
    json_decref(r->template_kwargs);
}

static qw_status generate(const generate_options *o, const qw_model_options *mo,
                          const qw_opts *opts, qw_error *err)
{
    run r = {.options = o, .err = err};
    qw_status st = check_choice(o, err);
    const qw_opt_json *kwargs = &o->chat_template_kwargs;
    if (st == QW_OK && (kwargs->text || kwargs->n_assigns))
        st = qw_opt_json_merge(&r.template_kwargs, kwargs, "chat-template-kwargs", err);
    if (st == QW_OK) st = qw_session_open(&r.session, mo, opts, err);
    if (st == QW_OK) st = run_all(&r, err);
    r.status = st; // keeps the sinks from writing over the error while the engine closes
    run_release(&r);
    return st;
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    out[1].rows = qw_model_options_rows(&out[1].n_rows);
    out[2].rows = qw_sampling_params_options(&out[2].n_rows);
    return 3;
}

static int cmd_generate(const qw_command_call *call)
{
    generate_options options = {0};
    qw_model_options model = {0};
    void *const targets[] = {&options, &model, NULL};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    qw_status st = generate(&options, &model, &cli.opts, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench generate -p \"Once upon a time\" --max-tokens 50", "go on with a text"},
    {"qwench generate --chat --temperature 0 -p \"What is 47 + 38?\"",
     "answer a question, the same way every time"},
    {"qwench generate ~/models/Qwen3-0.6B -f requests.jsonl --json > answers.jsonl",
     "answer all requests of a file together, in their order"},
    {0},
};

const qw_command qw_cmd_generate = {
    .name = "generate",
    .help = "answer a prompt, or a file of prompts",
    .summary = "Answers a prompt, or every request of a file.",
    .description =
        "The answer to a single prompt is printed as it grows. Requests of a file run together, as "
        "many at a time as fit; their answers come in the order of the file.\n\n"
        "A line of the file is a JSON object: \"prompt\" (a text), \"prompt_token_ids\" (a list) "
        "or "
        "\"messages\" (a conversation, with \"tools\" and \"chat_template_kwargs\" if wanted), and "
        "any sampling field under its API name, such as \"max_tokens\" or \"temperature\". What a "
        "line does not say comes from the command line, then from the model.",
    .examples = examples,
    .run = cmd_generate,
    .tables = tables,
};
