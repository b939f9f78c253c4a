#include "cli/serve_options.h"

#include <strings.h>

#include "base/nearest.h"
#include "cli/config_file.h"
#include "cli/env_options.h"
#include "cli/option_repr.h"
#include "cli/serve_internal.h"
#include "cli/serve_json.h"
#include "cli/serve_limits.h"
#include "cli/serve_rows.h"
#include "format/opt_json.h"

enum { N_TABLES = 4 };

static qw_status no_memory(qw_error *err)
{
    return qw_fail(err, QW_ERR_NO_MEMORY, "out of memory while reading the options");
}

size_t qw_serve_options_tables(qw_opt_table tables[QW_COMMAND_MAX_TABLES])
{
    tables[0].rows = qw_model_options_rows(&tables[0].n_rows);
    tables[1].rows = qw_serve_engine_rows(&tables[1].n_rows);
    tables[2].rows = qw_serve_frontend_rows(&tables[2].n_rows);
    tables[3].rows = qw_serve_other_rows(&tables[3].n_rows);
    return N_TABLES;
}

size_t qw_serve_offline_tables(qw_opt_table tables[QW_COMMAND_MAX_TABLES],
                               const qw_serve_offline *offline)
{
    size_t n = offline->n_tables;
    QW_ASSERT(n + N_TABLES <= QW_COMMAND_MAX_TABLES);
    for (size_t i = 0; i < n; i++)
        tables[i] =
            (qw_opt_table){.rows = offline->tables[i].rows, .n_rows = offline->tables[i].n_rows};
    qw_opt_table own[QW_COMMAND_MAX_TABLES] = {0};
    (void)qw_serve_options_tables(own);
    memcpy(tables + n, own, N_TABLES * sizeof *own);
    return n + N_TABLES;
}

void qw_serve_options_set_engine(qw_engine_options *e, const qw_serve_options *o)
{
    e->seed = o->seed;
    e->enable_prefix_caching = o->enable_prefix_caching;
    e->async_scheduling = o->async_scheduling;
    e->enable_chunked_prefill = o->enable_chunked_prefill;
    e->scheduling_policy = o->scheduling_policy == QW_SCHEDULING_PRIORITY ? "priority" : "fcfs";
    e->max_num_partial_prefills = (int32_t)o->max_num_partial_prefills;
    e->max_long_partial_prefills = (int32_t)o->max_long_partial_prefills;
    e->long_prefill_token_threshold = (int32_t)o->long_prefill_token_threshold;
    e->scheduler_reserve_full_isl = o->scheduler_reserve_full_isl;
    e->no_step_plans = o->cudagraph_mode == QW_CUDAGRAPH_NONE;
    e->capture_sizes = o->cudagraph_capture_sizes;
    e->n_capture_sizes = o->n_cudagraph_capture_sizes;
    e->max_capture_size = o->max_cudagraph_capture_size > 0 ? o->max_cudagraph_capture_size : -1;
}

bool qw_serve_is_given(const qw_opt_value *v)
{
    return v->source >= QW_OPT_FROM_FILE;
}

const char *qw_serve_text(const qw_serve_options *o, const char *name)
{
    const qw_opt_value *v = qw_opts_get(&o->opts, name);
    return v && qw_serve_is_given(v) && v->n_texts > 0 ? v->texts[v->n_texts - 1] : NULL;
}

// The command line

static bool is_word(const char *arg, const char *name)
{
    size_t len = strlen(name);
    return strncmp(arg, name, len) == 0 && (arg[len] == '\0' || (arg[len] == '=' && arg[len + 1]));
}

// "-O.cudagraph_mode=NONE" is the compilation config's member, as "-cc.cudagraph_mode" is.
static qw_status rewrite_words(qw_serve_options *o, int argc, char *const *argv, char ***out,
                               qw_error *err)
{
    char **words = qw_arena_array(&o->arena, (size_t)argc + 1, sizeof *words);
    if (!words) return no_memory(err);
    for (int i = 0; i < argc; i++) {
        words[i] = argv[i];
        if (i == 0 || strncmp(argv[i], "-O.", 3) != 0) continue;
        size_t size = strlen(argv[i]) + 2;
        words[i] = qw_arena_alloc(&o->arena, size);
        if (!words[i]) return no_memory(err);
        snprintf(words[i], size, "-cc%s", argv[i] + 2);
    }
    *out = words;
    return QW_OK;
}

static qw_status read_config_file(qw_serve_options *o, qw_error *err)
{
    const qw_opt_value *v = qw_opts_get(&o->opts, "config");
    if (v->n_texts == 0) return QW_OK;
    return qw_config_file_apply(&o->opts, v->texts[v->n_texts - 1], err);
}

static qw_status check_single_config(int argc, char *const *argv, qw_error *err)
{
    int n = 0;
    for (int i = 1; i < argc; i++) n += is_word(argv[i], "--config");
    return n <= 1 ? QW_OK : qw_fail(err, QW_ERR_USAGE, "More than one config file specified!");
}

