// kernel_test: checks, and with --bench times, the tile kernels of every level.
//
//   kernel_test [--list] [--isa LEVEL] [--check NAME] [--seed N] [--quick] [--bench]
//
// --check mutants runs only the wrong kernels that must be noticed. --quick leaves out large
// products, most random cases and the wrong kernels, for a machine that is itself emulated.

#include "kernels/harness.h"

#include <errno.h>
#include <time.h>

#include "backend/cpu/cpu_features.h"
#include "base/clock.h"
#include "base/thread.h"

const kt_check kt_checks[] = {
    {"gemm_int", check_gemm_int, false},   {"quantize", check_quantize, false},
    {"gemm", check_gemm, false},           {"attention", check_attention, false},
    {"norm_rope", check_norm_rope, false}, {"activation", check_activation, false},
    {"kv_store", check_kv_store, false},   {"pack", check_pack, true},
    {"probe", check_probe, false},         {"backend", check_backend, true},
};
const size_t kt_n_checks = QW_ARRAY_LEN(kt_checks);

typedef struct level {
    const char *name;
    unsigned cpu;
} level;

// Of this architecture, cheapest first; a level includes those below it.
static const level levels[] = {
    {"ref", 0},
#if defined(__x86_64__)
    {"avx2", QW_CPU_AVX2},
    {"avx512", QW_CPU_AVX2 | QW_CPU_AVX512},
    {"vnni", QW_CPU_AVX2 | QW_CPU_AVX512 | QW_CPU_VNNI},
    {"avx512bf16", QW_CPU_AVX2 | QW_CPU_AVX512 | QW_CPU_VNNI | QW_CPU_AVX512BF16},
#elif defined(__aarch64__)
    {"neon", QW_CPU_NEON},
#endif
};

enum { QUICK_WORK = 10 }; /* percent of the usual cases */

typedef struct arguments {
    const char *isa, *check;
    uint64_t seed;
    bool list, quick, bench;
} arguments;

static const char usage[] =
    "usage: kernel_test [--list] [--isa LEVEL] [--check NAME] [--seed N] [--quick] [--bench]\n";

static bool parse(arguments *a, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--list") == 0) {
            a->list = true;
        } else if (strcmp(argv[i], "--quick") == 0) {
            a->quick = true;
        } else if (strcmp(argv[i], "--bench") == 0) {
            a->bench = true;
        } else if (value && strcmp(argv[i], "--isa") == 0) {
            a->isa = argv[++i];
        } else if (value && strcmp(argv[i], "--check") == 0) {
            a->check = argv[++i];
        } else if (value && strcmp(argv[i], "--seed") == 0) {
            char *end;
            errno = 0;
            a->seed = strtoull(argv[++i], &end, 0);
            if (errno || *end) return false;
        } else {
            return false;
        }
    }
    return true;
}

// Can this level run here, and how? The bits that kernels_init gets, or false.
static bool level_open(kt *t, const level *l)
{
    t->level = l->name;
    t->cpu = l->cpu;
    unsigned missing = l->cpu & ~qw_cpu_detect();
    t->is_native = missing == 0;
    if (t->is_native)
        qw_kernels_init(&t->now, l->cpu);
    else if ((missing & ~kt_emulated_levels()) == 0)
        kt_emulated_kernels_init(&t->now, l->cpu);
    else
        return false;
    return true;
}

static void list(kt *t)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(levels); i++)
        printf("level  %-12s%s\n", levels[i].name,
               !level_open(t, &levels[i]) ? "not on this CPU, and built without SIMDe"
               : t->is_native             ? "native"
                                          : "emulated by SIMDe");
    for (size_t i = 0; i < kt_n_checks; i++) printf("check  %s\n", kt_checks[i].name);
}

static void run_level(kt *t, const arguments *a)
{
    for (size_t i = 0; i < kt_n_checks; i++) {
        const kt_check *check = &kt_checks[i];
        if (a->check && strcmp(a->check, check->name) != 0) continue;
        if (check->natively && !t->is_native) continue;
        uint64_t cases = t->n_cases, failed = t->n_failed;
        int64_t start = qw_clock_ns();
        for (int turn = 0; turn < KT_N_TURNS; turn++) {
            t->turn = (kt_turn)turn;
            check->run(t);
        }
        printf("%-12s%-12s%8" PRIu64 " cases %6.2f s%s\n", t->level, check->name,
               t->n_cases - cases, (double)(qw_clock_ns() - start) * 1e-9,
               t->n_failed > failed ? "  FAILED" : "");
        fflush(stdout);
    }
}

// Cases in percent of the usual: sanitizers and emulation are slow.
static int work_of(const kt *t)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return t->is_native ? 20 : 10;
#else
    return t->is_native ? 100 : 50;
#endif
}

int main(int argc, char **argv)
{
    arguments a = {.seed = (uint64_t)time(NULL)};
    if (!parse(&a, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    kt t;
    kt_init(&t, a.seed);
    if (a.list) {
        list(&t);
        kt_release(&t);
        return 0;
    }
    qw_fp_mode_enter(); // as in every thread that computes
    printf("seed %" PRIu64 "\n", a.seed);
    int n_levels = 0, slipped = 0;
    for (size_t i = 0; i < QW_ARRAY_LEN(levels); i++) {
        if (a.isa && strcmp(a.isa, levels[i].name) != 0) continue;
        if (!level_open(&t, &levels[i])) {
            printf("%-12snot checked: not on this CPU, and built without SIMDe\n", levels[i].name);
            continue;
        }
        n_levels++;
        t.work = a.quick ? QUICK_WORK : work_of(&t);
        if (a.bench && t.is_native) kt_bench(&t);
        if (a.bench) continue;
        if (!t.is_native) printf("%-12semulated by SIMDe\n", t.level);
        run_level(&t, &a);
    }
    if (n_levels == 0) {
        fprintf(stderr, "level '%s' is unknown or cannot run here; try --list\n", a.isa);
        kt_release(&t);
        return 2;
    }
    bool all = !a.check && !a.isa && !a.quick;
    if (!a.bench && (all || (a.check && strcmp(a.check, "mutants") == 0)))
        slipped = kt_run_mutants(&t);
    if (!a.bench)
        printf("%d levels, %" PRIu64 " cases, %" PRIu64 " failed, %d mutants unnoticed\n", n_levels,
               t.n_cases, t.n_failed, slipped);
    bool ok = t.n_failed == 0 && slipped == 0;
    kt_release(&t);
    return ok ? 0 : 1;
}
