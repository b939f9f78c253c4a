#ifndef QW_BACKEND_CPU_X86_INTRINSICS_H
#define QW_BACKEND_CPU_X86_INTRINSICS_H

// The x86 vector intrinsics. With QW_KERNEL_EMULATION the 512-bit ones come from SIMDe, so that a
// test on a CPU without AVX-512 runs the same kernel sources (tests/kernels/emulated_*.c).
#if defined(QW_KERNEL_EMULATION)
#include "kernels/emulated_intrinsics.h"
#else
#include <immintrin.h>
#endif

#endif
