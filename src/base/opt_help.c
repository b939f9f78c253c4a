// Help and usage, generated from the rows.
#include "base/opt_internal.h"

#include <strings.h>

#define WIDTH 80
#define HELP_COLUMN 26

static const char default_group[] = "Options";

const char *qw_opt_group(const qw_opt *row)
{
    return row->group ? row->group : row->positional ? "Arguments" : default_group;
}

// Display columns of a text, taking each code point as one.
static int columns(qw_str s)
{
    int n = 0;
    for (size_t pos = 0; pos < s.len; n++) (void)qw_utf8_next(s, &pos);
    return n;
}

static void pad(qw_buf *out, int n)
{
    for (; n > 0; n--) qw_buf_putc(out, ' ');
}

// Append words of `text` from column `at` on, breaking lines before WIDTH and indenting them.
// Returns the column reached.
static int wrap(qw_buf *out, const char *text, int at, int indent)
{
    bool line_start = at <= indent;
    for (const char *p = text + strspn(text, " "); *p; p += strspn(p, " ")) {
        qw_str word = {p, strcspn(p, " ")};
        int width = columns(word);
        if (!line_start && at + 1 + width > WIDTH) {
            qw_buf_putc(out, '\n');
            pad(out, indent);
            at = indent;
            line_start = true;
        }
        if (!line_start) {
            qw_buf_putc(out, ' ');
            at++;
        }
        qw_buf_append(out, word.ptr, word.len);
        at += width;
        line_start = false;
        p += word.len;
    }
    return at;
}

const char *qw_opt_metavar(const qw_opt *row)
{
    if (row->metavar) return row->metavar;
    switch (row->type) {
    case QW_OPT_FLAG:
    case QW_OPT_BOOL: return "";
    case QW_OPT_INT: return "N";
    case QW_OPT_FLOAT: return "X";
    case QW_OPT_STR: return "TEXT";
    case QW_OPT_CHOICE: return "NAME";
    case QW_OPT_STRS: return row->append ? "TEXT" : "TEXT...";
    case QW_OPT_INTS: return row->append ? "N" : "N...";
    case QW_OPT_JSON: return "JSON";
    }
    return "";
}

// What the short names of a row take: "-p, ".
static size_t short_columns(const qw_opt *row)
{
    size_t n = 0;
    for (const char *p = row->shorts; p && *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        n += len + 3;
        p += len;
    }
    return n;
}

// "-p, --prompt TEXT", or the bare name of a positional.
static void put_names(qw_buf *out, const qw_opt_value *v)
{
    for (const char *p = v->row->shorts; p && *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        qw_buf_printf(out, "-%.*s, ", (int)len, p);
        p += len;
    }
    if (v->row->positional) qw_buf_printf(out, "%s, ", v->row->metavar ? v->row->metavar : v->name);
    qw_buf_printf(out, "--%s", v->name);
    if (v->no_name) {
        bool wide = strlen(v->name) + strlen(v->no_name) + 8 + short_columns(v->row) > WIDTH;
        qw_buf_printf(out, wide ? ",\n  --%s" : ", --%s", v->no_name);
    }
    if (qw_opt_is_help(v->row))
        qw_buf_printf(out, "[=%s]", v->row->metavar);
    else if (qw_opt_metavar(v->row)[0])
        qw_buf_printf(out, " %s", qw_opt_metavar(v->row));
}

static const char *const effect_words[] = {"active", "adjusted", "no effect", "no effect",
                                           "refused"};

void qw_opt_notes(const qw_opt *row, qw_buf *out)
{
    if (!row->help && row->effect != QW_OPT_ACTIVE && row->why) { // all there is to say
        qw_buf_printf(out, "%s: %s", effect_words[row->effect], row->why);
        return;
    }
    char allowed[512] = "";
    bool limited = row->min != 0 || row->max != 0 || row->word || row->human;
    if (row->allowed)
        snprintf(allowed, sizeof allowed, "%s", row->allowed);
    else if (row->type == QW_OPT_CHOICE || limited)
        qw_opt_describe_allowed(row, allowed, sizeof allowed);
    const char *def = row->def_note ? row->def_note : row->def;
    const char *between = "(";
    if (allowed[0]) {
        qw_buf_printf(out, "%s%s%s", between, row->type == QW_OPT_CHOICE ? "one of: " : "",
                      allowed);
        between = "; ";
    }
    if (row->append) {
        qw_buf_printf(out, "%scan be given several times", between);
        between = "; ";
    }
    if (def) {
        qw_buf_printf(out, "%sdefault: %s", between, def);
        between = "; ";
    }
    if (row->effect != QW_OPT_ACTIVE && row->why) {
        qw_buf_printf(out, "%s%s: %s", between, effect_words[row->effect], row->why);
        between = "; ";
    }
    if (between[0] == ';') qw_buf_putc(out, ')');
}

