#ifndef QW_BACKEND_CPU_KERNELS_H
#define QW_BACKEND_CPU_KERNELS_H

#include "backend/ops.h"

/**
 * Tile kernels: what one thread does between two barriers. The plain C versions (cpu/ref) fix the
 * order and the rounding of every sum (cpu-kernels.md 3.0); each faster level must give the same
 * bits. None can fail or allocates; all are safe on any thread that has FTZ and DAZ on.
 */

/**
 * Product of panels with rows of activations:
 *   c[m][16 p + l] = sum over k of w[p][k][l] * x[m][k]      k in the order 1, 0, 3, 2, ...
 * one fp32 accumulator from +0, one fused multiply-add per k.
 *
 * w  n_panels panels one after the other, each kp x 16 elements in the layout of its dtype
 * x  [n_rows] rows of kp floats, x_stride floats apart, +0 beyond the logical width
 * c  [n_rows] rows of 16 * n_panels floats, c_stride apart, overwritten; must not overlap x
 */
typedef void qw_gemm_fn(float *restrict c, size_t c_stride, const void *restrict w, int n_panels,
                        const float *restrict x, size_t x_stride, int n_rows, int kp);

/** Rows of integers that quantizers write and products read. */
typedef struct qw_int_rows {
    const void *q;       /* int8, or 16-bit pairs where the level wants them (widen_i8); +0 from k
                            to kp; any address */
    size_t stride;       /* bytes from row to row */
    const int32_t *sums; /* [n_rows][n_sums]: the sum of q, or of each group's q */
    int n_sums;
} qw_int_rows;

/** A product with integer weights. */
typedef struct qw_int_tile {
    void *c;         /* [n_rows] rows of 16 * n_panels int32, or floats where f is said below */
    size_t c_stride; /* elements */
    const uint8_t *w;
    int n_panels, k, kp;
    int n_rows;
    qw_int_rows x;             /* integer input */
    const float *x_f32;        /* float input: [n_rows] rows of kp floats */
    size_t x_stride;           /* of x_f32, in floats */
    int group;                 /* 0: none */
    const float *group_scales; /* [n_panels][k / group][16] */
} qw_int_tile;

/**
 * Integer panels (stored + 128 or + 8) times integer rows:
 *   no groups   c[m][16 p + l] = sum of (stored - offset) * q, an exact int32
 *   groups      f = +0; per group, ascending: f = fma((float)sum, group_scales[p][g][l], f)
 */
typedef void qw_gemm_int_fn(const qw_int_tile *tile);
/**
 * Integer panels times rows of fp32, in the order of qw_gemm_fn: f = the sum; with groups each
 * group has a sum of its own, and f as above.
 */
typedef void qw_gemm_widened_fn(const qw_int_tile *tile);

/** Where one quantized row goes. */
typedef struct qw_quantized_row {
    int8_t *q;     /* [kp], 64 bytes at a time: +0 from k on */
    int32_t *sums; /* [k / group], or one */
    float scale;   /* set by the quantizer: the row's, 1 when static; NaN: the row had one, or an
                      infinity, and q is 0 */
} qw_quantized_row;

/**
 * Quantize k values for kinds TOKEN8, TOKEN4, STATIC8 and, transformed already, FLAT4
 * (quantization.md 2.1, 2.2):
 *   per row  scale = amax / qmax; no normal number: q = 0, scale = 0; q = rne(x * (qmax / amax));
 *            FLAT4: scale = amax * clip / 7, q = clamp(rne(x * ((7 / clip) / amax)), -8, 7)
 *   static   q = clamp(rne(x / s + z)), or x * inverse; two roundings
 */
typedef void qw_quantize_fn(qw_quantized_row *out, const float *x, int k, int kp, int group,
                            const qw_input_scheme *scheme);
/**
 * Quantize a row on its way: RMSNorm(x) * weight, or silu(gate) * up, of k values, then as
 * qw_quantize_fn: the bits of the two steps. The row itself goes to `normed` or `product`, [k],
 * which may be x.
 */
typedef void qw_norm_quantize_fn(qw_quantized_row *out, float *normed, const float *x,
                                 const float *weight, float eps, bool round, int k, int kp,
                                 int group, const qw_input_scheme *scheme);
typedef void qw_silu_quantize_fn(qw_quantized_row *out, float *product, const float *gate,
                                 const float *up, bool round, int k, int kp, int group,
                                 const qw_input_scheme *scheme);
/** int8 to the 16-bit pairs (q[4i], q[4i + 2]), (q[4i + 1], q[4i + 3]): 2 kp bytes. */
typedef void qw_widen_i8_fn(int16_t *out, const int8_t *q, int kp);

/**
 * y = L^T (X R), X the row x as a matrix of left x right; both products in the order of qw_gemm_fn
 * (k = 1, 0, 3, 2, ...; an odd last k by itself). `transforms` as in qw_linear; t and y have room
 * for left rows of right rounded up to 16; only left * right values of y count.
 */
typedef void qw_flat_fn(float *y, float *t, const float *x, const float *transforms,
                        const qw_input_scheme *scheme);

