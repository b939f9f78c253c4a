#include "format/ids.h"

#include "base/mem.h"

void qw_ids_release(qw_ids *ids)
{
    qw_mem_free(ids->data);
    *ids = (qw_ids){0};
}

qw_status qw_ids_reserve(qw_ids *ids, size_t n, qw_error *err)
{
    size_t need, size;
    if (!qw_add_size(&need, ids->len, n)) return qw_fail_memory(err, n, "a list of token ids");
    if (need <= ids->cap) return QW_OK;
    size_t cap = ids->cap + ids->cap / 2;
    if (cap < need) cap = need;
    if (cap < 16) cap = 16;
    if (!qw_mul_size(&size, cap, sizeof *ids->data))
        return qw_fail_memory(err, cap, "a list of token ids");
    int32_t *data = qw_mem_realloc(ids->data, size);
    if (!data) return qw_fail_memory(err, size, "a list of token ids");
    ids->data = data;
    ids->cap = cap;
    return QW_OK;
}

qw_status qw_ids_append(qw_ids *ids, const int32_t *data, size_t n, qw_error *err)
{
    if (n > ids->cap - ids->len) {
        qw_status st = qw_ids_reserve(ids, n, err);
        if (st != QW_OK) return st;
    }
    if (n) memcpy(ids->data + ids->len, data, n * sizeof *data);
    ids->len += n;
    return QW_OK;
}

qw_status qw_ids_append_json(qw_ids *ids, const json_t *list, const char *name, qw_error *err)
{
    if (!json_is_array(list))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be a list of token ids, got %s", name,
                       qw_json_type_name(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id > INT32_MAX)
            return qw_fail(err, QW_ERR_FORMAT, "'%s[%zu]' is no token id", name, i);
        qw_status st = qw_ids_push(ids, (int32_t)id, err);
        if (st != QW_OK) return st;
    }
    return QW_OK;
}
