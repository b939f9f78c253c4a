#ifndef QW_EVAL_EVAL_REPORT_H
#define QW_EVAL_EVAL_REPORT_H

#include "eval/divergence.h"
#include "eval/interval.h"
#include "eval/task_run.h"

/** What was found out about one model. */
typedef struct qw_eval_row {
    const char *model; /* as it was named; borrowed */
    uint64_t bytes;    /* of its weight files */
    double decode_tokens_per_second;
    bool has_task;
    qw_task_result task;
    bool has_divergence;
    qw_divergence divergence;
} qw_eval_row;

/** What the rows are about. */
typedef struct qw_eval_report {
    const qw_eval_row *rows; /* [n]; all have the same parts */
    size_t n;
    const char *task_file, *reference, *texts_file; /* NULL: there was no such part */
} qw_eval_report;

/** All zero is fine. */
void qw_eval_row_release(qw_eval_row *r);

/** The last part of a path, for tables: borrowed from it. */
qw_str qw_eval_row_name(const qw_eval_row *r);
/** Share of right answers, and its 95 % interval. */
double qw_eval_row_score(const qw_eval_row *r, qw_interval *interval);

/** Append the tables: a line for each model. */
void qw_eval_report_table(const qw_eval_report *r, qw_buf *out);
/** Append one JSON object with everything. */
void qw_eval_report_json(const qw_eval_report *r, qw_buf *out);

#endif
