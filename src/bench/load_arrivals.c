// vllm/benchmarks/serve.py, get_request and _get_current_request_rate.
#include "bench/load_arrivals.h"

#include <math.h>

double qw_load_arrivals_rate(const qw_load_arrivals *a, size_t i, size_t n)
{
    if (a->ramp_up == QW_RAMP_NONE) return a->request_rate;
    double progress = (double)i / (double)(n > 1 ? n - 1 : 1);
    double start = (double)a->ramp_start_rps, end = (double)a->ramp_end_rps;
    if (a->ramp_up == QW_RAMP_LINEAR) return start + (end - start) * progress;
    return start * pow(end / start, progress);
}

static double gap(const qw_load_arrivals *a, double rate, qw_draws *draws)
{
    if (isinf(rate)) return 0;
    if (isinf(a->burstiness)) return 1 / rate;
    return qw_draws_gamma(draws, a->burstiness) / (rate * a->burstiness);
}

void qw_load_arrivals_make(double *times, size_t n, const qw_load_arrivals *a, qw_draws *draws)
{
    double at = 0;
    for (size_t i = 0; i < n; i++) {
        at += gap(a, qw_load_arrivals_rate(a, i, n), draws);
        times[i] = at;
    }
    if (a->ramp_up != QW_RAMP_NONE || at <= 0) return;
    double factor = (double)n / a->request_rate / at;
    for (size_t i = 0; i < n; i++) times[i] *= factor;
}
