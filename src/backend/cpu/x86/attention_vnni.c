// Attention over int8 pages with vpdpbusd.

#define QW_LEVEL(name) name##_vnni
#define ATTN_NO_BF16
#define ATTN_NO_F32
#define ATTN_NO_STORE

#include "backend/cpu/x86/kv8_vnni.h"

#define ATTN_PAIR_ROWS 6

#include "backend/cpu/simd/attention_simd.h"
