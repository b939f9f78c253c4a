#include "backend/cpu/linear_pack.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "backend/cpu/pack.h"
#include "base/mem.h"

enum {
    SLAB_SIZE = 16 << 20,   /* bytes of panels between two releases of source pages */
    PIECE_SIZE = 256 << 10, /* about the bytes that a thread packs at a time: stay in its cache */
};

typedef struct job {
    const qw_kernels *kernels;
    const qw_linear *w;
    const qw_linear_source *source;
    qw_linear_sink *sink;
    void *sink_ctx;
    uint8_t *space; /* [n_threads][panel_space + row_space]; NULL: none is needed */
    size_t panel_space, row_space;
    bool from_float;        /* rows become integers, and their scales are made */
    size_t grain;           /* panels of a piece */
    int first_panel;        /* of the slab */
    atomic_int failure;     /* errno of the first sink that failed */
    atomic_bool is_outside; /* an element of I8 does not fit I4 */
} job;

static size_t element_size(qw_dtype t)
{
    return (size_t)qw_dtype_bits(t) / 8;
}

static qw_pack_source source_of(const job *j, int i_panel)
{
    return qw_pack_source_of(j->source->segments, j->w->n_segments, j->source->concat, i_panel);
}

// Rows that are computed exist only here, 16 at a time.
static bool pack_computed(const job *j, void *panel, qw_pack_source src, uint8_t *rows)
{
    const qw_host_matrix *m = src.matrix;
    size_t row_size = (size_t)m->cols * element_size(m->dtype);
    qw_host_matrix part = {.data = rows, .dtype = m->dtype, .cols = m->cols};
    part.rows = m->rows - src.first_row < 16 ? m->rows - src.first_row : 16;
    for (int l = 0; l < part.rows; l++)
        m->row(m->row_ctx, rows + (size_t)l * row_size, (size_t)(src.first_row + l), 0,
               (size_t)m->cols);
    return qw_pack_panel(panel, j->w->dtype, j->w->kp, (qw_pack_source){&part, 0}, !j->sink);
}

// Rows of floats become integers here; their scales go to `scales`, one for each column.
static bool pack_quantized(const job *j, void *panel, float *scales, qw_pack_source src,
                           uint8_t *space)
{
    const qw_linear *w = j->w;
    const qw_host_matrix *m = src.matrix;
    const qw_input_scheme scheme = {.kind = QW_INPUT_TOKEN8};
    const size_t kp = (size_t)w->kp;
    float *row = (float *)(void *)space;
    int8_t *q = (int8_t *)(space + kp * sizeof *row);
    uint8_t *computed = (uint8_t *)q + 16 * kp;
    qw_host_matrix part = {.data = q, .dtype = QW_DTYPE_I8, .cols = w->kp};
    part.rows = m->rows - src.first_row < 16 ? m->rows - src.first_row : 16;
    memset(scales, 0, 16 * sizeof *scales);
    for (int l = 0; l < part.rows; l++) {
        size_t i_row = (size_t)(src.first_row + l);
        qw_host_matrix one = {.data = computed, .dtype = m->dtype, .rows = 1, .cols = m->cols};
        if (!m->data) m->row(m->row_ctx, computed, i_row, 0, (size_t)m->cols);
        qw_host_matrix_row(row, m->data ? m : &one, m->data ? i_row : 0);
        int32_t sum;
        qw_quantized_row out = {.q = q + (size_t)l * kp, .sums = &sum};
        j->kernels->quantize(&out, row, w->k, w->kp, 0, &scheme);
        scales[l] = out.scale;
    }
    return qw_pack_panel(panel, QW_DTYPE_I8, w->kp, (qw_pack_source){&part, 0}, !j->sink);
}

// Bytes that a thread needs for the rows of a panel.
static size_t row_space_of(const job *j)
{
    size_t k = (size_t)j->w->k, kp = (size_t)j->w->kp, size = 0;
    for (int s = 0; s < j->w->n_segments; s++)
        if (!j->source->segments[s].data) size = 16 * k * sizeof(float);
    if (j->from_float) size = kp * sizeof(float) + 16 * kp + k * sizeof(float);
    return (size + 63) / 64 * 64;
}

static void fail(job *j, int failure)
{
    int none = 0;
    if (failure != 0) atomic_compare_exchange_strong(&j->failure, &none, failure);
}

