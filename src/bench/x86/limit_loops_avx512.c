#include "bench/x86/limit_loops_512.h"

const qw_limit_loops qw_limit_loops_avx512 = {
    .isa = "avx512",
    .read = read_512,
    .fma = fma_512,
    .fma_ops = QW_LIMIT_FMA_512_OPS,
};
