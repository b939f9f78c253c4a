#include "cli/session.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

typedef struct progress {
    int64_t start_ns;
    bool is_shown;
} progress;

static void show_progress(void *ctx, size_t done, size_t total)
{
    progress *p = ctx;
    if (qw_clock_ns() - p->start_ns < 500000000 || !isatty(STDERR_FILENO)) return;
    enum { WIDTH = 40 };
    char bar[WIDTH + 1];
    size_t n = done * WIDTH / total;
    for (size_t i = 0; i < WIDTH; i++) bar[i] = i < n ? '#' : '.';
    bar[WIDTH] = '\0';
    fprintf(stderr, "\rloading [%s] %3zu%%", bar, done * 100 / total);
    p->is_shown = true;
}

static void log_model(const qw_engine *e)
{
    qw_str w;
    for (const char *rest = qw_engine_config(e)->warnings; qw_model_config_next_warning(&rest, &w);)
        QW_LOG(QW_LOG_WARN, "model_config", "%.*s", (int)w.len, w.ptr);
    if (!qw_log_is_on(QW_LOG_INFO)) return;
    qw_buf table;
    qw_buf_init(&table, 1 << 16);
    qw_memory_plan_print(qw_engine_plan(e), &table);
    qw_buf_printf(&table, "  kernels         %s, %d threads, dtype %s\n", qw_engine_backend(e)->isa,
                  qw_engine_backend(e)->n_threads, qw_engine_dtype_name(e));
    if (table.data) fputs(table.data, stderr);
    qw_buf_release(&table);
}

static qw_status open_engine(qw_session *s, qw_engine_args *args, qw_error *err)
{
    if (s->frontend.tokenizer)
        qw_engine_options_use_tokenizer(&args->options, s->frontend.tokenizer);
    progress bar = {.start_ns = qw_clock_ns()};
    args->options.progress = show_progress;
    args->options.progress_ctx = &bar;
    qw_status st = qw_engine_open(&s->engine, &args->options, err);
    if (bar.is_shown) fputs("\r\033[K", stderr);
    if (st == QW_OK) log_model(s->engine);
    return st;
}

static qw_status set_defaults(qw_session *s, const qw_model_options *model, const qw_opts *opts,
                              qw_error *err)
{
    qw_sampling_defaults d =
        qw_model_options_defaults(model, qw_engine_generation_config(s->engine));
    qw_status st = qw_sampling_params_set_defaults(&s->defaults, &d, err);
    return st == QW_OK ? qw_sampling_params_apply_options(&s->defaults, opts, err) : st;
}

qw_status qw_session_open(qw_session *out, const qw_model_options *model, const qw_opts *opts,
                          qw_error *err)
{
    qw_session s = {0};
    qw_sampling_params_init(&s.defaults);
    qw_engine_args args;
    qw_status st = qw_engine_args_make(&args, model, err);
    if (st != QW_OK) return st;
    st = qw_frontend_open(&s.frontend, args.model_dir, model->tokenizer, model->chat_template,
                          args.cache_dir, err);
    if (st == QW_OK) st = open_engine(&s, &args, err);
    if (st == QW_OK) st = set_defaults(&s, model, opts, err);
    qw_engine_args_release(&args);
    if (st == QW_OK)
        *out = s;
    else
        qw_session_close(&s);
    return st;
}

void qw_session_close(qw_session *s)
{
    qw_engine_close(s->engine);
    qw_sampling_params_release(&s->defaults);
    qw_frontend_close(&s->frontend);
    s->engine = NULL;
}
