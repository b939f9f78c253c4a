#ifndef QW_BENCH_BENCH_REPORT_H
#define QW_BENCH_BENCH_REPORT_H

#include "bench/bench_row.h"
#include "bench/machine.h"

/** A line of the first block: what the machine can do. */
typedef struct qw_bench_limit {
    char name[16]; /* "bw", "fma", "bf16", "L1", "L2", "L3", "handover", "spin" */
    char unit[16];
    int threads;
    double value; /* median of a few slices */
} qw_bench_limit;

typedef enum qw_mark_verdict {
    QW_MARK_MET,
    QW_MARK_MISSED,
    QW_MARK_NOISY, /* neither: too few clean slices */
    QW_MARK_OTHER, /* the mark is for another instruction set */
} qw_mark_verdict;

/** "met", "missed", "noisy", "other isa". */
const char *qw_mark_verdict_name(qw_mark_verdict verdict);

/** What the project promises, and what came out. */
typedef struct qw_bench_mark {
    char what[64], shape[48], unit[16];
    int threads;
    double value, mark;
    bool is_at_most; /* the mark is a largest value, else a smallest */
    qw_mark_verdict verdict;
} qw_bench_mark;

/** Everything that a run of a benchmark says. Zero is an empty report. */
typedef struct qw_bench_report {
    char version[32], commit[48], isa[16];
    qw_machine machine;
    int rounds;
    qw_bench_limit *limits; /* owned arrays that grow */
    size_t n_limits;
    qw_bench_row *rows;
    size_t n_rows;
    qw_bench_mark *marks;
    size_t n_marks;
} qw_bench_report;

void qw_bench_report_release(qw_bench_report *r);
QW_MUST_CHECK qw_status qw_bench_report_add_limit(qw_bench_report *r, const char *name, int threads,
                                                  double value, const char *unit, qw_error *err);
/** `row` is moved in, also on failure. */
QW_MUST_CHECK qw_status qw_bench_report_add_row(qw_bench_report *r, qw_bench_row *row,
                                                qw_error *err);
/** Decides the verdict from value, mark and `is_noisy`, unless it is QW_MARK_OTHER. */
QW_MUST_CHECK qw_status qw_bench_report_add_mark(qw_bench_report *r, const qw_bench_mark *mark,
                                                 bool is_noisy, qw_error *err);
/** Add the marks that the rows with the most threads decide. */
QW_MUST_CHECK qw_status qw_bench_report_judge(qw_bench_report *r, qw_error *err);

/** Machine, limits, rows, marks. `before`: an older report to compare the rows with, or NULL. */
QW_MUST_CHECK qw_status qw_bench_report_print(const qw_bench_report *r,
                                              const qw_bench_report *before, qw_buf *out,
                                              qw_error *err);

QW_MUST_CHECK qw_status qw_bench_report_write(const qw_bench_report *r, const char *path,
                                              qw_error *err);
/** Read a file that write wrote. Release with qw_bench_report_release. */
QW_MUST_CHECK qw_status qw_bench_report_read(qw_bench_report *out, const char *path, qw_error *err);

#endif
