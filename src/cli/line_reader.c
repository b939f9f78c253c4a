#include "cli/line_reader.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

struct qw_line_reader {
    EditLine *el; /* NULL: a pipe, or a terminal without cursor movement */
    History *history;
    char *history_path;
    const char *prompt;
    bool is_interactive, is_cancelled;
    volatile sig_atomic_t *interrupted;
};

// One byte of standard input. False at its end, or when SIGINT came: it is let in only while we
// wait, so that none slips by between looking at the flag and going to sleep.
static bool read_byte(qw_line_reader *r, char *c)
{
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    bool ok = false;
    while (!*r->interrupted) {
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        if (ppoll(&in, 1, NULL, &before) < 0 && errno == EINTR) continue;
        ok = read(STDIN_FILENO, c, 1) == 1;
        break;
    }
    if (*r->interrupted) {
        *r->interrupted = 0;
        r->is_cancelled = true;
        ok = false;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ok;
}

// libedit's source of characters: UTF-8, whatever the locale.
static int read_character(EditLine *el, wchar_t *out)
{
    qw_line_reader *r;
    el_get(el, EL_CLIENTDATA, &r);
    char bytes[4];
    size_t n = 0;
    do {
        if (!read_byte(r, &bytes[n])) return r->is_cancelled ? -1 : 0;
        n++;
    } while (n < sizeof bytes && qw_utf8_missing((qw_str){bytes, n}, 0) > 0);
    size_t pos = 0;
    int32_t cp = qw_utf8_next((qw_str){bytes, n}, &pos);
    *out = cp < 0 ? 0xFFFD : cp;
    r->is_cancelled = cp == 3; // Ctrl-C is a key here: signals are off while a line is edited
    return r->is_cancelled ? -1 : 1;
}

static char *prompt_of(EditLine *el)
{
    qw_line_reader *r;
    el_get(el, EL_CLIENTDATA, &r);
    return (char *)(uintptr_t)r->prompt;
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
    // libedit converts between wide characters and text by the locale.
    const char *ctype = setlocale(LC_CTYPE, "");
    if (!ctype || !strstr(ctype, "UTF-8")) setlocale(LC_CTYPE, "C.UTF-8");
    HistEvent event;
    history(r->history, &event, H_SETSIZE, 1000);
    history(r->history, &event, H_SETUNIQUE, 1);
    if (r->history_path) history(r->history, &event, H_LOAD, r->history_path);
    el_set(r->el, EL_CLIENTDATA, r);
    el_set(r->el, EL_HIST, history, r->history);
    el_set(r->el, EL_PROMPT, prompt_of);
    el_set(r->el, EL_EDITOR, "emacs");
    el_set(r->el, EL_SIGNAL, 0);
    el_set(r->el, EL_GETCFN, read_character);
    el_set(r->el, EL_SETTY, "-d", "-isig", NULL);
    el_set(r->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(r->el, NULL);
    return QW_OK;
}

qw_status qw_line_reader_open(qw_line_reader **out, const char *program, const char *history_path,
                              volatile sig_atomic_t *interrupted, qw_error *err)
{
    qw_line_reader *r = qw_mem_calloc(1, sizeof *r);
    if (!r) return qw_fail_memory(err, sizeof *r, "the line reader");
    r->interrupted = interrupted;
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
    // libedit prints the prompt first and turns the terminal's own echo and erasing off after it;
    // what is typed in between would be shown twice, and a backspace would take half a character.
    el_set(r->el, EL_PREP_TERM, 1);
    const char *text = el_gets(r->el, &n);
    if (r->is_cancelled) {
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

static qw_line_result read_plain(qw_line_reader *r, qw_buf *line)
{
    if (r->is_interactive) {
        fputs(r->prompt, stdout);
        fflush(stdout);
    }
    r->is_cancelled = false;
    char c;
    while (read_byte(r, &c)) {
        qw_buf_putc(line, c);
        if (c == '\n') return QW_LINE_OK;
    }
    if (r->is_cancelled) {
        putchar('\n');
        return QW_LINE_CANCELLED;
    }
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
