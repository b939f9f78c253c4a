#ifndef QW_GRAMMAR_CHAR_DFA_H
#define QW_GRAMMAR_CHAR_DFA_H

#include "grammar/regex_parse.h"

/**
 * A set of texts as a deterministic automaton over code points; the start is state 0. Every state
 * can reach an accepting one; without states the set is empty. Lives in the compilation's arena.
 */
typedef struct qw_dfa_edge {
    int32_t lo, hi, to;
} qw_dfa_edge;

typedef struct qw_dfa_state {
    int32_t first, n; /* edges, ascending, not overlapping */
    bool accepts;
} qw_dfa_state;

typedef struct qw_char_dfa {
    qw_dfa_state *states;
    qw_dfa_edge *edges;
    int32_t n_states, n_edges;
} qw_char_dfa;

enum { QW_DFA_MAX_STATES = 50000 };

/*
 * All functions return an empty set after a failure, which is in g->pda.
 */

/** What the expression matches: the whole text, or with `search` some part of it. */
qw_char_dfa qw_dfa_of_regex(qw_gram *g, const qw_regex *r, bool search);
/** Texts of min to max code points; max -1: any number. */
qw_char_dfa qw_dfa_of_length(qw_gram *g, int64_t min, int64_t max);
/** These texts, valid UTF-8; sorted in place. */
qw_char_dfa qw_dfa_of_texts(qw_gram *g, qw_str *texts, size_t n);

typedef enum qw_dfa_join {
    QW_DFA_AND,
    QW_DFA_AND_NOT,
    QW_DFA_OR,
} qw_dfa_join;

qw_char_dfa qw_dfa_join_of(qw_gram *g, const qw_char_dfa *a, const qw_char_dfa *b,
                           qw_dfa_join join);
static inline bool qw_dfa_is_empty(const qw_char_dfa *d)
{
    return d->n_states == 0;
}
bool qw_dfa_matches(const qw_char_dfa *d, qw_str text);

typedef enum qw_dfa_spelling {
    QW_SPELL_UTF8,
    QW_SPELL_JSON,         /* inside a JSON string: every character also as its escapes */
    QW_SPELL_JSON_LITERAL, /* the same, but printable ASCII only as itself */
} qw_dfa_spelling;

/**
 * Add the texts' bytes between two nodes of the automaton. `max_token`: bytes of the longest token,
 * for states that only longer texts tell apart (qw_pda_alias).
 */
void qw_dfa_spell(qw_gram *g, const qw_char_dfa *d, qw_dfa_spelling spelling, int32_t max_token,
                  int32_t from, int32_t to);

#endif
