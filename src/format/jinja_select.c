// Filters that take sequences apart: select and map, order, group, fold.

#include "format/jinja_filters.h"
#include "format/jinja_text.h"

static bool given(const qw_jinja_value *v)
{
    return v->kind != QW_JINJA_ABSENT && v->kind != QW_JINJA_NONE;
}

// The value that a filter with an `attribute` argument looks at.
static qw_status attribute_of(qw_jinja_run *r, const qw_jinja_value *item,
                              const qw_jinja_value *attribute, qw_jinja_value *out)
{
    if (given(attribute)) return qw_jinja_get_path(r, item, attribute, NULL, out);
    *out = *item;
    return QW_OK;
}

static qw_status give_list(qw_jinja_kind kind, qw_jinja_list *list, qw_jinja_value *out)
{
    *out = qw_jinja_sequence(kind, list);
    return QW_OK;
}

static qw_status copy_items(qw_jinja_run *r, const qw_jinja_value *from, qw_jinja_list **out)
{
    const qw_jinja_value *items;
    size_t n;
    QW_JINJA_TRY(qw_jinja_iterate(r, from, &items, &n));
    qw_jinja_list *list = qw_jinja_list_new(r, n);
    if (!list) return qw_jinja_failure(r);
    if (n) memcpy(list->items, items, n * sizeof *items);
    list->n = n;
    *out = list;
    return QW_OK;
}

// ---- first, last, reverse, list, batch, slice

QW_JINJA_FILTER(filter_first)
{
    (void)args;
    const qw_jinja_value *items;
    size_t n;
    if (self->kind == QW_JINJA_ITERATOR) { // takes one item, leaves the rest
        qw_jinja_list *list = self->list;
        if (list->consumed < list->n) {
            *out = list->items[list->consumed++];
            return QW_OK;
        }
    }
    QW_JINJA_TRY(qw_jinja_iterate(r, self, &items, &n));
    *out = n ? items[0] : qw_jinja_hint("no first item, sequence was empty");
    return QW_OK;
}

QW_JINJA_FILTER(filter_last)
{
    (void)args;
    const qw_jinja_value *items;
    size_t n;
    if (self->kind == QW_JINJA_ITERATOR)
        return qw_jinja_fail(r, "'generator' object is not reversible; use |list before |last");
    QW_JINJA_TRY(qw_jinja_iterate(r, self, &items, &n));
    *out = n ? items[n - 1] : qw_jinja_hint("no last item, sequence was empty");
    return QW_OK;
}

static void reverse_items(qw_jinja_value *items, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        qw_jinja_value v = items[i];
        items[i] = items[--n];
        items[n] = v;
    }
}

QW_JINJA_FILTER(filter_reverse)
{
    (void)args;
    qw_jinja_list *list;
    if (self->kind == QW_JINJA_STRING) {
        qw_jinja_value none = qw_jinja_none(), back = qw_jinja_int(-1);
        return qw_jinja_get_slice(r, self, &none, &none, &back, out);
    }
    QW_JINJA_TRY(copy_items(r, self, &list));
    reverse_items(list->items, list->n);
    return give_list(QW_JINJA_ITERATOR, list, out);
}

QW_JINJA_FILTER(filter_list)
{
    (void)args;
    qw_jinja_list *list;
    QW_JINJA_TRY(copy_items(r, self, &list));
    return give_list(QW_JINJA_LIST, list, out);
}

// Items [from, to) and then `n_fill` times `fill`, as one list added to `all`.
static qw_status push_chunk(qw_jinja_run *r, qw_jinja_list *all, const qw_jinja_value *items,
                            size_t from, size_t to, size_t n_fill, const qw_jinja_value *fill)
{
    qw_jinja_list *chunk = qw_jinja_list_new(r, to - from + n_fill);
    if (!chunk) return qw_jinja_failure(r);
    for (size_t i = from; i < to; i++) chunk->items[chunk->n++] = items[i];
    for (size_t i = 0; i < n_fill; i++) chunk->items[chunk->n++] = *fill;
    qw_jinja_value v = qw_jinja_sequence(QW_JINJA_LIST, chunk);
    return qw_jinja_list_push(r, all, &v);
}

