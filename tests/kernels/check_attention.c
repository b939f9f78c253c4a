// Attention: every level against plain C to the bit; plain C against float64. Slots that hold no
// position are NaN (int8: their scales are), so whoever reads past a row's limit shows it.

#include "kernels/harness.h"

#include <math.h>

typedef struct attn_case {
    qw_dtype dtype;
    int block_size, d, group, n_rows, first_pos;
    kt_values values;
    bool round;
    bool by_channel; /* int8: fixed scales */
    // made from these
    qw_kv_layout layout;
    int n_blocks, n_pos, width;
    uint8_t *kv;
    int32_t *table;
    float *q, *got, *want, *scratch;
    size_t q_stride, out_stride, out_len;
    float *keys, *values_rows; /* [n_pos][d], as stored, for float64 */
    const float *k_scale, *v_scale;
    double largest_key; /* int8 */
} attn_case;

static void store(kt *t, const attn_case *c, uint8_t *page, int slot, const float *k,
                  const float *v)
{
    switch (c->dtype) {
    case QW_DTYPE_BF16: t->ref.kv_store_bf16(page, &c->layout, slot, k, v); break;
    case QW_DTYPE_I8:
        t->ref.kv_store_i8(page, &c->layout, slot, k, v, c->k_scale, c->v_scale);
        break;
    default: t->ref.kv_store_f32(page, &c->layout, slot, k, v); break;
    }
}

// What an int8 page holds, as numbers: float64 is about those.
static void read_back(const attn_case *c, const uint8_t *page, int slot, float *k, float *v)
{
    const qw_kv_layout *kv = &c->layout;
    int dp = kv->head_dim_padded;
    const uint8_t *v_part = page + kv->part_size;
    float k_step, v_step;
    memcpy(&k_step, page + kv->block_size * dp + 4 * slot, sizeof k_step);
    memcpy(&v_step, v_part + kv->block_size * dp + 4 * slot, sizeof v_step);
    for (int i = 0; i < c->d; i++) {
        int code = page[slot / 16 * 16 * dp + i / 4 * 64 + slot % 16 * 4 + i % 4] - 128;
        k[i] = (float)code * (c->k_scale ? c->k_scale[i] : k_step);
        v[i] = (float)(int8_t)v_part[slot * dp + i] * (c->v_scale ? c->v_scale[i] : v_step);
    }
}

static void shuffled(kt *t, int32_t *ids, int n)
{
    for (int i = 0; i < n; i++) {
        int j = kt_below(t, i + 1);
        ids[i] = ids[j];
        ids[j] = i;
    }
}

static void write_pages(kt *t, attn_case *c)
{
    size_t n = (size_t)c->n_pos * (size_t)c->d;
    c->keys = kt_output(t, 6, 2 * n * sizeof(float), 0);
    c->values_rows = c->keys + n;
    kt_fill_rounded(t, c->keys, n, c->values);
    kt_fill_rounded(t, c->values_rows, n, c->values == KT_ONE_NAN ? KT_NORMAL : c->values);
    for (int pos = 0; pos < c->n_pos; pos++) {
        uint8_t *page = c->kv + (size_t)c->table[pos / c->block_size] * c->layout.block_bytes;
        float *k = c->keys + (size_t)pos * (size_t)c->d;
        float *v = c->values_rows + (size_t)pos * (size_t)c->d;
        store(t, c, page, pos % c->block_size, k, v);
        if (c->dtype == QW_DTYPE_I8) read_back(c, page, pos % c->block_size, k, v);
    }
}

static const float *channel_scales(kt *t, int slot, int d)
{
    float *scale = kt_input(t, slot, (size_t)d * sizeof *scale);
    for (int i = 0; i < d; i++) scale[i] = 0.03f + 0.02f * kt_uniform(t);
    return scale;
}

