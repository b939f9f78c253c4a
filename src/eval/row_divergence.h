#ifndef QW_EVAL_ROW_DIVERGENCE_H
#define QW_EVAL_ROW_DIVERGENCE_H

#include "base/compiler.h"

/** How two models' predictions of one token differ. Natural logarithms. */
typedef struct qw_row_divergence {
    double kl; /* sum of p (log p - log q): p the reference's, q the other's */
    double nll_reference, nll_other;  /* -log of what they give the token that comes */
    int32_t top_reference, top_other; /* the likeliest token, the first of equals */
} qw_row_divergence;

/** From the logits [n] of both, in double. NaN or infinite logits make kl NaN. */
void qw_row_divergence_compute(qw_row_divergence *out, const float *reference, const float *other,
                               size_t n, int32_t token);

/** Energies, summed up. */
typedef struct qw_signal {
    double signal, noise;
} qw_signal;

/** Add a vector as it is in the reference, and as it is elsewhere. */
void qw_signal_add(qw_signal *s, const float *reference, const float *other, size_t n);
/** 10 log10(signal / noise); infinite when there is no noise. */
double qw_signal_db(const qw_signal *s);

#endif