QW_JINJA_FILTER(filter_batch)
{
    const qw_jinja_value *items, *fill = &args->v[1];
    size_t n;
    int64_t size = 0;
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[0], "batch's line count", &size));
    if (size < 1)
        return qw_jinja_fail(r, "batch's line count must be positive, got %" PRId64, size);
    QW_JINJA_TRY(qw_jinja_iterate(r, self, &items, &n));
    qw_jinja_list *all = qw_jinja_list_new(r, 0);
    if (!all) return qw_jinja_failure(r);
    for (size_t i = 0; i < n; i += (size_t)size) {
        size_t left = n - i, len = left < (size_t)size ? left : (size_t)size;
        size_t n_fill = given(fill) ? (size_t)size - len : 0;
        QW_JINJA_TRY(push_chunk(r, all, items, i, i + len, n_fill, fill));
        if (left <= (size_t)size) break;
    }
    return give_list(QW_JINJA_ITERATOR, all, out);
}

QW_JINJA_FILTER(filter_slice)
{
    const qw_jinja_value *items, *fill = &args->v[1];
    size_t n, at = 0;
    int64_t slices = 0;
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[0], "slice's count", &slices));
    if (slices < 1) return qw_jinja_fail(r, "slice's count must be positive, got %" PRId64, slices);
    QW_JINJA_TRY(qw_jinja_iterate(r, self, &items, &n));
    qw_jinja_list *all = qw_jinja_list_new(r, 0);
    if (!all) return qw_jinja_failure(r);
    size_t each = n / (size_t)slices, longer = n % (size_t)slices;
    for (size_t i = 0; i < (size_t)slices; i++) {
        size_t len = each + (i < longer);
        size_t n_fill = given(fill) && i >= longer;
        QW_JINJA_TRY(push_chunk(r, all, items, at, at + len, n_fill, fill));
        at += len;
    }
    return give_list(QW_JINJA_ITERATOR, all, out);
}

// ---- map, select, reject

// The arguments behind the first `n`, for the filter or test that those name.
static qw_jinja_args rest_of(const qw_jinja_args *args, size_t n)
{
    qw_jinja_args rest = *args;
    rest.pos += n;
    rest.n_pos -= n;
    return rest;
}

static const qw_jinja_value *keyword(const qw_jinja_args *args, const char *name)
{
    for (size_t i = 0; i < args->n_kw; i++)
        if (qw_str_is(args->kw[i].name, name)) return &args->kw[i].value;
    return NULL;
}

static qw_status builtin_by_name(qw_jinja_run *r, const qw_jinja_value *name, bool is_filter,
                                 const qw_jinja_builtin **out)
{
    const char *what = is_filter ? "filter" : "test";
    if (name->kind == QW_JINJA_STRING)
        *out = is_filter ? qw_jinja_find_filter(name->str) : qw_jinja_find_test(name->str);
    else
        return qw_jinja_fail(r, "no %s named %s: the name has to be a string in quotes", what,
                             qw_jinja_type_name(name));
    if (*out) return QW_OK;
    return qw_jinja_fail(r, "there is no %s named '%.*s'", what, qw_jinja_clip(name->str, 100),
                         name->str.ptr);
}

// map, select and the like take none and false as an empty sequence.
static qw_status iterate_if_true(qw_jinja_run *r, const qw_jinja_value *v,
                                 const qw_jinja_value **items, size_t *n)
{
    *items = NULL;
    *n = 0;
    return qw_jinja_truth(v) ? qw_jinja_iterate(r, v, items, n) : QW_OK;
}

QW_JINJA_FILTER(filter_map)
{
    const qw_jinja_value *items, *attribute = keyword(args, "attribute"),
                                 *fallback = keyword(args, "default");
    size_t n;
    const qw_jinja_builtin *b = NULL;
    qw_jinja_args rest = {0};
    bool by_attribute = args->n_pos == 0 && attribute;
    if (by_attribute) {
        if (args->n_kw > (fallback ? 2u : 1u))
            return qw_jinja_fail(r, "map() got an unexpected keyword argument");
        if (fallback && fallback->kind == QW_JINJA_NONE) fallback = NULL;
    } else {
        if (args->n_pos == 0) return qw_jinja_fail(r, "map requires a filter argument");
        QW_JINJA_TRY(builtin_by_name(r, &args->pos[0], true, &b));
        rest = rest_of(args, 1);
    }
    QW_JINJA_TRY(iterate_if_true(r, self, &items, &n));
    qw_jinja_list *list = qw_jinja_list_new(r, n);
    if (!list) return qw_jinja_failure(r);
    for (size_t i = 0; i < n; i++) {
        qw_jinja_value *to = &list->items[i];
        QW_JINJA_TRY(by_attribute ? qw_jinja_get_path(r, &items[i], attribute, fallback, to)
                                  : qw_jinja_call_builtin(r, b, &items[i], &rest, to));
        list->n++;
    }
    return give_list(QW_JINJA_ITERATOR, list, out);
}

