#ifndef QW_QUANT_ROTATION_H
#define QW_QUANT_ROTATION_H

// Orthogonal matrices made of Hadamard matrices, applied without being formed
// (quantization.md 7.5).
#include "base/status.h"

/**
 * A Hadamard matrix of order n = pow2 * base_n: Sylvester's of order pow2, Kronecker a Paley matrix
 * of order base_n (1: none). Scaled by 1 / sqrt(n) it is orthogonal.
 */
typedef struct qw_hadamard {
    size_t n, pow2, base_n;
    int8_t *base; /* [base_n][base_n] of +1 and -1; NULL for base_n 1; owned */
    float scale;  /* 1 / sqrt(n) */
} qw_hadamard;

/** QW_ERR_UNSUPPORTED: no construction here gives order `n`. Release with qw_hadamard_release. */
QW_MUST_CHECK qw_status qw_hadamard_init(qw_hadamard *h, size_t n, qw_error *err);
void qw_hadamard_release(qw_hadamard *h);
/** x <- x * H / sqrt(n), a row of n values; `scratch` holds as many. */
void qw_hadamard_apply(const qw_hadamard *h, float *x, float *scratch);

/**
 * An orthogonal matrix: H / sqrt(n), or the Kronecker product of two of them; then a sign for each
 * column, if there are signs. All of it applies to rows from the right: x <- x * R. To apply the
 * transposed one from the left, R^T * W, apply it to the columns of W.
 */
typedef struct qw_rotation {
    size_t n;
    qw_hadamard left, right; /* left.n 0: only right; n = left.n * right.n else */
    float *signs;            /* [n] of +1 and -1, or NULL; owned */
} qw_rotation;

/** The seed of the residual stream's rotation, as msModelSlim's. */
#define QW_ROTATION_SEED 1234

/** Hadamard of order n, columns signed by `seed`; seed 0: not signed. */
QW_MUST_CHECK qw_status qw_rotation_init(qw_rotation *r, size_t n, uint64_t seed, qw_error *err);
/** left (Kronecker) right. */
QW_MUST_CHECK qw_status qw_rotation_init_kronecker(qw_rotation *r, size_t left, size_t right,
                                                   qw_error *err);
void qw_rotation_release(qw_rotation *r);
/** x <- x * R; `scratch` holds 2 * n values. */
void qw_rotation_apply(const qw_rotation *r, float *x, float *scratch);
/** H / sqrt(n) as a matrix: out[n][n]. */
void qw_hadamard_fill(const qw_hadamard *h, float *out);

/** The two orders that FlatQuant cuts `n` into (quantization.md 3.6): left <= right. */
QW_MUST_CHECK bool qw_kronecker_split(size_t n, size_t *left, size_t *right);

#endif
