#ifndef QW_ENGINE_MEMORY_PLAN_H
#define QW_ENGINE_MEMORY_PLAN_H

#include "backend/ops.h"
#include "base/buf.h"
#include "base/status.h"

/** What the plan starts from. Limits that the user did not set are 0. */
typedef struct qw_plan_input {
    size_t weights;      /* bytes: packed panels and norms */
    size_t experts;      /* of these: experts */
    size_t activations;  /* bytes: step buffers, kernel scratch, sampler */
    size_t mapped;       /* bytes of the checkpoint's files: page cache, reported apart */
    size_t kv_per_block; /* bytes, all layers */
    qw_dtype kv_dtype;   /* for the table */
    int32_t block_size;
    int32_t derived_max_len; /* what the model is made for */
    int32_t max_model_len;   /* 0: derived; -1: the largest that fits */
    bool allow_long;         /* max_model_len may exceed derived_max_len */
    int32_t max_num_seqs;
    double memory_fraction;    /* --gpu-memory-utilization, (0, 1] */
    size_t memory_limit;       /* bytes this process may use: qw_memory_limit() */
    int64_t kv_cache_bytes;    /* --kv-cache-memory-bytes; 0: by the fraction */
    int32_t n_blocks_override; /* 0: none */
} qw_plan_input;

typedef struct qw_memory_plan {
    qw_plan_input in;
    size_t budget; /* bytes: fraction * limit */
    int32_t max_model_len;
    int32_t n_blocks;
    size_t kv;             /* bytes of the pool: reserved at start, committed on touch */
    size_t total;          /* weights + activations + kv: the worst case */
    size_t mapped_weights; /* bytes of the packed cache that `weights` lie in, set once they are
                              loaded; 0: they are in memory */
} qw_memory_plan;

/**
 * Decide context length and KV pool before anything is loaded (architecture.md 2.2): the pool is
 * the smaller of what the budget leaves and max_num_seqs * max_model_len. Errors give the numbers
 * and the values that would fit.
 */
QW_MUST_CHECK qw_status qw_memory_plan_make(qw_memory_plan *out, const qw_plan_input *in,
                                            qw_error *err);
/** A table for people, a line per part. */
void qw_memory_plan_print(const qw_memory_plan *plan, qw_buf *out);

/** Physical memory or the cgroup's limit, whichever is less, in bytes. */
size_t qw_memory_limit(void);

#endif
