#ifndef QW_BENCH_LIMIT_LOOPS_H
#define QW_BENCH_LIMIT_LOOPS_H

#include "base/compiler.h"

/**
 * The loops that find a machine's limits (cpu-kernels.md 1.1). Each does nothing but the one thing
 * it measures, from registers or in the access pattern of the kernels, and ends in an empty asm
 * statement so that no compiler folds it away.
 */
typedef struct qw_limit_loops {
    const char *isa;
    /** Read `size` bytes, a multiple of QW_LIMIT_READ_GROUP, at a 64-byte boundary. */
    void (*read)(const void *data, size_t size);
    /** QW_LIMIT_ACCUMULATORS independent fp32 multiply-adds per round. */
    void (*fma)(size_t n_rounds);
    double fma_ops; /* operations of a round: a multiply-add is two, in every lane */
    /** The same with vdpbf16ps; NULL where the level has none. */
    void (*bf16)(size_t n_rounds);
    double bf16_ops;
    /** The same with products of integers as the kernels make them: int8, and int4 with int8. NULL
     *  where they are plain C. */
    void (*int8)(size_t n_rounds);
    void (*int4)(size_t n_rounds);
    double int8_ops, int4_ops;
} qw_limit_loops;

#define QW_LIMIT_ACCUMULATORS 12
/** Four streams one page apart. */
#define QW_LIMIT_READ_GROUP ((size_t)4 * 4096)

/** The loops as wide as the kernels of level `isa` (qw_backend.isa). */
const qw_limit_loops *qw_limit_loops_select(const char *isa);

// bench/x86: one file per level, built with its flags.
extern const qw_limit_loops qw_limit_loops_avx2, qw_limit_loops_avx512, qw_limit_loops_vnni,
    qw_limit_loops_avx512bf16;

#endif
