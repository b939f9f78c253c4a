#ifndef QW_CLI_TOP_SAMPLE_H
#define QW_CLI_TOP_SAMPLE_H

#include "base/status.h"
#include "base/str.h"

// What `qwench top` reads of a server: /metrics of ours or of vLLM's, and our list of requests.

/** A histogram of /metrics: cumulative counts up to each bound, summed over its label sets. */
typedef struct qw_top_histogram {
    int n;
    double bounds[64]; /* ascending; the last is infinite */
    double counts[64];
} qw_top_histogram;

/** One request of the list; texts hold printable ASCII only. */
typedef struct qw_top_request {
    char id[80], state[16];
    double n_prompt, n_computed, n_generated, n_blocks, age_s;
    double rate; /* generated tokens per second since the sample before; below 0: not known */
} qw_top_request;

/** One look at the server. Counters are since its start. */
typedef struct qw_top_sample {
    int64_t time_ns;
    bool has_metrics; /* false: the server records none */
    char model[80];   /* printable ASCII */
    double n_running, n_waiting, kv_usage;
    double generation_tokens, prompt_tokens, prefix_queries, prefix_hits, preemptions;
    double n_answered, n_aborted, n_failed;
    qw_top_histogram first_token, per_token, between_tokens;

    bool has_requests;
    double n_blocks, n_blocks_used; /* with has_requests */
    qw_top_request *requests;       /* [n_requests], owned */
    size_t n_requests;
} qw_top_sample;

/** Take in the text of /metrics; what it does not know is passed over. */
void qw_top_sample_metrics(qw_top_sample *s, qw_str text);
/** Take in the answer of /qwench/requests. QW_ERR_FORMAT: it is none; `s` has no requests then. */
QW_MUST_CHECK qw_status qw_top_sample_requests(qw_top_sample *s, const char *text, size_t len,
                                               qw_error *err);
/** Fill in the rates of `now`'s requests, by id. */
void qw_top_sample_rates(qw_top_sample *now, const qw_top_sample *before);
void qw_top_sample_release(qw_top_sample *s);

/** `now` without what was counted before; a count that fell means that the server began anew. */
double qw_top_grown(double now, double before);
/** The same of a histogram. */
qw_top_histogram qw_top_histogram_grown(const qw_top_histogram *now,
                                        const qw_top_histogram *before);
/** How many it holds. */
double qw_top_histogram_count(const qw_top_histogram *h);
/**
 * The value below which a share `q` (0 to 1) lies, as Prometheus' histogram_quantile: linear within
 * a bucket, the largest finite bound for what is above it. NaN when it holds nothing.
 */
double qw_top_histogram_quantile(const qw_top_histogram *h, double q);

#endif
