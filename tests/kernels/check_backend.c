// The operation table on CPU: what comes out may not depend on the number of threads, on the rows
// beside a row, on the size of blocks or on the chunks of a prompt. Everything is compared with one
// thread of the reference level.

#include "kernels/harness.h"

#include "backend/backend.h"

static qw_backend *open_backend(kt *t, const char *isa, int n_threads)
{
    qw_error err;
    qw_backend *be = NULL;
    qw_cpu_options options = {.n_threads = n_threads, .isa = isa};
    if (qw_backend_open_cpu(&be, &options, &err) != QW_OK) kt_fail(t, "%s", err.text);
    return be;
}

enum { MAX_M = 97 };

typedef struct linear_case {
    qw_host_matrix matrices[2], biases[2], scales[2], group_scales[2], static_biases[2];
    bool is_quantized;
    qw_quant_source quant;
    int n_segments;
    qw_concat concat;
    qw_epilogue epilogue;
    bool round;
    int k, columns, m;
    const float *x, *y_in;
    size_t x_stride, y_stride, y_len;
} linear_case;

static void linear_run(kt *t, const linear_case *c, qw_backend *be, float *y)
{
    qw_error err;
    qw_linear w;
    qw_linear_source source = {.segments = c->matrices,
                               .biases = c->biases,
                               .n_segments = c->n_segments,
                               .concat = c->concat,
                               .quant = c->is_quantized ? &c->quant : NULL};
    if (be->linear_pack(be, &w, &source, &err) != QW_OK) {
        kt_fail(t, "%s", err.text);
        return;
    }
    memcpy(y, c->y_in, c->y_len * sizeof *y);
    if (be->linear_reserve(be, &w, c->m, &err) != QW_OK) kt_fail(t, "%s", err.text);
    be->ops->linear(be, y, c->y_stride, c->x, c->x_stride, &w, c->m, c->epilogue, c->round);
    be->linear_release(be, &w);
}

// Values of one dtype in memory of the case's own.
static const void *values(kt *t, qw_arena *a, qw_dtype dtype, size_t n)
{
    uint8_t *data = qw_arena_alloc(a, 4 * n);
    QW_ASSERT(data);
    if (dtype == QW_DTYPE_I32)
        for (size_t i = 0; i < n; i++) ((int32_t *)(void *)data)[i] = kt_below(t, 200000) - 100000;
    else if (dtype == QW_DTYPE_I8 || dtype == QW_DTYPE_I4)
        for (size_t i = 0; i < n; i++) data[i] = (uint8_t)kt_random(t);
    else
        kt_fill(t, data, dtype, n, KT_NORMAL);
    return data;
}

static void quantized_parts(kt *t, linear_case *c, qw_arena *a, int s, int rows)
{
    const qw_quant_source *q = &c->quant;
    c->scales[s] = (qw_host_matrix){.data = values(t, a, QW_DTYPE_BF16, (size_t)rows),
                                    .dtype = QW_DTYPE_BF16,
                                    .rows = 1,
                                    .cols = rows};
    c->static_biases[s] = (qw_host_matrix){.data = values(t, a, QW_DTYPE_I32, (size_t)rows),
                                           .dtype = QW_DTYPE_I32,
                                           .rows = 1,
                                           .cols = rows};
    if (q->group == 0) return;
    int n_groups = c->k / q->group;
    c->group_scales[s] =
        (qw_host_matrix){.data = values(t, a, QW_DTYPE_F16, (size_t)rows * (size_t)n_groups),
                         .dtype = QW_DTYPE_F16,
                         .rows = rows,
                         .cols = n_groups};
}

