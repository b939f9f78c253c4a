#ifndef QW_BACKEND_OPS_H
#define QW_BACKEND_OPS_H

#include "base/dtype.h"
#include "base/status.h"

/**
 * The contract of every operation a model is made of. One table per device; the plain C versions on
 * CPU define the results, and every other version is tested against them (docs/numerics.md).
 *
 * Activations are row-major fp32 matrices, one row per token of the flat batch. Row strides are in
 * floats and come from qw_row_stride(): columns between the logical width and the stride hold +0,
 * are cleared when the buffer is made, and every operation keeps them so. Under `round` (dtype
 * bfloat16) values are rounded to bfloat16 where the reference implementation rounds
 * (qwen3-dense.md 3), but stay in fp32 containers; without it nothing is rounded below fp32.
 *
 * No operation allocates, fails or logs. All run on the engine thread, which the device's own
 * threads help; when an operation returns, its outputs are complete.
 */

typedef struct qw_backend qw_backend;

/** Write elements [row][first_col .. first_col + n_cols - 1] of a computed matrix. Any thread. */
typedef void qw_row_fn(const void *ctx, void *out, size_t row, size_t first_col, size_t n_cols);

/**
 * Row-major matrix, rows x cols, borrowed: bytes that may be misaligned, or computed elements.
 * Weights may also be I8, or I4: the low nibbles of row i of the bytes are row 2i of the matrix,
 * the high ones row 2i + 1 (quantization.md 3.5), so there are (rows + 1) / 2 rows of `cols` bytes.
 */
typedef struct qw_host_matrix {
    const void *data; /* NULL: computed by `row`, or no matrix at all */
    qw_dtype dtype;   /* F32, F16 or BF16; I8, I4: weights only; I32: biases of static products */
    int rows, cols;
    bool is_file; /* data is mapped from a file: pages that were read may be dropped */
    qw_row_fn *row;
    const void *row_ctx;
} qw_host_matrix;

static inline bool qw_host_matrix_is_set(const qw_host_matrix *m)
{
    return m->data || m->row;
}

/** One element of an F32, F16 or BF16 matrix, widened to fp32 (exact). */
float qw_host_matrix_at(const qw_host_matrix *m, size_t row, size_t col);

/** How the rows of several matrices that share an input are put into one set of panels. */
typedef enum qw_concat {
    QW_CONCAT_STACK,      /* one after the other, each starting on a panel (q, k, v) */
    QW_CONCAT_INTERLEAVE, /* panel by panel in turn: g0 u0 g1 u1 ... (gate, up) */
} qw_concat;

/** What a product does to the rows of its input before they meet integer weights. */
typedef enum qw_input_kind {
    QW_INPUT_FLOAT,   /* nothing: weights of any dtype are widened to fp32 on the way */
    QW_INPUT_TOKEN8,  /* 8 bits, symmetric, a scale per row (quantization.md 2.1) */
    QW_INPUT_TOKEN4,  /* the same with 4 bits */
    QW_INPUT_STATIC8, /* 8 bits, one scale and offset for all rows (quantization.md 2.2) */
    QW_INPUT_FLAT4,   /* FlatQuant: L^T X R, then 4 bits with a clip ratio (quantization.md 3.6) */
} qw_input_kind;

/**
 * How the input of a product is quantized. A row with a NaN or an infinity comes out as NaN
 * throughout, one that is all zero (or so small that its scale is no normal number) as the bias.
 */
typedef struct qw_input_scheme {
    qw_input_kind kind;
    float scale;      /* STATIC8: q = clamp(rne(x / scale + offset), -128, 127) */
    float offset;     /* STATIC8: a whole number, -128 .. 127 */
    float inverse;    /* STATIC8: 0, or multiply by this instead of dividing (qw_input_npu) */
    float clip_ratio; /* FLAT4: in (0, 1] */
    int left, right;  /* FLAT4: a row is a matrix X of left x right values */
    bool has_right;   /* FLAT4: there is a right matrix; else only L^T X */
} qw_input_scheme;

