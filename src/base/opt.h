#ifndef QW_BASE_OPT_H
#define QW_BASE_OPT_H

#include "base/buf.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/str.h"

// Option tables: one row per option; command line, environment, config file, defaults, range checks
// and help all come from the row. The grammar is that of vLLM's parser (cli-and-bench.md 1.2):
//
//   --name value   --name=value   -n value    `_` and `-` are the same in names up to the first `.`
//   --na value     any prefix that fits one option only
//   --x / --no-x   booleans take no value
//   --x.a.b 4      JSON options: one member; --x.list+ a,b appends to a list
//   --             everything behind it is positional
//
// A word that begins with '-' is a value only if it is "-", a number, or has a blank in its name.
// The last of repeated options wins. Between sources: flag, environment, config file, default.

/** What an option holds, and the C type of its field in the options struct. */
typedef enum qw_opt_type {
    QW_OPT_FLAG,   /* bool: --x */
    QW_OPT_BOOL,   /* bool: --x and --no-x */
    QW_OPT_INT,    /* int64_t */
    QW_OPT_FLOAT,  /* double */
    QW_OPT_STR,    /* const char * */
    QW_OPT_CHOICE, /* int: index into `choices` */
    QW_OPT_STRS,   /* const char *const *, and size_t at n_offset */
    QW_OPT_INTS,   /* const int64_t *, and size_t at n_offset */
    QW_OPT_JSON,   /* qw_opt_json; format/opt_json.h merges it into one object */
} qw_opt_type;

/** Where a value came from; a higher one wins. */
typedef enum qw_opt_source {
    QW_OPT_UNSET, /* nobody gave one and the row has no default: the field is left as it was */
    QW_OPT_FROM_DEFAULT,
    QW_OPT_FROM_FILE,
    QW_OPT_FROM_ENV,
    QW_OPT_FROM_FLAG,
} qw_opt_source;

/** `max` of a row that has only a smallest value. */
#define QW_OPT_NO_MAX 1e300
/** `offset` of a row whose value goes into no field: it is only read by qw_opts_get. */
#define QW_OPT_NO_FIELD SIZE_MAX

/** What giving an option does; for options that another program's command lines bring along. */
typedef enum qw_opt_effect {
    QW_OPT_ACTIVE,   /* what it says */
    QW_OPT_ADJUSTED, /* something near it */
    QW_OPT_INERT,    /* nothing, and nothing is missed */
    QW_OPT_WARNED,   /* nothing, and the user should know: one warning at start */
    QW_OPT_REFUSED,  /* an error */
} qw_opt_effect;

/** One option. Only the first two members are always needed. */
typedef struct qw_opt {
    const char *name; /* long name without dashes; '_' may stand for '-' */
    qw_opt_type type;
    size_t offset;   /* of the field in the options struct */
    size_t n_offset; /* STRS, INTS: of the size_t that takes the count */
    const char *def; /* default, as it would be typed; NULL: none */
    double min, max; /* INT, INTS, FLOAT: allowed values, both ends included; 0, 0: all */
    const char *const *choices; /* CHOICE: NULL-terminated; STR: words to suggest, any is allowed */
    const char *shorts;         /* names after a single dash, separated by blanks: "p", "tp" */
    const char *env;            /* variable; NULL: QWENCH_ and the name in capitals */
    const char *group;          /* heading in the help; NULL: "Options" */
    const char *metavar;        /* the value's name in the help; NULL: by type */
    const char *allowed;        /* the range in words, for checks that are made elsewhere */
    const char *def_note;       /* shown as the default where `def` cannot say it */
    const char *warning;        /* added to the warnings when the option is given: "no effect" */
    const char *word;           /* INT: a word accepted for a number ("auto") ... */
    int64_t word_value;         /* ... and that number */
    bool human;                 /* INT: suffixes k m g t (powers of 1000), K M G T (of 1024) */
    bool append;                /* STRS, INTS: one value each time, repeated; else --x a b c */
    bool positional;            /* may be given without --name, in the order of the rows; a list
                                   takes all that is left and needs `append` */
    bool required;
    bool hidden; /* not in help, not suggested */
    qw_opt_effect effect;
    const char *why; /* of an effect other than ACTIVE: "there is one process" */
    const char *help;
} qw_opt;

/** Rows and the struct that their offsets are in; target NULL: values are only read by get. */
typedef struct qw_opt_table {
    const qw_opt *rows;
    size_t n_rows;
    void *target;
} qw_opt_table;

/** One dotted assignment: --x.a.b value has path "a.b". */
typedef struct qw_opt_assign {
    const char *path;
    const char *value;
    bool append; /* --x.a.b+ v,w: append to a list */
} qw_opt_assign;

