#include "eval/row_divergence.h"

#include <math.h>

// The first of the largest values.
static int32_t top_of(const float *x, size_t n)
{
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[top]) top = i;
    return (int32_t)top;
}

// With x = log p + Z_p and y = log q + Z_q the divergence is sum(p (x - y)) - Z_p + Z_q: two
// exponentials for each token of the vocabulary.
void qw_row_divergence_compute(qw_row_divergence *out, const float *reference, const float *other,
                               size_t n, int32_t token)
{
    int32_t top_p = top_of(reference, n), top_q = top_of(other, n);
    double max_p = reference[top_p], max_q = other[top_q], sum_p = 0, sum_q = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        double x = reference[i], y = other[i], p = exp(x - max_p);
        sum_p += p;
        sum_q += exp(y - max_q);
        sum += p * (x - y);
    }
    double z_p = max_p + log(sum_p), z_q = max_q + log(sum_q);
    double kl = sum / sum_p - z_p + z_q;
    *out = (qw_row_divergence){.kl = kl < 0 ? 0 : kl, // by rounding; NaN stays
                               .nll_reference = z_p - reference[token],
                               .nll_other = z_q - other[token],
                               .top_reference = top_p,
                               .top_other = top_q};
}

void qw_signal_add(qw_signal *s, const float *reference, const float *other, size_t n)
{
    double signal = 0, noise = 0;
    for (size_t i = 0; i < n; i++) {
        double x = reference[i], d = x - other[i];
        signal += x * x;
        noise += d * d;
    }
    s->signal += signal;
    s->noise += noise;
}

double qw_signal_db(const qw_signal *s)
{
    return s->noise > 0 ? 10 * log10(s->signal / s->noise) : INFINITY;
}
