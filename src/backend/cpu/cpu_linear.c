// Products on CPU: panel groups are the items, and each output is computed whole by one thread
// (cpu-kernels.md 4). A product that quantizes its input does so first, row by row, into the
// device's memory for it; rows may be made of others on that way.

#include "backend/cpu/cpu_linear.h"

// The sums of a row become floats.
static void dequantize(const cpu_linear_job *job, float *t, size_t first, int n, size_t row)
{
    const qw_kernels *k = &job->device->kernels;
    const qw_linear *w = job->w;
    float xs = job->gemm_int ? job->row_scales[row] : 1.0f;
    if (job->gemm_int && w->group == 0)
        k->dequant(t, (const int32_t *)(const void *)t,
                   w->static_bias ? w->static_bias + first : NULL, w->scales + first, xs, n);
    else
        k->scale(t, w->scales + first, xs, n);
}

// With 4-bit inputs the bias is added to a rounded sum, in the same type (cpu-kernels.md 3.6).
static void add_bias(const cpu_linear_job *job, float *t, size_t first, int n)
{
    const float *bias = job->w->bias + first;
    qw_input_kind kind = job->w->input.kind;
    if (job->round && (kind == QW_INPUT_TOKEN4 || kind == QW_INPUT_FLAT4)) {
        for (int i = 0; i < n; i++) t[i] = qw_round_bf16(t[i]) + qw_round_bf16(bias[i]);
        return;
    }
    for (int i = 0; i < n; i++) t[i] += bias[i];
}

static void linear_epilogue(const cpu_linear_job *job, float *t, int first_panel, int n_panels,
                            size_t row)
{
    const qw_kernels *k = &job->device->kernels;
    const size_t first = 16 * (size_t)first_panel;
    int n = 16 * n_panels;
    float *y = job->y + row * job->y_stride;
    if (!job->gemm) dequantize(job, t, first, n, row);
    if (job->w->bias) add_bias(job, t, first, n);
    switch (job->epilogue) {
    case QW_EPILOGUE_STORE: k->store(y + first, t, n, job->round); break;
    case QW_EPILOGUE_RESIDUAL: k->residual(y + first, t, n, job->round); break;
    case QW_EPILOGUE_SILU_MUL:
        for (int p = 0; p < n_panels; p += 2)
            k->silu_mul(y + 8 * (size_t)(first_panel + p), t + 16 * p, t + 16 * p + 16, 16,
                        job->round);
        break;
    }
}

static void integer_product(const cpu_linear_job *job, float *c, const void *panels, int first,
                            int n_panels, size_t m0, int n_rows)
{
    const qw_linear *w = job->w;
    qw_int_tile tile = {
        .c = c,
        .c_stride = 16 * CPU_GROUP_PANELS,
        .w = panels,
        .n_panels = n_panels,
        .k = w->k,
        .kp = w->kp,
        .n_rows = n_rows,
        .group = w->group,
    };
    if (w->group > 0)
        tile.group_scales = w->group_scales + (size_t)first * 16 * (size_t)(w->k / w->group);
    if (job->gemm_int) {
        tile.x = job->rows;
        tile.x.q = (const uint8_t *)job->rows.q + m0 * job->rows.stride;
        tile.x.sums += m0 * (size_t)job->rows.n_sums;
        job->gemm_int(&tile);
    } else {
        tile.x_f32 = job->x + m0 * job->x_stride;
        tile.x_stride = job->x_stride;
        job->gemm_widened(&tile);
    }
}

void qw_cpu_linear_group(const cpu_linear_job *job, size_t group, size_t n_rows, int i_thread)
{
    const size_t c_stride = 16 * CPU_GROUP_PANELS;
    float *c = cpu_scratch(job->device, i_thread);
    int first = (int)group * CPU_GROUP_PANELS;
    int n_panels = cpu_min(CPU_GROUP_PANELS, job->w->n_panels - first);
    const uint8_t *panels = (const uint8_t *)job->w->panels + (size_t)first * job->w->panel_size;
    for (size_t m0 = 0; m0 < n_rows; m0 += CPU_MAX_ROWS) {
        size_t n = n_rows - m0 < CPU_MAX_ROWS ? n_rows - m0 : CPU_MAX_ROWS;
        if (job->gemm)
            job->gemm(c, c_stride, panels, n_panels, job->x + m0 * job->x_stride, job->x_stride,
                      (int)n, job->w->kp);
        else
            integer_product(job, c, panels, first, n_panels, m0, (int)n);
        for (size_t m = 0; m < n; m++)
            linear_epilogue(job, c + m * c_stride, first, n_panels, m0 + m);
    }
}

