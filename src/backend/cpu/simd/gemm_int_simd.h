// Products of integer panels with integer rows (cpu-kernels.md 3.1, 3.2, 3.4); included once per
// level after its vec16i header and QW_INT_LEVEL. Sums are exact, so tiles and blocks may be cut as
// speed wants; only groups have an order, and are never cut.
//
// A level with V16_HAS_VNNI multiplies bytes by vpdpbusd. Without it, int8 weights become 16-bit
// numbers, even bytes and odd bytes of a panel row apart, and meet rows that widen_i8 has ordered
// likewise (vpmaddwd); int4 weights stay bytes, whose products with signed bytes fit 16 bits, eight
// times over (vpmaddubsw: 8 * 2 * 15 * 128 = 30720).
//
// Few rows: the panels pass through the registers as they are, once for every six rows, with a
// prefetch for each line. Many rows: block after block of k, in the form that the tile wants, stays
// in L1 while all rows pass by.

#include "backend/cpu/kernels.h"

// Emulated vectors take a compiler minutes in every shape: there one tile of any shape does it.
#if defined(QW_KERNEL_EMULATION)
#undef V16_UNROLL
#define V16_UNROLL
#endif

typedef enum int_kind {
    INT_I8,    /* panel rows of 4 k */
    INT_PAIRS, /* expanded: even bytes, then odd bytes of such a row as 16 bits; 128 bytes */
    INT_I4,    /* panel rows of 8 k */
    INT_SMALL, /* expanded: rows of 4 k, bytes of 0 .. 15 */
} int_kind;

enum {
    INT_ROWS = 6,
    INT_MAX_WIDE = 4,
    INT_PREFETCH = 2048, /* bytes ahead, in each panel */
    INT_SLAB = 16384,    /* bytes of a block in L1 */
    INT_CHUNK = 8,       /* products that 16 bits can add up */
};

// One operand set: `n_groups` times `group_rows` rows of panels `panel_stride` bytes apart.
typedef struct int_block {
    void *c;
    size_t c_stride;
    const uint8_t *w;
    ptrdiff_t panel_stride;
    const uint8_t *x;
    size_t x_stride; /* bytes */
    const int32_t *sums;
    size_t n_sums;
    const float *group_scales; /* NULL: no groups; c is int32 */
    size_t scales_stride;      /* floats from panel to panel */
    int n_groups, group_rows;
    bool add; /* continue the sums in c */
} int_block;

V16_INLINE int int_offset(int_kind kind)
{
    return kind == INT_I8 || kind == INT_PAIRS ? 128 : 8;
}

// Bytes of activations that one row of a panel meets.
V16_INLINE size_t int_x_step(int_kind kind)
{
    if (kind == INT_I4) return 8;
    if (kind == INT_SMALL) return 4;
#if defined(V16_HAS_VNNI)
    return 4;
#else
    return 8;
#endif
}

V16_INLINE size_t int_w_step(int_kind kind)
{
    return kind == INT_PAIRS ? 128 : 64;
}

// How many times a row of a panel is multiplied with a word of activations.
V16_INLINE int int_parts(int_kind kind)
{
    if (kind == INT_SMALL) return 1;
#if defined(V16_HAS_VNNI)
    return kind == INT_I4 ? 2 : 1;
#else
    return 2;
#endif
}

V16_INLINE v16i int_operand(int_kind kind, const uint8_t *row, int part)
{
    if (kind == INT_PAIRS) return v16i_load(row + 64 * part);
    v16i v = v16i_load(row);
    if (kind == INT_I4) return part == 0 ? v16i_low_nibbles(v) : v16i_high_nibbles(v);
#if !defined(V16_HAS_VNNI)
    if (kind == INT_I8) return part == 0 ? v16i_even_bytes(v) : v16i_odd_bytes(v);
#endif
    return v;
}

