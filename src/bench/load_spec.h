#ifndef QW_BENCH_LOAD_SPEC_H
#define QW_BENCH_LOAD_SPEC_H

#include "base/str.h"

enum { QW_LOAD_MAX_POSITIONS = 64 };

/** The counters vllm:spec_decode_* of a server's /metrics, summed over engines. */
typedef struct qw_load_spec_counters {
    bool is_there; /* the server has such counters at all */
    int64_t n_drafts, n_draft_tokens, n_accepted_tokens;
    int64_t accepted_at[QW_LOAD_MAX_POSITIONS];
    int n_positions; /* highest position + 1 */
} qw_load_spec_counters;

/** Read Prometheus text. What is no such counter, or no number, is passed over. */
void qw_load_spec_parse(qw_load_spec_counters *out, qw_str text);

/** What speculative decoding did between two readings. */
typedef struct qw_load_spec_stats {
    double acceptance_rate;   /* percent of the draft tokens */
    double acceptance_length; /* tokens per draft, the one behind it included */
    int64_t n_drafts, n_draft_tokens, n_accepted_tokens;
    double per_position[QW_LOAD_MAX_POSITIONS]; /* share of the drafts */
    int n_positions;
} qw_load_spec_stats;

/** False when there is nothing to tell: no counters, or nothing was drafted. */
bool qw_load_spec_make(qw_load_spec_stats *out, const qw_load_spec_counters *before,
                       const qw_load_spec_counters *after);

#endif
