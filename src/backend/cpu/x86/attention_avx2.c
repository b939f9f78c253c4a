// Attention on AVX2.

#include "backend/cpu/x86/kv8_avx2.h"

#define ATTN_PAIR_ROWS 2

#include "backend/cpu/simd/attention_simd.h"
