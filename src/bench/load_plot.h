#ifndef QW_BENCH_LOAD_PLOT_H
#define QW_BENCH_LOAD_PLOT_H

#include "bench/load_report.h"

/**
 * Append a picture of a run as a plain SVG: how each latency is distributed (the share of values
 * below each, with the median and the 99th percentile marked), and a timeline with a bar for each
 * request, light up to its first token and dark behind it; failed ones are missing.
 */
void qw_load_plot(const qw_load_report *r, qw_buf *out);

#endif
