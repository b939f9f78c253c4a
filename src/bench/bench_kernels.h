#ifndef QW_BENCH_BENCH_KERNELS_H
#define QW_BENCH_BENCH_KERNELS_H

#include "bench/bench_report.h"

/** Families of rows, as a set. */
typedef enum qw_bench_op {
    QW_BENCH_LINEAR = 1 << 0,
    QW_BENCH_ATTENTION = 1 << 1,
    QW_BENCH_NORM = 1 << 2,
    QW_BENCH_SAMPLE = 1 << 3,
    QW_BENCH_HEAD = 1 << 4,
    QW_BENCH_STEP = 1 << 5,
    QW_BENCH_MOE = 1 << 6,
} qw_bench_op;

/** A model whose shapes are measured. */
typedef struct qw_bench_model {
    const char *name; /* of its rows: "0.6b" */
    const char *dir;  /* with config.json; its weights are not looked at */
} qw_bench_model;

/** Lists are borrowed. */
typedef struct qw_bench_options {
    const qw_bench_model *models;
    size_t n_models;
    const char *const *formats; /* "bf16", "f16", "f32" */
    size_t n_formats;
    unsigned ops;     /* QW_BENCH_* */
    const int64_t *m; /* tokens */
    size_t n_m;
    const int64_t *contexts;
    size_t n_contexts;
    const int64_t *threads; /* 0: one per usable core */
    size_t n_threads;
    int rounds;
    const char *isa; /* as --cpu-isa */
    /** Called before each group of rows: what comes, and how many rows; may be NULL. */
    void (*progress)(void *ctx, const char *what, size_t n_rows);
    void *progress_ctx;
} qw_bench_options;

/**
 * Measure limits and rows in alternation (cpu-kernels.md 1.2) and judge the marks. Takes the time
 * of rounds * rows * about 0.1 s; rows that take long run fewer rounds. A noisy machine is no
 * error.
 */
QW_MUST_CHECK qw_status qw_bench_kernels(qw_bench_report *out, const qw_bench_options *options,
                                         qw_error *err);

#endif
