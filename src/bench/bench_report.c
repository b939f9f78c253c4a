#include "bench/bench_report.h"

#include "base/file.h"
#include "base/mem.h"
#include "bench/json_fields.h"

enum { MAX_JSON = 64 << 20, JSON_VERSION = 1 };

void qw_bench_report_release(qw_bench_report *r)
{
    for (size_t i = 0; i < r->n_rows; i++) qw_bench_row_release(&r->rows[i]);
    qw_mem_free(r->rows);
    qw_mem_free(r->limits);
    qw_mem_free(r->marks);
    *r = (qw_bench_report){0};
}

// Room for one more element in an array of `n`; these are small, so one at a time will do.
static void *grown(void *array, size_t n, size_t size)
{
    return qw_mem_realloc(array, (n + 1) * size);
}

qw_status qw_bench_report_add_limit(qw_bench_report *r, const char *name, int threads, double value,
                                    const char *unit, qw_error *err)
{
    qw_bench_limit *limits = grown(r->limits, r->n_limits, sizeof *limits);
    if (!limits) return qw_fail_memory(err, sizeof *limits, "the report");
    r->limits = limits;
    qw_bench_limit *l = &limits[r->n_limits++];
    *l = (qw_bench_limit){.threads = threads, .value = value};
    snprintf(l->name, sizeof l->name, "%s", name);
    snprintf(l->unit, sizeof l->unit, "%s", unit);
    return QW_OK;
}

qw_status qw_bench_report_add_row(qw_bench_report *r, qw_bench_row *row, qw_error *err)
{
    qw_bench_row *rows = grown(r->rows, r->n_rows, sizeof *rows);
    if (!rows) {
        qw_bench_row_release(row);
        return qw_fail_memory(err, sizeof *rows, "the report");
    }
    r->rows = rows;
    rows[r->n_rows++] = *row;
    *row = (qw_bench_row){0};
    return QW_OK;
}

// Marks

const char *qw_mark_verdict_name(qw_mark_verdict verdict)
{
    switch (verdict) {
    case QW_MARK_MET: return "met";
    case QW_MARK_MISSED: return "missed";
    case QW_MARK_NOISY: return "noisy";
    case QW_MARK_OTHER: return "other isa";
    }
    return "?";
}

qw_status qw_bench_report_add_mark(qw_bench_report *r, const qw_bench_mark *mark, bool is_noisy,
                                   qw_error *err)
{
    qw_bench_mark *marks = grown(r->marks, r->n_marks, sizeof *marks);
    if (!marks) return qw_fail_memory(err, sizeof *marks, "the report");
    r->marks = marks;
    qw_bench_mark *m = &marks[r->n_marks++];
    *m = *mark;
    if (m->verdict == QW_MARK_OTHER) return QW_OK;
    bool is_met = m->is_at_most ? m->value <= m->mark : m->value >= m->mark;
    m->verdict = is_noisy ? QW_MARK_NOISY : is_met ? QW_MARK_MET : QW_MARK_MISSED;
    return QW_OK;
}

// The marks of the table's rows: which row, which of its figures, and what it must be.
typedef struct mark_rule {
    const char *what, *op, *format, *shape_end;
    int m, context; /* context 0: any */
    bool is_time;   /* microseconds, at most; else percent of the limit, at least */
    double mark;
    bool needs_avx512;
} mark_rule;

static const mark_rule rules[] = {
    {"one-token decode step, of read bandwidth", "step", "bf16", "/decode", 1, 0, false, 80, false},
    {"w8a8 decode step, of read bandwidth", "step", "w8a8", "/decode", 1, 0, false, 80, false},
    {"w4a8 decode step, of read bandwidth", "step", "w4a8", "/decode", 1, 0, false, 70, false},
    {"512-token prefill, of the peak", "step", "bf16", "/prefill", 512, 0, false, 60, true},
    {"w8a8 512-token prefill, of the integer peak", "step", "w8a8", "/prefill", 512, 0, false, 60,
     false},
    {"w8a8 Linear of 16 tokens, of its limit", "linear", "w8a8", "", 16, 0, false, 70, false},
    {"w4a8 Linear of 16 tokens, of its limit", "linear", "w4a8", "", 16, 0, false, 70, false},
    {"decode attention at 4,096, of bandwidth", "attn", "bf16", "/decode", 1, 4096, false, 70,
     false},
    {"top-k 20, top-p 0.95 of 151,936 logits", "sample", "f32", "151936", 1, 0, true, 300, false},
};

