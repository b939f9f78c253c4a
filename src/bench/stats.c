#include "bench/stats.h"

#include <math.h>

double qw_stats_percentile(const double *sorted, size_t n, double p)
{
    double at = p * (double)(n - 1);
    size_t i = (size_t)at;
    if (i + 1 >= n) return sorted[n - 1];
    return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

qw_summary qw_stats_summarize(double *values, size_t n)
{
    if (n == 0) return (qw_summary){0};
    qsort(values, n, sizeof *values, ascending);
    return (qw_summary){.n = n,
                        .min = values[0],
                        .p10 = qw_stats_percentile(values, n, 0.1),
                        .p50 = qw_stats_percentile(values, n, 0.5),
                        .p90 = qw_stats_percentile(values, n, 0.9)};
}

double qw_stats_median(double *values, size_t n)
{
    return qw_stats_summarize(values, n).p50;
}

const char *qw_change_name(qw_change change)
{
    switch (change) {
    case QW_CHANGE_UNKNOWN: return "?";
    case QW_CHANGE_NONE: return "same";
    case QW_CHANGE_FASTER: return "faster";
    case QW_CHANGE_SLOWER: return "slower";
    }
    return "?";
}

qw_comparison qw_stats_compare(const double *before, size_t n_before, const double *now,
                               size_t n_now, double *scratch)
{
    qw_comparison c = {.n = n_before < n_now ? n_before : n_now};
    if (c.n == 0) return c;
    for (size_t i = 0; i < c.n; i++) scratch[i] = now[i] / before[i];
    c.median = qw_stats_median(scratch, c.n);
    for (size_t i = 0; i < c.n; i++) scratch[i] = fabs(now[i] / before[i] - c.median);
    c.spread = 2 * qw_stats_median(scratch, c.n) / sqrt((double)c.n);
    if (c.n < QW_STATS_MIN_PAIRS) return c;
    if (fabs(c.median - 1) <= c.spread)
        c.change = QW_CHANGE_NONE;
    else
        c.change = c.median > 1 ? QW_CHANGE_FASTER : QW_CHANGE_SLOWER;
    return c;
}
