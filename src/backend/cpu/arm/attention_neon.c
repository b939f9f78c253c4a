// Attention on NEON.

#include "backend/cpu/arm/kv8_neon.h"

#define ATTN_PAIR_ROWS 2

#include "backend/cpu/simd/attention_simd.h"
