#ifndef QW_GRAMMAR_VOCAB_TRIE_H
#define QW_GRAMMAR_VOCAB_TRIE_H

#include "grammar/grammar.h"

/**
 * Every token's bytes as one tree, nodes in depth-first order:
 *
 *   node    0      1      2      3          node 0 is the root
 *   byte    -      a      ab     b
 *   next    4      3      3      4          the first node that is not below this one
 *
 * Special tokens and tokens without bytes are not in it. Immutable, any thread.
 */
typedef struct qw_trie_node {
    int32_t next;
    int32_t first_token, n_tokens; /* in qw_vocab_trie.tokens: those that end here */
    uint16_t depth;                /* bytes from the root */
    uint8_t byte;
} qw_trie_node;

struct qw_vocab_trie {
    qw_trie_node *nodes;
    int32_t n_nodes;
    int32_t *tokens;
    int32_t n_tokens;
    int32_t n_ids;     /* highest id + 1 */
    int32_t max_depth; /* of the longest token */
    qw_str *bytes;     /* [n_ids] of each id; ptr NULL: not in the trie */
};

/** The token bytes are borrowed for the trie's life. */
typedef struct qw_vocab_token {
    qw_str bytes;
    int32_t id;
} qw_vocab_token;

/** `tokens` is sorted in place; the bytes are borrowed. Ids are below n_ids. */
QW_MUST_CHECK qw_status qw_vocab_trie_build(qw_vocab_trie **out, qw_vocab_token *tokens, size_t n,
                                            int32_t n_ids, qw_error *err);
/** Of a tokenizer, which is borrowed. */
QW_MUST_CHECK qw_status qw_vocab_trie_new(qw_vocab_trie **out, const qw_tokenizer *tokenizer,
                                          qw_error *err);
/** NULL is fine. */
void qw_vocab_trie_free(qw_vocab_trie *t);

#endif
