#include "kernels/emulated_names.h"

#include "backend/cpu/x86/attention_vnni.c"
