#ifndef QW_SERVER_METRICS_H
#define QW_SERVER_METRICS_H

#include "base/buf.h"
#include "base/status.h"

/**
 * What /metrics tells (http-api.md 6): vLLM's series, all of them there from the start.
 *
 * One thread writes each group of numbers: the engine thread by qw_metrics_step, the thread that
 * ends requests by qw_metrics_token and qw_metrics_request. Any thread may read. Numbers are
 * relaxed atomics: a reader may see one a moment before another that belongs to it.
 */
typedef struct qw_metrics qw_metrics;

/** A label of cache_config_info; borrowed for the call. */
typedef struct qw_metrics_label {
    const char *name, *value;
} qw_metrics_label;

/**
 * `model_name`: the first served name, copied. Buckets of lengths go up to `max_model_len`.
 * `cache_config` [n]: the cache's settings. `created`: unix seconds.
 */
QW_MUST_CHECK qw_status qw_metrics_new(qw_metrics **out, const char *model_name,
                                       int32_t max_model_len, const qw_metrics_label *cache_config,
                                       size_t n, int64_t created, qw_error *err);
void qw_metrics_free(qw_metrics *m);

/** One step of the engine, after it: what it did, and how things stand. */
typedef struct qw_metrics_step {
    int32_t n_running, n_waiting; /* requests */
    int32_t n_deferred;           /* of the waiting: held by something else than capacity */
    double kv_usage;              /* 0 .. 1 */
    int64_t n_prompt_tokens;      /* prompt tokens computed in this step */
    int64_t n_generated_tokens;   /* tokens that came out */
    int64_t n_preemptions;        /* in this step */
    int64_t n_prefix_queries;     /* tokens looked up in the prefix cache in this step */
    int64_t n_prefix_hits;        /* of these, found */
} qw_metrics_step;
/** Engine thread. A step without tokens only sets the gauges. */
void qw_metrics_observe_step(qw_metrics *m, const qw_metrics_step *step);

/** A generated token of some request. `first`: `seconds` since the request arrived; else since its
 *  previous token. */
void qw_metrics_observe_token(qw_metrics *m, bool first, double seconds);

typedef enum qw_metrics_reason {
    QW_METRICS_STOP,
    QW_METRICS_LENGTH,
    QW_METRICS_ABORT,
    QW_METRICS_ERROR,
    QW_METRICS_REPETITION,
} qw_metrics_reason;

/** A request that ended, a choice of it each; times in seconds. */
typedef struct qw_metrics_request {
    qw_metrics_reason reason;
    int64_t prompt_tokens, cached_tokens, generation_tokens;
    int64_t max_tokens; /* the request's parameter; < 0: none */
    int64_t n;          /* the request's parameter */
    double queue_s;     /* arrival to first scheduled */
    double prefill_s;   /* first scheduled to first token */
    double decode_s;    /* first token to last token */
    double e2e_s;       /* arrival to the end */
} qw_metrics_request;
void qw_metrics_observe_request(qw_metrics *m, const qw_metrics_request *r);

/** Append the Prometheus text. Failures are those of the buffer. */
void qw_metrics_write(const qw_metrics *m, qw_buf *out);

/** What the periodic line remembers of the last one. Zeroed before the first. */
typedef struct qw_metrics_interval {
    int64_t last_ns;
    uint64_t prompt_tokens, generated_tokens, prefix_queries, prefix_hits, preemptions;
    double hit_rate; /* of the last interval that looked anything up */
    bool was_idle;
} qw_metrics_interval;

/**
 * The line of statistics that vLLM logs every 10 seconds, rates over the time since the last call:
 *
 *   Engine 000: Avg prompt throughput: 12.3 tokens/s, Avg generation throughput: 45.6 tokens/s,
 *   Running: 2 reqs, Waiting: 0 reqs, GPU KV cache usage: 1.2%, Prefix cache hit rate: 0.0%
 *
 * (on one line). False, and nothing written, the second time in a row that nothing was computed,
 * and on the first call, which only begins the interval.
 */
bool qw_metrics_stats_line(const qw_metrics *m, qw_metrics_interval *last, int64_t now_ns,
                           char *out, size_t out_size);

#endif
