#include "bench/draws.h"

#include <math.h>

#include "base/rng.h"

void qw_draws_init(qw_draws *d, uint64_t seed, uint64_t stream)
{
    *d = (qw_draws){.seed = qw_rng_child_seed(seed, stream)};
}

static uint64_t next(qw_draws *d)
{
    uint32_t words[4];
    const uint32_t counter[4] = {(uint32_t)d->n_drawn, (uint32_t)(d->n_drawn >> 32), 0, 0};
    const uint32_t key[2] = {(uint32_t)d->seed, (uint32_t)(d->seed >> 32)};
    qw_philox4x32(words, counter, key);
    d->n_drawn++;
    return (uint64_t)words[0] << 32 | words[1];
}

double qw_draws_unit(qw_draws *d)
{
    return (double)(next(d) >> 11) * 0x1p-53;
}

int64_t qw_draws_range(qw_draws *d, int64_t low, int64_t high)
{
    QW_ASSERT(low <= high);
    uint64_t n = (uint64_t)high - (uint64_t)low + 1;
    if (n == 0) return (int64_t)next(d); // all of int64
    // What is above the last multiple of n is drawn again: every value is as likely.
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t x;
    do x = next(d);
    while (x >= limit);
    return (int64_t)((uint64_t)low + x % n);
}

double qw_draws_normal(qw_draws *d)
{
    // Marsaglia's polar method; the second number is not kept.
    for (;;) {
        double u = 2 * qw_draws_unit(d) - 1, v = 2 * qw_draws_unit(d) - 1;
        double s = u * u + v * v;
        if (s > 0 && s < 1) return u * sqrt(-2 * log(s) / s);
    }
}

double qw_draws_gamma(qw_draws *d, double shape)
{
    // Below 1: gamma(shape + 1) * U^(1 / shape).
    if (shape < 1) {
        double u = 1 - qw_draws_unit(d);
        return qw_draws_gamma(d, shape + 1) * pow(u, 1 / shape);
    }
    double a = shape - 1.0 / 3, c = 1 / sqrt(9 * a);
    for (;;) {
        double x = qw_draws_normal(d), v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        double u = 1 - qw_draws_unit(d);
        if (log(u) < 0.5 * x * x + a - a * v + a * log(v)) return a * v;
    }
}

void qw_draws_shuffle(qw_draws *d, size_t *indices, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)qw_draws_range(d, 0, (int64_t)i - 1), kept = indices[i - 1];
        indices[i - 1] = indices[j];
        indices[j] = kept;
    }
}
