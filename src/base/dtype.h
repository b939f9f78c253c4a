#ifndef QW_BASE_DTYPE_H
#define QW_BASE_DTYPE_H

#include "base/compiler.h"

/** Element types of tensors in files and in memory. */
typedef enum qw_dtype {
    QW_DTYPE_F32,
    QW_DTYPE_F16,
    QW_DTYPE_BF16,
    QW_DTYPE_F64,
    QW_DTYPE_I64,
    QW_DTYPE_I32,
    QW_DTYPE_I16,
    QW_DTYPE_I8,
    QW_DTYPE_U8,
    QW_DTYPE_U16,
    QW_DTYPE_U32,
    QW_DTYPE_U64,
    QW_DTYPE_BOOL,
    QW_DTYPE_F4,
    QW_DTYPE_F6_E2M3,
    QW_DTYPE_F6_E3M2,
    QW_DTYPE_F8_E5M2,
    QW_DTYPE_F8_E4M3,
    QW_DTYPE_F8_E8M0,
    QW_DTYPE_F8_E4M3FNUZ,
    QW_DTYPE_F8_E5M2FNUZ,
    QW_DTYPE_C64,
    QW_N_DTYPES,               /* that files have */
    QW_DTYPE_I4 = QW_N_DTYPES, /* two signed 4-bit integers a byte; in no file under this name */
} qw_dtype;

/** The safetensors spelling: "BF16", "F8_E4M3", ... */
const char *qw_dtype_name(qw_dtype t);
/** Bits of one element; I4, F4 and the F6 types are no whole bytes. */
int qw_dtype_bits(qw_dtype t);
/** False if `name` (NUL-terminated, the safetensors spelling) is unknown. */
bool qw_dtype_from_name(qw_dtype *out, const char *name);

static inline uint32_t qw_f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

static inline float qw_f32_from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}

static inline float qw_bf16_to_f32(uint16_t b)
{
    return qw_f32_from_bits((uint32_t)b << 16);
}

/** Round to nearest even; NaN becomes a quiet NaN of the same sign (cpu-kernels 3.6). */
static inline uint16_t qw_f32_to_bf16(float x)
{
    uint32_t u = qw_f32_bits(x);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(u >> 16 | 0x0040);
    return (uint16_t)((u + 0x7FFFu + (u >> 16 & 1)) >> 16);
}

/** bf(x): x rounded to bfloat16, as a float. */
static inline float qw_round_bf16(float x)
{
    return qw_bf16_to_f32(qw_f32_to_bf16(x));
}

/** Exact; subnormals included. */
float qw_f16_to_f32(uint16_t h);

#endif
