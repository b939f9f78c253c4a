// qwench eval: how well a model answers, and what quantizing it has cost.

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/eval_texts.h"
#include "cli/json_lines.h"
#include "cli/offline.h"
#include "cli/session.h"
#include "cli/share.h"
#include "engine/engine_setup.h"
#include "eval/decode_speed.h"
#include "eval/eval_plot.h"
#include "eval/eval_report.h"
#include "format/opt_json.h"

typedef struct eval_options {
    const char *const *models;
    size_t n_models;
    const char *task, *instruction, *kl, *text, *json, *plot;
    int scorer;
    int64_t limit, text_length, greedy_texts, greedy_tokens;
    bool chat;
    qw_opt_json chat_template_kwargs;
} eval_options;

#define FIELD(x) offsetof(eval_options, x)

static const qw_opt rows[] = {
    {"model", QW_OPT_STRS, FIELD(models), FIELD(n_models), .positional = true, .append = true,
     .metavar = "MODEL_DIR", .def_note = "the built-in model",
     .help =
         "checkpoint directories, or hub ids, ORG/NAME, of models in a local cache; each gets a "
         "line in the table"},
    {"task", QW_OPT_STR, FIELD(task), .metavar = "FILE.jsonl",
     .help = "questions with their answers, a JSON object a line: {\"question\": ..., \"answer\": "
             "...}, also gsm8k's own file; docs/evaluation.md has all forms"},
    {"scorer", QW_OPT_CHOICE, FIELD(scorer), .def = "auto", .choices = qw_scorer_names,
     .help = "how answers are judged; auto: by what each line looks like"},
    {"limit", QW_OPT_INT, FIELD(limit), .def = "0", .min = 0, .max = 1e9, .human = true,
     .def_note = "all", .help = "ask only the first questions"},
    {"instruction", QW_OPT_STR, FIELD(instruction), .metavar = "TEXT",
     .def_note = "the scorer's own", .help = "what stands behind each question"},
    {"chat", QW_OPT_BOOL, FIELD(chat), .def = "true",
     .help = "ask through the model's chat template; else as plain text"},
    {"chat_template_kwargs", QW_OPT_JSON, FIELD(chat_template_kwargs),
     .help = "variables for the chat template: '{\"enable_thinking\": false}'"},
    {"kl", QW_OPT_STR, FIELD(kl), .metavar = "REF_DIR",
     .help = "compare each model with this one, token by token: what it was quantized from"},
    {"text", QW_OPT_STR, FIELD(text), .metavar = "FILE", .def_note = "48 texts of many kinds",
     .help = "what --kl compares on: a text, or *.jsonl with a line {\"text\": ...} for each"},
    {"text_length", QW_OPT_INT, FIELD(text_length), .def = "512", .min = 2, .max = 1 << 20,
     .human = true, .help = "tokens after which --kl cuts a text"},
    {"greedy_texts", QW_OPT_INT, FIELD(greedy_texts), .def = "16", .min = 0,
     .max = QW_DIVERGENCE_MAX_GREEDY,
     .help = "beginnings of texts that --kl lets both models go on with, to see where they part"},
    {"greedy_tokens", QW_OPT_INT, FIELD(greedy_tokens), .def = "64", .min = 0, .max = 1 << 16,
     .human = true, .help = "how far they go on"},
    {"json", QW_OPT_STR, FIELD(json), .metavar = "FILE",
     .help = "write all results, every answer too, to this file"},
    {"plot", QW_OPT_STR, FIELD(plot), .metavar = "FILE.svg",
     .help = "draw the scores against the speeds"},
};

typedef struct evaluation {
    const eval_options *o;
    qw_task task;
    json_t *template_kwargs; /* may be NULL */
    qw_sampling_params params;
    // Comparison
    qw_engine_args reference;
    char *texts_file; /* owned */
    qw_eval_texts texts;
    qw_eval_row *rows; /* [n_rows] */
    size_t n_rows;
} evaluation;

// What is asked

typedef struct task_reader {
    evaluation *e;
    size_t n_lines;
} task_reader;

static qw_status add_line(void *ctx, json_t *line, qw_error *err)
{
    const task_reader *r = ctx;
    size_t limit = (size_t)r->e->o->limit;
    if (limit > 0 && r->e->task.n == limit) return QW_OK;
    return qw_task_add(&r->e->task, line, (qw_scorer)r->e->o->scorer, err);
}

