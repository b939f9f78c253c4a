#ifndef QW_BENCH_SERVE_HOST_H
#define QW_BENCH_SERVE_HOST_H

#include <pthread.h>

#include "engine/runner.h"
#include "server/server.h"

/** An engine behind HTTP on a loopback port, its I/O loop on a thread "qw-io". */
typedef struct qw_serve_host {
    qw_server *server;
    qw_api_config api;
    qw_sampling_params defaults;
    const char *name; /* the one served model */
    FILE *log;        /* /dev/null: access lines are written as `qwench serve` writes them */
    pthread_t thread;
    qw_error error; /* of the loop */
    int port;
} qw_serve_host;

/**
 * Serve `engine` until qw_serve_host_stop; both arguments are borrowed till then, and `h` may not
 * move. `frontend` has a tokenizer.
 */
QW_MUST_CHECK qw_status qw_serve_host_start(qw_serve_host *h, qw_engine *engine,
                                            const qw_frontend *frontend, qw_error *err);
/** Cut what still runs; the engine is free again. Returns what went wrong while it was served. */
QW_MUST_CHECK qw_status qw_serve_host_stop(qw_serve_host *h, qw_error *err);

/** A prompt that is sent to the engine without HTTP. */
typedef struct qw_serve_prompt {
    const int32_t *ids; /* borrowed */
    size_t n;
} qw_serve_prompt;

/**
 * The same requests without a server, through a qw_runner: all at once, greedily, exactly
 * max_tokens each. *seconds: from the first submission to the last end.
 */
QW_MUST_CHECK qw_status qw_serve_in_process(double *seconds, qw_engine *engine,
                                            const qw_serve_prompt *prompts, size_t n_prompts,
                                            int32_t max_tokens, qw_error *err);

#endif
