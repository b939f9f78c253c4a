#include "cli/json_lines.h"

#include <errno.h>

#include "base/file.h"

enum { MAX_LINE = 64 << 20 };

// The next line without its newline. False at the end of the file, or when `line` failed.
static bool read_line(qw_buf *line, FILE *f)
{
    char chunk[4096];
    qw_buf_clear(line);
    for (bool any = false;; any = true) {
        // fgets would lose what follows a NUL byte.
        size_t n = 0;
        int c = EOF;
        while (n < sizeof chunk && (c = getc_unlocked(f)) != EOF && c != '\n') chunk[n++] = (char)c;
        qw_buf_append(line, chunk, n);
        if (line->failed) return false;
        if (n == sizeof chunk) continue;
        return c == '\n' || n > 0 || any;
    }
}

static bool is_blank(const qw_buf *line)
{
    for (size_t i = 0; i < line->len; i++)
        if (!strchr(" \t\r", line->data[i]) || line->data[i] == '\0') return false;
    return true;
}

// What is passed on to a chat template may hold integers of any size; nothing else may.
static qw_status refuse_big_integers(const json_t *line, qw_error *err)
{
    static const char *const passed_on[] = {"tools", "documents", "chat_template_kwargs"};
    qw_status st = QW_OK;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        bool skip = false;
        for (size_t i = 0; i < QW_ARRAY_LEN(passed_on); i++) skip |= strcmp(key, passed_on[i]) == 0;
        if (!skip) st = qw_json_refuse_big_integers(value, key, err);
        if (st != QW_OK) break;
    }
    return st;
}

static qw_status use_line(const qw_buf *line, qw_json_line_fn *fn, void *ctx, qw_error *err)
{
    json_t *value;
    qw_status st = qw_json_parse_digits(&value, line->data, line->len, "the line", err);
    if (st != QW_OK) return st;
    st = refuse_big_integers(value, err);
    if (st == QW_OK && json_is_object(value))
        st = fn(ctx, value, err);
    else if (st == QW_OK)
        st = qw_fail(err, QW_ERR_FORMAT, "a JSON object is needed, got %s",
                     qw_json_type_name(value));
    json_decref(value);
    return st;
}

qw_status qw_json_lines_read(const char *path, qw_json_line_fn *fn, void *ctx, qw_error *err)
{
    bool is_stdin = !path || strcmp(path, "-") == 0;
    const char *name = is_stdin ? "standard input" : path;
    if (!is_stdin && qw_file_is_dir(path))
        return qw_fail(err, QW_ERR_IO, "cannot read '%s': it is a directory", path);
    FILE *f = is_stdin ? stdin : fopen(path, "re");
    if (!f) return qw_fail(err, QW_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    qw_buf line;
    qw_buf_init(&line, MAX_LINE);
    qw_status st = QW_OK;
    for (size_t i_line = 1; st == QW_OK && read_line(&line, f); i_line++) {
        if (is_blank(&line)) continue;
        st = use_line(&line, fn, ctx, err);
        if (st != QW_OK) st = qw_context(err, st, "%s line %zu", name, i_line);
    }
    if (st == QW_OK) st = qw_buf_check(&line, "a line", err);
    if (st == QW_OK && ferror(f)) st = qw_fail(err, QW_ERR_IO, "cannot read '%s'", name);
    qw_buf_release(&line);
    if (!is_stdin) fclose(f);
    return st;
}
