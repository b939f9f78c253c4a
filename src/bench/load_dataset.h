#ifndef QW_BENCH_LOAD_DATASET_H
#define QW_BENCH_LOAD_DATASET_H

#include "bench/draws.h"
#include "format/chat_prompt.h"
#include "format/tokenizer.h"

// Prompts for a benchmark, as vLLM makes them (vllm/benchmarks/datasets). numpy's and Python's
// generators are not reproduced: the same seed gives the same prompts here.

typedef enum qw_dataset_kind {
    QW_DATASET_RANDOM,
    QW_DATASET_RANDOM_MM,
    QW_DATASET_SHAREGPT,
    QW_DATASET_CUSTOM,
    QW_DATASET_SONNET,
    QW_DATASET_PREFIX_REPETITION,
} qw_dataset_kind;

/** One request before it is sent. */
typedef struct qw_load_request {
    char *prompt; /* [prompt_size], owned; may hold NUL */
    size_t prompt_size;
    char *media;      /* JSON objects with commas between them, behind the text of a chat
                         message; owned; NULL: none */
    int64_t n_prompt; /* tokens of the prompt; 0 without a tokenizer */
    int64_t n_output; /* tokens to generate */
} qw_load_request;

/** Zero is an empty one. */
typedef struct qw_load_dataset {
    qw_load_request *requests; /* owned */
    size_t n, cap;
} qw_load_dataset;

/** Kind of picture that random-mm makes, and how often. */
typedef struct qw_mm_bucket {
    int64_t height, width, n_frames;
    double probability;
} qw_mm_bucket;

enum { QW_MM_MAX_BUCKETS = 32 };

typedef struct qw_mm_options {
    int64_t items_per_request;
    double items_range_ratio; /* [0, 1] */
    int64_t max_images;       /* of a request */
    qw_mm_bucket buckets[QW_MM_MAX_BUCKETS];
    size_t n_buckets; /* at least one, of a positive probability */
} qw_mm_options;

typedef struct qw_dataset_options {
    qw_dataset_kind kind;
    const char *path; /* of sharegpt, custom, sonnet */
    size_t n_requests;
    uint64_t seed;
    bool disable_shuffle, no_oversample, skip_chat_template;
    bool is_chat; /* the server applies the chat template: sonnet sends bare text */
    int64_t input_len, output_len; /* -1: as the data says */
    int64_t prefix_len, n_prefixes;
    double input_range_ratio, output_range_ratio; /* [0, 1) */
    qw_mm_options mm;
    const qw_tokenizer *tokenizer; /* NULL: only custom, without the template */
    const qw_chat_prompt *chat;    /* NULL: there is no template */
} qw_dataset_options;

/** Make the prompts. Errors name the option, or the file and the line or entry. */
QW_MUST_CHECK qw_status qw_load_dataset_make(qw_load_dataset *out, const qw_dataset_options *o,
                                             qw_error *err);
void qw_load_dataset_release(qw_load_dataset *d);

#endif
