// Epilogues and the cache write on AVX-512.

#include "backend/cpu/x86/vec16_avx512.h"

#include "backend/cpu/simd/activation_simd.h"
