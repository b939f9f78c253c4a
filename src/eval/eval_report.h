#ifndef QW_EVAL_EVAL_REPORT_H
#define QW_EVAL_EVAL_REPORT_H

#include "eval/interval.h"
#include "eval/task_run.h"

/** What was found out about one model. */
typedef struct qw_eval_row {
    const char *model; /* as it was named; borrowed */
    uint64_t bytes;    /* of its weight files */
    double decode_tokens_per_second;
    bool has_task;
    qw_task_result task;
} qw_eval_row;

/** All zero is fine. */
void qw_eval_row_release(qw_eval_row *r);

/** The last part of a path, for tables: borrowed from it. */
qw_str qw_eval_row_name(const qw_eval_row *r);
/** Share of right answers, and its 95 % interval. */
double qw_eval_row_score(const qw_eval_row *r, qw_interval *interval);

/** Append the tables: a line for each model. */
void qw_eval_report_table(const qw_eval_row *rows, size_t n, qw_buf *out);
/** Append one JSON object with everything; `task_file` NULL: there was no task. */
void qw_eval_report_json(const qw_eval_row *rows, size_t n, const char *task_file, qw_buf *out);

#endif
