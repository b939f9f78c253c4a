#include "backend/backend.h"

#include "base/mem.h"

void qw_backend_close(qw_backend *be)
{
    if (be) be->close(be);
}

qw_dtype qw_linear_dtype(const qw_dtype *dtypes, int n_segments)
{
    for (int i = 1; i < n_segments; i++)
        if (dtypes[i] != dtypes[0]) return QW_DTYPE_F32;
    return dtypes[0];
}

bool qw_linear_bytes(size_t *out, const int *rows, const qw_dtype *dtypes, int n_segments, int k)
{
    qw_dtype dtype = qw_linear_dtype(dtypes, n_segments);
    size_t unit = dtype == QW_DTYPE_F32 ? 16 : 32;
    size_t kp = ((size_t)k + unit - 1) / unit * unit, panels = 0, size;
    for (int i = 0; i < n_segments; i++) panels += ((size_t)rows[i] + 15) / 16;
    if (!qw_mul_size(&size, panels * 16, kp)) return false;
    return qw_mul_size(out, size, (size_t)qw_dtype_bits(dtype) / 8);
}
