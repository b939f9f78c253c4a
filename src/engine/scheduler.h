#ifndef QW_ENGINE_SCHEDULER_H
#define QW_ENGINE_SCHEDULER_H

#include "engine/kv_cache.h"
#include "engine/seq_queue.h"

/** What a step may hold. All limits are at least 1 unless said otherwise. */
typedef struct qw_scheduler_limits {
    int32_t max_num_seqs;
    int32_t max_num_batched_tokens;
    bool by_priority;            /* false: first come, first served */
    bool enable_chunked_prefill; /* false: a sequence is admitted with all its tokens or not */
    bool reserve_full_isl;       /* admit only when blocks for all known tokens are free */
    int32_t long_prefill_token_threshold; /* most tokens of one sequence in a step; longer rests are
                                             "long"; 0: no such limit */
    int32_t max_num_partial_prefills;     /* sequences with a part of their prompt still to do */
    int32_t max_long_partial_prefills;    /* long ones among them */
} qw_scheduler_limits;

/**
 * What runs next, under a budget of tokens per step (cli-and-bench.md section 5). There are no
 * prefill and decode phases: every sequence has tokens that are known, or will be when the steps
 * before have run, and tokens that are computed; a step works on the difference. Running sequences
 * come first, so a decode never waits for a prompt; what is left of the budget goes to waiting
 * ones, in pieces if need be. When blocks run out, the last running sequence (under the priority
 * policy: the one that comes last by priority and arrival) gives its blocks back and is computed
 * again later; it waits ahead of the others.
 *
 * A waiting sequence that would be one partial prefill too many lets shorter ones pass.
 *
 * Scheduling is ahead of running: n_computed counts what has been scheduled, and a sequence whose
 * last known token was scheduled has a pending token, which qw_scheduler_token adds when the step
 * has run. One more step may be scheduled before that.
 *
 * Engine thread only; a function of the queues and the cache, nothing else. A step costs
 * O(running sequences + log waiting ones).
 */
typedef struct qw_scheduler {
    qw_scheduler_limits limits;
    qw_seq_heap waiting;
    qw_seq_list running;
    qw_sequence **scheduled; /* [max_num_seqs] of this step; n_scheduled tokens each */
    int32_t n_scheduled;
    int32_t n_tokens;    /* of this step, all sequences together */
    int64_t first_order; /* below that of all sequences so far */
    uint64_t n_preemptions;
    uint64_t n_prefix_queries, n_prefix_hits; /* tokens looked up, found; first admissions only */
} qw_scheduler;

QW_MUST_CHECK qw_status qw_scheduler_init(qw_scheduler *s, const qw_scheduler_limits *limits,
                                          qw_error *err);
/** The queues must be empty. */
void qw_scheduler_release(qw_scheduler *s);

/** Make room for `n` more sequences, so that adding them cannot fail. */
QW_MUST_CHECK qw_status qw_scheduler_reserve(qw_scheduler *s, int32_t n, qw_error *err);
/** Queue a new sequence. */
void qw_scheduler_add(qw_scheduler *s, qw_sequence *seq);
/**
 * Choose the next step's tokens and give them blocks. False, and an empty step, when there is
 * nothing that could run.
 */
bool qw_scheduler_step(qw_scheduler *s, qw_kv_cache *kv);
/** The step that was to sample a token of `seq` has run and gave `id`. */
void qw_scheduler_token(qw_sequence *seq, int32_t id);
/** Take a sequence out, wherever it is, and give its blocks back. Again: nothing. */
void qw_scheduler_remove(qw_scheduler *s, qw_sequence *seq, qw_kv_cache *kv);

/** Test aid: assert that queues, states, blocks and caches agree. */
void qw_scheduler_check(const qw_scheduler *s, const qw_kv_cache *kv);

#endif
