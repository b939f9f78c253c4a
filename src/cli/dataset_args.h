#ifndef QW_CLI_DATASET_ARGS_H
#define QW_CLI_DATASET_ARGS_H

#include "base/opt.h"
#include "bench/load_dataset.h"

/** The options of `bench serve` and `bench throughput` that choose prompts. */
typedef struct qw_dataset_args {
    const char *dataset_name, *dataset_path;
    int64_t num_prompts;
    bool disable_shuffle, no_oversample, skip_chat_template;
    int64_t input_len, output_len, prefix_len; /* -1: not given */
    int64_t random_input_len, random_output_len, random_prefix_len;
    const char *random_range_ratio;
    int64_t mm_items;
    double mm_items_range_ratio;
    qw_opt_json mm_limit;
    const char *mm_buckets;
    int64_t sharegpt_output_len; /* -1: as long as the answer in the file */
    int64_t custom_output_len;   /* -1: as the file says */
    int64_t sonnet_input_len, sonnet_output_len, sonnet_prefix_len;
    int64_t repetition_prefix_len, repetition_suffix_len, repetition_num_prefixes,
        repetition_output_len;
} qw_dataset_args;

/** Rows whose offsets are in qw_dataset_args. */
const qw_opt *qw_dataset_args_rows(size_t *n_rows);

/**
 * What to make: the kind, its lengths, its ratios. An option of one dataset that was typed wins
 * over --input-len, --output-len and --prefix-len. seed, is_chat, tokenizer and chat are the
 * caller's. Looks at no file.
 */
QW_MUST_CHECK qw_status qw_dataset_args_read(qw_dataset_options *out, const qw_dataset_args *a,
                                             const qw_opts *opts, qw_error *err);

#endif
