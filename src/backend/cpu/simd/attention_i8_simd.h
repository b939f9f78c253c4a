#ifndef QW_BACKEND_CPU_SIMD_ATTENTION_I8_SIMD_H
#define QW_BACKEND_CPU_SIMD_ATTENTION_I8_SIMD_H

// What int8 pages need beside attention_simd.h: codes of keys, values and queries as kernels.h
// defines them, and the integer scores. Included after a level's kv8 header. Integer sums are
// exact, so their order is free; corrections may wrap around on the way.

#include "backend/cpu/kernels.h"

#include <math.h>

enum { I8_MAX_DIM = 1024 };

// max|x| over n values; 0 when it counts as none, NaN when there is a NaN or an infinity.
V16_INLINE float i8_largest(const float *x, int n)
{
    v16 zero = v16_set1(0.0f), max = zero, odd = zero;
    for (int i = 0; i < n; i += 16) {
        v16 v = v16_load_n(x + i, n - i);
        max = v16_max(v16_sub(zero, v16_neg_abs(v)), max);
        odd = v16_add(odd, v16_sub(v, v)); // +0 for numbers
    }
    float largest = v16_fold_max(max, 0.0f);
    if (v16_fold(odd) != 0.0f) return NAN;
    return largest < QW_KV_TINY ? 0.0f : largest;
}

// c[0 .. dp-1] = rne(x * factor) for n values, 0 beyond.
V16_INLINE void i8_codes(int32_t *c, const float *x, float factor, int n, int dp)
{
    for (int i = 0; i < dp; i += 16) {
        v16 v = factor > 0.0f ? v16_mul(v16_load_n(x + i, n - i), v16_set1(factor)) : v16_set1(0);
        kv8_store_rounded(c + i, v);
    }
}

V16_INLINE void i8_channel_codes(int32_t *c, const float *x, const float *scale, int n, int dp)
{
    v16 least = v16_set1(-128.0f), most = v16_set1(127.0f);
    for (int i = 0; i < dp; i += 16) {
        v16 v = v16_set1(0.0f);
        if (i < n) {
            v = v16_max(v16_div(v16_load_n(x + i, n - i), v16_load_n(scale + i, n - i)), least);
            v = v16_select_nonneg(v16_sub(most, v), v, most);
            v = v16_first_n(v, v16_set1(0.0f), n - i);
        }
        kv8_store_rounded(c + i, v);
    }
}

// Codes of a head of keys or values; its scale unless channels have theirs.
V16_INLINE void i8_head_codes(int32_t *c, const float *x, const float *channel_scale, float *scale,
                              const qw_kv_layout *kv)
{
    if (channel_scale) {
        i8_channel_codes(c, x, channel_scale, kv->head_dim, kv->head_dim_padded);
        return;
    }
    float largest = i8_largest(x, kv->head_dim);
    i8_codes(c, x, largest > 0.0f ? 127.0f / largest : 0.0f, kv->head_dim, kv->head_dim_padded);
    *scale = largest / 127.0f;
}

static inline size_t i8_scales_at(const qw_kv_layout *kv)
{
    return (size_t)kv->block_size * (size_t)kv->head_dim_padded;
}

/** The step of a query's codes, and what takes the keys' + 128 back out of their sums. */
typedef struct i8_query {
    float step;
    int32_t correction;
} i8_query;

// Replaces the query, d floats of room dp, by its words.
V16_INLINE i8_query i8_pack_query(float *q, const float *k_scale, int d, int dp)
{
    QW_ALIGNED(64) int32_t c[I8_MAX_DIM];
    for (int i = 0; k_scale && i < d; i += 16)
        v16_store_n(q + i, v16_mul(v16_load_n(q + i, d - i), v16_load_n(k_scale + i, d - i)),
                    d - i);
    float largest = i8_largest(q, d);
    i8_codes(c, q, largest > 0.0f ? QW_KV_QUERY_MAX / largest : 0.0f, d, dp);
    uint32_t sum = 0;
    for (int i = 0; i < dp; i += 4) {
        uint32_t words[2];
        kv8_pack(words, c + i);
        memcpy(q + i / 2, words, sizeof words);
        for (int j = 0; j < 4; j++) sum += (uint32_t)c[i + j];
    }
    return (i8_query){largest / QW_KV_QUERY_MAX, (int32_t)(0u - 128u * sum)};
}

/** 16 positions and up to KV8_ROWS queries. */
typedef struct i8_block {
    float *s; /* scores, [query][64] */
    const uint8_t *k;
    const float *k_scale;  /* [16]; NULL: none */
    const float *words;    /* [query][dp] */
    const i8_query *query; /* [query] */
    const uint8_t *ahead;  /* as many bytes as K is fetched from here; NULL: nothing */
    int dp;
} i8_block;

V16_INLINE void i8_score_rows(int R, const i8_block *b)
{
    const int n = b->dp / 4;
    kv8_acc acc[KV8_ROWS];
    V16_UNROLL
    for (int r = 0; r < R; r++) acc[r] = kv8_zero();
    for (int i = 0; i < n; i++) {
        if (b->ahead) v16_prefetch(b->ahead + 64 * i);
        kv8_row row = kv8_load(b->k + 64 * i);
        V16_UNROLL
        for (int r = 0; r < R; r++) {
            uint32_t words[2];
            memcpy(words, b->words + r * b->dp + 2 * i, sizeof words);
            acc[r] = kv8_dot(acc[r], row, words);
        }
    }
    v16 k_scale = b->k_scale ? v16_load(b->k_scale) : v16_set1(1.0f);
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        v16 s = v16_mul(kv8_sums(acc[r], b->query[r].correction), v16_set1(b->query[r].step));
        v16_store(b->s + r * QW_ATTN_TILE, v16_mul(s, k_scale));
    }
}

V16_INLINE void i8_scores(int n_rows, const i8_block *b)
{
#define ROWS(R)                                                                                    \
    case R: i8_score_rows((R) <= KV8_ROWS ? (R) : 1, b); break
    switch (n_rows) {
        ROWS(1);
        ROWS(2);
        ROWS(3);
        ROWS(4);
        ROWS(5);
        ROWS(6);
    default: break;
    }
#undef ROWS
}

#endif
