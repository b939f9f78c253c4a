#include "cli/top_view.h"

#include <math.h>
#include <stdarg.h>

#include "base/mem.h"

void qw_top_view_add(qw_top_view *v, qw_top_sample *sample)
{
    qw_top_sample *last = v->n_looks > 0 ? &v->looks[v->n_looks - 1] : NULL;
    if (last) {
        qw_top_sample_rates(sample, last);
        qw_mem_free(last->requests);
        last->requests = NULL;
        last->n_requests = 0;
    }
    if (v->n_looks == QW_TOP_N_LOOKS) {
        memmove(v->looks, v->looks + 1, (QW_TOP_N_LOOKS - 1) * sizeof *v->looks);
        v->n_looks--;
    }
    v->looks[v->n_looks++] = *sample;
    *sample = (qw_top_sample){0};
}

void qw_top_view_release(qw_top_view *v)
{
    for (size_t i = 0; i < v->n_looks; i++) qw_top_sample_release(&v->looks[i]);
    v->n_looks = 0;
}

const char *qw_top_sort_name(qw_top_sort sort)
{
    static const char *const names[] = {"age", "generated", "blocks", "state"};
    return names[sort];
}

// Lines

typedef struct page {
    qw_buf *out;
    int width, height, n_lines;
} page;

QW_PRINTF(3, 4) static void line(page *p, char style, const char *fmt, ...)
{
    if (p->height > 0 && p->n_lines >= p->height) return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0) return;
    size_t len = strlen(text);
    if (p->width > 0 && len > (size_t)p->width) len = (size_t)p->width;
    while (len > 0 && text[len - 1] == ' ') len--;
    qw_buf_putc(p->out, style);
    qw_buf_append(p->out, text, len);
    qw_buf_putc(p->out, '\n');
    p->n_lines++;
}

static const char *bar(char out[32], double share)
{
    enum { CELLS = 24 };
    int full = !(share > 0) ? 0 : share >= 1 ? CELLS : (int)(share * CELLS + 0.5);
    out[0] = '[';
    for (int i = 0; i < CELLS; i++) out[1 + i] = i < full ? '#' : '.';
    out[1 + CELLS] = ']';
    out[2 + CELLS] = '\0';
    return out;
}

static const char *seconds(char out[24], double s)
{
    if (isnan(s))
        snprintf(out, 24, "-");
    else if (s < 0.01)
        snprintf(out, 24, "%.2f ms", s * 1e3);
    else if (s < 1)
        snprintf(out, 24, "%.0f ms", s * 1e3);
    else
        snprintf(out, 24, "%.2f s", s);
    return out;
}

static void percentiles(page *p, const char *name, const qw_top_histogram *now,
                        const qw_top_histogram *before)
{
    char a[24], b[24], c[24];
    qw_top_histogram h = before ? qw_top_histogram_grown(now, before) : *now;
    line(p, ' ', "%-20s %10s %10s %10s %10.0f", name,
         seconds(a, qw_top_histogram_quantile(&h, 0.5)),
         seconds(b, qw_top_histogram_quantile(&h, 0.9)),
         seconds(c, qw_top_histogram_quantile(&h, 0.99)), qw_top_histogram_count(&h));
}

static double per_second(double now, double before, double elapsed)
{
    return elapsed > 0 ? qw_top_grown(now, before) / elapsed : 0;
}

