#ifndef QW_CLI_TOP_VIEW_H
#define QW_CLI_TOP_VIEW_H

#include "base/buf.h"
#include "cli/top_sample.h"

// What `qwench top` shows, as lines of text: the terminal view and the plain one are the same.

/** Percentiles are of what was counted since the oldest of so many looks. */
enum { QW_TOP_N_LOOKS = 31 };

typedef enum qw_top_sort {
    QW_TOP_SORT_AGE, /* oldest first, and likewise the largest first */
    QW_TOP_SORT_GENERATED,
    QW_TOP_SORT_BLOCKS,
    QW_TOP_SORT_STATE,
    QW_TOP_N_SORTS,
} qw_top_sort;

/** All zero at first. */
typedef struct qw_top_view {
    const char *url; /* borrowed */
    double interval_s;
    qw_top_sample looks[QW_TOP_N_LOOKS]; /* oldest first; only the last one has its requests */
    size_t n_looks;
    qw_top_sort sort;
    bool is_paused;
    size_t first;            /* of the requests to show */
    char note[512];          /* why the numbers are old; "": they are not */
    char requests_note[160]; /* why there is no list of requests */
} qw_top_view;

/** Move in the next look. */
void qw_top_view_add(qw_top_view *v, qw_top_sample *sample);
void qw_top_view_release(qw_top_view *v);
const char *qw_top_sort_name(qw_top_sort sort);

/**
 * Append the view, `width` columns and at most `height` lines (0: as many as there are). Each line
 * begins with its style, which takes no column: ' ' plain, '!' bold, '=' a heading, '~' a hint.
 */
void qw_top_view_write(qw_top_view *v, int width, int height, qw_buf *out);

#endif
