#ifndef QW_ENGINE_REQUEST_H
#define QW_ENGINE_REQUEST_H

#include "engine/block_pool.h"
#include "engine/sampler.h"
#include "engine/sampling_params.h"

typedef enum qw_finish_reason {
    QW_FINISH_NONE, /* still generating */
    QW_FINISH_STOP, /* EOS, a stop id or a stop string */
    QW_FINISH_LENGTH,
    QW_FINISH_ABORT, /* withdrawn, or failed: see `error` */
} qw_finish_reason;

/** "stop", "length", "abort", or NULL for NONE. */
const char *qw_finish_reason_name(qw_finish_reason reason);

/** A generated token, as the engine tells it. Borrowed for the call. */
typedef struct qw_token_event {
    int32_t child;              /* 0 .. n-1 */
    int32_t id;                 /* -1 when only the end is told */
    const qw_logprob *logprobs; /* [n_logprobs], the token itself first; NULL unless asked for */
    size_t n_logprobs;
    qw_finish_reason finish;
    int32_t stop_id;       /* the stop id that ended it, -1: the tokenizer's EOS, length or none */
    const qw_error *error; /* with QW_FINISH_ABORT: why; else NULL */
} qw_token_event;

/** Where a request's results go; called on the engine thread, in order. */
typedef struct qw_request_sink {
    void *ctx;
    /** A token of one child. True withdraws that child at once (a stop string was found). */
    bool (*token)(void *ctx, const qw_token_event *event);
    /** Logprobs of prompt token `position` >= 1, ascending; only when asked for. May be NULL. */
    void (*prompt_logprobs)(void *ctx, int32_t position, const qw_logprob *logprobs, size_t n);
    /** Raw logits of a position, ascending, before masks and penalties; child 0. NULL: not wanted.
     */
    void (*logits)(void *ctx, int32_t position, const float *row, int32_t vocab_size);
} qw_request_sink;

typedef enum qw_seq_state {
    QW_SEQ_WAITING,
    QW_SEQ_RUNNING,
    QW_SEQ_FINISHED,
} qw_seq_state;

/** One prompt with its parameters; shared by its children. */
typedef struct qw_request {
    uint64_t id; /* arrival number, from 0 */
    qw_sampling_params params;
    int32_t n_prompt;
    int32_t max_tokens; /* resolved: at least 1, prompt included it stays within the context */
    qw_request_sink sink;
    int32_t *stop_ids; /* all ids that end it: EOS first, then the others; empty with ignore_eos
                          and no stop_token_ids */
    size_t n_stop_ids;
    int32_t n_children; /* not yet finished */
} qw_request;

/** One child of a request. Engine thread only. */
typedef struct qw_sequence {
    qw_request *request;
    int32_t child;
    qw_seq_state state;
    int32_t *tokens; /* prompt, then generated; room for n_prompt + max_tokens */
    int32_t n_tokens;
    int32_t n_computed;  /* positions whose KV is in the blocks */
    int32_t n_scheduled; /* tokens of this sequence in the step being run */
    int32_t n_reported;  /* positions whose prompt logprobs and logits were told: not told twice
                            after a preemption */
    int32_t *blocks;     /* block table; room for every position */
    int32_t n_blocks;
    qw_sampler_state *sampler;
    struct qw_sequence *prev, *next; /* in the scheduler's queue */
} qw_sequence;

/** `params` is moved in on success. */
QW_MUST_CHECK qw_status qw_request_new(qw_request **out, uint64_t id, int32_t n_prompt,
                                       int32_t max_tokens, qw_sampling_params *params,
                                       const qw_request_sink *sink, qw_error *err);
void qw_request_free(qw_request *r);

/** A child with its token and block arrays sized once; the sampler state is the caller's to add. */
QW_MUST_CHECK qw_status qw_sequence_new(qw_sequence **out, qw_request *request, int32_t child,
                                        const int32_t *prompt, int32_t block_size, qw_error *err);
/** Gives its blocks back to `pool` first (may be NULL when it holds none). */
void qw_sequence_free(qw_sequence *s, qw_block_pool *pool);
/** Give all blocks back, tail first, so that the head of a prompt stays longest. */
void qw_sequence_drop_blocks(qw_sequence *s, qw_block_pool *pool);

#endif
