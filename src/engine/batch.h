#ifndef QW_ENGINE_BATCH_H
#define QW_ENGINE_BATCH_H

#include "engine/scheduler.h"

/** A row of the flat batch whose logits somebody wants. */
typedef struct qw_logit_row {
    int32_t row;
    int32_t i_seq;    /* in scheduler->scheduled */
    int32_t position; /* of that row's token in its sequence */
} qw_logit_row;

/**
 * The flat batch: scheduled tokens of all sequences one after the other, prompts and decodes alike.
 *
 *   row        0 1 2 3 | 4 | 5 6 7
 *   sequence   A A A A | B | C C C       seqs[] = {first_row, n_rows, first_pos, block_table}
 */
typedef struct qw_batch {
    int32_t *token_ids, *positions; /* [max_tokens] */
    qw_seq_range *seqs;             /* [max_seqs] */
    qw_logit_row *logit_rows;       /* [max_tokens], ascending rows */
    int32_t n_tokens, n_seqs, n_logit_rows;
} qw_batch;

QW_MUST_CHECK qw_status qw_batch_init(qw_batch *b, int32_t max_tokens, int32_t max_seqs,
                                      qw_error *err);
void qw_batch_release(qw_batch *b);
/** Fill in from the scheduler's choice. */
void qw_batch_build(qw_batch *b, const qw_scheduler *s);

#endif
