#include "cli/serve_log.h"

#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "format/json.h"
#include "server/http_exchange.h"

enum { MAX_LINE = 1 << 24 };

static qw_serve_log_options options = {.prefix = "", .process = "APIServer"};
static bool colored;

static const char *const level_names[] = {"CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"};
static const char *const level_colors[] = {"\033[35m", "\033[31m", "\033[33m", "\033[32m",
                                           "\033[37m"};
static const char *const http_names[] = {"CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "TRACE"};

bool qw_serve_log_is_on(qw_serve_log_level level)
{
    return level <= options.level;
}

// One write: lines of several threads stay whole, and nothing is left in a buffer.
static void write_out(const qw_buf *b)
{
    size_t done = 0;
    while (done < b->len) {
        ssize_t n = write(STDERR_FILENO, b->data + done, b->len - done);
        if (n <= 0) return; // nobody can be told
        done += (size_t)n;
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void put_time(qw_buf *b, const char *format)
{
    char stamp[32];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof stamp, format, &tm);
    qw_buf_puts(b, stamp);
    if (options.json) qw_buf_printf(b, ".%03ld", now.tv_nsec / 1000000);
}

static void put_process(qw_buf *b)
{
    qw_buf_printf(b, "%s(%s pid=%d)%s ", colored ? "\033[36m" : "", options.process, (int)getpid(),
                  colored ? "\033[0m" : "");
}

// `head` in front of every line of `text`.
static void put_lines(qw_buf *b, const qw_buf *head, const char *text)
{
    for (const char *p = text;;) {
        size_t len = strcspn(p, "\n");
        qw_buf_append(b, head->data, head->len);
        qw_buf_append(b, p, len);
        qw_buf_putc(b, '\n');
        p += len;
        if (*p++ == '\0' || *p == '\0') return;
    }
}

static void put_json(qw_buf *b, const char *level, const char *file, int line, const char *text)
{
    qw_buf_puts(b, "{\"timestamp\":\"");
    put_time(b, "%Y-%m-%dT%H:%M:%S");
    qw_buf_printf(b, "\",\"level\":\"%s\",\"process\":\"%s\",\"pid\":%d,", level, options.process,
                  (int)getpid());
    if (file)
        qw_buf_printf(b, "\"file\":\"%s\",\"line\":%d", base_name(file), line);
    else
        qw_buf_puts(b, "\"logger\":\"http\"");
    qw_buf_puts(b, ",\"message\":");
    qw_json_write_string(b, qw_str_of(text));
    qw_buf_puts(b, "}\n");
}

static void write_text(qw_serve_log_level level, const char *file, int line, const char *text)
{
    qw_buf out, head;
    qw_buf_init(&out, MAX_LINE);
    qw_buf_init(&head, 4096);
    if (options.json) {
        put_json(&out, level_names[level], file, line, text);
    } else {
        put_process(&head);
        qw_buf_printf(&head, "%s%s%s%s ", options.prefix, colored ? level_colors[level] : "",
                      level_names[level], colored ? "\033[0m" : "");
        put_time(&head, "%m-%d %H:%M:%S");
        qw_buf_printf(&head, " [%s:%d] ", base_name(file), line);
        if (!head.failed) put_lines(&out, &head, text);
    }
    write_out(&out);
    qw_buf_release(&head);
    qw_buf_release(&out);
}

// The text of a line; short ones, which are almost all, need no memory.
#define WITH_TEXT(fmt, use)                                                                        \
    do {                                                                                           \
        char fixed[1024];                                                                          \
        va_list args;                                                                              \
        va_start(args, fmt);                                                                       \
        int n = vsnprintf(fixed, sizeof fixed, fmt, args);                                         \
        va_end(args);                                                                              \
        char *text = fixed;                                                                        \
        if (n >= (int)sizeof fixed && (text = qw_mem_alloc((size_t)n + 1))) {                      \
            va_start(args, fmt);                                                                   \
            vsnprintf(text, (size_t)n + 1, fmt, args);                                             \
            va_end(args);                                                                          \
        }                                                                                          \
        if (!text) text = fixed;                                                                   \
        use;                                                                                       \
        if (text != fixed) qw_mem_free(text);                                                      \
    } while (0)

void qw_serve_log_write(qw_serve_log_level level, const char *file, int line, const char *fmt, ...)
{
    if (!qw_serve_log_is_on(level)) return;
    WITH_TEXT(fmt, write_text(level, file, line, text));
}

// "INFO:     " and "WARNING:  ": uvicorn pads to nine columns and a blank.
static void write_http(qw_http_log_level level, const char *text)
{
    qw_buf out, head;
    qw_buf_init(&out, MAX_LINE);
    qw_buf_init(&head, 4096);
    if (options.json) {
        put_json(&out, http_names[level], NULL, 0, text);
    } else {
        put_process(&head);
        char name[16];
        snprintf(name, sizeof name, "%s:", http_names[level]);
        qw_buf_printf(&head, "%-9s ", name);
        if (!head.failed) put_lines(&out, &head, text);
    }
    write_out(&out);
    qw_buf_release(&head);
    qw_buf_release(&out);
}

void qw_serve_log_http(qw_http_log_level level, const char *fmt, ...)
{
    if (level > options.http_level) return;
    WITH_TEXT(fmt, write_http(level, text));
}

void qw_serve_log_access(const char *client, const char *method, const char *path,
                         const char *version, int status)
{
    qw_serve_log_http(QW_HTTP_LOG_INFO, "%s - \"%s %.800s %s\" %d %s", client, method, path,
                      version, status, qw_http_status_text(status));
}

bool qw_serve_log_wants_access(const qw_serve_options *o, const char *path)
{
    if (o->disable_uvicorn_access_log || o->uvicorn_log_level < QW_HTTP_LOG_INFO) return false;
    qw_str plain = {path, strcspn(path, "?")};
    for (size_t i = 0; i < o->n_access_log_excluded; i++)
        if (qw_str_is(plain, o->access_log_excluded[i])) return false;
    return true;
}

// Lines of base/log.h

static void write_other(qw_log_level level, const char *area, const char *text)
{
    static const qw_serve_log_level levels[] = {QW_SERVE_LOG_ERROR, QW_SERVE_LOG_WARNING,
                                                QW_SERVE_LOG_INFO, QW_SERVE_LOG_DEBUG,
                                                QW_SERVE_LOG_DEBUG};
    qw_buf line;
    qw_buf_init(&line, MAX_LINE);
    qw_buf_printf(&line, "%s: %s", area, text);
    if (line.data) write_text(levels[level], "qwench", 0, line.data);
    qw_buf_release(&line);
}

void qw_serve_log_init(const qw_serve_log_options *o)
{
    options = *o;
    if (!options.prefix) options.prefix = "";
    const char *no_color = getenv("NO_COLOR");
    bool by_terminal = isatty(STDERR_FILENO) && !(no_color && *no_color);
    colored = !o->json &&
              (o->color == QW_LOG_COLOR_ALWAYS || (o->color == QW_LOG_COLOR_AUTO && by_terminal));
    qw_log_set_sink(write_other);
}

void qw_serve_log_init_serve(const qw_serve_options *o)
{
    const qw_serve_log_options log = {
        .level = (qw_serve_log_level)o->logging_level,
        .http_level = (qw_http_log_level)o->uvicorn_log_level,
        .color = (qw_log_color)o->logging_color,
        .json = o->log_json,
        .prefix = o->logging_prefix,
        .process = "APIServer",
    };
    qw_serve_log_init(&log);
}
