#ifndef QW_BACKEND_CPU_CPU_DEVICE_H
#define QW_BACKEND_CPU_CPU_DEVICE_H

// What the parts of the CPU device share: its threads and scratch, and the way every operation
// takes from its arguments to the pool. An operation fills in a job and submits it. On the device
// itself a job is run at once; on a plan's recorder it is copied into the plan, for later runs with
// the plan's own number of rows.

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "base/thread.h"

enum {
    CPU_GROUP_PANELS = 4, /* panels that one item of a product computes: 64 outputs */
    CPU_MAX_ROWS = 256,   /* rows of activations per pass over a panel group */
    CPU_MAX_K = 131072,   /* inputs of a product of integers, at most (qw_linear_plan) */
};

typedef struct cpu_device {
    qw_kernels kernels;
    qw_thread_pool *pool;
    float *scratch; /* [n_threads][scratch_stride] */
    size_t scratch_size, scratch_stride;
    float *partials; /* of segments, see cpu_attention.c */
    size_t partials_len;
    uint8_t *quantized; /* rows of the product that runs, see cpu_linear.c */
    size_t quantized_size;
} cpu_device;

typedef struct cpu_recorder cpu_recorder;

/** Behind the qw_backend that operations get: the device itself, or the recorder of a plan. */
typedef struct cpu_backend {
    qw_backend base;
    cpu_device *device;
    cpu_recorder *recorder; /* NULL: the device itself */
} cpu_backend;

static inline cpu_backend *cpu_self(qw_backend *be)
{
    return (cpu_backend *)be; // base is the first member
}

static inline float *cpu_scratch(const cpu_device *device, int i_thread)
{
    return device->scratch + (size_t)i_thread * device->scratch_stride;
}

static inline int cpu_min(int a, int b)
{
    return a < b ? a : b;
}

/** How much a call computes. While a plan is recorded: its run decides. */
typedef struct cpu_extent {
    size_t n_rows, n_seqs;
} cpu_extent;

/** How the attention of a step is cut into items; the same in all layers. */
typedef struct cpu_attention_shape {
    int group;      /* query heads per kv head */
    int group_part; /* query heads that one item takes */
    int n_parts;    /* items per group */
    int tile_rows;  /* rows that one item takes */
    int n_kv_heads;
    bool one_row_each;  /* every sequence has one row */
    bool is_split;      /* the segments of an item are computed side by side, then merged */
    size_t n_segments;  /* of the longest sequence */
    size_t partial_len; /* floats from one partial to the next */
    size_t n_pieces;    /* items, or segments of items */
    size_t n_merges;    /* items whose segments are to be merged */
} cpu_attention_shape;

cpu_attention_shape qw_cpu_attention_shape(const cpu_device *device, const qw_attention_args *args);

/** The extent of a call: `own`, filled in, or the plan's that is being recorded. */
const cpu_extent *qw_cpu_extent(const cpu_backend *cpu, cpu_extent *own, int n_rows, int n_seqs);
/** The same for attention. While recording, a plan's calls must be about the same sequences. */
const cpu_attention_shape *qw_cpu_shape(const cpu_backend *cpu, cpu_attention_shape *own,
                                        const qw_attention_args *args);

/**
 * Run `fn` on 0 .. *n_items - 1 of the job, or write it down. `n_items` may lie in the job, which
 * is copied, or where the two functions above point.
 */
void qw_cpu_submit(const cpu_backend *cpu, qw_range_fn *fn, void *job, size_t job_size,
                   const size_t *n_items, size_t grain);

/** The operations. */
void qw_cpu_embed(qw_backend *be, float *y, size_t y_stride, const qw_host_matrix *table,
                  const int32_t *ids, int n_ids);
void qw_cpu_rms_norm(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                     const float *weight, int n, float eps, int n_rows, bool round);
void qw_cpu_linear(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                   const qw_linear *w, int n_rows, qw_epilogue epilogue, bool round);
void qw_cpu_made_linear(qw_backend *be, float *y, size_t y_stride, const qw_made_rows *made,
                        const qw_linear *w, int n_rows, qw_epilogue epilogue, bool round);
void qw_cpu_norm_rope_store(qw_backend *be, const qw_qkv_args *args);
void qw_cpu_attention(qw_backend *be, const qw_attention_args *args);
void qw_cpu_gather_rows(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                        const int32_t *rows, int n_rows, int n);
void qw_cpu_add_vector(qw_backend *be, float *y, size_t y_stride, const float *v, int n, int n_rows,
                       bool round);
void qw_cpu_silu_mul(qw_backend *be, float *y, size_t y_stride, const float *gate, const float *up,
                     size_t x_stride, int n, int n_rows, bool round);
void qw_cpu_route(qw_backend *be, const qw_routing *routing, const float *logits, size_t stride,
                  int n_rows, bool renormalize, bool round);
void qw_cpu_expert_linear(qw_backend *be, const qw_expert_linear_args *args);
void qw_cpu_combine(qw_backend *be, float *y, size_t y_stride, const float *x, size_t x_stride,
                    const qw_routing *routing, int n, int n_rows, bool round, bool round_terms);

/** Plans: the functions of qw_backend. */
qw_status qw_cpu_plan_make(qw_backend *be, qw_plan **out, int max_rows, qw_plan_calls *calls,
                           void *ctx, qw_error *err);
void qw_cpu_plan_run(qw_backend *be, qw_plan *plan, int n_rows, int n_seqs);
void qw_cpu_plan_free(qw_backend *be, qw_plan *plan);

#endif
