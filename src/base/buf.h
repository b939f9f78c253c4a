#ifndef QW_BASE_BUF_H
#define QW_BASE_BUF_H

#include "base/status.h"

/**
 * Growable byte buffer with a largest size. Appending never returns a status: the first failure
 * sticks, later appends do nothing, and qw_buf_check tells at the end. `data` is NUL-terminated
 * whenever it is not NULL (the NUL is not counted in `len`).
 */
typedef struct qw_buf {
    char *data;
    size_t len, cap;
    size_t max;       /* most bytes of content */
    qw_status failed; /* QW_OK, QW_ERR_NO_MEMORY (allocation) or QW_ERR_USAGE (max reached) */
} qw_buf;

/** Empty buffer that may grow to `max` bytes. Allocates nothing yet. */
void qw_buf_init(qw_buf *b, size_t max);
void qw_buf_release(qw_buf *b);
/** Length 0, failure forgotten, memory kept. */
void qw_buf_clear(qw_buf *b);
void qw_buf_append(qw_buf *b, const void *data, size_t len);
void qw_buf_puts(qw_buf *b, const char *text);
void qw_buf_putc(qw_buf *b, char c);
void qw_buf_printf(qw_buf *b, const char *fmt, ...) QW_PRINTF(2, 3);
/** QW_OK, or a failure whose text says that `what` hit its limit or that memory is short. */
QW_MUST_CHECK qw_status qw_buf_check(const qw_buf *b, const char *what, qw_error *err);
/** Hand the bytes to the caller (qw_mem_free); the buffer is empty afterwards. NULL if failed. */
char *qw_buf_take(qw_buf *b, size_t *len);

#endif
