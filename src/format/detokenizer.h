#ifndef QW_FORMAT_DETOKENIZER_H
#define QW_FORMAT_DETOKENIZER_H

#include "format/tokenizer.h"
#include "format/utf8_repair.h"

/**
 * Turns ids into text one by one, as they are generated (qwen3-dense 5.8). Text comes out at token
 * boundaries, and only when all that is pending does not end in U+FFFD: an unfinished character is
 * held back until it is whole, and what is still held at the end of generation is never seen.
 * Each id costs time in proportion to its own bytes. One thread at a time.
 */
typedef struct qw_detokenizer {
    const qw_tokenizer *tokenizer; /* borrowed until release */
    bool skip_special;
    qw_utf8_repair repair; /* bytes of a character that is not finished */
    qw_buf pending;        /* text not yet given out */
    bool owes_one;         /* the prompt ended within a character: its U+FFFD counts as given out,
                              so the first pending character is dropped */
} qw_detokenizer;

/**
 * Begin behind a prompt of `n` ids (its end is enough, see QW_DETOKENIZER_CONTEXT), so that a
 * character which the prompt began is continued. Nothing of the prompt comes out. skip_special
 * drops special added tokens. QW_ERR_NO_MEMORY.
 */
QW_MUST_CHECK qw_status qw_detokenizer_init(qw_detokenizer *d, const qw_tokenizer *tokenizer,
                                            bool skip_special, const int32_t *prompt, size_t n,
                                            qw_error *err);
void qw_detokenizer_release(qw_detokenizer *d);

/** Append to `out` the text that `id` completes: often one word, sometimes nothing, sometimes what
 *  earlier ids began. Failures are QW_ERR_NO_MEMORY, or that `out` is full, and stay. */
QW_MUST_CHECK qw_status qw_detokenizer_push(qw_detokenizer *d, int32_t id, qw_buf *out,
                                            qw_error *err);

/** Ids at the end of a prompt that qw_detokenizer_init looks at. */
enum { QW_DETOKENIZER_CONTEXT = 7 };

#endif
