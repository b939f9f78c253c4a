#include "eval/interval.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "bench/stats.h"

qw_interval qw_interval_wilson(size_t k, size_t n, double z)
{
    if (n == 0) return (qw_interval){0, 1};
    double size = (double)n, p = (double)k / size, zz = z * z;
    double center = p + zz / (2 * size);
    double half = z * sqrt(p * (1 - p) / size + zz / (4 * size * size));
    double scale = 1 + zz / size;
    return (qw_interval){fmax(0, (center - half) / scale), fmin(1, (center + half) / scale)};
}

double qw_perplexity_change(const qw_paired_nll *pairs, size_t n)
{
    double sum = 0;
    size_t n_tokens = 0;
    for (size_t i = 0; i < n; i++) {
        sum += pairs[i].other - pairs[i].reference;
        n_tokens += pairs[i].n_tokens;
    }
    return n_tokens ? expm1(sum / (double)n_tokens) : 0;
}

static double draw_once(const qw_paired_nll *pairs, size_t n, uint32_t round, uint64_t seed)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    double sum = 0;
    size_t n_tokens = 0;
    uint32_t words[4];
    for (size_t i = 0; i < n; i++) {
        const uint32_t counter[4] = {(uint32_t)(i / 4), round, 0, 0};
        if (i % 4 == 0) qw_philox4x32(words, counter, key);
        const qw_paired_nll *p = &pairs[(size_t)((uint64_t)words[i % 4] * n >> 32)];
        sum += p->other - p->reference;
        n_tokens += p->n_tokens;
    }
    return n_tokens ? expm1(sum / (double)n_tokens) : 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

qw_status qw_interval_bootstrap(qw_interval *out, const qw_paired_nll *pairs, size_t n,
                                size_t n_draws, uint64_t seed, qw_error *err)
{
    *out = (qw_interval){0};
    if (n == 0 || n_draws == 0) return QW_OK;
    double *draws = qw_mem_array(n_draws, sizeof *draws);
    if (!draws) return qw_fail_memory(err, n_draws * sizeof *draws, "the bootstrap");
    for (size_t r = 0; r < n_draws; r++) draws[r] = draw_once(pairs, n, (uint32_t)r, seed);
    qsort(draws, n_draws, sizeof *draws, by_value);
    out->low = qw_stats_percentile(draws, n_draws, 0.025);
    out->high = qw_stats_percentile(draws, n_draws, 0.975);
    qw_mem_free(draws);
    return QW_OK;
}
