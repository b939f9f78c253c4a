// The operation table on CPU: cuts each operation into items whose outputs are computed whole by
// one thread, so that results do not depend on who computes what (cpu-kernels.md 4).

#include "backend/backend.h"
#include "backend/cpu/cpu_features.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/linear_pack.h"
#include "backend/cpu/pack.h"
#include "backend/cpu/probe.h"
#include "base/mem.h"
#include "base/thread.h"

enum {
    GROUP_PANELS = 4, /* panels that one item of a product computes: 64 outputs */
    MAX_ROWS = 256,   /* rows of activations per pass over a panel group */
    MAX_HEAD_DIM = 1024,
    PARTIALS_PER_THREAD = 1 << 19, /* floats: 500 segments of 8 heads of 128 */
};

typedef struct cpu_backend {
    qw_backend base;
    qw_kernels kernels;
    qw_thread_pool *pool;
    float *scratch; /* [n_threads][scratch_stride] */
    size_t scratch_size, scratch_stride;
    float *partials; /* of segments, see op_attention */
    size_t partials_len;
} cpu_backend;

static inline cpu_backend *self(qw_backend *be)
{
    return (cpu_backend *)be;
}

static float *scratch_of(const cpu_backend *cpu, int i_thread)
{
    return cpu->scratch + (size_t)i_thread * cpu->scratch_stride;
}

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

// Products

typedef struct linear_job {
    cpu_backend *cpu;
    float *y;
    size_t y_stride;
    const float *x;
    size_t x_stride;
    const qw_linear *w;
    int n_rows;
    qw_epilogue epilogue;
    bool round;
    qw_gemm_fn *gemm;
} linear_job;

static void linear_epilogue(const linear_job *job, float *t, int first_panel, int n_panels, int row)
{
    const qw_kernels *k = &job->cpu->kernels;
    int n = 16 * n_panels;
    float *y = job->y + (size_t)row * job->y_stride;
    if (job->w->bias) {
        const float *bias = job->w->bias + 16 * (size_t)first_panel;
        for (int i = 0; i < n; i++) t[i] += bias[i];
    }
    switch (job->epilogue) {
    case QW_EPILOGUE_STORE: k->store(y + 16 * (size_t)first_panel, t, n, job->round); break;
    case QW_EPILOGUE_RESIDUAL: k->residual(y + 16 * (size_t)first_panel, t, n, job->round); break;
    case QW_EPILOGUE_SILU_MUL:
        for (int p = 0; p < n_panels; p += 2)
            k->silu_mul(y + 8 * (size_t)(first_panel + p), t + 16 * p, t + 16 * p + 16, 16,
                        job->round);
        break;
    }
}

static void linear_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    const linear_job *job = ctx;
    float *c = scratch_of(job->cpu, i_thread);
    for (size_t g = begin; g < end; g++) {
        int first = (int)g * GROUP_PANELS;
        int n_panels = min_int(GROUP_PANELS, job->w->n_panels - first);
        const uint8_t *panels =
            (const uint8_t *)job->w->panels + (size_t)first * job->w->panel_size;
        size_t c_stride = 16 * GROUP_PANELS;
        for (int m0 = 0; m0 < job->n_rows; m0 += MAX_ROWS) {
            int n_rows = min_int(MAX_ROWS, job->n_rows - m0);
            job->gemm(c, c_stride, panels, n_panels, job->x + (size_t)m0 * job->x_stride,
                      job->x_stride, n_rows, job->w->kp);
            for (int m = 0; m < n_rows; m++)
                linear_epilogue(job, c + (size_t)m * c_stride, first, n_panels, m0 + m);
        }
    }
}

