#ifndef QW_BASE_STATUS_H
#define QW_BASE_STATUS_H

#include "base/compiler.h"

/** What went wrong, for programs. The comment gives the exit status and the HTTP status. */
typedef enum qw_status {
    QW_OK = 0,
    QW_ERR_USAGE,       /* the caller passed something invalid      exit 2, HTTP 400 */
    QW_ERR_FORMAT,      /* a file or message is malformed           exit 1, HTTP 400 */
    QW_ERR_UNSUPPORTED, /* well formed, not implemented here        exit 1, HTTP 501 */
    QW_ERR_NO_MEMORY,   /* allocation or KV blocks exhausted        exit 1, HTTP 503 */
    QW_ERR_IO,          /* the system refused; text carries errno   exit 1, HTTP 500 */
    QW_ERR_BUSY,        /* a queue limit was set and is reached     exit 1, HTTP 429 */
    QW_ERR_CANCELLED,   /* client left or deadline passed           exit 1, no reply */
    QW_ERR_DEVICE,      /* backend or communicator failed           exit 1, HTTP 500 */
} qw_status;

/** What went wrong, for people: one sentence, lower case, no full stop. */
typedef struct qw_error {
    qw_status code;
    char text[512];
} qw_error;

/** Record a failure and return `code`, so `return qw_fail(...)` is one step. `err` may be NULL. */
qw_status qw_fail(qw_error *err, qw_status code, const char *fmt, ...) QW_PRINTF(3, 4);

/** The same for a failed allocation of `size` bytes for `what`; returns QW_ERR_NO_MEMORY. */
qw_status qw_fail_memory(qw_error *err, size_t size, const char *what);

/** Put "what I was doing: " in front of the text recorded below; returns `code` unchanged. */
qw_status qw_context(qw_error *err, qw_status code, const char *fmt, ...) QW_PRINTF(3, 4);

#if defined(__clang_analyzer__)
// The analyzer does not look into status.c: it shall know what these return.
#define qw_fail(err, code, ...) ((void)qw_fail(err, code, __VA_ARGS__), (code))
#define qw_fail_memory(err, size, what) ((void)qw_fail_memory(err, size, what), QW_ERR_NO_MEMORY)
#define qw_context(err, code, ...) ((void)qw_context(err, code, __VA_ARGS__), (code))
#endif

/** The process exit status for `code`: 0, 1 or 2. */
int qw_status_exit_code(qw_status code);

#endif
