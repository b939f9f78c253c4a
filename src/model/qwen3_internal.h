#ifndef QW_MODEL_QWEN3_INTERNAL_H
#define QW_MODEL_QWEN3_INTERNAL_H

// What the files of the Qwen3 decoder share; nobody else includes this. qwen3_tensors.c: which
// tensors there are and which products are made of them. qwen3_load.c: sizes, loading, releasing.
// qwen3.c: the layers, run one operation at a time or by step plans.
#include "base/mem.h"
#include "model/model.h"
#include "model/rope.h"
#include "model/step_plan.h"
#include "model/weights.h"

#define QW_LAYER "model.layers.%d."
#define QW_EMBED_TOKENS "model.embed_tokens.weight"

/** One decoder layer. */
typedef struct qw_layer {
    float *input_norm, *post_attention_norm; /* [hidden_size] */
    float *q_norm, *k_norm;                  /* [head_dim] */
    qw_linear qkv, o, gate_up, down;
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
    float *final_norm;
    qw_host_matrix embed_tokens; /* rows stay in the mapped file ... */
    void *embed_memory;          /* ... or, when made up, here */
    size_t embed_size;
    qw_linear lm_head;
    qw_packed_weights packed; /* what the linears borrow from */
    qw_rope rope;
    float scale; /* head_dim^-0.5 */

    // Step scratch: one mapping, cut up once. Widths in floats, strides from qw_row_stride.
    void *scratch;
    size_t scratch_size;
    size_t hidden_stride, qkv_stride, heads_stride, mlp_stride, logits_stride;
    float *hidden;                           /* residual stream [max_tokens] */
    float *normed;                           /* [max_tokens] */
    float *qkv;                              /* [max_tokens] */
    float *heads;                            /* attention output [max_tokens] */
    float *mlp;                              /* silu(gate) * up [max_tokens] */
    float *cos, *sin;                        /* [max_tokens][head_dim / 2] */
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

/** Every tensor of the config is there with its shape and dtype, and nothing else is. */
QW_MUST_CHECK qw_status qw_qwen3_check_tensors(const qw_model_config *c, const qw_checkpoint *ck,
                                               qw_error *err);

/** The products of a layer, in order of use. */
enum { QW_QKV, QW_O, QW_GATE_UP, QW_DOWN, QW_N_LAYER_PRODUCTS };

/** Which tensors a product is made of: printf formats with one %d for the layer. */
typedef struct qw_product_rule {
    const char *name; /* in the packed cache */
    const char *weights[3], *biases[3];
    int n;
    qw_concat concat;
} qw_product_rule;

extern const qw_product_rule qw_layer_products[QW_N_LAYER_PRODUCTS];
qw_product_rule qw_lm_head_product(const qw_model_config *c);
/** The tensors of a rule for layer i (< 0: none); linear and name are not set. */
qw_product qw_product_bind(const qw_product_rule *rule, const qw_model_config *c,
                           const qw_checkpoint *ck, int i);
/** Add the packed bytes of a product to *total; false when they are more than any memory. */
QW_MUST_CHECK bool qw_product_add_bytes(size_t *total, const qw_product_rule *rule,
                                        const qw_model_config *c, const qw_checkpoint *ck, int i);

// qwen3.c

void qw_qwen3_release_plans(qw_model *m);

#endif
