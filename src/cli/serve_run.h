#ifndef QW_CLI_SERVE_RUN_H
#define QW_CLI_SERVE_RUN_H

#include "cli/serve_options.h"

/**
 * Bind, load, serve until SIGTERM or SIGINT, let running requests end. On failure everything said
 * so far is on standard error, and *err is the root cause.
 */
QW_MUST_CHECK qw_status qw_serve_run(const qw_serve_options *o, const qw_program *program,
                                     qw_error *err);

#endif
