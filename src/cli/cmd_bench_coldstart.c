// qwench bench coldstart: from exec over listening to the first token, split by phase; peak memory,
// and the speed once it runs.

#include <stdarg.h>

#include "base/file.h"
#include "base/mem.h"
#include "bench/bench_start.h"
#include "bench/cold_server.h"
#include "bench/json_fields.h"
#include "bench/limits.h"
#include "bench/machine.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/session.h"

typedef struct start_options {
    int64_t prompt_tokens, generate, starts, rounds;
    const char *json;
} start_options;

#define FIELD(x) offsetof(start_options, x)

static const qw_opt rows[] = {
    {"prompt_tokens", QW_OPT_INT, FIELD(prompt_tokens), .def = "16", .min = 1, .max = 1 << 20,
     .help = "tokens of the prompt"},
    {"generate", QW_OPT_INT, FIELD(generate), .def = "16", .min = 1, .max = 1 << 20,
     .help = "tokens decoded one by one behind the first"},
    {"starts", QW_OPT_INT, FIELD(starts), .def = "7", .min = 0, .max = 10000,
     .help = "times that the program is started, and a server; 0: only the speed of a running "
             "model"},
    {"rounds", QW_OPT_INT, FIELD(rounds), .def = "7", .min = 1, .max = 10000,
     .help = "answers of the running model"},
    {"json", QW_OPT_STR, FIELD(json), .metavar = "FILE", .help = "write the results to this file"},
};

/** The marks: seconds before the first forward, and memory beyond the plan and 2 % of it. */
#define MAX_START_S 1.0
#define RSS_SLACK ((size_t)64 << 20)

/** What came out. */
typedef struct start_result {
    qw_summary first_token_s, warm_s, prompt_rate, decode_rate;
    qw_summary server_s, phases[QW_COLD_N_PHASES]; /* of a server, to the first token by HTTP */
    size_t n_clean, n_total;                       /* starts */
    size_t peak_rss, planned;
    int n_threads;
    char isa[16];
} start_result;

// The command line of a start

/** argv of a child, owned. */
typedef struct child_args {
    char **argv;
    size_t n, cap;
} child_args;

static void child_args_release(child_args *a)
{
    for (size_t i = 0; i < a->n; i++) qw_mem_free(a->argv[i]);
    qw_mem_free(a->argv);
    *a = (child_args){0};
}

// Append one word.
QW_PRINTF(3, 4)
static qw_status add_word(child_args *a, qw_error *err, const char *fmt, ...)
{
    if (a->n + 1 >= a->cap) {
        size_t cap = a->cap ? 2 * a->cap : 32;
        char **argv = qw_mem_realloc(a->argv, cap * sizeof *argv);
        if (!argv) return qw_fail_memory(err, cap * sizeof *argv, "a command line");
        a->argv = argv;
        a->cap = cap;
    }
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *word = qw_mem_alloc((size_t)len + 1);
    if (!word) return qw_fail_memory(err, (size_t)len + 1, "a command line");
    va_start(args, fmt);
    vsnprintf(word, (size_t)len + 1, fmt, args);
    va_end(args);
    a->argv[a->n++] = word;
    a->argv[a->n] = NULL;
    return QW_OK;
}

// An option of the model as it was given; the environment is inherited. Name and value are one
// word, so that a value may begin with a dash.
static qw_status add_option(child_args *a, const qw_opt_value *v, qw_error *err)
{
    if (v->row->type == QW_OPT_FLAG) return v->as.flag ? add_word(a, err, "--%s", v->name) : QW_OK;
    if (v->row->type == QW_OPT_BOOL)
        return add_word(a, err, "--%s", v->as.flag ? v->name : v->no_name);
    qw_status st = QW_OK;
    for (size_t i = 0; i < v->n_texts && st == QW_OK; i++)
        st = add_word(a, err, "--%s=%s", v->name, v->texts[i]);
    for (size_t i = 0; i < v->n_assigns && st == QW_OK; i++) {
        const qw_opt_assign *set = &v->assigns[i];
        st = add_word(a, err, "--%s.%s%s=%s", v->name, set->path, set->append ? "+" : "",
                      set->value);
    }
    return st;
}