// Marks of one format's rows against the same rows of another: how many times as fast.
typedef struct pair_rule {
    const char *what, *format, *than, *op, *shape_end;
    int m;
    double mark;     /* percent of the other's speed, at least */
    const char *isa; /* NULL: any */
} pair_rule;

static const pair_rule pair_rules[] = {
    {"w4a8 512-token prefill, of w8a8's speed", "w4a8", "w8a8", "step", "/prefill", 512, 90, NULL},
    {"w8a8 512-token prefill, of bf16's speed", "w8a8", "bf16", "step", "/prefill", 512, 250,
     "vnni"},
};

static bool rule_fits(const mark_rule *rule, const qw_bench_row *row)
{
    return strcmp(row->op, rule->op) == 0 && strcmp(row->format, rule->format) == 0 &&
           qw_str_ends_with(qw_str_of(row->shape), qw_str_of(rule->shape_end)) &&
           row->m == rule->m && (rule->context == 0 || row->context == rule->context);
}

static qw_status judge_row(qw_bench_report *r, const qw_bench_row *row, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < QW_ARRAY_LEN(rules) && st == QW_OK; i++) {
        const mark_rule *rule = &rules[i];
        if (!rule_fits(rule, row)) continue;
        qw_bench_mark mark = {.threads = row->threads,
                              .value = rule->is_time ? row->time_us.p50 : 100 * row->ratio.p50,
                              .mark = rule->mark,
                              .is_at_most = rule->is_time};
        snprintf(mark.what, sizeof mark.what, "%s", rule->what);
        snprintf(mark.shape, sizeof mark.shape, "%s", row->shape);
        snprintf(mark.unit, sizeof mark.unit, "%s", rule->is_time ? "us" : "%");
        if (rule->needs_avx512 && strncmp(row->isa, "avx512", 6) != 0) mark.verdict = QW_MARK_OTHER;
        st = qw_bench_report_add_mark(r, &mark, row->is_noisy, err);
    }
    return st;
}

static bool is_twin(const pair_rule *rule, const qw_bench_row *a, const qw_bench_row *b)
{
    return strcmp(b->format, rule->than) == 0 && strcmp(a->op, b->op) == 0 &&
           strcmp(a->shape, b->shape) == 0 && a->m == b->m && a->context == b->context &&
           a->threads == b->threads && b->time_us.p50 > 0;
}

static qw_status judge_pair(qw_bench_report *r, const pair_rule *rule, const qw_bench_row *row,
                            const qw_bench_row *twin, qw_error *err)
{
    qw_bench_mark mark = {.threads = row->threads,
                          .value = 100 * twin->time_us.p50 / row->time_us.p50,
                          .mark = rule->mark};
    snprintf(mark.what, sizeof mark.what, "%s", rule->what);
    snprintf(mark.shape, sizeof mark.shape, "%s", row->shape);
    snprintf(mark.unit, sizeof mark.unit, "%%");
    bool is_other = rule->isa && strcmp(rule->isa, row->isa) != 0;
    if (is_other) mark.verdict = QW_MARK_OTHER;
    return qw_bench_report_add_mark(r, &mark, row->is_noisy || twin->is_noisy, err);
}

static qw_status judge_pairs(qw_bench_report *r, const qw_bench_row *row, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < QW_ARRAY_LEN(pair_rules); i++) {
        const pair_rule *rule = &pair_rules[i];
        if (strcmp(row->format, rule->format) != 0 || strcmp(row->op, rule->op) != 0 ||
            row->m != rule->m || row->time_us.p50 <= 0 ||
            !qw_str_ends_with(qw_str_of(row->shape), qw_str_of(rule->shape_end)))
            continue;
        for (size_t j = 0; j < r->n_rows && st == QW_OK; j++)
            if (is_twin(rule, row, &r->rows[j])) st = judge_pair(r, rule, row, &r->rows[j], err);
    }
    return st;
}

qw_status qw_bench_report_judge(qw_bench_report *r, qw_error *err)
{
    int threads = 0;
    for (size_t i = 0; i < r->n_rows; i++)
        if (r->rows[i].threads > threads) threads = r->rows[i].threads;
    qw_status st = QW_OK;
    for (size_t i = 0; i < r->n_rows && st == QW_OK; i++)
        if (r->rows[i].threads == threads) st = judge_row(r, &r->rows[i], err);
    for (size_t i = 0; i < r->n_rows && st == QW_OK; i++)
        if (r->rows[i].threads == threads) st = judge_pairs(r, &r->rows[i], err);
    return st;
}

