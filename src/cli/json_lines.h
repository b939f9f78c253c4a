#ifndef QW_CLI_JSON_LINES_H
#define QW_CLI_JSON_LINES_H

#include "format/json.h"

/** What to do with a line, an object; borrowed for the call unless its count is raised. */
typedef qw_status qw_json_line_fn(void *ctx, json_t *line, qw_error *err);

/**
 * Read a file of JSON objects, one a line (`path` NULL or "-": standard input), of any length up to
 * 64 MiB a line; empty lines are passed over. The first failure ends the reading, with "FILE line
 * N: " in front of its text.
 */
QW_MUST_CHECK qw_status qw_json_lines_read(const char *path, qw_json_line_fn *fn, void *ctx,
                                           qw_error *err);

#endif
