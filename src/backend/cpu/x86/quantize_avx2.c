// Quantization of rows on AVX2.

#include "backend/cpu/x86/vec16i_avx2.h"

#include "backend/cpu/simd/quantize_simd.h"
