#include "cli/top_screen.h"

#include <ncurses.h>

static SCREEN *screen;

qw_status qw_top_screen_open(qw_error *err)
{
    screen = newterm(NULL, stdout, stdin);
    if (!screen)
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "the terminal '%s' is not known here; use --once, or set TERM",
                       getenv("TERM") ? getenv("TERM") : "");
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    return QW_OK;
}

void qw_top_screen_close(void)
{
    if (!screen) return;
    endwin();
    delscreen(screen);
    screen = NULL;
}

static attr_t style_of(char c)
{
    return c == '!' ? A_BOLD : c == '=' ? A_REVERSE : c == '~' ? A_DIM : A_NORMAL;
}

qw_status qw_top_screen_draw(qw_top_view *v, qw_error *err)
{
    int height, width;
    getmaxyx(stdscr, height, width);
    qw_buf out;
    qw_buf_init(&out, (size_t)1 << 26);
    qw_top_view_write(v, width, height, &out);
    qw_status st = qw_buf_check(&out, "the view", err);
    erase();
    const char *p = out.data;
    for (int y = 0; st == QW_OK && p && *p && y < height; y++) {
        int len = (int)strcspn(p, "\n");
        attr_t style = style_of(*p);
        (void)attrset((int)style);
        // The rest of a heading is drawn with blanks: its line is one bar.
        mvaddnstr(y, 0, p + 1, len - 1);
        if (style == A_REVERSE) (void)mvchgat(y, 0, -1, style, 0, NULL);
        p += len + 1;
    }
    (void)attrset(A_NORMAL);
    refresh();
    qw_buf_release(&out);
    return st;
}

qw_top_key qw_top_screen_key(int wait_ms)
{
    timeout(wait_ms);
    switch (getch()) {
    case 'q':
    case 'Q': return QW_TOP_QUIT;
    case 'p':
    case ' ': return QW_TOP_PAUSE;
    case 's': return QW_TOP_SORT;
    case KEY_UP:
    case 'k': return QW_TOP_UP;
    case KEY_DOWN:
    case 'j': return QW_TOP_DOWN;
    case '+': return QW_TOP_FASTER;
    case '-': return QW_TOP_SLOWER;
    default: return QW_TOP_NOTHING;
    }
}
