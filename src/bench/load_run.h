#ifndef QW_BENCH_LOAD_RUN_H
#define QW_BENCH_LOAD_RUN_H

#include "bench/load_arrivals.h"
#include "bench/load_body.h"
#include "bench/load_client.h"
#include "bench/load_report.h"

struct qw_load_progress;

/** What is sent, where, and when. All borrowed. */
typedef struct qw_load_plan {
    const qw_load_target *target;
    const qw_load_body *body;
    const qw_load_dataset *dataset;
    qw_load_arrivals arrivals;
    uint64_t seed;
    size_t max_concurrency; /* 0: no limit */
    /** Called a few times a second while requests run, and at the end; may be NULL. */
    void (*progress)(void *ctx, const struct qw_load_progress *progress);
    void *progress_ctx;
} qw_load_plan;

typedef struct qw_load_progress {
    size_t n_done, n_failed, n_running, n_total;
    double elapsed_s;
    uint64_t n_events;  /* so far */
    double events_rate; /* per second since the last call */
    bool is_end;
} qw_load_progress;

/** What came of a run. Zero is nothing; release it also after a failure. */
typedef struct qw_load_result {
    qw_load_outcome *outcomes; /* [n], owned */
    size_t n;
    double duration_s;
    qw_load_rps_change *rps_changes; /* owned; of a ramp */
    size_t n_rps_changes;
} qw_load_result;

void qw_load_result_release(qw_load_result *r);

/** Send every request of the dataset at its time and wait for all answers. */
QW_MUST_CHECK qw_status qw_load_run(qw_load_result *out, const qw_load_plan *plan, qw_error *err);

/** Send the dataset's first request `n` times, at once. */
QW_MUST_CHECK qw_status qw_load_run_copies(qw_load_result *out, const qw_load_plan *plan, size_t n,
                                           qw_error *err);

/**
 * Send the first request again and again, every 5 s, until it succeeds. QW_ERR_DEVICE: it did not
 * within timeout_s; the text says what the last one came to.
 */
QW_MUST_CHECK qw_status qw_load_wait_ready(const qw_load_plan *plan, double timeout_s,
                                           qw_error *err);

#endif
