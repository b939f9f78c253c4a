#ifndef QW_BASE_MAP_H
#define QW_BASE_MAP_H

#include "base/status.h"
#include "base/str.h"

/**
 * Hash map from byte strings to u32: open addressing, seeded XXH3, so that hostile keys cannot
 * collide on purpose. Keys are borrowed: their bytes must outlive the map.
 */
typedef struct qw_map {
    struct qw_map_slot *slots;
    size_t n_slots, n_used;
    uint64_t seed;
} qw_map;

/** Empty map; allocates nothing until the first insertion or qw_map_reserve. */
void qw_map_init(qw_map *m);
void qw_map_release(qw_map *m);
/** Make room for `n` keys in all. */
QW_MUST_CHECK qw_status qw_map_reserve(qw_map *m, size_t n, qw_error *err);
/** Add or replace. `*was_there` (may be NULL) tells which. */
QW_MUST_CHECK qw_status qw_map_put(qw_map *m, qw_str key, uint32_t value, bool *was_there,
                                   qw_error *err);
/** True and *value (may be NULL) if the key is there. */
bool qw_map_get(const qw_map *m, qw_str key, uint32_t *value);

#endif
