#ifndef QW_BENCH_LOAD_ARRIVALS_H
#define QW_BENCH_LOAD_ARRIVALS_H

#include "bench/draws.h"

typedef enum qw_ramp_up {
    QW_RAMP_NONE,
    QW_RAMP_LINEAR,
    QW_RAMP_EXPONENTIAL,
} qw_ramp_up;

/** When requests are sent (cli-and-bench.md 7.1, "Arrival"). */
typedef struct qw_load_arrivals {
    double request_rate; /* per second; infinity: all at once. Does not count with a ramp */
    double burstiness;   /* shape of the gamma distribution; 1: Poisson; infinity: constant gaps */
    qw_ramp_up ramp_up;
    int64_t ramp_start_rps, ramp_end_rps; /* >= 1 */
} qw_load_arrivals;

/** Requests per second around request `i` of n. */
double qw_load_arrivals_rate(const qw_load_arrivals *a, size_t i, size_t n);

/**
 * Seconds from the start at which requests 0 .. n-1 are sent, ascending. Without a ramp they are
 * stretched so that the last comes at n / request_rate.
 */
void qw_load_arrivals_make(double *times, size_t n, const qw_load_arrivals *a, qw_draws *draws);

#endif
