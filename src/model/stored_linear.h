#ifndef QW_MODEL_STORED_LINEAR_H
#define QW_MODEL_STORED_LINEAR_H

// A Linear as its checkpoint stores it: which tensors it has, checked against each other and
// against the quantization description, as views for packing (quantization.md 1.4 and 3).
#include "backend/backend.h"
#include "base/mem.h"
#include "format/checkpoint.h"

/** Views borrow from the checkpoint, and what had to be converted from the arena. */
typedef struct qw_stored_linear {
    qw_quant_type type;
    int rows, cols;        /* outputs, inputs */
    qw_host_matrix weight; /* float, I8 or I4 */
    bool narrow;           /* I8, but only -8 .. 7 */
    qw_host_matrix bias;   /* [1][rows]; not set: none that has to be added */
    qw_input_scheme input; /* FLOAT for float weights and W8A16 */
    qw_host_matrix scales; /* [1][rows]; deq_scale when the input scale is static; not set: 1 */
    int group;             /* inputs per group; 0: no groups */
    qw_host_matrix group_scales; /* [rows][cols / group] */
    qw_host_matrix static_bias;  /* I32 [1][rows] */
    qw_host_matrix left, right;  /* FlatQuant's matrices */
    qw_host_matrix smooth;       /* [1][cols]: what the input is multiplied by first; not set: 1 */
} qw_stored_linear;

/** How much of the values to look at. */
typedef enum qw_value_check {
    QW_VALUES_UNSEEN,  /* shapes and dtypes only: nothing but scalars is read */
    QW_VALUES_CHECKED, /* scales are finite and above 0, offsets are 0, sums fit */
} qw_value_check;

/** The stored weight of the Linear whose weight is called `name` ("....weight"), or NULL. */
const qw_stored_tensor *qw_stored_linear_weight(const qw_checkpoint *ck, const char *name);

/** Rows and columns of the Linear with this weight: twice the stored rows when two share a byte,
 *  which the shape of its scales tells (quantization.md 3.5). */
void qw_stored_linear_shape(int64_t *rows, int64_t *cols, const qw_checkpoint *ck,
                            const qw_stored_tensor *weight);

/**
 * Read a Linear of rows x cols. Without a quantization description it is float, and a bias belongs
 * to it only when the config says so: `bias` stays unset. Errors name the tensor: a type that is
 * unknown or that the stored bytes contradict, a missing tensor, wrong shapes and dtypes, values
 * outside of what the format allows.
 */
QW_MUST_CHECK qw_status qw_stored_linear_read(qw_stored_linear *out, qw_arena *arena,
                                              const qw_checkpoint *ck, const char *name,
                                              int64_t rows, int64_t cols, qw_value_check values,
                                              qw_error *err);

/** True when both can be packed into one product: same format, input handled in the same way. */
bool qw_stored_linear_fits(const qw_stored_linear *a, const qw_stored_linear *b);

#endif
