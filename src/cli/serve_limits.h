#ifndef QW_CLI_SERVE_LIMITS_H
#define QW_CLI_SERVE_LIMITS_H

#include "base/status.h"

/** How much a step may hold (cli-and-bench.md 2.3). */
typedef struct qw_serve_limits {
    int64_t max_num_seqs, max_num_batched_tokens;
} qw_serve_limits;

typedef struct qw_serve_limits_input {
    qw_serve_limits given;                /* 0: not given */
    int64_t max_model_len;                /* 0: not known yet, then nothing is compared with it */
    int64_t long_prefill_token_threshold; /* 0: none */
    bool enable_chunked_prefill;
    bool throughput; /* --performance-mode throughput: defaults are doubled */
} qw_serve_limits_input;

/**
 * Fill in what was not given: 256 sequences and 2048 tokens, made to agree with what was given,
 * with the context and with each other. What was given must agree by itself (QW_ERR_USAGE, in
 * vLLM's words): tokens >= sequences; without chunked prefill tokens >= max_model_len; the
 * threshold of long prefills within the context. *unused_tokens is set where the step can never
 * fill up, and the user should know: tokens > sequences * max_model_len.
 */
QW_MUST_CHECK qw_status qw_serve_limits_choose(qw_serve_limits *out, bool *unused_tokens,
                                               const qw_serve_limits_input *in, qw_error *err);

/**
 * Step plans' batch sizes as given -> as used: ascending, each once, none above `largest` (0: no
 * such limit), in place. False when one is below 1 or above 65536; *bad is the first of these.
 */
bool qw_capture_sizes_normalize(int64_t *sizes, size_t *n, int64_t largest, int64_t *bad);

#endif
