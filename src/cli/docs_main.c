// qwench-docs VERSION DIR: writes what is made of the option tables into folders that are there,
// laid out as it is installed:
//
//   DIR/share/man/man1/qwench.1, qwench-chat.1, ...
//   DIR/share/bash-completion/completions/{qwench,vllm}
//   DIR/share/zsh/site-functions/_qwench
//   DIR/cli.md                                         docs/cli.md, by `make docs`

#include "base/file.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/docs.h"

/** Where files go: folders relative to `root`. */
typedef struct writer {
    const char *root;
    qw_buf text; /* of the file that is being made */
} writer;

// Write `text` to root/folder/name and empty it.
static qw_status write_file(writer *w, const char *folder, const char *name, qw_error *err)
{
    char *dir = qw_file_join(w->root, folder);
    char *path = dir ? qw_file_join(dir, name) : NULL;
    qw_status st = path ? QW_OK : qw_fail_memory(err, 0, "a path");
    if (st == QW_OK) st = qw_buf_check(&w->text, name, err);
    if (st == QW_OK) st = qw_file_write_atomic(path, w->text.data, w->text.len, err);
    qw_buf_clear(&w->text);
    qw_mem_free(path);
    qw_mem_free(dir);
    return st;
}

static qw_status write_man_page(writer *w, const qw_docs *d, const qw_doc_page *page, qw_error *err)
{
    char *name = qw_doc_joined_name(page, '-');
    if (!name) return qw_fail_memory(err, 0, "a file's name");
    char file[128];
    snprintf(file, sizeof file, "%s.1", name);
    qw_mem_free(name);
    qw_docs_man(d, page, &w->text);
    return write_file(w, "share/man/man1", file, err);
}

static qw_status write_all(writer *w, const qw_docs *d, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < d->n_pages && st == QW_OK; i++)
        st = write_man_page(w, d, &d->pages[i], err);
    qw_buf_puts(&w->text, ".so man1/qwench.1\n");
    if (st == QW_OK) st = write_file(w, "share/man/man1", "vllm.1", err);
    qw_docs_bash(d, &w->text);
    if (st == QW_OK) st = write_file(w, "share/bash-completion/completions", "qwench", err);
    // bash-completion looks for a file of the command's name.
    qw_buf_puts(&w->text, "source \"${BASH_SOURCE[0]%/*}/qwench\"\n");
    if (st == QW_OK) st = write_file(w, "share/bash-completion/completions", "vllm", err);
    qw_docs_zsh(d, &w->text);
    if (st == QW_OK) st = write_file(w, "share/zsh/site-functions", "_qwench", err);
    qw_docs_markdown(d, &w->text);
    if (st == QW_OK) st = write_file(w, ".", "cli.md", err);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: qwench-docs VERSION DIR\n");
        return 2;
    }
    qw_error err;
    qw_docs docs;
    qw_status st = qw_docs_init(&docs, &qw_commands, argv[1], &err);
    if (st == QW_OK) {
        writer w = {.root = argv[2]};
        qw_buf_init(&w.text, (size_t)1 << 24);
        st = write_all(&w, &docs, &err);
        qw_buf_release(&w.text);
        qw_docs_release(&docs);
    }
    if (st == QW_OK) return 0;
    fprintf(stderr, "qwench-docs: error: %s\n", err.text);
    return 1;
}
