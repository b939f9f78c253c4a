#ifndef QW_BENCH_LOAD_DATASET_INTERNAL_H
#define QW_BENCH_LOAD_DATASET_INTERNAL_H

// Shared by load_dataset*.c; nobody else.
#include "base/buf.h"
#include "bench/load_dataset.h"

/** Append a request; `text` is taken out of its buffer. */
QW_MUST_CHECK qw_status qw_load_dataset_add(qw_load_dataset *d, qw_buf *text, int64_t n_prompt,
                                            int64_t n_output, qw_error *err);
/** Tokens of a text; 0 without a tokenizer. */
QW_MUST_CHECK qw_status qw_load_count_tokens(int64_t *out, const qw_dataset_options *o, qw_str text,
                                             qw_error *err);
/** Put the text into a user's message and append the whole prompt to `out`. */
QW_MUST_CHECK qw_status qw_load_apply_template(qw_buf *out, const qw_dataset_options *o,
                                               qw_str text, qw_error *err);
/** The requests in another order, unless that is switched off. */
QW_MUST_CHECK qw_status qw_load_dataset_shuffle(qw_load_dataset *d, const qw_dataset_options *o,
                                                qw_error *err);

QW_MUST_CHECK qw_status qw_load_dataset_random(qw_load_dataset *d, const qw_dataset_options *o,
                                               qw_error *err);
QW_MUST_CHECK qw_status qw_load_dataset_prefixes(qw_load_dataset *d, const qw_dataset_options *o,
                                                 qw_error *err);
QW_MUST_CHECK qw_status qw_load_dataset_add_pictures(qw_load_dataset *d,
                                                     const qw_dataset_options *o, qw_error *err);
QW_MUST_CHECK qw_status qw_load_dataset_sharegpt(qw_load_dataset *d, const qw_dataset_options *o,
                                                 qw_error *err);
QW_MUST_CHECK qw_status qw_load_dataset_custom(qw_load_dataset *d, const qw_dataset_options *o,
                                               qw_error *err);
QW_MUST_CHECK qw_status qw_load_dataset_sonnet(qw_load_dataset *d, const qw_dataset_options *o,
                                               qw_error *err);

#endif
