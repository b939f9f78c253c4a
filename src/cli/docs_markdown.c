// docs/cli.md.
#include "cli/docs.h"

// Text of a paragraph or a table's cell: nothing in it is markup.
static void put_text(qw_buf *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '<')
            qw_buf_puts(out, "&lt;");
        else if (strchr("\\`*|[", *p))
            qw_buf_printf(out, "\\%c", *p);
        else
            qw_buf_putc(out, *p);
    }
}

// Inside `...` of a table's cell only '|' must be escaped.
static void put_code(qw_buf *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '|') qw_buf_putc(out, '\\');
        qw_buf_putc(out, *p);
    }
}

static void put_names(const qw_opt_value *v, qw_buf *out)
{
    const qw_opt *row = v->row;
    for (const char *p = row->shorts; p && *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        qw_buf_printf(out, "`-%.*s`, ", (int)len, p);
        p += len;
    }
    if (row->positional) qw_buf_printf(out, "`%s`, ", qw_opt_metavar(row));
    qw_buf_printf(out, "`--%s", v->name);
    if (v->no_name) qw_buf_printf(out, "`, `--%s", v->no_name);
    if (qw_doc_takes_value(row)) {
        qw_buf_putc(out, ' ');
        put_code(out, qw_opt_metavar(row));
    } else if (*qw_opt_metavar(row)) {
        qw_buf_printf(out, "[=%s]", qw_opt_metavar(row));
    }
    qw_buf_putc(out, '`');
}

static void put_option(const qw_opt_value *v, qw_buf *out)
{
    qw_buf_puts(out, "| ");
    put_names(v, out);
    qw_buf_puts(out, " | ");
    qw_buf text;
    qw_buf_init(&text, 1 << 16);
    qw_buf_puts(&text, v->row->help ? v->row->help : "");
    if (v->row->help) qw_buf_putc(&text, ' ');
    qw_opt_notes(v->row, &text);
    while (text.len > 0 && text.data[text.len - 1] == ' ') text.data[--text.len] = '\0';
    if (text.failed) out->failed = text.failed;
    put_text(out, text.data ? text.data : "");
    qw_buf_puts(out, " |\n");
    qw_buf_release(&text);
}

// The page before this one that has the same row; NULL: none.
static const qw_doc_page *shown_before(const qw_docs *d, const qw_doc_page *page, const qw_opt *row)
{
    for (const qw_doc_page *p = d->pages; p < page; p++)
        for (size_t i = 0; i + 1 < p->opts.n_values; i++) // the last is --help
            if (p->opts.values[i].row == row) return p;
    return NULL;
}

// The group that value `first` opens: a table, of the rows that no page before has shown.
static void put_group(const qw_docs *d, const qw_doc_page *page, size_t first, qw_buf *out)
{
    const qw_opts *o = &page->opts;
    const char *group = qw_opt_group(o->values[first].row);
    const qw_doc_page *before = NULL;
    size_t n_new = 0;
    for (size_t i = first; i < o->n_values; i++) {
        const qw_opt *row = o->values[i].row;
        if (row->hidden || strcmp(qw_opt_group(row), group) != 0) continue;
        const qw_doc_page *shown = shown_before(d, page, row);
        if (shown && !before) before = shown;
        n_new += !shown;
    }
    if (before)
        qw_buf_printf(out, "%s: as for `%s`%s\n\n", group, before->name, n_new ? ", and:" : ".");
    if (n_new == 0) return;
    qw_buf_printf(out, "| %s | |\n|---|---|\n", group);
    for (size_t i = first; i < o->n_values; i++) {
        const qw_opt *row = o->values[i].row;
        if (row->hidden || strcmp(qw_opt_group(row), group) != 0) continue;
        if (!shown_before(d, page, row)) put_option(&o->values[i], out);
    }
    qw_buf_putc(out, '\n');
}

