#ifndef QW_MODEL_PACKED_WEIGHTS_H
#define QW_MODEL_PACKED_WEIGHTS_H

#include "backend/backend.h"
#include "format/checkpoint.h"
#include "format/weight_cache.h"

/** One product of a model: what it is packed from and where the result goes. */
typedef struct qw_product {
    const char *name;  /* of its entry in the cache; differs when its tensors differ */
    qw_linear *linear; /* filled in; release with the backend's linear_release */
    qw_host_matrix segments[3], biases[3];
    int n_segments;
    qw_concat concat;
    /** With integer weights: the scheme. Its `scales`, `group_scales` and `static_biases` are not
     *  used; the arrays below stand for them where one is set. */
    bool is_quantized;
    qw_quant_source quant;
    qw_host_matrix scales[3], group_scales[3], static_biases[3];
} qw_product;

/** What a product is packed from. `quant` is filled in for it and must live as long. */
qw_linear_source qw_product_source(const qw_product *p, qw_quant_source *quant);

/** Progress of loading, from 0 to total parts; called on the loading thread. */
typedef void qw_model_progress_fn(void *ctx, size_t done, size_t total);

/** Where packed weights are kept between starts. Strings are borrowed for the call. */
typedef struct qw_pack_cache {
    const char *dir;       /* NULL: nowhere */
    const char *model_dir; /* names the file in it */
    bool verify;           /* hash all bytes of a file before using it */
} qw_pack_cache;

/** The products' bytes when they are mapped; all zero when they are in the backend's memory. */
typedef struct qw_packed_weights {
    qw_weight_cache cache;
    size_t mapped_size; /* bytes of the file; 0: nothing is mapped */
} qw_packed_weights;

/**
 * Give every product its panels, in order of use: from the cache's file if it fits the checkpoint,
 * else packed, into the file if it can be written and into memory if not. A file that cannot be
 * used or written is no failure: one log line tells why. The linears borrow from `out`, which is
 * to be released after them.
 */
QW_MUST_CHECK qw_status qw_packed_weights_load(qw_packed_weights *out, qw_backend *be,
                                               const qw_product *products, size_t n,
                                               const qw_checkpoint *checkpoint,
                                               const qw_pack_cache *cache,
                                               qw_model_progress_fn *progress, void *progress_ctx,
                                               qw_error *err);
void qw_packed_weights_release(qw_packed_weights *p);

#endif
