// Completion for bash and zsh.
#include "base/mem.h"
#include "cli/docs.h"

/** How a value is completed. */
typedef enum value_kind {
    VALUE_TEXT, /* not at all */
    VALUE_WORDS,
    VALUE_FILE,
    VALUE_DIR,
} value_kind;

// The tables name values by what they are: FILE, OLD.json, DIR, MODEL_DIR.
static value_kind kind_of(const qw_opt *row)
{
    if (row->choices || row->word) return VALUE_WORDS;
    const char *metavar = qw_opt_metavar(row);
    bool is_list = strstr(metavar, "...") != NULL;
    if (strcmp(metavar, "FILE") == 0 || (strchr(metavar, '.') && !is_list)) return VALUE_FILE;
    if (qw_str_ends_with(qw_str_of(metavar), QW_STR("DIR"))) return VALUE_DIR;
    return VALUE_TEXT;
}

static void put_value_words(const qw_opt *row, qw_buf *out)
{
    if (row->word) qw_buf_puts(out, row->word);
    for (size_t i = 0; row->choices && row->choices[i]; i++)
        qw_buf_printf(out, "%s%s", i ? " " : "", row->choices[i]);
}

// The option's names, from the shortest on, `between` between them; without --no-x.
static void put_names(const qw_opt_value *v, const char *between, qw_buf *out)
{
    for (const char *p = v->row->shorts; p && *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        qw_buf_printf(out, "-%.*s%s", (int)len, p, between);
        p += len;
    }
    qw_buf_printf(out, "--%s", v->name);
}

// bash

static const char *const bash_kinds[] = {"text", "words", "files", "dirs"}; // by value_kind

static void put_bash_options(const qw_opts *o, qw_buf *out)
{
    qw_buf_puts(out, "        options=\"");
    const char *between = "";
    for (size_t i = 0; i < o->n_values; i++) {
        const qw_opt_value *v = &o->values[i];
        if (v->row->hidden) continue;
        qw_buf_puts(out, between);
        put_names(v, " ", out);
        if (v->no_name) qw_buf_printf(out, " --%s", v->no_name);
        between = " ";
    }
    qw_buf_puts(out, "\"\n");
}

static void put_bash_argument(const qw_opts *o, qw_buf *out)
{
    for (size_t i = 0; i < o->n_values; i++)
        if (o->values[i].row->positional && kind_of(o->values[i].row) != VALUE_TEXT)
            qw_buf_printf(out, "        argument=%s\n", bash_kinds[kind_of(o->values[i].row)]);
}

// How the value behind $option is completed; options without a value leave $kind empty.
static void put_bash_values(const qw_opts *o, qw_buf *out)
{
    qw_buf_puts(out, "        case $option in\n");
    for (size_t i = 0; i < o->n_values; i++) {
        const qw_opt_value *v = &o->values[i];
        if (!qw_doc_takes_value(v->row) || kind_of(v->row) == VALUE_TEXT) continue;
        value_kind kind = kind_of(v->row);
        qw_buf_puts(out, "        ");
        put_names(v, " | ", out);
        qw_buf_printf(out, ") kind=%s", bash_kinds[kind]);
        if (kind == VALUE_WORDS) {
            qw_buf_puts(out, " words=\"");
            put_value_words(v->row, out);
            qw_buf_putc(out, '"');
        }
        qw_buf_puts(out, " ;;\n");
    }
    const char *before = "        ";
    for (size_t i = 0; i < o->n_values; i++) {
        const qw_opt_value *v = &o->values[i];
        if (!qw_doc_takes_value(v->row) || kind_of(v->row) != VALUE_TEXT) continue;
        qw_buf_puts(out, before);
        put_names(v, " | ", out);
        before = " | \\\n            ";
    }
    if (before[1] == '|') qw_buf_puts(out, ") kind=text ;;\n");
    qw_buf_puts(out, "        esac\n");
}

