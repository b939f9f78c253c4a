// Attention over pages with 16-lane vectors; included once per level after its kv8 header. Every
// query does exactly what attention_ref.c says; what is shared between the queries of a tile are
// the reads and, from ATTN_WIDEN queries on, the widening of K and V to fp32.
//
//   per tile of 64 positions    K sub-tiles: 16 positions = one panel of a product
//     scores  [query][64]       product of K panels with the queries
//     softmax in place          masked positions get +0 and are never multiplied with V
//     a       [query][dp]       register tiles of queries x dims, positions ascending
//
// A row sees the positions 0 .. first_pos + row. Rows ascend, so in each tile the queries that see
// something are those from some index on, and how much they see does not decrease.

#include "backend/cpu/simd/attention_i8_simd.h"
#include "backend/cpu/simd/tile_simd.h"

#include <math.h>

enum {
    ATTN_WIDEN = 7, /* queries from which K and V are widened once for all */
};

typedef enum attn_kind { ATTN_BF16, ATTN_F32, ATTN_I8 } attn_kind; // of the pages

typedef struct attn_work {
    const qw_attn_tile *t;
    attn_kind kind;
    bool dot; /* queries are packed to bf16 pairs (levels with a dot product) */
    int n_queries, d, dp;
    float *q;         /* [query][dp] */
    float *p;         /* [query][64]: scores, then probabilities */
    float *a, *all_a; /* [query][dp]: of the segment, of the segments merged so far */
    float *m, *l;     /* [query], of the segment */
    float *all_m, *all_l;
    float *k_wide;                       /* [4 sub-tiles][dp][16] */
    float *v_wide;                       /* [dp / 16][64][16] */
    int count[QW_ATTN_MAX_GROUP_ROWS];   /* positions of the current tile that each query sees */
    i8_query i8[QW_ATTN_MAX_GROUP_ROWS]; /* I8: of each query, which w->q holds as words */
} attn_work;

static void attn_setup(attn_work *w, const qw_attn_tile *t, attn_kind kind)
{
    const size_t n = QW_ATTN_MAX_GROUP_ROWS, dp = (size_t)t->layout->head_dim_padded;
    w->t = t;
    w->kind = kind;
    w->n_queries = t->n_rows * t->group;
    w->d = t->layout->head_dim;
    w->dp = (int)dp;
    w->q = t->scratch;
    w->a = w->q + n * dp;
    w->all_a = w->a + n * dp;
    w->p = w->all_a + n * dp;
    w->k_wide = w->p + n * QW_ATTN_TILE;
    w->v_wide = w->k_wide + QW_ATTN_TILE * dp;
    w->m = w->v_wide + QW_ATTN_TILE * dp;
    w->l = w->m + n;
    w->all_m = w->l + n;
    w->all_l = w->all_m + n;
    for (int r = 0; r < t->n_rows; r++)
        for (int g = 0; g < t->group; g++)
            memcpy(w->q + (size_t)(r * t->group + g) * dp,
                   t->q + (size_t)r * t->q_stride + (size_t)(g * w->d),
                   (size_t)w->d * sizeof(float));
}

static const uint8_t *attn_block(const attn_work *w, int pos)
{
    const qw_kv_layout *kv = w->t->layout;
    return w->t->kv + (size_t)w->t->block_table[pos / kv->block_size] * kv->block_bytes;
}

// Bytes of a position's keys or values.
static size_t attn_value_size(const attn_work *w)
{
    return (size_t)w->dp * (w->kind == ATTN_F32 ? 4 : w->kind == ATTN_I8 ? 1 : 2);
}

// K of the 16 positions from `pos` on.
static const uint8_t *attn_keys(const attn_work *w, int pos)
{
    int slot = pos % w->t->layout->block_size;
    return attn_block(w, pos) + (size_t)slot * attn_value_size(w);
}

static const uint8_t *attn_values(const attn_work *w, int pos)
{
    int slot = pos % w->t->layout->block_size;
    return attn_block(w, pos) + w->t->layout->part_size + (size_t)slot * attn_value_size(w);
}

