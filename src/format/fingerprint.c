#define XXH_STATIC_LINKING_ONLY // the state on the stack
#include "format/fingerprint.h"

#include <sys/mman.h>
#include <xxhash.h>

static void add(XXH3_state_t *hash, const void *data, size_t size)
{
    if (size > 0) (void)XXH3_128bits_update(hash, data, size); // fails only for NULL
}

static void add_u64(XXH3_state_t *hash, uint64_t v)
{
    add(hash, &v, sizeof v);
}

static void add_shard(XXH3_state_t *hash, const qw_checkpoint_shard *shard)
{
    const uint8_t *data = shard->file.file.data;
    uint64_t header_size;
    memcpy(&header_size, data, sizeof header_size); // little endian, as the hosts are
    add_u64(hash, shard->size);
    add_u64(hash, (uint64_t)shard->mtime_ns);
    add(hash, data, 8 + (size_t)header_size);
}

// The place is that of the tensor in whichever shard the index names.
static void add_tensor(XXH3_state_t *hash, const qw_checkpoint *c, const qw_stored_tensor *t)
{
    const size_t page = 4096;
    add(hash, t->name, strlen(t->name) + 1);
    add_u64(hash, t->size);
    for (size_t i = 0; i < c->n_shards; i++) {
        uintptr_t begin = (uintptr_t)c->shards[i].file.file.data, p = (uintptr_t)t->data;
        if (p < begin || p - begin > c->shards[i].size) continue;
        add_u64(hash, i);
        add_u64(hash, p - begin);
        break;
    }
    add(hash, t->data, t->size < page ? t->size : page);
    if (t->size > page) add(hash, t->data + t->size - page, page);
}

qw_fingerprint qw_fingerprint_of(const qw_checkpoint *checkpoint)
{
    XXH3_state_t hash;
    (void)XXH3_128bits_reset(&hash);
    for (size_t i = 0; i < checkpoint->n_shards; i++) add_shard(&hash, &checkpoint->shards[i]);
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        add_tensor(&hash, checkpoint, checkpoint->tensors[i]);
    if (checkpoint->quant) add(&hash, checkpoint->quant->hash, sizeof checkpoint->quant->hash);
    XXH128_hash_t digest = XXH3_128bits_digest(&hash);
    // The system maps neighbours of each page that was looked at: give them back.
    for (size_t i = 0; i < checkpoint->n_shards; i++) {
        const qw_file *file = &checkpoint->shards[i].file.file;
        (void)madvise((void *)(uintptr_t)file->data, (size_t)file->size, MADV_DONTNEED);
    }
    return (qw_fingerprint){digest.low64, digest.high64};
}
