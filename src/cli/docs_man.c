// Manual pages in groff's man macros.
#include "base/mem.h"
#include "cli/docs.h"

// Text that groff prints as it stands: no escapes, no requests, ASCII quotes and dashes.
static void put_text(qw_buf *out, const char *text)
{
    if (*text == '.' || *text == '\'') qw_buf_puts(out, "\\&");
    for (const char *p = text; *p; p++) {
        switch (*p) {
        case '\\': qw_buf_puts(out, "\\e"); break;
        case '-': qw_buf_puts(out, "\\-"); break;
        case '\'': qw_buf_puts(out, "\\(aq"); break;
        case '`': qw_buf_puts(out, "\\(ga"); break;
        case '^': qw_buf_puts(out, "\\(ha"); break;
        case '~': qw_buf_puts(out, "\\(ti"); break;
        default: qw_buf_putc(out, *p);
        }
    }
}

static void put_styled(qw_buf *out, char font, const char *text)
{
    qw_buf_printf(out, "\\f%c", font);
    put_text(out, text);
    qw_buf_puts(out, "\\fR");
}

static void put_bold(qw_buf *out, const char *text)
{
    put_styled(out, 'B', text);
}

static void put_italic(qw_buf *out, const char *text)
{
    put_styled(out, 'I', text);
}

// Paragraphs between "\n\n".
static void put_paragraphs(qw_buf *out, const char *text)
{
    for (const char *p = text; *p;) {
        const char *end = strstr(p, "\n\n");
        size_t len = end ? (size_t)(end - p) : strlen(p);
        char *paragraph = qw_mem_strndup(p, len);
        qw_buf_puts(out, ".PP\n");
        if (paragraph)
            put_text(out, paragraph);
        else
            out->failed = QW_ERR_NO_MEMORY;
        qw_buf_putc(out, '\n');
        qw_mem_free(paragraph);
        p += len + (end ? 2 : 0);
    }
}

// "qwench-generate(1)"
static void put_reference(qw_buf *out, const qw_doc_page *page)
{
    char *name = qw_doc_joined_name(page, '-');
    if (name)
        put_bold(out, name);
    else
        out->failed = QW_ERR_NO_MEMORY;
    qw_buf_puts(out, "(1)");
    qw_mem_free(name);
}

static void put_name(const qw_docs *d, const qw_doc_page *page, qw_buf *out)
{
    char *name = qw_doc_joined_name(page, '-');
    if (!name) {
        out->failed = QW_ERR_NO_MEMORY;
        return;
    }
    qw_buf_puts(out, ".TH ");
    for (const char *p = name; *p; p++)
        qw_buf_putc(out, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p);
    qw_buf_printf(out, " 1 \"\" \"qwench %s\" \"qwench manual\"\n.SH NAME\n", d->version);
    put_text(out, name);
    qw_buf_puts(out, " \\- ");
    put_text(out, page->command->help);
    qw_buf_putc(out, '\n');
    qw_mem_free(name);
}

static void put_synopsis(const qw_doc_page *page, qw_buf *out)
{
    qw_buf_puts(out, ".SH SYNOPSIS\n");
    put_bold(out, page->name);
    if (!page->command->tables) {
        qw_buf_puts(out, " \\fICOMMAND\\fR [\\fIoptions\\fR]\n");
        return;
    }
    qw_buf_puts(out, " [\\fIoptions\\fR]");
    for (size_t i = 0; i < page->opts.n_values; i++) {
        const qw_opt *row = page->opts.values[i].row;
        if (!row->positional) continue;
        qw_buf_puts(out, row->required ? " " : " [");
        put_italic(out, qw_opt_metavar(row));
        if (!row->required) qw_buf_putc(out, ']');
    }
    qw_buf_putc(out, '\n');
}

static void put_description(const qw_doc_page *page, qw_buf *out)
{
    qw_buf_puts(out, ".SH DESCRIPTION\n");
    put_text(out, page->command->summary);
    qw_buf_putc(out, '\n');
    if (page->command->description) put_paragraphs(out, page->command->description);
}

// A list whose entries are a bold name, an argument in italics and a text.
static void put_words(qw_buf *out, const qw_command_word *w)
{
    qw_buf_puts(out, ".TP\n");
    put_bold(out, w->name);
    if (w->argument && *w->argument) {
        qw_buf_putc(out, ' ');
        put_italic(out, w->argument);
    }
    qw_buf_putc(out, '\n');
    put_text(out, w->help);
    qw_buf_putc(out, '\n');
}

static void put_section(qw_buf *out, const char *title, const qw_command_word *words)
{
    qw_buf_printf(out, ".SH %s\n", title);
    for (const qw_command_word *w = words; w->name; w++) put_words(out, w);
}

static void put_commands(const qw_docs *d, const qw_doc_page *page, qw_buf *out)
{
    qw_buf_puts(out, ".SH COMMANDS\n");
    for (const qw_doc_page *p = d->pages; p < d->pages + d->n_pages; p++) {
        bool is_child = false;
        for (size_t i = 0; i < page->command->n_commands; i++)
            is_child |= page->command->commands[i] == p->command;
        if (!is_child) continue;
        qw_buf_puts(out, ".TP\n");
        put_reference(out, p);
        qw_buf_putc(out, '\n');
        put_text(out, p->command->help);
        qw_buf_putc(out, '\n');
    }
    static const qw_command_word options[] = {
        {"-h, --help", "", "list the commands"},
        {"-v, --version", "", "print the version and the commit it was built from"},
        {0},
    };
    put_section(out, "OPTIONS", options);
}

