// Products of integer panels with rows of fp32 on AVX2.

#include "backend/cpu/x86/vec16i_avx2.h"

#include "backend/cpu/simd/gemm_widened_simd.h"
