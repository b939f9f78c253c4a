#ifndef QW_BENCH_SERVE_REPORT_H
#define QW_BENCH_SERVE_REPORT_H

#include "base/buf.h"
#include "bench/bench_report.h"

enum { QW_SERVE_MAX_VALUES = 12, QW_SERVE_MAX_SLICES = 2, QW_SERVE_MAX_ROWS = 48 };

/** One round of something measured: its values, and the slices that they come from. */
typedef struct qw_serve_round {
    double values[QW_SERVE_MAX_VALUES];
    qw_slice slices[QW_SERVE_MAX_SLICES];
    int n_slices;
} qw_serve_round;

/** Round after round of the same. */
typedef struct qw_serve_series {
    qw_serve_round *rounds; /* [max], owned */
    size_t n, max;
} qw_serve_series;

QW_MUST_CHECK qw_status qw_serve_series_init(qw_serve_series *s, size_t max, qw_error *err);
void qw_serve_series_release(qw_serve_series *s);

/** What a row is about, and what is promised. */
typedef struct qw_serve_row_head {
    const char *name, *unit; /* static */
    int decimals;
    enum { QW_SERVE_NO_MARK, QW_SERVE_AT_LEAST, QW_SERVE_AT_MOST } promise;
    double mark;
} qw_serve_row_head;

typedef struct qw_serve_row {
    qw_serve_row_head head;
    char group[32]; /* "16 streams" */
    qw_summary value;
    size_t n_clean, n_total;
    qw_mark_verdict verdict; /* of the median */
} qw_serve_row;

/** Everything that a run of `qwench bench server` says. Owns nothing. */
typedef struct qw_serve_report {
    char version[32], commit[48], isa[16], model[128], dtype[16];
    int n_threads, rounds;
    qw_machine machine;
    qw_serve_row rows[QW_SERVE_MAX_ROWS];
    size_t n_rows;
} qw_serve_report;

/**
 * Append the row of value `i` of all rounds: of the clean ones if they are enough, else of all, and
 * then the mark is undecided.
 */
void qw_serve_report_add(qw_serve_report *r, const char *group, const qw_serve_row_head *head,
                         const qw_serve_series *s, int i, const qw_slice_rule *rule);

/** Machine, commit, rows. */
void qw_serve_report_print(const qw_serve_report *r, qw_buf *out);
QW_MUST_CHECK qw_status qw_serve_report_write(const qw_serve_report *r, const char *path,
                                              qw_error *err);

#endif
