// RMSNorm and rotation on AVX2.

#include "backend/cpu/x86/vec16_avx2.h"

#include "backend/cpu/simd/norm_rope_simd.h"
