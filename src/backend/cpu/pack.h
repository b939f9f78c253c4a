#ifndef QW_BACKEND_CPU_PACK_H
#define QW_BACKEND_CPU_PACK_H

#include "backend/backend.h"

/** Where the panels of a product come from: rows first_row .. first_row + 15. */
typedef struct qw_pack_source {
    const qw_host_matrix *matrix;
    int first_row; /* of the panel, in that matrix */
} qw_pack_source;

/** The source of panel `i` under `concat`. */
qw_pack_source qw_pack_source_of(const qw_host_matrix *segments, int n_segments, qw_concat concat,
                                 int i_panel);

/** A whole row of an F32, F16 or BF16 matrix, widened to fp32: m->cols values. */
void qw_host_matrix_row(float *y, const qw_host_matrix *m, size_t row);

/** Bytes of the first n rows of a matrix in memory. */
size_t qw_host_matrix_rows_size(const qw_host_matrix *m, size_t n);

/**
 * Write one panel of `dtype` with kp columns, 64-byte aligned; rows and columns beyond the matrix
 * are zero, as integer codes 128 and 8. `stream`: the panel is read much later, so write past the
 * caches, without reading them first. False: I8 elements that should become I4 are outside of
 * -8 .. 7; what was written is of no use.
 */
QW_MUST_CHECK bool qw_pack_panel(void *panel, qw_dtype dtype, int kp, qw_pack_source source,
                                 bool stream);

#endif
