// Products on AVX-512: a panel row is one zmm register, 6 rows x 4 panels fill 24 accumulators.
// From a dozen rows on bf16 panels are widened first: a tile that shifts and masks does not fit the
// registers beside its accumulators and its operands without costing issue slots.

#include "backend/cpu/x86/vec16_avx512.h"

#define GEMM_KC 64
#define GEMM_SLAB_PANELS 4
#define GEMM_EXPAND_BF16 13

#include "backend/cpu/simd/gemm_simd.h"
