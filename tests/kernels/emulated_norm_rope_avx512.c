#include "kernels/emulated_names.h"

#include "backend/cpu/x86/norm_rope_avx512.c"
