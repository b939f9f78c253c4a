#ifndef QW_CLI_RECIPE_H
#define QW_CLI_RECIPE_H

#include "base/mem.h"
#include "quant/quant_plan.h"

/**
 * A recipe of `qwench quantize`: which layers are stored how, over what the scheme says. YAML:
 *
 *   layers:
 *     - match: model.layers.{0,1,2}.mlp.down_proj    # one pattern, or a list of them
 *       type: FLOAT                                  # W8A8, W8A8_DYNAMIC, W4A8_DYNAMIC, ...
 *     - match: ["*.q_proj", "*.k_proj", "*.v_proj"]
 *       type: W8A8_DYNAMIC
 *       method: mse                                  # minmax, mse or ssz; may be left out
 *
 * In a pattern * is any text, also across dots, ? one character, {a,b} either. Of several rules
 * that name a layer the last one counts.
 */
typedef struct qw_recipe {
    qw_quant_rule *rules;
    size_t n_rules;
    qw_arena arena;
} qw_recipe;

/** QW_ERR_USAGE names file, line and what is wrong. Release with qw_recipe_release. */
QW_MUST_CHECK qw_status qw_recipe_load(qw_recipe *out, const char *path, qw_error *err);
/** The same from `len` bytes of text; `name` is for errors. */
QW_MUST_CHECK qw_status qw_recipe_parse(qw_recipe *out, const char *text, size_t len,
                                        const char *name, qw_error *err);
/** All zero is fine. */
void qw_recipe_release(qw_recipe *r);

#endif
