#include "bench/load_plot.h"

#include <math.h>

#include "bench/stats.h"
#include "bench/svg.h"

enum {
    WIDTH = 960,
    MARGIN = 48,
    PANEL_W = (WIDTH - 3 * MARGIN) / 2,
    PANEL_H = 170,
    TOP = 40,
    STEP_Y = PANEL_H + 70,
    N_POINTS = 200,
    TIMELINE_Y = TOP + 2 * STEP_Y + 20,
    TIMELINE_H = 420,
    HEIGHT = TIMELINE_Y + TIMELINE_H + 60,
};

static void put_mark(qw_buf *out, const qw_svg_panel *p, double x, const char *name)
{
    qw_buf_printf(out, "<path d=\"M%.1f %.1fv%.1f\" class=\"m\"/>", qw_svg_x(p, x), p->top,
                  p->height);
    qw_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"s\">%s %.4g</text>\n",
                  qw_svg_x(p, x) + 3, p->top + 14, name, x);
}

// The share of values below x, as steps at up to N_POINTS quantiles.
static void put_distribution(qw_buf *out, const qw_load_distribution *d, int i_panel,
                             const char *title)
{
    qw_svg_panel p = {MARGIN + (i_panel % 2) * (PANEL_W + MARGIN), TOP + (i_panel / 2) * STEP_Y,
                      PANEL_W, PANEL_H, 1};
    if (d->n > 0 && d->values[d->n - 1] > 0) p.x_max = d->values[d->n - 1] * 1000 * 1.05;
    qw_svg_frame(out, &p, title, " ms");
    if (d->n == 0) return;
    qw_buf_printf(out, "<path class=\"c\" d=\"M%.1f %.1f", p.left, p.top + p.height);
    for (int i = 0; i <= N_POINTS; i++) {
        double share = (double)i / N_POINTS;
        double x = qw_stats_percentile(d->values, d->n, share) * 1000;
        qw_buf_printf(out, "L%.1f %.1f", qw_svg_x(&p, x), p.top + p.height * (1 - share));
    }
    qw_buf_puts(out, "\"/>\n");
    put_mark(out, &p, qw_stats_percentile(d->values, d->n, 0.5) * 1000, "p50");
    put_mark(out, &p, qw_stats_percentile(d->values, d->n, 0.99) * 1000, "p99");
}

static void put_bar(qw_buf *out, const qw_svg_panel *p, double from, double to, double y,
                    double height, const char *class_name)
{
    double width = qw_svg_x(p, to) - qw_svg_x(p, from);
    qw_buf_printf(out,
                  "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" class=\"%s\"/>\n",
                  qw_svg_x(p, from), y, width > 0.2 ? width : 0.2, height, class_name);
}

static void put_timeline(qw_buf *out, const qw_load_report *r)
{
    double start = INFINITY, end = -INFINITY;
    for (size_t i = 0; i < r->n; i++) {
        const qw_load_outcome *o = &r->outcomes[i];
        if (!o->is_ok) continue;
        start = fmin(start, o->start_s);
        end = fmax(end, o->start_s + o->latency_s);
    }
    qw_svg_panel p = {MARGIN, TIMELINE_Y, WIDTH - 2 * MARGIN, TIMELINE_H, 1};
    if (end > start) p.x_max = end - start;
    qw_svg_frame(out, &p, "Requests: to the first token (light), behind it (dark)", " s");
    double row = p.height / (double)(r->n ? r->n : 1), height = row > 1 ? row * 0.8 : row;
    for (size_t i = 0; i < r->n; i++) {
        const qw_load_outcome *o = &r->outcomes[i];
        if (!o->is_ok) continue;
        double at = o->start_s - start, y = p.top + row * (double)i;
        put_bar(out, &p, at, at + o->ttft_s, y, height, "w");
        put_bar(out, &p, at + o->ttft_s, at + o->latency_s, y, height, "g");
    }
}

void qw_load_plot(const qw_load_report *r, qw_buf *out)
{
    static const char *const titles[QW_LOAD_N_METRICS] = {
        "Time to first token: share of requests below", "Time per output token",
        "Gaps between events", "End to end"};
    qw_svg_begin(out, WIDTH, HEIGHT);
    for (int k = 0; k < QW_LOAD_N_METRICS; k++)
        put_distribution(out, &r->metrics.metrics[k], k, titles[k]);
    put_timeline(out, r);
    qw_svg_end(out);
}
