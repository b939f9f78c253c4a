// Attention over pages, by the canonical definition of cpu-kernels.md 3.7: tiles of 64 positions,
// segments of 1,024, merged in ascending order. Each query is computed by itself, so its result
// cannot depend on the rows beside it; faster versions share the reads, not the arithmetic.
//
//   page of one kv head, bf16                          fp32
//   K  [bs/16][D/2][16 positions][2 of d]              [bs/16][D][16 positions]
//   V  [bs][D/32][16][2]: word i = (v[i], v[16 + i])   [bs][D]
//
//   int8
//   K  [bs/16][D/4][16 positions][4 of d] + 128, then the scales [bs]
//   V  [bs][D] signed, then the scales [bs]

#include "backend/cpu/kernels.h"

#include <math.h>

#include "base/fmath.h"

/** Scores, before the factor `scale`, of the 16 positions that begin at `slot` of a K part. */
typedef void scores_fn(float s[16], const qw_attn_tile *t, const uint8_t *k_part, int slot,
                       const float *q);
typedef void add_value_fn(float *a, float p, const qw_attn_tile *t, const uint8_t *v_part,
                          int slot);

/** What depends on the dtype of the pages. */
typedef struct page_format {
    scores_fn *scores;
    add_value_fn *add_value;
} page_format;

static void scores_bf16(float s[16], const qw_attn_tile *t, const uint8_t *k_part, int slot,
                        const float *q)
{
    int d = t->layout->head_dim;
    const uint16_t *k = (const uint16_t *)k_part + slot * t->layout->head_dim_padded;
    for (int l = 0; l < 16; l++) s[l] = 0.0f;
    for (int i = 0; i < d; i += 2, k += 32) {
        for (int l = 0; l < 16; l++) s[l] = fmaf(qw_bf16_to_f32(k[2 * l + 1]), q[i + 1], s[l]);
        for (int l = 0; l < 16; l++) s[l] = fmaf(qw_bf16_to_f32(k[2 * l]), q[i], s[l]);
    }
}

static void scores_f32(float s[16], const qw_attn_tile *t, const uint8_t *k_part, int slot,
                       const float *q)
{
    int d = t->layout->head_dim;
    const float *k = (const float *)k_part + slot * t->layout->head_dim_padded;
    for (int l = 0; l < 16; l++) s[l] = 0.0f;
    for (int i = 0; i < d; i += 2, k += 32) {
        for (int l = 0; l < 16; l++) s[l] = fmaf(k[16 + l], q[i + 1], s[l]);
        for (int l = 0; l < 16; l++) s[l] = fmaf(k[l], q[i], s[l]);
    }
}

// Index of v[d] in a position's row of a bf16 V part.
static inline size_t v_index(int d)
{
    return (size_t)(d / 32 * 32 + d % 16 * 2 + d % 32 / 16);
}

static void add_value_bf16(float *a, float p, const qw_attn_tile *t, const uint8_t *v_part,
                           int slot)
{
    const uint16_t *v = (const uint16_t *)v_part + slot * t->layout->head_dim_padded;
    for (int i = 0; i < t->layout->head_dim; i++)
        a[i] = fmaf(p, qw_bf16_to_f32(v[v_index(i)]), a[i]);
}

static void add_value_f32(float *a, float p, const qw_attn_tile *t, const uint8_t *v_part, int slot)
{
    const float *v = (const float *)v_part + slot * t->layout->head_dim_padded;
    for (int i = 0; i < t->layout->head_dim; i++) a[i] = fmaf(p, v[i], a[i]);
}

// Integers

// max|x|; 0 when it counts as none, NaN when there is a NaN or an infinity.
static float largest_of(const float *x, int d)
{
    float max = 0.0f, odd = 0.0f;
    for (int i = 0; i < d; i++) {
        if (fabsf(x[i]) > max) max = fabsf(x[i]);
        odd += x[i] - x[i]; // +0 for numbers
    }
    if (odd != odd) return NAN;
    return max < QW_KV_TINY ? 0.0f : max;
}

// c[i] = rne(x[i] * (limit / max|x|)); returns max|x| / limit, the value of a step.
static float codes_of(int32_t *c, const float *x, int d, float limit)
{
    float max = largest_of(x, d);
    bool usable = max > 0.0f;
    float factor = usable ? limit / max : 0.0f;
    for (int i = 0; i < d; i++) c[i] = usable ? (int32_t)rintf(x[i] * factor) : 0;
    return max / limit;
}

// The fp32 scale of `slot` in a part.
static float *scale_of(const qw_kv_layout *kv, const uint8_t *part, int slot)
{
    return (float *)(void *)(part + kv->block_size * kv->head_dim_padded) + slot;
}