static void pack_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    job *j = ctx;
    const qw_linear *w = j->w;
    uint8_t *space = j->space + (size_t)i_thread * (j->panel_space + j->row_space);
    for (size_t i = begin; i < end; i++) {
        size_t i_panel = (size_t)j->first_panel + i, offset = i_panel * w->panel_size;
        void *panel = j->sink ? space + (i - begin) * w->panel_size : (uint8_t *)w->panels + offset;
        qw_pack_source src = source_of(j, (int)i_panel);
        bool fits = true;
        float scales[16];
        if (j->from_float)
            pack_quantized(j, panel, j->sink ? scales : w->scales + 16 * i_panel, src,
                           space + j->panel_space);
        else
            fits = src.matrix->data ? qw_pack_panel(panel, w->dtype, w->kp, src, !j->sink)
                                    : pack_computed(j, panel, src, space + j->panel_space);
        if (!fits) atomic_store(&j->is_outside, true);
        if (j->from_float && j->sink)
            fail(j, j->sink(j->sink_ctx, QW_LINEAR_SCALES, i_panel * sizeof scales, scales,
                            sizeof scales));
    }
    if (!j->sink || atomic_load(&j->failure) != 0) return;
    fail(j, j->sink(j->sink_ctx, QW_LINEAR_PANELS, ((size_t)j->first_panel + begin) * w->panel_size,
                    space, (end - begin) * w->panel_size));
}

// The pages that panels first .. last - 1 were read from. A page that is dropped too early is
// read again from the page cache.
static void release_sources(const job *j, int first, int last)
{
    const size_t page = 4096;
    for (int s = 0; s < j->w->n_segments; s++) {
        const qw_host_matrix *m = &j->source->segments[s];
        if (!m->is_file) continue;
        int from = INT32_MAX, to = 0;
        for (int p = first; p < last; p++) {
            qw_pack_source src = source_of(j, p);
            if (src.matrix != m) continue;
            if (src.first_row < from) from = src.first_row;
            if (src.first_row + 16 > to) to = src.first_row + 16;
        }
        if (to > m->rows) to = m->rows;
        if (from >= to) continue;
        uintptr_t begin = (uintptr_t)m->data + qw_host_matrix_rows_size(m, (size_t)from);
        uintptr_t end = (uintptr_t)m->data + qw_host_matrix_rows_size(m, (size_t)to);
        begin -= begin % page;
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED); // a failure costs only memory
    }
}

// The small arrays beside the panels.

// Where element (row, col) of each segment's matrix goes: column 16 p + l of its panel.
typedef struct side {
    const qw_linear *w;
    const qw_linear_source *source;
    const qw_host_matrix *matrices; /* [n_segments]; NULL: none is set */
} side;

// One value per output: matrices of [1][rows].
static void fill_columns(float *out, const side *s, float missing)
{
    const qw_linear *w = s->w;
    for (int p = 0; p < w->n_panels; p++) {
        qw_pack_source src =
            qw_pack_source_of(s->source->segments, w->n_segments, s->source->concat, p);
        const qw_host_matrix *m =
            s->matrices ? &s->matrices[src.matrix - s->source->segments] : NULL;
        bool is_set = m && qw_host_matrix_is_set(m);
        for (int l = 0; l < 16; l++) {
            int row = src.first_row + l;
            bool inside = row < src.matrix->rows;
            out[16 * p + l] = !inside  ? 0.0f
                              : is_set ? qw_host_matrix_at(m, 0, (size_t)row)
                                       : missing;
        }
    }
}

// Matrices of [rows][k / group]: out [panel][group][16].
static void fill_group_scales(float *out, const side *s)
{
    const qw_linear *w = s->w;
    const int n_groups = w->k / w->group;
    for (int p = 0; p < w->n_panels; p++) {
        qw_pack_source src =
            qw_pack_source_of(s->source->segments, w->n_segments, s->source->concat, p);
        const qw_host_matrix *m = &s->matrices[src.matrix - s->source->segments];
        for (int l = 0; l < 16 && src.first_row + l < src.matrix->rows; l++)
            for (int g = 0; g < n_groups; g++)
                out[((size_t)p * (size_t)n_groups + (size_t)g) * 16 + (size_t)l] =
                    qw_host_matrix_at(m, (size_t)(src.first_row + l), (size_t)g);
    }
}

// Sums of static products stay inside of int32 (cpu-kernels.md 6.4).
static qw_status fill_static_bias(int32_t *out, const side *s, qw_error *err)
{
    const qw_linear *w = s->w;
    const int64_t limit = INT32_MAX - (int64_t)16384 * w->k;
    for (int p = 0; p < w->n_panels && s->matrices; p++) {
        qw_pack_source src =
            qw_pack_source_of(s->source->segments, w->n_segments, s->source->concat, p);
        const qw_host_matrix *m = &s->matrices[src.matrix - s->source->segments];
        if (!m->data) continue;
        for (int l = 0; l < 16 && src.first_row + l < src.matrix->rows; l++) {
            int32_t value;
            memcpy(&value, (const uint8_t *)m->data + 4 * (size_t)(src.first_row + l), 4);
            if (value > limit || value < -limit)
                return qw_fail(err, QW_ERR_FORMAT,
                               "the static bias %d of output %d is too large for %d inputs", value,
                               src.first_row + l, w->k);
            out[16 * p + l] = value;
        }
    }
    return QW_OK;
}

