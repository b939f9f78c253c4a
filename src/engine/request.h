#ifndef QW_ENGINE_REQUEST_H
#define QW_ENGINE_REQUEST_H

#include "engine/prefix_cache.h"
#include "engine/sampler.h"
#include "engine/sampling_params.h"

typedef enum qw_finish_reason {
    QW_FINISH_NONE, /* still generating */
    QW_FINISH_STOP, /* EOS, a stop id or a stop string */
    QW_FINISH_LENGTH,
    QW_FINISH_ABORT, /* failed, or the engine was closed: see `error` */
} qw_finish_reason;

/** "stop", "length", "abort", or NULL for NONE. */
const char *qw_finish_reason_name(qw_finish_reason reason);

/** A generated token, as the engine tells it. Borrowed for the call. */
typedef struct qw_token_event {
    int32_t child;              /* 0 .. n-1 */
    int32_t id;                 /* -1 when only the end is told */
    int64_t time_ns;            /* qw_clock_ns when it was known; told up to a step later */
    const qw_logprob *logprobs; /* [n_logprobs], the token itself first; NULL unless asked for */
    size_t n_logprobs;
    qw_finish_reason finish;
    int32_t stop_id;       /* the stop id that ended it, -1: the tokenizer's EOS, length or none */
    const qw_error *error; /* with QW_FINISH_ABORT: why; else NULL */
} qw_token_event;

/** What metrics want to know of a request. Times are qw_clock_ns; 0: it never came to that. */
typedef struct qw_request_facts {
    int64_t arrival_ns;
    int64_t scheduled_ns; /* its first tokens entered a step */
    int64_t first_token_ns, last_token_ns;
    int32_t n_prompt;
    int32_t n_children;
    int32_t n_cached_tokens; /* of the prompt, found in the prefix cache when child 0 first ran */
    int32_t n_preemptions;   /* all children together, as the following */
    int64_t n_computed;      /* tokens that went through the model, recomputed ones again */
    int64_t n_generated;     /* tokens that were told */
} qw_request_facts;

/**
 * Where a request's results go; called on the engine thread, in order. A sink may not call the
 * engine.
 */
typedef struct qw_request_sink {
    void *ctx;
    /** A token of one child. True withdraws that child at once (a stop string was found). */
    bool (*token)(void *ctx, const qw_token_event *event);
    /** Logprobs of prompt token `position` >= 1, ascending; only when asked for. May be NULL. */
    void (*prompt_logprobs)(void *ctx, int32_t position, const qw_logprob *logprobs, size_t n);
    /** Raw logits of a position, ascending, before masks and penalties; child 0. NULL: not wanted.
     */
    void (*logits)(void *ctx, int32_t position, const float *row, int32_t vocab_size);
    /** Once for each request that was submitted, after all else, however it ended: nothing is told
     *  afterwards. May be NULL. */
    void (*done)(void *ctx, const qw_request_facts *facts);
} qw_request_sink;

typedef enum qw_seq_state {
    QW_SEQ_WAITING,
    QW_SEQ_RUNNING,
    QW_SEQ_FINISHED,
} qw_seq_state;

/** How a request is to be treated, besides what is sampled. All zero: the default. */
typedef struct qw_submit_options {
    int32_t priority;       /* smaller runs first, under the priority policy only */
    const char *cache_salt; /* share prefixes only with requests of the same salt; NULL: none.
                               Borrowed for the call */
    bool skip_prefix_cache; /* compute the whole prompt */
} qw_submit_options;

/** One prompt with its parameters; shared by its children. Engine thread only. */
typedef struct qw_request {
    uint64_t id; /* arrival number, from 0 */
    qw_sampling_params params;
    int32_t n_prompt;
    int32_t max_tokens; /* resolved: at least 1, prompt included it stays within the context */
    int32_t priority;
    bool skip_prefix_cache;
    qw_block_hash salt; /* all zero: none */
    qw_request_sink sink;
    int32_t *stop_ids; /* all ids that end it: EOS first, then the others; empty with ignore_eos
                          and no stop_token_ids */
    size_t n_stop_ids;
    qw_request_facts facts;
    struct qw_sequence **children; /* [n_children]; NULL: freed */
    int32_t n_children;
    int32_t n_unfinished;           /* children that may still tell something */
    int32_t n_alive;                /* children not yet freed */
    struct qw_request *prev, *next; /* in the engine's table */
} qw_request;

