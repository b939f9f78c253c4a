#include "backend/cpu/cpu_features.h"

#include <pthread.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

typedef struct level {
    const char *name;
    unsigned flag; /* 0: the program has no kernels for it */
} level;

// Lowest first within an architecture.
static const level levels[] = {
    {"avx2", QW_CPU_AVX2}, {"avx512", QW_CPU_AVX512},
    {"vnni", QW_CPU_VNNI}, {"avx512bf16", QW_CPU_AVX512BF16},
    {"neon", QW_CPU_NEON}, {"amx", 0},
    {"dotprod", 0},        {"i8mm", 0},
};

#if defined(__x86_64__)
// Which register files the operating system saves on a task switch (XCR0).
static uint64_t saved_registers(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static unsigned detect(void)
{
    enum { XMM_YMM = 0x06, ZMM_AND_MASKS = 0xE0 };
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE)) return 0;
    uint64_t saved = saved_registers();
    bool has_fma = (ecx & bit_FMA) && (ecx & bit_F16C) && (ecx & bit_AVX);
    unsigned ebx7, ecx7;
    if (!__get_cpuid_count(7, 0, &eax, &ebx7, &ecx7, &edx)) return 0;
    unsigned n_subleaves = eax, found = 0;

    if (!has_fma || !(ebx7 & bit_AVX2) || (saved & XMM_YMM) != XMM_YMM) return found;
    found |= QW_CPU_AVX2;
    const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((ebx7 & avx512) != avx512 || (saved & ZMM_AND_MASKS) != ZMM_AND_MASKS) return found;
    found |= QW_CPU_AVX512;
    if (ecx7 & bit_AVX512VNNI) found |= QW_CPU_VNNI;
    if (n_subleaves >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) &&
        (eax & 1u << 5)) // AVX512_BF16; clang 14 and gcc 12 name the bit differently
        found |= QW_CPU_AVX512BF16;
    return found;
}
#elif defined(__aarch64__)
static unsigned detect(void)
{
    return QW_CPU_NEON; // part of the base architecture
}
#else
static unsigned detect(void)
{
    return 0;
}
#endif

static unsigned detected;

static void detect_once(void)
{
    detected = detect();
}

unsigned qw_cpu_detect(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, detect_once);
    return detected;
}

// "ref, avx2, avx512" into `text`.
static void list_levels(char *text, size_t size, unsigned flags)
{
    size_t used = (size_t)snprintf(text, size, "ref");
    for (size_t i = 0; i < QW_ARRAY_LEN(levels) && used < size; i++)
        if (levels[i].flag & flags)
            used += (size_t)snprintf(text + used, size - used, ", %s", levels[i].name);
}

qw_status qw_cpu_isa_select(unsigned *out, const char *name, unsigned flags, qw_error *err)
{
    if (strcmp(name, "auto") == 0) {
        *out = flags;
        return QW_OK;
    }
    if (strcmp(name, "ref") == 0) {
        *out = 0;
        return QW_OK;
    }
    char usable[128];
    list_levels(usable, sizeof usable, flags);
    for (size_t i = 0; i < QW_ARRAY_LEN(levels); i++) {
        const level *l = &levels[i];
        if (strcmp(name, l->name) != 0) continue;
        if (l->flag == 0)
            return qw_fail(err, QW_ERR_USAGE,
                           "--cpu-isa '%s': this program has no kernels for it; usable here: %s",
                           name, usable);
        if (!(flags & l->flag))
            return qw_fail(err, QW_ERR_USAGE, "--cpu-isa '%s': this CPU lacks it; usable here: %s",
                           name, usable);
        *out = flags & (l->flag | (l->flag - 1));
        return QW_OK;
    }
    return qw_fail(err, QW_ERR_USAGE, "--cpu-isa '%s' is unknown; usable here: auto, %s", name,
                   usable);
}

qw_status qw_cpu_isa_parse(unsigned *out, const char *name, qw_error *err)
{
    return qw_cpu_isa_select(out, name, qw_cpu_detect(), err);
}

const char *qw_cpu_level_name(unsigned flags)
{
    const char *name = "ref";
    for (size_t i = 0; i < QW_ARRAY_LEN(levels); i++)
        if (levels[i].flag & flags) name = levels[i].name;
    return name;
}
