#ifndef QW_BASE_WORKERS_H
#define QW_BASE_WORKERS_H

#include "base/status.h"

/**
 * A piece of work for the workers: part of its owner's struct, so handing it over never allocates.
 * It belongs to the workers from the call of add until `run` is called, and is not touched after.
 */
typedef struct qw_task {
    void (*run)(struct qw_task *task);
    struct qw_task *next; /* the workers' */
} qw_task;

/** Threads that run tasks one after the other in the order they came: text work beside the engine.
 */
typedef struct qw_workers qw_workers;

/** Start `n_threads` (>= 1) threads called `name` (at most 15 characters). */
QW_MUST_CHECK qw_status qw_workers_new(qw_workers **out, int n_threads, const char *name,
                                       qw_error *err);
/** Runs what is still queued, then stops and joins. NULL is fine. */
void qw_workers_free(qw_workers *w);
/** Queue a task; any thread, tasks included. */
void qw_workers_add(qw_workers *w, qw_task *task);

#endif
