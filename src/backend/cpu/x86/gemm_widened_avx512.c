// Products of integer panels with rows of fp32 on AVX-512.

#include "backend/cpu/x86/vec16i_avx512.h"

#include "backend/cpu/simd/gemm_widened_simd.h"
