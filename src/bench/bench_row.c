#include "bench/bench_row.h"

#include <math.h>

#include "base/mem.h"
#include "bench/json_fields.h"

static void copy_name(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

typedef struct columns {
    double *time_us, *ratio, *peak_ratio;
    size_t n;
} columns;

static void add_sample(columns *c, const qw_bench_case *bc, const qw_sample *s)
{
    double limits[QW_N_LIMITS];
    qw_sample_limits(limits, s);
    double time_s = s->run.value / s->run_count, peak = limits[bc->work.peak];
    double ops = qw_work_ops(&bc->work);
    c->time_us[c->n] = time_s * 1e6;
    c->ratio[c->n] = qw_sample_ratio(s, &bc->work);
    c->peak_ratio[c->n] = peak > 0 ? ops / time_s / peak : 0;
    c->n++;
}

static void describe(qw_bench_row *row, const qw_bench_record *r)
{
    const qw_bench_case *c = r->bench_case;
    copy_name(row->op, sizeof row->op, c->op);
    copy_name(row->format, sizeof row->format, c->format);
    copy_name(row->shape, sizeof row->shape, c->shape);
    copy_name(row->kernel, sizeof row->kernel, c->kernel);
    copy_name(row->isa, sizeof row->isa, r->isa);
    copy_name(row->parts, sizeof row->parts, r->parts);
    row->m = c->m;
    row->context = c->context;
    row->threads = r->threads;
    row->bytes = c->work.bytes;
    row->ops = qw_work_ops(&c->work);
    row->n_total = r->n_samples;
    if (r->n_samples == 0) return;
    double limits[QW_N_LIMITS];
    qw_sample_limits(limits, &r->samples[r->n_samples / 2]);
    (void)qw_work_limit_s(&c->work, limits, &row->limit);
}

qw_status qw_bench_row_make(qw_bench_row *out, const qw_bench_record *record,
                            const qw_slice_rule *rule, qw_error *err)
{
    size_t n = record->n_samples;
    qw_bench_row row = {0};
    describe(&row, record);
    double *memory = qw_mem_calloc(3 * n + 1, sizeof *memory);
    row.ratios = qw_mem_calloc(n + 1, sizeof *row.ratios);
    if (!memory || !row.ratios) {
        qw_mem_free(memory);
        qw_mem_free(row.ratios);
        return qw_fail_memory(err, 4 * n * sizeof *memory, "a row of the benchmark");
    }
    for (size_t i = 0; i < n; i++) {
        const qw_sample *s = &record->samples[i];
        if (qw_sample_is_clean(s, record->kinds, rule))
            row.ratios[row.n_clean++] = qw_sample_ratio(s, &record->bench_case->work);
        row.steal_percent += qw_slice_steal_percent(&s->run, rule) / (double)n;
    }
    row.is_noisy = row.n_clean < QW_SLICE_MIN_CLEAN;
    columns c = {memory, memory + n, memory + 2 * n, 0};
    for (size_t i = 0; i < n; i++)
        if (row.is_noisy || qw_sample_is_clean(&record->samples[i], record->kinds, rule))
            add_sample(&c, record->bench_case, &record->samples[i]);
    row.time_us = qw_stats_summarize(c.time_us, c.n);
    row.ratio = qw_stats_summarize(c.ratio, c.n);
    row.peak_ratio = qw_stats_median(c.peak_ratio, c.n);
    qw_mem_free(memory);
    *out = row;
    return QW_OK;
}

void qw_bench_row_release(qw_bench_row *row)
{
    qw_mem_free(row->ratios);
    *row = (qw_bench_row){0};
}

bool qw_bench_row_is_same(const qw_bench_row *a, const qw_bench_row *b)
{
    return strcmp(a->op, b->op) == 0 && strcmp(a->format, b->format) == 0 &&
           strcmp(a->shape, b->shape) == 0 && a->m == b->m && a->context == b->context &&
           a->threads == b->threads;
}

// Text

void qw_bench_row_print_head(qw_buf *out)
{
    qw_buf_printf(out, "%-6s %-6s %-14s %4s %6s %3s %-14s %-10s | %28s | %7s %7s | %11s | %s\n",
                  "op", "format", "shape", "M", "ctx", "thr", "kernel", "isa",
                  "time_us  p10      p50      p90", "GB/s", "GOP/s", "limit %p50",
                  "clean/total steal%");
}

// Enough digits for a microsecond and for seconds in the same width.
static void print_time(qw_buf *out, double us)
{
    qw_buf_printf(out, us < 1000 ? "%10.2f" : "%10.0f", us);
}

static qw_status print_change(const qw_bench_row *row, const qw_bench_row *before, qw_buf *out,
                              qw_error *err)
{
    double *scratch = qw_mem_array(row->n_clean + 1, sizeof *scratch);
    if (!scratch) return qw_fail_memory(err, row->n_clean * sizeof *scratch, "a comparison");
    qw_comparison c =
        qw_stats_compare(before->ratios, before->n_clean, row->ratios, row->n_clean, scratch);
    qw_mem_free(scratch);
    if (c.n == 0)
        qw_buf_puts(out, "  before: nothing to compare");
    else
        qw_buf_printf(out, "  before: x%.3f +-%.3f %s (%zu pairs)", c.median, c.spread,
                      qw_change_name(c.change), c.n);
    return QW_OK;
}

qw_status qw_bench_row_print(const qw_bench_row *row, const qw_bench_row *before, qw_buf *out,
                             qw_error *err)
{
    double s = row->time_us.p50 * 1e-6;
    char context[16] = "-";
    if (row->context) snprintf(context, sizeof context, "%d", row->context);
    qw_buf_printf(out, "%-6s %-6s %-14s %4d %6s %3d %-14s %-10s |", row->op, row->format,
                  row->shape, row->m, context, row->threads, row->kernel, row->isa);
    print_time(out, row->time_us.p10);
    print_time(out, row->time_us.p50);
    print_time(out, row->time_us.p90);
    qw_buf_printf(out, " | %7.2f %7.1f | %5s %4.0f%% | %zu/%zu %.1f%%", row->bytes / s / 1e9,
                  row->ops / s / 1e9, qw_limit_name(row->limit), 100 * row->ratio.p50, row->n_clean,
                  row->n_total, row->steal_percent);
    if (row->is_noisy) qw_buf_puts(out, "  noisy");
    qw_status st = before ? print_change(row, before, out, err) : QW_OK;
    qw_buf_putc(out, '\n');
    if (row->parts[0]) qw_buf_printf(out, "       %s\n", row->parts);
    return st;
}

// JSON

void qw_bench_row_write(const qw_bench_row *row, qw_buf *out)
{
    double s = row->time_us.p50 * 1e-6;
    qw_fields_open(out, NULL, '{');
    qw_fields_text(out, "op", row->op);
    qw_fields_text(out, "format", row->format);
    qw_fields_text(out, "shape", row->shape);
    qw_fields_count(out, "m", row->m);
    qw_fields_count(out, "context", row->context);
    qw_fields_count(out, "threads", row->threads);
    qw_fields_text(out, "kernel", row->kernel);
    qw_fields_text(out, "isa", row->isa);
    qw_fields_number(out, "bytes", row->bytes);
    qw_fields_number(out, "ops", row->ops);
    qw_fields_summary(out, "time_us", &row->time_us);
    qw_fields_number(out, "gb_per_s", s > 0 ? row->bytes / s / 1e9 : 0);
    qw_fields_number(out, "gop_per_s", s > 0 ? row->ops / s / 1e9 : 0);
    qw_fields_text(out, "limit", qw_limit_name(row->limit));
    qw_fields_summary(out, "of_limit", &row->ratio);
    qw_fields_number(out, "of_peak", row->peak_ratio);
    qw_fields_count(out, "clean", (int64_t)row->n_clean);
    qw_fields_count(out, "total", (int64_t)row->n_total);
    qw_fields_number(out, "steal_percent", row->steal_percent);
    qw_fields_flag(out, "noisy", row->is_noisy);
    if (row->parts[0]) qw_fields_text(out, "parts", row->parts);
    qw_fields_open(out, "clean_ratios", '[');
    for (size_t i = 0; i < row->n_clean; i++) qw_fields_number(out, NULL, row->ratios[i]);
    qw_fields_close(out, ']');
    qw_fields_close(out, '}');
}

// An absent member leaves `out` as it is.
static qw_status read_name(char *out, size_t size, const json_t *object, const char *key,
                           qw_error *err)
{
    qw_str text = {NULL, 0};
    qw_status st = qw_json_get_str(&text, object, key, err);
    if (st != QW_OK || !text.ptr) return st;
    if (text.len >= size)
        return qw_fail(err, QW_ERR_FORMAT, "'%s' of a benchmark row is longer than %zu bytes", key,
                       size - 1);
    snprintf(out, size, "%.*s", (int)text.len, text.ptr);
    return QW_OK;
}

static qw_status read_summary(qw_summary *out, const json_t *object, const char *key, qw_error *err)
{
    const json_t *s = json_object_get(object, key);
    if (!json_is_object(s))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' of a benchmark row must be an object", key);
    struct {
        const char *name;
        double *value;
    } fields[] = {{"min", &out->min}, {"p10", &out->p10}, {"p50", &out->p50}, {"p90", &out->p90}};
    qw_status st = QW_OK;
    for (size_t i = 0; i < QW_ARRAY_LEN(fields) && st == QW_OK; i++)
        st = qw_json_get_f64(fields[i].value, s, fields[i].name, 0, 1e300, err);
    return st;
}

static qw_status read_ratios(qw_bench_row *row, const json_t *object, qw_error *err)
{
    const json_t *list = json_object_get(object, "clean_ratios");
    size_t n = json_array_size(list); // 0 when it is no array
    row->ratios = qw_mem_calloc(n + 1, sizeof *row->ratios);
    if (!row->ratios) return qw_fail_memory(err, n * sizeof *row->ratios, "a benchmark row");
    for (size_t i = 0; i < n; i++) {
        double value = json_number_value(json_array_get(list, i));
        if (!(value > 0))
            return qw_fail(err, QW_ERR_FORMAT,
                           "'clean_ratios' of a benchmark row must hold numbers above 0");
        row->ratios[i] = value;
    }
    row->n_clean = n;
    return QW_OK;
}

static qw_status read_limit(qw_limit_kind *out, const json_t *object, qw_error *err)
{
    char name[16] = "bw";
    qw_status st = read_name(name, sizeof name, object, "limit", err);
    if (st != QW_OK) return st;
    for (int k = 0; k < QW_N_LIMITS; k++) {
        if (strcmp(name, qw_limit_name(k)) != 0) continue;
        *out = k;
        return QW_OK;
    }
    return qw_fail(err, QW_ERR_FORMAT, "'%s' is no limit of a benchmark row", name);
}

static qw_status read_row(qw_bench_row *row, const json_t *object, qw_error *err)
{
    struct {
        const char *key;
        char *out;
        size_t size;
    } names[] = {
        {"op", row->op, sizeof row->op},          {"format", row->format, sizeof row->format},
        {"shape", row->shape, sizeof row->shape}, {"kernel", row->kernel, sizeof row->kernel},
        {"isa", row->isa, sizeof row->isa},       {"parts", row->parts, sizeof row->parts},
    };
    struct {
        const char *key;
        int64_t value;
    } counts[] = {{"m", 0}, {"context", 0}, {"threads", 0}, {"total", 0}};
    struct {
        const char *key;
        double *value;
    } numbers[] = {{"bytes", &row->bytes},
                   {"ops", &row->ops},
                   {"of_peak", &row->peak_ratio},
                   {"steal_percent", &row->steal_percent}};
    qw_status st = QW_OK;
    for (size_t i = 0; i < QW_ARRAY_LEN(names) && st == QW_OK; i++)
        st = read_name(names[i].out, names[i].size, object, names[i].key, err);
    for (size_t i = 0; i < QW_ARRAY_LEN(counts) && st == QW_OK; i++)
        st = qw_json_get_i64(&counts[i].value, object, counts[i].key, 0, INT32_MAX, err);
    for (size_t i = 0; i < QW_ARRAY_LEN(numbers) && st == QW_OK; i++)
        st = qw_json_get_f64(numbers[i].value, object, numbers[i].key, 0, 1e300, err);
    if (st == QW_OK) st = qw_json_get_bool(&row->is_noisy, object, "noisy", err);
    if (st == QW_OK) st = read_limit(&row->limit, object, err);
    if (st == QW_OK) st = read_summary(&row->time_us, object, "time_us", err);
    if (st == QW_OK) st = read_summary(&row->ratio, object, "of_limit", err);
    if (st == QW_OK) st = read_ratios(row, object, err);
    row->m = (int)counts[0].value;
    row->context = (int)counts[1].value;
    row->threads = (int)counts[2].value;
    row->n_total = (size_t)counts[3].value;
    return st;
}

qw_status qw_bench_row_from_json(qw_bench_row *out, const json_t *object, qw_error *err)
{
    qw_bench_row row = {0};
    if (!json_is_object(object))
        return qw_fail(err, QW_ERR_FORMAT, "a benchmark row must be an object");
    qw_status st = read_row(&row, object, err);
    if (st != QW_OK) {
        qw_bench_row_release(&row);
        return st;
    }
    *out = row;
    return QW_OK;
}
