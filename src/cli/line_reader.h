#ifndef QW_CLI_LINE_READER_H
#define QW_CLI_LINE_READER_H

#include <signal.h>

#include "base/buf.h"
#include "base/status.h"

/** Lines from a person (edited, with history, by libedit) or from a pipe. */
typedef struct qw_line_reader qw_line_reader;

typedef enum qw_line_result {
    QW_LINE_OK,
    QW_LINE_CANCELLED, /* Ctrl-C while typing, or SIGINT: the line is dropped */
    QW_LINE_END,       /* end of input */
} qw_line_result;

/**
 * Reads standard input. A terminal that can move its cursor gets line editing; history is kept in
 * `history_path` (may be NULL: not kept). `program` is what ~/.editrc may speak of. `interrupted`
 * is set by the caller's handler of SIGINT (without SA_RESTART) and cleared here when a line is
 * dropped for it.
 */
QW_MUST_CHECK qw_status qw_line_reader_open(qw_line_reader **out, const char *program,
                                            const char *history_path,
                                            volatile sig_atomic_t *interrupted, qw_error *err);
void qw_line_reader_close(qw_line_reader *r);

/** True if a person is typing. */
bool qw_line_reader_is_interactive(const qw_line_reader *r);

/** Replace `line` by the next line, without its newline. `prompt` is shown to a person only. */
qw_line_result qw_line_reader_read(qw_line_reader *r, const char *prompt, qw_buf *line);
/** Put a finished input, which may have several lines, into the history. */
void qw_line_reader_remember(qw_line_reader *r, const char *text);

#endif
