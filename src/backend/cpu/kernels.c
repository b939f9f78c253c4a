#include "backend/cpu/kernels.h"

#include "backend/cpu/cpu_features.h"

#if defined(__x86_64__) || defined(__aarch64__)
// Every kernel that a level of QW_KERNELS_OF brings.
#define USE(k, level)                                                                              \
    do {                                                                                           \
        (k)->isa = #level;                                                                         \
        (k)->gemm_bf16 = (k)->gemm_bf16_x16 = qw_gemm_bf16_##level;                                \
        (k)->gemm_f16 = qw_gemm_f16_##level;                                                       \
        (k)->gemm_f32 = qw_gemm_f32_##level;                                                       \
        (k)->rms_norm = qw_rms_norm_##level;                                                       \
        (k)->norm_rope = qw_norm_rope_##level;                                                     \
        (k)->store = qw_store_##level;                                                             \
        (k)->residual = qw_residual_##level;                                                       \
        (k)->silu_mul = qw_silu_mul_##level;                                                       \
        (k)->attention_bf16 = qw_attention_bf16_##level;                                           \
        (k)->attention_f32 = qw_attention_f32_##level;                                             \
        (k)->attention_i8 = qw_attention_i8_##level;                                               \
        (k)->kv_store_bf16 = qw_kv_store_bf16_##level;                                             \
        (k)->kv_store_i8 = qw_kv_store_i8_##level;                                                 \
    } while (0)
#endif

#if defined(__x86_64__)
#define USE_INT(k, level)                                                                          \
    do {                                                                                           \
        (k)->gemm_i8 = qw_gemm_i8_##level;                                                         \
        (k)->gemm_i4 = qw_gemm_i4_##level;                                                         \
        (k)->gemm_i8_f32 = qw_gemm_i8_f32_##level;                                                 \
        (k)->gemm_i4_f32 = qw_gemm_i4_f32_##level;                                                 \
        (k)->widen_i8 = qw_widen_i8_##level;                                                       \
        (k)->quantize = qw_quantize_##level;                                                       \
        (k)->norm_quantize = qw_norm_quantize_##level;                                             \
        (k)->silu_quantize = qw_silu_quantize_##level;                                             \
        (k)->flat = qw_flat_##level;                                                               \
        (k)->dequant = qw_dequant_##level;                                                         \
        (k)->scale = qw_scale_##level;                                                             \
    } while (0)
#endif

void qw_kernels_init(qw_kernels *k, unsigned cpu)
{
    *k = (qw_kernels){
        .isa = "ref",
        .gemm_bf16 = qw_gemm_bf16_ref,
        .gemm_bf16_x16 = qw_gemm_bf16_ref,
        .gemm_f16 = qw_gemm_f16_ref,
        .gemm_f32 = qw_gemm_f32_ref,
        .gemm_i8 = qw_gemm_i8_ref,
        .gemm_i4 = qw_gemm_i4_ref,
        .gemm_i8_f32 = qw_gemm_i8_f32_ref,
        .gemm_i4_f32 = qw_gemm_i4_f32_ref,
        .quantize = qw_quantize_ref,
        .norm_quantize = qw_norm_quantize_ref,
        .silu_quantize = qw_silu_quantize_ref,
        .flat = qw_flat_ref,
        .dequant = qw_dequant_ref,
        .scale = qw_scale_ref,
        .rms_norm = qw_rms_norm_ref,
        .norm_rope = qw_norm_rope_ref,
        .store = qw_store_ref,
        .residual = qw_residual_ref,
        .silu_mul = qw_silu_mul_ref,
        .attention_bf16 = qw_attention_bf16_ref,
        .attention_f32 = qw_attention_f32_ref,
        .attention_i8 = qw_attention_i8_ref,
        .kv_store_bf16 = qw_kv_store_bf16_ref,
        .kv_store_f32 = qw_kv_store_f32_ref,
        .kv_store_i8 = qw_kv_store_i8_ref,
    };
#if defined(__x86_64__)
    if (cpu & QW_CPU_AVX2) {
        USE(k, avx2);
        USE_INT(k, avx2);
    }
    if (cpu & QW_CPU_AVX512) {
        USE(k, avx512);
        USE_INT(k, avx512);
    }
    if (cpu & QW_CPU_VNNI) {
        k->isa = "vnni";
        k->gemm_i8 = qw_gemm_i8_vnni;
        k->gemm_i4 = qw_gemm_i4_vnni;
        k->widen_i8 = NULL; // vpdpbusd takes the bytes
        k->attention_i8 = qw_attention_i8_vnni;
    }
    if (cpu & QW_CPU_AVX512BF16) {
        k->isa = "avx512bf16";
        k->gemm_bf16_x16 = qw_gemm_bf16_x16_avx512bf16;
        k->attention_bf16 = qw_attention_bf16_avx512bf16;
    }
#elif defined(__aarch64__)
    if (cpu & QW_CPU_NEON) USE(k, neon);
#endif
}
