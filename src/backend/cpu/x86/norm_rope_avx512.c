// RMSNorm and rotation on AVX-512.

#include "backend/cpu/x86/vec16_avx512.h"

#include "backend/cpu/simd/norm_rope_simd.h"
