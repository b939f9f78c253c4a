#ifndef QW_ENGINE_BATCH_H
#define QW_ENGINE_BATCH_H

#include "engine/scheduler.h"

/** A sequence whose next token a step chooses, and, once it has run, what came out. */
typedef struct qw_sampled {
    int32_t row;                /* of its last token in the flat batch */
    int32_t i_seq;              /* in qw_batch.sequences */
    qw_status status;           /* not QW_OK: see qw_batch.errors at the same index */
    int32_t id;                 /* with QW_OK */
    const qw_logprob *logprobs; /* [sequence's n_logprobs]; NULL: not asked for */

    // Filled in when the result is taken over (engine.c)
    qw_sequence *seq; /* NULL: nobody wants it any more */
    qw_finish_reason finish;
    int32_t stop_id;
    int64_t time_ns;
} qw_sampled;

/** A row whose sink wants to know what the model says about the position. */
typedef struct qw_told_row {
    int32_t row, i_seq;
    int32_t position;
} qw_told_row;

/**
 * One step: the scheduled tokens of all sequences one after the other, prompts and decodes alike,
 * and the results.
 *
 *   row        0 1 2 3 | 4 | 5 6 7
 *   sequence   A A A A | B | C C C       seqs[] = {first_row, n_rows, first_pos, block_table}
 *
 * A batch holds its sequences (n_holds) from build until they are let go.
 */
typedef struct qw_batch {
    int32_t *token_ids, *positions; /* [max_tokens] */
    qw_seq_range *seqs;             /* [max_seqs] */
    qw_sequence **sequences;        /* [max_seqs] */
    qw_sampled *sampled;            /* [max_seqs], ascending rows */
    qw_error *errors;               /* [max_seqs], of failed samples */
    qw_told_row *told;              /* [max_tokens], ascending rows */
    int32_t n_tokens, n_seqs, n_sampled, n_told;
    int32_t i_logprobs; /* which of a sequence's two rows of logprobs this batch fills */
} qw_batch;

/** `i_logprobs`: 0 or 1, another one for each batch that may be in use at the same time. */
QW_MUST_CHECK qw_status qw_batch_init(qw_batch *b, int32_t max_tokens, int32_t max_seqs,
                                      int32_t i_logprobs, qw_error *err);
void qw_batch_release(qw_batch *b);

/**
 * Fill in from the scheduler's choice. A token that the step before has yet to choose is -1 until
 * qw_batch_patch.
 */
void qw_batch_build(qw_batch *b, const qw_scheduler *s);
/**
 * The results of the step before are known: put the tokens in, and take out the rows of sequences
 * that ended with them (one row each). Returns how many sequences were taken out; they lie behind
 * the others in `sequences` and are still held. The batch may end up empty.
 */
int32_t qw_batch_patch(qw_batch *b);

#endif
