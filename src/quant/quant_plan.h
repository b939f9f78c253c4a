#ifndef QW_QUANT_QUANT_PLAN_H
#define QW_QUANT_QUANT_PLAN_H

// What a quantized checkpoint will hold, decided before anything is computed: which tensor is
// stored how, under which names, in which file and where (quantization.md 1, 3, 6, 8).
#include "format/checkpoint.h"
#include "format/model_config.h"
#include "quant/linear_job.h"

/** --scheme (quantization.md 8.1). */
typedef enum qw_scheme {
    QW_SCHEME_W8A8,
    QW_SCHEME_W8A8_DYNAMIC,
    QW_SCHEME_W8A8_MIX,
    QW_SCHEME_W8A16,
    QW_SCHEME_W4A8,
    QW_SCHEME_W4A4_FLATQUANT,
    QW_SCHEME_W4A4_LAOS,
    QW_N_SCHEMES,
} qw_scheme;

/** As on the command line: "w8a8-dynamic". NULL behind the last. */
extern const char *const qw_scheme_names[QW_N_SCHEMES + 1];

/** One rule of a recipe: the Linears it names are stored so. The last rule that fits one counts. */
typedef struct qw_quant_rule {
    const char *pattern; /* "model.layers.{0,1}.mlp.*": * any text, {a,b} either, ? one character */
    qw_target target;
    qw_scale_method method; /* AUTO: as everywhere */
    size_t line;            /* in the recipe, for errors */
} qw_quant_rule;

/** What the user chose. Strings and rules are borrowed. */
typedef struct qw_quant_choices {
    qw_scheme scheme;
    qw_scale_method method;
    const qw_quant_rule *rules;
    size_t n_rules;
    const char *recipe; /* the recipe's name, for errors */
    int64_t group_size; /* W4A8: -1 the largest of 256, 128, 64, 32 that fits; 0 one level */
    uint64_t part_size; /* most bytes of tensors in a file, unless one is larger */
} qw_quant_choices;

/** What a tensor is to the network. */
typedef enum qw_role {
    QW_ROLE_OTHER,
    QW_ROLE_EMBED,
    QW_ROLE_LM_HEAD,
    QW_ROLE_FINAL_NORM,
    QW_ROLE_INPUT_NORM,
    QW_ROLE_POST_NORM,
    QW_ROLE_ROUTER, /* of experts */
    QW_ROLE_Q,
    QW_ROLE_K,
    QW_ROLE_V,
    QW_ROLE_O,
    QW_ROLE_GATE,
    QW_ROLE_UP,
    QW_ROLE_DOWN,
    QW_N_ROLES,
} qw_role;

/** True for the Linears of a layer: Q to DOWN. */
static inline bool qw_role_is_linear(qw_role r)
{
    return r >= QW_ROLE_Q && r <= QW_ROLE_DOWN;
}

/** The tensors that a Linear may be stored as, in the order of their places. */
typedef enum qw_out_kind {
    QW_OUT_WEIGHT,
    QW_OUT_SCALE,         /* weight_scale [out][1] F32 */
    QW_OUT_OFFSET,        /* weight_offset, zeros */
    QW_OUT_SECOND,        /* weight_scale_second [out][in / group] F16 */
    QW_OUT_SECOND_OFFSET, /* weight_offset_second, zeros */
    QW_OUT_SCALE_BIAS,    /* [out][1 or 16] F32 */
    QW_OUT_INPUT_SCALE,   /* [1] F32 */
    QW_OUT_INPUT_OFFSET,  /* [1] F32 */
    QW_OUT_QUANT_BIAS,    /* [out] I32 */
    QW_OUT_DEQ_SCALE,     /* [out] F32, or I64 where the model is not BF16 */
    QW_OUT_LEFT,          /* left_trans [left][left] F32 */
    QW_OUT_RIGHT,         /* right_trans [right][right] F32 */
    QW_OUT_CLIP,          /* clip_ratio [1] F32 */
    QW_OUT_BIAS,          /* bias [out] F32 */
    QW_N_OUT_KINDS,
} qw_out_kind;

/** A tensor of the new checkpoint. */
typedef struct qw_out_tensor {
    qw_stored_tensor t; /* data NULL */
    size_t shape[2];
    const char *tag; /* its value in the description */
    size_t part;     /* the file it lies in */
    uint64_t offset; /* of its first byte in the file; qw_quant_output fills it in */
} qw_out_tensor;

/** A tensor of the source and what it becomes. */
typedef struct qw_quant_item {
    const qw_stored_tensor *source, *bias; /* bias: of a Linear, or NULL */
    const char *name;                      /* of the weight in the new checkpoint */
    qw_role role;
    int layer; /* -1: none */
    bool is_expert;
    qw_target target;
    qw_scale_method method;
    size_t out, in; /* a vector is one row */
    size_t first;   /* its tensors: outputs[first ..], one for each bit of `kinds` */
    uint32_t kinds; /* 1 << qw_out_kind */
} qw_quant_item;

/** Everything, in the order of work: unit 0, 1, ... Read-only after it is made. */
typedef struct qw_quant_plan {
    const qw_model_config *config;
    qw_scheme scheme;
    qw_dtype model_dtype; /* of the source's Linears */
    size_t group_size;    /* W4A8; 0: one level */
    bool is_rotated;
    bool needs_ranges; /* a static Linear: no plan without calibration */
    qw_quant_item *items;
    size_t n_items;
    qw_out_tensor *outputs;
    size_t n_outputs;
    size_t
        *unit_first; /* [n_units + 1]: items of unit u are unit_first[u] .. unit_first[u + 1] - 1 */
    size_t n_units;  /* what stands before the layers, each layer, what stands behind */
    size_t n_parts;
    uint64_t total_size; /* bytes of all tensors */
    qw_arena arena;
} qw_quant_plan;

/**
 * Decide. `checkpoint` holds every tensor of `config` with its shape. Errors, each naming a tensor
 * or a rule: a rule that names no Linear, q, k, v or gate, up stored differently, sizes that a
 * format cannot hold. `config` and `checkpoint` are borrowed.
 */
QW_MUST_CHECK qw_status qw_quant_plan_make(qw_quant_plan *out, const qw_model_config *config,
                                           const qw_checkpoint *checkpoint,
                                           const qw_quant_choices *choices, qw_error *err);
void qw_quant_plan_release(qw_quant_plan *p);

/** The index in `outputs` of an item's tensor of this kind, which it must have. */
size_t qw_quant_plan_output(const qw_quant_item *item, qw_out_kind kind);
static inline bool qw_quant_item_has(const qw_quant_item *item, qw_out_kind kind)
{
    return item->kinds >> kind & 1;
}

/** The description's model_quant_type: the highest type there is, in msModelSlim's order. */
qw_target qw_quant_plan_headline(const qw_quant_plan *p);

/** True if `name` fits the pattern of a rule. */
bool qw_quant_pattern_fits(const char *pattern, const char *name);

#endif
