#ifndef QW_BENCH_BENCH_START_H
#define QW_BENCH_BENCH_START_H

#include "bench/slices.h"
#include "bench/stats.h"
#include "engine/engine.h"

/** One run of a program that answers a prompt. */
typedef struct qw_child_run {
    double first_output_s; /* from just before exec to the first byte on its stdout */
    size_t peak_rss;       /* bytes, file mappings that it touched included */
} qw_child_run;

/**
 * Run this very program with `argv` (NULL-terminated), read its stdout to the end and wait for it.
 * Errors: it cannot be started, prints nothing, or fails (QW_ERR_DEVICE with its exit status).
 * Call it while the calling process is small: a child's peak RSS counts its parent's at the start.
 */
QW_MUST_CHECK qw_status qw_child_run_self(qw_child_run *out, char *const *argv, qw_error *err);

/** Seconds of one answer in a running engine. */
typedef struct qw_answer_time {
    double first_token_s; /* of the prompt and its first token */
    double decode_s;      /* of the tokens behind it, all together */
} qw_answer_time;

/** Answer `prompt` greedily with exactly n_tokens >= 1 tokens in an idle engine. */
QW_MUST_CHECK qw_status qw_answer_time_measure(qw_answer_time *out, qw_engine *e,
                                               const int32_t *prompt, size_t n_prompt,
                                               int32_t n_tokens, qw_error *err);

/** Fill ids [n] with ids below n_ids, others for each seed: no prompt is a repetition. */
void qw_bench_random_prompt(int32_t *ids, size_t n, int32_t n_ids, uint64_t seed);

#endif
