#include "kernels/emulated_names.h"

#include "backend/cpu/x86/gemm_widened_avx512.c"
