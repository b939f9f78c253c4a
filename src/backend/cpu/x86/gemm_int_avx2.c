// Products of integers on AVX2: exact by 16-bit multiplications (cpu-kernels.md 3.2).

#include "backend/cpu/x86/vec16i_avx2.h"

#define QW_INT_LEVEL(name) name##_avx2

#include "backend/cpu/simd/gemm_int_simd.h"
