#include "bench/x86/limit_loops_512.h"

QW_LIMIT_INTEGER_512(int8_vnni, "vpdpbusd %2, %2, %0")

const qw_limit_loops qw_limit_loops_vnni = {
    .isa = "vnni",
    .read = read_512,
    .fma = fma_512,
    .fma_ops = QW_LIMIT_FMA_512_OPS,
    .int8 = int8_vnni,
    .int8_ops = QW_LIMIT_ACCUMULATORS * 64 * 2.0,
    .int4 = int8_vnni, // int4 becomes bytes on the way
    .int4_ops = QW_LIMIT_ACCUMULATORS * 64 * 2.0,
};
