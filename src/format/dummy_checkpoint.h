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
 */
typedef struct qw_dummy_tensor {
    qw_stored_tensor tensor; /* data NULL, shape below */
    size_t shape[2];
    uint32_t key[2];
    float center;
} qw_dummy_tensor;

/** A tensor to make up. */
typedef struct qw_dummy_shape {
    const char *name; /* copied */
    size_t rows;
    size_t cols; /* 0: a vector of `rows` elements */
} qw_dummy_shape;

/**
 * A checkpoint of BF16 tensors whose data is NULL; it has no shards. Names must differ. Close with
 * qw_checkpoint_close.
 */
QW_MUST_CHECK qw_status qw_dummy_checkpoint_open(qw_checkpoint *out, const qw_dummy_shape *shapes,
                                                 size_t n, uint64_t seed, qw_error *err);

/** How the elements of a tensor of `c` are made; NULL if they lie in a file. */
const qw_dummy_tensor *qw_dummy_tensor_of(const qw_checkpoint *c, const qw_stored_tensor *t);

/** Elements [row][first_col .. first_col + n_cols - 1] as BF16. Any thread. */
void qw_dummy_tensor_row(const qw_dummy_tensor *t, uint16_t *out, size_t row, size_t first_col,
                         size_t n_cols);

#endif