// Any way to store the weights and to quantize the input.
static qw_dtype choose_scheme(kt *t, linear_case *c, qw_arena *a)
{
    static const qw_dtype dtypes[] = {QW_DTYPE_BF16, QW_DTYPE_BF16, QW_DTYPE_F16, QW_DTYPE_F32,
                                      QW_DTYPE_I8,   QW_DTYPE_I8,   QW_DTYPE_I4,  QW_DTYPE_I4};
    qw_dtype dtype = dtypes[kt_below(t, QW_ARRAY_LEN(dtypes))];
    c->is_quantized = dtype == QW_DTYPE_I8 || dtype == QW_DTYPE_I4;
    if (!c->is_quantized) return dtype;
    qw_quant_source *q = &c->quant;
    q->input = (qw_input_scheme){.kind = (qw_input_kind)kt_below(t, 5),
                                 .scale = 0.03f,
                                 .offset = -7.0f,
                                 .inverse = kt_below(t, 2) ? 33.0f : 0.0f,
                                 .clip_ratio = 0.9f,
                                 .has_right = kt_below(t, 2) != 0};
    if (q->input.kind == QW_INPUT_FLAT4) {
        int left = 1 + kt_below(t, 9), right = 1 + kt_below(t, 40);
        c->k = left * right;
        q->input.left = left;
        q->input.right = right;
        q->left = (qw_host_matrix){.data = values(t, a, QW_DTYPE_F32, (size_t)(left * left)),
                                   .dtype = QW_DTYPE_F32,
                                   .rows = left,
                                   .cols = left};
        q->right = (qw_host_matrix){.data = values(t, a, QW_DTYPE_BF16, (size_t)(right * right)),
                                    .dtype = QW_DTYPE_BF16,
                                    .rows = right,
                                    .cols = right};
    } else if (kt_below(t, 2)) {
        static const int groups[] = {8, 24, 32, 64, 128, 256};
        q->group = groups[kt_below(t, QW_ARRAY_LEN(groups))];
        c->k = q->group * (1 + kt_below(t, 300 / q->group + 1));
    }
    q->scales = c->scales;
    q->group_scales = c->group_scales;
    q->static_biases = c->static_biases;
    return dtype;
}

static void linear_one(kt *t, qw_backend **backends, int n_backends)
{
    static const int ms[] = {1, 2, 5, 6, 7, 12, 13, 48, MAX_M};
    qw_arena arena;
    qw_arena_init(&arena, 1 << 20);
    linear_case c = {.epilogue = (qw_epilogue)kt_below(t, 3), .round = kt_below(t, 2) == 0};
    c.concat = c.epilogue == QW_EPILOGUE_SILU_MUL || kt_below(t, 2) ? QW_CONCAT_INTERLEAVE
                                                                    : QW_CONCAT_STACK;
    c.n_segments = c.concat == QW_CONCAT_INTERLEAVE ? 2 : 1 + kt_below(t, 2);
    c.k = 1 + kt_below(t, 300);
    c.m = ms[kt_below(t, QW_ARRAY_LEN(ms))];
    qw_dtype dtype = choose_scheme(t, &c, &arena);
    int rows = 1 + kt_below(t, 400);
    for (int s = 0; s < c.n_segments; s++) {
        const void *data = values(t, &arena, dtype, (size_t)rows * (size_t)c.k);
        c.matrices[s] = (qw_host_matrix){.data = data, .dtype = dtype, .rows = rows, .cols = c.k};
        const void *bias = values(t, &arena, QW_DTYPE_F32, (size_t)rows);
        c.biases[s] = (qw_host_matrix){
            .data = s == 0 ? bias : NULL, .dtype = QW_DTYPE_F32, .rows = 1, .cols = rows};
        c.columns += (rows + 15) / 16 * 16;
        if (c.is_quantized) quantized_parts(t, &c, &arena, s, rows);
    }
    c.x_stride = qw_row_stride((size_t)c.k);
    c.y_stride = qw_row_stride((size_t)c.columns);
    float *x = kt_output(t, 4, (size_t)c.m * c.x_stride * sizeof *x, 0);
    for (int m = 0; m < c.m; m++)
        kt_fill_rounded(t, x + (size_t)m * c.x_stride, (size_t)c.k, KT_NORMAL);
    c.x = x;
    c.y_len = (size_t)c.m * c.y_stride;
    float *y_in = kt_output(t, 5, c.y_len * sizeof *y_in, 0);
    kt_fill_rounded(t, y_in, c.y_len, KT_NORMAL);
    c.y_in = y_in;
    float *want = kt_output(t, 6, c.y_len * sizeof *want, 0);
    linear_run(t, &c, backends[0], want);
    for (int b = 1; b < n_backends; b++) {
        float *got = kt_output(t, 7, c.y_len * sizeof *got, 0);
        kt_case(t, "linear %s input %d group %d, %d x %d x %d rows, epilogue %d, %d threads",
                qw_dtype_name(dtype), (int)c.quant.input.kind, c.quant.group, rows, c.k, c.m,
                (int)c.epilogue, backends[b]->n_threads);
        linear_run(t, &c, backends[b], got);
        kt_same_bits(t, got, want, c.y_len);
        kt_check_canaries(t, got, c.y_len * sizeof *got);
    }
    qw_arena_release(&arena);
}

