// Errors, limits and memory of one rendering.

#include "format/jinja_internal.h"

#include <stdarg.h>

// The first failure counts: later ones happen while it is passed up.
static qw_status fail_at_line(qw_jinja_run *r, qw_status code, const char *fmt, va_list args)
{
    if (r->failed == QW_OK) {
        char text[sizeof r->err->text];
        vsnprintf(text, sizeof text, fmt, args);
        r->failed = qw_fail(r->err, code, "line %d: %s", r->line, text);
    }
    return r->failed;
}

#undef qw_jinja_fail // defined here, whatever the header tells the analyzer
qw_status qw_jinja_fail(qw_jinja_run *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    qw_status st = fail_at_line(r, QW_ERR_FORMAT, fmt, args);
    va_end(args);
    return st;
}

#undef qw_jinja_refuse
qw_status qw_jinja_refuse(qw_jinja_run *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    qw_status st = fail_at_line(r, QW_ERR_UNSUPPORTED, fmt, args);
    va_end(args);
    return st;
}

qw_status qw_jinja_step(qw_jinja_run *r, size_t n)
{
    if (n > r->opt->max_steps - r->steps)
        return qw_jinja_fail(r, "the template takes more than %" PRIu64 " steps",
                             r->opt->max_steps);
    r->steps += n;
    return QW_OK;
}

qw_status qw_jinja_work(qw_jinja_run *r, size_t n_bytes)
{
    return qw_jinja_step(r, 1 + n_bytes / 64);
}

void *qw_jinja_alloc(qw_jinja_run *r, size_t n, size_t size)
{
    size_t total;
    if (!qw_mul_size(&total, n, size)) total = SIZE_MAX;
    if (total > SIZE_MAX - 16 || total + 16 > r->opt->max_memory - r->memory) {
        (void)qw_jinja_fail(r, "the template needs more than %zu bytes of memory",
                            r->opt->max_memory);
        return NULL;
    }
    if (qw_jinja_work(r, total) != QW_OK) return NULL;
    void *ptr = qw_arena_alloc(&r->arena, total);
    if (!ptr) {
        if (r->failed == QW_OK) r->failed = qw_fail_memory(r->err, total, "rendering the template");
        return NULL;
    }
    r->memory += total + 16;
    return ptr;
}

qw_status qw_jinja_enter(qw_jinja_run *r)
{
    if (r->nesting >= QW_JINJA_MAX_NESTING)
        return qw_jinja_fail(r, "the template nests deeper than %d levels while it runs",
                             QW_JINJA_MAX_NESTING);
    r->nesting++;
    return QW_OK;
}

qw_status qw_jinja_check_output(qw_jinja_run *r)
{
    if (r->out.failed == QW_OK || r->failed != QW_OK) return r->failed;
    if (r->out.failed == QW_ERR_NO_MEMORY)
        return r->failed = qw_fail_memory(r->err, r->out.len, "the rendered prompt");
    return qw_jinja_fail(r, "the template writes more than %zu bytes", r->opt->max_output);
}

qw_status qw_jinja_capture(qw_jinja_run *r, size_t start, qw_str *out)
{
    QW_JINJA_TRY(qw_jinja_check_output(r));
    size_t len = r->out.len - start;
    char *text = qw_jinja_alloc(r, len + 1, 1);
    if (!text) return qw_jinja_failure(r);
    if (len) memcpy(text, r->out.data + start, len);
    r->out.len = start;
    *out = (qw_str){text, len};
    return QW_OK;
}
