#include "cli/line_reader.h"

#include <errno.h>
#include <histedit.h>
#include <unistd.h>

#include "base/mem.h"

struct qw_line_reader {
    EditLine *el; /* NULL: a pipe, or a terminal without cursor movement */
    History *history;
    char *history_path;
    const char *prompt;
    bool is_interactive, is_cancelled;
};

static char *prompt_of(EditLine *el)
{
    qw_line_reader *r;
    el_get(el, EL_CLIENTDATA, &r);
    return (char *)(uintptr_t)r->prompt;
}

// Bound to Ctrl-C, which reaches us as a key because signals are off while a line is edited.
static unsigned char cancel_line(EditLine *el, int ch)
{
    (void)ch;
    qw_line_reader *r;
    el_get(el, EL_CLIENTDATA, &r);
    r->is_cancelled = true;
    return CC_EOF;
}

static bool is_dumb(void)
{
    const char *term = getenv("TERM");
    return !term || !*term || strcmp(term, "dumb") == 0;
}

static qw_status open_editor(qw_line_reader *r, const char *program, qw_error *err)
{
    r->el = el_init(program, stdin, stdout, stderr);
    r->history = history_init();
    if (!r->el || !r->history) return qw_fail_memory(err, 0, "line editing");
    HistEvent event;
    history(r->history, &event, H_SETSIZE, 1000);
    history(r->history, &event, H_SETUNIQUE, 1);
    if (r->history_path) history(r->history, &event, H_LOAD, r->history_path);
    el_set(r->el, EL_CLIENTDATA, r);
    el_set(r->el, EL_HIST, history, r->history);
    el_set(r->el, EL_PROMPT, prompt_of);
    el_set(r->el, EL_EDITOR, "emacs");
    el_set(r->el, EL_SIGNAL, 0);
    el_set(r->el, EL_SETTY, "-d", "-isig", NULL);
    el_set(r->el, EL_ADDFN, "qw-cancel", "drop the line", cancel_line);
    el_set(r->el, EL_BIND, "^C", "qw-cancel", NULL);
    el_set(r->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(r->el, NULL);
    return QW_OK;
}

qw_status qw_line_reader_open(qw_line_reader **out, const char *program, const char *history_path,
                              qw_error *err)
{
    qw_line_reader *r = qw_mem_calloc(1, sizeof *r);
    if (!r) return qw_fail_memory(err, sizeof *r, "the line reader");
    r->is_interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    qw_status st = QW_OK;
    if (history_path && !(r->history_path = qw_mem_strdup(history_path)))
        st = qw_fail_memory(err, strlen(history_path), "a path");
    if (st == QW_OK && r->is_interactive && !is_dumb()) st = open_editor(r, program, err);
    if (st != QW_OK) {
        qw_line_reader_close(r);
        return st;
    }
    *out = r;
    return QW_OK;
}

void qw_line_reader_close(qw_line_reader *r)
{
    if (!r) return;
    HistEvent event;
    if (r->history && r->history_path) history(r->history, &event, H_SAVE, r->history_path);
    if (r->history) history_end(r->history);
    if (r->el) el_end(r->el);
    qw_mem_free(r->history_path);
    qw_mem_free(r);
}

bool qw_line_reader_is_interactive(const qw_line_reader *r)
{
    return r->is_interactive;
}

static void strip_newline(qw_buf *line)
{
    while (line->len > 0 &&
           (line->data[line->len - 1] == '\n' || line->data[line->len - 1] == '\r'))
        line->data[--line->len] = '\0';
}

static qw_line_result read_edited(qw_line_reader *r, qw_buf *line)
{
    int n = 0;
    r->is_cancelled = false;
    errno = 0;
    const char *text = el_gets(r->el, &n);
    if (r->is_cancelled || (!text && errno == EINTR)) { // the key, or a signal from outside
        puts("^C");
        el_reset(r->el);
        return QW_LINE_CANCELLED;
    }
    if (!text || n <= 0) {
        putchar('\n');
        return QW_LINE_END;
    }
    qw_buf_append(line, text, (size_t)n);
    return QW_LINE_OK;
}

static qw_line_result read_plain(const qw_line_reader *r, qw_buf *line)
{
    if (r->is_interactive) {
        fputs(r->prompt, stdout);
        fflush(stdout);
    }
    int c;
    while ((c = getchar()) != EOF) {
        qw_buf_putc(line, (char)c);
        if (c == '\n') return QW_LINE_OK;
    }
    clearerr(stdin);
    return line->len > 0 ? QW_LINE_OK : QW_LINE_END;
}

qw_line_result qw_line_reader_read(qw_line_reader *r, const char *prompt, qw_buf *line)
{
    qw_buf_clear(line);
    qw_buf_append(line, "", 0); // data is never NULL afterwards
    r->prompt = prompt;
    qw_line_result result = r->el ? read_edited(r, line) : read_plain(r, line);
    if (line->failed) return QW_LINE_END;
    strip_newline(line);
    return result;
}

void qw_line_reader_remember(qw_line_reader *r, const char *text)
{
    HistEvent event;
    if (r->history && *text) history(r->history, &event, H_ENTER, text);
}
