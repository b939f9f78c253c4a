#ifndef QW_CLI_ANSWER_H
#define QW_CLI_ANSWER_H

#include "engine/output.h"
#include "engine/request.h"

/** One child's answer as it grows: ids, text, log-probabilities, how it ended. */
typedef struct qw_answer {
    const qw_tokenizer *tokenizer; /* NULL: no text is made */
    qw_ids ids;
    qw_output output;
    qw_buf
        logprobs; /* JSON list items so far, vLLM's shape: {"ID": {"logprob", "rank", ...}}, ... */
    qw_finish_reason finish; /* NONE while it grows */
    int32_t stop_id;         /* -1: none */
} qw_answer;

/** `params` and `tokenizer` are borrowed until release. */
QW_MUST_CHECK qw_status qw_answer_init(qw_answer *a, const qw_tokenizer *tokenizer,
                                       const qw_sampling_params *params, const int32_t *prompt,
                                       size_t n_prompt, qw_error *err);
void qw_answer_release(qw_answer *a);

/** Take in what the engine tells. *stopped: a stop string ended it; the engine must be told. */
QW_MUST_CHECK qw_status qw_answer_add(qw_answer *a, const qw_token_event *event, bool *stopped,
                                      qw_error *err);

/** Append a {"ID": {"logprob": ..., "rank": ..., "decoded_token": ...}, ...} object: the token
 * itself first, each id once. -inf is written as -9999.0, as vLLM does. */
void qw_logprobs_write(qw_buf *out, const qw_tokenizer *tokenizer, const qw_logprob *entries,
                       size_t n);

/** Append the answer's JSON line. `prompt_logprobs`: list items, NULL when not asked for. */
void qw_answer_write(const qw_answer *a, int32_t index, const qw_ids *prompt,
                     const qw_buf *prompt_logprobs, qw_buf *out);

#endif