/** Static quantization as the NPU's own operator does it: s and 1/s rounded to bfloat16. */
static inline qw_input_scheme qw_input_npu(qw_input_scheme s)
{
    s.scale = qw_round_bf16(s.scale);
    s.inverse = qw_round_bf16(1.0f / s.scale);
    return s;
}

/**
 * Weights of one product, packed for the device (cpu-kernels.md 2.1): panels of 16 output rows, k
 * innermost. Row i of segment s comes out in column segment_column[s] + i of the product (stacked),
 * or gate row i and up row i meet in the SiLU epilogue (interleaved).
 *
 * With integer weights W and quantized rows q the product is, in fp32 and rounded after each step
 * (cpu-kernels.md 3.6; xs is the row's scale, 1 when static):
 *
 *   no groups:  t = (float)(sum of q * W + static_bias) * scales * xs + bias
 *   groups:     f = +0; for each group, ascending: f = fma((float)(its sum of q * W), s2, f)
 *               t = f * scales * xs + bias
 *
 * TOKEN4 and FLAT4 under `round`: t is rounded before the bias, itself rounded, is added. With
 * QW_INPUT_FLOAT the sums are those of float products, q is x and there is no xs.
 */
typedef struct qw_linear {
    void *panels;
    size_t size;       /* bytes of panels */
    size_t panel_size; /* bytes of one panel */
    qw_dtype dtype;    /* BF16, F16, F32; I8 (stored + 128); I4 (stored + 8) */
    int n_panels;
    int k, kp; /* inputs; rounded up as the layout wants */
    int n_segments;
    int segment_column[3];
    qw_input_scheme input; /* FLOAT for float weights */
    int group;             /* inputs per group; 0: no groups */
    bool borrowed;         /* the arrays belong to somebody else, the packed cache */
    // Arrays beside the panels, [16 * n_panels] in the order of the columns, zero where a column
    // has none; NULL and size 0: there is none at all. Sizes in bytes.
    float *bias;
    size_t bias_size;
    float *scales; /* integer weights: always there */
    size_t scales_size;
    float *group_scales; /* s2, [n_panels][k / group][16] */
    size_t group_scales_size;
    int32_t *static_bias; /* STATIC8 */
    size_t static_bias_size;
    float *transforms; /* FLAT4: left [left][left], then right [right][right rounded up to 16] */
    size_t transforms_size;
} qw_linear;

/** What happens to a product before it is stored; roundings as cpu-kernels.md 3.6. */
typedef enum qw_epilogue {
    QW_EPILOGUE_STORE,    /* y = t */
    QW_EPILOGUE_RESIDUAL, /* y = y + t */
    QW_EPILOGUE_SILU_MUL, /* y = silu(gate) * up, interleaved panels: half as many columns */
} qw_epilogue;

/**
 * KV cache of one layer: pages of `block_size` positions, [block][kv head]{K part, V part}
 * (cpu-kernels.md 3.7). I8: the part's codes, then an fp32 scale for each of its positions, which
 * lie unused where scales per channel are given (k_scale and v_scale of the operations).
 */
typedef struct qw_kv_layout {
    qw_dtype dtype; /* BF16, F32 or I8 */
    int block_size; /* 16, 32, ... 128 positions */
    int n_kv_heads;
    int head_dim;        /* even */
    int head_dim_padded; /* multiple of 32 */
    size_t part_size;    /* bytes of a K part and of a V part */
    size_t block_bytes;  /* n_kv_heads * 2 * part_size */
} qw_kv_layout;

/** One sequence's rows in the flat batch. */
typedef struct qw_seq_range {
    int first_row;              /* in the flat batch */
    int n_rows;                 /* tokens of this sequence in this step, >= 1 */
    int first_pos;              /* position of the first of them; positions ascend by one */
    const int32_t *block_table; /* block of positions [i*bs, (i+1)*bs), up to the last row's */
} qw_seq_range;

