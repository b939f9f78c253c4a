#include "base/map.h"

#include <sys/random.h>
#include <xxhash.h>

#include "base/mem.h"

struct qw_map_slot {
    const char *key; /* NULL: empty */
    size_t len;
    uint32_t hash; /* upper half of the hash, to skip most comparisons */
    uint32_t value;
};

void qw_map_init(qw_map *m)
{
    *m = (qw_map){0};
    // A short read leaves part of the seed 0: weaker, still correct.
    if (getrandom(&m->seed, sizeof m->seed, GRND_NONBLOCK) < 0) m->seed = (uintptr_t)m;
}

void qw_map_release(qw_map *m)
{
    qw_mem_free(m->slots);
    *m = (qw_map){0};
}

static struct qw_map_slot *find_slot(struct qw_map_slot *slots, size_t n_slots, uint64_t seed,
                                     qw_str key)
{
    uint64_t h = XXH3_64bits_withSeed(key.ptr, key.len, seed);
    size_t i = (size_t)h & (n_slots - 1);
    for (;; i = (i + 1) & (n_slots - 1)) {
        struct qw_map_slot *s = &slots[i];
        if (!s->key) {
            s->hash = (uint32_t)(h >> 32);
            return s;
        }
        if (s->hash == (uint32_t)(h >> 32) && s->len == key.len &&
            memcmp(s->key, key.ptr, key.len) == 0)
            return s;
    }
}

qw_status qw_map_reserve(qw_map *m, size_t n, qw_error *err)
{
    size_t want = 16;
    while (want / 2 < n) {
        if (!qw_mul_size(&want, want, 2)) return qw_fail_memory(err, n, "a hash map");
    }
    if (want <= m->n_slots) return QW_OK;
    struct qw_map_slot *slots = qw_mem_calloc(want, sizeof *slots);
    if (!slots) return qw_fail_memory(err, want * sizeof *slots, "a hash map");
    for (size_t i = 0; i < m->n_slots; i++) {
        const struct qw_map_slot *old = &m->slots[i];
        if (old->key) *find_slot(slots, want, m->seed, (qw_str){old->key, old->len}) = *old;
    }
    qw_mem_free(m->slots);
    m->slots = slots;
    m->n_slots = want;
    return QW_OK;
}

qw_status qw_map_put(qw_map *m, qw_str key, uint32_t value, bool *was_there, qw_error *err)
{
    qw_status st = qw_map_reserve(m, m->n_used + 1, err);
    if (st != QW_OK) return st;
    if (!key.ptr) key.ptr = ""; // NULL marks an empty slot
    struct qw_map_slot *s = find_slot(m->slots, m->n_slots, m->seed, key);
    if (was_there) *was_there = s->key != NULL;
    if (!s->key) {
        s->key = key.ptr;
        s->len = key.len;
        m->n_used++;
    }
    s->value = value;
    return QW_OK;
}

bool qw_map_get(const qw_map *m, qw_str key, uint32_t *value)
{
    if (m->n_slots == 0) return false;
    uint64_t h = XXH3_64bits_withSeed(key.ptr, key.len, m->seed);
    for (size_t i = (size_t)h & (m->n_slots - 1);; i = (i + 1) & (m->n_slots - 1)) {
        const struct qw_map_slot *s = &m->slots[i];
        if (!s->key) return false;
        if (s->hash == (uint32_t)(h >> 32) && s->len == key.len &&
            (key.len == 0 || memcmp(s->key, key.ptr, key.len) == 0)) {
            if (value) *value = s->value;
            return true;
        }
    }
}
