#ifndef QW_BACKEND_CPU_PROBE_H
#define QW_BACKEND_CPU_PROBE_H

#include "backend/cpu/kernels.h"

/**
 * The start-up probe (cpu-kernels.md 5): 64 fixed results (products, exponentials, norms) compared
 * with constants. Instructions like vdpbf16ps leave their order of rounding to the CPU; one that
 * rounds in another order would give other tokens on that machine. Takes some microseconds.
 */

enum { QW_PROBE_LEN = 64 };

/** The 64 results of these kernels; denormals must be flushed in the calling thread. */
void qw_probe_run(uint32_t bits[QW_PROBE_LEN], const qw_kernels *k);

/** Do they agree with the constants? */
bool qw_probe_kernels(const qw_kernels *k);

/** `levels` (QW_CPU_* bits) without those that deviate and those above them; each is logged. */
unsigned qw_probe_levels(unsigned levels);

#endif
