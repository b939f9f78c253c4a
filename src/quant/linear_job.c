#include "quant/linear_job.h"

#include <math.h>

#include "base/mem.h"

static const char *const target_names[QW_N_TARGETS] = {
    [QW_TARGET_FLOAT] = "FLOAT",
    [QW_TARGET_W8A8] = "W8A8",
    [QW_TARGET_W8A8_DYNAMIC] = "W8A8_DYNAMIC",
    [QW_TARGET_W8A8_MIX] = "W8A8_MIX",
    [QW_TARGET_W8A16] = "W8A16",
    [QW_TARGET_W4A8] = "W4A8_DYNAMIC",
    [QW_TARGET_W4A4] = "W4A4_DYNAMIC",
    [QW_TARGET_FLATQUANT] = "W4A4_FLATQUANT_DYNAMIC",
};

const char *qw_target_name(qw_target t)
{
    return target_names[t];
}

bool qw_target_from_name(qw_target *out, qw_str name)
{
    for (int t = 0; t < QW_N_TARGETS; t++)
        if (qw_str_is(name, target_names[t])) {
            *out = (qw_target)t;
            return true;
        }
    return false;
}

int qw_target_bits(qw_target t)
{
    if (t == QW_TARGET_FLOAT) return 0;
    return t == QW_TARGET_W4A8 || t == QW_TARGET_W4A4 || t == QW_TARGET_FLATQUANT ? 4 : 8;
}

bool qw_target_is_static(qw_target t)
{
    return t == QW_TARGET_W8A8 || t == QW_TARGET_W8A8_MIX;
}

// Elements

void qw_tensor_widen(float *out, const qw_stored_tensor *t, size_t first, size_t n)
{
    if (t->dtype == QW_DTYPE_F32) {
        memcpy(out, t->data + first * 4, n * 4);
        return;
    }
    const uint8_t *p = t->data + first * 2; // may lie at an odd address
    for (size_t k = 0; k < n; k++) {
        uint16_t h;
        memcpy(&h, p + 2 * k, 2);
        out[k] = t->dtype == QW_DTYPE_BF16 ? qw_bf16_to_f32(h) : qw_f16_to_f32(h);
    }
}