static void op_linear(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                      const qw_linear *w, int n_rows, qw_epilogue epilogue, bool round)
{
    cpu_backend *cpu = self(be);
    const qw_kernels *k = &cpu->kernels;
    linear_job job = {cpu, y, y_stride, x, x_stride, w, n_rows, epilogue, round, NULL};
    if (w->dtype == QW_DTYPE_BF16)
        job.gemm = round ? k->gemm_bf16_x16 : k->gemm_bf16;
    else
        job.gemm = w->dtype == QW_DTYPE_F16 ? k->gemm_f16 : k->gemm_f32;
    size_t n_items = ((size_t)w->n_panels + GROUP_PANELS - 1) / GROUP_PANELS;
    // A chunk is at least 64 KiB of weights: one atomic per 6 us of reading.
    size_t item_size = GROUP_PANELS * w->panel_size;
    size_t grain = item_size >= 65536 ? 1 : (65536 + item_size - 1) / item_size;
    if (n_rows > 16) grain = 1;
    qw_thread_pool_for(cpu->pool, n_items, grain, linear_items, &job);
}

// Row-wise operations

typedef struct rows_job {
    cpu_backend *cpu;
    float *y;
    size_t y_stride;
    const float *x;
    size_t x_stride;
    const float *weight;
    const int32_t *rows;
    const qw_host_matrix *table;
    int n;
    float eps;
    bool round;
} rows_job;

static void rms_norm_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const rows_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        job->cpu->kernels.rms_norm(job->y + i * job->y_stride, job->x + i * job->x_stride,
                                   job->weight, job->n, job->eps, job->round);
}

static void op_rms_norm(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                        const float *weight, int n, float eps, int n_rows, bool round)
{
    rows_job job = {.cpu = self(be),
                    .y = y,
                    .y_stride = y_stride,
                    .x = x,
                    .x_stride = x_stride,
                    .weight = weight,
                    .n = n,
                    .eps = eps,
                    .round = round};
    qw_thread_pool_for(job.cpu->pool, (size_t)n_rows, 4, rms_norm_items, &job);
}

static void embed_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const rows_job *job = ctx;
    for (size_t i = begin; i < end; i++) {
        qw_host_matrix_row(job->y + i * job->y_stride, job->table, (size_t)job->rows[i]);
    }
}

static void op_embed(qw_backend *be, float *y, size_t y_stride, const qw_host_matrix *table,
                     const int32_t *ids, int n_ids)
{
    rows_job job = {.cpu = self(be),
                    .y = y,
                    .y_stride = y_stride,
                    .rows = ids,
                    .table = table,
                    .n = table->cols};
    qw_thread_pool_for(job.cpu->pool, (size_t)n_ids, 4, embed_items, &job);
}

static void gather_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const rows_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        memcpy(job->y + i * job->y_stride, job->x + (size_t)job->rows[i] * job->x_stride,
               (size_t)job->n * sizeof(float));
}

static void op_gather_rows(qw_backend *be, float *y, size_t y_stride, const float *x,
                           size_t x_stride, const int32_t *rows, int n_rows, int n)
{
    rows_job job = {.cpu = self(be),
                    .y = y,
                    .y_stride = y_stride,
                    .x = x,
                    .x_stride = x_stride,
                    .rows = rows,
                    .n = n};
    qw_thread_pool_for(job.cpu->pool, (size_t)n_rows, 16, gather_items, &job);
}

// Norm, rotation and cache write: one item per row of the flat batch

typedef struct qkv_job {
    cpu_backend *cpu;
    const qw_qkv_args *args;
} qkv_job;

static void qkv_row(const cpu_backend *cpu, const qw_qkv_args *a, const qw_seq_range *seq, int row)
{
    const qw_kv_layout *kv = a->layout;
    const qw_kernels *k = &cpu->kernels;
    int d = kv->head_dim, pos = seq->first_pos + row - seq->first_row;
    float *x = a->qkv + (size_t)row * a->stride;
    const float *cos = a->cos + (size_t)row * (size_t)(d / 2);
    const float *sin = a->sin + (size_t)row * (size_t)(d / 2);
    for (int h = 0; h < a->n_heads; h++)
        k->norm_rope(x + a->q_column + h * d, a->q_norm, cos, sin, d, a->eps, a->round);
    uint8_t *page = a->kv + (size_t)seq->block_table[pos / kv->block_size] * kv->block_bytes;
    qw_kv_store_fn *store = kv->dtype == QW_DTYPE_BF16 ? k->kv_store_bf16 : k->kv_store_f32;
    for (int h = 0; h < kv->n_kv_heads; h++) {
        float *key = x + a->k_column + h * d;
        k->norm_rope(key, a->k_norm, cos, sin, d, a->eps, a->round);
        store(page + 2 * (size_t)h * kv->part_size, kv, pos % kv->block_size, key,
              x + a->v_column + h * d);
    }
}

