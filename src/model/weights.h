#ifndef QW_MODEL_WEIGHTS_H
#define QW_MODEL_WEIGHTS_H

#include "backend/ops.h"
#include "base/map.h"
#include "base/mem.h"
#include "format/checkpoint.h"
#include "model/dummy_scheme.h"

/** A tensor that a model expects. */
typedef struct qw_weight_spec {
    const char *name; /* owned by the list's arena */
    int64_t rows;     /* first dimension */
    int64_t cols;     /* second dimension; 0: a vector */
} qw_weight_spec;

/** Everything a model expects of its checkpoint, to be checked in one go. */
typedef struct qw_weight_list {
    qw_arena names;
    qw_weight_spec *specs;
    size_t n_specs, cap;
} qw_weight_list;

void qw_weight_list_init(qw_weight_list *list);
void qw_weight_list_release(qw_weight_list *list);
/** Expect `name` (a printf format with one %d for `layer`; layer < 0: no argument). */
QW_MUST_CHECK qw_status qw_weight_list_add(qw_weight_list *list, const char *pattern, int layer,
                                           int64_t rows, int64_t cols, qw_error *err);
/** How far a check goes. */
typedef enum qw_weight_check {
    QW_CHECK_SHAPES, /* names, shapes and dtypes; of data only scalars are read */
    QW_CHECK_VALUES, /* scales and offsets as well; names that nothing uses are logged */
} qw_weight_check;

/**
 * Every expected tensor is there with its shape and a float dtype, and nothing else is, except the
 * names that `may_skip` accepts. Missing names are listed, up to ten.
 *
 * In an ascend checkpoint a matrix is what qw_stored_linear_read accepts (the embedding is float),
 * what belongs to it or to a norm has its place too, and other tensors are a warning, or an error
 * where they would change the answers (quantization.md 1.4).
 */
QW_MUST_CHECK qw_status qw_weight_list_check(const qw_weight_list *list,
                                             const qw_checkpoint *checkpoint,
                                             bool (*may_skip)(const char *name, const void *ctx),
                                             const void *ctx, qw_weight_check check, qw_error *err);

/** A checkpoint of made-up values for every expected tensor (format/dummy_checkpoint.h), stored as
 *  the scheme says. Errors: groups that do not divide a tensor's width. */
QW_MUST_CHECK qw_status qw_weight_list_make_up(const qw_weight_list *list, qw_checkpoint *out,
                                               const qw_dummy_scheme *scheme, uint64_t seed,
                                               qw_error *err);

/** The name that `pattern` gives for `layer`, in the arena; NULL when memory is short. */
char *qw_weight_name(qw_arena *arena, const char *pattern, int layer);

/** The tensor that stands beside "....weight" of `pattern` with `last` for its last part, and its
 *  name; NULL when there is none. */
const qw_stored_tensor *qw_weight_sibling(char name[256], const qw_checkpoint *checkpoint,
                                          const char *pattern, int layer, const char *last);
/** True if all elements of a tensor in a file are 0 (or -0, of floats). */
bool qw_weight_is_zero(const qw_stored_tensor *t);

/** View of a tensor as it is stored: rows x cols, or a vector as 1 x n. */
qw_host_matrix qw_weight_matrix(const qw_checkpoint *checkpoint, const qw_stored_tensor *t);
/** The same of a tensor that the list has checked, by its name. */
qw_host_matrix qw_weight_view(const qw_checkpoint *checkpoint, const char *pattern, int layer);
/** The same, widened to fp32 into out[n]. */
void qw_weight_widen(float *out, const qw_checkpoint *checkpoint, const char *pattern, int layer);

#endif
