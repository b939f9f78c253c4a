#include "bench/x86/limit_loops_512.h"

QW_LIMIT_INTEGER_512(int8_512, "vpmaddwd %2, %2, %1\n\tvpaddd %1, %0, %0")
QW_LIMIT_INTEGER_512(int4_512, "vpmaddubsw %2, %2, %1\n\tvpaddw %1, %0, %0")

const qw_limit_loops qw_limit_loops_avx512 = {
    .isa = "avx512",
    .read = read_512,
    .fma = fma_512,
    .fma_ops = QW_LIMIT_FMA_512_OPS,
    .int8 = int8_512,
    .int8_ops = QW_LIMIT_ACCUMULATORS * 32 * 2.0,
    .int4 = int4_512,
    .int4_ops = QW_LIMIT_ACCUMULATORS * 64 * 2.0,
};
