#ifndef QW_ENGINE_BLOCK_POOL_H
#define QW_ENGINE_BLOCK_POOL_H

#include "base/status.h"

/**
 * Which KV blocks are in use: reference counts and a free list. Blocks are numbers 0 .. n_blocks-1;
 * what they hold is kv_cache's business. A free block may still hold something worth having, so it
 * can be taken back out of the list until somebody else gets it. Engine thread only.
 *
 *   free list:  head -> [nothing worth keeping ...] -> [freed long ago ... freed last] <- tail
 */
typedef struct qw_block_pool {
    int32_t n_blocks, n_free;
    int32_t *ref_count;   /* [n_blocks]; 0: in the free list */
    int32_t *prev, *next; /* [n_blocks] neighbours in the free list; -1: none */
    int32_t head, tail;   /* -1: empty */
} qw_block_pool;

QW_MUST_CHECK qw_status qw_block_pool_init(qw_block_pool *p, int32_t n_blocks, qw_error *err);
void qw_block_pool_release(qw_block_pool *p);

/** The block at the head of the free list, with one reference; -1 when none is free. */
int32_t qw_block_pool_alloc(qw_block_pool *p);
/** One more reference; a free block leaves the free list. */
void qw_block_pool_acquire(qw_block_pool *p, int32_t block);
/**
 * One reference less; at none the block becomes free: last in line for reuse when `keep`, because
 * what it holds may be asked for again, else first.
 */
void qw_block_pool_drop(qw_block_pool *p, int32_t block, bool keep);

/** Test aid: assert that counts and free list agree. */
void qw_block_pool_check(const qw_block_pool *p);

#endif