static void put_option(qw_buf *out, const qw_opt_value *v)
{
    size_t start = out->len;
    qw_buf_puts(out, "  ");
    put_names(out, v);
    if (out->failed) return;
    int at = columns((qw_str){out->data + start, out->len - start});
    if (at + 2 > HELP_COLUMN) {
        qw_buf_putc(out, '\n');
        at = 0;
    }
    pad(out, HELP_COLUMN - at);
    at = HELP_COLUMN;
    if (v->row->help) at = wrap(out, v->row->help, at, HELP_COLUMN);
    qw_buf notes;
    qw_buf_init(&notes, 4096);
    qw_opt_notes(v->row, &notes);
    if (notes.data && !notes.failed) wrap(out, notes.data, at, HELP_COLUMN);
    if (notes.failed) out->failed = notes.failed;
    qw_buf_release(&notes);
    qw_buf_putc(out, '\n');
}

// One option with everything that is known about it.
static void put_detail(qw_buf *out, const qw_opt_value *v)
{
    put_option(out, v);
    if (!v->env) return;
    pad(out, HELP_COLUMN);
    qw_buf_printf(out, "environment: %s\n", v->env);
}

static void put_group(const qw_opts *o, const char *group, qw_buf *out)
{
    qw_buf_printf(out, "\n%s:\n", group);
    for (size_t i = 0; i < o->n_values; i++) {
        const qw_opt *row = o->values[i].row;
        if (!row->hidden && strcasecmp(qw_opt_group(row), group) == 0)
            put_option(out, &o->values[i]);
    }
}

bool qw_opts_opens_group(const qw_opts *o, size_t i)
{
    if (o->values[i].row->hidden) return false;
    for (size_t k = 0; k < i; k++)
        if (!o->values[k].row->hidden &&
            strcasecmp(qw_opt_group(o->values[k].row), qw_opt_group(o->values[i].row)) == 0)
            return false;
    return true;
}

static void put_all(const qw_opts *o, qw_buf *out)
{
    for (size_t i = 0; i < o->n_values; i++)
        if (qw_opts_opens_group(o, i)) put_group(o, qw_opt_group(o->values[i].row), out);
}

static void put_group_names(const qw_opts *o, qw_buf *out)
{
    qw_buf_puts(out, "\nOptions come in groups; --help=GROUP shows one, --help=all all:\n");
    for (size_t i = 0; i < o->n_values; i++)
        if (qw_opts_opens_group(o, i)) qw_buf_printf(out, "  %s\n", qw_opt_group(o->values[i].row));
}

void qw_opts_usage(const qw_opts *o, qw_buf *out)
{
    qw_buf_printf(out, "usage: %s [options]", o->program);
    for (size_t i = 0; i < o->n_values; i++) {
        const qw_opt *row = o->values[i].row;
        if (!row->positional) continue;
        const char *name = row->metavar ? row->metavar : o->values[i].name;
        bool many = row->type == QW_OPT_STRS || row->type == QW_OPT_INTS;
        qw_buf_printf(out, row->required ? " %s%s" : " [%s%s]", name, many ? "..." : "");
    }
    qw_buf_putc(out, '\n');
}

static size_t n_visible(const qw_opts *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n_values; i++) n += !o->values[i].row->hidden;
    return n;
}

static qw_status put_topic(const qw_opts *o, const char *topic, qw_buf *out, qw_error *err)
{
    const qw_opt_value *exact = qw_opts_get(o, topic);
    if (exact) {
        put_detail(out, exact);
        return QW_OK;
    }
    for (size_t i = 0; i < o->n_values; i++) {
        if (!qw_opts_opens_group(o, i) || strcasecmp(qw_opt_group(o->values[i].row), topic) != 0)
            continue;
        qw_opts_usage(o, out);
        put_group(o, qw_opt_group(o->values[i].row), out);
        return QW_OK;
    }
    bool any = false;
    for (size_t i = 0; i < o->n_values; i++) {
        const qw_opt_value *v = &o->values[i];
        if (v->row->hidden || !topic[0] || !strcasestr(v->name, topic)) continue;
        put_detail(out, v);
        any = true;
    }
    if (any) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE,
                   "no option and no group of '%s' is called '%s'; --help=all shows all of them",
                   o->program, topic);
}

qw_status qw_opts_help(const qw_opts *o, const char *topic, qw_buf *out, qw_error *err)
{
    bool all = topic && strcmp(topic, "all") == 0;
    if (topic && !all) {
        qw_status st = put_topic(o, topic, out, err);
        return st == QW_OK ? qw_buf_check(out, "the help", err) : st;
    }
    qw_opts_usage(o, out);
    if (o->summary) {
        qw_buf_putc(out, '\n');
        wrap(out, o->summary, 0, 0);
        qw_buf_putc(out, '\n');
    }
    if (all || n_visible(o) <= QW_OPT_HELP_LONG)
        put_all(o, out);
    else
        put_group_names(o, out);
    return qw_buf_check(out, "the help", err);
}