// Text

static void print_limits(const qw_bench_report *r, qw_buf *out)
{
    for (size_t i = 0; i < r->n_limits; i++) {
        const qw_bench_limit *l = &r->limits[i];
        bool is_first = i == 0 || l->threads != r->limits[i - 1].threads;
        if (is_first)
            qw_buf_printf(out, "limits, %d thread%s:", l->threads, l->threads > 1 ? "s" : "");
        qw_buf_printf(out, "%s %s %.1f %s", is_first ? "" : ",", l->name, l->value, l->unit);
        if (i + 1 == r->n_limits || r->limits[i + 1].threads != l->threads) qw_buf_putc(out, '\n');
    }
}

static void print_marks(const qw_bench_report *r, qw_buf *out)
{
    if (r->n_marks == 0) return;
    qw_buf_puts(out, "\nmarks\n");
    for (size_t i = 0; i < r->n_marks; i++) {
        const qw_bench_mark *m = &r->marks[i];
        qw_buf_printf(out, "  %-44s %-14s %d threads %9.1f %-3s (%s %.0f) %s\n", m->what, m->shape,
                      m->threads, m->value, m->unit, m->is_at_most ? "at most" : "at least",
                      m->mark, qw_mark_verdict_name(m->verdict));
    }
}

static const qw_bench_row *find_row(const qw_bench_report *r, const qw_bench_row *row)
{
    for (size_t i = 0; r && i < r->n_rows; i++)
        if (qw_bench_row_is_same(&r->rows[i], row)) return &r->rows[i];
    return NULL;
}

qw_status qw_bench_report_print(const qw_bench_report *r, const qw_bench_report *before,
                                qw_buf *out, qw_error *err)
{
    qw_buf_printf(out, "machine: %s, %d cores, caches %zu KiB / %zu KiB / %zu KiB\n",
                  r->machine.cpu, r->machine.n_cores, r->machine.cache_size[1] >> 10,
                  r->machine.cache_size[2] >> 10, r->machine.cache_size[3] >> 10);
    qw_buf_printf(out, "qwench %s, commit %s, kernels %s, %d rounds\n", r->version, r->commit,
                  r->isa, r->rounds);
    if (before)
        qw_buf_printf(out, "before: qwench %s, commit %s, kernels %s, on %s\n", before->version,
                      before->commit, before->isa, before->machine.cpu);
    print_limits(r, out);
    qw_status st = QW_OK;
    if (r->n_rows > 0) {
        qw_buf_putc(out, '\n');
        qw_bench_row_print_head(out);
    }
    for (size_t i = 0; i < r->n_rows && st == QW_OK; i++)
        st = qw_bench_row_print(&r->rows[i], find_row(before, &r->rows[i]), out, err);
    print_marks(r, out);
    return st;
}

// JSON

static void write_machine(const qw_bench_report *r, qw_buf *out)
{
    const qw_machine *m = &r->machine;
    qw_fields_open(out, "machine", '{');
    qw_fields_text(out, "cpu", m->cpu);
    qw_fields_count(out, "cores", m->n_cores);
    qw_fields_open(out, "caches", '[');
    for (int level = 1; level <= 3; level++)
        qw_fields_count(out, NULL, (int64_t)m->cache_size[level]);
    qw_fields_close(out, ']');
    qw_fields_count(out, "memory", (int64_t)m->memory);
    qw_fields_close(out, '}');
}

static void write_limits(const qw_bench_report *r, qw_buf *out)
{
    qw_fields_open(out, "limits", '[');
    for (size_t i = 0; i < r->n_limits; i++) {
        const qw_bench_limit *l = &r->limits[i];
        qw_fields_open(out, NULL, '{');
        qw_fields_text(out, "name", l->name);
        qw_fields_count(out, "threads", l->threads);
        qw_fields_number(out, "value", l->value);
        qw_fields_text(out, "unit", l->unit);
        qw_fields_close(out, '}');
    }
    qw_fields_close(out, ']');
}

