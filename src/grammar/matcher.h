#ifndef QW_GRAMMAR_MATCHER_H
#define QW_GRAMMAR_MATCHER_H

#include "grammar/grammar.h"

/**
 * Where one sequence stands in its grammar. One thread at a time; matchers of one grammar may be
 * used on different threads, the grammar has a lock. A matcher owns a reference to its grammar.
 */
typedef struct qw_matcher qw_matcher;

QW_MUST_CHECK qw_status qw_matcher_new(qw_matcher **out, qw_grammar *g, qw_error *err);
/** NULL is fine. */
void qw_matcher_free(qw_matcher *m);

/** Words of a mask for a vocabulary of n ids: bit id % 32 of word id / 32. */
static inline size_t qw_mask_words(size_t n_ids)
{
    return (n_ids + 31) / 32;
}

/**
 * Write which tokens may come next into `mask` [qw_mask_words(n_ids)]. Special tokens never may:
 * those that end an answer are the caller's, who asks qw_matcher_may_end. Ids that the trie does
 * not know are not set. *n_allowed (may be NULL): how many bits are set. Errors concern this
 * sequence alone: QW_ERR_USAGE, the grammar is too ambiguous; QW_ERR_NO_MEMORY.
 */
QW_MUST_CHECK qw_status qw_matcher_mask(qw_matcher *m, uint32_t *mask, size_t n_ids,
                                        size_t *n_allowed, qw_error *err);
/** True if what was accepted so far is a whole answer. */
bool qw_matcher_may_end(const qw_matcher *m);
/** True if nothing can follow any more. */
bool qw_matcher_is_complete(const qw_matcher *m);

/** Go on by a token, or by bytes. QW_ERR_USAGE if they may not come here: nothing changes then. */
QW_MUST_CHECK qw_status qw_matcher_accept(qw_matcher *m, int32_t id, qw_error *err);
QW_MUST_CHECK qw_status qw_matcher_accept_bytes(qw_matcher *m, qw_str bytes, qw_error *err);
/** Which bytes may come next. */
QW_MUST_CHECK qw_status qw_matcher_next_bytes(qw_matcher *m, bool next[256], qw_error *err);
/** Let *to, of the same grammar, stand where `from` does: to go back after a draft. */
void qw_matcher_set(qw_matcher *to, const qw_matcher *from);

#endif