static void linear_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    const cpu_linear_job *job = ctx;
    for (size_t g = begin; g < end; g++) qw_cpu_linear_group(job, g, job->extent->n_rows, i_thread);
}

// Quantization

// A thread's place for one row on its way.
typedef struct row_space {
    float *made;     /* [kp] */
    float *t, *flat; /* FLAT4: between its products, behind them */
    int8_t *narrow;  /* [kp] */
} row_space;

static row_space row_space_of(const cpu_device *d, const qw_linear *w, int i_thread)
{
    const size_t flat_len = (size_t)w->input.left * (((size_t)w->input.right + 15) / 16 * 16);
    row_space s = {.made = cpu_scratch(d, i_thread)};
    s.t = s.made + w->kp;
    s.flat = s.t + flat_len;
    s.narrow = (int8_t *)(s.flat + flat_len);
    return s;
}

static qw_quantized_row begin_row(const cpu_quantize_job *job, size_t i, const row_space *space)
{
    return (qw_quantized_row){.q = job->widen ? space->narrow : (int8_t *)job->q + i * job->stride,
                              .sums = job->sums + i * job->n_sums};
}

static void end_row(const cpu_quantize_job *job, const qw_linear *w, size_t i,
                    const qw_quantized_row *row)
{
    uint8_t *q = job->q + i * job->stride;
    if (job->widen) job->device->kernels.widen_i8((int16_t *)(void *)q, row->q, w->kp);
    job->scales[i] = row->scale;
}

void qw_cpu_quantize_row(const cpu_quantize_job *job, const qw_linear *w, size_t i, const float *x,
                         int i_thread)
{
    const qw_kernels *k = &job->device->kernels;
    const row_space space = row_space_of(job->device, w, i_thread);
    qw_quantized_row row = begin_row(job, i, &space);
    if (w->input.kind == QW_INPUT_FLAT4) {
        k->flat(space.flat, space.t, x, w->transforms, &w->input);
        x = space.flat;
    }
    k->quantize(&row, x, w->k, w->kp, w->group, &w->input);
    end_row(job, w, i, &row);
}

// Row i of what the job's rows are made of: a norm, or SiLU times up.
static void quantize_made(const cpu_quantize_job *job, size_t i, int i_thread)
{
    const qw_kernels *k = &job->device->kernels;
    const qw_linear *w = job->w;
    const qw_made_rows *m = &job->made;
    const row_space space = row_space_of(job->device, w, i_thread);
    const float *x = job->x + i * job->x_stride, *up = m->up ? m->up + i * job->x_stride : NULL;
    float *made = m->rows ? m->rows + i * m->rows_stride : space.made;
    if (w->input.kind == QW_INPUT_FLAT4) { // which has two products in between
        if (up)
            k->silu_mul(made, x, up, w->k, job->round);
        else
            k->rms_norm(made, x, m->norm, w->k, m->eps, job->round);
        qw_cpu_quantize_row(job, w, i, made, i_thread);
        return;
    }
    qw_quantized_row row = begin_row(job, i, &space);
    if (up)
        k->silu_quantize(&row, made, x, up, job->round, w->k, w->kp, w->group, &w->input);
    else
        k->norm_quantize(&row, made, x, m->norm, m->eps, job->round, w->k, w->kp, w->group,
                         &w->input);
    end_row(job, w, i, &row);
}

static void quantize_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    const cpu_quantize_job *job = ctx;
    bool is_made = job->made.norm || job->made.up;
    for (size_t i = begin; i < end; i++) {
        if (is_made)
            quantize_made(job, i, i_thread);
        else
            qw_cpu_quantize_row(job, job->w, i, job->x + i * job->x_stride, i_thread);
    }
}

