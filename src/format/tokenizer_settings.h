#ifndef QW_FORMAT_TOKENIZER_SETTINGS_H
#define QW_FORMAT_TOKENIZER_SETTINGS_H

#include "format/added_tokens.h"
#include "format/json.h"

// The parts of tokenizer.json and tokenizer_config.json that are not the vocabulary. Private to the
// tokenizer's loader. All texts are borrowed from the JSON values.

/** Highest id that a tokenizer may have: tables are as long as the highest id. */
enum { QW_TOKENIZER_MAX_ID = (1 << 22) - 1 };

/** How text becomes pieces. */
typedef struct qw_tokenizer_pipeline {
    bool nfc;
    bool ignore_merges;
    qw_str pattern;
} qw_tokenizer_pipeline;

/** Read it; any part of the pipeline that is not implemented is QW_ERR_UNSUPPORTED naming it. */
QW_MUST_CHECK qw_status qw_tokenizer_pipeline_read(qw_tokenizer_pipeline *out, const json_t *root,
                                                   qw_error *err);

typedef struct qw_added_entry {
    qw_str text;
    int32_t id;
    uint32_t flags; /* QW_ADDED_... */
    size_t order;   /* place of reading: a later entry of the same text replaces an earlier one */
} qw_added_entry;

typedef struct qw_added_list {
    qw_added_entry *items; /* qw_mem_free */
    size_t n;
} qw_added_list;

/** Added tokens of both files, ordered by text (bytes); `config` may be NULL. */
QW_MUST_CHECK qw_status qw_added_list_read(qw_added_list *out, const json_t *root,
                                           const json_t *config, qw_error *err);

/** bos_token, eos_token or pad_token: a string, or an object with "content". ptr NULL: none. */
QW_MUST_CHECK qw_status qw_tokenizer_special_read(qw_str *out, const json_t *config,
                                                  const char *key, qw_error *err);

/** model_max_length; 0 when it is not given or stands for "no limit" (10^30 in many files). */
QW_MUST_CHECK qw_status qw_tokenizer_max_length_read(int64_t *out, const json_t *config,
                                                     qw_error *err);

#endif