// select, reject and their *attr forms: the items whose test result is `keep`. Without a test, its
// truth decides.
static qw_status choose(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,
                        bool by_attr, bool keep, qw_jinja_value *out)
{
    const qw_jinja_value *items;
    size_t n, n_own = by_attr ? 1 : 0;
    const qw_jinja_builtin *test = NULL;
    qw_jinja_args rest = {0};
    if (args->n_pos < n_own) return qw_jinja_fail(r, "missing parameter for attribute name");
    if (args->n_pos > n_own) {
        QW_JINJA_TRY(builtin_by_name(r, &args->pos[n_own], false, &test));
        rest = rest_of(args, n_own + 1);
    }
    QW_JINJA_TRY(iterate_if_true(r, self, &items, &n));
    qw_jinja_list *list = qw_jinja_list_new(r, 0);
    if (!list) return qw_jinja_failure(r);
    for (size_t i = 0; i < n; i++) {
        qw_jinja_value v = items[i];
        if (by_attr) QW_JINJA_TRY(qw_jinja_get_path(r, &items[i], &args->pos[0], NULL, &v));
        bool passes = qw_jinja_truth(&v);
        QW_JINJA_TRY(qw_jinja_step(r, 1));
        if (test) QW_JINJA_TRY(qw_jinja_run_test(r, test, &v, &rest, &passes));
        if (passes == keep) QW_JINJA_TRY(qw_jinja_list_push(r, list, &items[i]));
    }
    return give_list(QW_JINJA_ITERATOR, list, out);
}

QW_JINJA_FILTER(filter_select)
{
    return choose(r, self, args, false, true, out);
}

QW_JINJA_FILTER(filter_reject)
{
    return choose(r, self, args, false, false, out);
}

QW_JINJA_FILTER(filter_selectattr)
{
    return choose(r, self, args, true, true, out);
}

QW_JINJA_FILTER(filter_rejectattr)
{
    return choose(r, self, args, true, false, out);
}

// ---- order

// The key by which an item is sorted or compared: its attribute, case ignored unless asked for.
static qw_status key_of(qw_jinja_run *r, const qw_jinja_value *item,
                        const qw_jinja_value *attribute, bool case_sensitive, qw_jinja_value *out)
{
    QW_JINJA_TRY(attribute_of(r, item, attribute, out));
    return case_sensitive ? QW_OK : qw_jinja_fold_case(r, out, out);
}

// Merge [0, mid) and [mid, n) of `order`, indices into `keys`; equal ones keep their order.
static qw_status merge(qw_jinja_run *r, const qw_jinja_value *keys, uint32_t *order,
                       uint32_t *spare, size_t mid, size_t n, bool reverse)
{
    size_t i = 0, j = mid, k = 0;
    while (i < mid && j < n) {
        int c = 0;
        bool unordered = false;
        QW_JINJA_TRY(qw_jinja_order(r, &keys[order[j]], &keys[order[i]], "<", &c, &unordered));
        bool take_right = !unordered && (reverse ? c > 0 : c < 0);
        spare[k++] = take_right ? order[j++] : order[i++];
    }
    while (i < mid) spare[k++] = order[i++];
    while (j < n) spare[k++] = order[j++];
    memcpy(order, spare, n * sizeof *order);
    return QW_OK;
}

qw_status qw_jinja_sort(qw_jinja_run *r, qw_jinja_value *items, qw_jinja_value *keys, size_t n,
                        bool reverse)
{
    uint32_t *order = qw_jinja_alloc(r, n, sizeof *order),
             *spare = qw_jinja_alloc(r, n, sizeof *spare);
    qw_jinja_value *copy = qw_jinja_alloc(r, n, sizeof *copy);
    if (!order || !spare || !copy) return qw_jinja_failure(r);
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t width = 1; width < n; width *= 2)
        for (size_t from = 0; from + width < n; from += 2 * width) {
            size_t len = n - from < 2 * width ? n - from : 2 * width;
            QW_JINJA_TRY(merge(r, keys, order + from, spare, width, len, reverse));
        }
    if (n) memcpy(copy, items, n * sizeof *copy);
    for (size_t i = 0; i < n; i++) items[i] = copy[order[i]];
    return QW_OK;
}

