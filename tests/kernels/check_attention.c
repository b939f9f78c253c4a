// Attention: every level against plain C to the bit; plain C against float64. Slots that hold no
// position are NaN, so whoever reads past a row's limit shows it.

#include "kernels/harness.h"

#include <math.h>

typedef struct attn_case {
    qw_dtype dtype;
    int block_size, d, group, n_rows, first_pos;
    kt_values values;
    bool round;
    // made from these
    qw_kv_layout layout;
    int n_blocks, n_pos, width;
    uint8_t *kv;
    int32_t *table;
    float *q, *got, *want, *scratch;
    size_t q_stride, out_stride, out_len;
    float *keys, *values_rows; /* [n_pos][d], as stored, for float64 */
} attn_case;

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
    qw_kv_store_fn *store = c->dtype == QW_DTYPE_BF16 ? t->ref.kv_store_bf16 : t->ref.kv_store_f32;
    for (int pos = 0; pos < c->n_pos; pos++) {
        uint8_t *page = c->kv + (size_t)c->table[pos / c->block_size] * c->layout.block_bytes;
        store(page, &c->layout, pos % c->block_size, c->keys + (size_t)pos * (size_t)c->d,
              c->values_rows + (size_t)pos * (size_t)c->d);
    }
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
                          .scratch = c->scratch,
                          .segment = -1,
                          .round = c->round};
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

static void attn_one(kt *t, attn_case c)
{
    bool narrow = c.dtype == QW_DTYPE_BF16;
    qw_attention_fn *now = narrow ? t->now.attention_bf16 : t->now.attention_f32;
    qw_attention_fn *ref = narrow ? t->ref.attention_bf16 : t->ref.attention_f32;
    t->kernel = narrow ? "attention_bf16" : "attention_f32";
    attn_make(t, &c);
    kt_case(t, "d %d, block %d, group %d, rows %d from %d, values %d%s", c.d, c.block_size, c.group,
            c.n_rows, c.first_pos, (int)c.values, c.round ? ", rounded" : "");
    qw_attn_tile tile = attn_tile_of(&c, c.want);
    ref(&tile);
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
    attn_case c = {.dtype = kt_below(t, 3) ? QW_DTYPE_BF16 : QW_DTYPE_F32,
                   .block_size = 16 * (1 + kt_below(t, 8)),
                   .d = dims[kt_below(t, QW_ARRAY_LEN(dims))],
                   .group = 1 + kt_below(t, kt_below(t, 4) ? 8 : QW_ATTN_MAX_GROUP_ROWS),
                   .values = (kt_values)kt_below(t, KT_N_VALUES),
                   .round = kt_below(t, 2) == 0};
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
        }
    }
    for (int i = 0; i < 200 * t->work / 100; i++) attn_one(t, random_case(t));
}
