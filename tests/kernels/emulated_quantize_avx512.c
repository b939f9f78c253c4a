#include "kernels/emulated_names.h"

#include "backend/cpu/x86/quantize_avx512.c"
