// Attention with vdpbf16ps for the scores of rounded queries; the probabilities stay fp32.

#define ATTN_NO_F32
#define ATTN_NO_I8
#define ATTN_NO_STORE

#include "backend/cpu/x86/vec16_avx512bf16.h"

#include "backend/cpu/x86/kv8_avx512.h"

#define ATTN_PAIR_ROWS 6

#include "backend/cpu/simd/attention_simd.h"
