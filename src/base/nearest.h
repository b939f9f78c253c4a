#ifndef QW_BASE_NEAREST_H
#define QW_BASE_NEAREST_H

#include "base/str.h"

/**
 * Finds what somebody who mistyped `word` may have meant: offer the known names one by one, then
 * read `name`. It stays NULL unless a name is near: at most a third of the word's letters (and at
 * least one) inserted, left out, replaced or swapped with the next. '_' counts as '-'.
 */
typedef struct qw_nearest {
    qw_str word;
    const char *name; /* the nearest so far, as offered; the first of equals */
    int distance;     /* of `name`; with no name yet, the first distance that is too far */
} qw_nearest;

/** `word` is borrowed until the last offer. Words above 64 bytes are near to nothing. */
void qw_nearest_init(qw_nearest *n, qw_str word);
void qw_nearest_offer(qw_nearest *n, const char *name);

#endif
