#ifndef QW_BACKEND_CPU_CPU_FEATURES_H
#define QW_BACKEND_CPU_CPU_FEATURES_H

#include "base/status.h"

/** Kernel levels as bit flags, lowest first; no flag is the reference level, `ref`. */
enum {
    QW_CPU_AVX2 = 1 << 0,       /* AVX2, FMA, F16C */
    QW_CPU_AVX512 = 1 << 1,     /* AVX-512 F, BW, DQ, VL */
    QW_CPU_VNNI = 1 << 2,       /* AVX-512 VNNI */
    QW_CPU_AVX512BF16 = 1 << 3, /* AVX-512 BF16 */
    QW_CPU_NEON = 1 << 4,       /* aarch64 Advanced SIMD */
};

/**
 * The levels that this CPU and operating system can run, detected once; any thread. A level is only
 * reported when all lower ones of its architecture are there, VNNI excepted.
 */
unsigned qw_cpu_detect(void);

/**
 * The levels to use for `--cpu-isa name`: all detected ones up to `name`. Names are ref, avx2,
 * avx512, vnni, avx512bf16, amx, neon, dotprod, i8mm and auto (everything detected). A name that is
 * unknown, that this CPU lacks, or that has no kernels in this program, is a usage error that says
 * what there is.
 */
QW_MUST_CHECK qw_status qw_cpu_isa_parse(unsigned *out, const char *name, qw_error *err);

/** qw_cpu_isa_parse for a given set of detected levels. */
QW_MUST_CHECK qw_status qw_cpu_isa_select(unsigned *out, const char *name, unsigned detected,
                                          qw_error *err);

/** The name of the highest level in `levels`, for people: "avx512bf16", "ref". */
const char *qw_cpu_level_name(unsigned levels);

#endif
