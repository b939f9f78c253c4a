#include "kernels/emulated_names.h"

#include "backend/cpu/x86/gemm_int_vnni.c"
