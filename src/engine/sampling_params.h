#ifndef QW_ENGINE_SAMPLING_PARAMS_H
#define QW_ENGINE_SAMPLING_PARAMS_H

#include "base/status.h"
#include "base/str.h"

/** One entry of logit_bias. */
typedef struct qw_logit_bias {
    int32_t id;
    float bias; /* clamped to [-100, 100] */
} qw_logit_bias;

/** A token sequence that may not be completed (bad_words, already tokenized). */
typedef struct qw_token_seq {
    int32_t *ids;
    size_t len;
} qw_token_seq;

/**
 * How a request's tokens are chosen and when they end. Names, meanings and ranges are those of the
 * OpenAI API as vLLM extends it (http-api.md 1.5, 2.1). All pointers are owned by the struct.
 */
typedef struct qw_sampling_params {
    double temperature;        /* >= 0; below 1e-5 greedy: then top_p, top_k, min_p do not matter */
    double top_p;              /* (0, 1] */
    int64_t top_k;             /* 0 or -1: off */
    double min_p;              /* [0, 1] */
    double repetition_penalty; /* > 0, 1 = off */
    double frequency_penalty, presence_penalty; /* [-2, 2], 0 = off */
    bool has_seed;
    int64_t seed;       /* child i uses seed + i */
    int64_t n;          /* children per prompt, >= 1 */
    int64_t max_tokens; /* >= 1; -1: to the end of the context */
    int64_t min_tokens; /* stop ids, EOS and stop strings wait for it */
    bool ignore_eos;
    int64_t logprobs; /* -2: not asked for; -1: whole vocabulary; else candidates beside the sampled
                         one */
    int64_t prompt_logprobs; /* the same for the prompt */
    bool skip_special_tokens;
    bool spaces_between_special_tokens;
    bool include_stop_str_in_output;
    char **stop; /* stop strings, NUL-terminated valid UTF-8, none empty */
    size_t n_stop;
    int32_t *stop_token_ids;
    size_t n_stop_token_ids;
    qw_logit_bias *logit_bias; /* ascending id, no duplicates */
    size_t n_logit_bias;
    int32_t *allowed_token_ids; /* ascending, no duplicates */
    size_t n_allowed_token_ids;
    char **bad_words; /* as given; tokenized by whoever has the tokenizer */
    size_t n_bad_words;
    qw_token_seq *bad_word_ids; /* filled by whoever has the tokenizer */
    size_t n_bad_word_ids;
} qw_sampling_params;

#define QW_LOGPROBS_OFF (-2)
#define QW_LOGPROBS_ALL (-1)

#endif