/** t[i] = (float)(c[i] + static_bias[i]) * scales[i] * xs, two roundings; static_bias may be NULL.
 *  t may be c. */
typedef void qw_dequant_fn(float *t, const int32_t *c, const int32_t *static_bias,
                           const float *scales, float xs, int n);
/** t[i] = t[i] * scales[i] * xs. */
typedef void qw_scale_fn(float *t, const float *scales, float xs, int n);

/** y = RMSNorm(x) * weight over n values; y may be x (qwen3-dense.md 3.2). */
typedef void qw_rms_norm_fn(float *y, const float *x, const float *weight, int n, float eps,
                            bool round);

/** x = rotate(RMSNorm(x) * weight), one head of d values, halves paired (qwen3-dense.md 3.4).
 *  cos, sin [d/2]. */
typedef void qw_norm_rope_fn(float *x, const float *weight, const float *cos, const float *sin,
                             int d, float eps, bool round);

/** Epilogues on one row of n sums `t` (bias already added). STORE: y = t. RESIDUAL: y = y + t. */
typedef void qw_store_fn(float *y, const float *t, int n, bool round);
/** y[i] = silu(gate[i]) * up[i] for 16 values: one panel pair. */
typedef void qw_silu_mul_fn(float *y, const float *gate, const float *up, int n, bool round);

/** One kv head of one sequence: rows of queries against the pages. */
typedef struct qw_attn_tile {
    float *out; /* [n_rows][out_stride], `group` heads of head_dim columns */
    size_t out_stride;
    const float *q; /* [n_rows][q_stride], `group` heads of head_dim columns */
    size_t q_stride;
    int n_rows, group;
    int first_pos; /* row r sees positions 0 .. first_pos + r */
    float scale;
    const uint8_t *kv; /* K part of this head in block 0 */
    const int32_t *block_table;
    const qw_kv_layout *layout;
    const float *k_scale, *v_scale; /* I8: of this kv head, [head_dim]; NULL: per position */
    float *scratch;                 /* QW_ATTN_SCRATCH(head_dim_padded) floats, this thread's own */
    int segment;    /* -1: all segments, merged into `out`; else only this one, into `partial` */
    float *partial; /* qw_attention_partial_len() floats: the state of each query */
    bool round;
} qw_attn_tile;

#define QW_ATTN_TILE 64      /* positions per tile: fixed by the numerics, not by the block size */
#define QW_ATTN_SEGMENT 1024 /* positions per segment */
#define QW_ATTN_MAX_GROUP_ROWS 48
/** Floats of scratch: running and segment sums for every query of a tile, scores, widened K and V.
 */
#define QW_ATTN_SCRATCH(dp)                                                                        \
    ((size_t)QW_ATTN_MAX_GROUP_ROWS * (3 * (size_t)(dp) + QW_ATTN_TILE + 8) +                      \
     2 * QW_ATTN_TILE * (size_t)(dp))

typedef void qw_attention_fn(const qw_attn_tile *tile);

/*
 * Codes of I8 pages. A query becomes integers too, of two planes, so that a score is exact but for
 * the steps of its own scale (cpu-kernels.md 3.7):
 *
 *   query   x = q, or q * k_scale;  c = rne(x * (16256 / max|x|));  s = max|x| / 16256
 *   score   (float)(sum of c * key code) * s * scale of the position (or 1) * tile->scale
 *   value   a = fma(p * scale of the position (or p), (float)code, a);  out = a / l (* v_scale)
 *
 * A row whose maximum is below QW_KV_TINY counts as zero: codes and scale 0. One with a NaN or an
 * infinity has codes 0 and a NaN as its scale, and makes NaN of every score and value it enters.
 */
#define QW_KV_TINY 0x1p-100f
#define QW_KV_QUERY_MAX 16256.0f /* 127 * 128: the high plane and the low one are int8 each */

/**
 * One long sequence on several threads: each computes segments (`segment` >= 0) into partials, then
 * one merges them in ascending order, which is what a kernel does that computes all segments, so
 * the bits are the same. A query's state: a [head_dim_padded], m, l.
 */
static inline size_t qw_attention_partial_len(const qw_attn_tile *tile)
{
    return (size_t)tile->n_rows * (size_t)tile->group * ((size_t)tile->layout->head_dim_padded + 2);
}
/** `tile->partial` holds those of segments 0 .. n_segments-1, one after the other; writes `out`. */
void qw_attention_merge(const qw_attn_tile *tile, int n_segments);

/** Write one position's key and value head (d values each) into its slot of a page. */
typedef void qw_kv_store_fn(uint8_t *kv, const qw_kv_layout *layout, int slot, const float *k,
                            const float *v);

/**
 * The same for I8 pages. Per position: code = rne(x * (127 / max|x|)), scale = max|x| / 127. With
 * scales per channel [d]: code = rne(x / scale) held in [-128, 127], NaN as -128; no scale is
 * written. Columns beyond d get code 0.
 */