static void qkv_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)i_thread;
    const qkv_job *job = ctx;
    int s = 0;
    for (int row = (int)begin; row < (int)end; row++) {
        while (row >= job->args->seqs[s].first_row + job->args->seqs[s].n_rows) s++;
        qkv_row(job->cpu, job->args, &job->args->seqs[s], row);
    }
}

static void op_norm_rope_store(qw_backend *be, const qw_qkv_args *args)
{
    qkv_job job = {self(be), args};
    const qw_seq_range *last = &args->seqs[args->n_seqs - 1];
    qw_thread_pool_for(job.cpu->pool, (size_t)(last->first_row + last->n_rows), 1, qkv_items, &job);
}

// Attention: one item per (sequence, kv head, part of its query heads, tile of rows). When those
// are few and contexts are long, the segments of an item are computed side by side.

typedef struct attention_job {
    cpu_backend *cpu;
    const qw_attention_args *args;
    int group;      /* query heads per kv head */
    int group_part; /* query heads that one item takes */
    int n_parts;    /* items per group */
    int tile_rows;  /* rows that one item takes */
    size_t n_items;
    size_t n_segments;  /* of the longest sequence */
    size_t partial_len; /* floats from one partial to the next */
} attention_job;

static int row_tiles(const attention_job *job, const qw_seq_range *seq)
{
    return (seq->n_rows + job->tile_rows - 1) / job->tile_rows;
}

static size_t seq_items(const attention_job *job, const qw_seq_range *seq)
{
    return (size_t)row_tiles(job, seq) * (size_t)job->n_parts *
           (size_t)job->args->layout->n_kv_heads;
}

static int seq_segments(const qw_seq_range *seq)
{
    return (seq->first_pos + seq->n_rows + QW_ATTN_SEGMENT - 1) / QW_ATTN_SEGMENT;
}

// The sequence that item `*item` belongs to; `*item` becomes its index within the sequence.
static const qw_seq_range *item_seq(const attention_job *job, size_t *item)
{
    const qw_seq_range *seq = job->args->seqs;
    for (size_t n; *item >= (n = seq_items(job, seq)); seq++) *item -= n;
    return seq;
}

static qw_attn_tile item_tile(const attention_job *job, const qw_seq_range *seq, size_t item,
                              int i_thread)
{
    const qw_attention_args *a = job->args;
    const qw_kv_layout *kv = a->layout;
    int per_head = row_tiles(job, seq) * job->n_parts;
    int kv_head = (int)(item / (size_t)per_head), rest = (int)(item % (size_t)per_head);
    int row = rest / job->n_parts * job->tile_rows, part = rest % job->n_parts;
    int head = kv_head * job->group + part * job->group_part;
    size_t column = (size_t)head * (size_t)kv->head_dim;
    return (qw_attn_tile){
        .out = a->out + (size_t)(seq->first_row + row) * a->out_stride + column,
        .out_stride = a->out_stride,
        .q = a->q + (size_t)(seq->first_row + row) * a->q_stride + column,
        .q_stride = a->q_stride,
        .n_rows = min_int(job->tile_rows, seq->n_rows - row),
        .group = min_int(job->group_part, job->group - part * job->group_part),
        .first_pos = seq->first_pos + row,
        .scale = a->scale,
        .kv = a->kv + 2 * (size_t)kv_head * kv->part_size,
        .block_table = seq->block_table,
        .layout = kv,
        .scratch = scratch_of(job->cpu, i_thread),
        .segment = -1,
        .round = a->round,
    };
}

