#ifndef QW_BASE_LOG_H
#define QW_BASE_LOG_H

#include "base/compiler.h"

/** Ordered from quiet to loud. Prompts and outputs appear only at QW_LOG_TRACE. */
typedef enum qw_log_level {
    QW_LOG_ERROR,
    QW_LOG_WARN,
    QW_LOG_INFO,
    QW_LOG_DEBUG,
    QW_LOG_TRACE,
} qw_log_level;

/** Read $QWENCH_LOG (error, warn, info, debug, trace; default warn). An unknown name counts as
 * warn. */
void qw_log_init(void);
bool qw_log_is_on(qw_log_level level);
void qw_log_write(qw_log_level level, const char *area, const char *fmt, ...) QW_PRINTF(3, 4);

/** Who gets the lines instead of stderr: `text` without its newline, borrowed for the call. */
typedef void qw_log_sink_fn(qw_log_level level, const char *area, const char *text);
/** NULL: stderr again. Set while there is one thread. */
void qw_log_set_sink(qw_log_sink_fn *sink);

/**
 * One line on stderr: `time level area message key=value ...`. `area` is the file's stem.
 * Arguments are not evaluated when the level is off. Any thread; a line is never torn.
 */
#define QW_LOG(level, area, ...)                                                                   \
    do {                                                                                           \
        if (qw_log_is_on(level)) qw_log_write(level, area, __VA_ARGS__);                           \
    } while (0)

#endif