// The key is a list, which orders by its first items that differ: several attributes separated by
// commas sort by the first, then the second ... An item without an attribute is a key of one.
static qw_status sort_key(qw_jinja_run *r, const qw_jinja_value *item,
                          const qw_jinja_value *attribute, bool case_sensitive, qw_jinja_value *out)
{
    qw_jinja_list single = {.items = (qw_jinja_value *)(uintptr_t)attribute, .n = 1};
    qw_jinja_list *parts = &single, *key = qw_jinja_list_new(r, 1);
    if (!key) return qw_jinja_failure(r);
    qw_str comma = QW_STR(",");
    if (attribute->kind == QW_JINJA_STRING)
        QW_JINJA_TRY(qw_jinja_str_split(r, attribute->str, &comma, -1, false, &parts));
    for (size_t i = 0; i < parts->n; i++) {
        qw_jinja_value v;
        QW_JINJA_TRY(key_of(r, item, &parts->items[i], case_sensitive, &v));
        QW_JINJA_TRY(qw_jinja_list_push(r, key, &v));
    }
    return give_list(QW_JINJA_LIST, key, out);
}

static qw_status keys_of(qw_jinja_run *r, const qw_jinja_list *list,
                         const qw_jinja_value *attribute, bool case_sensitive, qw_jinja_value **out)
{
    qw_jinja_value *keys = qw_jinja_alloc(r, list->n, sizeof *keys);
    if (!keys) return qw_jinja_failure(r);
    for (size_t i = 0; i < list->n; i++)
        QW_JINJA_TRY(sort_key(r, &list->items[i], attribute, case_sensitive, &keys[i]));
    *out = keys;
    return QW_OK;
}

QW_JINJA_FILTER(filter_sort)
{
    qw_jinja_list *list;
    qw_jinja_value *keys = NULL;
    QW_JINJA_TRY(copy_items(r, self, &list));
    QW_JINJA_TRY(keys_of(r, list, &args->v[2], qw_jinja_truth(&args->v[1]), &keys));
    QW_JINJA_TRY(qw_jinja_sort(r, list->items, keys, list->n, qw_jinja_truth(&args->v[0])));
    return give_list(QW_JINJA_LIST, list, out);
}

static qw_status pair_of(qw_jinja_run *r, const qw_jinja_value *a, const qw_jinja_value *b,
                         qw_jinja_value *out)
{
    qw_jinja_list *pair = qw_jinja_list_new(r, 2);
    if (!pair) return qw_jinja_failure(r);
    pair->n = 2;
    pair->items[0] = *a;
    pair->items[1] = *b;
    *out = qw_jinja_sequence(QW_JINJA_TUPLE, pair);
    return QW_OK;
}

static qw_status pairs_of(qw_jinja_run *r, qw_jinja_dict *d, qw_jinja_list **out)
{
    const qw_jinja_entry *entries;
    size_t n;
    QW_JINJA_TRY(qw_jinja_entries(r, d, &entries, &n));
    qw_jinja_list *list = qw_jinja_list_new(r, n);
    if (!list) return qw_jinja_failure(r);
    for (size_t i = 0; i < n; i++) {
        QW_JINJA_TRY(pair_of(r, &entries[i].key, &entries[i].value, &list->items[i]));
        list->n++;
    }
    *out = list;
    return QW_OK;
}

QW_JINJA_FILTER(filter_dictsort)
{
    qw_str by = QW_STR("key");
    qw_jinja_list *list;
    qw_jinja_value *keys = NULL;
    if (self->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, self);
    if (self->kind != QW_JINJA_DICT)
        return qw_jinja_fail(r, "dictsort needs a mapping, not %s", qw_jinja_type_name(self));
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[1], "dictsort's 'by'", &by));
    if (!qw_str_is(by, "key") && !qw_str_is(by, "value"))
        return qw_jinja_fail(r, "you can only sort by either 'key' or 'value'");
    qw_jinja_value position = qw_jinja_int(qw_str_is(by, "value"));
    QW_JINJA_TRY(pairs_of(r, self->dict, &list));
    if (!(keys = qw_jinja_alloc(r, list->n, sizeof *keys))) return qw_jinja_failure(r);
    for (size_t i = 0; i < list->n; i++)
        QW_JINJA_TRY(key_of(r, &list->items[i], &position, qw_jinja_truth(&args->v[0]), &keys[i]));
    QW_JINJA_TRY(qw_jinja_sort(r, list->items, keys, list->n, qw_jinja_truth(&args->v[2])));
    return give_list(QW_JINJA_LIST, list, out);
}

