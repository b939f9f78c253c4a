#include "bench/serve_report.h"

#include "base/file.h"
#include "base/mem.h"
#include "bench/json_fields.h"

qw_status qw_serve_series_init(qw_serve_series *s, size_t max, qw_error *err)
{
    *s = (qw_serve_series){.max = max};
    s->rounds = qw_mem_calloc(max, sizeof *s->rounds);
    return s->rounds ? QW_OK : qw_fail_memory(err, max * sizeof *s->rounds, "the results");
}

void qw_serve_series_release(qw_serve_series *s)
{
    qw_mem_free(s->rounds);
    *s = (qw_serve_series){0};
}

static bool is_clean(const qw_serve_round *r, const qw_slice_rule *rule)
{
    for (int i = 0; i < r->n_slices; i++)
        if (!qw_slice_is_clean(&r->slices[i], rule)) return false;
    return true;
}

static qw_mark_verdict judge(const qw_serve_row *row)
{
    if (row->n_clean < QW_SLICE_MIN_CLEAN) return QW_MARK_NOISY;
    double value = row->value.p50, mark = row->head.mark;
    bool is_met = row->head.promise == QW_SERVE_AT_MOST ? value <= mark : value >= mark;
    return is_met ? QW_MARK_MET : QW_MARK_MISSED;
}

void qw_serve_report_add(qw_serve_report *r, const char *group, const qw_serve_row_head *head,
                         const qw_serve_series *s, int i, const qw_slice_rule *rule)
{
    enum { MAX_ROUNDS = 1024 };
    QW_ASSERT(r->n_rows < QW_SERVE_MAX_ROWS && i < QW_SERVE_MAX_VALUES && s->n <= MAX_ROUNDS);
    qw_serve_row *row = &r->rows[r->n_rows++];
    *row = (qw_serve_row){.head = *head, .n_total = s->n};
    snprintf(row->group, sizeof row->group, "%s", group);
    for (size_t k = 0; k < s->n; k++) row->n_clean += is_clean(&s->rounds[k], rule);
    bool only_clean = row->n_clean >= QW_SLICE_MIN_CLEAN;
    double values[MAX_ROUNDS];
    size_t n = 0;
    for (size_t k = 0; k < s->n; k++)
        if (!only_clean || is_clean(&s->rounds[k], rule)) values[n++] = s->rounds[k].values[i];
    row->value = qw_stats_summarize(values, n);
    row->verdict = judge(row);
}

static void print_row(const qw_serve_row *row, qw_buf *out)
{
    const qw_summary *v = &row->value;
    int d = row->head.decimals;
    qw_buf_printf(out, "%-24s %-28s %9.*f %9.*f %9.*f %-8s %5zu/%zu", row->group, row->head.name, d,
                  v->p10, d, v->p50, d, v->p90, row->head.unit, row->n_clean, row->n_total);
    if (row->head.promise != QW_SERVE_NO_MARK)
        qw_buf_printf(out, "   at %s %g: %s",
                      row->head.promise == QW_SERVE_AT_MOST ? "most" : "least", row->head.mark,
                      qw_mark_verdict_name(row->verdict));
    qw_buf_putc(out, '\n');
}

void qw_serve_report_print(const qw_serve_report *r, qw_buf *out)
{
    qw_buf_printf(out, "machine: %s, %d cores\n", r->machine.cpu, r->machine.n_cores);
    qw_buf_printf(out, "qwench %s, commit %s, kernels %s, %d threads, %d rounds\n", r->version,
                  r->commit, r->isa, r->n_threads, r->rounds);
    qw_buf_printf(out, "model: %s, %s\n\n", r->model, r->dtype);
    qw_buf_printf(out, "%-24s %-28s %9s %9s %9s %-8s %s\n", "", "", "p10", "p50", "p90", "",
                  "clean/total");
    for (size_t i = 0; i < r->n_rows; i++) print_row(&r->rows[i], out);
}

static void write_row(const qw_serve_row *row, qw_buf *out)
{
    qw_fields_open(out, NULL, '{');
    qw_fields_text(out, "group", row->group);
    qw_fields_text(out, "name", row->head.name);
    qw_fields_text(out, "unit", row->head.unit);
    qw_fields_summary(out, "value", &row->value);
    qw_fields_count(out, "clean", (int64_t)row->n_clean);
    qw_fields_count(out, "total", (int64_t)row->n_total);
    if (row->head.promise != QW_SERVE_NO_MARK) {
        bool is_most = row->head.promise == QW_SERVE_AT_MOST;
        qw_fields_number(out, is_most ? "at_most" : "at_least", row->head.mark);
        qw_fields_text(out, "verdict", qw_mark_verdict_name(row->verdict));
    }
    qw_fields_close(out, '}');
}

qw_status qw_serve_report_write(const qw_serve_report *r, const char *path, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 20);
    qw_fields_open(&text, NULL, '{');
    qw_fields_count(&text, "qwench_bench_server", 1);
    qw_fields_text(&text, "version", r->version);
    qw_fields_text(&text, "commit", r->commit);
    qw_fields_text(&text, "cpu", r->machine.cpu);
    qw_fields_count(&text, "cores", r->machine.n_cores);
    qw_fields_text(&text, "isa", r->isa);
    qw_fields_count(&text, "threads", r->n_threads);
    qw_fields_text(&text, "model", r->model);
    qw_fields_text(&text, "dtype", r->dtype);
    qw_fields_count(&text, "rounds", r->rounds);
    qw_fields_open(&text, "rows", '[');
    for (size_t i = 0; i < r->n_rows; i++) write_row(&r->rows[i], &text);
    qw_fields_close(&text, ']');
    qw_fields_close(&text, '}');
    qw_buf_putc(&text, '\n');
    qw_status st = qw_buf_check(&text, "the results", err);
    if (st == QW_OK) st = qw_file_write_atomic(path, text.data, text.len, err);
    qw_buf_release(&text);
    return st;
}
