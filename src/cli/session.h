#ifndef QW_CLI_SESSION_H
#define QW_CLI_SESSION_H

#include "cli/model_options.h"
#include "engine/frontend.h"

/** A model that a command runs: tokenizer, template, engine, and what requests start from. */
typedef struct qw_session {
    qw_frontend frontend;
    qw_engine *engine;
    qw_sampling_params defaults; /* generation_config.json, then the command's sampling flags */
} qw_session;

/**
 * Open everything. A progress bar on stderr when that takes more than half a second and stderr is a
 * terminal; the configuration's warnings, and at level info the memory plan, go to the log.
 */
QW_MUST_CHECK qw_status qw_session_open(qw_session *out, const qw_model_options *model,
                                        const qw_opts *opts, qw_error *err);
/** Requests that still run are withdrawn: their sinks must still be there. */
void qw_session_close(qw_session *s);

#endif
