// The kernel table with the emulated kernels in it: kernels.c under other names.

#include "kernels/harness.h"

#if defined(KT_HAVE_SIMDE)
#include "kernels/emulated_names.h"

QW_KERNELS_OF(avx512);
QW_INT_KERNELS_OF(avx512);
qw_gemm_int_fn qw_gemm_i8_vnni, qw_gemm_i4_vnni;
qw_gemm_fn qw_gemm_bf16_x16_avx512bf16;
qw_attention_fn qw_attention_bf16_avx512bf16, qw_attention_i8_vnni;

#define qw_kernels_init kt_emulated_kernels_init
#include "backend/cpu/kernels.c"
#undef qw_kernels_init

unsigned kt_emulated_levels(void)
{
    // The files are built for AVX2: without it they cannot run either.
    return qw_cpu_detect() & QW_CPU_AVX2 ? QW_CPU_AVX512 | QW_CPU_VNNI | QW_CPU_AVX512BF16 : 0;
}
#else
unsigned kt_emulated_levels(void)
{
    return 0;
}

void kt_emulated_kernels_init(qw_kernels *k, unsigned cpu)
{
    qw_kernels_init(k, cpu);
}
#endif
