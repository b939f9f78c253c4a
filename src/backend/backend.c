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

// k of a panel is rounded up to whole panel rows, integers to whole blocks of 16 of them.
static size_t unit_of(qw_dtype dtype)
{
    if (dtype == QW_DTYPE_I8 || dtype == QW_DTYPE_I4) return 64;
    return dtype == QW_DTYPE_F32 ? 16 : 32;
}

bool qw_linear_bytes(size_t *out, const int *rows, const qw_dtype *dtypes, int n_segments, int k)
{
    qw_dtype dtype = qw_linear_dtype(dtypes, n_segments);
    size_t unit = unit_of(dtype);
    size_t kp = ((size_t)k + unit - 1) / unit * unit, panels = 0, size;
    for (int i = 0; i < n_segments; i++) panels += ((size_t)rows[i] + 15) / 16;
    if (!qw_mul_size(&size, panels * 16, kp)) return false;
    if (!qw_mul_size(&size, size, (size_t)qw_dtype_bits(dtype))) return false;
    *out = size / 8;
    return true;
}

void *qw_linear_part_data(const qw_linear *w, qw_linear_part part)
{
    switch (part) {
    case QW_LINEAR_BIAS: return w->bias;
    case QW_LINEAR_SCALES: return w->scales;
    case QW_LINEAR_GROUP_SCALES: return w->group_scales;
    case QW_LINEAR_STATIC_BIAS: return w->static_bias;
    case QW_LINEAR_TRANSFORMS: return w->transforms;
    default: return w->panels;
    }
}

void qw_linear_part_set(qw_linear *w, qw_linear_part part, void *data)
{
    switch (part) {
    case QW_LINEAR_BIAS: w->bias = data; break;
    case QW_LINEAR_SCALES: w->scales = data; break;
    case QW_LINEAR_GROUP_SCALES: w->group_scales = data; break;
    case QW_LINEAR_STATIC_BIAS: w->static_bias = data; break;
    case QW_LINEAR_TRANSFORMS: w->transforms = data; break;
    default: w->panels = data; break;
    }
}

size_t qw_linear_part_size(const qw_linear *w, qw_linear_part part)
{
    switch (part) {
    case QW_LINEAR_BIAS: return w->bias_size;
    case QW_LINEAR_SCALES: return w->scales_size;
    case QW_LINEAR_GROUP_SCALES: return w->group_scales_size;
    case QW_LINEAR_STATIC_BIAS: return w->static_bias_size;
    case QW_LINEAR_TRANSFORMS: return w->transforms_size;
    default: return w->size;
    }
}

size_t qw_linear_total_size(const qw_linear *w)
{
    size_t total = 0;
    for (int i = 0; i < QW_N_LINEAR_PARTS; i++) total += qw_linear_part_size(w, (qw_linear_part)i);
    return total;
}

size_t qw_linear_reserve_size(const qw_linear *w, int max_rows)
{
    if (w->input.kind == QW_INPUT_FLOAT) return 0;
    // A row: q as at most 16-bit integers, a gap against common cache sets, scale and sums.
    size_t n_sums = w->group > 0 ? (size_t)(w->k / w->group) : 1;
    return (size_t)max_rows * (2 * (size_t)w->kp + 64 + 4 + 4 * n_sums) + (size_t)3 * 64;
}

// The integer side of a plan; w.dtype, k and n_panels are known.
static qw_status plan_quant(qw_linear *w, const qw_quant_source *q, qw_error *err)
{
    enum {
        MAX_K = 131071,    /* of an int32 sum (cpu-kernels.md 6.4) */
        MAX_FLAT = 131072, /* floats of a transformed row that a device's scratch holds twice */
    };
    const qw_input_scheme *in = &q->input;
    if (w->k > MAX_K)
        return qw_fail(err, QW_ERR_UNSUPPORTED, "a product of integers with %d inputs, above %d",
                       w->k, MAX_K);
    if (q->group < 0 || q->group % 8 != 0 || (q->group > 0 && w->k % q->group != 0))
        return qw_fail(err, QW_ERR_FORMAT,
                       "groups of %d inputs, which should be a multiple of 8 and divide %d",
                       q->group, w->k);
    w->input = *in;
    w->group = q->group;
    size_t column_size = 16 * (size_t)w->n_panels * sizeof(float);
    w->scales_size = column_size;
    if (q->group > 0) w->group_scales_size = column_size * (size_t)(w->k / q->group);
    if (in->kind == QW_INPUT_STATIC8) w->static_bias_size = column_size;
    if (in->kind != QW_INPUT_FLAT4) return QW_OK;
    if (in->left < 1 || in->right < 1 || (int64_t)in->left * in->right != w->k ||
        (int64_t)in->left * (in->right + 15) > MAX_FLAT || q->left.rows != in->left ||
        q->left.cols != in->left ||
        (in->has_right && (q->right.rows != in->right || q->right.cols != in->right)))
        return qw_fail(err, QW_ERR_FORMAT,
                       "transforms of %d x %d and %d x %d, which do not make up %d inputs",
                       q->left.rows, q->left.cols, q->right.rows, q->right.cols, w->k);
    size_t right = in->has_right ? (size_t)in->right * (((size_t)in->right + 15) / 16 * 16) : 0;
    w->transforms_size = ((size_t)in->left * (size_t)in->left + right) * sizeof(float);
    return QW_OK;
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
        QW_ASSERT(!source->quant || source->segments[i].dtype == source->segments[0].dtype);
        rows[i] = source->segments[i].rows;
        dtypes[i] = source->segments[i].dtype;
        if (source->quant && source->quant->narrow) dtypes[i] = QW_DTYPE_I4;
        if (source->quant && source->quant->from_float) dtypes[i] = QW_DTYPE_I8;
        w.segment_column[i] = column;
        column += (rows[i] + 15) / 16 * 16;
        has_bias |= source->biases && qw_host_matrix_is_set(&source->biases[i]);
    }
    w.dtype = qw_linear_dtype(dtypes, source->n_segments);
    w.n_panels = column / 16;
    bool is_integer = w.dtype == QW_DTYPE_I8 || w.dtype == QW_DTYPE_I4;
    QW_ASSERT(is_integer == (source->quant != NULL));
    if (!qw_linear_bytes(&w.size, rows, dtypes, source->n_segments, w.k))
        return qw_fail(err, QW_ERR_NO_MEMORY, "a product of %d x %d does not fit in memory", column,
                       w.k);
    w.panel_size = w.size / (size_t)w.n_panels;
    w.kp = (int)(w.panel_size / 2 / (size_t)qw_dtype_bits(w.dtype)); // 16 rows, 8 bits a byte
    if (has_bias) w.bias_size = (size_t)column * sizeof(float);
    qw_status st = source->quant ? plan_quant(&w, source->quant, err) : QW_OK;
    if (st == QW_OK) *out = w;
    return st;
}
