// What the options of `serve` say about files and this machine: the model, its length, the limits
// of a step, the compute threads.

#include "base/cpus.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/model_resolver.h"
#include "cli/serve_internal.h"
#include "cli/serve_json.h"
#include "cli/serve_limits.h"
#include "cli/thread_plan.h"
#include "base/mem.h"
#include "format/opt_json.h"
#include "format/quant_description.h"

static qw_status no_memory(qw_error *err)
{
    return qw_fail(err, QW_ERR_NO_MEMORY, "out of memory while reading the options");
}

static qw_status keep(qw_serve_options *o, const char **out, const char *text, qw_error *err)
{
    const char *copy = qw_arena_strndup(&o->arena, text, strlen(text));
    if (!copy) return no_memory(err);
    *out = copy;
    return QW_OK;
}

// Names

static qw_status name_model(qw_serve_options *o, qw_error *err)
{
    qw_status st = QW_OK;
    o->model_name = o->model.model;
    if (!o->model_name) {
        o->model_name = "tiny";
        st = qw_explain_warn(&o->records, err,
                             "no model was given: serving the built-in model as 'tiny' (vLLM would "
                             "fetch Qwen/Qwen3-0.6B)");
    }
    bool given = o->n_served_model_names > 0;
    size_t n = given ? o->n_served_model_names : 1;
    const char **names = qw_arena_array(&o->arena, n + 1, sizeof *names);
    if (!names) return no_memory(err);
    for (size_t i = 0; i < n; i++) names[i] = given ? o->served_model_names[i] : o->model_name;
    o->served_model_names = names;
    o->n_served_model_names = n;
    return st;
}

// Quantization

// Under --explain a refusal is one more thing to tell.
static qw_status refuse_quantization(qw_serve_options *o, const char *method, const char *why,
                                     qw_error *err)
{
    if (!o->explain)
        return qw_fail(err, QW_ERR_UNSUPPORTED, "--quantization %.40s: %s", method, why);
    for (size_t i = 0; i < o->records.n_records; i++) {
        qw_explain_record *r = &o->records.records[i];
        if (strcmp(r->name, "--quantization") != 0) continue;
        r->effect = QW_OPT_REFUSED;
        return keep(o, &r->why, why, err);
    }
    return QW_OK;
}

static qw_status check_quantization(qw_serve_options *o, qw_error *err)
{
    const char *method = qw_serve_text(o, "quantization"), *dir = o->model.model;
    if (!method || strcmp(method, "none") == 0) return QW_OK;
    if (strcmp(method, "ascend") != 0)
        return refuse_quantization(
            o, method, "of the quantized formats only ascend is known; leave the option out", err);
    char *file, why[480];
    bool found;
    qw_status st = qw_quant_description_find(&file, &found, dir, err);
    qw_mem_free(file);
    if (st != QW_OK || found) return st;
    snprintf(why, sizeof why,
             "'%.200s' holds no quant_model_description*.json, so it is not an ascend checkpoint; "
             "leave the option out to serve it as it is stored",
             dir);
    return refuse_quantization(o, method, why, err);
}

// Drafts

static qw_status check_draft_model(const qw_serve_options *o, qw_error *err)
{
    qw_draft_config draft;
    json_t *object;
    qw_status st = qw_serve_read_draft(&draft, &object, o, err);
    if (st == QW_OK && object && draft.model) {
        const qw_model_query query = {draft.model, o->model.download_dir, NULL};
        char *dir;
        st = qw_model_resolve(&dir, &query, err);
        if (st == QW_OK)
            qw_mem_free(dir);
        else
            qw_context(err, st, "the draft model of --speculative-config");
    }
    json_decref(object);
    return st;
}

// Limits

// Without a server a step has room for 4096 tokens, if it can ever hold so many.
static int64_t given_tokens(const qw_serve_options *o, int64_t len)
{
    enum { OFFLINE_TOKENS = 4096, OFFLINE_SEQS = 256 };
    int64_t tokens = o->model.max_num_batched_tokens, n_seqs = o->model.max_num_seqs;
    if (!o->is_offline || tokens > 0 || !o->enable_chunked_prefill) return tokens;
    if (n_seqs == 0) n_seqs = OFFLINE_SEQS;
    bool can_fill = n_seqs <= OFFLINE_TOKENS && len > OFFLINE_TOKENS / n_seqs;
    return can_fill ? OFFLINE_TOKENS : 0;
}