static void write_marks(const qw_bench_report *r, qw_buf *out)
{
    qw_fields_open(out, "marks", '[');
    for (size_t i = 0; i < r->n_marks; i++) {
        const qw_bench_mark *m = &r->marks[i];
        qw_fields_open(out, NULL, '{');
        qw_fields_text(out, "what", m->what);
        qw_fields_text(out, "shape", m->shape);
        qw_fields_count(out, "threads", m->threads);
        qw_fields_number(out, "value", m->value);
        qw_fields_number(out, "mark", m->mark);
        qw_fields_text(out, "unit", m->unit);
        qw_fields_flag(out, "at_most", m->is_at_most);
        qw_fields_text(out, "verdict", qw_mark_verdict_name(m->verdict));
        qw_fields_close(out, '}');
    }
    qw_fields_close(out, ']');
}

static void write_report(const qw_bench_report *r, qw_buf *out)
{
    qw_fields_open(out, NULL, '{');
    qw_fields_count(out, "qwench_bench", JSON_VERSION);
    qw_fields_text(out, "version", r->version);
    qw_fields_text(out, "commit", r->commit);
    qw_fields_text(out, "isa", r->isa);
    qw_fields_count(out, "rounds", r->rounds);
    write_machine(r, out);
    write_limits(r, out);
    qw_fields_open(out, "rows", '[');
    for (size_t i = 0; i < r->n_rows; i++) qw_bench_row_write(&r->rows[i], out);
    qw_fields_close(out, ']');
    write_marks(r, out);
    qw_fields_close(out, '}');
    qw_buf_putc(out, '\n');
}

qw_status qw_bench_report_write(const qw_bench_report *r, const char *path, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, MAX_JSON);
    write_report(r, &text);
    qw_status st = qw_buf_check(&text, "the report", err);
    if (st == QW_OK) st = qw_file_write_atomic(path, text.data, text.len, err);
    qw_buf_release(&text);
    return st;
}

static qw_status read_text(char *out, size_t size, const json_t *object, const char *key,
                           qw_error *err)
{
    qw_str text = {"", 0};
    qw_status st = qw_json_get_str(&text, object, key, err);
    if (st == QW_OK && text.len < size) snprintf(out, size, "%.*s", (int)text.len, text.ptr);
    return st;
}

static qw_status read_rows(qw_bench_report *r, const json_t *report, qw_error *err)
{
    const json_t *rows = json_object_get(report, "rows");
    qw_status st = QW_OK;
    for (size_t i = 0; i < json_array_size(rows) && st == QW_OK; i++) {
        qw_bench_row row;
        st = qw_bench_row_from_json(&row, json_array_get(rows, i), err);
        if (st == QW_OK) st = qw_bench_report_add_row(r, &row, err);
    }
    return st;
}

static qw_status read_report(qw_bench_report *r, const json_t *report, qw_error *err)
{
    int64_t version = 0, rounds = 0;
    if (!json_is_object(report))
        return qw_fail(err, QW_ERR_FORMAT, "not the JSON of 'qwench bench': no object");
    qw_status st = qw_json_get_i64(&version, report, "qwench_bench", INT32_MIN, INT32_MAX, err);
    if (st == QW_OK && version != JSON_VERSION)
        return qw_fail(err, QW_ERR_FORMAT,
                       "not the JSON of this version of 'qwench bench': 'qwench_bench' must be %d",
                       JSON_VERSION);
    if (st == QW_OK) st = qw_json_get_i64(&rounds, report, "rounds", 0, INT32_MAX, err);
    if (st == QW_OK) st = read_text(r->version, sizeof r->version, report, "version", err);
    if (st == QW_OK) st = read_text(r->commit, sizeof r->commit, report, "commit", err);
    if (st == QW_OK) st = read_text(r->isa, sizeof r->isa, report, "isa", err);
    const json_t *machine = json_object_get(report, "machine");
    if (st == QW_OK && json_is_object(machine))
        st = read_text(r->machine.cpu, sizeof r->machine.cpu, machine, "cpu", err);
    r->rounds = (int)rounds;
    return st == QW_OK ? read_rows(r, report, err) : st;
}

qw_status qw_bench_report_read(qw_bench_report *out, const char *path, qw_error *err)
{
    json_t *report;
    qw_status st = qw_json_load(&report, path, MAX_JSON, err);
    if (st != QW_OK) return st;
    qw_bench_report r = {0};
    st = read_report(&r, report, err);
    json_decref(report);
    if (st != QW_OK) {
        qw_bench_report_release(&r);
        return qw_context(err, st, "reading '%s'", path);
    }
    *out = r;
    return QW_OK;
}