static void put_bash_case(const qw_doc_page *page, qw_buf *out)
{
    qw_buf_printf(out, "    \"%s\")\n", page->name);
    if (page->command->tables) {
        put_bash_options(&page->opts, out);
        put_bash_argument(&page->opts, out);
        put_bash_values(&page->opts, out);
    } else {
        qw_buf_puts(out, "        options=\"-h --help -v --version\" argument=words words=\"");
        for (size_t i = 0; i < page->command->n_commands; i++)
            qw_buf_printf(out, "%s%s", i ? " " : "", page->command->commands[i]->name);
        qw_buf_puts(out, "\"\n");
    }
    qw_buf_puts(out, "        ;;\n");
}

void qw_docs_bash(const qw_docs *d, qw_buf *out)
{
    const char *root = d->pages[0].name;
    qw_buf_printf(out,
                  "# Completion of %s for bash. Made by qwench-docs from the option tables.\n"
                  "_%s()\n"
                  "{\n"
                  "    local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}\n"
                  "    local path=%s prefix= options= kind= argument= words= i\n"
                  "    COMPREPLY=()\n"
                  "    # The command: the words in front of the cursor, as long as they name one.\n"
                  "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                  "        case \"$path ${COMP_WORDS[i]}\" in\n",
                  root, root, root);
    for (size_t i = 1; i < d->n_pages; i++)
        qw_buf_printf(out, "        \"%s\"%s", d->pages[i].name,
                      i + 1 < d->n_pages ? " | \\\n" : ") path+=\" ${COMP_WORDS[i]}\" ;;\n");
    qw_buf_puts(out, "        *) break ;;\n"
                     "        esac\n"
                     "    done\n"
                     "    # --option=value is one word, or three when COMP_WORDBREAKS has '='.\n"
                     "    if [[ $cur == --*=* ]]; then\n"
                     "        option=${cur%%=*} prefix=${cur%%=*}= cur=${cur#*=}\n"
                     "    elif [[ $cur == = ]]; then\n"
                     "        cur=\n"
                     "    elif [[ $option == = ]]; then\n"
                     "        option=${COMP_WORDS[COMP_CWORD - 2]}\n"
                     "    fi\n"
                     "    case $path in\n");
    for (size_t i = 0; i < d->n_pages; i++) put_bash_case(&d->pages[i], out);
    qw_buf_printf(
        out,
        "    esac\n"
        "    [[ -n $kind ]] || case $cur in\n"
        "    -*) kind=words words=$options ;;\n"
        "    *) kind=$argument ;;\n"
        "    esac\n"
        "    case $kind in\n"
        "    words) mapfile -t COMPREPLY < <(compgen -P \"$prefix\" -W \"$words\" -- \"$cur\") ;;\n"
        "    files) mapfile -t COMPREPLY < <(compgen -P \"$prefix\" -f -- \"$cur\") ;;\n"
        "    dirs) mapfile -t COMPREPLY < <(compgen -P \"$prefix\" -d -- \"$cur\") ;;\n"
        "    esac\n"
        "    # Outside of a completion, as in tests, there is nothing to set.\n"
        "    [[ $kind != files && $kind != dirs ]] || compopt -o filenames 2>/dev/null\n"
        "    return 0\n"
        "}\n"
        "complete -F _%s %s vllm\n",
        root, root);
}

// zsh

// Inside '...' of a shell, inside a specification of _arguments.
static void put_zsh_text(qw_buf *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            qw_buf_puts(out, "'\\''");
        else if (strchr("[]:\\", *p))
            qw_buf_printf(out, "\\%c", *p);
        else
            qw_buf_putc(out, *p);
    }
}

static void put_zsh_value(const qw_opt *row, qw_buf *out)
{
    qw_buf_putc(out, ':');
    put_zsh_text(out, qw_opt_metavar(row));
    switch (kind_of(row)) {
    case VALUE_TEXT: qw_buf_puts(out, ": "); break;
    case VALUE_WORDS:
        qw_buf_puts(out, ":(");
        put_value_words(row, out);
        qw_buf_putc(out, ')');
        break;
    case VALUE_FILE: qw_buf_puts(out, ":_files"); break;
    case VALUE_DIR: qw_buf_puts(out, ":_files -/"); break;
    }
}

