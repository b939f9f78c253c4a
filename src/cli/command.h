#ifndef QW_CLI_COMMAND_H
#define QW_CLI_COMMAND_H

#include "base/opt.h"

/** The program as it was started. */
typedef struct qw_program {
    const char *name;         /* "qwench"; "vllm" when it was started by that name */
    const char *version;      /* "0.1.0" */
    const char *commit;       /* "eeb354d" */
    const char *version_line; /* the answer to --version */
} qw_program;

typedef struct qw_command qw_command;

/** One run of a command. */
typedef struct qw_command_call {
    const qw_program *program;
    const qw_command *command;
    const char *name; /* "qwench generate": what usage and errors call it */
    int argc;
    char **argv; /* argv[0] is the word that chose the command */
} qw_command_call;

/** Returns the exit status: 0; 1 failed; 2 wrong usage. */
typedef int qw_command_fn(const qw_command_call *call);

#define QW_COMMAND_MAX_TABLES 8
/** Store the rows of the command's option tables in `tables`, which is zeroed, and return how many
 *  tables there are. */
typedef size_t qw_command_tables_fn(qw_opt_table tables[QW_COMMAND_MAX_TABLES]);

/** A command line and what it does. */
typedef struct qw_command_example {
    const char *line, *help;
} qw_command_example;

/** Something a person types while a command runs: "/set", "NAME VALUE", what it does. */
typedef struct qw_command_word {
    const char *name, *argument, *help;
} qw_command_word;

/**
 * A command: what runs it and what its help, its manual page, docs/cli.md and the completions are
 * made of (cli/docs.h). Either a leaf with `run` and `tables`, or a group with `commands`.
 */
struct qw_command {
    const char *name;
    const char *help;    /* its line in the list of commands */
    const char *summary; /* a sentence, above its options */
    /* For the manual: paragraphs between "\n\n"; NULL: the summary says it all. */
    const char *description;
    const qw_command_example *examples; /* up to a NULL line; may be NULL */

    qw_command_fn *run;
    qw_command_tables_fn *tables;
    const qw_command_word *(*word)(size_t i); /* NULL behind the last; may be NULL */

    const qw_command *const *commands;
    size_t n_commands;
};

/**
 * Run `command`: of a group, the command that argv[1] names. Returns its exit status; 1 if what it
 * printed could not be written. In a group, no argument, --help and -h list the commands; --version
 * and -v print the version line; an unknown command is an error on stderr that suggests the nearest
 * one: exit status 2.
 */
int qw_command_run(const qw_command *command, const qw_program *program, int argc, char **argv);

#endif
