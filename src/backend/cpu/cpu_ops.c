// Row-wise operations on CPU: each is cut into items whose outputs are computed whole by one
// thread, so that results do not depend on who computes what (cpu-kernels.md 4).

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/pack.h"

typedef struct rows_job {
    const cpu_device *device;
    float *y;
    size_t y_stride;
    const float *x;
    size_t x_stride;
    const float *weight; /* of a norm, or what is added to each row */
    const float *up;     /* strides as x */
    const int32_t *rows;
    const qw_host_matrix *table;
    int n;
    float eps;
    bool round;
} rows_job;

static void submit_rows(const cpu_backend *cpu, qw_range_fn *fn, rows_job *job, int n_rows,
                        size_t grain)
{
    cpu_extent own;
    const cpu_extent *extent = qw_cpu_extent(cpu, &own, n_rows, 0);
    qw_cpu_submit(cpu, fn, job, sizeof *job, &extent->n_rows, grain);
}

static void rms_norm_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const rows_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        job->device->kernels.rms_norm(job->y + i * job->y_stride, job->x + i * job->x_stride,
                                      job->weight, job->n, job->eps, job->round);
}

void qw_cpu_rms_norm(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                     const float *weight, int n, float eps, int n_rows, bool round)
{
    const cpu_backend *cpu = cpu_self(be);
    rows_job job = {.device = cpu->device,
                    .y = y,
                    .y_stride = y_stride,
                    .x = x,
                    .x_stride = x_stride,
                    .weight = weight,
                    .n = n,
                    .eps = eps,
                    .round = round};
    submit_rows(cpu, rms_norm_items, &job, n_rows, 4);
}

static void embed_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const rows_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        qw_host_matrix_row(job->y + i * job->y_stride, job->table, (size_t)job->rows[i]);
}

void qw_cpu_embed(qw_backend *be, float *y, size_t y_stride, const qw_host_matrix *table,
                  const int32_t *ids, int n_ids)
{
    rows_job job = {.y = y, .y_stride = y_stride, .rows = ids, .table = table};
    submit_rows(cpu_self(be), embed_items, &job, n_ids, 4);
}

static void gather_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const rows_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        memcpy(job->y + i * job->y_stride, job->x + (size_t)job->rows[i] * job->x_stride,
               (size_t)job->n * sizeof(float));
}

void qw_cpu_gather_rows(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                        const int32_t *rows, int n_rows, int n)
{
    rows_job job = {
        .y = y, .y_stride = y_stride, .x = x, .x_stride = x_stride, .rows = rows, .n = n};
    submit_rows(cpu_self(be), gather_items, &job, n_rows, 16);
}

static void add_vector_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const rows_job *job = ctx;
    for (size_t i = begin; i < end; i++) {
        float *y = job->y + i * job->y_stride;
        for (int k = 0; k < job->n; k++) {
            float sum = y[k] + job->weight[k];
            y[k] = job->round ? qw_round_bf16(sum) : sum;
        }
    }
}

void qw_cpu_add_vector(qw_backend *be, float *y, size_t y_stride, const float *v, int n, int n_rows,
                       bool round)
{
    rows_job job = {.y = y, .y_stride = y_stride, .weight = v, .n = n, .round = round};
    submit_rows(cpu_self(be), add_vector_items, &job, n_rows, 4);
}

static void silu_mul_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const rows_job *job = ctx;
    int n = (job->n + 15) / 16 * 16; // behind n all three hold +0, and silu(0) * 0 is +0
    for (size_t i = begin; i < end; i++)
        job->device->kernels.silu_mul(job->y + i * job->y_stride, job->x + i * job->x_stride,
                                      job->up + i * job->x_stride, n, job->round);
}

void qw_cpu_silu_mul(qw_backend *be, float *y, size_t y_stride, const float *gate, const float *up,
                     size_t x_stride, int n, int n_rows, bool round)
{
    const cpu_backend *cpu = cpu_self(be);
    rows_job job = {.device = cpu->device,
                    .y = y,
                    .y_stride = y_stride,
                    .x = gate,
                    .x_stride = x_stride,
                    .up = up,
                    .n = n,
                    .round = round};
    submit_rows(cpu, silu_mul_items, &job, n_rows, 4);
}

// Norm, rotation and cache write: one item per row of the flat batch

typedef struct qkv_job {
    const cpu_device *device;
    const cpu_extent *extent;
    qw_qkv_args args;
} qkv_job;

static void store_head(const qw_kernels *k, const qw_qkv_args *a, uint8_t *page, int head, int slot,
                       const float *key, const float *value)
{
    const qw_kv_layout *kv = a->layout;
    size_t channel = (size_t)head * (size_t)kv->head_dim;
    page += 2 * (size_t)head * kv->part_size;
    switch (kv->dtype) {
    case QW_DTYPE_BF16: k->kv_store_bf16(page, kv, slot, key, value); break;
    case QW_DTYPE_I8:
        k->kv_store_i8(page, kv, slot, key, value, a->k_scale ? a->k_scale + channel : NULL,
                       a->v_scale ? a->v_scale + channel : NULL);
        break;
    default: k->kv_store_f32(page, kv, slot, key, value); break;
    }
}

static void qkv_row(const qkv_job *job, const qw_seq_range *seq, int row)
{
    const qw_kernels *k = &job->device->kernels;
    const qw_qkv_args *a = &job->args;
    const qw_kv_layout *kv = a->layout;
    int d = kv->head_dim, pos = seq->first_pos + row - seq->first_row;
    float *x = a->qkv + (size_t)row * a->stride;
    const float *cos = a->cos + (size_t)row * (size_t)(d / 2);
    const float *sin = a->sin + (size_t)row * (size_t)(d / 2);
    for (int h = 0; h < a->n_heads; h++)
        k->norm_rope(x + a->q_column + h * d, a->q_norm, cos, sin, d, a->eps, a->round);
    uint8_t *page = a->kv + (size_t)seq->block_table[pos / kv->block_size] * kv->block_bytes;
    for (int h = 0; h < kv->n_kv_heads; h++) {
        float *key = x + a->k_column + h * d;
        k->norm_rope(key, a->k_norm, cos, sin, d, a->eps, a->round);
        store_head(k, a, page, h, pos % kv->block_size, key, x + a->v_column + h * d);
    }
}

// The sequence that holds `row`: the last one that starts at or before it.
static const qw_seq_range *seq_of_row(const qkv_job *job, int row)
{
    const qw_seq_range *seqs = job->args.seqs;
    size_t low = 0, high = job->extent->n_seqs - 1;
    while (low < high) {
        size_t mid = high - (high - low) / 2;
        if (seqs[mid].first_row <= row)
            low = mid;
        else
            high = mid - 1;
    }
    return &seqs[low];
}

static void qkv_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const qkv_job *job = ctx;
    const qw_seq_range *seq = seq_of_row(job, (int)begin);
    for (int row = (int)begin; row < (int)end; row++) {
        while (row >= seq->first_row + seq->n_rows) seq++;
        qkv_row(job, seq, row);
    }
}

void qw_cpu_norm_rope_store(qw_backend *be, const qw_qkv_args *args)
{
    const cpu_backend *cpu = cpu_self(be);
    const qw_seq_range *last = &args->seqs[args->n_seqs - 1];
    cpu_extent own;
    qkv_job job = {.device = cpu->device, .args = *args};
    job.extent = qw_cpu_extent(cpu, &own, last->first_row + last->n_rows, args->n_seqs);
    qw_cpu_submit(cpu, qkv_items, &job, sizeof job, &job.extent->n_rows, 1);
}
