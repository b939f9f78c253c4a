#ifndef QW_FORMAT_JINJA_PARSER_H
#define QW_FORMAT_JINJA_PARSER_H

// Private to the two halves of the parser: jinja_parser.c reads statements, jinja_parse_expr.c
// expressions.

#include "format/jinja_internal.h"

/** Names that the macro or loop bodies being parsed mention; bits of qw_jinja_parser.mentioned. */
enum {
    QW_JINJA_MENTIONS_LOOP = 1 << QW_JINJA_NAME_LOOP,
    QW_JINJA_MENTIONS_CALLER = 1 << QW_JINJA_NAME_CALLER,
    QW_JINJA_MENTIONS_VARARGS = 1 << QW_JINJA_NAME_VARARGS,
    QW_JINJA_MENTIONS_KWARGS = 1 << QW_JINJA_NAME_KWARGS,
};

typedef struct qw_jinja_parser {
    qw_chat_template *tmpl;
    qw_jinja_lexer lexer;
    qw_jinja_token token, ahead; /* the current token and the one after it */
    qw_map name_numbers;
    size_t names_cap;
    int depth;                    /* recursion of the parser itself */
    int n_conditional;            /* open ifs and inline ifs: unknown filters fail later there */
    int n_loops;                  /* open loops that break and continue may leave */
    const qw_jinja_expr *unknown; /* first unknown filter or test of this tag outside branches */
    unsigned mentioned;           /* since a body saved and cleared it */
    qw_error *err;
} qw_jinja_parser;

/** Move to the next token. */
qw_status qw_jinja_parser_advance(qw_jinja_parser *p);
bool qw_jinja_parser_at_op(const qw_jinja_parser *p, const char *op);
bool qw_jinja_parser_at_name(const qw_jinja_parser *p, const char *name);
/** Consume the operator or name if it is the current token. */
qw_status qw_jinja_parser_skip(qw_jinja_parser *p, const char *text, bool *was_there);
/** Consume the operator, or fail naming what stands there. */
qw_status qw_jinja_parser_expect(qw_jinja_parser *p, const char *op);
qw_status qw_jinja_parser_expect_name(qw_jinja_parser *p, qw_jinja_token *out);
/** Fail with "<what>, got '<current token>'". */
qw_status qw_jinja_parser_unexpected(qw_jinja_parser *p, const char *what);
/** Bound the recursion of the parser; pair with p->depth--. */
qw_status qw_jinja_parser_enter(qw_jinja_parser *p);
/** Zeroed memory in the template's arena. */
qw_status qw_jinja_parser_alloc(qw_jinja_parser *p, size_t size, void **out);
/** Number of a name. */
qw_status qw_jinja_parser_intern(qw_jinja_parser *p, qw_str name, int32_t *out);
qw_status qw_jinja_parser_node(qw_jinja_parser *p, qw_jinja_expr_type type, int line,
                               qw_jinja_expr **out);

/** One expression; with_if: an inline if is allowed at the top. */
qw_status qw_jinja_parse_expression(qw_jinja_parser *p, bool with_if, qw_jinja_expr **out);
/** One expression or, if commas follow, a tuple without parentheses. */
qw_status qw_jinja_parse_tuple(qw_jinja_parser *p, bool with_if, qw_jinja_expr **out);
/** Name, tuple of names, or (with_namespace) name.attribute: what can stand left of "=" or "in". */
qw_status qw_jinja_parse_target(qw_jinja_parser *p, bool with_namespace, qw_jinja_expr **out);
/** A chain of filters on `input` (NULL: the text of a block). `inline_start`: the first filter has
 *  no "|" before it. *out is `input` if there is none. */
qw_status qw_jinja_parse_filters(qw_jinja_parser *p, qw_jinja_expr *input, bool inline_start,
                                 qw_jinja_expr **out);

#endif
