// Recipes of `quantize`: any bytes; and patterns, which must end on any name.
#include "cli/recipe.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qw_error err = {0};
    qw_recipe recipe;
    qw_status st = qw_recipe_parse(&recipe, (const char *)data, size, "fuzz.yaml", &err);
    if (st != QW_OK) {
        if (err.text[0] == '\0') abort();
        return 0;
    }
    for (size_t i = 0; i < recipe.n_rules; i++)
        if (strlen(recipe.rules[i].pattern) < 30) // a row of stars is slow, not wrong
            (void)qw_quant_pattern_fits(recipe.rules[i].pattern, "model.layers.0.mlp.down_proj");
    qw_recipe_release(&recipe);
    return 0;
}
