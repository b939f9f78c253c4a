#include "engine/prefix_cache.h"

#include <sys/random.h>
#include <xxhash.h>

#include "base/mem.h"

enum { MAX_BLOCK_SIZE = 128 };

qw_status qw_prefix_cache_init(qw_prefix_cache *c, int32_t n_blocks, int32_t block_size,
                               qw_error *err)
{
    QW_ASSERT(block_size >= 1 && block_size <= MAX_BLOCK_SIZE);
    qw_prefix_cache n = {.n_blocks = n_blocks, .block_size = block_size, .n_buckets = 16};
    // A short read leaves part of the seed 0: easier to aim at, and tokens are compared anyway.
    if (getrandom(&n.seed, sizeof n.seed, GRND_NONBLOCK) < 0) n.seed = (uintptr_t)c;
    while (n.n_buckets < (size_t)n_blocks) n.n_buckets *= 2;
    size_t size = (size_t)n_blocks * (size_t)block_size; // at most INT32_MAX * 128: fits
    n.tokens_size = size * sizeof *n.tokens;
    n.blocks = qw_mem_calloc((size_t)n_blocks, sizeof *n.blocks);
    n.buckets = qw_mem_array(n.n_buckets, sizeof *n.buckets);
    n.tokens = qw_mem_map(n.tokens_size, 4096);
    if (!n.blocks || !n.buckets || !n.tokens) {
        qw_prefix_cache_release(&n);
        return qw_fail_memory(err, n.tokens_size, "the prefix cache");
    }
    for (size_t i = 0; i < n.n_buckets; i++) n.buckets[i] = -1;
    *c = n;
    return QW_OK;
}

void qw_prefix_cache_release(qw_prefix_cache *c)
{
    qw_mem_free(c->blocks);
    qw_mem_free(c->buckets);
    qw_mem_unmap(c->tokens, c->tokens_size);
    *c = (qw_prefix_cache){0};
}

qw_block_hash qw_prefix_cache_hash_bytes(const qw_prefix_cache *c, const void *bytes, size_t len)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(bytes, len, c->seed);
    return (qw_block_hash){h.low64, h.high64};
}

qw_block_hash qw_prefix_cache_hash(const qw_prefix_cache *c, qw_block_hash parent,
                                   qw_block_hash extra, const int32_t *tokens)
{
    struct {
        qw_block_hash parent, extra;
        int32_t tokens[MAX_BLOCK_SIZE];
    } in = {.parent = parent, .extra = extra};
    size_t n = (size_t)c->block_size * sizeof *tokens;
    memcpy(in.tokens, tokens, n);
    return qw_prefix_cache_hash_bytes(c, &in, sizeof parent + sizeof extra + n);
}

static bool same_hash(qw_block_hash a, qw_block_hash b)
{
    return a.low == b.low && a.high == b.high;
}

static int32_t *tokens_of(const qw_prefix_cache *c, int32_t block)
{
    return c->tokens + (size_t)block * (size_t)c->block_size;
}

static int32_t *bucket_of(const qw_prefix_cache *c, qw_block_hash hash)
{
    return &c->buckets[hash.low & (c->n_buckets - 1)];
}

static uint64_t identity_of(const qw_prefix_cache *c, int32_t block)
{
    if (block < 0) return 0;
    QW_ASSERT(qw_prefix_cache_has(c, block));
    return c->blocks[block].identity;
}

int32_t qw_prefix_cache_find(const qw_prefix_cache *c, int32_t parent, const qw_block_key *key)
{
    uint64_t parent_identity = identity_of(c, parent);
    size_t n = (size_t)c->block_size * sizeof *key->tokens;
    for (int32_t i = *bucket_of(c, key->hash); i >= 0; i = c->blocks[i].next) {
        const qw_cached_block *b = &c->blocks[i];
        if (same_hash(b->hash, key->hash) && b->parent == parent_identity &&
            same_hash(b->extra, key->extra) && memcmp(tokens_of(c, i), key->tokens, n) == 0)
            return i;
    }
    return -1;
}

void qw_prefix_cache_put(qw_prefix_cache *c, int32_t block, int32_t parent, const qw_block_key *key)
{
    QW_ASSERT(!qw_prefix_cache_has(c, block));
    int32_t twin = qw_prefix_cache_find(c, parent, key);
    int32_t *bucket = bucket_of(c, key->hash);
    c->blocks[block] = (qw_cached_block){
        .hash = key->hash,
        .extra = key->extra,
        .identity = twin >= 0 ? c->blocks[twin].identity : ++c->n_identities,
        .parent = identity_of(c, parent),
        .prev = -1,
        .next = *bucket,
    };
    if (*bucket >= 0) c->blocks[*bucket].prev = block;
    *bucket = block;
    memcpy(tokens_of(c, block), key->tokens, (size_t)c->block_size * sizeof *key->tokens);
    c->n_cached++;
}

void qw_prefix_cache_forget(qw_prefix_cache *c, int32_t block)
{
    qw_cached_block *b = &c->blocks[block];
    if (b->identity == 0) return;
    if (b->prev >= 0)
        c->blocks[b->prev].next = b->next;
    else
        *bucket_of(c, b->hash) = b->next;
    if (b->next >= 0) c->blocks[b->next].prev = b->prev;
    b->identity = 0;
    c->n_cached--;
}

void qw_prefix_cache_reset(qw_prefix_cache *c)
{
    for (int32_t i = 0; i < c->n_blocks; i++) qw_prefix_cache_forget(c, i);
    c->epoch++;
}

static bool has_identity(const qw_prefix_cache *c, uint64_t identity)
{
    for (int32_t i = 0; i < c->n_blocks; i++)
        if (c->blocks[i].identity == identity) return true;
    return false;
}

void qw_prefix_cache_check(const qw_prefix_cache *c)
{
    int32_t n_cached = 0, n_linked = 0;
    for (int32_t i = 0; i < c->n_blocks; i++) {
        const qw_cached_block *b = &c->blocks[i];
        if (b->identity == 0) continue;
        n_cached++;
        QW_ASSERT(b->identity <= c->n_identities);
        QW_ASSERT(b->parent == 0 || has_identity(c, b->parent));
    }
    for (size_t k = 0; k < c->n_buckets; k++) {
        int32_t prev = -1;
        for (int32_t i = c->buckets[k]; i >= 0; prev = i, i = c->blocks[i].next) {
            QW_ASSERT(c->blocks[i].identity != 0 && c->blocks[i].prev == prev);
            QW_ASSERT((c->blocks[i].hash.low & (c->n_buckets - 1)) == k);
            n_linked++;
        }
    }
    QW_ASSERT(n_cached == c->n_cached && n_linked == n_cached);
}
