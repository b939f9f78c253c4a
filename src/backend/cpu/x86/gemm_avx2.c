// Products on AVX2: a panel row is two ymm registers, 6 rows x 1 panel fill 12 accumulators. Four
// more registers are enough to widen bf16 weights on the way, so they are never expanded.

#include "backend/cpu/x86/vec16_avx2.h"

#define GEMM_KC 128
#define GEMM_SLAB_PANELS 4
#define GEMM_EXPAND_BF16 (1 << 30)

#include "backend/cpu/simd/gemm_simd.h"
