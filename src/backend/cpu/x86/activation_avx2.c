// Epilogues and the cache write on AVX2.

#include "backend/cpu/x86/vec16_avx2.h"

#include "backend/cpu/simd/activation_simd.h"