static qw_status add_options(child_args *a, const qw_opts *opts, qw_error *err)
{
    size_t n;
    const qw_opt *model_rows = qw_model_options_rows(&n);
    qw_status st = QW_OK;
    for (size_t i = 0; i < opts->n_values && st == QW_OK; i++) {
        const qw_opt_value *v = &opts->values[i];
        bool is_model_row = v->row >= model_rows && v->row < model_rows + n;
        if (is_model_row && v->source == QW_OPT_FROM_FLAG) st = add_option(a, v, err);
    }
    return st;
}

static void put_ids(qw_buf *text, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) qw_buf_printf(text, "%s%d", i ? "," : "", ids[i]);
}

static qw_status add_prompt(child_args *a, const int32_t *ids, size_t n, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 26);
    put_ids(&text, ids, n);
    qw_status st = qw_buf_check(&text, "a prompt", err);
    if (st == QW_OK) st = add_word(a, err, "--prompt-ids=%s", text.data);
    qw_buf_release(&text);
    return st;
}

// A plan for the one sequence, unless the user planned: what is reserved for others says nothing.
static void set_limits(qw_model_options *model, const start_options *o)
{
    if (model->max_num_seqs == 0) model->max_num_seqs = 1;
    if (model->max_model_len == 0) model->max_model_len = o->prompt_tokens + o->generate + 1;
}

static qw_status add_words(child_args *a, const char *const *words, const qw_opts *opts,
                           const qw_model_options *model, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; words[i] && st == QW_OK; i++) st = add_word(a, err, "%s", words[i]);
    if (st == QW_OK) st = add_options(a, opts, err);
    // Of repeated options the last one wins.
    if (st == QW_OK) st = add_word(a, err, "--max-num-seqs=%" PRId64, model->max_num_seqs);
    if (st == QW_OK) st = add_word(a, err, "--max-model-len=%" PRId64, model->max_model_len);
    return st;
}

static qw_status make_args(child_args *a, const qw_opts *opts, const qw_model_options *model,
                           const int32_t *prompt, size_t n_prompt, qw_error *err)
{
    static const char *const words[] = {"qwench",          "generate",     "--max-tokens=1",
                                        "--temperature=0", "--ignore-eos", NULL};
    qw_status st = add_words(a, words, opts, model, err);
    return st == QW_OK ? add_prompt(a, prompt, n_prompt, err) : st;
}

static qw_status make_server_args(child_args *a, const qw_opts *opts, const qw_model_options *model,
                                  qw_error *err)
{
    static const char *const words[] = {
        "qwench",  "serve", "--host=127.0.0.1", "--port=0", "--served-model-name=m",
        "--no-ui", NULL};
    return add_words(a, words, opts, model, err);
}

// Measuring

typedef struct start_run {
    const start_options *o;
    const qw_opts *opts;
    qw_model_options *model;
    int32_t *prompt;  /* [o->prompt_tokens] */
    double *starts;   /* [o->starts] seconds to the first token */
    qw_slice *slices; /* [o->starts] */
    double *answers;  /* [3][o->rounds]: seconds of the forward, prompt rate, decode rate */
    start_result *result;
} start_run;

static int32_t n_prompt_ids(const qw_model_config *config)
{
    // Ids that every tokenizer of this vocabulary has; the last ones of a vocabulary are padding.
    return config->vocab_size - config->vocab_size / 16;
}

// Start the program again and again; the first time only fills caches.
static qw_status measure_starts(start_run *r, qw_error *err)
{
    size_t n = (size_t)r->o->starts;
    child_args args = {0};
    qw_limit_meter *meter = NULL;
    qw_child_run run;
    qw_status st = make_args(&args, r->opts, r->model, r->prompt, (size_t)r->o->prompt_tokens, err);
    if (st == QW_OK) st = qw_child_run_self(&run, args.argv, err);
    const qw_bench_buffer no_buffer = {0}; // only probes
    if (st == QW_OK)
        st = qw_limit_meter_new(&meter, "ref", (int)r->model->cpu_threads, &no_buffer, err);
    qw_probe probe = {0};
    qw_slice_rule rule = {.n_threads = 1};
    if (st == QW_OK) {
        probe = qw_limit_meter_probe(meter);
        rule.n_threads = qw_limit_meter_threads(meter);
    }
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        st = qw_child_run_self(&run, args.argv, err);
        if (st != QW_OK) break;
        qw_slice *s = &r->slices[i];
        *s = (qw_slice){probe, qw_limit_meter_probe(meter), run.first_output_s};
        probe = s->after;
        r->starts[i] = run.first_output_s;
        if (run.peak_rss > r->result->peak_rss) r->result->peak_rss = run.peak_rss;
        if (s->before.spin > rule.best_spin) rule.best_spin = s->before.spin;
        if (s->after.spin > rule.best_spin) rule.best_spin = s->after.spin;
    }
    qw_machine machine;
    qw_machine_detect(&machine);
    rule.ticks_per_s = machine.ticks_per_s;
    for (size_t i = 0; i < n && st == QW_OK; i++)
        r->result->n_clean += qw_slice_is_clean(&r->slices[i], &rule);
    r->result->n_total = n;
    qw_limit_meter_free(meter);
    child_args_release(&args);
    return st;
}

