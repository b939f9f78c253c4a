#ifndef QW_CLI_SERVE_LOG_H
#define QW_CLI_SERVE_LOG_H

#include "cli/serve_options.h"

/**
 * The lines of a running server, in vLLM's form (cli-and-bench.md 4), each in one write to standard
 * error:
 *
 *   (APIServer pid=7) INFO 11-24 03:30:00 [serve_start.c:40] text      qw_serve_log_write
 *   (APIServer pid=7) INFO:     text                                   qw_serve_log_http
 *
 * A text of several lines repeats what stands in front. With --log-json every line is one object:
 * {"timestamp", "level", "process", "pid", "file", "line", "message"}; the HTTP server's have
 * "logger": "http" instead of file and line. Any thread.
 */

/** What lines look like and which are shown; zero is: level CRITICAL only. */
typedef struct qw_serve_log_options {
    qw_serve_log_level level;
    qw_http_log_level http_level;
    qw_log_color color;
    bool json;
    const char *prefix;  /* VLLM_LOGGING_PREFIX; borrowed as long as lines are written */
    const char *process; /* "APIServer"; borrowed */
} qw_serve_log_options;

/** Set up once, before other threads write. Lines of base/log.h come in this form from then on. */
void qw_serve_log_init(const qw_serve_log_options *options);
/** From the options of serve. */
void qw_serve_log_init_serve(const qw_serve_options *o);

bool qw_serve_log_is_on(qw_serve_log_level level);
void qw_serve_log_write(qw_serve_log_level level, const char *file, int line, const char *fmt, ...)
    QW_PRINTF(4, 5);
/** Arguments are not evaluated when the level is off. */
#define QW_SERVE_LOG(level, ...)                                                                   \
    do {                                                                                           \
        if (qw_serve_log_is_on(level)) qw_serve_log_write(level, __FILE__, __LINE__, __VA_ARGS__); \
    } while (0)

void qw_serve_log_http(qw_http_log_level level, const char *fmt, ...) QW_PRINTF(2, 3);
/** `INFO:     127.0.0.1:53412 - "POST /v1/models HTTP/1.1" 200 OK`; `path` with its query. */
void qw_serve_log_access(const char *client, const char *method, const char *path,
                         const char *version, int status);
/** True if requests for `path` get a line: by --disable-uvicorn-access-log, the list of
 *  --disable-access-log-for-endpoints and --uvicorn-log-level. */
bool qw_serve_log_wants_access(const qw_serve_options *o, const char *path);

#endif