V16_INLINE v16i int_mac(int_kind kind, v16i acc, v16i w, v16b x)
{
#if defined(V16_HAS_VNNI)
    (void)kind;
    return v16i_mac_bytes(acc, w, x);
#else
    return kind == INT_I8 || kind == INT_PAIRS ? v16i_mac_pairs(acc, w, x)
                                               : v16i_mac_bytes16(acc, w, x);
#endif
}

// acc[r][p] += one row of every panel times its activations.
V16_INLINE void int_step(int R, int P, v16i acc[INT_ROWS][INT_MAX_WIDE], int_kind kind,
                         const uint8_t *row, ptrdiff_t panel_stride, const uint8_t *x,
                         size_t x_stride)
{
    V16_UNROLL
    for (int part = 0; part < int_parts(kind); part++) {
        if (R == 1) {
            v16b b = v16b_word(x + 4 * part);
            V16_UNROLL
            for (int p = 0; p < P; p++)
                acc[0][p] =
                    int_mac(kind, acc[0][p], int_operand(kind, row + p * panel_stride, part), b);
            continue;
        }
        v16i w[INT_MAX_WIDE];
        V16_UNROLL
        for (int p = 0; p < P; p++) w[p] = int_operand(kind, row + p * panel_stride, part);
        V16_UNROLL
        for (int r = 0; r < R; r++) {
            v16b b = v16b_word(x + (size_t)r * x_stride + 4 * part);
            V16_UNROLL
            for (int p = 0; p < P; p++) acc[r][p] = int_mac(kind, acc[r][p], w[p], b);
        }
    }
}

V16_INLINE void int_fetch(int P, const uint8_t *row, ptrdiff_t panel_stride)
{
    V16_UNROLL
    for (int p = 0; p < P; p++) v16_prefetch(row + p * panel_stride + INT_PREFETCH);
}

// acc += n rows, each of which is added in 32 bits.
V16_INLINE void int_run32(int R, int P, v16i acc[INT_ROWS][INT_MAX_WIDE], int_kind kind, bool fetch,
                          const uint8_t *w, ptrdiff_t panel_stride, const uint8_t *x,
                          size_t x_stride, int n)
{
    for (; n > 0; n--) {
        if (fetch) int_fetch(P, w, panel_stride);
        int_step(R, P, acc, kind, w, panel_stride, x, x_stride);
        w += int_w_step(kind);
        x += int_x_step(kind);
    }
}

#if !defined(V16_HAS_VNNI)
// acc += n rows, a chunk of them in 16 bits.
V16_INLINE void int_run16(int R, int P, v16i acc[INT_ROWS][INT_MAX_WIDE], int_kind kind, bool fetch,
                          const uint8_t *w, ptrdiff_t panel_stride, const uint8_t *x,
                          size_t x_stride, int n)
{
    const int per_chunk = INT_CHUNK / int_parts(kind);
    while (n > 0) {
        int n_now = n < per_chunk ? n : per_chunk;
        v16i small[INT_ROWS][INT_MAX_WIDE];
        V16_UNROLL
        for (int r = 0; r < R; r++) {
            V16_UNROLL
            for (int p = 0; p < P; p++) {
                V16I_TO_MEMORY(acc[r][p]);
                small[r][p] = v16i_set1(0);
            }
        }
        int_run32(R, P, small, kind, fetch, w, panel_stride, x, x_stride, n_now);
        V16_UNROLL
        for (int r = 0; r < R; r++) {
            V16_UNROLL
            for (int p = 0; p < P; p++) acc[r][p] = v16i_add_halves(acc[r][p], small[r][p]);
        }
        w += (size_t)n_now * int_w_step(kind);
        x += (size_t)n_now * int_x_step(kind);
        n -= n_now;
    }
}
#endif

V16_INLINE void int_run(int R, int P, v16i acc[INT_ROWS][INT_MAX_WIDE], int_kind kind, bool fetch,
                        const uint8_t *w, ptrdiff_t panel_stride, const uint8_t *x, size_t x_stride,
                        int n)
{
#if !defined(V16_HAS_VNNI)
    if (kind == INT_I4 || kind == INT_SMALL) {
        int_run16(R, P, acc, kind, fetch, w, panel_stride, x, x_stride, n);
        return;
    }
#endif
    int_run32(R, P, acc, kind, fetch, w, panel_stride, x, x_stride, n);
}