static void put_options(const qw_docs *d, const qw_doc_page *page, qw_buf *out)
{
    const qw_opts *o = &page->opts;
    for (size_t g = 0; g < o->n_values; g++) {
        if (!qw_opts_opens_group(o, g)) continue;
        put_group(d, page, g, out);
    }
}

static void put_word(const qw_command_word *w, qw_buf *out)
{
    qw_buf_puts(out, "| `");
    put_code(out, w->name);
    if (w->argument && *w->argument) {
        qw_buf_putc(out, ' ');
        put_code(out, w->argument);
    }
    qw_buf_puts(out, "` | ");
    put_text(out, w->help);
    qw_buf_puts(out, " |\n");
}

static void put_words(const char *heading, const qw_command_word *words, qw_buf *out)
{
    qw_buf_printf(out, "| %s | |\n|---|---|\n", heading);
    for (const qw_command_word *w = words; w->name; w++) put_word(w, out);
    qw_buf_putc(out, '\n');
}

static void put_examples(const qw_command_example *examples, qw_buf *out)
{
    qw_buf_puts(out, "```sh\n");
    for (const qw_command_example *e = examples; e->line; e++)
        qw_buf_printf(out, "%s  # %s\n", e->line, e->help);
    qw_buf_puts(out, "```\n\n");
}

static void put_page(const qw_docs *d, const qw_doc_page *page, qw_buf *out)
{
    const qw_command *c = page->command;
    bool is_root = page == d->pages;
    qw_buf_printf(out, is_root ? "# %s\n\n" : "## %s\n\n", page->name);
    if (is_root)
        qw_buf_puts(out, "<!-- Made by `make docs` from the option tables; edit those. -->\n\n");
    put_text(out, c->summary);
    qw_buf_puts(out, "\n\n");
    if (c->description) {
        put_text(out, c->description);
        qw_buf_puts(out, "\n\n");
    }
    if (c->tables) {
        qw_buf_puts(out, "```\n");
        qw_opts_usage(&page->opts, out);
        qw_buf_puts(out, "```\n\n");
    }
    if (c->examples) put_examples(c->examples, out);
    if (c->tables) {
        put_options(d, page, out);
    } else {
        qw_buf_puts(out, "| Command | |\n|---|---|\n");
        for (size_t i = 0; i < c->n_commands; i++) {
            qw_buf_printf(out, "| `%s %s` | ", page->name, c->commands[i]->name);
            put_text(out, c->commands[i]->help);
            qw_buf_puts(out, " |\n");
        }
        qw_buf_putc(out, '\n');
    }
    if (c->word) {
        qw_buf_puts(out, "| While it runs | |\n|---|---|\n");
        for (size_t i = 0; c->word(i); i++) put_word(c->word(i), out);
        qw_buf_putc(out, '\n');
    }
}

static void put_common(const qw_docs *d, qw_buf *out)
{
    put_words("Environment", qw_docs_environment, out);
    const qw_opt_value *v = NULL;
    for (size_t i = 0; i < d->n_pages && !v; i++) v = qw_doc_env_example(&d->pages[i].opts);
    if (v)
        qw_buf_printf(
            out,
            "Every option of a command can be given by a variable, `QWENCH_` and its name "
            "in capitals: `%s` for `--%s`. The command line wins.\n\n",
            v->env, v->name);
    put_words("Files", qw_docs_files, out);
    put_words("Exit status", qw_docs_exit_status, out);
    qw_buf_puts(out, "In the names of options `_` and `-` are the same, and a beginning that fits "
                     "only one option is enough. `COMMAND --help` shows these tables in the "
                     "terminal, `COMMAND --help=NAME` one option with its variable.\n\n");
}

void qw_docs_markdown(const qw_docs *d, qw_buf *out)
{
    for (size_t i = 0; i < d->n_pages; i++) {
        put_page(d, &d->pages[i], out);
        if (i == 0) put_common(d, out);
    }
    if (out->len > 0 && !out->failed) out->data[--out->len] = '\0'; // one newline at the end
}