static void run_tile(const attention_job *job, const qw_attn_tile *tile)
{
    const qw_kernels *k = &job->cpu->kernels;
    if (tile->layout->dtype == QW_DTYPE_BF16)
        k->attention_bf16(tile);
    else
        k->attention_f32(tile);
}

static void attention_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    const attention_job *job = ctx;
    for (size_t i = begin; i < end; i++) {
        size_t item = i;
        const qw_seq_range *seq = item_seq(job, &item);
        qw_attn_tile tile = item_tile(job, seq, item, i_thread);
        run_tile(job, &tile);
    }
}

static float *partials_of(const attention_job *job, size_t item)
{
    return job->cpu->partials + item * job->n_segments * job->partial_len;
}

static void segment_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    const attention_job *job = ctx;
    for (size_t i = begin; i < end; i++) {
        size_t item = i / job->n_segments, segment = i % job->n_segments;
        float *partials = partials_of(job, item);
        const qw_seq_range *seq = item_seq(job, &item);
        if ((int)segment >= seq_segments(seq)) continue;
        qw_attn_tile tile = item_tile(job, seq, item, i_thread);
        tile.segment = (int)segment;
        tile.partial = partials + segment * qw_attention_partial_len(&tile);
        run_tile(job, &tile);
    }
}

static void merge_items(void *ctx, size_t begin, size_t end, int i_thread)
{
    const attention_job *job = ctx;
    for (size_t i = begin; i < end; i++) {
        size_t item = i;
        const qw_seq_range *seq = item_seq(job, &item);
        qw_attn_tile tile = item_tile(job, seq, item, i_thread);
        tile.partial = partials_of(job, i);
        qw_attention_merge(&tile, seq_segments(seq));
    }
}

// Few items, long contexts, and room for the partials.
static bool worth_splitting(const attention_job *job)
{
    size_t n_threads = (size_t)qw_thread_pool_size(job->cpu->pool);
    if (n_threads == 1 || job->n_items >= 4 * n_threads || job->n_segments == 1) return false;
    return job->n_segments * job->partial_len <= job->cpu->partials_len / job->n_items;
}

static void op_attention(qw_backend *be, const qw_attention_args *args)
{
    attention_job job = {.cpu = self(be), .args = args};
    job.group = args->n_heads / args->layout->n_kv_heads;
    job.group_part = min_int(job.group, QW_ATTN_MAX_GROUP_ROWS);
    job.n_parts = (job.group + job.group_part - 1) / job.group_part;
    job.tile_rows = QW_ATTN_MAX_GROUP_ROWS / job.group_part;
    int n_segments = 1, n_rows = 1;
    for (int i = 0; i < args->n_seqs; i++) {
        const qw_seq_range *seq = &args->seqs[i];
        job.n_items += seq_items(&job, seq);
        if (seq_segments(seq) > n_segments) n_segments = seq_segments(seq);
        if (seq->n_rows > n_rows) n_rows = seq->n_rows;
    }
    qw_attn_tile largest = {
        .n_rows = min_int(n_rows, job.tile_rows), .group = job.group_part, .layout = args->layout};
    job.n_segments = (size_t)n_segments;
    job.partial_len = qw_attention_partial_len(&largest);
    if (worth_splitting(&job)) {
        qw_thread_pool_for(job.cpu->pool, job.n_items * job.n_segments, 1, segment_items, &job);
        qw_thread_pool_for(job.cpu->pool, job.n_items, 1, merge_items, &job);
    } else {
        qw_thread_pool_for(job.cpu->pool, job.n_items, 1, attention_items, &job);
    }
}

// Packing