/** Per-head norm, rotation and cache write of one layer (qwen3-dense.md 3.3 steps 2 and 3). */
typedef struct qw_qkv_args {
    float *qkv; /* [n_tokens][stride]; q is normalized and rotated in place */
    size_t stride;
    int q_column, k_column, v_column;
    int n_heads;
    const float *q_norm, *k_norm; /* [head_dim] */
    const float *cos, *sin;       /* [n_tokens][head_dim / 2], rounded as the model wants */
    float eps;
    uint8_t *kv; /* this layer's pages */
    const qw_kv_layout *layout;
    /* I8: fixed scales per channel, [n_kv_heads * head_dim], normal and positive, both or neither
     * (checkpoints with a C8 cache, quantization.md 3.9). NULL: a scale per position and head. */
    const float *k_scale, *v_scale;
    const qw_seq_range *seqs;
    int n_seqs;
    bool round;
} qw_qkv_args;

/** Causal attention of one layer over the pages (cpu-kernels.md 3.7: the canonical definition). */
typedef struct qw_attention_args {
    float *out; /* [n_tokens][out_stride], head-major columns; overwritten */
    size_t out_stride;
    const float *q; /* [n_tokens][q_stride], first head at column 0 */
    size_t q_stride;
    int n_heads; /* a multiple of the layout's n_kv_heads */
    float scale;
    const uint8_t *kv;
    const qw_kv_layout *layout;
    const float *k_scale, *v_scale; /* those that the pages were written with */
    const qw_seq_range *seqs;
    int n_seqs;
    bool round;
} qw_attention_args;

/**
 * Where the rows of a batch go in a layer with experts (cpu-kernels.md 3.9): written by `route`,
 * read by the operations behind it. A row's ranks are its experts, the most probable first; a place
 * is where a (row, rank) stands when all are sorted by expert, those of one expert in the order of
 * rows. Arrays are the caller's.
 */
typedef struct qw_routing {
    int n_experts, top_k; /* 1 <= top_k <= n_experts <= QW_ROUTE_MAX_EXPERTS */
    int32_t *experts;     /* [n_rows][top_k] */
    float *weights;       /* [n_rows][top_k] */
    int32_t *places;      /* [n_rows][top_k] */
    int32_t *first;       /* [n_experts + 1]: expert e has places first[e] .. first[e + 1] - 1 */
    int32_t *active; /* [n_experts + 1]: experts that have any, ascending; the last element says
                        how many they are */
} qw_routing;

#define QW_ROUTE_MAX_EXPERTS 1024

/** A product of each expert with the rows that go to it. */
typedef struct qw_expert_linear_args {
    float *y; /* [n_rows * top_k places][y_stride] */
    size_t y_stride;
    const float *x; /* a row for each row of the batch, or for each place */
    size_t x_stride;
    bool x_by_place;
    float
        *gathered; /* [n_rows * top_k][x_stride], for the device: x is by row, inputs are floats */
    const qw_linear *experts; /* [n_experts]: the same shapes, dtypes (of integers), groups and
                                 kinds of input; scales and transforms of inputs may differ */
    const qw_routing *routing;
    int n_rows;
    qw_epilogue epilogue; /* STORE or SILU_MUL */
    bool round;
} qw_expert_linear_args;

/** The rows of a quantized product, made on their way to it. */
typedef struct qw_made_rows {
    const float *x;
    size_t stride;     /* of x, of up */
    const float *norm; /* RMSNorm(x) * norm [k] ... */
    float eps;
    const float *up; /* ... or, where norm is NULL, silu(x) * up */
    float *rows;     /* the rows go here too, x and up excepted; NULL: nowhere */
    size_t rows_stride;
} qw_made_rows;

