#include "bench/svg.h"

#include <math.h>

enum { N_TICKS = 5 };

void qw_svg_begin(qw_buf *out, int width, int height)
{
    qw_buf_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                  "viewBox=\"0 0 %d %d\">\n<style>text{font:12px sans-serif;fill:#222}"
                  ".t{font-weight:bold}.n{text-anchor:middle}.e{text-anchor:end}"
                  ".s{font-size:10px;fill:#a33}"
                  ".f{fill:#fafafa;stroke:#999}.k{stroke:#999}.m{stroke:#a33;stroke-dasharray:3 3}"
                  ".c{fill:none;stroke:#1f5fa8;stroke-width:1.5}.w{fill:#b9cfe8}.g{fill:#1f5fa8}"
                  "</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
                  width, height, width, height);
}

void qw_svg_end(qw_buf *out)
{
    qw_buf_puts(out, "</svg>\n");
}

double qw_svg_x(const qw_svg_panel *p, double x)
{
    return p->left + x / p->x_max * p->width;
}

// 1, 2 or 5 times a power of ten, so that about N_TICKS of them fit.
static double tick_of(double range)
{
    double rough = range / N_TICKS, power = pow(10, floor(log10(rough)));
    double factor = rough / power;
    return power * (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10);
}

void qw_svg_frame(qw_buf *out, const qw_svg_panel *p, const char *title, const char *unit)
{
    qw_buf_printf(out, "<text x=\"%.0f\" y=\"%.0f\" class=\"t\">%s</text>\n", p->left, p->top - 8,
                  title);
    qw_buf_printf(out, "<rect x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\" class=\"f\"/>\n",
                  p->left, p->top, p->width, p->height);
    double tick = tick_of(p->x_max);
    for (int i = 0; i * tick <= p->x_max * 1.0001; i++) {
        double x = qw_svg_x(p, i * tick), bottom = p->top + p->height;
        qw_buf_printf(out, "<path d=\"M%.1f %.1fv4\" class=\"k\"/>", x, bottom);
        qw_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"n\">%g%s</text>\n", x, bottom + 16,
                      i * tick, (i + 1) * tick > p->x_max * 1.0001 ? unit : "");
    }
}

void qw_svg_text(qw_buf *out, qw_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.ptr[i]) {
        case '&': qw_buf_puts(out, "&amp;"); break;
        case '<': qw_buf_puts(out, "&lt;"); break;
        case '>': qw_buf_puts(out, "&gt;"); break;
        default: qw_buf_putc(out, text.ptr[i]);
        }
    }
}