// c[R][16 P] of one block without groups.
V16_INLINE void int_tile(int R, int P, int_kind kind, bool fetch, const int_block *b)
{
    int32_t *c = b->c;
    const size_t c_stride = b->c_stride;
    v16i acc[INT_ROWS][INT_MAX_WIDE];
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        // What the stored offset adds to each product is taken away first.
        v16i start = v16i_set1(-int_offset(kind) * b->sums[(size_t)r * b->n_sums]);
        V16_UNROLL
        for (int p = 0; p < P; p++)
            acc[r][p] = b->add ? v16i_load(c + (size_t)r * c_stride + 16 * p) : start;
    }
    int_run(R, P, acc, kind, fetch, b->w, b->panel_stride, b->x, b->x_stride, b->group_rows);
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        V16_UNROLL
        for (int p = 0; p < P; p++) v16i_store(c + (size_t)r * c_stride + 16 * p, acc[r][p]);
    }
}

// The same with groups: c holds the sums of scaled groups so far.
V16_INLINE void int_group_tile(int R, int P, int_kind kind, bool fetch, const int_block *b)
{
    float *c = b->c;
    const size_t c_stride = b->c_stride;
    const uint8_t *w = b->w, *x = b->x;
    v16 f[INT_ROWS][INT_MAX_WIDE];
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        V16_UNROLL
        for (int p = 0; p < P; p++)
            f[r][p] = b->add ? v16_load(c + (size_t)r * c_stride + 16 * p) : v16_set1(0.0f);
    }
    for (int g = 0; g < b->n_groups; g++) {
        v16i acc[INT_ROWS][INT_MAX_WIDE];
        V16_UNROLL
        for (int r = 0; r < R; r++) {
            v16i start = v16i_set1(-int_offset(kind) * b->sums[(size_t)r * b->n_sums + (size_t)g]);
            V16_UNROLL
            for (int p = 0; p < P; p++) acc[r][p] = start;
        }
        int_run(R, P, acc, kind, fetch, w, b->panel_stride, x, b->x_stride, b->group_rows);
        V16_UNROLL
        for (int p = 0; p < P; p++) {
            v16 s = v16_load(b->group_scales + (size_t)p * b->scales_stride + 16 * (size_t)g);
            V16_UNROLL
            for (int r = 0; r < R; r++) f[r][p] = v16_fma(v16i_to_float(acc[r][p]), s, f[r][p]);
        }
        w += (size_t)b->group_rows * int_w_step(kind);
        x += (size_t)b->group_rows * int_x_step(kind);
    }
    V16_UNROLL
    for (int r = 0; r < R; r++) {
        V16_UNROLL
        for (int p = 0; p < P; p++) v16_store(c + (size_t)r * c_stride + 16 * p, f[r][p]);
    }
}

V16_INLINE void int_any_tile(int R, int P, int_kind kind, bool grouped, bool fetch, int_block *b)
{
    if (grouped) {
        int_group_tile(R, P, kind, fetch, b);
        b->group_scales += (size_t)P * b->scales_stride;
        b->c = (float *)b->c + 16 * P;
    } else {
        int_tile(R, P, kind, fetch, b);
        b->c = (int32_t *)b->c + 16 * P;
    }
    b->w += P * b->panel_stride;
}

// All panels of a block for R rows.
V16_INLINE void int_strip(const int R, const int P, int_kind kind, bool grouped, bool fetch,
                          int_block *b, int n_panels)
{
    for (; n_panels >= P; n_panels -= P) int_any_tile(R, P, kind, grouped, fetch, b);
    for (; P > 1 && n_panels > 0; n_panels--) int_any_tile(R, 1, kind, grouped, fetch, b);
}

