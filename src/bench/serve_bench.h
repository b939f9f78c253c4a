#ifndef QW_BENCH_SERVE_BENCH_H
#define QW_BENCH_SERVE_BENCH_H

#include "bench/serve_report.h"
#include "engine/engine.h"
#include "engine/frontend.h"

/** What is measured, as a set. */
typedef enum qw_serve_part {
    QW_SERVE_STREAMS = 1 << 0,
    QW_SERVE_REQUESTS = 1 << 1,
    QW_SERVE_CROWDS = 1 << 2,
    QW_SERVE_PREFIX = 1 << 3,
    QW_SERVE_ALL_PARTS = (1 << 4) - 1,
} qw_serve_part;

/** How much of everything. */
typedef struct qw_serve_bench_options {
    unsigned parts; /* QW_SERVE_*; what an event costs needs REQUESTS too */
    int rounds;
    int few_streams, many_streams;    /* at a time; many is also max_num_seqs */
    int prompt_tokens, output_tokens; /* of each stream */
    int n_requests;                   /* of one token each, for the cost of a request */
    int n_idle, n_queued;             /* the crowd: connections, requests that wait */
    int n_steps;                      /* watched with a crowd, and without */
    int prefix_tokens, suffix_tokens; /* cached, and behind it */
    int prefix_rounds;
    /** Called before each round; may be NULL. */
    void (*progress)(void *ctx, int i_round, int n_rounds);
    void *progress_ctx;
} qw_serve_bench_options;

/** What the marks ask for; `rounds` 7. */
qw_serve_bench_options qw_serve_bench_default(void);
/** The same with everything small, to see whether it works. */
qw_serve_bench_options qw_serve_bench_quick(void);

/**
 * Measure what serving over HTTP costs beside the forward pass, in one run, by turns:
 *
 *   streams    tokens/s over HTTP against the same requests in process; CPU of all threads that do
 *              not compute against those that do, for each request, for each event
 *   crowd      CPU of scheduler and I/O for each step, without and with idle connections and queued
 *              requests
 *   prefix     time to the first token behind a cached prefix, against a prompt of as many tokens
 *              as are then computed
 *
 * `engine` NULL-terminated texts are borrowed; max_num_seqs and max_model_len 0 are chosen here,
 * async_scheduling is on. Call it while this process has no other threads: it forks. A noisy
 * machine is no error. `out`: version, commit and model are the caller's.
 */
QW_MUST_CHECK qw_status qw_serve_bench(qw_serve_report *out, const qw_serve_bench_options *options,
                                       const qw_engine_options *engine, const qw_frontend *frontend,
                                       qw_error *err);

#endif
