#ifndef QW_CLI_CLI_H
#define QW_CLI_CLI_H

#include "base/status.h"

// What every command does the same way.

/**
 * Print "PROGRAM: error: TEXT" on stderr and return the exit status of `code`. For a usage error
 * `usage` (may be NULL: a line with its newline) is printed in front, as argparse does.
 */
int qw_cli_fail(const char *program, qw_status code, const qw_error *err, const char *usage);

/**
 * Write out what stdout still buffers. Returns 0, or, when this or an earlier write failed (disk
 * full, pipe closed), says so on stderr and returns 1. Needs SIGPIPE ignored.
 */
int qw_cli_flush_stdout(const char *program);

#endif
