#ifndef QW_EVAL_GREEDY_PAIR_H
#define QW_EVAL_GREEDY_PAIR_H

#include "eval/model_side.h"
#include "format/ids.h"

/** Texts that two models go on with greedily, until they part. Borrowed. */
typedef struct qw_greedy_pair {
    qw_model_side *reference, *other;
    const qw_ids *texts; /* [n], n <= QW_SIDE_ROWS; they begin with the first half of each */
    size_t n;
    int32_t n_tokens;           /* go on so far */
    const char *generation_dir; /* whose generation_config.json says what ends a text */
    int32_t n_token_ids;        /* ids from here on are never chosen; 0: all may be */
} qw_greedy_pair;

/** Positions of the longest one; 0: there is none. */
size_t qw_greedy_pair_length(const qw_greedy_pair *g);
/** KV blocks that both sides need. */
size_t qw_greedy_pair_blocks(const qw_greedy_pair *g);

/**
 * For each text how many tokens both choose alike before they part; -1: they do not, within
 * n_tokens or up to the end of the text. `blocks`: 0, 1, 2, ... Caller owns *parts_at (NULL: n is
 * 0).
 */
QW_MUST_CHECK qw_status qw_greedy_pair_run(int32_t **parts_at, const qw_greedy_pair *g,
                                           const int32_t *blocks, qw_error *err);

#endif
