#include "cli/offline.h"

#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

qw_status qw_offline_open(qw_offline *out, const qw_serve_options *o, qw_error *err)
{
    *out = (qw_offline){0};
    if (o->parallel.data_parallel_size > 1)
        return qw_fail(err, QW_ERR_USAGE,
                       "Data parallel is not supported in offline benchmark, please use benchmark "
                       "serving instead");
    qw_status st = qw_engine_args_make(&out->args, &o->model, err);
    if (st == QW_OK)
        st = qw_frontend_open(&out->frontend, out->args.model_dir, o->model.tokenizer,
                              o->model.chat_template, out->args.cache_dir, err);
    if (st != QW_OK) return st;
    qw_engine_options *e = &out->args.options;
    if (out->frontend.tokenizer) qw_engine_options_use_tokenizer(e, out->frontend.tokenizer);
    qw_serve_options_set_engine(e, o);
    st = qw_engine_open(&out->engine, e, err);
    if (st != QW_OK) return st;
    qw_str w;
    const char *rest = qw_engine_config(out->engine)->warnings;
    while (qw_model_config_next_warning(&rest, &w))
        QW_LOG(QW_LOG_WARN, "model_config", "%.*s", (int)w.len, w.ptr);
    return QW_OK;
}

void qw_offline_close(qw_offline *f)
{
    qw_engine_close(f->engine);
    qw_frontend_close(&f->frontend);
    qw_engine_args_release(&f->args);
    *f = (qw_offline){0};
}

void qw_offline_progress(const char *name, size_t n_done, size_t n_total)
{
    bool is_terminal = isatty(STDERR_FILENO), is_end = n_done == n_total;
    if (!is_terminal && !is_end) return;
    fprintf(stderr, "%s%s: %zu/%zu%s", is_terminal ? "\r\033[K" : "", name, n_done, n_total,
            is_end ? "\n" : "");
    fflush(stderr);
}

qw_status qw_offline_write(const char *path, qw_buf *text, qw_error *err)
{
    qw_buf_putc(text, '\n');
    qw_status st = qw_buf_check(text, "the results", err);
    return st == QW_OK ? qw_file_write_atomic(path, text->data, text->len, err) : st;
}
