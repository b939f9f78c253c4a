#ifndef QW_ENGINE_PREFIX_CACHE_H
#define QW_ENGINE_PREFIX_CACHE_H

#include "base/status.h"

/** 128 bits by XXH3, seeded at random when the cache is made: nobody outside can aim at one. */
typedef struct qw_block_hash {
    uint64_t low, high;
} qw_block_hash;

/**
 * What makes a full block's keys and values what they are, besides the blocks before it. `hash`
 * comes from qw_prefix_cache_hash, which takes in the hash of the block before, and so all of them.
 */
typedef struct qw_block_key {
    qw_block_hash hash;
    qw_block_hash extra;   /* all zero: none */
    const int32_t *tokens; /* [block_size], borrowed for the call */
} qw_block_key;

typedef struct qw_cached_block {
    qw_block_hash hash, extra;
    uint64_t identity;  /* 0: not in the cache */
    uint64_t parent;    /* identity of the block before; 0: it is the first */
    int32_t prev, next; /* in its bucket; -1: none */
} qw_cached_block;

/**
 * Which full blocks hold the keys and values of which tokens (cli-and-bench.md section 5).
 *
 * A hash only finds candidates. A hit needs the same token ids, the same extra key, and the block
 * that was hit before as its parent: so a chain of hits from the first block on is a chain of equal
 * tokens, whatever the hash function does. Parents are told apart by an identity that belongs to
 * the content: blocks with equal content (two sequences computed it side by side) share one, and
 * each of them may stand for it.
 *
 *   buckets[hash] -> block -> block ...      per block: hash, identity, parent, tokens
 *
 * Sized once; nothing here allocates or fails afterwards. Engine thread only.
 */
typedef struct qw_prefix_cache {
    int32_t n_blocks, block_size;
    uint64_t seed;
    uint64_t epoch;          /* counts resets */
    uint64_t n_identities;   /* given out so far */
    int32_t n_cached;        /* blocks in the cache */
    qw_cached_block *blocks; /* [n_blocks] */
    int32_t *tokens;         /* [n_blocks][block_size] */
    size_t tokens_size;      /* bytes */
    int32_t *buckets;        /* [n_buckets], a power of two; -1: empty */
    size_t n_buckets;
} qw_prefix_cache;

/** Memory grows with n_blocks * block_size: 4 bytes a token, committed on touch. */
QW_MUST_CHECK qw_status qw_prefix_cache_init(qw_prefix_cache *c, int32_t n_blocks,
                                             int32_t block_size, qw_error *err);
void qw_prefix_cache_release(qw_prefix_cache *c);

/** The hash of the first block's parent, and of extra keys: any bytes, e.g. a cache_salt. */
qw_block_hash qw_prefix_cache_hash_bytes(const qw_prefix_cache *c, const void *bytes, size_t len);
/** The hash of a full block behind one with hash `parent` (all zero for the first block). */
qw_block_hash qw_prefix_cache_hash(const qw_prefix_cache *c, qw_block_hash parent,
                                   qw_block_hash extra, const int32_t *tokens);

/** A block that holds this, behind block `parent` (-1: as the first one); -1 when there is none. */
int32_t qw_prefix_cache_find(const qw_prefix_cache *c, int32_t parent, const qw_block_key *key);
/** `block`, not in the cache yet, holds this behind `parent`, which is in the cache (or -1). */
void qw_prefix_cache_put(qw_prefix_cache *c, int32_t block, int32_t parent,
                         const qw_block_key *key);
static inline bool qw_prefix_cache_has(const qw_prefix_cache *c, int32_t block)
{
    return c->blocks[block].identity != 0;
}
/** The block is about to hold something else. Nothing happens if it is not in the cache. */
void qw_prefix_cache_forget(qw_prefix_cache *c, int32_t block);
/** Forget all blocks and begin a new epoch. */
void qw_prefix_cache_reset(qw_prefix_cache *c);

/** Test aid: assert that every cached block is found by its key, and its parent is cached. */
void qw_prefix_cache_check(const qw_prefix_cache *c);

#endif