/**
 * One child of a request. Engine thread only, but for `sampler` and `logprobs` while a step that
 * samples it runs.
 *
 *   tokens    [ prompt .......... | generated ...... | not known yet ... ]
 *                                              n_tokens ^         ^ n_tokens + n_pending
 *   n_computed counts positions whose keys and values are in the blocks, or will be when the steps
 *   that were scheduled have run.
 */
typedef struct qw_sequence {
    qw_request *request;
    int32_t child;
    qw_seq_state state;
    bool was_admitted; /* at least once */
    bool is_silent;    /* withdrawn or cancelled: nothing is told any more */
    int32_t n_holds;   /* steps and untold results that point here; freed only at 0 */
    int32_t *tokens;   /* room for n_prompt + max_tokens */
    int32_t n_tokens;
    int32_t n_pending; /* tokens that scheduled steps sample: 0 or 1, 2 while one is scheduled
                          before the results of the other are known */
    int32_t n_computed;
    int32_t n_scheduled; /* tokens of this sequence in the step last scheduled */
    int32_t n_reported;  /* positions whose prompt logprobs and logits were told: not told twice
                            after a preemption */

    // Blocks (kv_cache.h)
    int32_t *blocks; /* block table; room for every position */
    int32_t n_blocks;
    int32_t n_published;   /* leading blocks that are in the prefix cache */
    uint64_t cache_epoch;  /* of the prefix cache, when its first block was taken */
    qw_block_hash *hashes; /* [n_hashes] of its leading full blocks, as far as they were needed */
    int32_t n_hashes;

    qw_sampler_state *sampler;
    qw_logprob *logprobs; /* [2][n_logprobs]: two steps may be under way; NULL: not asked for */
    size_t n_logprobs;

    // The scheduler's
    int32_t priority;                /* 0 under first come, first served */
    int64_t order;                   /* among equals; smaller first */
    int32_t heap_index;              /* in the heap of waiting ones */
    struct qw_sequence *prev, *next; /* in the list of running ones */
} qw_sequence;

/** Everything for qw_request_new. */
typedef struct qw_request_args {
    uint64_t id;
    int32_t n_prompt;
    int32_t max_tokens;
    const qw_request_sink *sink;
    const qw_submit_options *options; /* NULL: the defaults; cache_salt is the caller's to hash */
} qw_request_args;

/** A request without children. `params` is moved in on success. */
QW_MUST_CHECK qw_status qw_request_new(qw_request **out, const qw_request_args *args,
                                       qw_sampling_params *params, qw_error *err);
/** Its children must have been freed. */
void qw_request_free(qw_request *r);

/**
 * Add child `child` (below params.n), with its arrays sized once for blocks of `block_size`; the
 * sampler state and logprobs are the caller's to add.
 */
QW_MUST_CHECK qw_status qw_sequence_new(qw_sequence **out, qw_request *request, int32_t child,
                                        const int32_t *prompt, int32_t block_size, qw_error *err);
/** It must hold no blocks. */
void qw_sequence_free(qw_sequence *s);

/** True if the sink wants to know about positions of the prompt (child 0 tells). */
bool qw_sequence_tells_positions(const qw_sequence *s);
/** Tokens it may come to: prompt and max_tokens. */
static inline int32_t qw_sequence_max_tokens(const qw_sequence *s)
{
    return s->request->n_prompt + s->request->max_tokens;
}
/**
 * What block `i_block` depends on besides tokens: the salt, in the first block. Images and sounds
 * will add their content hashes to the blocks they touch here.
 */
qw_block_hash qw_sequence_extra_key(const qw_sequence *s, int32_t i_block);

#endif