// Scores of P sub-tiles for 1 to GEMM_ROWS queries; two sub-tiles only where registers allow.
V16_INLINE void attn_score_rows(int n_rows, int P, gemm_kind kind, gemm_fetch fetch,
                                const gemm_block *b)
{
#define ROWS(R)                                                                                    \
    case R:                                                                                        \
        if (P != 2 || (R) <= ATTN_PAIR_ROWS) gemm_tile(R, P, kind, fetch, b);                      \
        break
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

// K of the first tile; later ones come while the tile before them is worked on.
static void attn_prefetch_keys(const attn_work *w, int pos)
{
    int end = w->t->first_pos + w->t->n_rows;
    for (int s = pos; s < pos + QW_ATTN_TILE && s < end; s += 16) {
        const uint8_t *k = attn_keys(w, s);
        for (size_t i = 0; i < 16 * attn_value_size(w); i += 64) v16_prefetch(k + i);
    }
}

// Straight from the pages, for the queries from q0 on. As each line of K is used, one of V is
// fetched, so that memory is never idle and never has more asked of it than it can take.
V16_INLINE void attn_scores_direct(attn_work *w, gemm_kind kind, int pos, int n_sub, int q0)
{
    for (int q = q0, n; q < w->n_queries; q += n) {
        n = w->n_queries - q < GEMM_ROWS ? w->n_queries - q : GEMM_ROWS;
        gemm_block b = {.c = w->p + (size_t)q * QW_ATTN_TILE,
                        .c_stride = QW_ATTN_TILE,
                        .x = w->q + (size_t)q * (size_t)w->dp,
                        .x_stride = (size_t)w->dp,
                        .n_pairs = w->d / 2};
        for (int s = 0; s < n_sub; b.c += 16, s++) {
            b.w = attn_keys(w, pos + 16 * s);
            b.ahead[0] = attn_values(w, pos + 16 * s);
            if (s + 1 < n_sub && n <= ATTN_PAIR_ROWS) {
                b.panel_stride = attn_keys(w, pos + 16 * ++s) - b.w;
                b.ahead[1] = attn_values(w, pos + 16 * s);
                attn_score_rows(n, 2, kind, GEMM_FETCH_AHEAD, &b);
                b.c += 16;
            } else {
                attn_score_rows(n, 1, kind, GEMM_FETCH_AHEAD, &b);
            }
        }
    }
}

// I8: scales of the keys (part 0) or values (part 1) of the 16 positions from `pos` on.
static const float *attn_scales(const attn_work *w, int pos, int part)
{
    const qw_kv_layout *kv = w->t->layout;
    const uint8_t *page = attn_block(w, pos) + (part ? kv->part_size : 0);
    return (const float *)(const void *)(page + i8_scales_at(kv)) + pos % kv->block_size;
}

// Straight from the pages for any number of queries; the first of them fetch V.
static void attn_scores_i8(attn_work *w, int pos, int n_sub, int q0)
{
    for (int s = 0; s < n_sub; s++) {
        i8_block b = {.k = attn_keys(w, pos + 16 * s),
                      .k_scale = w->t->k_scale ? NULL : attn_scales(w, pos + 16 * s, 0),
                      .ahead = attn_values(w, pos + 16 * s),
                      .dp = w->dp};
        for (int q = q0, n; q < w->n_queries; q += n, b.ahead = NULL) {
            n = w->n_queries - q < KV8_ROWS ? w->n_queries - q : KV8_ROWS;
            b.s = w->p + q * QW_ATTN_TILE + 16 * s;
            b.words = w->q + (size_t)q * (size_t)w->dp;
            b.query = w->i8 + q;
            i8_scores(n, &b);
        }
    }
}

// Probabilities times the scales of their values.
static void attn_scale_values(attn_work *w, int pos, int n_sub, int q0)
{
    for (int s = 0; s < n_sub && !w->t->v_scale; s++) {
        v16 scale = v16_load(attn_scales(w, pos + 16 * s, 1));
        float *p = w->p + q0 * QW_ATTN_TILE + 16 * s;
        for (int q = q0; q < w->n_queries; q++, p += QW_ATTN_TILE)
            v16_store(p, v16_mul(v16_load(p), scale));
    }
}

static void attn_widen_keys(attn_work *w, int pos, int n_sub)
{
    float *out = w->k_wide;
    for (int s = 0; s < n_sub; s++) {
        const uint8_t *k = attn_keys(w, pos + 16 * s);
        if (w->kind == ATTN_F32) {
            memcpy(out, k, (size_t)(w->d * 16) * sizeof(float));
        } else {
            for (int i = 0; i < w->d / 2; i++) {
                v16_store(out + 32 * i, v16_bf16_even(k + 64 * i));
                v16_store(out + 32 * i + 16, v16_bf16_odd(k + 64 * i));
            }
        }
        out += w->d * 16;
    }
}

static void attn_scores_many(attn_work *w, int pos, int n_sub, int q0)
{
    attn_widen_keys(w, pos, n_sub);
    ptrdiff_t panel_stride = (ptrdiff_t)w->d * 64;
    for (int s = 0; s < n_sub;) {
        int wide = n_sub - s >= GEMM_WIDE(GEMM_ROWS) ? GEMM_WIDE(GEMM_ROWS) : 1;
        for (int q = q0; q < w->n_queries; q += GEMM_ROWS) {
            gemm_block b = {.c = w->p + q * QW_ATTN_TILE + 16 * s,
                            .c_stride = QW_ATTN_TILE,
                            .w = (const uint8_t *)w->k_wide + s * panel_stride,
                            .panel_stride = panel_stride,
                            .x = w->q + (size_t)q * (size_t)w->dp,
                            .x_stride = (size_t)w->dp,
                            .n_pairs = w->d / 2};
            int n = w->n_queries - q < GEMM_ROWS ? w->n_queries - q : GEMM_ROWS;
            if (wide == 1)
                attn_score_rows(n, 1, GEMM_F32, GEMM_FETCH_NONE, &b);
            else
                attn_score_rows(n, GEMM_WIDE(GEMM_ROWS), GEMM_F32, GEMM_FETCH_NONE, &b);
        }
        s += wide;
    }
}

#if defined(V16_HAS_DOT)
// Queries and keys that are bf16 values: pairs of both straight from where they are, for any number
// of queries. w->q then holds words, [query][dp / 2].
static void attn_pack_queries(attn_work *w)
{
    QW_ALIGNED(64) float row[1024 + 32];
    for (int q = 0; q < w->n_queries; q++) {
        memcpy(row, w->q + (size_t)q * (size_t)w->dp, (size_t)w->d * sizeof *row);
        memset(row + w->d, 0, 32 * sizeof *row);
        uint32_t *out = (uint32_t *)(w->q + (size_t)q * (size_t)w->dp);
        for (int i = 0; i < w->d; i += 32)
            v16_store_pairs(out + i / 2, v16_load(row + i), v16_load(row + i + 16));
    }
}
#endif

static void attn_scores(attn_work *w, int pos, int n_sub, int q0, bool many)
{
#if defined(V16_HAS_DOT)
    if (w->dot) {
        attn_scores_direct(w, GEMM_DOT, pos, n_sub, q0);
        return;
    }
#endif
    if (w->kind == ATTN_I8)
        attn_scores_i8(w, pos, n_sub, q0);
    else if (many)
        attn_scores_many(w, pos, n_sub, q0);
    else if (w->kind == ATTN_F32)
        attn_scores_direct(w, GEMM_F32, pos, n_sub, q0);
    else
        attn_scores_direct(w, GEMM_BF16, pos, n_sub, q0);
}

// Scores of one query into probabilities of `count` positions; rescales what was summed before.
static void attn_softmax(attn_work *w, int q, int count)
{
    float *p = w->p + (size_t)q * QW_ATTN_TILE, *a = w->a + (size_t)q * (size_t)w->dp;
    v16 masked = v16_set1(-INFINITY), scale = v16_set1(w->t->scale), max = masked, v[4];
    V16_UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = v16_first_n(v16_mul(v16_load(p + 16 * i), scale), masked, count - 16 * i);
        max = v16_max(v[i], max);
    }
    float m = v16_fold_max(max, w->m[q]);
    float shift = m == -INFINITY ? 0.0f : m;
    float c = qw_exp_ref(w->m[q] - shift);
    V16_UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = v16_first_n(v16_exp(v16_sub(v[i], v16_set1(shift))), v16_set1(0.0f), count - 16 * i);
        v16_store(p + 16 * i, v[i]);
    }
    v16 sum = v16_add(v16_add(v16_add(v[0], v[1]), v[2]), v[3]);
    w->l[q] = fmaf(w->l[q], c, v16_fold(sum));
    w->m[q] = m;
    if (c == 1.0f) return; // multiplying by it would change nothing
    for (int i = 0; i < w->dp; i += 16) v16_store(a + i, v16_mul(v16_load(a + i), v16_set1(c)));
}

