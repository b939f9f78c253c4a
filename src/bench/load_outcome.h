#ifndef QW_BENCH_LOAD_OUTCOME_H
#define QW_BENCH_LOAD_OUTCOME_H

#include "base/buf.h"

/** What one request of `bench serve` came to. Times are seconds; start_s is of the monotonic clock.
 *  Zero is a request that was not sent. */
typedef struct qw_load_outcome {
    bool is_ok;
    double start_s;   /* when it was sent */
    double ttft_s;    /* from then to the first event with choices */
    double latency_s; /* to the last event that counts (cli-and-bench.md 7.1, "Measurement") */
    double *itls;     /* [n_itls] gaps between the events, owned */
    size_t n_itls, itls_cap;
    bool has_first;        /* an event with choices came */
    int64_t prompt_tokens; /* as the server counted them; 0: it did not tell */
    int64_t output_tokens;
    char *text;  /* what was generated, owned; NULL: nothing */
    char *error; /* why it failed, owned; NULL: it did not, or memory was short */
} qw_load_outcome;

void qw_load_outcome_release(qw_load_outcome *o);
/** Append a gap. */
QW_MUST_CHECK qw_status qw_load_outcome_add_gap(qw_load_outcome *o, double seconds, qw_error *err);
/** Note a failure; the first one stays. */
void qw_load_outcome_fail(qw_load_outcome *o, const char *text);

#endif