// The same forward, and decodes, in this process. The first answer only touches every page.
static qw_status measure_answers(start_run *r, qw_engine *e, qw_error *err)
{
    size_t n = (size_t)r->o->rounds, n_prompt = (size_t)r->o->prompt_tokens;
    int32_t n_tokens = (int32_t)r->o->generate + 1;
    double *warm = r->answers, *prompt_rate = warm + n, *decode_rate = prompt_rate + n;
    qw_answer_time t;
    qw_status st = qw_answer_time_measure(&t, e, r->prompt, n_prompt, n_tokens, err);
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        qw_bench_random_prompt(r->prompt, n_prompt, n_prompt_ids(qw_engine_config(e)), i + 2);
        st = qw_answer_time_measure(&t, e, r->prompt, n_prompt, n_tokens, err);
        if (st != QW_OK) break;
        warm[i] = t.first_token_s;
        prompt_rate[i] = (double)n_prompt / t.first_token_s;
        decode_rate[i] = (double)r->o->generate / t.decode_s;
    }
    if (st != QW_OK) return st;
    r->result->warm_s = qw_stats_summarize(warm, n);
    r->result->prompt_rate = qw_stats_summarize(prompt_rate, n);
    r->result->decode_rate = qw_stats_summarize(decode_rate, n);
    return QW_OK;
}

// Servers, one after the other; the caches are warm already.
static qw_status measure_servers(start_run *r, qw_error *err)
{
    size_t n = (size_t)r->o->starts;
    child_args args = {0};
    double *values = qw_mem_calloc((QW_COLD_N_PHASES + 1) * n, sizeof *values);
    qw_buf body;
    qw_buf_init(&body, (size_t)1 << 26);
    qw_buf_puts(&body,
                "{\"model\": \"m\", \"max_tokens\": 1, \"temperature\": 0, \"ignore_eos\": true, "
                "\"stream\": true, \"prompt\": [");
    put_ids(&body, r->prompt, (size_t)r->o->prompt_tokens);
    qw_buf_puts(&body, "]}");
    qw_status st =
        values ? qw_buf_check(&body, "a request", err) : qw_fail_memory(err, n, "the starts");
    if (st == QW_OK) st = make_server_args(&args, r->opts, r->model, err);
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        qw_cold_start start;
        st = qw_cold_start_run(&start, args.argv, body.data, err);
        if (st != QW_OK) break;
        for (size_t k = 0; k < QW_COLD_N_PHASES; k++) values[k * n + i] = start.seconds[k];
        values[QW_COLD_N_PHASES * n + i] = start.total_s;
    }
    for (size_t k = 0; k < QW_COLD_N_PHASES && st == QW_OK; k++)
        r->result->phases[k] = qw_stats_summarize(values + k * n, n);
    if (st == QW_OK) r->result->server_s = qw_stats_summarize(values + QW_COLD_N_PHASES * n, n);
    qw_buf_release(&body);
    qw_mem_free(values);
    child_args_release(&args);
    return st;
}

static qw_status prepare_prompt(start_run *r, qw_error *err)
{
    qw_engine_args args;
    qw_model_config config;
    qw_status st = qw_engine_args_make(&args, r->model, err);
    if (st != QW_OK) return st;
    st = qw_model_config_load(&config, args.model_dir, args.hf_overrides, err);
    qw_engine_args_release(&args);
    if (st != QW_OK) return st;
    qw_bench_random_prompt(r->prompt, (size_t)r->o->prompt_tokens, n_prompt_ids(&config), 1);
    qw_model_config_release(&config);
    return QW_OK;
}