// Lay the rows out: q, then sums, then scales.
cpu_quantize_job qw_cpu_quantize_job(const cpu_device *d, const float *x, size_t x_stride,
                                     const qw_linear *w, int n_rows)
{
    cpu_quantize_job job = {.device = d, .x = x, .x_stride = x_stride, .w = w};
    job.widen = w->dtype == QW_DTYPE_I8 && d->kernels.widen_i8;
    job.n_sums = w->group > 0 ? (size_t)(w->k / w->group) : 1;
    job.stride = (job.widen ? 2 : 1) * (size_t)w->kp + 64; // rows do not share cache sets
    QW_ASSERT(qw_linear_reserve_size(w, n_rows) <= d->quantized_size);
    job.q = d->quantized;
    job.sums = (int32_t *)(void *)(job.q + (size_t)n_rows * job.stride);
    job.scales = (float *)(job.sums + (size_t)n_rows * job.n_sums);
    return job;
}

// The operation

static qw_gemm_fn *gemm_of(const qw_kernels *k, qw_dtype dtype, bool round)
{
    if (dtype == QW_DTYPE_BF16) return round ? k->gemm_bf16_x16 : k->gemm_bf16;
    return dtype == QW_DTYPE_F16 ? k->gemm_f16 : k->gemm_f32;
}

void qw_cpu_linear_choose(cpu_linear_job *job)
{
    const qw_kernels *k = &job->device->kernels;
    const qw_linear *w = job->w;
    bool is_i8 = w->dtype == QW_DTYPE_I8;
    if (!is_i8 && w->dtype != QW_DTYPE_I4)
        job->gemm = gemm_of(k, w->dtype, job->round);
    else if (w->input.kind == QW_INPUT_FLOAT)
        job->gemm_widened = is_i8 ? k->gemm_i8_f32 : k->gemm_i4_f32;
    else
        job->gemm_int = is_i8 ? k->gemm_i8 : k->gemm_i4;
}

void qw_cpu_made_linear(qw_backend *be, float *y, size_t y_stride, const qw_made_rows *made,
                        const qw_linear *w, int n_rows, qw_epilogue epilogue, bool round)
{
    const cpu_backend *cpu = cpu_self(be);
    cpu_extent own;
    cpu_linear_job job = {
        .device = cpu->device,
        .y = y,
        .y_stride = y_stride,
        .x = made->x,
        .x_stride = made->stride,
        .w = w,
        .extent = qw_cpu_extent(cpu, &own, n_rows, 0),
        .n_groups = ((size_t)w->n_panels + CPU_GROUP_PANELS - 1) / CPU_GROUP_PANELS,
        .epilogue = epilogue,
        .round = round,
    };
    qw_cpu_linear_choose(&job);
    QW_ASSERT(job.gemm_int || (!made->norm && !made->up));
    if (job.gemm_int) {
        cpu_quantize_job rows = qw_cpu_quantize_job(cpu->device, made->x, made->stride, w, n_rows);
        rows.made = *made;
        rows.round = round;
        job.rows = (qw_int_rows){rows.q, rows.stride, rows.sums, (int)rows.n_sums};
        job.row_scales = rows.scales;
        qw_cpu_submit(cpu, quantize_items, &rows, sizeof rows, &job.extent->n_rows, 1);
    }
    // A chunk is at least 64 KiB of weights: one atomic per 6 us of reading.
    size_t item_size = CPU_GROUP_PANELS * w->panel_size;
    size_t grain = item_size >= 65536 ? 1 : (65536 + item_size - 1) / item_size;
    if (n_rows > 16) grain = 1;
    qw_cpu_submit(cpu, linear_items, &job, sizeof job, &job.n_groups, grain);
}

void qw_cpu_linear(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                   const qw_linear *w, int n_rows, qw_epilogue epilogue, bool round)
{
    const qw_made_rows rows = {.x = x, .stride = x_stride};
    qw_cpu_made_linear(be, y, y_stride, &rows, w, n_rows, epilogue, round);
}
