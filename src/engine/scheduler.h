#ifndef QW_ENGINE_SCHEDULER_H
#define QW_ENGINE_SCHEDULER_H

#include "engine/kv_cache.h"
#include "engine/request.h"

/** A doubly linked list through qw_sequence.prev/next. */
typedef struct qw_seq_queue {
    qw_sequence *head, *tail;
    int32_t n;
} qw_seq_queue;

/**
 * What runs next: first come, first served, under a budget of tokens per step (cli-and-bench.md
 * section 5). There are no prefill and decode phases: every sequence has n_computed and n_tokens,
 * and a step works on the difference. Running sequences come first, so a decode never waits for a
 * prompt; what is left of the budget goes to the prompts, in pieces if need be. When blocks run out
 * the last sequence in the running list gives all its blocks back and is computed again later.
 * Engine thread only; a function of the queues and the block pool, nothing else.
 */
typedef struct qw_scheduler {
    int32_t max_num_seqs;
    int32_t max_num_batched_tokens;
    qw_seq_queue waiting, running;
    qw_sequence *
        *scheduled; /* [max_num_seqs] of this step, running order; n_scheduled tokens each */
    int32_t n_scheduled;
    int32_t n_tokens; /* of this step, all sequences together */
    uint64_t n_preemptions;
} qw_scheduler;

QW_MUST_CHECK qw_status qw_scheduler_init(qw_scheduler *s, int32_t max_num_seqs,
                                          int32_t max_num_batched_tokens, qw_error *err);
/** The queues must be empty. */
void qw_scheduler_release(qw_scheduler *s);

/** Queue a new sequence behind the others. */
void qw_scheduler_add(qw_scheduler *s, qw_sequence *seq);
/** Choose the next step's tokens and give them blocks. False when nothing is left to do. */
bool qw_scheduler_step(qw_scheduler *s, qw_kv_cache *kv);
/** The step ran: its tokens' KV is in place. */
void qw_scheduler_commit(qw_scheduler *s);
/** Take a sequence out, whichever queue it is in, and give its blocks back. */
void qw_scheduler_remove(qw_scheduler *s, qw_sequence *seq, qw_kv_cache *kv);

/** Test aid: assert that queues, states, blocks and pool agree. */
void qw_scheduler_check(const qw_scheduler *s, const qw_kv_cache *kv);

#endif
