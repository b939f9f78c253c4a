#ifndef QW_FORMAT_ADDED_TOKENS_H
#define QW_FORMAT_ADDED_TOKENS_H

#include "base/str.h"

// Added tokens: strings such as <|im_end|> that become one id wherever they stand in a text, found
// before (or, "normalized" ones, after) Unicode normalization and never touched by BPE.

enum {
    QW_ADDED_SPECIAL = 1,     /* skip_special_tokens drops it; split_special_tokens spells it out */
    QW_ADDED_LSTRIP = 2,      /* swallows the white space before it */
    QW_ADDED_RSTRIP = 4,      /* ... behind it */
    QW_ADDED_SINGLE_WORD = 8, /* only where no word character stands next to it */
    QW_ADDED_NORMALIZED = 16, /* looked for in the normalized text; `text` is normalized too */
    QW_ADDED_ALL_FLAGS = 31,
};

typedef struct qw_added_token {
    int32_t id;
    uint32_t flags;
    uint32_t text_offset, text_len; /* within qw_added_index.text; never empty */
} qw_added_token;

/** Added tokens ordered by text (bytes, unsigned), all different. A view. */
typedef struct qw_added_index {
    const qw_added_token *tokens;
    const char *text;
    uint32_t first[257]; /* tokens[first[b] .. first[b + 1]) begin with byte b */
} qw_added_index;

/** The order of an index: negative, 0, positive as for memcmp. */
int qw_added_compare(qw_str a, qw_str b);
void qw_added_index_init(qw_added_index *index, const qw_added_token *tokens, size_t n,
                         const char *text);

/** A stretch of text: one added token (id >= 0), or the plain text between two (id -1). */
typedef struct qw_added_span {
    qw_str text;
    int32_t id;
} qw_added_span;

/** One walk over a text. */
typedef struct qw_added_scan {
    const qw_added_index *index;
    qw_str text;
    bool split_special;
    size_t done;           /* text before this has been given out */
    size_t search;         /* no token begins before this */
    qw_added_span waiting; /* a token found behind plain text; text.len 0: none */
} qw_added_scan;

/** Begin with `text` (valid UTF-8). split_special: special tokens are plain text. */
void qw_added_scan_init(qw_added_scan *scan, const qw_added_index *index, qw_str text,
                        bool split_special);
/**
 * The next span, false at the end. From left to right, at each place the longest token that stands
 * there (qwen3-dense 5.2). A token that its flags rule out is plain text as a whole: what it covers
 * is not searched again, as in the reference.
 */
bool qw_added_scan_next(qw_added_scan *scan, qw_added_span *span);

#endif
