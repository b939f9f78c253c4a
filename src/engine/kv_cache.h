#ifndef QW_ENGINE_KV_CACHE_H
#define QW_ENGINE_KV_CACHE_H

#include "backend/ops.h"
#include "engine/block_pool.h"
#include "engine/prefix_cache.h"
#include "engine/request.h"

/**
 * The pages that keys and values live in: one reservation at start, committed on touch; who holds
 * which of them, and which hold a known prefix.
 *
 *   memory:  [layer][block][kv head]{ K part, V part }      (cpu-kernels.md 3.7)
 *
 * A block that several sequences hold, or that may be found in the prefix cache, is full, and a
 * full block is never written again. Blocks change hands when a step is scheduled; steps run one
 * after the other in that order, so a block may go to a new holder while an earlier step still
 * writes it for the old one.
 */
typedef struct qw_kv_cache {
    qw_kv_layout layout;
    uint8_t *memory;
    size_t memory_size;
    uint8_t **layers; /* [n_layers] pages of each layer */
    qw_block_pool pool;
    bool has_prefixes;        /* a prefix cache was added */
    qw_prefix_cache prefixes; /* only then */
} qw_kv_cache;

QW_MUST_CHECK qw_status qw_kv_cache_init(qw_kv_cache *kv, const qw_kv_layout *layout, int n_layers,
                                         int32_t n_blocks, qw_error *err);
/** From now on full blocks are found again by their tokens. */
QW_MUST_CHECK qw_status qw_kv_cache_add_prefixes(qw_kv_cache *kv, qw_error *err);
void qw_kv_cache_release(qw_kv_cache *kv);

/** Blocks that hold positions 0 .. n_tokens - 1. */
static inline int32_t qw_kv_cache_blocks_for(const qw_kv_layout *layout, int32_t n_tokens)
{
    return n_tokens / layout->block_size + (n_tokens % layout->block_size != 0);
}

/** Give `seq` blocks for its first n_tokens positions; false, and none given, if too few are free.
 */
bool qw_kv_cache_give(qw_kv_cache *kv, qw_sequence *seq, int32_t n_tokens);
/** Take all its blocks back, tail first, so that the head of a prompt stays longest. */
void qw_kv_cache_drop(qw_kv_cache *kv, qw_sequence *seq);

/** A prefix that is there already. */
typedef struct qw_prefix_hit {
    int32_t n_blocks;
    int32_t n_free; /* of these nobody holds: taking them leaves so many less free */
} qw_prefix_hit;

/**
 * Leading blocks that `seq`, which holds none, could take over. Its last token is always left to
 * compute, and so are positions it has yet to tell about. Nothing changes hands.
 */
qw_prefix_hit qw_kv_cache_find_prefix(const qw_kv_cache *kv, qw_sequence *seq);
/** Take over what qw_kv_cache_find_prefix, called just before, has found. */
void qw_kv_cache_take_prefix(qw_kv_cache *kv, qw_sequence *seq, const qw_prefix_hit *hit);
/** Let others find the blocks that are full of known tokens and computed, or scheduled to be. */
void qw_kv_cache_publish(qw_kv_cache *kv, qw_sequence *seq);
/** Nothing computed so far is found any more. */
void qw_kv_cache_reset_prefixes(qw_kv_cache *kv);

#endif
