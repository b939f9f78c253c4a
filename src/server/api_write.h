#ifndef QW_SERVER_API_WRITE_H
#define QW_SERVER_API_WRITE_H

// Pieces of JSON that answers are made of, appended directly: an event of a stream is written for
// every token, so no tree of values is built for it.

#include "engine/sampler.h"
#include "format/ids.h"
#include "format/json.h"
#include "format/tokenizer.h"

/** Append a literal. */
#define QW_PUT(b, lit) qw_buf_append(b, lit, sizeof(lit) - 1)

/** What a buffer holds; never NULL. */
static inline qw_str qw_buf_text(const qw_buf *b)
{
    return (qw_str){b->data ? b->data : "", b->len};
}

void qw_api_write_int(qw_buf *b, int64_t value);
/** A log-probability: -inf, and what is below it, is -9999.0. */
void qw_api_write_logprob(qw_buf *b, float logprob);
/** A string, or null where ptr is NULL. Must be valid UTF-8. */
void qw_api_write_text(qw_buf *b, qw_str text);
/** [1,2,3] */
void qw_api_write_ids(qw_buf *b, const int32_t *ids, size_t n);
/** The text of one token as a string; broken UTF-8 shows as U+FFFD; `as_id`: "token_id:123".
 * Returns the characters in it. `tokenizer` may be NULL: "". */
size_t qw_api_write_token(qw_buf *b, const qw_tokenizer *tokenizer, int32_t id, bool as_id);

/** How log-probabilities are shown. */
typedef struct qw_logprobs_style {
    const qw_tokenizer *tokenizer; /* may be NULL */
    bool as_ids;                   /* tokens print as token_id:N */
    int64_t n_top;                 /* candidates asked for; -1: all */
} qw_logprobs_style;

/**
 * Append one token of a chat answer:
 * {"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[...]}. `entries` [n >= 1], the token
 * itself first. The candidates begin with it, each token once, n_top in all.
 */
void qw_api_write_chat_logprob(qw_buf *b, const qw_logprobs_style *style, const qw_logprob *entries,
                               size_t n);
/**
 * Append one position of prompt_logprobs: {"ID":{"logprob":...,"rank":1,"decoded_token":"a"},...},
 * the prompt's own token first, each token once.
 */
void qw_api_write_prompt_logprob(qw_buf *b, const qw_tokenizer *tokenizer,
                                 const qw_logprob *entries, size_t n);

/** The four parallel lists of a completion's logprobs, as they grow. Zeroed but for init. */
typedef struct qw_logprob_lists {
    qw_buf offsets, logprobs, tokens, tops; /* list items */
    size_t n;
    size_t offset; /* characters in front of the next token */
} qw_logprob_lists;

void qw_logprob_lists_init(qw_logprob_lists *l);
void qw_logprob_lists_release(qw_logprob_lists *l);
/** Forget the items, go on at the same offset. */
void qw_logprob_lists_clear(qw_logprob_lists *l);
/** Add a token with its candidates: n_top of them beside itself. n 0: the first token of an echoed
 *  prompt, about which nothing is known. */
void qw_logprob_lists_add(qw_logprob_lists *l, const qw_logprobs_style *style, int32_t id,
                          const qw_logprob *entries, size_t n);
/** Put all of `from` in front of an empty `l`. */
void qw_logprob_lists_begin_with(qw_logprob_lists *l, const qw_logprob_lists *from);
/** {"text_offset":[...],"token_logprobs":[...],"tokens":[...],"top_logprobs":[...]} */
void qw_logprob_lists_write(qw_buf *b, const qw_logprob_lists *l);
QW_MUST_CHECK qw_status qw_logprob_lists_check(const qw_logprob_lists *l, qw_error *err);

#endif
