#ifndef QW_ENGINE_SAMPLER_H
#define QW_ENGINE_SAMPLER_H

#include "engine/sampling_params.h"

/**
 * Chooses tokens: http-api.md 2.2 steps 1 and 3 to 12, in that order, on one row of logits at a
 * time. A result depends only on the row, the request's parameters, its tokens so far and its seed;
 * not on the batch or on threads.
 *
 * A sampler is scratch memory for one row length; each thread that samples needs its own. It and
 * qw_logprobs_row allocate nothing after qw_sampler_new.
 */
typedef struct qw_sampler qw_sampler;

/**
 * n_vocab      floats in a row of logits, >= 1
 * n_valid_ids  ids from here on have a row in the model but no token: they are never chosen
 *              (qwen3-dense.md 3.6), but logprobs, which tell what the model said, count them.
 *              1 .. n_vocab
 */
QW_MUST_CHECK qw_status qw_sampler_new(qw_sampler **out, size_t n_vocab, size_t n_valid_ids,
                                       qw_error *err);
/** NULL is fine. */
void qw_sampler_free(qw_sampler *s);

/** What the sampler knows of one sequence (one child of one request). */
typedef struct qw_sampler_state qw_sampler_state;

typedef struct qw_sampler_sequence {
    const qw_sampling_params *params; /* borrowed for the state's life */
    const int32_t *prompt_ids;        /* [n_prompt], only read during the call */
    size_t n_prompt;
    const int32_t *stop_ids; /* [n_stop_ids] masked before min_tokens: EOS ids and stop_token_ids;
                                borrowed for the state's life */
    size_t n_stop_ids;
    const int32_t *eos_ids; /* [n_eos_ids] that may end a grammar's text, with ignore_eos too;
                               borrowed for the state's life */
    size_t n_eos_ids;
    int32_t think_start_id, think_end_id; /* of a thinking block, for thinking_token_budget */
    uint64_t seed;                        /* the child's: qw_sampler_seed */
    size_t max_output;                    /* most tokens that will be accepted */
} qw_sampler_sequence;

/** Memory for a request's life; all of it is taken here. Ids outside the vocabulary are ignored. */
QW_MUST_CHECK qw_status qw_sampler_state_new(qw_sampler_state **out, const qw_sampler *s,
                                             const qw_sampler_sequence *seq, qw_error *err);
/** NULL is fine. */
void qw_sampler_state_free(qw_sampler_state *st);

/**
 * Seed of child `i_child`: the request's seed + i_child, or, when it has none, derived from the
 * server's seed and the request's arrival number.
 */
uint64_t qw_sampler_seed(const qw_sampling_params *params, uint64_t base_seed, uint64_t arrival,
                         uint64_t i_child);

/**
 * Step 1: what the request's grammar leaves of a row. *out is `logits` itself when there is nothing
 * to take away, else a row of the sampler's, valid until the next call. The other functions are
 * then given this row, so logprobs show what was left. Errors concern this sequence alone.
 */
QW_MUST_CHECK qw_status qw_sampler_constrain(const float **out, qw_sampler *s,
                                             const qw_sampler_state *st, const float *logits,
                                             qw_error *err);
/**
 * Choose the next token from `logits` [n_vocab], which is not changed. The token is not yet part of
 * the sequence: qw_sampler_state_accept adds it. Errors concern this sequence alone: NaN or
 * infinite logits (device), no token left after masks (usage).
 */
QW_MUST_CHECK qw_status qw_sampler_sample(int32_t *out, qw_sampler *s, const qw_sampler_state *st,
                                          const float *logits, qw_error *err);

/** Append an output token to the sequence; at most max_output times. */
void qw_sampler_state_accept(qw_sampler_state *st, int32_t id);

/** One candidate of a row. */
typedef struct qw_logprob {
    int32_t id;
    int32_t rank;  /* 1 = best */
    float logprob; /* natural logarithm of the probability; may be -inf */
} qw_logprob;

/** Entries that qw_logprobs_row writes for `n_top` (-1: the whole vocabulary). */
size_t qw_logprobs_len(const qw_sampler *s, int64_t n_top);

/**
 * Log-softmax of `logits` [n_vocab] as the model gave them: no mask, penalty or temperature
 * (--logprobs-mode raw_logprobs). For sampled tokens and, with the next prompt token as `id`, for
 * prompt_logprobs.
 *
 * out[0] is token `id`; its rank is the number of tokens that are at least as probable. The n_top
 * most probable tokens follow, ties by lowest id, ranks 1, 2, ...; `id` may be among them. `out`
 * has room for qw_logprobs_len entries.
 *
 * logprob = (z - max) - log(sum exp(z - max)) in fp32, the sum in canonical order over all ids
 * (cpu-kernels 3.0). Errors: NaN or infinite logits (device).
 */
QW_MUST_CHECK qw_status qw_logprobs_row(qw_logprob *out, qw_sampler *s, const float *logits,
                                        int32_t id, int64_t n_top, qw_error *err);

#endif