static void fill_transforms(float *out, const qw_linear *w, const qw_quant_source *q)
{
    const size_t left = (size_t)w->input.left, right = (size_t)w->input.right;
    const size_t right_stride = (right + 15) / 16 * 16;
    for (size_t i = 0; i < left; i++)
        for (size_t j = 0; j < left; j++) *out++ = qw_host_matrix_at(&q->left, i, j);
    for (size_t i = 0; i < right && w->input.has_right; i++)
        for (size_t j = 0; j < right_stride; j++)
            *out++ = j < right ? qw_host_matrix_at(&q->right, i, j) : 0.0f;
}

static qw_status fill_part(void *out, qw_linear_part part, const job *j, qw_error *err)
{
    const qw_quant_source *q = j->source->quant;
    side s = {j->w, j->source, NULL};
    switch (part) {
    case QW_LINEAR_BIAS:
        s.matrices = j->source->biases;
        fill_columns(out, &s, 0.0f);
        return QW_OK;
    case QW_LINEAR_SCALES:
        s.matrices = q->scales;
        fill_columns(out, &s, 1.0f);
        return QW_OK;
    case QW_LINEAR_GROUP_SCALES:
        s.matrices = q->group_scales;
        fill_group_scales(out, &s);
        return QW_OK;
    case QW_LINEAR_STATIC_BIAS:
        s.matrices = q->static_biases;
        return fill_static_bias(out, &s, err);
    default: fill_transforms(out, j->w, q); return QW_OK;
    }
}

// All arrays but the panels.
static qw_status pack_parts(const job *j, qw_error *err)
{
    const qw_linear *w = j->w;
    qw_status st = QW_OK;
    for (int i = QW_LINEAR_PANELS + 1; i < QW_N_LINEAR_PARTS && st == QW_OK; i++) {
        qw_linear_part part = (qw_linear_part)i;
        size_t size = qw_linear_part_size(w, part);
        if (size == 0 || (j->from_float && part == QW_LINEAR_SCALES)) continue;
        if (!j->sink) {
            st = fill_part(qw_linear_part_data(w, part), part, j, err);
            continue;
        }
        void *out = qw_mem_calloc(1, size);
        if (!out) return qw_fail_memory(err, size, "scales and biases");
        st = fill_part(out, part, j, err);
        int failure = st == QW_OK ? j->sink(j->sink_ctx, part, 0, out, size) : 0;
        qw_mem_free(out);
        if (failure != 0)
            st = qw_fail(err, QW_ERR_IO, "cannot write a bias: %s", strerror(failure));
    }
    return st;
}

qw_status qw_linear_pack_run(qw_thread_pool *pool, const qw_kernels *kernels, const qw_linear *w,
                             const qw_linear_source *source, qw_linear_sink *sink, void *sink_ctx,
                             qw_error *err)
{
    job j = {.kernels = kernels, .w = w, .source = source, .sink = sink, .sink_ctx = sink_ctx};
    j.from_float = source->quant && source->quant->from_float;
    j.grain = w->panel_size < PIECE_SIZE ? PIECE_SIZE / w->panel_size : 1;
    if (sink) j.panel_space = j.grain * w->panel_size;
    j.row_space = row_space_of(&j);
    size_t n_threads = (size_t)qw_thread_pool_size(pool);
    size_t space_size = n_threads * (j.panel_space + j.row_space);
    if (space_size > 0) {
        j.space = qw_mem_map(space_size, 4096); // until return
        if (!j.space) return qw_fail_memory(err, space_size, "packing");
    }
    qw_status st = pack_parts(&j, err);
    size_t per_slab = SLAB_SIZE / w->panel_size;
    if (per_slab < j.grain * n_threads) per_slab = j.grain * n_threads;
    while (st == QW_OK && j.first_panel < w->n_panels) {
        size_t n = (size_t)(w->n_panels - j.first_panel);
        if (n > per_slab) n = per_slab;
        qw_thread_pool_for(pool, n, j.grain, pack_items, &j);
        release_sources(&j, j.first_panel, j.first_panel + (int)n);
        j.first_panel += (int)n;
        int failure = atomic_load(&j.failure);
        if (failure != 0)
            st = qw_fail(err, QW_ERR_IO, "cannot write packed weights: %s", strerror(failure));
        else if (atomic_load(&j.is_outside))
            st = qw_fail(err, QW_ERR_FORMAT, "weights of 4 bits lie outside of -8 .. 7");
    }
    qw_mem_unmap(j.space, space_size);
    return st;
}

typedef struct rows_job {
    uint8_t *out;
    const qw_host_matrix *m;
} rows_job;

static void rows_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const rows_job *j = ctx;
    size_t row_size = (size_t)j->m->cols * element_size(j->m->dtype);
    for (size_t i = begin; i < end; i++)
        j->m->row(j->m->row_ctx, j->out + i * row_size, i, 0, (size_t)j->m->cols);
}

void qw_linear_pack_rows(qw_thread_pool *pool, void *out, const qw_host_matrix *m)
{
    rows_job j = {out, m};
    qw_thread_pool_for(pool, (size_t)m->rows, 64, rows_items, &j);
}