static qw_status read_task(evaluation *e, qw_error *err)
{
    task_reader r = {.e = e};
    qw_status st = qw_json_lines_read(e->o->task, add_line, &r, err);
    if (st == QW_OK && e->task.n == 0)
        st = qw_fail(err, QW_ERR_FORMAT, "'%s' asks nothing", e->o->task);
    return st == QW_OK ? QW_OK : qw_context(err, st, "--task");
}

static qw_status read_texts(qw_eval_texts *out, const evaluation *e, const qw_frontend *f,
                            qw_error *err)
{
    qw_status st = qw_frontend_need_tokenizer(f, err);
    if (st != QW_OK) return st;
    return qw_eval_texts_read(out, e->texts_file, f->tokenizer, (size_t)e->o->text_length, err);
}

// The model to compare with: its options, and the texts as its tokenizer sees them.
static qw_status open_reference(evaluation *e, const qw_model_options *model, qw_error *err)
{
    qw_frontend f;
    qw_model_options one = *model;
    one.model = e->o->kl;
    qw_status st = qw_engine_args_make(&e->reference, &one, err);
    if (st != QW_OK) return qw_context(err, st, "--kl");
    st = qw_frontend_open(&f, e->reference.model_dir, model->tokenizer, NULL,
                          e->reference.cache_dir, err);
    if (st != QW_OK) return qw_context(err, st, "--kl");
    if (!e->o->text) {
        st = qw_share_find(&e->texts_file, "eval/texts.jsonl", err);
    } else {
        e->texts_file = qw_mem_strdup(e->o->text);
        if (!e->texts_file) st = qw_fail_memory(err, 0, "a path");
    }
    if (st == QW_OK) {
        st = read_texts(&e->texts, e, &f, err);
        if (st != QW_OK) qw_context(err, st, "--text");
    }
    if (st == QW_OK) qw_engine_options_use_tokenizer(&e->reference.options, f.tokenizer);
    qw_frontend_close(&f);
    return st;
}

// Greedy, and room for an answer with its reasoning, unless told otherwise.
static qw_status read_params(evaluation *e, const qw_opts *opts, qw_error *err)
{
    qw_sampling_params_init(&e->params);
    e->params.temperature = 0;
    e->params.max_tokens = 1024;
    qw_status st = qw_sampling_params_apply_options(&e->params, opts, err);
    if (st == QW_OK && e->params.n != 1)
        st = qw_fail(err, QW_ERR_USAGE, "argument --n: a question has one answer here");
    const qw_sampling_limits limits = {.max_n = 1, .max_logprobs = -1};
    if (st == QW_OK) st = qw_sampling_params_validate(&e->params, &limits, NULL, err);
    return st;
}

// One model

// Find the model, and see that it can be read, before any other one is run.
static qw_status look_at(qw_eval_row *row, const qw_model_options *model, qw_error *err)
{
    qw_engine_args args;
    qw_model_config config;
    qw_checkpoint c;
    qw_status st = qw_engine_args_make(&args, model, err);
    if (st != QW_OK) return st;
    st = qw_model_config_load(&config, args.model_dir, args.hf_overrides, err);
    if (st == QW_OK) {
        st = qw_engine_checkpoint_open(&c, &args.options, &config, err);
        for (size_t i = 0; st == QW_OK && i < c.n_shards; i++) row->bytes += c.shards[i].size;
        if (st == QW_OK) qw_checkpoint_close(&c);
        qw_model_config_release(&config);
    }
    qw_engine_args_release(&args);
    return st;
}

static void show_progress(void *ctx, size_t n_done, size_t n_total)
{
    if (n_done < n_total) qw_offline_progress(ctx, n_done, n_total);
}

static qw_status run_task(qw_eval_row *row, const evaluation *e, const qw_session *s, qw_error *err)
{
    const qw_task_run_args args = {.engine = s->engine,
                                   .frontend = &s->frontend,
                                   .params = &e->params,
                                   .template_kwargs = e->template_kwargs,
                                   .instruction = e->o->instruction,
                                   .chat = e->o->chat,
                                   .progress = show_progress,
                                   .progress_ctx = (void *)(uintptr_t)row->model};
    qw_status st = qw_task_run(&row->task, &e->task, &args, err);
    if (st != QW_OK) return st;
    qw_offline_progress(row->model, row->task.n, row->task.n);
    row->has_task = true;
    return QW_OK;
}

