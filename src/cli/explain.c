#include "cli/explain.h"

#include <stdarg.h>

void qw_explain_init(qw_explain *e)
{
    *e = (qw_explain){0};
    qw_arena_init(&e->arena, 4096);
}

void qw_explain_release(qw_explain *e)
{
    qw_mem_free(e->records);
    qw_mem_free(e->warnings);
    qw_arena_release(&e->arena);
    *e = (qw_explain){0};
}

static qw_status no_memory(qw_error *err)
{
    return qw_fail(err, QW_ERR_NO_MEMORY, "out of memory while noting what the options do");
}

// Make room for one more element of `size` bytes. `*items` is unchanged on failure.
static bool grow(void **items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) return true;
    size_t more = *cap ? 2 * *cap : 32, bytes;
    if (!qw_mul_size(&bytes, more, size)) return false;
    void *grown = qw_mem_realloc(*items, bytes);
    if (!grown) return false;
    *items = grown;
    *cap = more;
    return true;
}

static char *copy(qw_explain *e, const char *text)
{
    return qw_arena_strndup(&e->arena, text, strlen(text));
}

// Values can be pages of JSON; the beginning tells which it was.
static char *copy_value(qw_explain *e, const char *value)
{
    enum { MOST = 60 };
    size_t len = strlen(value);
    if (len <= MOST) return copy(e, value);
    size_t cut = MOST - 3;
    while (cut > 0 && ((unsigned char)value[cut] & 0xC0) == 0x80) cut--; // not inside a character
    char *out = qw_arena_alloc(&e->arena, cut + 4);
    if (!out) return NULL;
    memcpy(out, value, cut);
    memcpy(out + cut, "...", 4);
    return out;
}

qw_status qw_explain_add(qw_explain *e, qw_error *err, const char *name, const char *value,
                         qw_opt_source source, qw_opt_effect effect, const char *fmt, ...)
{
    char why[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    void *records = e->records;
    if (!grow(&records, e->n_records, &e->cap, sizeof *e->records)) return no_memory(err);
    e->records = records;
    qw_explain_record r = {.name = copy(e, name),
                           .value = copy_value(e, value),
                           .source = source,
                           .effect = effect,
                           .why = copy(e, why)};
    if (!r.name || !r.value || !r.why) return no_memory(err);
    e->records[e->n_records++] = r;
    return QW_OK;
}

qw_status qw_explain_warn(qw_explain *e, qw_error *err, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (size_t i = 0; i < e->n_warnings; i++)
        if (strcmp(e->warnings[i], text) == 0) return QW_OK;
    void *warnings = e->warnings;
    if (!grow(&warnings, e->n_warnings, &e->warnings_cap, sizeof *e->warnings))
        return no_memory(err);
    e->warnings = warnings;
    char *owned = copy(e, text);
    if (!owned) return no_memory(err);
    e->warnings[e->n_warnings++] = owned;
    return QW_OK;
}

const char *qw_opt_effect_name(qw_opt_effect effect)
{
    switch (effect) {
    case QW_OPT_ACTIVE: return "active";
    case QW_OPT_ADJUSTED: return "adjusted";
    case QW_OPT_INERT:
    case QW_OPT_WARNED: return "inert";
    case QW_OPT_REFUSED: return "refused";
    }
    return "unknown";
}

void qw_explain_print(const qw_explain *e, bool only_changed, qw_buf *out)
{
    for (size_t i = 0; i < e->n_records; i++) {
        const qw_explain_record *r = &e->records[i];
        if (only_changed && r->effect == QW_OPT_ACTIVE) continue;
        qw_buf_printf(out, "%s%s%s: %s: %s", r->name, *r->value ? " " : "", r->value,
                      qw_opt_effect_name(r->effect), r->why);
        if (r->source == QW_OPT_FROM_FILE) qw_buf_puts(out, " (config file)");
        qw_buf_putc(out, '\n');
    }
    if (only_changed) return;
    for (size_t i = 0; i < e->n_warnings; i++) qw_buf_printf(out, "warning: %s\n", e->warnings[i]);
}
