#ifndef QW_FORMAT_BPE_H
#define QW_FORMAT_BPE_H

#include "base/str.h"
#include "format/ids.h"

/** One merge rule: `left` followed by `right` becomes `result`; lower ranks go first. */
typedef struct qw_bpe_pair {
    int32_t left, right;
    int32_t rank; /* -1: an empty slot */
    int32_t result;
} qw_bpe_pair;

/** Merge rules as an open-addressing hash table, and the ids of the 256 bytes. A view. */
typedef struct qw_bpe_table {
    const qw_bpe_pair *slots;
    size_t n_slots;          /* a power of two, at least one slot empty */
    const int32_t *byte_ids; /* [256] */
} qw_bpe_table;

/** Number of slots for `n` rules. */
size_t qw_bpe_table_slots(size_t n);
/** Add a rule to slots that hold fewer than n_slots - 1; an older rule for the pair is replaced. */
void qw_bpe_table_put(qw_bpe_pair *slots, size_t n_slots, qw_bpe_pair pair);
/** The rule for (left, right), or NULL. */
const qw_bpe_pair *qw_bpe_table_find(const qw_bpe_table *t, int32_t left, int32_t right);

/** Memory kept between pieces. Zeroed memory is a fresh one. */
typedef struct qw_bpe_scratch {
    void *memory;
    size_t cap; /* longest piece that fits, bytes */
} qw_bpe_scratch;

void qw_bpe_scratch_release(qw_bpe_scratch *s);

/**
 * Append the tokens of one piece of fewer than 2^30 bytes: repeat { of all neighbours that have a
 * rule, merge those of lowest rank, among equals the leftmost } (qwen3-dense 5.4).
 * O(n log n); a failure for lack of memory leaves `out` as it was.
 */
QW_MUST_CHECK qw_status qw_bpe_encode(const qw_bpe_table *t, qw_str piece, qw_bpe_scratch *s,
                                      qw_ids *out, qw_error *err);

/** The two ways that qw_bpe_encode chooses from: the rule as it is written, O(n^2), good for a
 *  word; and with a priority queue, for anything. Same result. `ids` is [piece.len], overwritten
 *  by the tokens; the return value counts them. */
size_t qw_bpe_merge_plain(const qw_bpe_table *t, qw_str piece, int32_t *ids, int32_t *ranks);
QW_MUST_CHECK qw_status qw_bpe_merge_queue(const qw_bpe_table *t, qw_str piece, qw_bpe_scratch *s,
                                           qw_ids *out, qw_error *err);

#endif
