#ifndef QW_GRAMMAR_GRAMMAR_SOURCES_H
#define QW_GRAMMAR_GRAMMAR_SOURCES_H

#include "format/json.h"
#include "grammar/char_dfa.h"

// What grammars are made from. Each function adds what it understands between two nodes of the
// automaton being built; failures are in g->pda.

/** How JSON is written, for all schemas of one grammar. */
typedef struct qw_json_style {
    bool compact;      /* ", " and ": " and nothing else */
    bool closed;       /* objects that list properties have no others by default */
    qw_str whitespace; /* regex; ptr NULL: any */
    int32_t max_token; /* bytes of the longest token */
} qw_json_style;

void qw_source_regex(qw_gram *g, qw_str pattern, int32_t max_token, int32_t from, int32_t to);
/** A list of strings. */
void qw_source_choice(qw_gram *g, const json_t *choices, int32_t from, int32_t to);
/** A schema with its own definitions. */
void qw_source_json_schema(qw_gram *g, const json_t *schema, const qw_json_style *style,
                           int32_t from, int32_t to);
/** The same for an object whose members are written <parameter=NAME>VALUE</parameter>. */
void qw_source_xml_parameters(qw_gram *g, const json_t *schema, const qw_json_style *style,
                              int32_t from, int32_t to);
/** Rules `name ::= ...`. */
void qw_source_ebnf(qw_gram *g, qw_str text, int32_t from, int32_t to);
void qw_source_structural_tag(qw_gram *g, const json_t *tag, const qw_json_style *style,
                              int32_t from, int32_t to);

#endif
