#include "kernels/emulated_names.h"

#include "backend/cpu/x86/attention_avx512bf16.c"
