#ifndef QW_BACKEND_CPU_SIMD_SILU_SIMD_H
#define QW_BACKEND_CPU_SIMD_SILU_SIMD_H

// SiLU times up with 16-lane vectors, for kernels that need it; after a vec16 header.

V16_INLINE v16 silu_of(v16 g)
{
    v16 t = v16_exp(v16_neg_abs(g)), one = v16_set1(1.0f), bottom = v16_add(one, t);
    v16 s = v16_div(v16_select_nonneg(g, one, t), bottom);
    return v16_mul(g, s);
}

V16_INLINE v16 silu_times(v16 gate, v16 up, bool round)
{
    if (!round) return v16_mul(silu_of(gate), up);
    v16 v = v16_round_bf16(silu_of(v16_round_bf16(gate)));
    return v16_round_bf16(v16_mul(v, v16_round_bf16(up)));
}

#endif