V16_INLINE void int_rows(int n_rows, int_kind kind, bool grouped, bool fetch, int_block b,
                         int n_panels)
{
#if defined(QW_KERNEL_EMULATION)
    int_strip(n_rows, GEMM_WIDE(n_rows), kind, grouped, fetch, &b, n_panels);
#else
    switch (n_rows) {
    case 1: int_strip(1, GEMM_WIDE(1), kind, grouped, fetch, &b, n_panels); break;
    case 2: int_strip(2, GEMM_WIDE(2), kind, grouped, fetch, &b, n_panels); break;
    case 3: int_strip(3, GEMM_WIDE(3), kind, grouped, fetch, &b, n_panels); break;
    case 4: int_strip(4, GEMM_WIDE(4), kind, grouped, fetch, &b, n_panels); break;
    case 5: int_strip(5, GEMM_WIDE(5), kind, grouped, fetch, &b, n_panels); break;
    default: int_strip(6, GEMM_WIDE(6), kind, grouped, fetch, &b, n_panels); break;
    }
#endif
}

// One copy of the tiles per kind of operand.
#define INT_TILES(name, kind, fetch)                                                               \
    static void name(int n_rows, int_block b, int n_panels)                                        \
    {                                                                                              \
        if (b.group_scales)                                                                        \
            int_rows(n_rows, kind, true, fetch, b, n_panels);                                      \
        else                                                                                       \
            int_rows(n_rows, kind, false, fetch, b, n_panels);                                     \
    }

INT_TILES(int_stream_i8, INT_I8, true)
INT_TILES(int_stream_i4, INT_I4, true)
INT_TILES(int_slab_small, INT_SMALL, false)
#if defined(V16_HAS_VNNI)
INT_TILES(int_cached_i8, INT_I8, false)
#else
INT_TILES(int_slab_pairs, INT_PAIRS, false)
#endif

// Panels as the tiles for many rows want them: n rows of each, one panel behind the other.
V16_INLINE void int_expand(uint8_t *out, int_kind kind, const uint8_t *w, ptrdiff_t panel_stride,
                           int n_panels, int n)
{
    for (int p = 0; p < n_panels; p++) {
        const uint8_t *row = w + p * panel_stride;
        for (int i = 0; i < n; i++, row += 64, out += 128) {
            v16_prefetch(row + INT_PREFETCH);
            v16i_store(out, int_operand(kind, row, 0));
            v16i_store(out + 64, int_operand(kind, row, 1));
        }
    }
}

// Block by block of k: whole groups, or as much as fits.
V16_INLINE void int_many(int_kind kind, const qw_int_tile *t, int_block b)
{
    QW_ALIGNED(64) uint8_t slab[INT_SLAB];
    const int n_panels = t->n_panels, per_row = kind == INT_I8 ? 4 : 8; // k of a panel row
#if defined(V16_HAS_VNNI)
    const bool expand = kind == INT_I4;
#else
    const bool expand = true;
#endif
    const int slab_rows = INT_SLAB / (expand ? 128 : 64) / INT_MAX_WIDE; // panel rows of a block
    const int total = b.group_scales ? t->k / per_row : t->kp / per_row;
    const int groups_at_once = b.group_scales ? slab_rows * per_row / t->group : 0;
    const int step = b.group_scales ? groups_at_once * t->group / per_row : slab_rows;
    const int n_tiles = (t->n_rows + INT_ROWS - 1) / INT_ROWS;
    const size_t w_step = 64, x_step = int_x_step(kind);
    const int32_t *sums = b.sums;
    const float *scales = b.group_scales;
    for (int p = 0; p < n_panels; p += INT_MAX_WIDE) {
        int n_p = n_panels - p < INT_MAX_WIDE ? n_panels - p : INT_MAX_WIDE;
        const uint8_t *panels = t->w + p * b.panel_stride;
        for (int i = 0; i < total; i += step) {
            int n = total - i < step ? total - i : step;
            int_block now = b;
            now.add = i > 0;
            now.w = panels + (size_t)i * w_step;
            now.x = b.x + (size_t)i * x_step;
            now.c = (int32_t *)b.c + 16 * p;
            now.group_rows = n;
            if (b.group_scales) {
                now.n_groups = n * per_row / t->group;
                now.group_scales =
                    scales + (size_t)p * b.scales_stride + (size_t)(i * per_row / t->group) * 16;
                now.sums = sums + i * per_row / t->group;
                now.group_rows = t->group / per_row;
            }
            if (expand) {
                int_expand(slab, kind, now.w, b.panel_stride, n_p, n);
                now.w = slab;
                now.panel_stride = (ptrdiff_t)n * 128;
                if (kind == INT_I4) now.group_rows *= 2; // rows of 4 k now
            }
            for (int tile = 0; tile < n_tiles; tile++) {
                int n_r = (t->n_rows + n_tiles - 1 - tile) / n_tiles;
                if (kind == INT_I4) int_slab_small(n_r, now, n_p);
#if defined(V16_HAS_VNNI)
                else if (tile == 0)
                    int_stream_i8(n_r, now, n_p);
                else
                    int_cached_i8(n_r, now, n_p);
#else
                else
                    int_slab_pairs(n_r, now, n_p);
#endif
                now.x += (size_t)n_r * now.x_stride;
                now.c = (int32_t *)now.c + (size_t)n_r * now.c_stride;
                now.sums += (size_t)n_r * now.n_sums;
            }
        }
    }
}

