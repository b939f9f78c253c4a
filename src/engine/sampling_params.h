#ifndef QW_ENGINE_SAMPLING_PARAMS_H
#define QW_ENGINE_SAMPLING_PARAMS_H

#include "base/opt.h"
#include "base/status.h"
#include "base/str.h"
#include "format/json.h"
#include "grammar/grammar.h"

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

/** From where on an answer has to follow its grammar. */
typedef enum qw_grammar_start {
    QW_GRAMMAR_AT_ONCE,
    QW_GRAMMAR_AFTER_THINKING, /* the answer begins inside of a thinking block */
    QW_GRAMMAR_MAY_THINK,      /* the answer may begin with a thinking block */
} qw_grammar_start;

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
    int64_t thinking_token_budget; /* tokens in a thinking block before its end is forced; -1: any
                                      number */
    qw_grammar *grammar;           /* one reference, set by whoever has the tokenizer; NULL: none */
    qw_grammar_start grammar_start; /* without ids of a thinking block: at once */
    bool starts_thinking; /* the prompt ends inside an open thinking block; set by whoever made it
                           */
} qw_sampling_params;

#define QW_LOGPROBS_OFF (-2)
#define QW_LOGPROBS_ALL (-1)

/** What a model's generation_config.json may say; a member counts only if its flag is set. */
typedef struct qw_sampling_defaults {
    bool has_temperature, has_top_p, has_top_k, has_min_p, has_repetition_penalty,
        has_max_new_tokens;
    double temperature, top_p, min_p, repetition_penalty;
    int64_t top_k, max_new_tokens;
} qw_sampling_defaults;

/** What the server and the model allow; 0 in a member: not checked. */
typedef struct qw_sampling_limits {
    int64_t max_n;        /* VLLM_MAX_N_SEQUENCES, 16384 */
    int64_t max_logprobs; /* --max-logprobs, 20; -1: the whole vocabulary */
    int64_t vocab_size;
} qw_sampling_limits;

/*
 * The order in which the sources are applied is their precedence, lowest first:
 *
 *   init (neutral) -> set_defaults (generation_config.json) -> apply_options (flags) -> apply_json
 *
 * A value that is absent or null leaves what the earlier ones set. Every apply function checks the
 * ranges of the result and leaves *p as it was when it fails. Two kinds of failure: QW_ERR_FORMAT,
 * a value of a wrong type; QW_ERR_USAGE, a value out of range, with vLLM's text where it has one.
 * A temperature from 1e-5 to below 0.01 is raised to 0.01 with a warning in the log, as vLLM does.
 */

/** Neutral values (http-api.md 2.1): temperature 1, one child, no limit, nothing filtered. */
void qw_sampling_params_init(qw_sampling_params *p);
/** Free what *p owns and make it neutral again. */
void qw_sampling_params_release(qw_sampling_params *p);
/** Deep copy into *out, which holds nothing yet. */
QW_MUST_CHECK qw_status qw_sampling_params_copy(qw_sampling_params *out,
                                                const qw_sampling_params *p, qw_error *err);

QW_MUST_CHECK qw_status qw_sampling_params_set_defaults(qw_sampling_params *p,
                                                        const qw_sampling_defaults *defaults,
                                                        qw_error *err);

/**
 * Take the sampling fields of a request body; other keys are not looked at. Both request forms are
 * understood: `logprobs` as a count (completions), or as a boolean with `top_logprobs` (chat);
 * `max_completion_tokens` wins over `max_tokens` (a completions handler drops it first). Types are
 * read leniently (format/json_lax.h). New bad_words empty bad_word_ids.
 */
QW_MUST_CHECK qw_status qw_sampling_params_apply_json(qw_sampling_params *p, const json_t *object,
                                                      qw_error *err);
/** The same; on failure *param (may be NULL) names the field, or is NULL: a static text. */
QW_MUST_CHECK qw_status qw_sampling_params_apply_request(qw_sampling_params *p,
                                                         const json_t *object, const char **param,
                                                         qw_error *err);

/** Rows for an option table with target NULL: a flag for each field, group "Sampling". */
const qw_opt *qw_sampling_params_options(size_t *n_rows);
/** Take the options that were given (flag, environment or config file) as if they were JSON. */
QW_MUST_CHECK qw_status qw_sampling_params_apply_options(qw_sampling_params *p, const qw_opts *opts,
                                                         qw_error *err);

/** Check ranges, and what only the server and model know (`limits` may be NULL). */
QW_MUST_CHECK qw_status qw_sampling_params_validate(const qw_sampling_params *p,
                                                    const qw_sampling_limits *limits,
                                                    const char **param, qw_error *err);
/** True if the best token is taken each time. */
static inline bool qw_sampling_params_is_greedy(const qw_sampling_params *p)
{
    return p->temperature < 1e-5;
}

#endif