static void scores_i8(float s[16], const qw_attn_tile *t, const uint8_t *k_part, int slot,
                      const float *q)
{
    int d = t->layout->head_dim, dp = t->layout->head_dim_padded;
    const uint8_t *k = k_part + slot * dp;
    float *x = t->scratch + 2 * dp; // behind the two states
    int32_t *c = (int32_t *)(void *)(t->scratch + 3 * dp);
    for (int i = 0; i < d; i++) x[i] = t->k_scale ? q[i] * t->k_scale[i] : q[i];
    float step = codes_of(c, x, d, QW_KV_QUERY_MAX);
    for (int l = 0; l < 16; l++) {
        int32_t sum = 0;
        for (int i = 0; i < d; i++) sum += c[i] * (k[i / 4 * 64 + l * 4 + i % 4] - 128);
        s[l] = (float)sum * step;
        if (!t->k_scale) s[l] *= *scale_of(t->layout, k_part, slot + l);
    }
}

static void add_value_i8(float *a, float p, const qw_attn_tile *t, const uint8_t *v_part, int slot)
{
    const int8_t *v = (const int8_t *)v_part + slot * t->layout->head_dim_padded;
    if (!t->v_scale) p *= *scale_of(t->layout, v_part, slot);
    for (int i = 0; i < t->layout->head_dim; i++) a[i] = fmaf(p, (float)v[i], a[i]);
}

// Softmax state of one query over the positions seen so far.
typedef struct state {
    float m, l;
    float *a; /* [head_dim] */
} state;

static const uint8_t *part_of(const qw_attn_tile *t, int pos)
{
    const qw_kv_layout *kv = t->layout;
    return t->kv + (size_t)t->block_table[pos / kv->block_size] * kv->block_bytes;
}

// Add positions [begin, end) of one tile, end <= begin + 64 and all of them visible.
static void add_tile(state *s, const qw_attn_tile *t, const float *q, int begin, int end,
                     const page_format *format)
{
    const qw_kv_layout *kv = t->layout;
    int n = end - begin, d = kv->head_dim;
    float p[QW_ATTN_TILE];
    float max = -INFINITY;
    for (int j = 0; j < QW_ATTN_TILE; j++) {
        if (j % 16 == 0 && j < n)
            format->scores(p + j, t, part_of(t, begin + j), (begin + j) % kv->block_size, q);
        p[j] = j < n ? p[j] * t->scale : -INFINITY;
        if (p[j] > max) max = p[j];
    }
    float m = max > s->m ? max : s->m;
    float shift = m == -INFINITY ? 0.0f : m;
    float c = qw_exp_ref(s->m - shift), lanes[16];
    for (int j = 0; j < QW_ATTN_TILE; j++) p[j] = j < n ? qw_exp_ref(p[j] - shift) : 0.0f;
    for (int l = 0; l < 16; l++) lanes[l] = ((p[l] + p[16 + l]) + p[32 + l]) + p[48 + l];
    s->l = fmaf(s->l, c, qw_fold16(lanes));
    for (int i = 0; i < d; i++) s->a[i] *= c;
    for (int j = 0; j < n; j++)
        format->add_value(s->a, p[j], t, part_of(t, begin + j) + kv->part_size,
                          (begin + j) % kv->block_size);
    s->m = m;
}

static void state_reset(state *s, int d)
{
    s->m = -INFINITY;
    s->l = 0.0f;
    for (int i = 0; i < d; i++) s->a[i] = 0.0f;
}

static void merge(state *s, const state *seg, int d)
{
    if (seg->m == -INFINITY) return;
    float m = seg->m > s->m ? seg->m : s->m;
    float c = qw_exp_ref(s->m - m), e = qw_exp_ref(seg->m - m);
    s->l = fmaf(s->l, c, seg->l * e);
    for (int i = 0; i < d; i++) s->a[i] = fmaf(s->a[i], c, seg->a[i] * e);
    s->m = m;
}

// The state of one query over the positions of a segment that it sees.
static void add_segment(state *seg, const qw_attn_tile *t, const float *q, int segment, int n,
                        const page_format *format)
{
    int begin = segment * QW_ATTN_SEGMENT;
    int end = n - begin < QW_ATTN_SEGMENT ? n : begin + QW_ATTN_SEGMENT;
    state_reset(seg, t->layout->head_dim);
    for (int b = begin; b < end; b += QW_ATTN_TILE)
        add_tile(seg, t, q, b, end - b < QW_ATTN_TILE ? end : b + QW_ATTN_TILE, format);
}

static void finish(const qw_attn_tile *t, const state *all, int row, int g)
{
    int d = t->layout->head_dim;
    float *out = t->out + (size_t)row * t->out_stride + (size_t)g * (size_t)d;
    for (int i = 0; i < d; i++) {
        float o = all->a[i] / all->l + 0.0f; // + 0: no negative zero
        if (t->v_scale) o *= t->v_scale[i];
        out[i] = t->round ? qw_round_bf16(o) : o;
    }
}

// Where a query's state lies in a partial.
static float *partial_of(const qw_attn_tile *t, int row, int g)
{
    return t->partial + (size_t)(row * t->group + g) * (size_t)(t->layout->head_dim_padded + 2);
}