// --model is how the module form names the model; after `serve` vLLM wants it in front.
static qw_status check_model_words(qw_serve_options *o, const char *program, int argc,
                                   char *const *argv, qw_error *err)
{
    for (int i = 1; i < argc; i++) {
        if (!is_word(argv[i], "--model")) continue;
        return qw_explain_warn(&o->records, err,
                               "With `%s`, you should provide the model as a positional argument "
                               "or in a config file instead of via the `--model` option. The "
                               "`--model` option will be removed in a future version.",
                               program);
    }
    if (!qw_serve_is_given(qw_opts_get(&o->opts, "model")) &&
        qw_serve_is_given(qw_opts_get(&o->opts, "served-model-name")))
        return qw_fail(err, QW_ERR_USAGE,
                       "`model` should be provided as the first positional argument when using "
                       "`%s`. i.e. `%s <model> --<arg> <value>`.",
                       program, program);
    return QW_OK;
}

// Records

static bool is_switch(const qw_opt *row)
{
    return row->type == QW_OPT_FLAG || row->type == QW_OPT_BOOL;
}

static bool is_secret(const char *name)
{
    return strcmp(name, "api-key") == 0 || strcmp(name, "hf-token") == 0;
}

// A value as it was given, in one line.
static void put_given(const qw_opt_value *v, qw_buf *out)
{
    if (is_secret(v->name)) {
        qw_buf_puts(out, "***");
        return;
    }
    if (is_switch(v->row)) return;
    for (size_t i = 0; i < v->n_texts; i++) qw_buf_printf(out, "%s%s", i ? " " : "", v->texts[i]);
    for (size_t i = 0; i < v->n_assigns; i++)
        qw_buf_printf(out, "%s.%s%s %s", i || v->n_texts ? " " : "", v->assigns[i].path,
                      v->assigns[i].append ? "+" : "", v->assigns[i].value);
}

// What is refused is refused when it is on: --no-enable-lora asks for nothing.
static bool is_off(const qw_opt_value *v)
{
    return is_switch(v->row) && !v->as.flag;
}

static qw_status refuse(const qw_opt_value *v, const char *value, const char *why, qw_error *err)
{
    return qw_fail(err, QW_ERR_USAGE, "argument --%s%s%.100s%s: not supported: %s", v->name,
                   *value ? " '" : "", value, *value ? "'" : "", why);
}

static qw_status record_value(qw_serve_options *o, const qw_opt_value *v, qw_error *err)
{
    char name[100];
    bool no = v->no_name && is_off(v);
    snprintf(name, sizeof name, "--%s", no ? v->no_name : v->name);
    qw_buf value;
    qw_buf_init(&value, (size_t)1 << 24);
    put_given(v, &value);
    qw_status st = qw_buf_check(&value, "a value", err);
    const char *text = value.data ? value.data : "";
    qw_opt_effect effect = v->row->effect;
    const char *why = effect == QW_OPT_ACTIVE ? v->row->help : v->row->why;
    const qw_value_rule *rule =
        v->n_texts == 1 ? qw_value_rule_find(v->name, v->texts[v->n_texts - 1]) : NULL;
    if (rule) effect = rule->effect, why = rule->why;
    if (is_off(v) && (effect == QW_OPT_REFUSED || effect == QW_OPT_WARNED))
        effect = QW_OPT_INERT, why = "it is off anyway";
    if (st == QW_OK && effect == QW_OPT_REFUSED) st = refuse(v, text, why, err);
    if (st == QW_OK)
        st = qw_explain_add(&o->records, err, name, text, v->source, effect, "%s", why);
    if (st == QW_OK && effect == QW_OPT_WARNED)
        st = qw_explain_warn(&o->records, err, "%s has no effect: %s", name, why);
    qw_buf_release(&value);
    return st;
}

static bool is_about_this_run(const char *name)
{
    return strcmp(name, "explain") == 0 || strcmp(name, "config") == 0 || strcmp(name, "help") == 0;
}

static qw_status record_json(qw_serve_options *o, const qw_opt_value *v, qw_error *err)
{
    json_t *object;
    qw_status st = qw_opt_json_merge(&object, &v->as.json, v->name, err);
    if (st != QW_OK) return st;
    if (qw_serve_json_has_keys(v->name))
        st = qw_serve_json_check(&o->records, v->name, object, v->source, err);
    else
        st = record_value(o, v, err);
    json_decref(object);
    return st;
}

static qw_status record_options(qw_serve_options *o, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < o->opts.n_values && st == QW_OK; i++) {
        const qw_opt_value *v = &o->opts.values[i];
        if (!qw_serve_is_given(v) || is_about_this_run(v->name)) continue;
        st = v->row->type == QW_OPT_JSON ? record_json(o, v, err) : record_value(o, v, err);
    }
    for (size_t i = 0; i < o->opts.n_warnings && st == QW_OK; i++)
        st = qw_explain_warn(&o->records, err, "%s", o->opts.warnings[i]);
    return st;
}