// Sub-tiles of a tile, 16 positions each: V of this one, and the K that is needed next.
typedef struct attn_pages {
    const uint8_t *v[4], *next_k[4];
} attn_pages;

static attn_pages attn_pages_at(const attn_work *w, int pos)
{
    attn_pages pages;
    int end = w->t->first_pos + w->t->n_rows, next = pos + QW_ATTN_TILE;
    for (int s = 0; s < 4; s++) {
        // Beyond the last position there is no block: the first one again, which is in the cache.
        pages.v[s] = attn_values(w, pos + 16 * s < end ? pos + 16 * s : pos);
        pages.next_k[s] = next + 16 * s < end ? attn_keys(w, next + 16 * s) : pages.v[0];
    }
    return pages;
}

// The next K's lines in turn: 16 of them (pairs of them, fp32; halves, int8) for 16 positions and
// 32 dims of V.
static const uint8_t *attn_ahead(const attn_work *w, const attn_pages *pages, int i_dims, int s,
                                 size_t line)
{
    int n_dims = w->dp / 32, i = 4 * i_dims + s;
    return pages->next_k[i / n_dims] + (size_t)(i % n_dims) * 16 * line;
}

// The first and the second 16 of 32 dims of a position's values.
V16_INLINE v16 attn_low_dims(attn_kind kind, const uint8_t *v)
{
    if (kind == ATTN_I8) return kv8_widen(v);
    return kind == ATTN_F32 ? v16_load((const float *)v) : v16_bf16_even(v);
}

