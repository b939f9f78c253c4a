#include "base/status.h"

#include <stdarg.h>

// Defined here, whatever status.h tells the analyzer.
#undef qw_fail
#undef qw_fail_memory
#undef qw_context

void qw_assert_failed(const char *file, int line, const char *cond)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, cond);
    abort();
}

// A text cut at the buffer's end may not end inside a UTF-8 sequence: terminals and JSON writers
// would choke on it.
static void trim_partial_utf8(char *text, size_t size)
{
    size_t len = strlen(text);
    if (len + 1 < size) return;
    size_t lead = len;
    while (lead > 0 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80) lead--;
    if (lead > 0 && (unsigned char)text[lead - 1] >= 0xC0) text[lead - 1] = '\0';
}

qw_status qw_fail(qw_error *err, qw_status code, const char *fmt, ...)
{
    if (!err) return code;
    err->code = code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    trim_partial_utf8(err->text, sizeof err->text);
    return code;
}

qw_status qw_fail_memory(qw_error *err, size_t size, const char *what)
{
    return qw_fail(err, QW_ERR_NO_MEMORY, "cannot allocate %zu bytes for %s", size, what);
}

// Append as much of `more` as fits. (snprintf makes gcc warn of the cut that is meant here.)
static void append_text(char *text, size_t size, const char *more)
{
    size_t len = strlen(text);
    while (*more && len + 1 < size) text[len++] = *more++;
    text[len] = '\0';
}

qw_status qw_context(qw_error *err, qw_status code, const char *fmt, ...)
{
    if (!err) return code;
    char below[sizeof err->text];
    memcpy(below, err->text, sizeof below);
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    append_text(err->text, sizeof err->text, ": ");
    append_text(err->text, sizeof err->text, below);
    trim_partial_utf8(err->text, sizeof err->text);
    err->code = code;
    return code;
}

int qw_status_exit_code(qw_status code)
{
    switch (code) {
    case QW_OK: return 0;
    case QW_ERR_USAGE: return 2;
    case QW_ERR_FORMAT:
    case QW_ERR_UNSUPPORTED:
    case QW_ERR_NO_MEMORY:
    case QW_ERR_IO:
    case QW_ERR_BUSY:
    case QW_ERR_CANCELLED:
    case QW_ERR_DEVICE: return 1;
    }
    return 1;
}