static qw_status measure(start_run *r, qw_error *err)
{
    size_t n_starts = (size_t)r->o->starts;
    r->prompt = qw_mem_array((size_t)r->o->prompt_tokens, sizeof *r->prompt);
    r->starts = qw_mem_calloc(n_starts, sizeof *r->starts);
    r->slices = qw_mem_calloc(n_starts, sizeof *r->slices);
    r->answers = qw_mem_calloc(3 * (size_t)r->o->rounds, sizeof *r->answers);
    if (!r->prompt || !r->starts || !r->slices || !r->answers)
        return qw_fail_memory(err, 0, "the benchmark");
    set_limits(r->model, r->o);
    qw_status st = prepare_prompt(r, err);
    // Children first: this process is still small (qw_child_run_self).
    if (st == QW_OK && n_starts > 0) st = measure_starts(r, err);
    if (st == QW_OK && n_starts > 0) st = measure_servers(r, err);
    qw_session session;
    if (st == QW_OK) st = qw_session_open(&session, r->model, r->opts, err);
    if (st != QW_OK) return st;
    r->result->planned = qw_engine_plan(session.engine)->total;
    r->result->n_threads = qw_engine_backend(session.engine)->n_threads;
    snprintf(r->result->isa, sizeof r->result->isa, "%s", qw_engine_backend(session.engine)->isa);
    st = measure_answers(r, session.engine, err);
    r->result->first_token_s = qw_stats_summarize(r->starts, n_starts);
    qw_session_close(&session);
    return st;
}

// Results

static double start_s(const start_result *r)
{
    return r->first_token_s.p50 - r->warm_s.p50;
}

static size_t max_rss(const start_result *r)
{
    return r->planned + r->planned / 50 + RSS_SLACK;
}

static const char *verdict(const start_result *r, bool is_met)
{
    return r->n_clean < QW_SLICE_MIN_CLEAN ? "noisy" : is_met ? "met" : "missed";
}

static void print_summary(const char *name, const qw_summary *s, const char *unit, qw_buf *out)
{
    qw_buf_printf(out, "  %-28s p10 %9.3f  p50 %9.3f  p90 %9.3f %s\n", name, s->p10, s->p50, s->p90,
                  unit);
}

static const char *const phases[QW_COLD_N_PHASES] = {
    [QW_COLD_OPTIONS] = "  exec, options, model found",
    [QW_COLD_MODEL] = "  plan, weights, tokenizer",
    [QW_COLD_LISTEN] = "  listening",
    [QW_COLD_READY] = "  ready",
    [QW_COLD_FIRST_TOKEN] = "  request to first token",
};

static void print_result(const start_result *r, const start_options *o, const char *model,
                         const qw_program *program, qw_buf *out)
{
    qw_machine machine;
    qw_machine_detect(&machine);
    qw_buf_printf(out, "machine: %s, %d cores\n", machine.cpu, machine.n_cores);
    qw_buf_printf(out, "qwench %s, commit %s, kernels %s, %d threads, %" PRId64 " rounds\n",
                  program->version, program->commit, r->isa, r->n_threads, o->rounds);
    qw_buf_printf(out, "%s: a prompt of %" PRId64 " tokens, %" PRId64 " more behind the first\n",
                  model, o->prompt_tokens, o->generate);
    print_summary("the same forward, warm", &r->warm_s, "s", out);
    print_summary("prompt", &r->prompt_rate, "tokens/s", out);
    print_summary("decode", &r->decode_rate, "tokens/s", out);
    if (r->n_total == 0) return;
    print_summary("exec to first token", &r->first_token_s, "s", out);
    qw_buf_printf(out, "  %-28s %zu/%zu clean\n", "starts", r->n_clean, r->n_total);
    print_summary("server: exec to first token", &r->server_s, "s", out);
    for (int k = 0; k < QW_COLD_N_PHASES; k++) print_summary(phases[k], &r->phases[k], "s", out);
    qw_buf_printf(out, "\nmarks\n");
    qw_buf_printf(out, "  %-44s %9.3f s   (at most %.0f) %s\n",
                  "exec to first token, less the forward", start_s(r), MAX_START_S,
                  verdict(r, start_s(r) <= MAX_START_S));
    // Memory does not depend on who else runs.
    qw_buf_printf(out, "  %-44s %9.1f MiB (at most %.1f: plan %.1f, 2 %%, 64) %s\n", "peak RSS",
                  (double)r->peak_rss / (1 << 20), (double)max_rss(r) / (1 << 20),
                  (double)r->planned / (1 << 20), r->peak_rss <= max_rss(r) ? "met" : "missed");
}