// One attention problem: several sequences with their own positions already in the cache.
enum { N_SEQS = 3, D = 64, N_KV = 2, N_HEADS = 6, WIDTH = N_HEADS * D };

typedef struct attention_case {
    int n_seqs, n_pos[N_SEQS], n_rows[N_SEQS];
    qw_dtype dtype;
    const float *q, *k, *v;     /* [seq][MAX_POS] rows */
    const float *channel_scale; /* int8: [N_KV * D], or NULL */
    int max_pos;
} attention_case;

typedef struct way {
    int block_size, chunk;
    bool together; /* all sequences in one step */
} way;

static void store(kt *t, const attention_case *c, int head, uint8_t *page,
                  const qw_kv_layout *layout, int slot, size_t at)
{
    const float *scale = c->channel_scale ? c->channel_scale + head * D : NULL;
    switch (c->dtype) {
    case QW_DTYPE_BF16: t->ref.kv_store_bf16(page, layout, slot, c->k + at, c->v + at); break;
    case QW_DTYPE_I8:
        t->ref.kv_store_i8(page, layout, slot, c->k + at, c->v + at, scale, scale);
        break;
    default: t->ref.kv_store_f32(page, layout, slot, c->k + at, c->v + at); break;
    }
}

// Fill the cache in the layout of `way`, then compute the last n_rows of every sequence.
static void attention_run(kt *t, const attention_case *c, qw_backend *be, way how, float *out)
{
    qw_kv_layout layout = qw_kv_layout_make(c->dtype, how.block_size, N_KV, D);
    int per_seq = (c->max_pos + how.block_size - 1) / how.block_size;
    size_t size = (size_t)(per_seq * c->n_seqs) * layout.block_bytes;
    uint8_t *kv = kt_input(t, 3, size);
    memset(kv, 0xFF, size);
    int32_t *tables = kt_input(t, 4, (size_t)(per_seq * c->n_seqs) * sizeof *tables);
    for (int i = 0; i < per_seq * c->n_seqs; i++) tables[i] = per_seq * c->n_seqs - 1 - i;
    for (int s = 0; s < c->n_seqs; s++)
        for (int pos = 0; pos < c->n_pos[s]; pos++)
            for (int h = 0; h < N_KV; h++) {
                uint8_t *page =
                    kv + (size_t)tables[s * per_seq + pos / how.block_size] * layout.block_bytes;
                size_t at = (size_t)((s * c->max_pos + pos) * N_KV + h) * D;
                store(t, c, h, page + 2 * (size_t)h * layout.part_size, &layout,
                      pos % how.block_size, at);
            }
    qw_attention_args args = {.out_stride = WIDTH,
                              .q_stride = WIDTH,
                              .n_heads = N_HEADS,
                              .scale = 0.125f,
                              .kv = kv,
                              .layout = &layout,
                              .k_scale = c->channel_scale,
                              .v_scale = c->channel_scale,
                              .round = true};
    int first_row[N_SEQS + 1] = {0};
    for (int s = 0; s < c->n_seqs; s++) first_row[s + 1] = first_row[s] + c->n_rows[s];
    if (how.together) {
        qw_seq_range seqs[N_SEQS];
        for (int s = 0; s < c->n_seqs; s++)
            seqs[s] = (qw_seq_range){first_row[s], c->n_rows[s], c->n_pos[s] - c->n_rows[s],
                                     tables + s * per_seq};
        args.out = out;
        args.q = c->q;
        args.seqs = seqs;
        args.n_seqs = c->n_seqs;
        be->ops->attention(be, &args);
        return;
    }
    for (int s = 0; s < c->n_seqs; s++) {
        for (int r = 0; r < c->n_rows[s]; r += how.chunk) {
            int n = c->n_rows[s] - r < how.chunk ? c->n_rows[s] - r : how.chunk;
            qw_seq_range seq = {0, n, c->n_pos[s] - c->n_rows[s] + r, tables + s * per_seq};
            args.out = out + (size_t)(first_row[s] + r) * WIDTH;
            args.q = c->q + (size_t)(first_row[s] + r) * WIDTH;
            args.seqs = &seq;
            args.n_seqs = 1;
            be->ops->attention(be, &args);
        }
    }
}

