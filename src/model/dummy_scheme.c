#include "model/dummy_scheme.h"

#include "base/str.h"

static const qw_dummy_scheme schemes[] = {
    {"none", QW_QUANT_FLOAT, QW_QUANT_FLOAT, 0},
    {"w8a8", QW_QUANT_W8A8, QW_QUANT_W8A8, 0},
    {"w8a8-dynamic", QW_QUANT_W8A8_DYNAMIC, QW_QUANT_W8A8_DYNAMIC, 0},
    {"w8a16", QW_QUANT_W8A16, QW_QUANT_W8A16, 0},
    {"w4a8", QW_QUANT_W4A8_DYNAMIC, QW_QUANT_W4A8_DYNAMIC, 0},
    {"w4a8-g128", QW_QUANT_W4A8_DYNAMIC, QW_QUANT_W4A8_DYNAMIC, 128},
    {"w4a8-g256", QW_QUANT_W4A8_DYNAMIC, QW_QUANT_W4A8_DYNAMIC, 256},
    {"w4a4", QW_QUANT_W4A4_DYNAMIC, QW_QUANT_W4A4_DYNAMIC, 0},
    {"w4a4-flatquant", QW_QUANT_W4A4_FLATQUANT_DYNAMIC, QW_QUANT_W8A8_DYNAMIC, 0},
};

const qw_dummy_scheme *qw_dummy_scheme_find(const char *name)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(schemes); i++)
        if (strcmp(schemes[i].name, name) == 0) return &schemes[i];
    return NULL;
}

qw_quant_type qw_dummy_scheme_type(const qw_dummy_scheme *s, const char *tensor)
{
    qw_str name = qw_str_of(tensor);
    if (!s || !qw_str_starts_with(name, QW_STR("model.layers.")) ||
        !qw_str_ends_with(name, QW_STR("_proj.weight")))
        return QW_QUANT_FLOAT;
    bool is_other = qw_str_ends_with(name, QW_STR(".o_proj.weight")) ||
                    qw_str_ends_with(name, QW_STR(".down_proj.weight"));
    return is_other ? s->other_type : s->type;
}
