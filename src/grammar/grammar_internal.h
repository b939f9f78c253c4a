#ifndef QW_GRAMMAR_GRAMMAR_INTERNAL_H
#define QW_GRAMMAR_GRAMMAR_INTERNAL_H

// The inside of a compiled grammar, for grammar.c and matcher.c.

#include <pthread.h>
#include <stdatomic.h>

#include "grammar/grammar_states.h"
#include "grammar/matcher.h"
#include "grammar/vocab_trie.h"

/** A set of tokens: a list of ids when there are few, else bits. */
typedef struct qw_token_set {
    int32_t *ids;   /* [n]; NULL: see bits */
    uint32_t *bits; /* [qw_mask_words(n_ids)] */
    int32_t n;
} qw_token_set;

/**
 * What may follow at a node as far as its rule reaches: tokens that stay inside it, and the nodes
 * of the trie after which the rule may be over while a token goes on.
 */
typedef struct qw_node_mask {
    qw_token_set tokens;
    int32_t *leaves; /* [n_leaves] nodes of the trie */
    int32_t n_leaves;
} qw_node_mask;

struct qw_grammar {
    atomic_int n_owners;
    const qw_vocab_trie *trie;
    qw_pda pda;
    int32_t start; /* node */

    pthread_mutex_t mu; /* guards all that follows; a leaf */
    qw_states states;
    qw_node_mask **node_masks;   /* [pda.n_nodes], NULL: not made yet */
    qw_token_set **config_masks; /* [cap_config_masks] by config, NULL: not made yet */
    size_t cap_config_masks;
    size_t mask_bytes;
    int32_t *path;   /* [trie->max_depth + 1] configs on the way down the trie */
    int32_t *leaves; /* scratch: of the node mask being made */
    size_t n_leaves, cap_leaves;
    uint32_t *bits;       /* scratch mask */
    qw_matcher *matchers; /* all that live, linked: their configs are renumbered on a flush */
};

struct qw_matcher {
    qw_grammar *grammar;
    int32_t config; /* guarded by the grammar's lock */
    qw_matcher *prev, *next;
};

/** Take over a finished automaton; on failure it is released too. */
QW_MUST_CHECK qw_status qw_grammar_new(qw_grammar **out, const qw_vocab_trie *trie, qw_pda *pda,
                                       int32_t root, qw_error *err);

#endif
