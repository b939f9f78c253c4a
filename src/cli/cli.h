#ifndef QW_CLI_CLI_H
#define QW_CLI_CLI_H

#include "base/status.h"
#include "cli/command.h"

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

/** The options of a command that is running. */
typedef struct qw_cli_options {
    qw_opts opts;
    qw_buf usage;
} qw_cli_options;

/**
 * Read the options of `call` into `targets`, one for each of the command's tables, in their order
 * (an entry may be NULL). True: go on, and release `out` at the end. False: the command is over
 * with *exit_status, because help was asked for and shown, or because of an error, which has been
 * printed. Warnings go to the log.
 */
bool qw_cli_options_read(qw_cli_options *out, const qw_command_call *call, void *const *targets,
                         size_t n_targets, int *exit_status);
void qw_cli_options_release(qw_cli_options *o);

#endif
