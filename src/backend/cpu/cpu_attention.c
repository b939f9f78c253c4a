#include "backend/cpu/cpu_device.h"

// Attention: one item per (sequence, kv head, part of its query heads, tile of rows). When those
// are few and contexts are long, the segments of an item are computed side by side.

typedef struct attention_job {
    const cpu_device *device;
    const cpu_attention_shape *shape;
    qw_attention_args args; /* but for n_seqs, which the shape was made from */
} attention_job;

static int row_tiles(const cpu_attention_shape *shape, const qw_seq_range *seq)
{
    return (seq->n_rows + shape->tile_rows - 1) / shape->tile_rows;
}

static size_t seq_items(const cpu_attention_shape *shape, const qw_seq_range *seq)
{
    return (size_t)row_tiles(shape, seq) * (size_t)shape->n_parts * (size_t)shape->n_kv_heads;
}

static int seq_segments(const qw_seq_range *seq)
{
    return (seq->first_pos + seq->n_rows + QW_ATTN_SEGMENT - 1) / QW_ATTN_SEGMENT;
}

// Few items, long contexts, and room for the partials.
static bool worth_splitting(const cpu_device *device, const cpu_attention_shape *shape)
{
    size_t n_threads = (size_t)qw_thread_pool_size(device->pool), n_items = shape->n_pieces;
    if (n_threads == 1 || n_items >= 4 * n_threads || shape->n_segments == 1) return false;
    return shape->n_segments * shape->partial_len <= device->partials_len / n_items;
}

cpu_attention_shape qw_cpu_attention_shape(const cpu_device *device, const qw_attention_args *args)
{
    cpu_attention_shape s = {.n_kv_heads = args->layout->n_kv_heads};
    s.group = args->n_heads / s.n_kv_heads;
    s.group_part = cpu_min(s.group, QW_ATTN_MAX_GROUP_ROWS);
    s.n_parts = (s.group + s.group_part - 1) / s.group_part;
    s.tile_rows = QW_ATTN_MAX_GROUP_ROWS / s.group_part;
    int n_segments = 1, n_rows = 1;
    for (int i = 0; i < args->n_seqs; i++) {
        const qw_seq_range *seq = &args->seqs[i];
        s.n_pieces += seq_items(&s, seq);
        if (seq_segments(seq) > n_segments) n_segments = seq_segments(seq);
        if (seq->n_rows > n_rows) n_rows = seq->n_rows;
    }
    qw_attn_tile largest = {
        .n_rows = cpu_min(n_rows, s.tile_rows), .group = s.group_part, .layout = args->layout};
    s.one_row_each = n_rows == 1;
    s.n_segments = (size_t)n_segments;
    s.partial_len = qw_attention_partial_len(&largest);
    s.is_split = worth_splitting(device, &s);
    if (s.is_split) {
        s.n_merges = s.n_pieces;
        s.n_pieces *= s.n_segments;
    }
    return s;
}

// The sequence that item `*item` belongs to; `*item` becomes its index within the sequence.
static const qw_seq_range *item_seq(const attention_job *job, size_t *item)
{
    const qw_seq_range *seq = job->args.seqs;
    if (job->shape->one_row_each) {
        size_t n = seq_items(job->shape, seq);
        seq += *item / n;
        *item %= n;
        return seq;
    }
    for (size_t n; *item >= (n = seq_items(job->shape, seq)); seq++) *item -= n;
    return seq;
}

static qw_attn_tile item_tile(const attention_job *job, const qw_seq_range *seq, size_t item,
                              int i_thread)
{
    const qw_attention_args *a = &job->args;
    const cpu_attention_shape *s = job->shape;
    const qw_kv_layout *kv = a->layout;
    int per_head = row_tiles(s, seq) * s->n_parts;
    int kv_head = (int)(item / (size_t)per_head), rest = (int)(item % (size_t)per_head);
    int row = rest / s->n_parts * s->tile_rows, part = rest % s->n_parts;
    int head = kv_head * s->group + part * s->group_part;
    size_t column = (size_t)head * (size_t)kv->head_dim;
    return (qw_attn_tile){
        .out = a->out + (size_t)(seq->first_row + row) * a->out_stride + column,
        .out_stride = a->out_stride,
        .q = a->q + (size_t)(seq->first_row + row) * a->q_stride + column,
        .q_stride = a->q_stride,
        .n_rows = cpu_min(s->tile_rows, seq->n_rows - row),
        .group = cpu_min(s->group_part, s->group - part * s->group_part),
        .first_pos = seq->first_pos + row,
        .scale = a->scale,
        .kv = a->kv + 2 * (size_t)kv_head * kv->part_size,
        .block_table = seq->block_table,
        .layout = kv,
        .k_scale = a->k_scale ? a->k_scale + kv_head * kv->head_dim : NULL,
        .v_scale = a->v_scale ? a->v_scale + kv_head * kv->head_dim : NULL,
        .scratch = cpu_scratch(job->device, i_thread),
        .segment = -1,
        .round = a->round,
    };
}

static void run_tile(const attention_job *job, const qw_attn_tile *tile)
{
    const qw_kernels *k = &job->device->kernels;
    switch (tile->layout->dtype) {
    case QW_DTYPE_BF16: k->attention_bf16(tile); break;
    case QW_DTYPE_I8: k->attention_i8(tile); break;
    default: k->attention_f32(tile); break;
    }
}

static void run_item(const attention_job *job, size_t item, int i_thread)
{
    const qw_seq_range *seq = item_seq(job, &item);
    qw_attn_tile tile = item_tile(job, seq, item, i_thread);
    run_tile(job, &tile);
}

static float *partials_of(const attention_job *job, size_t item)
{
    return job->device->partials + item * job->shape->n_segments * job->shape->partial_len;
}

static void run_segment(const attention_job *job, size_t item, size_t segment, int i_thread)
{
    float *partials = partials_of(job, item);
    const qw_seq_range *seq = item_seq(job, &item);
    if ((int)segment >= seq_segments(seq)) return;
    qw_attn_tile tile = item_tile(job, seq, item, i_thread);
    tile.segment = (int)segment;
    tile.partial = partials + segment * qw_attention_partial_len(&tile);
    run_tile(job, &tile);
}

static void attention_pieces(void *ctx, size_t begin, size_t end, int i_thread)
{
    const attention_job *job = ctx;
    size_t n_segments = job->shape->n_segments;
    for (size_t i = begin; i < end; i++) {
        if (job->shape->is_split)
            run_segment(job, i / n_segments, i % n_segments, i_thread);
        else
            run_item(job, i, i_thread);
    }
}

static void attention_merges(void *ctx, size_t begin, size_t end, int i_thread)
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

void qw_cpu_attention(qw_backend *be, const qw_attention_args *args)
{
    const cpu_backend *cpu = cpu_self(be);
    cpu_attention_shape own;
    attention_job job = {.device = cpu->device, .args = *args};
    job.shape = qw_cpu_shape(cpu, &own, args);
    qw_cpu_submit(cpu, attention_pieces, &job, sizeof job, &job.shape->n_pieces, 1);
    qw_cpu_submit(cpu, attention_merges, &job, sizeof job, &job.shape->n_merges, 1);
}
