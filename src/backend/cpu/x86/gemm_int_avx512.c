// Products of integers on AVX-512 without VNNI: as on AVX2, in wider registers.

#include "backend/cpu/x86/vec16i_avx512.h"

#define QW_INT_LEVEL(name) name##_avx512

#include "backend/cpu/simd/gemm_int_simd.h"