// Round to nearest even; finite values beyond the range become infinite.
static uint16_t f32_to_f16(float x)
{
    uint32_t u = qw_f32_bits(x), sign = u >> 16 & 0x8000u, m = u & 0x7FFFFFFFu;
    if (m > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (m >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); // 65520 and more
    if (m < 0x38800000u) {                                   // subnormal: counted in steps of 2^-24
        float steps = (qw_f32_from_bits(m) * 0x1p24f + 0x1.8p23f) - 0x1.8p23f;
        return (uint16_t)(sign | (uint32_t)steps);
    }
    return (uint16_t)(sign | (m - 0x38000000u + 0xFFFu + (m >> 13 & 1)) >> 13);
}

void qw_tensor_narrow(void *out, qw_dtype dtype, const float *x, size_t n)
{
    if (dtype == QW_DTYPE_F32) {
        memcpy(out, x, n * 4);
        return;
    }
    uint16_t *h = out;
    if (dtype == QW_DTYPE_BF16)
        for (size_t k = 0; k < n; k++) h[k] = qw_f32_to_bf16(x[k]);
    else
        for (size_t k = 0; k < n; k++) h[k] = f32_to_f16(x[k]);
}

// One run: rows first .. first + n_rows - 1 at a time

enum { ROW_GRAIN = 8, COLUMN_GRAIN = 16 };
static const size_t chunk_elements = (size_t)1 << 21;

typedef struct run {
    const qw_linear_job *job;
    qw_linear_rows *rows;
    size_t first, n_rows;
    float *matrix;  /* [n_rows][in] */
    int8_t *q;      /* [n_rows][in] */
    uint8_t *bytes; /* of the file; `q` itself where they are the same */
    float *scratch; /* [threads][scratch_stride] */
    size_t scratch_stride;
    uint32_t bad; /* atomic, relaxed: set when a weight is not finite */
} run;

static void rotate_segments(const qw_rotation *r, float *x, size_t n, float *scratch)
{
    for (size_t k = 0; k < n; k += r->n) qw_rotation_apply(r, x + k, scratch);
}

static void load_rows(void *ctx, size_t begin, size_t end, int i_thread)
{
    run *t = ctx;
    const qw_linear_job *j = t->job;
    float *scratch = t->scratch + (size_t)i_thread * t->scratch_stride;
    for (size_t i = begin; i < end; i++) {
        size_t r = t->first + i;
        float *row = t->matrix + i * j->in;
        qw_tensor_widen(row, j->weight, r * j->in, j->in);
        if (!(qw_row_amax(row, j->in) < (float)INFINITY))
            __atomic_store_n(&t->bad, 1, __ATOMIC_RELAXED);
        if (j->row_factor)
            for (size_t k = 0; k < j->in; k++) row[k] *= j->row_factor[r];
        if (j->col_factor)
            for (size_t k = 0; k < j->in; k++) row[k] *= j->col_factor[k];
        if (j->in_rotation) rotate_segments(j->in_rotation, row, j->in, scratch);
    }
}

// Columns in blocks, so that a cache line of a row is read once.
static void rotate_columns(void *ctx, size_t begin, size_t end, int i_thread)
{
    run *t = ctx;
    const qw_linear_job *j = t->job;
    float *scratch = t->scratch + (size_t)i_thread * t->scratch_stride;
    float *columns = scratch + 2 * (j->in > j->out ? j->in : j->out);
    size_t n = end - begin;
    for (size_t r = 0; r < j->out; r++)
        for (size_t c = 0; c < n; c++) columns[c * j->out + r] = t->matrix[r * j->in + begin + c];
    for (size_t c = 0; c < n; c++)
        rotate_segments(j->out_rotation, columns + c * j->out, j->out, scratch);
    for (size_t r = 0; r < j->out; r++)
        for (size_t c = 0; c < n; c++) t->matrix[r * j->in + begin + c] = columns[c * j->out + r];
}

static void round_row(run *t, size_t i, float *scratch)
{
    const qw_linear_job *j = t->job;
    size_t r = t->first + i, n = j->in;
    const float *row = t->matrix + i * n;
    int8_t *q = t->q + i * n;
    float *second = NULL;
    if (j->group > 0) {
        second = t->rows->second + r * (n / j->group);
        qw_row_quantize_two_level(q, &t->rows->scale[r], second, row, n, j->group, j->method,
                                  scratch);
    } else {
        t->rows->scale[r] = qw_row_quantize(q, row, n, qw_target_bits(j->target), j->method);
    }
    if (j->target == QW_TARGET_W4A8)
        qw_int4_scale_bias(t->rows->scale_bias + r * j->n_slices, j->n_slices, q, n,
                           t->rows->scale[r], second, j->group);
    int64_t sum = 0;
    for (size_t k = 0; k < n; k++) sum += q[k];
    t->rows->sum[r] = sum;
}

static void finish_rows(void *ctx, size_t begin, size_t end, int i_thread)
{
    run *t = ctx;
    const qw_linear_job *j = t->job;
    float *scratch = t->scratch + (size_t)i_thread * t->scratch_stride;
    if (j->target == QW_TARGET_FLOAT) {
        size_t size = (size_t)qw_dtype_bits(j->float_dtype) / 8;
        qw_tensor_narrow(t->bytes + begin * j->in * size, j->float_dtype, t->matrix + begin * j->in,
                         (end - begin) * j->in);
        return;
    }
    for (size_t i = begin; i < end; i++) round_row(t, i, scratch);
    if (j->target != QW_TARGET_W4A8) return;
    for (size_t i = begin; i + 1 < end; i += 2) // ranges begin at even rows
        qw_int4_pack_rows((int8_t *)t->bytes + i / 2 * j->in, t->q + i * j->in,
                          t->q + (i + 1) * j->in, j->in);
}

static size_t bytes_of(const qw_linear_job *j, size_t n_rows)
{
    if (j->target == QW_TARGET_FLOAT)
        return n_rows * j->in * (size_t)(qw_dtype_bits(j->float_dtype) / 8);
    return j->target == QW_TARGET_W4A8 ? n_rows / 2 * j->in : n_rows * j->in;
}

static qw_status run_chunk(run *t, qw_thread_pool *pool, qw_linear_job_sink *sink, void *sink_ctx,
                           qw_error *err)
{
    const qw_linear_job *j = t->job;
    qw_thread_pool_for(pool, t->n_rows, ROW_GRAIN, load_rows, t);
    if (t->bad)
        return qw_fail(err, QW_ERR_FORMAT, "tensor '%s' holds a NaN or an infinity",
                       j->weight->name);
    if (j->out_rotation) qw_thread_pool_for(pool, j->in, COLUMN_GRAIN, rotate_columns, t);
    qw_thread_pool_for(pool, t->n_rows, ROW_GRAIN, finish_rows, t);
    return sink(sink_ctx, bytes_of(j, t->first), t->bytes, bytes_of(j, t->n_rows), err);
}

static size_t rows_per_chunk(const qw_linear_job *j)
{
    size_t n = chunk_elements / (j->in > 0 ? j->in : 1) / ROW_GRAIN * ROW_GRAIN;
    if (n < ROW_GRAIN) n = ROW_GRAIN;
    return j->out_rotation || n > j->out ? j->out : n;
}

qw_status qw_linear_job_run(const qw_linear_job *job, qw_thread_pool *pool, qw_linear_rows *rows,
                            qw_linear_job_sink *sink, void *sink_ctx, qw_error *err)
{
    run t = {.job = job, .rows = rows};
    size_t chunk = rows_per_chunk(job), widest = job->in > job->out ? job->in : job->out;
    size_t n_elements, n_scratch, threads = (size_t)qw_thread_pool_size(pool);
    bool is_float = job->target == QW_TARGET_FLOAT, is_packed = job->target == QW_TARGET_W4A8;
    t.scratch_stride = 2 * widest + (job->out_rotation ? COLUMN_GRAIN * job->out : 0);
    if (!qw_mul_size(&n_elements, chunk, job->in) ||
        !qw_mul_size(&n_scratch, threads, t.scratch_stride))
        return qw_fail(err, QW_ERR_NO_MEMORY, "tensor '%s' is larger than any memory",
                       job->weight->name);
    qw_status st = QW_OK;
    t.matrix = qw_mem_array(n_elements, sizeof *t.matrix);
    t.scratch = qw_mem_array(n_scratch, sizeof *t.scratch);
    if (!is_float) t.q = qw_mem_alloc(n_elements);
    if (is_float || is_packed) t.bytes = qw_mem_alloc(bytes_of(job, chunk));
    if (!t.matrix || !t.scratch || (!is_float && !t.q) || ((is_float || is_packed) && !t.bytes))
        st = qw_fail_memory(err, n_elements * sizeof *t.matrix, "a matrix to quantize");
    if (st == QW_OK && !t.bytes) t.bytes = (uint8_t *)t.q;
    for (size_t first = 0; first < job->out && st == QW_OK; first += chunk) {
        t.first = first;
        t.n_rows = job->out - first < chunk ? job->out - first : chunk;
        st = run_chunk(&t, pool, sink, sink_ctx, err);
    }
    if (t.bytes != (uint8_t *)t.q) qw_mem_free(t.bytes);
    qw_mem_free(t.q);
    qw_mem_free(t.scratch);
    qw_mem_free(t.matrix);
    return st;
}

// Largest magnitudes of columns

typedef struct column_scan {
    float *max;
    const qw_stored_tensor *weight;
    size_t out, in;
    const float *row_factor;
} column_scan;

static void scan_columns(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const column_scan *s = ctx;
    float piece[256];
    for (size_t r = 0; r < s->out; r++) {
        float f = s->row_factor ? s->row_factor[r] : 1.0f;
        for (size_t k = begin; k < end; k += QW_ARRAY_LEN(piece)) {
            size_t n = end - k < QW_ARRAY_LEN(piece) ? end - k : QW_ARRAY_LEN(piece);
            qw_tensor_widen(piece, s->weight, r * s->in + k, n);
            for (size_t i = 0; i < n; i++) {
                float v = piece[i] * f;
                v = v < 0 ? -v : v;
                s->max[k + i] = v > s->max[k + i] ? v : s->max[k + i];
            }
        }
    }
}

void qw_column_amax(float *max, const qw_stored_tensor *weight, size_t out, size_t in,
                    const float *row_factor, qw_thread_pool *pool)
{
    column_scan s = {max, weight, out, in, row_factor};
    qw_thread_pool_for(pool, in, 256, scan_columns, &s);
}
