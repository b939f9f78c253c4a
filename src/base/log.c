#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>

static atomic_int current = QW_LOG_WARN;
static const char *const names[] = {"error", "warn", "info", "debug", "trace"};

void qw_log_init(void)
{
    const char *name = getenv("QWENCH_LOG");
    atomic_store(&current, QW_LOG_WARN);
    for (size_t i = 0; name && i < QW_ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0) atomic_store(&current, (int)i);
}

bool qw_log_is_on(qw_log_level level)
{
    return (int)level <= atomic_load_explicit(&current, memory_order_relaxed);
}

static qw_log_sink_fn *sink;

void qw_log_set_sink(qw_log_sink_fn *new_sink)
{
    sink = new_sink;
}

void qw_log_write(qw_log_level level, const char *area, const char *fmt, ...)
{
    char line[1024], stamp[32];
    if (sink) {
        va_list of_text;
        va_start(of_text, fmt);
        vsnprintf(line, sizeof line, fmt, of_text);
        va_end(of_text);
        sink(level, area, line);
        return;
    }
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof stamp, "%H:%M:%S", &tm);
    int n = snprintf(line, sizeof line, "%s.%03ld %-5s %s ", stamp, now.tv_nsec / 1000000,
                     names[level], area);
    va_list args;
    va_start(args, fmt);
    int m = vsnprintf(line + n, sizeof line - (size_t)n, fmt, args);
    va_end(args);
    size_t len = (size_t)n + (m > 0 ? (size_t)m : 0);
    if (len > sizeof line - 2) len = sizeof line - 2;
    line[len] = '\n';
    fwrite(line, 1, len + 1, stderr); // one call: stdio locks the stream, so lines stay whole
}
