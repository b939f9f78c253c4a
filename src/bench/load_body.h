#ifndef QW_BENCH_LOAD_BODY_H
#define QW_BENCH_LOAD_BODY_H

#include "bench/load_dataset.h"

/** The JSON that requests send: what all have in common, written once. */
typedef struct qw_load_body {
    bool is_chat;
    json_t *members; /* owned object; prompt or messages and the token limit are put in by write */
    bool prompt_given, limit_given; /* the extra body has them: it wins */
} qw_load_body;

/**
 * `extra` (borrowed object, may be NULL): members that are added, or take the place of ours.
 * logprobs < 0: none. Release with qw_load_body_release.
 */
QW_MUST_CHECK qw_status qw_load_body_init(qw_load_body *out, bool is_chat, const char *model,
                                          int64_t logprobs, bool ignore_eos, const json_t *extra,
                                          qw_error *err);
void qw_load_body_release(qw_load_body *b);

/** Append the body of a request. */
void qw_load_body_write(const qw_load_body *b, const qw_load_request *r, qw_buf *out);

#endif
