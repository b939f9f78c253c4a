// Attention on AVX-512.

#include "backend/cpu/x86/kv8_avx512.h"

#define ATTN_PAIR_ROWS 6

#include "backend/cpu/simd/attention_simd.h"
