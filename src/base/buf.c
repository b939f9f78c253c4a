#include "base/buf.h"

#include <stdarg.h>

#include "base/mem.h"

void qw_buf_init(qw_buf *b, size_t max)
{
    *b = (qw_buf){.max = max};
}

void qw_buf_release(qw_buf *b)
{
    qw_mem_free(b->data);
    *b = (qw_buf){.max = b->max};
}

void qw_buf_clear(qw_buf *b)
{
    b->len = 0;
    b->failed = QW_OK;
    if (b->data) b->data[0] = '\0';
}

static bool make_room(qw_buf *b, size_t extra)
{
    if (b->failed) return false;
    if (extra > b->max || b->len > b->max - extra) {
        b->failed = QW_ERR_USAGE;
        return false;
    }
    size_t need = b->len + extra + 1;
    if (need <= b->cap) return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) cap = cap > need / 2 ? need : cap * 2;
    if (b->cap && cap < b->cap + b->cap / 2) cap = b->cap + b->cap / 2;
    char *data = qw_mem_realloc(b->data, cap);
    if (!data) {
        b->failed = QW_ERR_NO_MEMORY;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void qw_buf_append(qw_buf *b, const void *data, size_t len)
{
    if (!make_room(b, len)) return;
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void qw_buf_puts(qw_buf *b, const char *text)
{
    qw_buf_append(b, text, strlen(text));
}

void qw_buf_putc(qw_buf *b, char c)
{
    qw_buf_append(b, &c, 1);
}

void qw_buf_printf(qw_buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (need >= 0 && make_room(b, (size_t)need)) {
        vsnprintf(b->data + b->len, (size_t)need + 1, fmt, again);
        b->len += (size_t)need;
    }
    va_end(again);
}

qw_status qw_buf_check(const qw_buf *b, const char *what, qw_error *err)
{
    if (b->failed == QW_ERR_NO_MEMORY)
        return qw_fail(err, QW_ERR_NO_MEMORY, "out of memory while growing %s past %zu bytes", what,
                       b->len);
    if (b->failed)
        return qw_fail(err, QW_ERR_FORMAT, "%s is larger than the limit of %zu bytes", what,
                       b->max);
    return QW_OK;
}

char *qw_buf_take(qw_buf *b, size_t *len)
{
    if (b->failed) return NULL;
    if (!b->data && !make_room(b, 0)) return NULL;
    char *data = b->data;
    QW_ASSERT(data);
    data[b->len] = '\0';
    if (len) *len = b->len;
    *b = (qw_buf){.max = b->max};
    return data;
}
