#ifndef QW_TESTS_HARNESS_H
#define QW_TESTS_HARNESS_H

// The differential test of the tile kernels: every level against the plain C twin, to the bit.
// A check takes a `kt`, makes inputs that end (or begin) at an unreadable page, runs both and
// compares. kernel_test.c calls each check once per level and turn.

#include "backend/cpu/kernels.h"
#include "base/mem.h"

/** Which end of an input touches an unreadable page. */
typedef enum kt_turn { KT_GUARD_AFTER, KT_GUARD_BEFORE, KT_N_TURNS } kt_turn;

/** What values an input has. */
typedef enum kt_values {
    KT_SMALL_INTEGERS, /* any order of the sum is exact */
    KT_NORMAL,
    KT_EXTREMES, /* largest values, denormals, negative zero */
    KT_ONE_NAN,
    KT_ONE_INF,
    KT_ONE_HOT, /* a single 1: finds wrong lanes and wrong k */
    KT_N_VALUES,
} kt_values;

enum {
    KT_N_BUFFERS = 10,
    KT_CANARY = 64, /* bytes on each side of an output */
};

typedef struct kt_buffer {
    uint8_t *base; /* an unreadable page, `size` bytes, an unreadable page */
    size_t size;
} kt_buffer;

typedef struct kt {
    const char *level, *kernel; /* being checked */
    qw_kernels now, ref;
    unsigned cpu;   /* QW_CPU_* bits of the level */
    bool is_native; /* runs on this CPU without emulation */
    kt_turn turn;
    uint64_t seed, state;
    bool quiet; /* a mutant: failures are what is wanted */
    int work;   /* percent of the usual number of cases */
    uint64_t n_cases, n_failed;
    kt_buffer buffers[KT_N_BUFFERS];
    char shape[128]; /* of the current case, for messages */
} kt;

/** One family of kernels. */
typedef struct kt_check {
    const char *name;
    void (*run)(kt *t);
    bool natively; /* only for levels that this CPU has */
} kt_check;

extern const kt_check kt_checks[];
extern const size_t kt_n_checks;

void kt_init(kt *t, uint64_t seed);
void kt_release(kt *t);

/** Random numbers of the run: a 32-bit word, an integer in [0, n), a value in (-1, 1). */
uint32_t kt_random(kt *t);
int kt_below(kt *t, int n);
float kt_uniform(kt *t);

/** `size` bytes at an unreadable page, valid until the slot is used again. */
void *kt_input(kt *t, int slot, size_t size);
/** `size` bytes between canaries, filled with `fill`; kt_check_canaries looks at them afterwards.
 */
void *kt_output(kt *t, int slot, size_t size, int fill);
void kt_check_canaries(kt *t, const void *output, size_t size);

/** Fill n values of `dtype` (F32, BF16, F16). The NaN, Inf or 1 lands on a random element. */
void kt_fill(kt *t, void *out, qw_dtype dtype, size_t n, kt_values values);
/** bf16 values in fp32 containers, as activations under `round`. */
void kt_fill_rounded(kt *t, float *out, size_t n, kt_values values);

/** Begin a case: its shape for messages. */
void kt_case(kt *t, const char *fmt, ...) QW_PRINTF(2, 3);
void kt_fail(kt *t, const char *fmt, ...) QW_PRINTF(2, 3);
/**
 * Equal bits, or both NaN: of several NaN operands x86 passes on the first, and which that is, is
 * the compiler's choice.
 */
void kt_same_bits(kt *t, const float *got, const float *want, size_t n);
void kt_same_bytes(kt *t, const void *got, const void *want, size_t n);
/** |got - want| <= tolerance, so that NaN fails. */
void kt_within(kt *t, double got, double want, double tolerance, size_t index);

/** Is this the reference level, which is checked against float64 instead? */
static inline bool kt_is_ref(const kt *t)
{
    return t->now.gemm_f32 == t->ref.gemm_f32;
}

// Checks, one file each
void check_gemm(kt *t);
void check_gemm_int(kt *t);
void check_quantize(kt *t);
void check_attention(kt *t);
void check_norm_rope(kt *t);
void check_activation(kt *t);
void check_kv_store(kt *t);
void check_pack(kt *t);
void check_backend(kt *t);
void check_probe(kt *t);

/** Wrong kernels that the checks must notice: those that slipped through are printed and counted.
 */
int kt_run_mutants(kt *t);

/** Rows of time, GB/s and GFLOP/s for one level, beside this core's measured limits. */
void kt_bench(const kt *t);

/** The kernels of levels that this CPU may lack, compiled against SIMDe; 0 without SIMDe. */
unsigned kt_emulated_levels(void);
void kt_emulated_kernels_init(qw_kernels *k, unsigned cpu);

#endif