// Another tokenizer makes other tokens of the texts: then there is nothing to compare.
static qw_status check_tokenizer(const evaluation *e, const qw_frontend *f, qw_error *err)
{
    qw_eval_texts texts;
    qw_status st = read_texts(&texts, e, f, err);
    if (st != QW_OK) return st;
    st = qw_eval_texts_compare(&e->texts, &texts, err);
    qw_eval_texts_release(&texts);
    return st;
}

static qw_status compare(qw_eval_row *row, const evaluation *e, const qw_model_options *model,
                         qw_error *err)
{
    qw_engine_args args;
    qw_status st = qw_engine_args_make(&args, model, err);
    if (st != QW_OK) return st;
    const qw_divergence_args d = {.reference = &e->reference.options,
                                  .other = &args.options,
                                  .texts = e->texts.texts,
                                  .n_texts = e->texts.n,
                                  .n_greedy = (size_t)e->o->greedy_texts,
                                  .greedy_tokens = (int32_t)e->o->greedy_tokens,
                                  .progress = show_progress,
                                  .progress_ctx = (void *)(uintptr_t)row->model};
    st = qw_divergence_run(&row->divergence, &d, err);
    qw_engine_args_release(&args);
    if (st != QW_OK) return st;
    qw_offline_progress(row->model, row->divergence.n_tokens, row->divergence.n_tokens);
    row->has_divergence = true;
    return QW_OK;
}

static qw_status run_model(qw_eval_row *row, const evaluation *e, const qw_model_options *model,
                           const qw_opts *opts, qw_error *err)
{
    qw_session s;
    qw_status st = qw_session_open(&s, model, opts, err);
    if (st != QW_OK) return st;
    if (e->o->kl) st = check_tokenizer(e, &s.frontend, err);
    if (st == QW_OK) st = qw_decode_speed(&row->decode_tokens_per_second, s.engine, err);
    if (st == QW_OK && e->o->task) st = run_task(row, e, &s, err);
    qw_session_close(&s);
    return st == QW_OK && e->o->kl ? compare(row, e, model, err) : st;
}

static qw_status run_models(evaluation *e, const qw_model_options *model, const qw_opts *opts,
                            qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < 2 * e->n_rows && st == QW_OK; i++) {
        qw_eval_row *row = &e->rows[i % e->n_rows];
        qw_model_options one = *model;
        one.model = e->o->n_models ? e->o->models[i % e->n_rows] : NULL;
        row->model = one.model ? one.model : "built-in";
        st = i < e->n_rows ? look_at(row, &one, err) : run_model(row, e, &one, opts, err);
        if (st != QW_OK) qw_context(err, st, "evaluating '%s'", row->model);
    }
    return st;
}

// Results

static qw_status write_file(const char *path, qw_buf *out, qw_error *err)
{
    qw_status st = qw_offline_write(path, out, err);
    qw_buf_release(out);
    return st;
}

static qw_status report(const evaluation *e, qw_error *err)
{
    qw_buf out;
    qw_buf_init(&out, (size_t)1 << 30);
    const qw_eval_report r = {.rows = e->rows,
                              .n = e->n_rows,
                              .task_file = e->o->task,
                              .reference = e->o->kl,
                              .texts_file = e->texts_file};
    qw_eval_report_table(&r, &out);
    qw_status st = qw_buf_check(&out, "the table", err);
    if (st == QW_OK && out.len > 0 && fwrite(out.data, 1, out.len, stdout) != out.len)
        st = qw_fail(err, QW_ERR_IO, "cannot write the output");
    qw_buf_release(&out);
    if (st == QW_OK && e->o->json) {
        qw_buf_init(&out, (size_t)1 << 32);
        qw_eval_report_json(&r, &out);
        st = write_file(e->o->json, &out, err);
    }
    if (st == QW_OK && e->o->plot) {
        qw_buf_init(&out, (size_t)1 << 24);
        qw_eval_plot(e->rows, e->n_rows, &out);
        st = write_file(e->o->plot, &out, err);
    }
    return st;
}

// Hours may pass before it is written: see now whether it can be.
static qw_status check_path(const char *path, qw_error *err)
{
    qw_file_writer w;
    if (!path) return QW_OK;
    qw_status st = qw_file_writer_open(&w, path, err);
    if (st == QW_OK) qw_file_writer_abort(&w);
    return st;
}