V16_INLINE v16 attn_high_dims(attn_kind kind, const uint8_t *v)
{
    if (kind == ATTN_I8) return kv8_widen(v + 16);
    return kind == ATTN_F32 ? v16_load((const float *)v + 16) : v16_bf16_odd(v);
}

// Positions [j0, j1) for R queries, straight from the pages, 32 dims at a time.
V16_INLINE void attn_values_few(attn_work *w, const attn_pages *pages, attn_kind kind, int R, int q,
                                int j0, int j1)
{
    const size_t dp = (size_t)w->dp, stride = attn_value_size(w),
                 line = kind == ATTN_F32  ? 128
                        : kind == ATTN_I8 ? 32
                                          : 64;
    const float *p = w->p + (size_t)q * QW_ATTN_TILE;
    for (int i = 0; i < w->dp / 32; i++) {
        float *a = w->a + (size_t)q * dp + 32 * i;
        v16 acc[3][2];
        V16_UNROLL
        for (int r = 0; r < R; r++) {
            acc[r][0] = v16_load(a + (size_t)r * dp);
            acc[r][1] = v16_load(a + (size_t)r * dp + 16);
        }
        for (int j = j0; j < j1;) {
            int s = j / 16, end = 16 * s + 16 < j1 ? 16 * s + 16 : j1;
            const uint8_t *v = pages->v[s] + (size_t)(j % 16) * stride + (size_t)i * line;
            const uint8_t *ahead = attn_ahead(w, pages, i, s, line);
            for (; j < end; j++, v += stride, ahead += line) {
                if (kind != ATTN_I8 || j % 2 == 0) v16_prefetch(ahead);
                if (kind == ATTN_F32) v16_prefetch(ahead + 64);
                v16 low = attn_low_dims(kind, v), high = attn_high_dims(kind, v);
                V16_UNROLL
                for (int r = 0; r < R; r++) {
                    v16 x = v16_set1(p[r * QW_ATTN_TILE + j]);
                    acc[r][0] = v16_mac(low, x, acc[r][0]);
                    acc[r][1] = v16_mac(high, x, acc[r][1]);
                }
            }
        }
        V16_UNROLL
        for (int r = 0; r < R; r++) {
            v16_store(a + (size_t)r * dp, acc[r][0]);
            v16_store(a + (size_t)r * dp + 16, acc[r][1]);
        }
    }
}