typedef void qw_kv_store_i8_fn(uint8_t *kv, const qw_kv_layout *layout, int slot, const float *k,
                               const float *v, const float *k_scale, const float *v_scale);

typedef struct qw_kernels {
    const char *isa;
    qw_gemm_fn *gemm_bf16, *gemm_f16, *gemm_f32;
    qw_gemm_fn *gemm_bf16_x16; /* gemm_bf16 for rows x of bf16 values in their fp32 containers */
    qw_gemm_int_fn *gemm_i8, *gemm_i4;
    qw_gemm_widened_fn *gemm_i8_f32, *gemm_i4_f32;
    qw_widen_i8_fn *widen_i8; /* NULL: gemm_i8 takes int8 rows, as gemm_i4 always does */
    qw_quantize_fn *quantize;
    qw_norm_quantize_fn *norm_quantize;
    qw_silu_quantize_fn *silu_quantize;
    qw_flat_fn *flat;
    qw_dequant_fn *dequant;
    qw_scale_fn *scale;
    qw_rms_norm_fn *rms_norm;
    qw_norm_rope_fn *norm_rope;
    qw_store_fn *store, *residual;
    qw_silu_mul_fn *silu_mul;
    qw_attention_fn *attention_bf16, *attention_f32, *attention_i8;
    qw_kv_store_fn *kv_store_bf16, *kv_store_f32;
    qw_kv_store_i8_fn *kv_store_i8;
} qw_kernels;

/** Fill the table: plain C first, then overrides up to the levels in `cpu` (QW_CPU_* bits; 0 =
 * ref). */
void qw_kernels_init(qw_kernels *k, unsigned cpu);

// cpu/ref: the definitions
qw_gemm_fn qw_gemm_bf16_ref, qw_gemm_f16_ref, qw_gemm_f32_ref;
qw_gemm_int_fn qw_gemm_i8_ref, qw_gemm_i4_ref;
qw_gemm_widened_fn qw_gemm_i8_f32_ref, qw_gemm_i4_f32_ref;
qw_widen_i8_fn qw_widen_i8_ref;
qw_quantize_fn qw_quantize_ref;
qw_norm_quantize_fn qw_norm_quantize_ref;
qw_silu_quantize_fn qw_silu_quantize_ref;
qw_flat_fn qw_flat_ref;
qw_dequant_fn qw_dequant_ref;
qw_scale_fn qw_scale_ref;
qw_rms_norm_fn qw_rms_norm_ref;
qw_norm_rope_fn qw_norm_rope_ref;
qw_store_fn qw_store_ref, qw_residual_ref;
qw_silu_mul_fn qw_silu_mul_ref;
qw_attention_fn qw_attention_bf16_ref, qw_attention_f32_ref, qw_attention_i8_ref;
qw_kv_store_fn qw_kv_store_bf16_ref, qw_kv_store_f32_ref;
qw_kv_store_i8_fn qw_kv_store_i8_ref;

// cpu/x86 and cpu/arm, from the bodies in cpu/simd
#define QW_KERNELS_OF(level)                                                                       \
    qw_gemm_fn qw_gemm_bf16_##level, qw_gemm_f16_##level, qw_gemm_f32_##level;                     \
    qw_rms_norm_fn qw_rms_norm_##level;                                                            \
    qw_norm_rope_fn qw_norm_rope_##level;                                                          \
    qw_store_fn qw_store_##level, qw_residual_##level;                                             \
    qw_silu_mul_fn qw_silu_mul_##level;                                                            \
    qw_attention_fn qw_attention_bf16_##level, qw_attention_f32_##level, qw_attention_i8_##level;  \
    qw_kv_store_fn qw_kv_store_bf16_##level;                                                       \
    qw_kv_store_i8_fn qw_kv_store_i8_##level

// The same for integer weights; so far not on arm.
#define QW_INT_KERNELS_OF(level)                                                                   \
    qw_gemm_int_fn qw_gemm_i8_##level, qw_gemm_i4_##level;                                         \
    qw_gemm_widened_fn qw_gemm_i8_f32_##level, qw_gemm_i4_f32_##level;                             \
    qw_widen_i8_fn qw_widen_i8_##level;                                                            \
    qw_quantize_fn qw_quantize_##level;                                                            \
    qw_norm_quantize_fn qw_norm_quantize_##level;                                                  \
    qw_silu_quantize_fn qw_silu_quantize_##level;                                                  \
    qw_flat_fn qw_flat_##level;                                                                    \
    qw_dequant_fn qw_dequant_##level;                                                              \
    qw_scale_fn qw_scale_##level

QW_KERNELS_OF(avx2);
QW_KERNELS_OF(avx512);
QW_KERNELS_OF(neon);
QW_INT_KERNELS_OF(avx2);
QW_INT_KERNELS_OF(avx512);
qw_gemm_int_fn qw_gemm_i8_vnni, qw_gemm_i4_vnni;
qw_gemm_fn qw_gemm_bf16_x16_avx512bf16;
qw_attention_fn qw_attention_bf16_avx512bf16, qw_attention_i8_vnni;

#endif
