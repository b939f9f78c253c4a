#ifndef QW_BACKEND_CPU_ARM_KV8_NEON_H
#define QW_BACKEND_CPU_ARM_KV8_NEON_H

// Integer scores of int8 pages on NEON; the names of x86/kv8_avx2.h, where they are explained. A
// row is loaded de-interleaved, so that each of its 4 dims is a vector of 16 positions.

#include "backend/cpu/arm/vec16_neon.h"

enum { KV8_ROWS = 3 };

V16_INLINE void kv8_store_rounded(int32_t *p, v16 v)
{
    V16_UNROLL
    for (int i = 0; i < 4; i++) vst1q_s32(p + 4 * i, vcvtnq_s32_f32(v.q[i]));
}

V16_INLINE v16 kv8_widen(const void *p)
{
    int8x16_t bytes = vld1q_s8(p);
    int16x8_t a = vmovl_s8(vget_low_s8(bytes)), b = vmovl_s8(vget_high_s8(bytes));
    return (v16){
        {vcvtq_f32_s32(vmovl_s16(vget_low_s16(a))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(a))),
         vcvtq_f32_s32(vmovl_s16(vget_low_s16(b))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(b)))}};
}

V16_INLINE void kv8_pack(uint32_t words[2], const int32_t c[4])
{
    words[0] = ((uint32_t)c[0] & 0xFFFF) | (uint32_t)c[1] << 16;
    words[1] = ((uint32_t)c[2] & 0xFFFF) | (uint32_t)c[3] << 16;
}

typedef struct kv8_row {
    int16x8_t low[4], high[4]; /* [dim]: positions 0-7, 8-15 */
} kv8_row;

typedef struct kv8_acc {
    int32x4_t q[4];
} kv8_acc;

V16_INLINE kv8_row kv8_load(const void *p)
{
    uint8x16x4_t v = vld4q_u8(p);
    kv8_row row;
    V16_UNROLL
    for (int i = 0; i < 4; i++) {
        row.low[i] = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(v.val[i])));
        row.high[i] = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(v.val[i])));
    }
    return row;
}

V16_INLINE kv8_acc kv8_zero(void)
{
    int32x4_t zero = vdupq_n_s32(0);
    return (kv8_acc){{zero, zero, zero, zero}};
}

V16_INLINE kv8_acc kv8_dot(kv8_acc acc, kv8_row row, const uint32_t words[2])
{
    int16x4_t c = vreinterpret_s16_u32(vld1_u32(words));
#define KV8_DIM(i)                                                                                 \
    acc.q[0] = vmlal_lane_s16(acc.q[0], vget_low_s16(row.low[i]), c, i);                           \
    acc.q[1] = vmlal_lane_s16(acc.q[1], vget_high_s16(row.low[i]), c, i);                          \
    acc.q[2] = vmlal_lane_s16(acc.q[2], vget_low_s16(row.high[i]), c, i);                          \
    acc.q[3] = vmlal_lane_s16(acc.q[3], vget_high_s16(row.high[i]), c, i)
    KV8_DIM(0);
    KV8_DIM(1);
    KV8_DIM(2);
    KV8_DIM(3);
#undef KV8_DIM
    return acc;
}

V16_INLINE v16 kv8_sums(kv8_acc acc, int32_t correction)
{
    int32x4_t c = vdupq_n_s32(correction);
    v16 v;
    V16_UNROLL
    for (int i = 0; i < 4; i++) v.q[i] = vcvtq_f32_s32(vaddq_s32(acc.q[i], c));
    return v;
}

#endif
