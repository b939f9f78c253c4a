#ifndef QW_MODEL_MODEL_H
#define QW_MODEL_MODEL_H

#include "backend/backend.h"
#include "format/checkpoint.h"
#include "format/model_config.h"
#include "model/dummy_scheme.h"
#include "model/packed_weights.h"

/** Compute precision of activations (--dtype). */
typedef enum qw_compute {
    QW_COMPUTE_BF16, /* rounded where the reference rounds (qwen3-dense.md 3) */
    QW_COMPUTE_F32,  /* fp32 throughout: the accuracy reference */
} qw_compute;

/** What the head multiplies by (--lm-head-dtype). */
typedef enum qw_head_dtype {
    QW_HEAD_AUTO,  /* INT8 in a quantized model whose description does not name the head; else FLOAT
                    */
    QW_HEAD_INT8,  /* int8, made of float weights at loading with a scale for each row */
    QW_HEAD_FLOAT, /* as it is stored */
} qw_head_dtype;

/** What sizes a model's memory. */
typedef struct qw_model_limits {
    int max_tokens;     /* rows of the flat batch */
    int max_logit_rows; /* rows whose logits are computed in one call */
    qw_head_dtype head;
} qw_model_limits;

/** What a model needs before anything is loaded, in bytes. */
typedef struct qw_model_footprint {
    size_t weights;      /* packed panels, norms, biases */
    size_t experts;      /* of these: experts, of which a step reads those its rows go to */
    size_t activations;  /* step buffers */
    size_t kv_per_block; /* all layers, for the layout asked about */
} qw_model_footprint;

/** One step over the flat batch. Arrays are borrowed for the call. */
typedef struct qw_model_step {
    int n_tokens;             /* rows, <= max_tokens */
    const int32_t *token_ids; /* [n_tokens], each in [0, vocab_size) */
    const int32_t *positions; /* [n_tokens] */
    const qw_seq_range *seqs; /* [n_seqs], ascending rows, covering all of them */
    int n_seqs;
    uint8_t *const *kv; /* [num_hidden_layers] pages of each layer */
    const qw_kv_layout *layout;
} qw_model_step;

typedef struct qw_model qw_model;

/** Bytes for a config, from sizes alone: nothing is read, nothing is allocated. */
QW_MUST_CHECK qw_status qw_model_measure(qw_model_footprint *out, const qw_model_config *config,
                                         const qw_checkpoint *checkpoint,
                                         const qw_model_limits *limits, const qw_kv_layout *layout,
                                         qw_error *err);

/** How to load. */
typedef struct qw_model_load_args {
    qw_compute compute;
    qw_model_limits limits;
    qw_pack_cache cache;            /* all zero: packed weights are not kept */
    qw_model_progress_fn *progress; /* may be NULL */
    void *progress_ctx;
} qw_model_load_args;

/**
 * Load: check every tensor's name, shape and dtype, pack the products or map them packed, size the
 * step buffers. `config` and `checkpoint` are borrowed until qw_model_free (the embedding rows stay
 * in the map).
 */
QW_MUST_CHECK qw_status qw_model_load(qw_model **out, qw_backend *backend,
                                      const qw_model_config *config,
                                      const qw_checkpoint *checkpoint,
                                      const qw_model_load_args *args, qw_error *err);
/** Bytes of the packed cache that the weights lie in; 0 when they are in memory. */
size_t qw_model_mapped_weights(const qw_model *m);

/** A checkpoint of made-up weights for all tensors of a config (format/dummy_checkpoint.h), stored
 *  as the scheme says; NULL: as floats. */
QW_MUST_CHECK qw_status qw_model_dummy_checkpoint(qw_checkpoint *out, const qw_model_config *config,
                                                  const qw_dummy_scheme *scheme, uint64_t seed,
                                                  qw_error *err);
void qw_model_free(qw_model *m);

