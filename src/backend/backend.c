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

qw_status qw_linear_plan(qw_linear *out, const qw_linear_source *source, qw_error *err)
{
    int rows[3], column = 0;
    qw_dtype dtypes[3];
    bool has_bias = false;
    QW_ASSERT(source->n_segments >= 1 && source->n_segments <= 3);
    qw_linear w = {.k = source->segments[0].cols, .n_segments = source->n_segments};
    for (int i = 0; i < source->n_segments; i++) {
        QW_ASSERT(source->segments[i].cols == w.k);
        rows[i] = source->segments[i].rows;
        dtypes[i] = source->segments[i].dtype;
        w.segment_column[i] = column;
        column += (rows[i] + 15) / 16 * 16;
        has_bias |= source->biases && qw_host_matrix_is_set(&source->biases[i]);
    }
    w.dtype = qw_linear_dtype(dtypes, source->n_segments);
    w.n_panels = column / 16;
    if (!qw_linear_bytes(&w.size, rows, dtypes, source->n_segments, w.k))
        return qw_fail(err, QW_ERR_NO_MEMORY, "a product of %d x %d does not fit in memory", column,
                       w.k);
    w.panel_size = w.size / (size_t)w.n_panels;
    w.kp = (int)(w.panel_size / 16 / ((size_t)qw_dtype_bits(w.dtype) / 8));
    if (has_bias) w.bias_size = (size_t)column * sizeof(float);
    *out = w;
    return QW_OK;
}
