#ifndef QW_CLI_EVAL_TEXTS_H
#define QW_CLI_EVAL_TEXTS_H

#include "format/tokenizer.h"

/** Texts that models are compared on, as token ids. All zero: none. */
typedef struct qw_eval_texts {
    qw_ids *texts; /* [n], each of at least two ids */
    size_t n, cap;
} qw_eval_texts;

/**
 * Read a file of texts: named *.jsonl, a JSON object a line, whose text is `text` or, as in files
 * to calibrate with, `inputs_pretokenized`, cut after `max_len` tokens; else one text, cut into
 * pieces of so many. Those of less than two tokens are left out; QW_ERR_FORMAT when nothing is
 * left.
 */
QW_MUST_CHECK qw_status qw_eval_texts_read(qw_eval_texts *out, const char *path,
                                           const qw_tokenizer *tokenizer, size_t max_len,
                                           qw_error *err);
void qw_eval_texts_release(qw_eval_texts *t);

/** QW_ERR_USAGE naming the first text that is not the same tokens in both. */
QW_MUST_CHECK qw_status qw_eval_texts_compare(const qw_eval_texts *a, const qw_eval_texts *b,
                                              qw_error *err);

#endif
