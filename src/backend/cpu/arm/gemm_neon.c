// Products on NEON: a panel row is four registers, 6 rows x 1 panel fill 24 accumulators.

#include "backend/cpu/arm/vec16_neon.h"

#define GEMM_KC 128
#define GEMM_SLAB_PANELS 4
#define GEMM_EXPAND_BF16 7

#include "backend/cpu/simd/gemm_simd.h"
