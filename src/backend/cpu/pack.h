#ifndef QW_BACKEND_CPU_PACK_H
#define QW_BACKEND_CPU_PACK_H

#include "backend/backend.h"

/** Where the panels of a product come from: one slot per panel, filled by qw_pack_plan. */
typedef struct qw_pack_source {
    const qw_host_matrix *matrix;
    int first_row; /* of the panel, in that matrix */
} qw_pack_source;

/** The source of panel `i` under `concat`. */
qw_pack_source qw_pack_source_of(const qw_host_matrix *segments, int n_segments, qw_concat concat,
                                 int i_panel);

/** Write one panel of `dtype` with kp columns; rows and columns beyond the matrix are zero. */
void qw_pack_panel(void *panel, qw_dtype dtype, int kp, qw_pack_source source);

#endif
