#ifndef QW_BENCH_SERVE_THREADS_H
#define QW_BENCH_SERVE_THREADS_H

#include "base/status.h"

/** CPU seconds of this process's threads by what they are for; their names tell. */
typedef struct qw_thread_times {
    double forward; /* qw-forward and the compute pool */
    double engine;  /* qw-engine: scheduler, sampling bookkeeping */
    double io;      /* qw-io */
    double workers; /* qw-worker: JSON, templates, tokenizer */
} qw_thread_times;

/** Everything that is not the forward pass. */
double qw_thread_times_others(const qw_thread_times *t);
/** What was used between two readings. Threads may not have ended in between. */
qw_thread_times qw_thread_times_since(const qw_thread_times *before, const qw_thread_times *now);

/** Read the clocks of all threads that there are; threads of other names are left out. */
QW_MUST_CHECK qw_status qw_thread_times_read(qw_thread_times *out, qw_error *err);

#endif