// '(-p --prompt)'{-p,--prompt=}'[the prompt]:TEXT: '
static void put_zsh_option(const qw_opt_value *v, qw_buf *out)
{
    const qw_opt *row = v->row;
    const char *no_name = v->no_name;
    bool many = row->shorts || no_name;
    bool value = qw_doc_takes_value(row);
    qw_buf_puts(out, "        ");
    if (row->append) {
        qw_buf_puts(out, "'*'");
    } else if (many) {
        qw_buf_puts(out, "'(");
        put_names(v, " ", out);
        if (no_name) qw_buf_printf(out, " --%s", no_name);
        qw_buf_puts(out, ")'");
    }
    if (many) qw_buf_putc(out, '{');
    put_names(v, ",", out);
    if (value) qw_buf_putc(out, '=');
    if (no_name) qw_buf_printf(out, ",--%s", no_name);
    if (many) qw_buf_putc(out, '}');
    qw_buf_puts(out, "'[");
    put_zsh_text(out, row->help ? row->help : "");
    qw_buf_putc(out, ']');
    if (value) put_zsh_value(row, out);
    qw_buf_puts(out, "' \\\n");
}

static void put_zsh_leaf(const qw_opts *o, qw_buf *out)
{
    qw_buf_puts(out, "    _arguments \\\n");
    for (size_t i = 0; i < o->n_values; i++)
        if (!o->values[i].row->hidden) put_zsh_option(&o->values[i], out);
    for (size_t i = 0; i < o->n_values; i++) {
        const qw_opt *row = o->values[i].row;
        if (!row->positional) continue;
        qw_buf_puts(out, row->append     ? "        '*:"
                         : row->required ? "        ':"
                                         : "        '::");
        // The value's own ':' is the one in front of its name.
        qw_buf value;
        qw_buf_init(&value, 1 << 16);
        put_zsh_value(row, &value);
        if (value.failed) out->failed = value.failed;
        if (value.data) qw_buf_puts(out, value.data + 1);
        qw_buf_release(&value);
        qw_buf_puts(out, "' \\\n");
    }
    qw_buf_puts(out, "        && return 0\n");
}

static void put_zsh_group(const qw_doc_page *page, const char *function, qw_buf *out)
{
    const qw_command *group = page->command;
    qw_buf_puts(out, "    local curcontext=$curcontext state line\n"
                     "    local -a commands=(\n");
    for (size_t i = 0; i < group->n_commands; i++) {
        qw_buf_printf(out, "        '%s:", group->commands[i]->name);
        put_zsh_text(out, group->commands[i]->help);
        qw_buf_puts(out, "'\n");
    }
    qw_buf_puts(out, "    )\n"
                     "    _arguments -C \\\n"
                     "        '(- : *)'{-h,--help}'[list the commands]' \\\n"
                     "        '(- : *)'{-v,--version}'[print the version]' \\\n"
                     "        '1:command:->command' \\\n"
                     "        '*::argument:->argument' && return 0\n"
                     "    case $state in\n"
                     "    command) _describe command commands ;;\n"
                     "    argument)\n"
                     "        case $line[1] in\n");
    for (size_t i = 0; i < group->n_commands; i++)
        qw_buf_printf(out, "        %s) _%s_%s ;;\n", group->commands[i]->name, function,
                      group->commands[i]->name);
    qw_buf_puts(out, "        esac ;;\n"
                     "    esac\n");
}

void qw_docs_zsh(const qw_docs *d, qw_buf *out)
{
    const char *root = d->pages[0].name;
    qw_buf_printf(out,
                  "#compdef %s vllm\n"
                  "# Made by qwench-docs from the option tables.\n",
                  root);
    for (size_t i = 0; i < d->n_pages; i++) {
        const qw_doc_page *page = &d->pages[i];
        char *function = qw_doc_joined_name(page, '_');
        if (!function) {
            out->failed = QW_ERR_NO_MEMORY;
            return;
        }
        qw_buf_printf(out, "\n_%s()\n{\n", function);
        if (page->command->tables)
            put_zsh_leaf(&page->opts, out);
        else
            put_zsh_group(page, function, out);
        qw_buf_puts(out, "}\n");
        qw_mem_free(function);
    }
    qw_buf_printf(out, "\n_%s \"$@\"\n", root);
}
