#ifndef QW_BACKEND_CPU_LINEAR_PACK_H
#define QW_BACKEND_CPU_LINEAR_PACK_H

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "base/thread.h"

/**
 * Pack a planned product on the pool: into its arrays, which are zeroed memory, when `sink` is
 * NULL, else piece by piece into the sink. Pages of mapped sources are given back behind the
 * packer, so that source and result are never both in memory as a whole. Errors: no memory for the
 * threads' working space; the sink's errno; integer weights or static biases out of range.
 */
QW_MUST_CHECK qw_status qw_linear_pack_run(qw_thread_pool *pool, const qw_kernels *kernels,
                                           const qw_linear *w, const qw_linear_source *source,
                                           qw_linear_sink *sink, void *sink_ctx, qw_error *err);

/** Write all rows of a computed matrix to `out`, in its own dtype. */
void qw_linear_pack_rows(qw_thread_pool *pool, void *out, const qw_host_matrix *m);

#endif
