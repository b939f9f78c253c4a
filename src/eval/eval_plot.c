#include "eval/eval_plot.h"

#include "bench/svg.h"

enum { WIDTH = 720, HEIGHT = 460, LEFT = 64, TOP = 40, BOTTOM = 56, RIGHT = 40 };

static double at_y(const qw_svg_panel *p, double share)
{
    return p->top + p->height * (1 - share);
}

static void put_scale(qw_buf *out, const qw_svg_panel *p)
{
    for (int percent = 0; percent <= 100; percent += 20) {
        double y = at_y(p, percent / 100.0);
        qw_buf_printf(out, "<path d=\"M%.1f %.1fh-4\" class=\"k\"/>", p->left, y);
        qw_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"e\">%d%%</text>\n", p->left - 8,
                      y + 4, percent);
    }
}

// Names stand to the right of their points, or to the left where there is no room.
static void put_point(qw_buf *out, const qw_svg_panel *p, const qw_eval_row *r)
{
    qw_interval ci;
    double score = qw_eval_row_score(r, &ci);
    double x = qw_svg_x(p, r->decode_tokens_per_second), y = at_y(p, score);
    qw_str name = qw_eval_row_name(r);
    bool is_left = x > p->left + p->width * 0.7;
    qw_buf_printf(out, "<path d=\"M%.1f %.1fV%.1fM%.1f %.1fh8M%.1f %.1fh8\" class=\"c\"/>", x,
                  at_y(p, ci.low), at_y(p, ci.high), x - 4, at_y(p, ci.low), x - 4,
                  at_y(p, ci.high));
    qw_buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" class=\"g\"/>", x, y);
    qw_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\"%s>", is_left ? x - 9 : x + 9, y - 6,
                  is_left ? " class=\"e\"" : "");
    qw_svg_text(out, name);
    qw_buf_puts(out, "</text>\n");
}

void qw_eval_plot(const qw_eval_row *rows, size_t n, qw_buf *out)
{
    qw_svg_panel p = {LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, 1};
    double fastest = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i].decode_tokens_per_second > fastest) fastest = rows[i].decode_tokens_per_second;
    if (fastest > 0) p.x_max = fastest * 1.1;
    qw_svg_begin(out, WIDTH, HEIGHT);
    qw_svg_frame(out, &p, "Score and its 95 % interval, by speed", "");
    qw_buf_printf(out,
                  "<text x=\"%.0f\" y=\"%d\" class=\"n\">tokens a second, one sequence</text>\n",
                  p.left + p.width / 2, HEIGHT - 14);
    put_scale(out, &p);
    for (size_t i = 0; i < n; i++) put_point(out, &p, &rows[i]);
    qw_svg_end(out);
}
