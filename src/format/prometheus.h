#ifndef QW_FORMAT_PROMETHEUS_H
#define QW_FORMAT_PROMETHEUS_H

#include "base/str.h"

/** One line of the Prometheus text format 0.0.4, borrowed from the text. */
typedef struct qw_prometheus_sample {
    qw_str name;   /* "vllm:num_requests_running" */
    qw_str labels; /* what stands between the braces, as it stands there; empty: none */
    double value;  /* may be infinite or no number */
} qw_prometheus_sample;

/**
 * The next sample of `text` at or behind *pos, which moves behind its line. Comments, empty lines
 * and lines that are no sample are passed over. False: there are no more.
 */
bool qw_prometheus_next(qw_prometheus_sample *out, qw_str text, size_t *pos);

/**
 * The value of a label, unescaped, cut at `size` - 1 bytes, with a NUL. False, and out empty: the
 * sample has no such label.
 */
bool qw_prometheus_label(char *out, size_t size, qw_str labels, const char *name);

#endif