/** How a Linear is stored and run. Strings are borrowed for the call. */
typedef struct qw_linear_info {
    int layer;           /* -1: in none */
    int expert;          /* -1: of none */
    const char *name;    /* "mlp.up_proj", without its layer */
    const char *format;  /* static: "W8A8_DYNAMIC"; the dtype of float weights */
    const char *kernel;  /* static: "int8 x int8 per token" */
    qw_dtype dtype;      /* of the packed weights */
    qw_input_kind input; /* what happens to the rows that they meet */
    const char *product; /* what it is packed with: "mlp.gate_up_proj", or itself */
    int rows, cols;      /* outputs, inputs */
    int group;           /* inputs per group of scales; 0: none */
    bool has_bias;
    size_t stored_bytes; /* of its tensors */
    size_t packed_bytes; /* of the product; 0 but for its first Linear */
} qw_linear_info;

typedef void qw_linear_info_fn(void *ctx, const qw_linear_info *info);

/** Tell about all Linears, layer by layer, the head last. Errors as qw_model_load's, but values are
 *  not looked at. */
QW_MUST_CHECK qw_status qw_model_describe(const qw_model_config *config,
                                          const qw_checkpoint *checkpoint, qw_head_dtype head,
                                          qw_linear_info_fn *fn, void *ctx, qw_error *err);

/** Step plans and what became of them. */
typedef struct qw_step_stats {
    size_t n_plans;        /* sizes of decode steps that have a plan */
    size_t plan_bytes;     /* all memory that plans take */
    int64_t build_ns;      /* time it took to make them, */
    int64_t max_build_ns;  /* and for one size at most */
    uint64_t plan_replays; /* steps that replayed a plan */
    uint64_t eager_steps;  /* steps that ran operation by operation */
} qw_step_stats;

/**
 * Prepare decode steps (features.md 1H): from now on a step over these pages in which every
 * sequence has one row, and qw_model_logits, replay the smallest plan that holds their rows. All
 * others run operation by operation, to the same bits; so does everything without this call. No
 * step allocates.
 *
 * `sizes` ascend (qw_plan_sizes_make); those above max_tokens count as max_tokens. Call it
 * between steps; plans made earlier are dropped, also when it fails. `kv` and its pages must stay;
 * `layout` is copied. A device without plans is no
 * failure: there are none then. Errors: no memory; the model goes on without plans.
 */
QW_MUST_CHECK qw_status qw_model_plan_steps(qw_model *m, const int32_t *sizes, size_t n_sizes,
                                            uint8_t *const *kv, const qw_kv_layout *layout,
                                            qw_error *err);
/** Current while no step runs; borrowed until qw_model_free. */
const qw_step_stats *qw_model_step_stats(const qw_model *m);

/** Run all layers; the hidden states after the last layer stay in the model until the next call. */
void qw_model_forward(qw_model *m, const qw_model_step *step);

/**
 * Logits of `n_rows` (<= max_logit_rows) rows of the last step: final norm and lm_head.
 * Returns [n_rows][*stride] fp32, valid until the next call; columns 0 .. vocab_size - 1 count.
 */
const float *qw_model_logits(qw_model *m, const int32_t *rows, int n_rows, size_t *stride);

/** Where a layer's products take their inputs from. */
typedef enum qw_tap_point {
    QW_TAP_QKV,
    QW_TAP_O,
    QW_TAP_GATE_UP,
    QW_TAP_DOWN,
    QW_N_TAP_POINTS,                /* of the inputs of products */
    QW_TAP_LAYER = QW_N_TAP_POINTS, /* the residual stream that goes into the layer */
} qw_tap_point;

/** Sees the rows that go into a layer, and into its products: x[n_rows][stride], for the call. */
typedef void qw_model_tap_fn(void *ctx, int i_layer, qw_tap_point point, const float *x,
                             size_t stride, int n_rows);
/** Let `fn` listen from now on (NULL: nobody). Steps that replay a plan tell it nothing. For
 *  calibration and comparison. */
void qw_model_set_tap(qw_model *m, qw_model_tap_fn *fn, void *ctx);

/** As qw_model_forward, but stops after the first `n_layers` layers (0: the embedding). Test aid.
 */
void qw_model_forward_layers(qw_model *m, const qw_model_step *step, int n_layers);
/** Hidden state of a row of the last step, hidden_size values. Test aid. */
const float *qw_model_hidden(const qw_model *m, int row);
/** Row i of the last qw_model_logits after the final norm, hidden_size values. Test aid. */
const float *qw_model_normed(const qw_model *m, int i);

#endif
