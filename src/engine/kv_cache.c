#include "engine/kv_cache.h"

#include "base/mem.h"

qw_status qw_kv_cache_init(qw_kv_cache *kv, const qw_kv_layout *layout, int n_layers,
                           int32_t n_blocks, qw_error *err)
{
    qw_kv_cache c = {.layout = *layout};
    size_t layer_size;
    if (!qw_mul_size(&layer_size, layout->block_bytes, (size_t)n_blocks) ||
        !qw_mul_size(&c.memory_size, layer_size, (size_t)n_layers))
        return qw_fail(err, QW_ERR_NO_MEMORY, "%d KV blocks do not fit in memory", n_blocks);
    qw_status st = qw_block_pool_init(&c.pool, n_blocks, err);
    if (st != QW_OK) return st;
    c.memory = qw_mem_map(c.memory_size, 4096);
    c.layers = qw_mem_array((size_t)n_layers, sizeof *c.layers);
    if (!c.memory || !c.layers) {
        qw_kv_cache_release(&c);
        return qw_fail_memory(err, c.memory_size, "the KV cache");
    }
    for (int i = 0; i < n_layers; i++) c.layers[i] = c.memory + (size_t)i * layer_size;
    *kv = c;
    return QW_OK;
}

qw_status qw_kv_cache_add_prefixes(qw_kv_cache *kv, qw_error *err)
{
    qw_status st =
        qw_prefix_cache_init(&kv->prefixes, kv->pool.n_blocks, kv->layout.block_size, err);
    kv->has_prefixes = st == QW_OK;
    return st;
}

void qw_kv_cache_release(qw_kv_cache *kv)
{
    qw_mem_unmap(kv->memory, kv->memory_size);
    qw_mem_free(kv->layers);
    qw_block_pool_release(&kv->pool);
    if (kv->has_prefixes) qw_prefix_cache_release(&kv->prefixes);
    *kv = (qw_kv_cache){0};
}

bool qw_kv_cache_give(qw_kv_cache *kv, qw_sequence *seq, int32_t n_tokens)
{
    int32_t need = qw_kv_cache_blocks_for(&kv->layout, n_tokens);
    if (need - seq->n_blocks > kv->pool.n_free) return false;
    if (seq->n_blocks == 0) seq->cache_epoch = kv->prefixes.epoch;
    while (seq->n_blocks < need) {
        int32_t block = qw_block_pool_alloc(&kv->pool);
        if (kv->has_prefixes) qw_prefix_cache_forget(&kv->prefixes, block);
        seq->blocks[seq->n_blocks++] = block;
    }
    return true;
}

void qw_kv_cache_drop(qw_kv_cache *kv, qw_sequence *seq)
{
    while (seq->n_blocks > 0) {
        int32_t block = seq->blocks[--seq->n_blocks];
        bool keep = kv->has_prefixes && qw_prefix_cache_has(&kv->prefixes, block);
        qw_block_pool_drop(&kv->pool, block, keep);
    }
    seq->n_published = 0;
}

// The key of one of its full blocks. Hashes are made once and kept: a sequence may be looked up in
// many steps before it is admitted.
static qw_block_key key_of(const qw_prefix_cache *c, qw_sequence *seq, int32_t i)
{
    int32_t size = c->block_size;
    for (; seq->n_hashes <= i; seq->n_hashes++) {
        int32_t n = seq->n_hashes;
        qw_block_hash parent = n > 0 ? seq->hashes[n - 1] : (qw_block_hash){0};
        seq->hashes[n] = qw_prefix_cache_hash(c, parent, qw_sequence_extra_key(seq, n),
                                              seq->tokens + (size_t)n * (size_t)size);
    }
    return (qw_block_key){.hash = seq->hashes[i],
                          .extra = qw_sequence_extra_key(seq, i),
                          .tokens = seq->tokens + (size_t)i * (size_t)size};
}

qw_prefix_hit qw_kv_cache_find_prefix(const qw_kv_cache *kv, qw_sequence *seq)
{
    QW_ASSERT(seq->n_blocks == 0);
    qw_prefix_hit hit = {0};
    if (!kv->has_prefixes || seq->request->skip_prefix_cache) return hit;
    int32_t n_usable = seq->n_tokens - 1;
    if (qw_sequence_tells_positions(seq) && seq->n_reported < n_usable) n_usable = seq->n_reported;
    int32_t n = n_usable / kv->layout.block_size, parent = -1;
    for (; hit.n_blocks < n; hit.n_blocks++) {
        qw_block_key key = key_of(&kv->prefixes, seq, hit.n_blocks);
        parent = qw_prefix_cache_find(&kv->prefixes, parent, &key);
        if (parent < 0) break;
        seq->blocks[hit.n_blocks] = parent; // not its own yet: n_blocks says so
        hit.n_free += kv->pool.ref_count[parent] == 0;
    }
    return hit;
}

void qw_kv_cache_take_prefix(qw_kv_cache *kv, qw_sequence *seq, const qw_prefix_hit *hit)
{
    if (hit->n_blocks == 0) return;
    for (int32_t i = 0; i < hit->n_blocks; i++) qw_block_pool_acquire(&kv->pool, seq->blocks[i]);
    seq->n_blocks = seq->n_published = hit->n_blocks;
    seq->n_computed = hit->n_blocks * kv->layout.block_size;
    seq->cache_epoch = kv->prefixes.epoch;
}

void qw_kv_cache_publish(qw_kv_cache *kv, qw_sequence *seq)
{
    // What was computed before a reset stays unknown, and so does what follows it.
    if (!kv->has_prefixes || seq->cache_epoch != kv->prefixes.epoch) return;
    int32_t n = seq->n_computed < seq->n_tokens ? seq->n_computed : seq->n_tokens;
    for (; seq->n_published < n / kv->layout.block_size; seq->n_published++) {
        int32_t i = seq->n_published;
        qw_block_key key = key_of(&kv->prefixes, seq, i);
        qw_prefix_cache_put(&kv->prefixes, seq->blocks[i], i > 0 ? seq->blocks[i - 1] : -1, &key);
    }
}

void qw_kv_cache_reset_prefixes(qw_kv_cache *kv)
{
    if (kv->has_prefixes) qw_prefix_cache_reset(&kv->prefixes);
}