static void attn_make(kt *t, attn_case *c)
{
    c->layout = qw_kv_layout_make(c->dtype, c->block_size, 1, c->d);
    c->n_pos = c->first_pos + c->n_rows;
    c->n_blocks = (c->n_pos + c->block_size - 1) / c->block_size;
    c->width = c->group * c->d;
    size_t size = (size_t)c->n_blocks * c->layout.block_bytes;
    c->kv = kt_input(t, 0, size);
    memset(c->kv, 0xFF, size);
    c->table = kt_input(t, 1, (size_t)c->n_blocks * sizeof *c->table);
    shuffled(t, c->table, c->n_blocks);
    if (c->by_channel) {
        c->k_scale = channel_scales(t, 8, c->d);
        c->v_scale = channel_scales(t, 9, c->d);
    }
    write_pages(t, c);
    c->q_stride = c->out_stride = (size_t)c->width + 7;
    size_t q_len = (size_t)(c->n_rows - 1) * c->q_stride + (size_t)c->width;
    c->q = kt_input(t, 2, q_len * sizeof(float));
    kt_fill_rounded(t, c->q, q_len, c->values >= KT_ONE_NAN ? KT_NORMAL : c->values);
    c->out_len = q_len;
    c->got = kt_output(t, 3, c->out_len * sizeof(float), 0x77);
    c->want = kt_output(t, 4, c->out_len * sizeof(float), 0x77);
    c->scratch =
        kt_output(t, 5, QW_ATTN_SCRATCH((size_t)c->layout.head_dim_padded) * sizeof(float), 0xFF);
}

static qw_attn_tile attn_tile_of(const attn_case *c, float *out)
{
    return (qw_attn_tile){.out = out,
                          .out_stride = c->out_stride,
                          .q = c->q,
                          .q_stride = c->q_stride,
                          .n_rows = c->n_rows,
                          .group = c->group,
                          .first_pos = c->first_pos,
                          .scale = 1.0f / sqrtf((float)c->d),
                          .kv = c->kv,
                          .block_table = c->table,
                          .layout = &c->layout,
                          .k_scale = c->k_scale,
                          .v_scale = c->v_scale,
                          .scratch = c->scratch,
                          .segment = -1,
                          .round = c->round};
}

// The largest sum of |codes| of a key, in its steps.
static double largest_key(const attn_case *c)
{
    double largest = 0;
    for (int j = 0; j < c->n_pos; j++) {
        double sum = 0;
        for (int i = 0; i < c->d; i++)
            sum += fabs(c->keys[(size_t)j * (size_t)c->d + (size_t)i] /
                        (c->k_scale ? c->k_scale[i] : 1));
        largest = fmax(largest, sum);
    }
    return largest;
}

// What the codes of a query can put a score off by: half a step for each value.
static double score_error(const attn_case *c, const float *q)
{
    double largest = 0;
    for (int i = 0; i < c->d; i++)
        largest = fmax(largest, fabs((double)q[i] * (c->k_scale ? c->k_scale[i] : 1)));
    return c->largest_key * largest / (2 * 16256) / sqrt(c->d);
}

static void row_against_float64(kt *t, const attn_case *c, int r, int g)
{
    int n = c->first_pos + r + 1;
    size_t d = (size_t)c->d;
    const float *q = c->q + (size_t)r * c->q_stride + (size_t)g * d;
    const float *out = c->want + (size_t)r * c->out_stride + (size_t)g * d;
    double scale = 1.0f / sqrtf((float)c->d), max = -INFINITY, sum = 0, largest = 0;
    double *p = kt_output(t, 7, (size_t)n * sizeof *p, 0);
    for (int j = 0; j < n; j++) {
        double s = 0;
        for (size_t i = 0; i < d; i++) s += (double)q[i] * c->keys[(size_t)j * d + i];
        p[j] = s * scale;
        if (p[j] > max) max = p[j];
    }
    for (int j = 0; j < n; j++) sum += p[j] = exp(p[j] - max);
    for (size_t i = 0; i < (size_t)n * d; i++) largest = fmax(largest, fabs(c->values_rows[i]));
    // 6.2, plus what the error of a score of this size does to its exponential
    double bound = (n / 64 + 64 + 16 + 3 + 4 * c->d) * 0x1p-24 * largest * 4;
    if (c->dtype == QW_DTYPE_I8) bound += 2 * score_error(c, q) * largest;
    for (size_t i = 0; i < d; i++) {
        double a = 0;
        for (int j = 0; j < n; j++) a += p[j] * c->values_rows[(size_t)j * d + i];
        kt_within(t, out[i], a / sum, bound, i);
    }
}

// The same in segments, merged afterwards, as long contexts are split among threads.
static void in_segments(kt *t, const attn_case *c, qw_attn_tile tile, qw_attention_fn *run)
{
    int n_segments = (c->n_pos + QW_ATTN_SEGMENT - 1) / QW_ATTN_SEGMENT;
    size_t stride = qw_attention_partial_len(&tile);
    float *partial = kt_output(t, 7, (size_t)n_segments * stride * sizeof(float), 0xFF);
    for (int s = n_segments - 1; s >= 0; s--) {
        tile.segment = s;
        tile.partial = partial + (size_t)s * stride;
        run(&tile);
    }
    tile.partial = partial;
    qw_attention_merge(&tile, n_segments);
    kt_check_canaries(t, partial, (size_t)n_segments * stride * sizeof(float));
}