// The line "non-default args: {...}"

static bool is_default(const qw_opt_value *v)
{
    if (is_switch(v->row)) return v->as.flag == (v->row->def && strcmp(v->row->def, "true") == 0);
    return v->row->def && v->n_texts == 1 && strcmp(v->texts[0], v->row->def) == 0;
}

static qw_status note_non_default(qw_serve_options *o, qw_error *err)
{
    qw_buf out;
    qw_buf_init(&out, (size_t)1 << 24);
    qw_buf_putc(&out, '{');
    qw_status st = QW_OK;
    for (size_t i = 0; i < o->opts.n_values && st == QW_OK; i++) {
        const qw_opt_value *v = &o->opts.values[i];
        if (!qw_serve_is_given(v) || is_about_this_run(v->name) || is_default(v)) continue;
        if (out.len > 1) qw_buf_puts(&out, ", ");
        qw_buf_putc(&out, '\'');
        const char *name = strcmp(v->name, "model") == 0 ? "model_tag" : v->name;
        for (const char *p = name; *p; p++) qw_buf_putc(&out, *p == '-' ? '_' : *p);
        qw_buf_puts(&out, "': ");
        if (is_secret(v->name))
            qw_buf_puts(&out, "'***'");
        else
            st = qw_option_repr(&out, v, err);
    }
    qw_buf_putc(&out, '}');
    if (st == QW_OK) st = qw_buf_check(&out, "the options", err);
    if (st == QW_OK) {
        o->non_default_args = qw_arena_strndup(&o->arena, out.data, out.len);
        if (!o->non_default_args) st = no_memory(err);
    }
    qw_buf_release(&out);
    return st;
}

// All of it

static void set_defaults(qw_serve_options *o)
{
    *o = (qw_serve_options){
        .root_path = "",
        .timeout_keep_alive_s = 75, // not vLLM's 5: pooled clients race with so short a time
        .max_n_sequences = 16384,
        .log_stats_interval_s = 10,
        .logging_level = QW_SERVE_LOG_INFO,
        .logging_prefix = "",
        .cudagraph_mode = QW_CUDAGRAPH_FULL_AND_PIECEWISE,
    };
    qw_arena_init(&o->arena, 4096);
    qw_explain_init(&o->records);
}

qw_status qw_serve_options_parse(qw_serve_options *o, const char *program, int argc,
                                 char *const *argv, qw_error *err)
{
    return qw_serve_offline_parse(o, NULL, program, argc, argv, err);
}

static size_t bind_tables(qw_opt_table tables[QW_COMMAND_MAX_TABLES], qw_serve_options *o,
                          const qw_serve_offline *offline)
{
    size_t n_own = offline ? offline->n_tables : 0;
    size_t n = offline ? qw_serve_offline_tables(tables, offline) : qw_serve_options_tables(tables);
    for (size_t i = 0; i < n_own; i++) tables[i].target = offline->tables[i].target;
    tables[n_own].target = &o->model;
    for (size_t i = n_own + 1; i < n; i++) tables[i].target = o;
    return n;
}

qw_status qw_serve_offline_parse(qw_serve_options *o, const qw_serve_offline *offline,
                                 const char *program, int argc, char *const *argv, qw_error *err)
{
    set_defaults(o);
    o->is_offline = offline != NULL;
    qw_opt_table tables[QW_COMMAND_MAX_TABLES] = {0};
    size_t n = bind_tables(tables, o, offline);
    const char *summary = offline ? offline->summary : qw_serve_summary;
    char **words = NULL;
    qw_status st = qw_opts_init(&o->opts, program, summary, tables, n, err);
    if (st == QW_OK) st = rewrite_words(o, argc, argv, &words, err);
    if (st == QW_OK) st = qw_opts_parse(&o->opts, argc, words, err);
    if (st != QW_OK || o->opts.wants_help) return st;
    st = check_single_config(argc, argv, err);
    if (st == QW_OK) st = read_config_file(o, err);
    if (st == QW_OK) st = qw_opts_finish(&o->opts, err);
    if (st == QW_OK && !offline) st = check_model_words(o, program, argc, argv, err);
    if (st == QW_OK) st = record_options(o, err);
    if (st == QW_OK) st = qw_env_options_read(o, err);
    if (st == QW_OK) st = qw_serve_options_check(o, err);
    if (st == QW_OK) st = note_non_default(o, err);
    return st;
}

void qw_serve_options_release(qw_serve_options *o)
{
    if (o->opts.values) qw_opts_release(&o->opts);
    json_decref(o->default_chat_template_kwargs);
    qw_explain_release(&o->records);
    qw_arena_release(&o->arena);
    *o = (qw_serve_options){0};
}
