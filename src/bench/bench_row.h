#ifndef QW_BENCH_BENCH_ROW_H
#define QW_BENCH_BENCH_ROW_H

#include "base/buf.h"
#include "bench/bench_case.h"
#include "bench/stats.h"
#include "format/json.h"

/** The measured row: everything that the table and the JSON say about it. */
typedef struct qw_bench_row {
    char op[16], format[16], shape[48], kernel[24], isa[16];
    int m, context, threads;
    double bytes, ops;   /* of one run */
    qw_limit_kind limit; /* what decides */
    bool is_noisy;       /* fewer than 5 clean rounds: the figures are those of all rounds */
    qw_summary time_us;  /* of one run */
    qw_summary ratio;    /* limit time / time: 1 is the limit */
    double peak_ratio;   /* ops / time / peak, median; 0: nothing is computed */
    size_t n_clean, n_total;
    double steal_percent; /* of all rounds */
    double *ratios;       /* [n_clean], in order of time; owned */
    char parts[160];      /* of a step: where the time went; else empty */
} qw_bench_row;

/** What was recorded of a case. */
typedef struct qw_bench_record {
    const qw_bench_case *bench_case;
    const char *isa;
    int threads;
    qw_limit_set kinds;
    const qw_sample *samples; /* [n_samples] */
    size_t n_samples;
    const char *parts; /* of a step: where the time went; else empty */
} qw_bench_record;

/** Judge the samples by `rule`. Release with qw_bench_row_release. */
QW_MUST_CHECK qw_status qw_bench_row_make(qw_bench_row *out, const qw_bench_record *record,
                                          const qw_slice_rule *rule, qw_error *err);
void qw_bench_row_release(qw_bench_row *row);

/** True if both rows measure the same thing, whatever the kernel. */
bool qw_bench_row_is_same(const qw_bench_row *a, const qw_bench_row *b);

/** Two lines: names and units of the columns. */
void qw_bench_row_print_head(qw_buf *out);
/** `before`: the same row of an older run, or NULL. */
QW_MUST_CHECK qw_status qw_bench_row_print(const qw_bench_row *row, const qw_bench_row *before,
                                           qw_buf *out, qw_error *err);

/** Append the row as a JSON object, an element of an array. */
void qw_bench_row_write(const qw_bench_row *row, qw_buf *out);
QW_MUST_CHECK qw_status qw_bench_row_from_json(qw_bench_row *out, const json_t *object,
                                               qw_error *err);

#endif
