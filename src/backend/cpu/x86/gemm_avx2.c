// Products on AVX2: a panel row is two ymm registers, 6 rows x 1 panel fill 12 accumulators.

#include "backend/cpu/x86/vec16_avx2.h"

#define GEMM_KC 256
#define GEMM_SLAB_PANELS 1
#define GEMM_EXPAND_BF16 7

#include "backend/cpu/simd/gemm_simd.h"