static void put_option(const qw_opt_value *v, qw_buf *out)
{
    const qw_opt *row = v->row;
    qw_buf_puts(out, ".TP\n");
    for (const char *p = row->shorts; p && *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        qw_buf_printf(out, "\\fB\\-%.*s\\fR, ", (int)len, p);
        p += len;
    }
    if (row->positional) {
        put_italic(out, qw_opt_metavar(row));
        qw_buf_puts(out, ", ");
    }
    qw_buf_puts(out, "\\fB\\-\\-");
    put_text(out, v->name);
    qw_buf_puts(out, "\\fR");
    if (v->no_name) {
        qw_buf_puts(out, ", \\fB\\-\\-");
        put_text(out, v->no_name);
        qw_buf_puts(out, "\\fR");
    }
    if (qw_doc_takes_value(row)) {
        qw_buf_putc(out, ' ');
        put_italic(out, qw_opt_metavar(row));
    } else if (*qw_opt_metavar(row)) {
        qw_buf_printf(out, "[=\\fI%s\\fR]", qw_opt_metavar(row));
    }
    qw_buf_putc(out, '\n');
    qw_buf text;
    qw_buf_init(&text, 1 << 16);
    qw_buf_puts(&text, row->help ? row->help : "");
    if (row->help) qw_buf_putc(&text, ' ');
    qw_opt_notes(row, &text);
    if (text.failed) out->failed = text.failed;
    put_text(out, text.data ? text.data : "");
    qw_buf_putc(out, '\n');
    qw_buf_release(&text);
}

static void put_options(const qw_opts *o, qw_buf *out)
{
    qw_buf_puts(out, ".SH OPTIONS\n");
    for (size_t g = 0; g < o->n_values; g++) {
        if (!qw_opts_opens_group(o, g)) continue;
        const char *group = qw_opt_group(o->values[g].row);
        if (g > 0) {
            qw_buf_puts(out, ".SS ");
            put_text(out, group);
            qw_buf_putc(out, '\n');
        }
        for (size_t i = g; i < o->n_values; i++)
            if (!o->values[i].row->hidden && strcmp(qw_opt_group(o->values[i].row), group) == 0)
                put_option(&o->values[i], out);
    }
}

static void put_environment(const qw_opts *o, qw_buf *out)
{
    const qw_opt_value *v = qw_doc_env_example(o);
    qw_buf_puts(out, ".SH ENVIRONMENT\n");
    if (!v) {
        qw_buf_puts(out, "As in \\fBqwench\\fR(1).\n");
        return;
    }
    qw_buf_puts(out, "Every option can be given by a variable, QWENCH_ and its name in capitals: ");
    put_bold(out, v->env);
    qw_buf_puts(out, " for \\fB\\-\\-");
    put_text(out, v->name);
    qw_buf_puts(out, "\\fR.\nThe command line wins. The others are in \\fBqwench\\fR(1).\n");
}

static void put_examples(const qw_command_example *examples, qw_buf *out)
{
    qw_buf_puts(out, ".SH EXAMPLES\n");
    for (const qw_command_example *e = examples; e->line; e++) {
        qw_buf_puts(out, ".PP\n");
        put_text(out, e->help);
        qw_buf_puts(out, ":\n.PP\n.RS 4\n.nf\n");
        put_text(out, e->line);
        qw_buf_puts(out, "\n.fi\n.RE\n");
    }
}

static void put_see_also(const qw_docs *d, const qw_doc_page *page, qw_buf *out)
{
    qw_buf_puts(out, ".SH SEE ALSO\n");
    const char *between = "";
    for (const qw_doc_page *p = d->pages; p < d->pages + d->n_pages; p++) {
        if (p == page) continue;
        qw_buf_puts(out, between);
        put_reference(out, p);
        between = ",\n";
    }
    qw_buf_putc(out, '\n');
}

void qw_docs_man(const qw_docs *d, const qw_doc_page *page, qw_buf *out)
{
    const qw_command *c = page->command;
    qw_buf_puts(out, ".\\\" Made by qwench-docs from the option tables; edit those.\n");
    put_name(d, page, out);
    put_synopsis(page, out);
    put_description(page, out);
    if (c->tables)
        put_options(&page->opts, out);
    else
        put_commands(d, page, out);
    if (c->word) {
        qw_buf_puts(out, ".SH WHILE IT RUNS\n");
        for (size_t i = 0; c->word(i); i++) put_words(out, c->word(i));
    }
    if (page == d->pages) {
        put_section(out, "ENVIRONMENT", qw_docs_environment);
        put_section(out, "FILES", qw_docs_files);
        put_section(out, "EXIT STATUS", qw_docs_exit_status);
    } else if (c->tables) {
        put_environment(&page->opts, out);
        put_section(out, "EXIT STATUS", qw_docs_exit_status);
    }
    if (c->examples) put_examples(c->examples, out);
    put_see_also(d, page, out);
}
