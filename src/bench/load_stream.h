#ifndef QW_BENCH_LOAD_STREAM_H
#define QW_BENCH_LOAD_STREAM_H

#include "bench/load_outcome.h"

/**
 * Reads the event stream of one answer as its bytes come, and notes in an outcome when its events
 * came and what they say (vllm/benchmarks/lib/endpoint_request_func.py).
 */
typedef struct qw_load_stream {
    qw_load_outcome *outcome; /* borrowed */
    bool is_chat;             /* chat chunks; the event with the usage counts as the last one */
    double last_s;            /* when the last event that counts came, on the clock of start_s */
    qw_buf line;              /* a line whose end has not come */
    qw_buf text;              /* what was generated */
    size_t n_events;          /* with choices or usage */
    bool is_done;             /* "[DONE]" came */
} qw_load_stream;

enum { QW_LOAD_MAX_LINE = 64 << 20, QW_LOAD_MAX_TEXT = 256 << 20 };

/** outcome->start_s is set. */
void qw_load_stream_init(qw_load_stream *s, qw_load_outcome *outcome, bool is_chat);
void qw_load_stream_release(qw_load_stream *s);

/**
 * Take in bytes that came at `now_s`. QW_ERR_FORMAT: an event is no JSON; QW_ERR_DEVICE: the server
 * reports a failure, whose text is the error's.
 */
QW_MUST_CHECK qw_status qw_load_stream_feed(qw_load_stream *s, const char *data, size_t len,
                                            double now_s, qw_error *err);

/** The answer has ended: complete the outcome. It is a failure if no event had choices. */
void qw_load_stream_finish(qw_load_stream *s);

#endif
