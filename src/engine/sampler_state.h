#ifndef QW_ENGINE_SAMPLER_STATE_H
#define QW_ENGINE_SAMPLER_STATE_H

#include "base/map.h"
#include "engine/sampler.h"
#include "grammar/matcher.h"

// The inside of qw_sampler_state, for sampler.c.

/** Where an answer stands to its grammar. */
typedef enum qw_grammar_phase {
    QW_PHASE_FREE,      /* no grammar, or the answer has been ended */
    QW_PHASE_THINKING,  /* from the end of thinking on */
    QW_PHASE_MAY_THINK, /* the grammar's beginning, or that of thinking */
    QW_PHASE_BOUND,
} qw_grammar_phase;

/** A token of the prompt or the output; kept only when a penalty is on. */
typedef struct qw_seen_token {
    int32_t id;
    uint32_t n_output; /* times in the output; 0: prompt only */
} qw_seen_token;

struct qw_sampler_state {
    const qw_sampling_params *params; /* borrowed */
    const int32_t *stop_ids;          /* borrowed */
    size_t n_stop_ids;
    uint64_t seed;
    size_t n_prompt, n_output, max_output;
    size_t n_valid_ids;

    qw_seen_token *seen; /* [max_seen]; NULL when no penalty is on */
    size_t n_seen, max_seen;
    qw_map seen_index; /* id -> index into `seen`; keys are the ids in `seen` */

    int32_t think_start_id, think_end_id;
    bool is_thinking;  /* inside a thinking block */
    size_t n_thinking; /* tokens in it */

    qw_grammar_phase phase;
    qw_matcher *matcher;    /* NULL: no grammar */
    const int32_t *eos_ids; /* [n_eos_ids] borrowed: say that a grammar's text is complete */
    size_t n_eos_ids;

    int32_t *recent; /* the last output tokens, as many as the longest bad word needs */
    size_t n_recent, max_recent;
};

/** qw_sampler_state_new for a vocabulary of n_valid_ids. */
QW_MUST_CHECK qw_status qw_sampler_state_create(qw_sampler_state **out, size_t n_valid_ids,
                                                const qw_sampler_sequence *seq, qw_error *err);
/** True if repetition, frequency or presence penalty is on. */
bool qw_sampler_has_penalty(const qw_sampling_params *params);

/** True if the thinking block has used up its budget: only its end may come next. */
bool qw_sampler_must_end_thinking(const qw_sampler_state *st);

#endif