static qw_status choose_limits(qw_serve_options *o, int64_t model_len, qw_error *err)
{
    int64_t len = o->model.max_model_len > 0 ? o->model.max_model_len : model_len;
    const qw_serve_limits_input in = {
        .given = {o->model.max_num_seqs, given_tokens(o, len)},
        .max_model_len = len,
        .long_prefill_token_threshold = o->long_prefill_token_threshold,
        .enable_chunked_prefill = o->enable_chunked_prefill,
        .throughput = o->performance_mode == QW_PERFORMANCE_THROUGHPUT};
    qw_serve_limits limits;
    bool unused;
    qw_status st = qw_serve_limits_choose(&limits, &unused, &in, err);
    if (st != QW_OK) return st;
    o->model.max_num_seqs = limits.max_num_seqs;
    o->model.max_num_batched_tokens = limits.max_num_batched_tokens;
    if (unused)
        st = qw_explain_warn(&o->records, err,
                             "max_num_batched_tokens (%" PRId64
                             ") exceeds max_num_seqs * max_model_len (%" PRId64
                             "). This may lead to unexpected behavior.",
                             limits.max_num_batched_tokens, limits.max_num_seqs * len);
    return st;
}

// No decode batch is larger than max_num_seqs, so no plan need be.
static qw_status fit_capture_sizes(qw_serve_options *o, qw_error *err)
{
    size_t n = o->n_cudagraph_capture_sizes;
    if (n == 0) return QW_OK;
    int64_t *sizes = (int64_t *)(uintptr_t)o->cudagraph_capture_sizes, bad; // they are our own
    (void)qw_capture_sizes_normalize(sizes, &n, o->model.max_num_seqs, &bad);
    size_t n_dropped = o->n_cudagraph_capture_sizes - n;
    o->n_cudagraph_capture_sizes = n;
    if (n == 0) o->cudagraph_capture_sizes = NULL;
    if (n_dropped == 0) return QW_OK;
    return qw_explain_warn(&o->records, err,
                           "%zu of the cudagraph_capture_sizes are above max_num_seqs (%" PRId64
                           ") and left out",
                           n_dropped, o->model.max_num_seqs);
}

// The model

static qw_status read_model(qw_serve_options *o, qw_error *err)
{
    qw_engine_args args;
    qw_status st = qw_engine_args_make(&args, &o->model, err);
    if (st != QW_OK) return st;
    st = keep(o, &o->model.model, args.model_dir, err);
    if (st == QW_OK) st = check_quantization(o, err);
    if (st == QW_OK) st = check_draft_model(o, err);
    if (st == QW_OK) {
        qw_model_config config;
        st = qw_model_config_load(&config, args.model_dir, args.hf_overrides, err);
        if (st == QW_OK) {
            st = choose_limits(o, qw_model_config_max_len(&config), err);
            qw_model_config_release(&config);
        } else {
            qw_context(err, st, "opening model '%s'", args.model_dir);
        }
    }
    qw_engine_args_release(&args);
    return st;
}

// Threads

static qw_status tell_omp(qw_serve_options *o, const qw_thread_plan *plan, qw_error *err)
{
    for (size_t i = 0; i < o->records.n_records; i++) {
        qw_explain_record *r = &o->records.records[i];
        if (strcmp(r->name, "OMP_NUM_THREADS") != 0) continue;
        bool used = strcmp(plan->why, "OMP_NUM_THREADS") == 0;
        if (used) return QW_OK;
        r->effect = QW_OPT_INERT;
        qw_status st =
            keep(o, &r->why,
                 plan->omp_ignored ? "1 beside variables of Ascend is meant for torch, not for us"
                                   : "another option names the compute threads",
                 err);
        if (st != QW_OK || !plan->omp_ignored) return st;
        return qw_explain_warn(&o->records, err,
                               "OMP_NUM_THREADS=1 beside variables of Ascend is meant for torch on "
                               "an NPU host: %" PRId64 " threads compute (--cpu-threads)",
                               plan->n_threads);
    }
    return QW_OK;
}

