#include "cli/docs.h"

#include "base/mem.h"

const qw_command_word qw_docs_environment[] = {
    {"QWENCH_SHARE", "DIR",
     "where the built-in model and the tokenizer lie, instead of ../share/qwench beside the "
     "program's directory"},
    {"QWENCH_LOG", "LEVEL",
     "what is told on standard error: error, warn (the default), info, debug or trace"},
    {"VLLM_*, HF_HOME, MODELSCOPE_CACHE ...", "",
     "for qwench serve as for vLLM; --explain tells what each that is set does"},
    {"XDG_CACHE_HOME", "DIR", "where the cache directory qwench is made, instead of ~/.cache"},
    {0},
};

const qw_command_word qw_docs_files[] = {
    {"../share/qwench/models/tiny", "", "the built-in model, beside the program's directory"},
    {"~/.cache/qwench", "",
     "compiled tokenizers, packed weights, how fast this machine is, and the history of qwench "
     "chat; can be deleted at any time"},
    {0},
};

const qw_command_word qw_docs_exit_status[] = {
    {"0", "", "done"},
    {"1", "", "something failed; the last line on standard error says what and where"},
    {"2", "", "wrong usage: an unknown option, or a value that is not allowed"},
    {0},
};

static qw_status add_page(qw_docs *d, const qw_command *command, const char *group, qw_error *err)
{
    if (d->n_pages == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 16;
        qw_doc_page *pages = qw_mem_realloc(d->pages, cap * sizeof *pages);
        if (!pages) return qw_fail_memory(err, cap * sizeof *pages, "the list of commands");
        d->pages = pages;
        d->cap = cap;
    }
    size_t size = (group ? strlen(group) + 1 : 0) + strlen(command->name) + 1;
    char *name = qw_mem_alloc(size);
    if (!name) return qw_fail_memory(err, size, "a command's name");
    snprintf(name, size, "%s%s%s", group ? group : "", group ? " " : "", command->name);
    qw_doc_page page = {.command = command, .name = name};
    qw_opt_table tables[QW_COMMAND_MAX_TABLES] = {0};
    if (command->tables) {
        size_t n = command->tables(tables);
        qw_status st = qw_opts_init(&page.opts, name, command->summary, tables, n, err);
        if (st != QW_OK) {
            qw_mem_free(name);
            return st;
        }
    }
    d->pages[d->n_pages++] = page;
    return QW_OK;
}

// The command and all below it; groups are nested as deep as the sources write them.
static qw_status add_tree(qw_docs *d, const qw_command *command, const char *group, qw_error *err)
{
    qw_status st = add_page(d, command, group, err);
    if (st != QW_OK) return st;
    const char *name = d->pages[d->n_pages - 1].name;
    for (size_t i = 0; i < command->n_commands && st == QW_OK; i++)
        st = add_tree(d, command->commands[i], name, err);
    return st;
}

qw_status qw_docs_init(qw_docs *out, const qw_command *root, const char *version, qw_error *err)
{
    qw_docs d = {.version = version};
    qw_status st = add_tree(&d, root, NULL, err);
    if (st != QW_OK) {
        qw_docs_release(&d);
        return st;
    }
    *out = d;
    return QW_OK;
}

void qw_docs_release(qw_docs *d)
{
    for (size_t i = 0; i < d->n_pages; i++) {
        if (d->pages[i].command->tables) qw_opts_release(&d->pages[i].opts);
        qw_mem_free(d->pages[i].name);
    }
    qw_mem_free(d->pages);
    *d = (qw_docs){0};
}

bool qw_doc_takes_value(const qw_opt *row)
{
    return row->type != QW_OPT_FLAG && row->type != QW_OPT_BOOL;
}

char *qw_doc_joined_name(const qw_doc_page *page, char separator)
{
    char *name = qw_mem_strdup(page->name);
    for (char *p = name; p && *p; p++)
        if (*p == ' ') *p = separator;
    return name;
}

const qw_opt_value *qw_doc_env_example(const qw_opts *o)
{
    for (size_t i = 0; i < o->n_values; i++) {
        const qw_opt_value *v = &o->values[i];
        if (!v->row->hidden && !v->row->env && v->env && qw_doc_takes_value(v->row) &&
            strchr(v->name, '-'))
            return v;
    }
    return NULL;
}
