#ifndef QW_CLI_COMMAND_TABLE_H
#define QW_CLI_COMMAND_TABLE_H

#include "base/compiler.h"

/** argv[0] is the command's name, argc counts it. Returns the exit status. */
typedef int qw_command_fn(int argc, char **argv);

typedef struct qw_command {
    const char *name;
    const char *help; /* one line */
    qw_command_fn *run;
} qw_command;

/** The subcommands of a program. */
typedef struct qw_command_table {
    const char *program; /* "qwench" */
    const char *version; /* line for --version, without newline */
    const char *summary; /* line under the usage */
    const qw_command *commands;
    size_t n_commands;
} qw_command_table;

/**
 * Run the command that argv[1] names and return its exit status; 1 if what it printed could not be
 * written. No argument, --help and -h list the commands; --version and -v print the version line;
 * an unknown command is an error on stderr that suggests the nearest one: exit status 2.
 */
int qw_command_table_run(const qw_command_table *table, int argc, char **argv);

#endif
