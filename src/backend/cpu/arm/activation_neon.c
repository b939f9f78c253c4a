// Epilogues and the cache write on NEON.

#include "backend/cpu/arm/vec16_neon.h"

#include "backend/cpu/simd/activation_simd.h"