static qw_status write_json(const start_result *r, const start_options *o, const char *model,
                            const qw_program *program, qw_error *err)
{
    qw_machine machine;
    qw_machine_detect(&machine);
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 20);
    qw_fields_open(&text, NULL, '{');
    qw_fields_count(&text, "qwench_bench_coldstart", 1);
    qw_fields_text(&text, "version", program->version);
    qw_fields_text(&text, "commit", program->commit);
    qw_fields_text(&text, "cpu", machine.cpu);
    qw_fields_text(&text, "isa", r->isa);
    qw_fields_count(&text, "threads", r->n_threads);
    qw_fields_text(&text, "model", model);
    qw_fields_count(&text, "prompt_tokens", o->prompt_tokens);
    qw_fields_count(&text, "generated_tokens", o->generate);
    qw_fields_summary(&text, "warm_forward_s", &r->warm_s);
    qw_fields_summary(&text, "prompt_tokens_per_s", &r->prompt_rate);
    qw_fields_summary(&text, "generated_tokens_per_s", &r->decode_rate);
    if (r->n_total > 0) {
        qw_fields_summary(&text, "first_token_s", &r->first_token_s);
        qw_fields_summary(&text, "server_first_token_s", &r->server_s);
        qw_fields_open(&text, "server_phases_s", '{');
        for (int k = 0; k < QW_COLD_N_PHASES; k++)
            qw_fields_summary(&text, qw_cold_phase_names[k], &r->phases[k]);
        qw_fields_close(&text, '}');
        qw_fields_number(&text, "start_s", start_s(r));
        qw_fields_count(&text, "clean", (int64_t)r->n_clean);
        qw_fields_count(&text, "total", (int64_t)r->n_total);
        qw_fields_count(&text, "peak_rss", (int64_t)r->peak_rss);
        qw_fields_count(&text, "rss_limit", (int64_t)max_rss(r));
    }
    qw_fields_count(&text, "planned", (int64_t)r->planned);
    qw_fields_close(&text, '}');
    qw_buf_putc(&text, '\n');
    qw_status st = qw_buf_check(&text, "the results", err);
    if (st == QW_OK) st = qw_file_write_atomic(o->json, text.data, text.len, err);
    qw_buf_release(&text);
    return st;
}

static qw_status bench_coldstart(const start_options *o, qw_model_options *model,
                                 const qw_opts *opts, const qw_program *program, qw_error *err)
{
    start_result result = {0};
    start_run r = {.o = o, .opts = opts, .model = model, .result = &result};
    qw_status st = measure(&r, err);
    qw_mem_free(r.prompt);
    qw_mem_free(r.starts);
    qw_mem_free(r.slices);
    qw_mem_free(r.answers);
    if (st != QW_OK) return st;
    const char *name = model->model ? model->model : "the built-in model";
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 20);
    print_result(&result, o, name, program, &text);
    st = qw_buf_check(&text, "the table", err);
    if (st == QW_OK && fwrite(text.data, 1, text.len, stdout) != text.len)
        st = qw_fail(err, QW_ERR_IO, "cannot write the output");
    qw_buf_release(&text);
    return st == QW_OK && o->json ? write_json(&result, o, name, program, err) : st;
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    out[1].rows = qw_model_options_rows(&out[1].n_rows);
    return 2;
}

static int cmd_bench_coldstart(const qw_command_call *call)
{
    start_options options = {0};
    qw_model_options model = {0};
    void *const targets[] = {&options, &model};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    qw_status st = bench_coldstart(&options, &model, &cli.opts, call->program, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench bench coldstart ~/models/Qwen3-1.7B", "from exec to the first token"},
    {"qwench bench coldstart ~/models/Qwen3-0.6B --prompt-tokens 512 --generate 64 --starts 0",
     "tokens per second of a prompt and behind it"},
    {0},
};

const qw_command qw_cmd_bench_coldstart = {
    .name = "coldstart",
    .help = "from exec over listening to the first token; peak memory",
    .summary = "Measures how fast a model starts and answers.",
    .description =
        "The program is started again and again for one token of a prompt of random tokens; the "
        "first time, which fills the caches, does not count. What the same forward takes in a "
        "process that runs is taken off. Then it is started as a server as often, and its lines "
        "tell how "
        "long each phase takes, up to the first token of a request. Unless --max-num-seqs and "
        "--max-model-len are given, "
        "memory is planned for this one sequence, so that its plan can be compared with the peak.",
    .examples = examples,
    .run = cmd_bench_coldstart,
    .tables = tables,
};
