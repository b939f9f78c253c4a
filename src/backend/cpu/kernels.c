#include "backend/cpu/kernels.h"

#include "backend/cpu/cpu_features.h"

#if defined(__x86_64__)
static void use_avx2(qw_kernels *k)
{
    k->isa = "avx2";
    k->gemm_bf16 = qw_gemm_bf16_avx2;
    k->gemm_f16 = qw_gemm_f16_avx2;
    k->gemm_f32 = qw_gemm_f32_avx2;
    k->rms_norm = qw_rms_norm_avx2;
    k->norm_rope = qw_norm_rope_avx2;
    k->store = qw_store_avx2;
    k->residual = qw_residual_avx2;
    k->silu_mul = qw_silu_mul_avx2;
    k->kv_store_bf16 = qw_kv_store_bf16_avx2;
    k->attention_bf16 = qw_attention_bf16_avx2;
    k->attention_f32 = qw_attention_f32_avx2;
}
#endif

void qw_kernels_init(qw_kernels *k, unsigned cpu)
{
    *k = (qw_kernels){
        .isa = "ref",
        .gemm_bf16 = qw_gemm_bf16_ref,
        .gemm_f16 = qw_gemm_f16_ref,
        .gemm_f32 = qw_gemm_f32_ref,
        .rms_norm = qw_rms_norm_ref,
        .norm_rope = qw_norm_rope_ref,
        .store = qw_store_ref,
        .residual = qw_residual_ref,
        .silu_mul = qw_silu_mul_ref,
        .attention_bf16 = qw_attention_bf16_ref,
        .attention_f32 = qw_attention_f32_ref,
        .kv_store_bf16 = qw_kv_store_bf16_ref,
        .kv_store_f32 = qw_kv_store_f32_ref,
    };
#if defined(__x86_64__)
    if (cpu & QW_CPU_AVX2) use_avx2(k);
#endif
}
