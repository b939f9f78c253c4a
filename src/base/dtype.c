#include "base/dtype.h"

static const struct {
    const char *name;
    int bits;
} table[QW_N_DTYPES + 1] = {
    [QW_DTYPE_F32] = {"F32", 32},
    [QW_DTYPE_F16] = {"F16", 16},
    [QW_DTYPE_BF16] = {"BF16", 16},
    [QW_DTYPE_F64] = {"F64", 64},
    [QW_DTYPE_I64] = {"I64", 64},
    [QW_DTYPE_I32] = {"I32", 32},
    [QW_DTYPE_I16] = {"I16", 16},
    [QW_DTYPE_I8] = {"I8", 8},
    [QW_DTYPE_U8] = {"U8", 8},
    [QW_DTYPE_U16] = {"U16", 16},
    [QW_DTYPE_U32] = {"U32", 32},
    [QW_DTYPE_U64] = {"U64", 64},
    [QW_DTYPE_BOOL] = {"BOOL", 8},
    [QW_DTYPE_F4] = {"F4", 4},
    [QW_DTYPE_F6_E2M3] = {"F6_E2M3", 6},
    [QW_DTYPE_F6_E3M2] = {"F6_E3M2", 6},
    [QW_DTYPE_F8_E5M2] = {"F8_E5M2", 8},
    [QW_DTYPE_F8_E4M3] = {"F8_E4M3", 8},
    [QW_DTYPE_F8_E8M0] = {"F8_E8M0", 8},
    [QW_DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [QW_DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [QW_DTYPE_C64] = {"C64", 64},
    [QW_DTYPE_I4] = {"I4", 4},
};

const char *qw_dtype_name(qw_dtype t)
{
    return table[t].name;
}

int qw_dtype_bits(qw_dtype t)
{
    return table[t].bits;
}

bool qw_dtype_from_name(qw_dtype *out, const char *name)
{
    for (int i = 0; i < QW_N_DTYPES; i++) {
        if (strcmp(name, table[i].name) == 0) {
            *out = (qw_dtype)i;
            return true;
        }
    }
    return false;
}

float qw_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 0x1Fu, m = h & 0x3FFu;
    if (exponent == 31) return qw_f32_from_bits(sign | 0x7F800000u | m << 13);
    if (exponent != 0) return qw_f32_from_bits(sign | (exponent + 112) << 23 | m << 13);
    // Subnormal: m * 2^-24, by integer steps so that DAZ and FTZ play no part.
    if (m == 0) return qw_f32_from_bits(sign);
    exponent = 113;
    while (!(m & 0x400u)) {
        m <<= 1;
        exponent--;
    }
    return qw_f32_from_bits(sign | exponent << 23 | (m & 0x3FFu) << 13);
}
