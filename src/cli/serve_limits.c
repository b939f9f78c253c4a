#include "cli/serve_limits.h"

#include "engine/engine_setup.h"

enum {
    LARGEST_CAPTURE_SIZE = 65536,
};

qw_status qw_serve_limits_choose(qw_serve_limits *out, bool *unused_tokens,
                                 const qw_serve_limits_input *in, qw_error *err)
{
    qw_serve_limits l = in->given;
    int64_t len = in->max_model_len;
    qw_step_limits_fill(&l.max_num_seqs, &l.max_num_batched_tokens, len, in->enable_chunked_prefill,
                        in->throughput ? 2 : 1);
    if (len > 0 && !in->enable_chunked_prefill && l.max_num_batched_tokens < len)
        return qw_fail(err, QW_ERR_USAGE,
                       "max_num_batched_tokens (%" PRId64
                       ") is smaller than max_model_len (%" PRId64
                       "). This effectively limits the maximum sequence length to "
                       "max_num_batched_tokens and makes vLLM reject longer sequences. Please "
                       "increase max_num_batched_tokens or decrease max_model_len",
                       l.max_num_batched_tokens, len);
    if (l.max_num_batched_tokens < l.max_num_seqs)
        return qw_fail(err, QW_ERR_USAGE,
                       "max_num_batched_tokens (%" PRId64
                       ") must be greater than or equal to max_num_seqs (%" PRId64 ")",
                       l.max_num_batched_tokens, l.max_num_seqs);
    if (len > 0 && in->long_prefill_token_threshold > len)
        return qw_fail(err, QW_ERR_USAGE,
                       "long_prefill_token_threshold (%" PRId64
                       ") cannot be greater than the max_model_len (%" PRId64 ")",
                       in->long_prefill_token_threshold, len);
    *unused_tokens = len > 0 && l.max_num_batched_tokens > l.max_num_seqs * len;
    *out = l;
    return QW_OK;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

bool qw_capture_sizes_normalize(int64_t *sizes, size_t *n, int64_t largest, int64_t *bad)
{
    for (size_t i = 0; i < *n; i++) {
        if (sizes[i] >= 1 && sizes[i] <= LARGEST_CAPTURE_SIZE) continue;
        *bad = sizes[i];
        return false;
    }
    if (*n > 1) qsort(sizes, *n, sizeof *sizes, compare);
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        if (largest > 0 && sizes[i] > largest) break;
        if (kept > 0 && sizes[kept - 1] == sizes[i]) continue;
        sizes[kept++] = sizes[i];
    }
    *n = kept;
    return true;
}
