#ifndef QW_BENCH_COLD_SERVER_H
#define QW_BENCH_COLD_SERVER_H

#include "base/status.h"

/** The stretches of a server's start, one behind the other. */
typedef enum qw_cold_phase {
    QW_COLD_OPTIONS,     /* exec, options read, model found */
    QW_COLD_MODEL,       /* plan made, weights mapped or packed, tokenizer */
    QW_COLD_LISTEN,      /* the socket takes connections */
    QW_COLD_READY,       /* "Application startup complete." */
    QW_COLD_FIRST_TOKEN, /* a request sent, its first event received */
    QW_COLD_N_PHASES,
} qw_cold_phase;

/** "options", "model", "listen", "ready", "first_token". */
extern const char *const qw_cold_phase_names[QW_COLD_N_PHASES];

typedef struct qw_cold_start {
    double seconds[QW_COLD_N_PHASES]; /* of each phase */
    double total_s;                   /* exec to first token: their sum */
} qw_cold_start;

/**
 * Run this very program as a server with `argv` (NULL-terminated; on a free port of 127.0.0.1),
 * tell its phases by the lines on its stderr, send `body` (JSON) to /v1/completions once it is
 * ready, and end it by SIGTERM. Errors: it does not start (its last line), or does not answer.
 */
QW_MUST_CHECK qw_status qw_cold_start_run(qw_cold_start *out, char *const *argv, const char *body,
                                          qw_error *err);

#endif
