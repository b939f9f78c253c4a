#include "kernels/emulated_names.h"

#include "backend/cpu/x86/activation_avx512.c"