static void attention_one(kt *t, qw_backend **backends, int n_backends, int n_seqs, int n_pos,
                          int n_rows)
{
    static const way ways[] = {{16, 1, false},       {32, 7, false}, {128, 64, false},
                               {48, 1 << 20, false}, {16, 0, true},  {128, 0, true}};
    static const qw_dtype dtypes[] = {QW_DTYPE_BF16, QW_DTYPE_F32, QW_DTYPE_I8};
    attention_case c = {.n_seqs = n_seqs, .dtype = dtypes[kt_below(t, QW_ARRAY_LEN(dtypes))]};
    float channels[N_KV * D];
    for (int i = 0; i < N_KV * D; i++) channels[i] = 0.03f + 0.02f * kt_uniform(t);
    if (c.dtype == QW_DTYPE_I8 && kt_below(t, 2)) c.channel_scale = channels;
    int rows = 0;
    for (int s = 0; s < n_seqs; s++) {
        c.n_pos[s] = s == 0 ? n_pos : 1 + kt_below(t, n_pos);
        c.n_rows[s] = n_rows < c.n_pos[s] ? n_rows : c.n_pos[s];
        rows += c.n_rows[s];
    }
    c.max_pos = n_pos;
    size_t n = (size_t)(n_seqs * n_pos) * N_KV * D, n_out = (size_t)rows * WIDTH;
    float *k = kt_input(t, 0, n * sizeof *k), *v = kt_input(t, 1, n * sizeof *v);
    float *q = kt_input(t, 2, n_out * sizeof *q);
    kt_fill_rounded(t, k, n, KT_NORMAL);
    kt_fill_rounded(t, v, n, KT_NORMAL);
    kt_fill_rounded(t, q, n_out, KT_NORMAL);
    c.k = k;
    c.v = v;
    c.q = q;
    float *want = kt_output(t, 6, n_out * sizeof *want, 0);
    attention_run(t, &c, backends[0], ways[3], want);
    for (int b = 1; b < n_backends; b++) {
        for (size_t i = 0; i < QW_ARRAY_LEN(ways); i++) {
            if (n_rows > 40 && ways[i].chunk == 1) continue;
            float *got = kt_output(t, 7, n_out * sizeof *got, 0xFF);
            kt_case(t, "attention of %d x %d rows at %d, block %d, chunk %d, %d threads", n_seqs,
                    n_rows, n_pos, ways[i].block_size, ways[i].chunk, backends[b]->n_threads);
            attention_run(t, &c, backends[b], ways[i], got);
            kt_same_bits(t, got, want, n_out);
        }
    }
}

void check_backend(kt *t)
{
    static const int threads[] = {1, 1, 2, 3, 7};
    enum { N = QW_ARRAY_LEN(threads) };
    qw_backend *backends[N] = {0};
    t->kernel = "backend";
    if (t->turn != KT_GUARD_AFTER || kt_is_ref(t)) return;
    kt_case(t, "opening %d backends", N);
    int n = 0;
    while (n < N && (backends[n] = open_backend(t, n == 0 ? "ref" : t->level, threads[n]))) n++;
    if (n == N) {
        for (int i = 0; i < 80 * t->work / 100; i++) linear_one(t, backends, N);
        static const int lengths[] = {1, 63, 64, 65, 1023, 1024, 1025, 3000};
        for (size_t i = 0; i < QW_ARRAY_LEN(lengths); i++) {
            attention_one(t, backends, N, 1, lengths[i], 1);
            attention_one(t, backends, N, N_SEQS, lengths[i], lengths[i] > 100 ? 3 : 70);
        }
        attention_one(t, backends, N, 1, 300, 300);
    }
    for (int i = 0; i < n; i++) qw_backend_close(backends[i]);
}
