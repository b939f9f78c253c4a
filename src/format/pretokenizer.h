#ifndef QW_FORMAT_PRETOKENIZER_H
#define QW_FORMAT_PRETOKENIZER_H

#include "base/status.h"
#include "base/str.h"

/** The regular expression that cuts text into pieces before BPE. Immutable, usable by any thread.
 */
typedef struct qw_pretokenizer qw_pretokenizer;

/**
 * Compile a pattern as tokenizer.json has it. White space, letters and numbers are what the
 * reference takes for them (qwen3-dense 5.3: an explicit \s, Unicode 16), whatever Unicode version
 * PCRE2 has. `jit` false, or a machine without PCRE2's compiler: the interpreter, same pieces.
 * Fails with QW_ERR_FORMAT (the pattern is broken) or QW_ERR_UNSUPPORTED (it means something else
 * in the reference's dialect than in PCRE2's).
 */
QW_MUST_CHECK qw_status qw_pretokenizer_new(qw_pretokenizer **out, qw_str pattern, bool jit,
                                            qw_error *err);
void qw_pretokenizer_free(qw_pretokenizer *p);

/** One walk over one text after another. Belongs to one thread; outlived by its pretokenizer. */
typedef struct qw_piece_walk {
    const qw_pretokenizer *pretokenizer;
    struct pcre2_real_match_data_8 *match_data;
    struct pcre2_real_match_context_8 *match_context;
    qw_str text;
    size_t piece;      /* where the next piece begins */
    size_t search;     /* where the next match may begin */
    size_t next_match; /* end of a match that waits behind the text before it; 0: none */
} qw_piece_walk;

QW_MUST_CHECK qw_status qw_piece_walk_init(qw_piece_walk *w, const qw_pretokenizer *p,
                                           qw_error *err);
void qw_piece_walk_release(qw_piece_walk *w);
/** Begin with `text` (valid UTF-8, borrowed until the walk is over). */
void qw_piece_walk_start(qw_piece_walk *w, qw_str text);
/**
 * The next piece, never empty: a match, or the text between two matches; together they cover the
 * text. piece->len is 0 at the end. A pattern that backtracks without end is QW_ERR_FORMAT.
 */
QW_MUST_CHECK qw_status qw_piece_walk_next(qw_piece_walk *w, qw_str *piece, qw_error *err);

#endif
