#ifndef QW_BENCH_SVG_H
#define QW_BENCH_SVG_H

#include "base/buf.h"
#include "base/str.h"

// What the pictures have in common: a plain SVG with one set of classes.
//
//   t  a title     n  text, centred     e  text that ends at its x    s  a small note
//   f  a frame     k  a tick            m  a dashed mark              c  a curve
//   w  a light area                     g  a dark one

/** A plotting area; x runs from 0 to x_max. */
typedef struct qw_svg_panel {
    double left, top, width, height, x_max;
} qw_svg_panel;

/** Append what every picture begins with. */
void qw_svg_begin(qw_buf *out, int width, int height);
void qw_svg_end(qw_buf *out);
/** Where a value stands. */
double qw_svg_x(const qw_svg_panel *p, double x);
/** Append a panel's frame, its title (as it is), and ticks along x with `unit` behind the last. */
void qw_svg_frame(qw_buf *out, const qw_svg_panel *p, const char *title, const char *unit);
/** Append text of any kind, escaped. */
void qw_svg_text(qw_buf *out, qw_str text);

#endif
