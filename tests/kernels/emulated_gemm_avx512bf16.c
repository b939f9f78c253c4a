#include "kernels/emulated_names.h"

#include "backend/cpu/x86/gemm_avx512bf16.c"
