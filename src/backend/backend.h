#ifndef QW_BACKEND_BACKEND_H
#define QW_BACKEND_BACKEND_H

#include "backend/ops.h"

/** A device: its operations, and the memory that weights and buffers live in. */
struct qw_backend {
    const qw_ops *ops;
    const char *isa; /* "ref", "avx2", ...: what the start-up table prints */
    int n_threads;
    /** Pack `n_segments` matrices of equal width (1 to 3) into panels; biases[i] is [rows] F32, F16
     *  or BF16 or has data == NULL; `biases` NULL: none. Sources are not needed afterwards. */
    qw_status (*linear_pack)(qw_backend *be, qw_linear *out, const qw_host_matrix *segments,
                             const qw_host_matrix *biases, int n_segments, qw_concat concat,
                             qw_error *err);
    void (*linear_release)(qw_backend *be, qw_linear *w);
    void (*close)(qw_backend *be);
};

/** Options of qw_backend_open_cpu. */
typedef struct qw_cpu_options {
    int n_threads;   /* 0: one per usable physical core */
    const char *isa; /* "auto" or NULL: the best this CPU has; "ref", "avx2", ... */
} qw_cpu_options;

/** The CPU device. Close with qw_backend_close. */
QW_MUST_CHECK qw_status qw_backend_open_cpu(qw_backend **out, const qw_cpu_options *options,
                                            qw_error *err);
void qw_backend_close(qw_backend *be);

/** Bytes that linear_pack will take for these shapes (panels only), before any file is read. */
QW_MUST_CHECK bool qw_linear_bytes(size_t *out, const int *rows, const qw_dtype *dtypes,
                                   int n_segments, int k);
/** The panel dtype for these sources: theirs when they agree, else F32 (widening is exact). */
qw_dtype qw_linear_dtype(const qw_dtype *dtypes, int n_segments);

#endif
