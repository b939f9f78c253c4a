#ifndef QW_FORMAT_IDS_H
#define QW_FORMAT_IDS_H

#include "format/json.h"

/** Growable list of token ids. Zeroed memory is an empty list. */
typedef struct qw_ids {
    int32_t *data;
    size_t len, cap;
} qw_ids;

void qw_ids_release(qw_ids *ids);
/** Make room for `n` more ids. */
QW_MUST_CHECK qw_status qw_ids_reserve(qw_ids *ids, size_t n, qw_error *err);
QW_MUST_CHECK qw_status qw_ids_append(qw_ids *ids, const int32_t *data, size_t n, qw_error *err);
/** Append a JSON list of token ids. `name` is the member's, for errors. */
QW_MUST_CHECK qw_status qw_ids_append_json(qw_ids *ids, const json_t *list, const char *name,
                                           qw_error *err);

static inline QW_MUST_CHECK qw_status qw_ids_push(qw_ids *ids, int32_t id, qw_error *err)
{
    return qw_ids_append(ids, &id, 1, err);
}

#endif