static void write_numbers(page *p, const qw_top_view *v)
{
    const qw_top_sample *s = &v->looks[v->n_looks - 1];
    const qw_top_sample *old = &v->looks[0];
    const qw_top_sample *last = v->n_looks > 1 ? s - 1 : s;
    double elapsed = (double)(s->time_ns - last->time_ns) / 1e9;
    double window = (double)(s->time_ns - old->time_ns) / 1e9;
    char text[32];
    line(p, ' ',
         "Requests     running %.0f, waiting %.0f; answered %.0f, aborted %.0f, failed %.0f",
         s->n_running, s->n_waiting, s->n_answered, s->n_aborted, s->n_failed);
    line(p, ' ', "Tokens/s     generated %.1f, prompts %.1f; preemptions %.0f",
         per_second(s->generation_tokens, last->generation_tokens, elapsed),
         per_second(s->prompt_tokens, last->prompt_tokens, elapsed), s->preemptions);
    if (s->has_requests)
        line(p, ' ', "KV cache     %s %5.1f %%  %.0f of %.0f blocks", bar(text, s->kv_usage),
             100 * s->kv_usage, s->n_blocks_used, s->n_blocks);
    else
        line(p, ' ', "KV cache     %s %5.1f %%", bar(text, s->kv_usage), 100 * s->kv_usage);
    // Of the window if anything was looked up in it, else of all time; so for the percentiles.
    double queries = qw_top_grown(s->prefix_queries, old->prefix_queries);
    double hits = qw_top_grown(s->prefix_hits, old->prefix_hits);
    if (!(queries > 0)) queries = s->prefix_queries, hits = s->prefix_hits;
    double share = queries > 0 ? hits / queries : 0;
    line(p, ' ', "Prefix hits  %s %5.1f %%  of %.0f tokens looked up", bar(text, share),
         100 * share, queries);
    qw_top_histogram grown = qw_top_histogram_grown(&s->first_token, &old->first_token);
    bool recent = v->n_looks > 1 && qw_top_histogram_count(&grown) > 0;
    char heading[40] = "Since the start";
    if (recent) snprintf(heading, sizeof heading, "The last %.0f s", window);
    line(p, ' ', "%s", "");
    line(p, '=', "%-20s %10s %10s %10s %10s", heading, "p50", "p90", "p99", "count");
    percentiles(p, "First token (TTFT)", &s->first_token, recent ? &old->first_token : NULL);
    percentiles(p, "Per token (TPOT)", &s->per_token, recent ? &old->per_token : NULL);
    percentiles(p, "Between tokens", &s->between_tokens, recent ? &old->between_tokens : NULL);
}

// Requests

static int larger_first(double a, double b)
{
    return (a < b) - (a > b);
}

static int by_age(const void *a, const void *b)
{
    return larger_first(((const qw_top_request *)a)->age_s, ((const qw_top_request *)b)->age_s);
}

static int by_generated(const void *a, const void *b)
{
    int c = larger_first(((const qw_top_request *)a)->n_generated,
                         ((const qw_top_request *)b)->n_generated);
    return c ? c : by_age(a, b);
}

static int by_blocks(const void *a, const void *b)
{
    int c =
        larger_first(((const qw_top_request *)a)->n_blocks, ((const qw_top_request *)b)->n_blocks);
    return c ? c : by_age(a, b);
}

static int by_state(const void *a, const void *b)
{
    int c = strcmp(((const qw_top_request *)a)->state, ((const qw_top_request *)b)->state);
    return c ? c : by_age(a, b);
}

static void write_requests(page *p, qw_top_view *v)
{
    static int (*const orders[])(const void *, const void *) = {by_age, by_generated, by_blocks,
                                                                by_state};
    qw_top_sample *s = &v->looks[v->n_looks - 1];
    line(p, ' ', "%s", "");
    line(p, '=', "%-10s %8s %8s %9s %9s %8s %7s  %s", "STATE", "AGE s", "PROMPT", "COMPUTED",
         "GENERATED", "TOK/S", "BLOCKS", "REQUEST");
    if (!s->has_requests) {
        line(p, '~', "%s", v->requests_note);
        return;
    }
    if (s->n_requests == 0) {
        line(p, '~', "no requests");
        return;
    }
    qsort(s->requests, s->n_requests, sizeof *s->requests, orders[v->sort]);
    if (v->first >= s->n_requests) v->first = s->n_requests - 1;
    for (size_t i = v->first; i < s->n_requests; i++) {
        const qw_top_request *r = &s->requests[i];
        char rate[24] = "-";
        if (r->rate >= 0) snprintf(rate, sizeof rate, "%.1f", r->rate);
        line(p, ' ', "%-10s %8.1f %8.0f %9.0f %9.0f %8s %7.0f  %s", r->state, r->age_s, r->n_prompt,
             r->n_computed, r->n_generated, rate, r->n_blocks, r->id);
    }
}

void qw_top_view_write(qw_top_view *v, int width, int height, qw_buf *out)
{
    // The last line of a screen is for the keys.
    page p = {out, width, height > 1 ? height - 1 : height, 0};
    const qw_top_sample *s = v->n_looks > 0 ? &v->looks[v->n_looks - 1] : NULL;
    line(&p, '!', "%s  %s%s", v->url, s ? s->model : "", v->is_paused ? "  (paused)" : "");
    if (*v->note) line(&p, '!', "%s", v->note);
    if (s && s->has_metrics)
        write_numbers(&p, v);
    else if (s)
        line(&p, '~', "the server records no metrics (--disable-log-stats)");
    if (s) write_requests(&p, v);
    if (height <= 1) return;
    while (p.n_lines < p.height) line(&p, ' ', "%s", "");
    p.height = height;
    line(&p, '~', "q quit  p pause  s sort: %s  up/down scroll  +/- every %g s",
         qw_top_sort_name(v->sort), v->interval_s);
}
