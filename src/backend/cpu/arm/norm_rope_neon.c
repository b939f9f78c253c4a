// RMSNorm and rotation on NEON.

#include "backend/cpu/arm/vec16_neon.h"

#include "backend/cpu/simd/norm_rope_simd.h"
