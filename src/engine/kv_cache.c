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

void qw_kv_cache_release(qw_kv_cache *kv)
{
    qw_mem_unmap(kv->memory, kv->memory_size);
    qw_mem_free(kv->layers);
    qw_block_pool_release(&kv->pool);
    *kv = (qw_kv_cache){0};
}