QW_JINJA_FILTER(filter_items)
{
    (void)args;
    qw_jinja_list *list;
    if (self->kind == QW_JINJA_UNDEFINED) {
        if (!(list = qw_jinja_list_new(r, 0))) return qw_jinja_failure(r);
    } else {
        if (self->kind != QW_JINJA_DICT)
            return qw_jinja_fail(r, "can only get item pairs from a mapping");
        QW_JINJA_TRY(pairs_of(r, self->dict, &list));
    }
    return give_list(QW_JINJA_ITERATOR, list, out);
}

// The smallest (sign < 0) or largest item.
static qw_status extreme(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,
                         int sign, qw_jinja_value *out)
{
    const qw_jinja_value *items;
    size_t n, best = 0;
    bool case_sensitive = qw_jinja_truth(&args->v[0]);
    QW_JINJA_TRY(qw_jinja_iterate(r, self, &items, &n));
    if (n == 0) {
        *out = qw_jinja_hint("no aggregated item, sequence was empty");
        return QW_OK;
    }
    qw_jinja_value best_key, key;
    QW_JINJA_TRY(key_of(r, &items[0], &args->v[1], case_sensitive, &best_key));
    for (size_t i = 1; i < n; i++) {
        int c = 0;
        bool unordered = false;
        QW_JINJA_TRY(key_of(r, &items[i], &args->v[1], case_sensitive, &key));
        QW_JINJA_TRY(qw_jinja_order(r, &key, &best_key, sign < 0 ? "<" : ">", &c, &unordered));
        if (unordered || (sign < 0 ? c >= 0 : c <= 0)) continue;
        best = i;
        best_key = key;
    }
    *out = items[best];
    return QW_OK;
}

QW_JINJA_FILTER(filter_min)
{
    return extreme(r, self, args, -1, out);
}

QW_JINJA_FILTER(filter_max)
{
    return extreme(r, self, args, 1, out);
}

// ---- unique, groupby, sum

QW_JINJA_FILTER(filter_unique)
{
    const qw_jinja_value *items, *seen_before;
    size_t n;
    qw_jinja_value key, seen = qw_jinja_bool(true);
    QW_JINJA_TRY(qw_jinja_iterate(r, self, &items, &n));
    qw_jinja_list *list = qw_jinja_list_new(r, 0);
    qw_jinja_dict *keys = qw_jinja_dict_new(r);
    if (!list || !keys) return qw_jinja_failure(r);
    for (size_t i = 0; i < n; i++) {
        QW_JINJA_TRY(key_of(r, &items[i], &args->v[1], qw_jinja_truth(&args->v[0]), &key));
        QW_JINJA_TRY(qw_jinja_dict_find(r, keys, &key, &seen_before));
        if (seen_before) continue;
        QW_JINJA_TRY(qw_jinja_dict_put(r, keys, &key, &seen));
        QW_JINJA_TRY(qw_jinja_list_push(r, list, &items[i]));
    }
    return give_list(QW_JINJA_ITERATOR, list, out);
}

// Attribute of an item for grouping, as it is; `fallback` in place of a missing one.
static qw_status group_key(qw_jinja_run *r, const qw_jinja_value *item, const qw_jinja_args *args,
                           qw_jinja_value *out)
{
    const qw_jinja_value *fallback = given(&args->v[1]) ? &args->v[1] : NULL;
    return qw_jinja_get_path(r, item, &args->v[0], fallback, out);
}

