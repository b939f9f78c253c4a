#ifndef QW_MODEL_QWEN3_INTERNAL_H
#define QW_MODEL_QWEN3_INTERNAL_H

// What the files of the Qwen3 decoder share; nobody else includes this. qwen3_tensors.c: which
// tensors there are and which products are made of them. qwen3_products.c: products bound to the
// tensors of a checkpoint. qwen3_load.c: sizes, loading, releasing. qwen3.c: the layers, run one
// operation at a time or by step plans.
#include "base/mem.h"
#include "model/model.h"
#include "model/rope.h"
#include "model/step_plan.h"
#include "model/stored_linear.h"
#include "model/weights.h"

#define QW_LAYER "model.layers.%d."
#define QW_EMBED_TOKENS "model.embed_tokens.weight"

/**
 * The weights of a product rule: one product, or one for each tensor when these are stored in ways
 * that differ. The output is the same either way.
 */
typedef struct qw_linears {
    qw_linear parts[3];
    int n_parts;
    int columns[3]; /* where the rows of each tensor begin in the output; STACK only */
    qw_concat concat;
} qw_linears;

/** An RMS norm; ascend checkpoints may have a bias, which is added behind it. */
typedef struct qw_norm {
    float *weight;
    float *bias; /* NULL: none */
} qw_norm;

/** One decoder layer. */
typedef struct qw_layer {
    qw_norm input_norm, post_attention_norm; /* [hidden_size] */
    float *q_norm, *k_norm;                  /* [head_dim] */
    float *k_scale, *v_scale; /* C8: of the KV cache, [kv heads * head_dim]; NULL: none stored */
    qw_linears qkv, o, gate_up, down;
} qw_layer;

/** Steps that were prepared, and the arrays their plans read instead of the caller's. */
typedef struct qw_planned_steps {
    qw_step_plans forward, logits;
    uint8_t *const *kv; /* the pages they are for */
    qw_kv_layout layout;
    int32_t *token_ids; /* [largest step] */
    qw_seq_range *seqs; /* [largest step] */
    int32_t *rows;      /* [max_logit_rows] */
} qw_planned_steps;

struct qw_model {
    qw_backend *be;
    const qw_model_config *config;
    qw_model_limits limits;
    bool round;     /* dtype bfloat16 */
    qw_arena arena; /* norms and the list of layers; model lifetime */
    int n_layers;
    qw_layer *layers;
    qw_norm final_norm;
    qw_host_matrix embed_tokens; /* rows stay in the mapped file ... */
    void *embed_memory;          /* ... or, when made up, here */
    size_t embed_size;
    qw_linears lm_head;
    qw_packed_weights packed; /* what the linears borrow from */
    qw_rope rope;
    float scale; /* head_dim^-0.5 */

    // Step scratch: one mapping, cut up once. Widths in floats, strides from qw_row_stride.
    void *scratch;
    size_t scratch_size;
    bool has_split_gate; /* `gate` and `up` are needed */
    size_t hidden_stride, qkv_stride, heads_stride, mlp_stride, logits_stride;
    float *hidden;    /* residual stream [max_tokens] */
    float *normed;    /* [max_tokens] */
    float *qkv;       /* [max_tokens] */
    float *heads;     /* attention output [max_tokens] */
    float *mlp;       /* silu(gate) * up [max_tokens] */
    float *gate, *up; /* [max_tokens], where they are products of their own; else NULL */
    float *cos, *sin; /* [max_tokens][head_dim / 2] */
    float *logit_in, *logit_normed, *logits; /* [max_logit_rows] */

    qw_model_tap_fn *tap; /* NULL: nobody listens */
    void *tap_ctx;

    qw_planned_steps planned;
    qw_step_stats stats; /* engine thread only */
};

static inline int qw_heads_width(const qw_model_config *c)
{
    return (int)(c->num_attention_heads * c->head_dim);
}

static inline int qw_kv_width(const qw_model_config *c)
{
    return (int)(c->num_key_value_heads * c->head_dim);
}

// qwen3_tensors.c

/** As qw_weight_list_check for the tensors of the config. */
QW_MUST_CHECK qw_status qw_qwen3_check_tensors(const qw_model_config *c, const qw_checkpoint *ck,
                                               qw_weight_check check, qw_error *err);

/** The products of a layer, in order of use. */
enum { QW_QKV, QW_O, QW_GATE_UP, QW_DOWN, QW_N_LAYER_PRODUCTS };

/** Which tensors a product is made of: printf formats with one %d for the layer. */
typedef struct qw_product_rule {
    const char *name; /* in the packed cache */
    const char *weights[3], *biases[3];
    int n;
    qw_concat concat;
    bool to_int8; /* float weights are quantized when they are packed */
} qw_product_rule;

extern const qw_product_rule qw_layer_products[QW_N_LAYER_PRODUCTS];
/** The head's rule: lm_head.weight, or the embedding where they are tied. */
qw_product_rule qw_lm_head_product(const qw_model_config *c, const qw_checkpoint *ck,
                                   qw_head_dtype dtype);

// qwen3_products.c

/** A rule's tensors, bound to a checkpoint. */
typedef struct qw_bound_rule {
    qw_product products[3];
    int n_products;
    int columns[3];
    qw_stored_linear stored[3]; /* as they are in the checkpoint */
    int n_stored;
} qw_bound_rule;

/**
 * Find the tensors of a rule for layer i (< 0: none) and decide which are packed together. Names
 * and what had to be converted lie in the arena; the products' `linear` is not set.
 */
QW_MUST_CHECK qw_status qw_product_bind(qw_bound_rule *out, qw_arena *arena,
                                        const qw_product_rule *rule, const qw_model_config *c,
                                        const qw_checkpoint *ck, int i, qw_error *err);

/** Put a Linear behind those that the product has, which it fits (qw_stored_linear_fits). */
void qw_product_add_tensor(qw_product *p, const qw_stored_linear *l);

/** What products take, added up. */
typedef struct qw_product_sizes {
    size_t packed;       /* bytes of all packed arrays */
    size_t input;        /* bytes of the largest quantized input */
    bool has_split_gate; /* gate and up are products of their own somewhere */
} qw_product_sizes;

/** Add those of a rule, whose input has up to max_rows rows. */
QW_MUST_CHECK qw_status qw_product_measure(qw_product_sizes *sizes, const qw_product_rule *rule,
                                           const qw_model_config *c, const qw_checkpoint *ck, int i,
                                           int max_rows, qw_error *err);

// qwen3_describe.c

/** One line of the log for each format of the checkpoint: how many Linears, and which kernel. */
void qw_qwen3_log_formats(const qw_model_config *c, const qw_checkpoint *ck, qw_head_dtype head,
                          const char *isa);

// qwen3.c

void qw_qwen3_release_plans(qw_model *m);

#endif
