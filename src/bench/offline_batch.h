#ifndef QW_BENCH_OFFLINE_BATCH_H
#define QW_BENCH_OFFLINE_BATCH_H

#include "engine/engine.h"

/** A prompt to be answered in this process with exactly n_output tokens. */
typedef struct qw_offline_prompt {
    const int32_t *ids; /* [n], borrowed */
    size_t n;
    int32_t n_output;
} qw_offline_prompt;

typedef struct qw_offline_options {
    int32_t n; /* answers of each prompt */
    double temperature;
    const qw_tokenizer *tokenizer; /* answers are made text; NULL: they stay ids */
    /** Called after each step with how many prompts are done; may be NULL. */
    void (*progress)(void *ctx, size_t n_done, size_t n_total);
    void *progress_ctx;
} qw_offline_options;

typedef struct qw_offline_result {
    double seconds; /* from the first submission to the last token's text */
    int64_t n_prompt_tokens, n_output_tokens;
} qw_offline_result;

/**
 * Submit all prompts to an idle engine and answer them on this thread: temperature as given, top_p
 * 1, EOS ignored, as vLLM's offline benchmarks ask. An answer that fails is the failure.
 */
QW_MUST_CHECK qw_status qw_offline_batch_run(qw_offline_result *out, qw_engine *engine,
                                             const qw_offline_prompt *prompts, size_t n_prompts,
                                             const qw_offline_options *options, qw_error *err);

#endif
