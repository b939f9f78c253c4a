// Quantization of rows on AVX-512.

#include "backend/cpu/x86/vec16i_avx512.h"

#include "backend/cpu/simd/quantize_simd.h"