/** A JSON option as given: a whole text (or NULL), and members to set in it, in order. */
typedef struct qw_opt_json {
    const char *text;
    const qw_opt_assign *assigns;
    size_t n_assigns;
} qw_opt_json;

/** What became of one row. All texts live until qw_opts_release. */
typedef struct qw_opt_value {
    const qw_opt *row;
    const char *name;    /* row's name with '-' only */
    const char *no_name; /* BOOL: "no-" and the name; else NULL */
    const char *env;     /* variable's name; NULL: none */
    qw_opt_source source;
    const char **texts; /* as given; one, or several for STRS and INTS */
    size_t n_texts;
    const qw_opt_assign *assigns; /* JSON */
    size_t n_assigns;
    union { /* by type, after qw_opts_finish; STRS are `texts` */
        bool flag;
        int64_t i64;
        double f64;
        int index;
        const int64_t *ints; /* n_texts of them */
        qw_opt_json json;
    } as;
    void *target;
} qw_opt_value;

/** The options of one run of one command. */
typedef struct qw_opts {
    const char *program; /* "qwench generate" */
    const char *summary;
    qw_opt_value *values; /* in the order of the rows; the last is --help */
    size_t n_values;
    bool wants_help;        /* --help or -h was met */
    const char *help_topic; /* of --help=topic, else NULL */
    const char **warnings;  /* sentences for the log: duplicates, options with a warning */
    size_t n_warnings;
    qw_arena arena; /* lifetime: until qw_opts_release */
} qw_opts;

/** `program`, `summary` and the tables are borrowed until release. Names must be unique. */
QW_MUST_CHECK qw_status qw_opts_init(qw_opts *o, const char *program, const char *summary,
                                     const qw_opt_table *tables, size_t n_tables, qw_error *err);
/** Also invalidates the texts and lists that qw_opts_finish put into the targets. */
void qw_opts_release(qw_opts *o);

/**
 * Read the command line; argv[0] is skipped. Nothing is converted yet. Stops at --help, with
 * wants_help set: then show qw_opts_help and do not finish. Errors (QW_ERR_USAGE) are argparse's:
 * "unrecognized arguments: --foo", "ambiguous option: --fo could match --foo, --four", "argument
 * --foo: expected one argument".
 */
QW_MUST_CHECK qw_status qw_opts_parse(qw_opts *o, int argc, char *const *argv, qw_error *err);

/**
 * One entry of a config file, after qw_opts_parse or before it: `key` is an option's name without
 * dashes in front (dots allowed as on the command line), `values` its one or several texts; a
 * boolean's is "true" or "false", and false is dropped, as vLLM drops it.
 */
QW_MUST_CHECK qw_status qw_opts_apply_config(qw_opts *o, const char *key, const char *const *values,
                                             size_t n_values, qw_error *err);

/**
 * Add environment (empty variables count as unset; lists are split at blanks) and defaults, convert
 * and check all values, then store them in the targets. After a failure no target has changed.
 */
QW_MUST_CHECK qw_status qw_opts_finish(qw_opts *o, qw_error *err);

/** The value of the option called `name` ('_' or '-'), NULL when no row is called so. */
const qw_opt_value *qw_opts_get(const qw_opts *o, const char *name);
/** "default", "config file", "environment", "flag" or "unset". */
const char *qw_opt_source_name(qw_opt_source source);

/** Append "usage: PROGRAM [options] [MODEL]" and a newline. */
void qw_opts_usage(const qw_opts *o, qw_buf *out);
/**
 * Append the help, at most 80 columns wide. `topic`: NULL (everything, or only the group names when
 * there are more than QW_OPT_HELP_LONG options), "all", a group's name (case does not matter), an
 * option's name, or a part of some. Anything else is QW_ERR_USAGE and appends nothing.
 */
QW_MUST_CHECK qw_status qw_opts_help(const qw_opts *o, const char *topic, qw_buf *out,
                                     qw_error *err);
#define QW_OPT_HELP_LONG 60

// For what else is made of the rows: manuals and completions (cli/docs.h).

/** The name of the value in the help, "N" or "FILE"; empty for an option without a value. */
const char *qw_opt_metavar(const qw_opt *row);
/** The heading that the option stands under. */
const char *qw_opt_group(const qw_opt *row);
/** Append "(one of: a, b; default: a; no effect: why)", or nothing when there is nothing to say; of
 *  a row without help only "no effect: why". */
void qw_opt_notes(const qw_opt *row, qw_buf *out);
/** True if value `i` is the first visible one of its group. */
bool qw_opts_opens_group(const qw_opts *o, size_t i);

/**
 * An integer as people write it: digits with an optional sign, or digits and k, m, g, t (times
 * 1000^n; a fraction is allowed: 25.6k) or K, M, G, T (times 1024^n). False for all else.
 */
QW_MUST_CHECK bool qw_opt_human_int(qw_str s, int64_t *out);

#endif
