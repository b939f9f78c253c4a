#ifndef QW_SERVER_API_RESPONSE_H
#define QW_SERVER_API_RESPONSE_H

#include "engine/request.h"
#include "server/api_request.h"

/**
 * The answer to one request as it grows (http-api.md 1.6 to 1.8): takes token events, makes text
 * and stop strings, divides reasoning from content, and writes JSON: events of a stream as they
 * come, or one object at the end. Used by one thread at a time (the I/O thread).
 *
 * Choice i_prompt * n + child is child `child` of prompt `i_prompt`.
 *
 *     new -> { push | prompt_logprobs } ... flush -> ... -> is_done -> flush -> free
 *
 * A stream writes nothing until `flush`, so that tokens that arrived together go out as one event
 * per choice. No allocation per token but for buffers that grow.
 */
typedef struct qw_api_response qw_api_response;

/**
 * `cfg`, `req` and the prompts [req->n_prompts] are borrowed until free. `created`: unix seconds.
 */
QW_MUST_CHECK qw_status qw_api_response_new(qw_api_response **out, const qw_api_config *cfg,
                                            const qw_api_request *req, const qw_api_prompt *prompts,
                                            int64_t created, qw_api_error *err);
void qw_api_response_free(qw_api_response *r);

/**
 * Take in an event of prompt `i_prompt`; event->child < n. True in *withdraw: a stop string ended
 * this choice, the engine must be told to stop it. Events of a choice that has ended are dropped
 * and not counted. Failures (also an event that carries an engine error) end the answer: give *err
 * to qw_api_response_fail and withdraw the whole request.
 */
QW_MUST_CHECK qw_status qw_api_response_push(qw_api_response *r, size_t i_prompt,
                                             const qw_token_event *event, bool *withdraw,
                                             qw_api_error *err);

/** Logprobs of prompt token `position` >= 1, ascending, before the first token of that prompt. */
QW_MUST_CHECK qw_status qw_api_response_prompt_logprobs(qw_api_response *r, size_t i_prompt,
                                                        int32_t position,
                                                        const qw_logprob *logprobs, size_t n,
                                                        qw_api_error *err);

/** Tokens of the prompt that came from the prefix cache; before the end. */
void qw_api_response_set_cached(qw_api_response *r, size_t i_prompt, int32_t n_cached);

/** True when every choice has ended. */
bool qw_api_response_is_done(const qw_api_response *r);

/**
 * Append what can be sent: for a stream, whole events, the last one "data: [DONE]"; otherwise
 * nothing before the end, then the body, once. Failures are those of `out` (qw_buf_check), or
 * memory.
 */
QW_MUST_CHECK qw_status qw_api_response_flush(qw_api_response *r, qw_buf *out, qw_api_error *err);

/**
 * End a stream that failed after it began: appends the error event and "data: [DONE]". For whole
 * answers, and for streams that have sent nothing, use qw_api_error_write and the error's status.
 */
void qw_api_response_fail(qw_api_response *r, const qw_api_error *why, qw_buf *out);
/** Append the body of a refusal in the words of a dialect. */
void qw_api_error_write_dialect(qw_buf *out, const qw_api_error *e, qw_api_dialect dialect);
/** True once flush has appended something. */
bool qw_api_response_has_started(const qw_api_response *r);

/** For metrics and the log. */
typedef struct qw_api_usage {
    int64_t prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens;
} qw_api_usage;
qw_api_usage qw_api_response_usage(const qw_api_response *r);
/** How choice `i` ended; QW_FINISH_NONE while it grows. */
qw_finish_reason qw_api_response_finish(const qw_api_response *r, size_t i);

#endif
