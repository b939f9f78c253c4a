// Attention with vdpbf16ps for the scores of rounded queries; the probabilities stay fp32.

#include "backend/cpu/x86/vec16_avx512bf16.h"

#define ATTN_PAIR_ROWS 6

#include "backend/cpu/simd/attention_simd.h"