typedef struct qw_ops {
    /** y[i] = table[ids[i]] widened to fp32; ids are inside the table. */
    void (*embed)(qw_backend *be, float *y, size_t y_stride, const qw_host_matrix *table,
                  const int32_t *ids, int n_ids);

    /** RMSNorm of each row over `n` values, weight [n] fp32 (qwen3-dense.md 3.2). y may be x. */
    void (*rms_norm)(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                     const float *weight, int n, float eps, int n_rows, bool round);

    /** y = epilogue(x * w^T + bias) for n_rows rows. y must not overlap x. Under `round` x holds
     *  bfloat16 values, as every operation that rounds leaves them. When w quantizes its input the
     *  device does that first, in memory that linear_reserve has set aside. */
    void (*linear)(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                   const qw_linear *w, int n_rows, qw_epilogue epilogue, bool round);

    /** rms_norm or silu_mul, and then linear of its output, for a w that quantizes its input: the
     *  same bits in one pass over each row. */
    void (*made_linear)(qw_backend *be, float *y, size_t y_stride, const qw_made_rows *made,
                        const qw_linear *w, int n_rows, qw_epilogue epilogue, bool round);

    void (*norm_rope_store)(qw_backend *be, const qw_qkv_args *args);
    void (*attention)(qw_backend *be, const qw_attention_args *args);

    /** y[i] = x[rows[i]] for n values each; y must not overlap x. */
    void (*gather_rows)(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                        const int32_t *rows, int n_rows, int n);

    /** Each row of y plus v [n]; under `round` rounded. */
    void (*add_vector)(qw_backend *be, float *y, size_t y_stride, const float *v, int n, int n_rows,
                       bool round);

    /** y = silu(gate) * up for n values of each row, as QW_EPILOGUE_SILU_MUL does to products that
     *  were not stored: the same bits. y must not overlap the others, which share a stride. */
    void (*silu_mul)(qw_backend *be, float *y, size_t y_stride, const float *gate, const float *up,
                     size_t x_stride, int n, int n_rows, bool round);

    /**
     * Choose experts: softmax of each row of logits, the top_k largest by (value, then lowest
     * index), with `renormalize` divided by their sum in the order of ranks, with `round` rounded;
     * then the places of all. A row whose softmax is no number goes to experts 0 .. top_k - 1 with
     * NaN for weights.
     */
    void (*route)(qw_backend *be, const qw_routing *routing, const float *logits, size_t stride,
                  int n_rows, bool renormalize, bool round);

    /** As `linear` with each expert and its rows; linear_reserve has to know of n_rows * top_k rows
     *  of one of them. Rows of x of the same input scheme are quantized once. */
    void (*expert_linear)(qw_backend *be, const qw_expert_linear_args *args);

    /**
     * y += the sum of each row's experts, for n values: acc = +0; by rank: acc = acc + weight * x
     * at the place; y = y + acc. With `round` y is rounded, with `round_terms` each product and
     * each acc as well.
     */
    void (*combine)(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qw_routing *routing, int n, int n_rows, bool round, bool round_terms);
} qw_ops;

/** Floats from one row to the next for rows of `width` values: room for every panel's padding, and
 *  not a multiple of 4 KiB, so that the rows of a tile do not share cache sets. */
static inline size_t qw_row_stride(size_t width)
{
    return (width + 63) / 64 * 64 + 16;
}

/** Fill in the derived fields of a layout. */
static inline qw_kv_layout qw_kv_layout_make(qw_dtype dtype, int block_size, int n_kv_heads,
                                             int head_dim)
{
    int padded = (head_dim + 31) / 32 * 32;
    size_t part = (size_t)block_size * (size_t)padded * (size_t)(qw_dtype_bits(dtype) / 8);
    if (dtype == QW_DTYPE_I8) part += (size_t)block_size * sizeof(float); // the scales
    return (qw_kv_layout){.dtype = dtype,
                          .block_size = block_size,
                          .n_kv_heads = n_kv_heads,
                          .head_dim = head_dim,
                          .head_dim_padded = padded,
                          .part_size = part,
                          .block_bytes = 2 * part * (size_t)n_kv_heads};
}

#endif