// Every row alone with all panels, up to six at a time.
V16_INLINE void int_few(int_kind kind, const qw_int_tile *t, int_block b)
{
    const int n_tiles = (t->n_rows + INT_ROWS - 1) / INT_ROWS;
    for (int tile = 0; tile < n_tiles; tile++) {
        int n_r = (t->n_rows + n_tiles - 1 - tile) / n_tiles;
        if (kind == INT_I4)
            int_stream_i4(n_r, b, t->n_panels);
        else
            int_stream_i8(n_r, b, t->n_panels);
        b.x += (size_t)n_r * b.x_stride;
        b.c = (int32_t *)b.c + (size_t)n_r * b.c_stride;
        b.sums += (size_t)n_r * b.n_sums;
    }
}

// How many rows are few. Where unpacking costs less than sums that wait in memory between blocks,
// as many as like, while the panels stay in L2 from one six to the next.
V16_INLINE bool int_has_few(int_kind kind, const qw_int_tile *t)
{
#if defined(V16_L2_SHARE)
    size_t size = (size_t)t->n_panels * (size_t)t->kp * (kind == INT_I8 ? 16 : 8);
    return t->n_rows <= 4 * INT_ROWS || size <= V16_L2_SHARE;
#else
    (void)kind;
    return t->n_rows <= INT_ROWS;
#endif
}

V16_INLINE void int_product(int_kind kind, const qw_int_tile *t)
{
    const int per_row = kind == INT_I8 ? 4 : 8;
    int_block b = {
        .c = t->c,
        .c_stride = t->c_stride,
        .w = t->w,
        .panel_stride = (ptrdiff_t)t->kp * (kind == INT_I8 ? 16 : 8),
        .x = t->x.q,
        .x_stride = t->x.stride,
        .sums = t->x.sums,
        .n_sums = (size_t)t->x.n_sums,
        .n_groups = 1,
        .group_rows = t->kp / per_row,
    };
    int max_group = INT_SLAB / 128 / INT_MAX_WIDE * per_row; // that a slab holds
    if (t->group > 0) {
        b.group_scales = t->group_scales;
        b.n_groups = t->k / t->group;
        b.group_rows = t->group / per_row;
        b.scales_stride = 16 * (size_t)b.n_groups;
    }
    if (int_has_few(kind, t) || t->group > max_group)
        int_few(kind, t, b);
    else
        int_many(kind, t, b);
}

void QW_INT_LEVEL(qw_gemm_i8)(const qw_int_tile *tile)
{
    int_product(INT_I8, tile);
}

void QW_INT_LEVEL(qw_gemm_i4)(const qw_int_tile *tile)
{
    int_product(INT_I4, tile);
}