// Queries in groups of up to three: those positions that all of a group see, then the rest.
V16_INLINE void attn_add_few(attn_work *w, attn_kind kind, int pos, int q0)
{
    attn_pages pages = attn_pages_at(w, pos);
    if (kind == ATTN_I8 && pages.next_k[0] != pages.v[0]) // the next tile's scales
        v16_prefetch(attn_scales(w, pos + QW_ATTN_TILE, 0));
    for (int q = q0, n; q < w->n_queries; q += n) {
        int left = w->n_queries - q, n_groups = (left + 2) / 3, seen = w->count[q];
        n = (left + n_groups - 1) / n_groups;
        if (n == 1)
            attn_values_few(w, &pages, kind, 1, q, 0, seen);
        else if (n == 2)
            attn_values_few(w, &pages, kind, 2, q, 0, seen);
        else
            attn_values_few(w, &pages, kind, 3, q, 0, seen);
        for (int i = q + 1; i < q + n; i++)
            if (w->count[i] > seen) attn_values_few(w, &pages, kind, 1, i, seen, w->count[i]);
    }
}

V16_INLINE void attn_widen_position(float *out, attn_kind kind, const uint8_t *v, int dp)
{
    const size_t step = kind == ATTN_F32 ? 128 : kind == ATTN_I8 ? 32 : 64;
    for (int i = 0; i < dp; i += 32, out += 2 * 16 * QW_ATTN_TILE, v += step) {
        v16_store(out, attn_low_dims(kind, v));
        v16_store(out + 16 * QW_ATTN_TILE, attn_high_dims(kind, v));
    }
}

static void attn_widen_values(attn_work *w, int pos, int n)
{
    for (int j = 0; j < n; j++) {
        const uint8_t *v = attn_values(w, pos + j);
        switch (w->kind) {
        case ATTN_F32: attn_widen_position(w->v_wide + 16 * j, ATTN_F32, v, w->dp); break;
        case ATTN_I8: attn_widen_position(w->v_wide + 16 * j, ATTN_I8, v, w->dp); break;
        case ATTN_BF16: attn_widen_position(w->v_wide + 16 * j, ATTN_BF16, v, w->dp); break;
        }
    }
}

// a[R][16 P] += sum over n positions of p[r][j] * v[j], j ascending; v: panels of 16 dims, widened.
V16_INLINE void attn_value_tile(int R, int P, float *a, size_t a_stride, const float *p,
                                const float *v, int n)
{
    v16 acc[GEMM_ROWS][GEMM_MAX_WIDE];
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        V16_UNROLL
        for (int i = 0; i < P; i++) acc[r][i] = v16_load(a + (size_t)r * a_stride + 16 * i);
    }
    for (int j = 0; j < n; j++, v += 16) {
        V16_UNROLL
        for (int i = 0; i < P; i++) {
            v16 x = v16_load(v + 16 * QW_ATTN_TILE * i);
            V16_UNROLL
            for (int r = 0; r < R; r++)
                acc[r][i] = v16_mac(x, v16_set1(p[r * QW_ATTN_TILE + j]), acc[r][i]);
        }
    }
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        V16_UNROLL
        for (int i = 0; i < P; i++) v16_store(a + (size_t)r * a_stride + 16 * i, acc[r][i]);
    }
}

// Positions [j0, j1) for n_rows queries and P panels of dims from `panel` on.
V16_INLINE void attn_values_wide(attn_work *w, int P, int panel, int q, int n_rows, int j0, int j1)
{
    const size_t dp = (size_t)w->dp;
    const float *v = w->v_wide + 16 * (panel * QW_ATTN_TILE + j0);
    const float *p = w->p + q * QW_ATTN_TILE + j0;
    float *a = w->a + (size_t)q * dp + 16 * panel;
    switch (n_rows) {
    case 1: attn_value_tile(1, P, a, dp, p, v, j1 - j0); break;
    case 2: attn_value_tile(2, P, a, dp, p, v, j1 - j0); break;
    case 3: attn_value_tile(3, P, a, dp, p, v, j1 - j0); break;
    case 4: attn_value_tile(4, P, a, dp, p, v, j1 - j0); break;
    case 5: attn_value_tile(5, P, a, dp, p, v, j1 - j0); break;
    default: attn_value_tile(6, P, a, dp, p, v, j1 - j0); break;
    }
}

