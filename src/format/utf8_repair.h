#ifndef QW_FORMAT_UTF8_REPAIR_H
#define QW_FORMAT_UTF8_REPAIR_H

#include "base/buf.h"
#include "base/str.h"

/**
 * Turns bytes that arrive in parts into valid UTF-8: each maximal invalid subpart becomes one
 * U+FFFD (Unicode 3.9, WHATWG). A sequence that a part leaves unfinished waits for the next part.
 * Zeroed memory is a fresh state.
 */
typedef struct qw_utf8_repair {
    char tail[4]; /* an unfinished sequence, valid so far */
    int n_tail;   /* its bytes, 0 to 3 */
} qw_utf8_repair;

/** Append to `out` what `bytes` completes. Failures stick to `out` (base/buf.h). */
void qw_utf8_repair_push(qw_utf8_repair *r, qw_buf *out, qw_str bytes);
/** No more bytes come: an unfinished sequence becomes one U+FFFD. The state is fresh again. */
void qw_utf8_repair_end(qw_utf8_repair *r, qw_buf *out);

#endif
