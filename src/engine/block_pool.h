#ifndef QW_ENGINE_BLOCK_POOL_H
#define QW_ENGINE_BLOCK_POOL_H

#include "base/status.h"

/**
 * Which KV blocks are in use: reference counts and a free list. Blocks are numbers 0 .. n_blocks-1;
 * what they hold is kv_cache's business. Engine thread only.
 *
 *   free list:  head -> [least recently freed] -> ... -> [most recently freed]
 */
typedef struct qw_block_pool {
    int32_t n_blocks, n_free;
    int32_t *ref_count; /* [n_blocks]; 0: in the free list */
    int32_t *next;      /* [n_blocks]; -1: last */
    int32_t head, tail; /* -1: empty */
} qw_block_pool;

QW_MUST_CHECK qw_status qw_block_pool_init(qw_block_pool *p, int32_t n_blocks, qw_error *err);
void qw_block_pool_release(qw_block_pool *p);

/** A block with one reference, or -1 when none is free. */
int32_t qw_block_pool_alloc(qw_block_pool *p);
/** One more reference to a block in use. */
void qw_block_pool_acquire(qw_block_pool *p, int32_t block);
/** One reference less; at none the block goes to the end of the free list. */
void qw_block_pool_drop(qw_block_pool *p, int32_t block);

/** Test aid: assert that counts and free list agree. */
void qw_block_pool_check(const qw_block_pool *p);

#endif