static void attention(const qw_attn_tile *t, const page_format *format)
{
    int d = t->layout->head_dim, dp = t->layout->head_dim_padded;
    state all = {.a = t->scratch}, seg = {.a = t->scratch + dp};
    for (int r = 0; r < t->n_rows; r++) {
        int n = t->first_pos + r + 1; // visible positions
        for (int g = 0; g < t->group; g++) {
            const float *q = t->q + (size_t)r * t->q_stride + (size_t)g * (size_t)d;
            if (t->segment >= 0) {
                add_segment(&seg, t, q, t->segment, n, format);
                float *partial = partial_of(t, r, g);
                memcpy(partial, seg.a, (size_t)d * sizeof(float));
                partial[dp] = seg.m;
                partial[dp + 1] = seg.l;
                continue;
            }
            state_reset(&all, d);
            for (int s = 0; s * QW_ATTN_SEGMENT < n; s++) {
                add_segment(&seg, t, q, s, n, format);
                merge(&all, &seg, d);
            }
            finish(t, &all, r, g);
        }
    }
}

void qw_attention_merge(const qw_attn_tile *tile, int n_segments)
{
    int d = tile->layout->head_dim, dp = tile->layout->head_dim_padded;
    state all = {.a = tile->scratch};
    for (int r = 0; r < tile->n_rows; r++) {
        for (int g = 0; g < tile->group; g++) {
            state_reset(&all, d);
            for (int s = 0; s < n_segments; s++) {
                float *partial =
                    partial_of(tile, r, g) + (size_t)s * qw_attention_partial_len(tile);
                state seg = {.m = partial[dp], .l = partial[dp + 1], .a = partial};
                merge(&all, &seg, d);
            }
            finish(tile, &all, r, g);
        }
    }
}

void qw_attention_bf16_ref(const qw_attn_tile *tile)
{
    attention(tile, &(page_format){scores_bf16, add_value_bf16});
}

void qw_attention_f32_ref(const qw_attn_tile *tile)
{
    attention(tile, &(page_format){scores_f32, add_value_f32});
}

void qw_attention_i8_ref(const qw_attn_tile *tile)
{
    attention(tile, &(page_format){scores_i8, add_value_i8});
}

void qw_kv_store_bf16_ref(uint8_t *kv, const qw_kv_layout *layout, int slot, const float *k,
                          const float *v)
{
    int dp = layout->head_dim_padded;
    uint16_t *k_sub = (uint16_t *)kv + (size_t)(slot / 16 * 16) * (size_t)dp;
    uint16_t *v_row = (uint16_t *)(kv + layout->part_size) + (size_t)slot * (size_t)dp;
    for (int i = 0; i < layout->head_dim; i++) {
        k_sub[i / 2 * 32 + slot % 16 * 2 + i % 2] = qw_f32_to_bf16(k[i]);
        v_row[v_index(i)] = qw_f32_to_bf16(v[i]);
    }
}

void qw_kv_store_f32_ref(uint8_t *kv, const qw_kv_layout *layout, int slot, const float *k,
                         const float *v)
{
    int dp = layout->head_dim_padded;
    float *k_sub = (float *)kv + (size_t)(slot / 16 * 16) * (size_t)dp;
    float *v_row = (float *)(kv + layout->part_size) + (size_t)slot * (size_t)dp;
    for (int i = 0; i < layout->head_dim; i++) {
        k_sub[i * 16 + slot % 16] = k[i];
        v_row[i] = v[i];
    }
}

// Codes of one head's d values, 0 up to dp.
static void store_codes(int8_t *out, size_t stride, const float *x, const float *channel_scale,
                        float *scale, int d, int dp)
{
    float max = channel_scale ? 0.0f : largest_of(x, d);
    float factor = max > 0.0f ? 127.0f / max : 0.0f;
    for (int i = 0; i < dp; i++) {
        float c = 0.0f;
        if (i < d && channel_scale) {
            c = x[i] / channel_scale[i];
            c = c > -128.0f ? c : -128.0f; // NaN too
            c = c < 127.0f ? c : 127.0f;
        } else if (i < d && max > 0.0f) {
            c = x[i] * factor;
        }
        out[(size_t)(i / 4) * stride + (size_t)(i % 4)] = (int8_t)rintf(c);
    }
    if (!channel_scale) *scale = max / 127.0f;
}

void qw_kv_store_i8_ref(uint8_t *kv, const qw_kv_layout *layout, int slot, const float *k,
                        const float *v, const float *k_scale, const float *v_scale)
{
    int d = layout->head_dim, dp = layout->head_dim_padded;
    uint8_t *v_part = kv + layout->part_size;
    uint8_t *k_slot = kv + slot / 16 * 16 * dp + slot % 16 * 4;
    store_codes((int8_t *)k_slot, 64, k, k_scale, scale_of(layout, kv, slot), d, dp);
    for (int i = 0; i < dp; i++) k_slot[i / 4 * 64 + i % 4] ^= 0x80; // + 128
    store_codes((int8_t *)v_part + slot * dp, 4, v, v_scale, scale_of(layout, v_part, slot), d, dp);
}
