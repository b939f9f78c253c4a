#ifndef QW_CLI_DOCS_H
#define QW_CLI_DOCS_H

#include "cli/command.h"

// Manual pages, docs/cli.md and completions, all made of the commands and their option tables.
// Only qwench-docs (docs_main.c) uses this, when the program is built.

/** One command or group of commands. */
typedef struct qw_doc_page {
    const qw_command *command;
    char *name;   /* "qwench bench kernels"; owned */
    qw_opts opts; /* without values for a group */
} qw_doc_page;

/** All commands, each behind the group it belongs to; pages[0] is the program. */
typedef struct qw_docs {
    const char *version;
    qw_doc_page *pages;
    size_t n_pages, cap;
} qw_docs;

/** `root` and `version` are borrowed until release. */
QW_MUST_CHECK qw_status qw_docs_init(qw_docs *out, const qw_command *root, const char *version,
                                     qw_error *err);
void qw_docs_release(qw_docs *d);

// What is true of all commands; each list ends with a NULL name.
extern const qw_command_word qw_docs_environment[], qw_docs_files[], qw_docs_exit_status[];

/** True for an option that is followed by a value. */
bool qw_doc_takes_value(const qw_opt *row);
/** The page's name with `separator` for its blanks. Caller owns; NULL when memory is short. */
char *qw_doc_joined_name(const qw_doc_page *page, char separator);
/** An option whose variable shows how variables are named; NULL when there is none. */
const qw_opt_value *qw_doc_env_example(const qw_opts *o);

/** Append the manual page, for groff's man macros. */
void qw_docs_man(const qw_docs *d, const qw_doc_page *page, qw_buf *out);
/** Append docs/cli.md. */
void qw_docs_markdown(const qw_docs *d, qw_buf *out);
/** Append the completion script. */
void qw_docs_bash(const qw_docs *d, qw_buf *out);
void qw_docs_zsh(const qw_docs *d, qw_buf *out);

#endif
