#ifndef QW_MODEL_QWEN3_INTERNAL_H
#define QW_MODEL_QWEN3_INTERNAL_H

// What the files of the Qwen3 decoder share; nobody else includes this. qwen3_tensors.c: which
// tensors there are and which products are made of them. qwen3_products.c: products bound to the
// tensors of a checkpoint. qwen3_load.c: sizes, loading, releasing. qwen3_moe.c: layers with
// experts. qwen3.c: the layers, run one operation at a time or by step plans.
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

/** Experts in the place of an MLP. */
typedef struct qw_moe {
    qw_linears router;
    qw_linear *gate_up, *down; /* [num_experts] */
    bool round_inner;          /* silu(gate) * up is rounded with the others */
    bool round_terms;          /* so are the terms of the sum over experts */
} qw_moe;

/** One decoder layer. */
typedef struct qw_layer {
    qw_norm input_norm, post_attention_norm; /* [hidden_size] */
    float *q_norm, *k_norm;                  /* [head_dim] */
    float *k_scale, *v_scale; /* C8: of the KV cache, [kv heads * head_dim]; NULL: none stored */
    qw_linears qkv, o, gate_up, down;
    qw_moe *moe; /* instead of gate_up and down; NULL: a dense layer */
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
    // Where layers have experts, else NULL.
    size_t expert_stride, router_stride;
    float *router;       /* [max_tokens]: logits of the experts */
    float *expert_rows;  /* [max_tokens * experts of a token]: their inputs, then their outputs */
    float *expert_inner; /* the same number: silu(gate) * up */
    qw_routing routing;

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

/** The products of a layer, in order of use: attention's, then those of a dense layer, or the
 *  router and the two of each expert. */
typedef enum qw_layer_part {
    QW_QKV,
    QW_O,
    QW_GATE_UP,
    QW_DOWN,
    QW_ROUTER,
    QW_EXPERT_GATE_UP,
    QW_EXPERT_DOWN,
} qw_layer_part;

/** Which tensors a product is made of: printf formats with one %d for the layer. */
typedef struct qw_product_rule {
    const char *name; /* in the packed cache */
    const char *weights[3], *biases[3];
    int n;
    qw_concat concat;
    bool to_int8; /* float weights are quantized when they are packed */
} qw_product_rule;

/** A product of a layer. */
typedef struct qw_layer_product {
    qw_layer_part part;
    int layer;
    int expert; /* -1: of none */
    qw_product_rule rule;
} qw_layer_product;

typedef qw_status qw_layer_product_fn(void *ctx, const qw_layer_product *p, qw_error *err);

/** Tell about the products of all layers, in order of use, until `fn` fails. What is told is
 *  borrowed for the call. */
QW_MUST_CHECK qw_status qw_each_layer_product(const qw_model_config *c, qw_layer_product_fn *fn,
                                              void *ctx, qw_error *err);
/** How many products that makes, at most: each tensor may be one by itself. */
size_t qw_max_layer_products(const qw_model_config *c);
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

// qwen3_moe.c

/** Expect the tensors of a layer with experts. */
QW_MUST_CHECK qw_status qw_moe_list_tensors(qw_weight_list *list, const qw_model_config *c,
                                            int layer, qw_error *err);
/** Part of qw_each_layer_product: router and experts of one layer. */
QW_MUST_CHECK qw_status qw_moe_each_product(const qw_model_config *c, int layer,
                                            qw_layer_product_fn *fn, void *ctx, qw_error *err);
/** The experts of each layer are stored in one way, as expert_linear needs them. */
QW_MUST_CHECK qw_status qw_moe_check_experts(const qw_model_config *c, const qw_checkpoint *ck,
                                             qw_error *err);
/** Step buffers: their strides, and the bytes they take together. False: too many. */
bool qw_moe_plan_scratch(qw_model *m, size_t *total);
/** Cut them from memory of that size. */
void qw_moe_cut_scratch(qw_model *m, float *memory);
/** The list of a layer's experts, in the model's arena; `l->moe` stays NULL for a dense layer. */
QW_MUST_CHECK qw_status qw_moe_alloc(qw_model *m, int layer, qw_error *err);
/** What follows from how the experts are packed. */
void qw_moe_finish(qw_moe *moe);
/** hidden += experts(normed); normed holds n_tokens rows. */
void qw_moe_run(const qw_model *m, qw_backend *be, const qw_moe *moe, int n_tokens);

// qwen3_describe.c

/** One line of the log for each format of the checkpoint: how many Linears, and which kernel. */
void qw_qwen3_log_formats(const qw_model_config *c, const qw_checkpoint *ck, qw_head_dtype head,
                          const char *isa);

// qwen3.c

void qw_qwen3_release_plans(qw_model *m);

#endif