static qw_status check_options(const eval_options *o, qw_error *err)
{
    if (!o->task && !o->kl)
        return qw_fail(err, QW_ERR_USAGE, "nothing to find out: give --task, --kl or both");
    if (o->plot && !o->task)
        return qw_fail(err, QW_ERR_USAGE, "--plot draws scores: it needs --task");
    if (o->text && !o->kl) return qw_fail(err, QW_ERR_USAGE, "--text is for --kl");
    qw_status st = check_path(o->json, err);
    return st == QW_OK ? check_path(o->plot, err) : st;
}

static qw_status evaluate(evaluation *e, const qw_model_options *model, const qw_opts *opts,
                          qw_error *err)
{
    const qw_opt_json *kwargs = &e->o->chat_template_kwargs;
    qw_status st = check_options(e->o, err);
    if (st == QW_OK) st = read_params(e, opts, err);
    if (st == QW_OK && (kwargs->text || kwargs->n_assigns))
        st = qw_opt_json_merge(&e->template_kwargs, kwargs, "chat-template-kwargs", err);
    if (st == QW_OK && e->o->task) st = read_task(e, err);
    if (st == QW_OK && e->o->kl) st = open_reference(e, model, err);
    if (st != QW_OK) return st;
    e->n_rows = e->o->n_models ? e->o->n_models : 1;
    e->rows = qw_mem_calloc(e->n_rows, sizeof *e->rows);
    if (!e->rows) return qw_fail_memory(err, e->n_rows * sizeof *e->rows, "the results");
    st = run_models(e, model, opts, err);
    return st == QW_OK ? report(e, err) : st;
}

static void release(evaluation *e)
{
    for (size_t i = 0; i < e->n_rows && e->rows; i++) qw_eval_row_release(&e->rows[i]);
    qw_mem_free(e->rows);
    qw_task_release(&e->task);
    qw_eval_texts_release(&e->texts);
    qw_mem_free(e->texts_file);
    qw_engine_args_release(&e->reference);
    json_decref(e->template_kwargs);
    qw_sampling_params_release(&e->params);
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    out[1].rows = qw_model_options_rows(&out[1].n_rows);
    out[1].rows++; // the first names one model: here there may be several
    out[1].n_rows--;
    out[2].rows = qw_sampling_params_options(&out[2].n_rows);
    return 3;
}

static int cmd_eval(const qw_command_call *call)
{
    eval_options options = {0};
    qw_model_options model = {0};
    void *const targets[] = {&options, &model, NULL};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    evaluation e = {.o = &options};
    qw_status st = evaluate(&e, &model, &cli.opts, &err);
    release(&e);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench eval ~/models/Qwen3-0.6B --task gsm8k/test.jsonl --limit 200 --json scores.json",
     "how many of 200 word problems are solved?"},
    {"qwench eval ~/models/Qwen3-8B ~/models/Qwen3-8B-W8A8 --task questions.jsonl --plot cost.svg",
     "what does quantizing cost, and what does it bring?"},
    {"qwench eval ~/models/Qwen3-8B-W8A8 --kl ~/models/Qwen3-8B",
     "how far are its predictions from those of the model it was made of?"},
    {0},
};

const qw_command qw_cmd_eval = {
    .name = "eval",
    .help = "how well models answer, and what quantizing them has cost",
    .summary = "Scores models on questions with known answers, and compares them token by token.",
    .description =
        "Each model answers all questions in this process, many at a time, greedily unless "
        "sampling options say otherwise. A table gives each a line: size of its weight files, "
        "tokens a second of one sequence and of the whole batch, the share of right answers with "
        "its 95 % interval (Wilson). Truncated and empty answers are not right and are counted "
        "apart from wrong ones.\n\n"
        "With --kl each model reads the same texts as the reference, both in memory together: "
        "Kullback-Leibler divergence of each token's distribution from the reference's (mean, "
        "median, 99th percentile), tokens for which another one is the likeliest (flips), change "
        "of the perplexity with its 95 % interval (paired bootstrap), how many greedy texts stay "
        "the same and where the others part, and how far the residual stream is off behind each "
        "layer.",
    .examples = examples,
    .run = cmd_eval,
    .tables = tables,
};