QW_JINJA_FILTER(filter_groupby)
{
    qw_jinja_list *list, *groups = qw_jinja_list_new(r, 0), *group = NULL;
    bool case_sensitive = qw_jinja_truth(&args->v[2]);
    QW_JINJA_TRY(copy_items(r, self, &list));
    qw_jinja_value *keys = qw_jinja_alloc(r, list->n, sizeof *keys), previous = qw_jinja_none();
    if (!keys || !groups) return qw_jinja_failure(r);
    for (size_t i = 0; i < list->n; i++) {
        QW_JINJA_TRY(group_key(r, &list->items[i], args, &keys[i]));
        if (!case_sensitive) QW_JINJA_TRY(qw_jinja_fold_case(r, &keys[i], &keys[i]));
    }
    QW_JINJA_TRY(qw_jinja_sort(r, list->items, keys, list->n, false));
    for (size_t i = 0; i < list->n; i++) {
        qw_jinja_value key, folded, pair;
        bool same = false;
        QW_JINJA_TRY(group_key(r, &list->items[i], args, &key));
        folded = key;
        if (!case_sensitive) QW_JINJA_TRY(qw_jinja_fold_case(r, &key, &folded));
        if (group) QW_JINJA_TRY(qw_jinja_equal(r, &folded, &previous, &same));
        if (!same) {
            if (!(group = qw_jinja_list_new(r, 0))) return qw_jinja_failure(r);
            qw_jinja_value members = qw_jinja_sequence(QW_JINJA_LIST, group);
            QW_JINJA_TRY(pair_of(r, &key, &members, &pair));
            pair.grouped = true;
            QW_JINJA_TRY(qw_jinja_list_push(r, groups, &pair));
            previous = folded;
        }
        QW_JINJA_TRY(qw_jinja_list_push(r, group, &list->items[i]));
    }
    return give_list(QW_JINJA_LIST, groups, out);
}

QW_JINJA_FILTER(filter_sum)
{
    const qw_jinja_value *items;
    size_t n;
    qw_jinja_value total = args->v[1].kind == QW_JINJA_ABSENT ? qw_jinja_int(0) : args->v[1], v;
    if (total.kind == QW_JINJA_STRING) return qw_jinja_fail(r, "sum() can't sum strings");
    QW_JINJA_TRY(qw_jinja_iterate(r, self, &items, &n));
    for (size_t i = 0; i < n; i++) {
        qw_jinja_value next;
        QW_JINJA_TRY(qw_jinja_step(r, 1));
        QW_JINJA_TRY(attribute_of(r, &items[i], &args->v[0], &v));
        QW_JINJA_TRY(qw_jinja_arithmetic(r, '+', &total, &v, &next));
        total = next;
    }
    *out = total;
    return QW_OK;
}

QW_JINJA_FILTER(filter_join)
{
    const qw_jinja_value *items;
    size_t n;
    qw_str separator = {"", 0}, text;
    if (args->v[0].kind != QW_JINJA_ABSENT)
        QW_JINJA_TRY(qw_jinja_to_str(r, &args->v[0], &separator));
    QW_JINJA_TRY(qw_jinja_iterate(r, self, &items, &n));
    if (given(&args->v[1])) {
        qw_jinja_value *values = qw_jinja_alloc(r, n, sizeof *values);
        if (!values) return qw_jinja_failure(r);
        for (size_t i = 0; i < n; i++)
            QW_JINJA_TRY(attribute_of(r, &items[i], &args->v[1], &values[i]));
        items = values;
    }
    QW_JINJA_TRY(qw_jinja_str_join(r, separator, items, n, true, &text));
    *out = qw_jinja_string(text);
    return QW_OK;
}

const qw_jinja_builtin qw_jinja_sequence_filters[] = {
    {"join", "d? attribute?", filter_join},
    {"first", "", filter_first},
    {"last", "", filter_last},
    {"list", "", filter_list},
    {"map", NULL, filter_map},
    {"select", NULL, filter_select},
    {"reject", NULL, filter_reject},
    {"selectattr", NULL, filter_selectattr},
    {"rejectattr", NULL, filter_rejectattr},
    {"items", "", filter_items},
    {"dictsort", "case_sensitive? by? reverse?", filter_dictsort},
    {"sort", "reverse? case_sensitive? attribute?", filter_sort},
    {"unique", "case_sensitive? attribute?", filter_unique},
    {"reverse", "", filter_reverse},
    {"sum", "attribute? start?", filter_sum},
    {"min", "case_sensitive? attribute?", filter_min},
    {"max", "case_sensitive? attribute?", filter_max},
    {"batch", "linecount fill_with?", filter_batch},
    {"slice", "slices fill_with?", filter_slice},
    {"groupby", "attribute default? case_sensitive?", filter_groupby},
    {NULL, NULL, NULL},
};