V16_INLINE void attn_panels_many(attn_work *w, int P, int panel, int q0)
{
    for (int q = q0, n; q < w->n_queries; q += n) {
        n = w->n_queries - q < GEMM_ROWS ? w->n_queries - q : GEMM_ROWS;
        attn_values_wide(w, P, panel, q, n, 0, w->count[q]);
        for (int i = q + 1; i < q + n; i++)
            if (w->count[i] > w->count[q])
                attn_values_wide(w, P, panel, i, 1, w->count[q], w->count[i]);
    }
}

static void attn_add_many(attn_work *w, int pos, int n, int q0)
{
    const int wide = GEMM_WIDE(GEMM_ROWS);
    attn_widen_values(w, pos, n);
    int panel = 0;
    for (; panel + wide <= w->dp / 16; panel += wide) attn_panels_many(w, wide, panel, q0);
    for (; wide > 1 && panel < w->dp / 16; panel++) attn_panels_many(w, 1, panel, q0);
}

// The tile of positions pos .. pos + 63 for the queries from q0 on, which all see some of it.
static void attn_tile(attn_work *w, int pos, int q0)
{
    for (int q = q0; q < w->n_queries; q++) {
        int n = w->t->first_pos + q / w->t->group + 1 - pos;
        w->count[q] = n < QW_ATTN_TILE ? n : QW_ATTN_TILE;
    }
    int n = w->count[w->n_queries - 1], n_sub = (n + 15) / 16;
    bool many = w->n_queries - q0 >= ATTN_WIDEN;
    attn_scores(w, pos, n_sub, q0, many);
    for (int q = q0; q < w->n_queries; q++) attn_softmax(w, q, w->count[q]);
    if (w->kind == ATTN_I8) attn_scale_values(w, pos, n_sub, q0);
    if (many)
        attn_add_many(w, pos, n, q0);
    else if (w->kind == ATTN_F32)
        attn_add_few(w, ATTN_F32, pos, q0);
    else if (w->kind == ATTN_I8)
        attn_add_few(w, ATTN_I8, pos, q0);
    else
        attn_add_few(w, ATTN_BF16, pos, q0);
}

static void attn_merge(attn_work *w, int q)
{
    if (w->m[q] == -INFINITY) return;
    float m = w->m[q] > w->all_m[q] ? w->m[q] : w->all_m[q];
    float c = qw_exp_ref(w->all_m[q] - m), e = qw_exp_ref(w->m[q] - m);
    w->all_l[q] = fmaf(w->all_l[q], c, w->l[q] * e);
    w->all_m[q] = m;
    const float *a = w->a + (size_t)q * (size_t)w->dp;
    float *all = w->all_a + (size_t)q * (size_t)w->dp;
    for (int i = 0; i < w->dp; i += 16)
        v16_store(all + i,
                  v16_fma(v16_load(all + i), v16_set1(c), v16_mul(v16_load(a + i), v16_set1(e))));
}

static void attn_reset(float *m, float *l, float *a, int dp)
{
    *m = -INFINITY;
    *l = 0.0f;
    memset(a, 0, (size_t)dp * sizeof *a);
}

// Index of the first query that sees position `pos`.
static int attn_first_query(const attn_work *w, int pos)
{
    int row = pos - w->t->first_pos;
    return row > 0 ? row * w->t->group : 0;
}

static void attn_segment(attn_work *w, int begin, int end)
{
    for (int q = attn_first_query(w, begin); q < w->n_queries; q++)
        attn_reset(&w->m[q], &w->l[q], w->a + (size_t)q * (size_t)w->dp, w->dp);
    attn_prefetch_keys(w, begin);
    for (int pos = begin; pos < end; pos += QW_ATTN_TILE)
        attn_tile(w, pos, attn_first_query(w, pos));
}

static void attn_finish(const attn_work *w, int q)
{
    const qw_attn_tile *t = w->t;
    float *out = t->out + (size_t)(q / t->group) * t->out_stride + (size_t)(q % t->group * w->d);
    const float *a = w->all_a + (size_t)q * (size_t)w->dp;
    for (int i = 0; i < w->d; i += 16) {
        v16 o = v16_add(v16_div(v16_load(a + i), v16_set1(w->all_l[q])), v16_set1(0.0f));
        if (t->v_scale) o = v16_mul(o, v16_load_n(t->v_scale + i, w->d - i));
        if (t->round) o = v16_round_bf16(o);
        v16_store_n(out + i, o, w->d - i);
    }
}

