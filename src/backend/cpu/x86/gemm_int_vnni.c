// Products of integers by vpdpbusd: unsigned weights, signed activations, four products a lane.

#define V16_HAS_VNNI 1

#include "backend/cpu/x86/vec16i_avx512.h"

#define QW_INT_LEVEL(name) name##_vnni

#include "backend/cpu/simd/gemm_int_simd.h"