static qw_status cpu_linear_pack(qw_backend *be, qw_linear *out, const qw_linear_source *source,
                                 qw_error *err)
{
    qw_linear w;
    qw_status st = qw_linear_plan(&w, source, err);
    if (st != QW_OK) return st;
    w.panels = qw_mem_map(w.size, 4096); // model lifetime
    if (!w.panels) return qw_fail_memory(err, w.size, "packed weights");
    if (w.bias_size > 0) {
        w.bias = qw_mem_map(w.bias_size, 4096);
        if (!w.bias) st = qw_fail_memory(err, w.bias_size, "a bias");
    }
    if (st == QW_OK) st = qw_linear_pack_run(self(be)->pool, &w, source, NULL, NULL, err);
    if (st == QW_OK)
        *out = w;
    else
        be->linear_release(be, &w);
    return st;
}

static qw_status cpu_linear_write(qw_backend *be, const qw_linear *w,
                                  const qw_linear_source *source, qw_linear_sink *sink,
                                  void *sink_ctx, qw_error *err)
{
    return qw_linear_pack_run(self(be)->pool, w, source, sink, sink_ctx, err);
}

static void cpu_linear_release(qw_backend *be, qw_linear *w)
{
    (void)be;
    if (!w->borrowed) {
        qw_mem_unmap(w->panels, w->size);
        qw_mem_unmap(w->bias, w->bias_size);
    }
    *w = (qw_linear){0};
}

static void cpu_fill_rows(qw_backend *be, void *out, const qw_host_matrix *m)
{
    qw_linear_pack_rows(self(be)->pool, out, m);
}

// Life

static const qw_ops cpu_ops = {
    .embed = op_embed,
    .rms_norm = op_rms_norm,
    .linear = op_linear,
    .norm_rope_store = op_norm_rope_store,
    .attention = op_attention,
    .gather_rows = op_gather_rows,
};

static void cpu_close(qw_backend *be)
{
    cpu_backend *cpu = self(be);
    qw_mem_unmap(cpu->scratch, cpu->scratch_size);
    qw_mem_unmap(cpu->partials, cpu->partials_len * sizeof(float));
    qw_thread_pool_free(cpu->pool);
    qw_mem_free(cpu);
}

qw_status qw_backend_open_cpu(qw_backend **out, const qw_cpu_options *options, qw_error *err)
{
    unsigned levels;
    qw_status st = qw_cpu_isa_parse(&levels, options->isa ? options->isa : "auto", err);
    if (st != QW_OK) return st;
    cpu_backend *cpu = qw_mem_calloc(1, sizeof *cpu);
    if (!cpu) return qw_fail_memory(err, sizeof *cpu, "the CPU backend");
    qw_kernels_init(&cpu->kernels, qw_probe_levels(levels));
    st = qw_thread_pool_new(&cpu->pool, options->n_threads, err);
    if (st != QW_OK) goto fail;
    int n_threads = qw_thread_pool_size(cpu->pool);
    size_t need = QW_ATTN_SCRATCH(MAX_HEAD_DIM);
    if (need < (size_t)MAX_ROWS * 16 * GROUP_PANELS) need = (size_t)MAX_ROWS * 16 * GROUP_PANELS;
    cpu->scratch_stride = qw_row_stride(need);
    cpu->scratch_size = cpu->scratch_stride * sizeof(float) * (size_t)n_threads;
    cpu->scratch = qw_mem_map(cpu->scratch_size, 4096); // committed on touch
    if (!cpu->scratch) {
        st = qw_fail_memory(err, cpu->scratch_size, "kernel scratch");
        goto fail;
    }
    cpu->partials_len = (size_t)n_threads * PARTIALS_PER_THREAD;
    cpu->partials = qw_mem_map(cpu->partials_len * sizeof(float), 4096);
    if (!cpu->partials) {
        st = qw_fail_memory(err, cpu->partials_len * sizeof(float), "partial sums of attention");
        goto fail;
    }
    cpu->base = (qw_backend){.ops = &cpu_ops,
                             .isa = cpu->kernels.isa,
                             .n_threads = n_threads,
                             .linear_pack = cpu_linear_pack,
                             .linear_write = cpu_linear_write,
                             .fill_rows = cpu_fill_rows,
                             .linear_release = cpu_linear_release,
                             .close = cpu_close};
    *out = &cpu->base;
    return QW_OK;
fail:
    cpu_close(&cpu->base);
    return st;
}