static qw_attention_fn *kernel_of(const qw_kernels *k, qw_dtype dtype)
{
    if (dtype == QW_DTYPE_I8) return k->attention_i8;
    return dtype == QW_DTYPE_BF16 ? k->attention_bf16 : k->attention_f32;
}

static void attn_one(kt *t, attn_case c)
{
    qw_attention_fn *now = kernel_of(&t->now, c.dtype), *ref = kernel_of(&t->ref, c.dtype);
    t->kernel = c.dtype == QW_DTYPE_BF16 ? "attention_bf16"
                : c.dtype == QW_DTYPE_I8 ? "attention_i8"
                                         : "attention_f32";
    attn_make(t, &c);
    kt_case(t, "d %d, block %d, group %d, rows %d from %d, values %d%s%s", c.d, c.block_size,
            c.group, c.n_rows, c.first_pos, (int)c.values, c.round ? ", rounded" : "",
            c.by_channel ? ", scales by channel" : "");
    qw_attn_tile tile = attn_tile_of(&c, c.want);
    ref(&tile);
    if (c.dtype == QW_DTYPE_I8) c.largest_key = largest_key(&c);
    if (kt_is_ref(t) && c.values == KT_NORMAL && !c.round)
        for (int r = 0; r < c.n_rows; r++)
            for (int g = 0; g < c.group; g++) row_against_float64(t, &c, r, g);
    tile.out = c.got;
    if (!kt_is_ref(t)) {
        now(&tile);
        kt_same_bits(t, c.got, c.want, c.out_len);
        memset(c.got, 0x77, c.out_len * sizeof(float));
    }
    in_segments(t, &c, tile, now);
    kt_same_bits(t, c.got, c.want, c.out_len);
    kt_check_canaries(t, c.got, c.out_len * sizeof(float));
    kt_check_canaries(t, c.scratch,
                      QW_ATTN_SCRATCH((size_t)c.layout.head_dim_padded) * sizeof(float));
}

static const int dims[] = {2, 16, 30, 32, 64, 80, 128, 256};

static attn_case random_case(kt *t)
{
    static const qw_dtype dtypes[] = {QW_DTYPE_BF16, QW_DTYPE_F32, QW_DTYPE_I8, QW_DTYPE_I8};
    attn_case c = {.dtype = dtypes[kt_below(t, QW_ARRAY_LEN(dtypes))],
                   .block_size = 16 * (1 + kt_below(t, 8)),
                   .d = dims[kt_below(t, QW_ARRAY_LEN(dims))],
                   .group = 1 + kt_below(t, kt_below(t, 4) ? 8 : QW_ATTN_MAX_GROUP_ROWS),
                   .values = (kt_values)kt_below(t, KT_N_VALUES),
                   .round = kt_below(t, 2) == 0};
    c.by_channel = c.dtype == QW_DTYPE_I8 && kt_below(t, 3) == 0;
    c.n_rows = 1 + kt_below(t, QW_ATTN_MAX_GROUP_ROWS / c.group);
    c.first_pos = kt_below(t, kt_below(t, 2) ? 40 : 300);
    return c;
}

void check_attention(kt *t)
{
    // Lengths around every edge of sub-tiles, tiles and segments, decode and the end of a prefill.
    static const int lengths[] = {1,   2,   15,  16,   17,   63,   64,  65,
                                  127, 128, 129, 1023, 1024, 1025, 2049};
    for (size_t i = 0; i < QW_ARRAY_LEN(lengths); i++) {
        for (int rows = 1; rows <= 24; rows += 23) {
            if (rows > lengths[i]) continue;
            attn_case c = {.dtype = i % 4 == 3 ? QW_DTYPE_F32 : QW_DTYPE_BF16,
                           .block_size = i % 2 ? 16 : 128,
                           .d = lengths[i] > 200 ? 64 : 128,
                           .group = 2,
                           .n_rows = rows,
                           .first_pos = lengths[i] - rows,
                           .values = KT_NORMAL,
                           .round = i % 3 == 0};
            attn_one(t, c);
            c.values = KT_ONE_INF;
            attn_one(t, c);
            c.dtype = QW_DTYPE_I8;
            c.values = KT_NORMAL;
            c.by_channel = i % 2 == 1;
            attn_one(t, c);
        }
    }
    for (int i = 0; i < 200 * t->work / 100; i++) attn_one(t, random_case(t));
}
