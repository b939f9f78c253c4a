#ifndef QW_CLI_TOP_SCREEN_H
#define QW_CLI_TOP_SCREEN_H

#include "cli/top_view.h"

// The terminal of `qwench top`, by ncurses. One at a time; Ctrl-C and SIGTERM restore it.

typedef enum qw_top_key {
    QW_TOP_NOTHING, /* the time is over, the size changed, or a key that means nothing */
    QW_TOP_QUIT,
    QW_TOP_PAUSE,
    QW_TOP_SORT,
    QW_TOP_UP,
    QW_TOP_DOWN,
    QW_TOP_FASTER,
    QW_TOP_SLOWER,
} qw_top_key;

/** QW_ERR_UNSUPPORTED: the terminal cannot do it. */
QW_MUST_CHECK qw_status qw_top_screen_open(qw_error *err);
/** Also when it is not open. */
void qw_top_screen_close(void);
/** Draw the view in the terminal's present size. */
QW_MUST_CHECK qw_status qw_top_screen_draw(qw_top_view *v, qw_error *err);
/** The next key, waiting at most so long. */
qw_top_key qw_top_screen_key(int wait_ms);

#endif
