#ifndef QW_EVAL_EVAL_PLOT_H
#define QW_EVAL_EVAL_PLOT_H

#include "eval/eval_report.h"

/**
 * Append a picture of the scores as a plain SVG: a point for each model, its speed (tokens a second
 * of one sequence) to the right, its score upwards with its 95 % interval.
 */
void qw_eval_plot(const qw_eval_row *rows, size_t n, qw_buf *out);

#endif
