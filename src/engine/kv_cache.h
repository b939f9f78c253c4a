#ifndef QW_ENGINE_KV_CACHE_H
#define QW_ENGINE_KV_CACHE_H

#include "backend/ops.h"
#include "engine/block_pool.h"

/**
 * The pages that keys and values live in: one reservation at start, committed on touch.
 *
 *   memory:  [layer][block][kv head]{ K part, V part }      (cpu-kernels.md 3.7)
 */
typedef struct qw_kv_cache {
    qw_kv_layout layout;
    uint8_t *memory;
    size_t memory_size;
    uint8_t **layers; /* [n_layers] pages of each layer */
    qw_block_pool pool;
} qw_kv_cache;

QW_MUST_CHECK qw_status qw_kv_cache_init(qw_kv_cache *kv, const qw_kv_layout *layout, int n_layers,
                                         int32_t n_blocks, qw_error *err);
void qw_kv_cache_release(qw_kv_cache *kv);

/** Blocks that hold positions 0 .. n_tokens - 1. */
static inline int32_t qw_kv_cache_blocks_for(const qw_kv_layout *layout, int32_t n_tokens)
{
    return n_tokens / layout->block_size + (n_tokens % layout->block_size != 0);
}

#endif
