#ifndef QW_FORMAT_DUMMY_CHECKPOINT_H
#define QW_FORMAT_DUMMY_CHECKPOINT_H

#include "format/checkpoint.h"

/**
 * Made-up weights (--load-format dummy): a checkpoint without files, whose elements are computed
 * where they are needed. An element depends only on the seed, the tensor's name and its place, not
 * on threads, the order of reading or the layout it is packed into:
 *
 *   key    = XXH3-64 of the tensor's name, seeded with the seed; its low word first
 *   block  = Philox4x32-10, counter (k / 4, n low, n high, 0x64756D6D), key   for element [n][k]
 *   s      = the sum of the four bytes of block[k % 4]                        0 .. 1020
 *   value  = bf16(center + (s - 510) * step), in fp32, step = 0.02 / 147.8    a std of 0.02
 *
 * `center` is 1 for vectors called "...norm.weight" and 0 for everything else; vectors are one row.
 * The sum of four bytes is near enough to normal that activations and logits have ordinary sizes.
 * Integer weights have the same bell over their whole range:
 *
 *   I8, 8 bits   ((s - 510) * 16850 + 32768) >> 16, held in -127 .. 127     a std of 38
 *   I8, 4 bits   ((s - 510) * 1153 + 32768) >> 16, held in -8 .. 7          a std of 2.6
 */
typedef struct qw_dummy_tensor {
    qw_stored_tensor tensor; /* data NULL, shape below; what stands beside integers has data */
    size_t shape[2];
    uint32_t key[2];
    float center;
    bool is_narrow; /* I8 of 4 bits */
} qw_dummy_tensor;

/** A tensor to make up. */
typedef struct qw_dummy_shape {
    const char *name; /* copied */
    size_t rows;
    size_t cols; /* 0: a vector of `rows` elements */
    /** FLOAT, or a matrix called "....weight" that is stored as W8A8, W8A8_DYNAMIC, W8A16,
     *  W4A8_DYNAMIC (4 bits in a byte), W4A4_DYNAMIC or W4A4_FLATQUANT_DYNAMIC. */
    qw_quant_type type;
    int group; /* W4A8_DYNAMIC: inputs per group of two levels, a divisor of cols; 0: none */
} qw_dummy_shape;

/**
 * A checkpoint of tensors whose data is NULL; it has no shards. Names must differ. Close with
 * qw_checkpoint_close.
 *
 * Tensors are BF16. If there are others it is an ascend checkpoint, whose description (file NULL)
 * has an entry for these and for nothing else, with all that their types need beside the weights
 * (quantization.md 3): scales by which the weights have a std of 0.02 again, more or less by row,
 * one input scale for all, offsets of 0 and no biases, orthogonal transforms.
 */
QW_MUST_CHECK qw_status qw_dummy_checkpoint_open(qw_checkpoint *out, const qw_dummy_shape *shapes,
                                                 size_t n, uint64_t seed, qw_error *err);

/** How the elements of a tensor of `c` are made; NULL if they lie in a file. */
const qw_dummy_tensor *qw_dummy_tensor_of(const qw_checkpoint *c, const qw_stored_tensor *t);

/** Elements [row][first_col .. first_col + n_cols - 1] of a tensor without data, BF16 or I8. Any
 *  thread. */
void qw_dummy_tensor_row(const qw_dummy_tensor *t, void *out, size_t row, size_t first_col,
                         size_t n_cols);

#endif
