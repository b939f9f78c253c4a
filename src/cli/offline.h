#ifndef QW_CLI_OFFLINE_H
#define QW_CLI_OFFLINE_H

#include "cli/serve_options.h"
#include "engine/frontend.h"

/** An engine in this process, opened as the options of `serve` say. Zero is none. */
typedef struct qw_offline {
    qw_engine_args args;
    qw_frontend frontend;
    qw_engine *engine;
} qw_offline;

/** Open everything; a tokenizer is not needed. Release with qw_offline_close, also after a failure.
 *  QW_ERR_USAGE: more than one copy of the model is asked for. */
QW_MUST_CHECK qw_status qw_offline_open(qw_offline *out, const qw_serve_options *o, qw_error *err);
void qw_offline_close(qw_offline *f);

/** "NAME: 3/30", rewritten in place on a terminal; elsewhere only the last. To stderr. */
void qw_offline_progress(const char *name, size_t n_done, size_t n_total);

/** Write `text`, then a newline, to a file that is replaced. */
QW_MUST_CHECK qw_status qw_offline_write(const char *path, qw_buf *text, qw_error *err);

#endif