// The states of all queries after one segment; those that see nothing of it stay empty.
static void attn_partial(attn_work *w)
{
    const qw_attn_tile *t = w->t;
    const size_t dp = (size_t)w->dp;
    int n = t->first_pos + t->n_rows, begin = t->segment * QW_ATTN_SEGMENT;
    for (int q = 0; q < w->n_queries; q++)
        attn_reset(&w->m[q], &w->l[q], w->a + (size_t)q * dp, w->dp);
    attn_segment(w, begin, n - begin < QW_ATTN_SEGMENT ? n : begin + QW_ATTN_SEGMENT);
    float *out = t->partial;
    for (int q = 0; q < w->n_queries; q++, out += dp + 2) {
        memcpy(out, w->a + (size_t)q * dp, dp * sizeof *out);
        out[dp] = w->m[q];
        out[dp + 1] = w->l[q];
    }
}

static void attn_run(const qw_attn_tile *t, attn_kind kind)
{
    attn_work w;
    attn_setup(&w, t, kind);
    for (int q = 0; q < w.n_queries && kind == ATTN_I8; q++)
        w.i8[q] = i8_pack_query(w.q + (size_t)q * (size_t)w.dp, t->k_scale, w.d, w.dp);
#if defined(V16_HAS_DOT)
    w.dot = kind == ATTN_BF16 && t->round;
    if (w.dot) attn_pack_queries(&w);
#endif
    if (t->segment >= 0) {
        attn_partial(&w);
        return;
    }
    int n = t->first_pos + t->n_rows;
    for (int q = 0; q < w.n_queries; q++)
        attn_reset(&w.all_m[q], &w.all_l[q], w.all_a + (size_t)q * (size_t)w.dp, w.dp);
    for (int s = 0; s < n; s += QW_ATTN_SEGMENT) {
        attn_segment(&w, s, n - s < QW_ATTN_SEGMENT ? n : s + QW_ATTN_SEGMENT);
        for (int q = attn_first_query(&w, s); q < w.n_queries; q++) attn_merge(&w, q);
    }
    for (int q = 0; q < w.n_queries; q++) attn_finish(&w, q);
}

// A level that only brings some of them says which it leaves out.
#if !defined(ATTN_NO_BF16)
void QW_LEVEL(qw_attention_bf16)(const qw_attn_tile *tile)
{
    attn_run(tile, ATTN_BF16);
}
#endif

#if !defined(ATTN_NO_F32)
void QW_LEVEL(qw_attention_f32)(const qw_attn_tile *tile)
{
    attn_run(tile, ATTN_F32);
}
#endif

#if !defined(ATTN_NO_I8)
void QW_LEVEL(qw_attention_i8)(const qw_attn_tile *tile)
{
    attn_run(tile, ATTN_I8);
}
#endif

#if !defined(ATTN_NO_STORE)
void QW_LEVEL(qw_kv_store_i8)(uint8_t *kv, const qw_kv_layout *layout, int slot, const float *k,
                              const float *v, const float *k_scale, const float *v_scale)
{
    QW_ALIGNED(64) int32_t c[I8_MAX_DIM];
    const size_t dp = (size_t)layout->head_dim_padded;
    float *k_scales = (float *)(void *)(kv + i8_scales_at(layout));
    float *v_scales = (float *)(void *)(kv + layout->part_size + i8_scales_at(layout));
    uint8_t *key = kv + (size_t)(slot / 16 * 16) * dp + (size_t)(slot % 16 * 4);
    uint8_t *value = kv + layout->part_size + (size_t)slot * dp;
    i8_head_codes(c, k, k_scale, k_scales + slot, layout);
    for (size_t i = 0; i < dp; i += 4, key += 64)
        for (size_t j = 0; j < 4; j++) key[j] = (uint8_t)(c[i + j] + 128);
    i8_head_codes(c, v, v_scale, v_scales + slot, layout);
    for (size_t i = 0; i < dp; i++) value[i] = (uint8_t)c[i];
}
#endif
