#ifndef QW_GRAMMAR_REGEX_PARSE_H
#define QW_GRAMMAR_REGEX_PARSE_H

#include "grammar/char_set.h"

typedef enum qw_regex_kind {
    QW_REGEX_EMPTY,
    QW_REGEX_SET,    /* one code point of `set` */
    QW_REGEX_CAT,    /* a, then b */
    QW_REGEX_ALT,    /* a or b */
    QW_REGEX_REPEAT, /* a, min to max times; max -1: any number */
    QW_REGEX_BEGIN,  /* ^ */
    QW_REGEX_END,    /* $ */
} qw_regex_kind;

typedef struct qw_regex {
    qw_regex_kind kind;
    qw_char_set set;
    int32_t min, max;
    struct qw_regex *a, *b;
} qw_regex;

enum { QW_REGEX_MAX_REPEAT = 100000, QW_REGEX_MAX_DEPTH = 200 };

/**
 * Read a regular expression in the common subset of ECMAScript's and Python's dialects:
 * alternation, groups (named or not, all without captures), classes, \d \w \s \D \W \S (of ASCII,
 * as in ECMAScript; \s with Unicode's white space), \p{..} for general categories, escapes, greedy
 * and lazy quantifiers, ^ and $. Other constructs (look-around, back-references, \b) are
 * QW_ERR_UNSUPPORTED by name. NULL with the failure in g->pda. The tree lives in the arena.
 */
qw_regex *qw_regex_parse(qw_gram *g, qw_str text);

/** Read one class `[...]` at *pos, as in a regular expression or in EBNF. False: failure. */
bool qw_regex_parse_class(qw_gram *g, qw_str text, size_t *pos, qw_char_set *out);

#endif