static qw_status plan_threads(qw_serve_options *o, qw_error *err)
{
    qw_cpus cpus;
    qw_status st = qw_cpus_detect(&cpus, err);
    if (st != QW_OK) return st;
    const qw_thread_wish wish = {.cpu_threads = o->model.cpu_threads,
                                 .omp_threads_bind = getenv("VLLM_CPU_OMP_THREADS_BIND"),
                                 .omp_num_threads = getenv("OMP_NUM_THREADS"),
                                 .reserved_cpus = getenv("VLLM_CPU_NUM_OF_RESERVED_CPU"),
                                 .has_ascend_variables = qw_thread_plan_sees_ascend(),
                                 .default_threads = qw_cpus_default_threads(&cpus)};
    qw_cpus_release(&cpus);
    qw_thread_plan plan;
    st = qw_thread_plan_choose(&plan, &wish, err);
    if (st != QW_OK) return st;
    o->model.cpu_threads = plan.n_threads;
    st = keep(o, &o->thread_why, plan.why, err);
    if (st == QW_OK && plan.bind) {
        o->cpu_bind = qw_arena_strndup(&o->arena, plan.bind, plan.bind_len);
        if (!o->cpu_bind) st = no_memory(err);
    }
    return st == QW_OK ? tell_omp(o, &plan, err) : st;
}

qw_status qw_serve_options_resolve(qw_serve_options *o, qw_error *err)
{
    qw_status st = name_model(o, err);
    if (st == QW_OK) st = read_model(o, err);
    if (st == QW_OK) st = fit_capture_sizes(o, err);
    if (st == QW_OK) st = plan_threads(o, err);
    return st;
}

// For a command

static qw_status show_help(const qw_serve_options *o, qw_error *err)
{
    qw_buf help;
    qw_buf_init(&help, (size_t)1 << 20);
    qw_status st = qw_opts_help(&o->opts, o->opts.help_topic, &help, err);
    if (st == QW_OK) st = qw_buf_check(&help, "the help", err);
    if (st == QW_OK) fwrite(help.data, 1, help.len, stdout);
    qw_buf_release(&help);
    return st;
}

static void show_records(const qw_serve_options *o)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 22);
    qw_explain_print(&o->records, false, &text);
    if (text.data) fwrite(text.data, 1, text.len, stdout);
    qw_buf_release(&text);
}

// argparse's form: the usage in front of what was wrong with it.
static int fail(const qw_serve_options *o, const char *program, qw_status st, const qw_error *err)
{
    qw_buf usage;
    qw_buf_init(&usage, 1 << 16);
    if (o->opts.values) qw_opts_usage(&o->opts, &usage);
    int status = qw_cli_fail(program, st, err, usage.data);
    qw_buf_release(&usage);
    return status;
}

static bool read_options(qw_serve_options *o, const qw_serve_offline *offline,
                         const qw_command_call *call, int *exit_status)
{
    qw_error err;
    qw_status st = qw_serve_offline_parse(o, offline, call->name, call->argc, call->argv, &err);
    bool wants_help = st == QW_OK && o->opts.wants_help;
    if (wants_help)
        st = show_help(o, &err);
    else if (st == QW_OK)
        st = qw_serve_options_resolve(o, &err);
    if (st == QW_OK && !wants_help && !o->explain) return true;
    if (st == QW_OK && !wants_help) show_records(o);
    *exit_status = st == QW_OK ? 0 : fail(o, call->name, st, &err);
    qw_serve_options_release(o);
    return false;
}

bool qw_serve_options_read(qw_serve_options *o, const qw_command_call *call, int *exit_status)
{
    return read_options(o, NULL, call, exit_status);
}

bool qw_serve_offline_read(qw_serve_options *o, const qw_serve_offline *offline,
                           const qw_command_call *call, int *exit_status)
{
    if (!read_options(o, offline, call, exit_status)) return false;
    for (size_t i = 0; i < o->records.n_warnings; i++)
        QW_LOG(QW_LOG_WARN, "cli", "%s", o->records.warnings[i]);
    return true;
}
