// Truth, equality, order, and the two containers.

#include "format/jinja_value.h"

#include <math.h>

#include "format/json.h"
#include "format/jinja_internal.h"
#include "format/jinja_text.h"

const char *qw_jinja_type_name(const qw_jinja_value *v)
{
    switch ((qw_jinja_kind)v->kind) {
    case QW_JINJA_ABSENT:
    case QW_JINJA_UNDEFINED: return "Undefined";
    case QW_JINJA_NONE: return "NoneType";
    case QW_JINJA_BOOL: return "bool";
    case QW_JINJA_INT:
    case QW_JINJA_BIGINT: return "int";
    case QW_JINJA_FLOAT: return "float";
    case QW_JINJA_STRING: return "str";
    case QW_JINJA_BYTES: return "bytes";
    case QW_JINJA_LIST: return "list";
    case QW_JINJA_TUPLE: return "tuple";
    case QW_JINJA_RANGE: return "range";
    case QW_JINJA_VIEW: return v->list->view;
    case QW_JINJA_ITERATOR: return "generator";
    case QW_JINJA_DICT: return "dict";
    case QW_JINJA_NAMESPACE: return "Namespace";
    case QW_JINJA_FUNCTION: return "function";
    case QW_JINJA_METHOD: return "method";
    case QW_JINJA_MACRO: return "Macro";
    case QW_JINJA_LOOP: return "LoopContext";
    case QW_JINJA_CYCLER: return "Cycler";
    case QW_JINJA_JOINER: return "Joiner";
    }
    return "object";
}

qw_status qw_jinja_from_json(qw_jinja_run *r, const json_t *json, qw_jinja_value *out)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT: {
        qw_jinja_dict *d = qw_jinja_dict_new(r);
        if (!d) return qw_jinja_failure(r);
        d->source = json;
        *out = (qw_jinja_value){.kind = QW_JINJA_DICT, .dict = d};
        break;
    }
    case JSON_ARRAY: {
        qw_jinja_list *list = qw_jinja_list_new(r, 0);
        if (!list) return qw_jinja_failure(r);
        list->source = json;
        *out = qw_jinja_sequence(QW_JINJA_LIST, list);
        break;
    }
    case JSON_STRING:
        if (qw_json_is_big_integer(json))
            *out = (qw_jinja_value){.kind = QW_JINJA_BIGINT, .str = qw_json_digits(json)};
        else
            *out = qw_jinja_string(qw_json_str(json));
        break;
    case JSON_INTEGER: *out = qw_jinja_int(json_integer_value(json)); break;
    case JSON_REAL: *out = qw_jinja_float(json_real_value(json)); break;
    case JSON_TRUE: *out = qw_jinja_bool(true); break;
    case JSON_FALSE: *out = qw_jinja_bool(false); break;
    case JSON_NULL: *out = qw_jinja_none(); break;
    }
    return QW_OK;
}

// "dict object", as Jinja calls the owner of a missing attribute.
static const char *owner_name(qw_jinja_kind owner)
{
    switch (owner) {
    case QW_JINJA_NAMESPACE: return "jinja2.utils.Namespace";
    case QW_JINJA_LOOP: return "jinja2.runtime.LoopContext";
    case QW_JINJA_MACRO: return "jinja2.runtime.Macro";
    case QW_JINJA_VIEW: return "dict view";
    default: return qw_jinja_type_name(&(qw_jinja_value){.kind = (uint8_t)owner});
    }
}

qw_status qw_jinja_fail_undefined(qw_jinja_run *r, const qw_jinja_value *v)
{
    const char *owner = owner_name((qw_jinja_kind)v->owner);
    int n = qw_jinja_clip(v->str, 200);
    switch ((qw_jinja_missing)v->missing) {
    case QW_JINJA_MISSING_NAME: return qw_jinja_fail(r, "'%.*s' is undefined", n, v->str.ptr);
    case QW_JINJA_MISSING_HINT: return qw_jinja_fail(r, "%.*s", n, v->str.ptr);
    case QW_JINJA_MISSING_ELEMENT:
        return qw_jinja_fail(r, "%s object has no element %.*s", owner, n, v->str.ptr);
    case QW_JINJA_MISSING_UNSAFE:
        return qw_jinja_fail(r, "access to attribute '%.*s' of '%s' object is unsafe", n,
                             v->str.ptr, owner);
    case QW_JINJA_MISSING_ATTR: break;
    }
    if (v->owner == QW_JINJA_NONE)
        return qw_jinja_fail(r, "'None' has no attribute '%.*s'", n, v->str.ptr);
    return qw_jinja_fail(r, "'%s object' has no attribute '%.*s'", owner, n, v->str.ptr);
}

// ---- lists

qw_jinja_list *qw_jinja_list_new(qw_jinja_run *r, size_t cap)
{
    qw_jinja_list *list = qw_jinja_alloc(r, 1, sizeof *list);
    if (!list) return NULL;
    if (cap > 0) {
        list->items = qw_jinja_alloc(r, cap, sizeof *list->items);
        if (!list->items) return NULL;
        list->cap = cap;
    }
    return list;
}

qw_status qw_jinja_list_push(qw_jinja_run *r, qw_jinja_list *list, const qw_jinja_value *v)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 4;
        qw_jinja_value *items = qw_jinja_alloc(r, cap, sizeof *items);
        if (!items) return qw_jinja_failure(r);
        if (list->n) memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        list->cap = cap;
    }
    list->items[list->n++] = *v;
    return QW_OK;
}

static qw_status open_list(qw_jinja_run *r, qw_jinja_list *list)
{
    size_t n = json_array_size(list->source);
    qw_jinja_value *items = qw_jinja_alloc(r, n, sizeof *items);
    if (!items) return qw_jinja_failure(r);
    for (size_t i = 0; i < n; i++)
        QW_JINJA_TRY(qw_jinja_from_json(r, json_array_get(list->source, i), &items[i]));
    list->items = items;
    list->n = list->cap = n;
    list->source = NULL;
    return QW_OK;
}

qw_status qw_jinja_items(qw_jinja_run *r, qw_jinja_list *list, const qw_jinja_value **items,
                         size_t *n)
{
    if (list->source) QW_JINJA_TRY(open_list(r, list));
    *items = list->items;
    *n = list->n;
    return QW_OK;
}

// ---- iteration and length

static qw_status code_points(qw_jinja_run *r, qw_str s, const qw_jinja_value **items, size_t *n)
{
    size_t len = qw_jinja_text_len(s), pos = 0;
    qw_jinja_value *list = qw_jinja_alloc(r, len, sizeof *list);
    if (!list) return qw_jinja_failure(r);
    for (size_t i = 0; i < len; i++) {
        size_t start = pos;
        (void)qw_utf8_next(s, &pos);
        list[i] = qw_jinja_string(qw_jinja_sub(s, start, pos));
    }
    *items = list;
    *n = len;
    return QW_OK;
}

static qw_status range_items(qw_jinja_run *r, const qw_jinja_range *range,
                             const qw_jinja_value **items, size_t *n)
{
    qw_jinja_value *list = qw_jinja_alloc(r, range->n, sizeof *list);
    if (!list) return qw_jinja_failure(r);
    int64_t at = range->start;
    for (size_t i = 0; i < range->n; i++) {
        list[i] = qw_jinja_int(at);
        if (i + 1 < range->n) at += range->step;
    }
    *items = list;
    *n = range->n;
    return QW_OK;
}

static qw_status dict_keys(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_value **items,
                           size_t *n)
{
    const qw_jinja_entry *entries;
    QW_JINJA_TRY(qw_jinja_entries(r, d, &entries, n));
    qw_jinja_value *keys = qw_jinja_alloc(r, *n, sizeof *keys);
    if (!keys) return qw_jinja_failure(r);
    for (size_t i = 0; i < *n; i++) keys[i] = entries[i].key;
    *items = keys;
    return QW_OK;
}

bool qw_jinja_is_iterable(const qw_jinja_value *v)
{
    switch ((qw_jinja_kind)v->kind) {
    case QW_JINJA_UNDEFINED:
    case QW_JINJA_STRING:
    case QW_JINJA_LIST:
    case QW_JINJA_TUPLE:
    case QW_JINJA_RANGE:
    case QW_JINJA_VIEW:
    case QW_JINJA_ITERATOR:
    case QW_JINJA_DICT: return true;
    default: return false;
    }
}

qw_status qw_jinja_iterate(qw_jinja_run *r, const qw_jinja_value *v, const qw_jinja_value **items,
                           size_t *n)
{
    switch ((qw_jinja_kind)v->kind) {
    case QW_JINJA_UNDEFINED:
        if (v->missing == QW_JINJA_MISSING_UNSAFE) return qw_jinja_fail_undefined(r, v);
        *items = NULL;
        *n = 0;
        return QW_OK;
    case QW_JINJA_STRING: return code_points(r, v->str, items, n);
    case QW_JINJA_LIST:
    case QW_JINJA_TUPLE:
    case QW_JINJA_VIEW: return qw_jinja_items(r, v->list, items, n);
    case QW_JINJA_ITERATOR:
        *items = v->list->items ? v->list->items + v->list->consumed : NULL;
        *n = v->list->n - v->list->consumed;
        v->list->consumed = v->list->n;
        return QW_OK;
    case QW_JINJA_RANGE: return range_items(r, v->range, items, n);
    case QW_JINJA_DICT: return dict_keys(r, v->dict, items, n);
    default: return qw_jinja_fail(r, "'%s' object is not iterable", qw_jinja_type_name(v));
    }
}

static size_t dict_length(const qw_jinja_dict *d)
{
    return d->source ? json_object_size(d->source) : d->n;
}

static size_t list_length(const qw_jinja_list *list)
{
    return list->source ? json_array_size(list->source) : list->n;
}

qw_status qw_jinja_length(qw_jinja_run *r, const qw_jinja_value *v, size_t *n, bool *has)
{
    *has = true;
    switch ((qw_jinja_kind)v->kind) {
    case QW_JINJA_UNDEFINED:
        if (v->missing == QW_JINJA_MISSING_UNSAFE) return qw_jinja_fail_undefined(r, v);
        *n = 0;
        return QW_OK;
    case QW_JINJA_STRING: *n = qw_jinja_text_len(v->str); return qw_jinja_work(r, v->str.len);
    case QW_JINJA_BYTES: *n = v->str.len; return QW_OK;
    case QW_JINJA_LIST:
    case QW_JINJA_TUPLE:
    case QW_JINJA_VIEW: *n = list_length(v->list); return QW_OK;
    case QW_JINJA_RANGE: *n = v->range->n; return QW_OK;
    case QW_JINJA_DICT: *n = dict_length(v->dict); return QW_OK;
    default: *has = false; return QW_OK;
    }
}

bool qw_jinja_truth(const qw_jinja_value *v)
{
    switch ((qw_jinja_kind)v->kind) {
    case QW_JINJA_ABSENT:
    case QW_JINJA_UNDEFINED:
    case QW_JINJA_NONE: return false;
    case QW_JINJA_BOOL: return v->boolean;
    case QW_JINJA_INT: return v->integer != 0;
    case QW_JINJA_FLOAT: return v->real != 0;
    case QW_JINJA_STRING:
    case QW_JINJA_BYTES: return v->str.len > 0;
    case QW_JINJA_LIST:
    case QW_JINJA_TUPLE:
    case QW_JINJA_VIEW: return list_length(v->list) > 0;
    case QW_JINJA_RANGE: return v->range->n > 0;
    case QW_JINJA_DICT: return dict_length(v->dict) > 0;
    default: return true;
    }
}

// ---- equality and order

static bool equal_numbers(const qw_jinja_value *a, const qw_jinja_value *b)
{
    if (qw_jinja_is_integral(a) && qw_jinja_is_integral(b))
        return qw_jinja_as_int(a) == qw_jinja_as_int(b);
    // long double holds every int64 and every double exactly.
    long double x =
        a->kind == QW_JINJA_FLOAT ? (long double)a->real : (long double)qw_jinja_as_int(a);
    long double y =
        b->kind == QW_JINJA_FLOAT ? (long double)b->real : (long double)qw_jinja_as_int(b);
    return x == y;
}

static qw_status equal_lists(qw_jinja_run *r, const qw_jinja_value *a, const qw_jinja_value *b,
                             bool *out)
{
    const qw_jinja_value *x, *y;
    size_t n, m;
    QW_JINJA_TRY(qw_jinja_items(r, a->list, &x, &n));
    QW_JINJA_TRY(qw_jinja_items(r, b->list, &y, &m));
    *out = n == m;
    for (size_t i = 0; i < n && *out; i++) QW_JINJA_TRY(qw_jinja_equal(r, &x[i], &y[i], out));
    return QW_OK;
}

static qw_status equal_dicts(qw_jinja_run *r, qw_jinja_dict *a, qw_jinja_dict *b, bool *out)
{
    const qw_jinja_entry *entries;
    size_t n;
    QW_JINJA_TRY(qw_jinja_entries(r, a, &entries, &n));
    *out = n == dict_length(b);
    for (size_t i = 0; i < n && *out; i++) {
        const qw_jinja_value *other;
        QW_JINJA_TRY(qw_jinja_dict_find(r, b, &entries[i].key, &other));
        *out = other != NULL;
        if (other) QW_JINJA_TRY(qw_jinja_equal(r, &entries[i].value, other, out));
    }
    return QW_OK;
}

qw_status qw_jinja_equal(qw_jinja_run *r, const qw_jinja_value *a, const qw_jinja_value *b,
                         bool *out)
{
    QW_JINJA_TRY(qw_jinja_enter(r));
    QW_JINJA_TRY(qw_jinja_step(r, 1));
    *out = false;
    if (qw_jinja_is_number(a) && qw_jinja_is_number(b)) {
        *out = equal_numbers(a, b);
    } else if (a->kind == b->kind) {
        switch ((qw_jinja_kind)a->kind) {
        case QW_JINJA_UNDEFINED:
        case QW_JINJA_NONE: *out = true; break;
        case QW_JINJA_BIGINT:
        case QW_JINJA_STRING:
        case QW_JINJA_BYTES:
            QW_JINJA_TRY(qw_jinja_work(r, a->str.len));
            *out = qw_str_eq(a->str, b->str);
            break;
        case QW_JINJA_LIST:
        case QW_JINJA_TUPLE:
        case QW_JINJA_VIEW: QW_JINJA_TRY(equal_lists(r, a, b, out)); break;
        case QW_JINJA_RANGE:
            *out = a->range->n == b->range->n &&
                   (a->range->n == 0 || a->range->start == b->range->start) &&
                   (a->range->n < 2 || a->range->step == b->range->step);
            break;
        case QW_JINJA_DICT: QW_JINJA_TRY(equal_dicts(r, a->dict, b->dict, out)); break;
        case QW_JINJA_METHOD:
            *out = a->method->builtin == b->method->builtin && a->method == b->method;
            break;
        default: *out = a->list == b->list; break; // identity: all are pointers
        }
    }
    qw_jinja_leave(r);
    return QW_OK;
}

static int order_bytes(qw_str a, qw_str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0; // byte order of UTF-8 is code point order
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static qw_status order_lists(qw_jinja_run *r, const qw_jinja_value *a, const qw_jinja_value *b,
                             const char *op, int *out, bool *unordered)
{
    const qw_jinja_value *x, *y;
    size_t n, m;
    QW_JINJA_TRY(qw_jinja_items(r, a->list, &x, &n));
    QW_JINJA_TRY(qw_jinja_items(r, b->list, &y, &m));
    for (size_t i = 0; i < n && i < m; i++) {
        bool same;
        QW_JINJA_TRY(qw_jinja_equal(r, &x[i], &y[i], &same));
        if (!same) return qw_jinja_order(r, &x[i], &y[i], op, out, unordered);
    }
    *out = (n > m) - (n < m);
    return QW_OK;
}

qw_status qw_jinja_order(qw_jinja_run *r, const qw_jinja_value *a, const qw_jinja_value *b,
                         const char *op, int *out, bool *unordered)
{
    QW_JINJA_TRY(qw_jinja_enter(r));
    QW_JINJA_TRY(qw_jinja_step(r, 1));
    if (qw_jinja_is_integral(a) && qw_jinja_is_integral(b)) {
        int64_t x = qw_jinja_as_int(a), y = qw_jinja_as_int(b);
        *out = (x > y) - (x < y);
    } else if (qw_jinja_is_number(a) && qw_jinja_is_number(b)) {
        long double x =
            a->kind == QW_JINJA_FLOAT ? (long double)a->real : (long double)qw_jinja_as_int(a);
        long double y =
            b->kind == QW_JINJA_FLOAT ? (long double)b->real : (long double)qw_jinja_as_int(b);
        *out = (x > y) - (x < y);
        if (isnan(qw_jinja_as_double(a)) || isnan(qw_jinja_as_double(b))) *unordered = true;
    } else if (a->kind == QW_JINJA_STRING && b->kind == QW_JINJA_STRING) {
        QW_JINJA_TRY(qw_jinja_work(r, a->str.len < b->str.len ? a->str.len : b->str.len));
        *out = order_bytes(a->str, b->str);
    } else if (a->kind == b->kind && (a->kind == QW_JINJA_LIST || a->kind == QW_JINJA_TUPLE)) {
        QW_JINJA_TRY(order_lists(r, a, b, op, out, unordered));
    } else if (a->kind == QW_JINJA_UNDEFINED || b->kind == QW_JINJA_UNDEFINED) {
        return qw_jinja_fail_undefined(r, a->kind == QW_JINJA_UNDEFINED ? a : b);
    } else {
        return qw_jinja_fail(r, "'%s' not supported between instances of '%s' and '%s'", op,
                             qw_jinja_type_name(a), qw_jinja_type_name(b));
    }
    qw_jinja_leave(r);
    return QW_OK;
}

// ---- dicts

#define INDEX_FROM 9 /* entries that make an index worth its memory */

qw_jinja_dict *qw_jinja_dict_new(qw_jinja_run *r)
{
    return qw_jinja_alloc(r, 1, sizeof(qw_jinja_dict));
}

static uint64_t hash_bytes(qw_str s)
{
    uint64_t h = 0xCBF29CE484222325u; // FNV-1a; a lookup in a crowded index costs steps
    for (size_t i = 0; i < s.len; i++) h = (h ^ (unsigned char)s.ptr[i]) * 0x100000001B3u;
    return h;
}

// Equal keys hash equally: 1, 1.0 and true are one key. *ok is false for unhashable values.
static qw_status hash_value(qw_jinja_run *r, const qw_jinja_value *v, uint64_t *out, bool *ok)
{
    *ok = true;
    switch ((qw_jinja_kind)v->kind) {
    case QW_JINJA_STRING:
    case QW_JINJA_BYTES:
    case QW_JINJA_BIGINT: *out = hash_bytes(v->str); return qw_jinja_work(r, v->str.len);
    case QW_JINJA_BOOL:
    case QW_JINJA_INT: *out = (uint64_t)qw_jinja_as_int(v) * 0x9E3779B97F4A7C15u; return QW_OK;
    case QW_JINJA_FLOAT:
        if (v->real >= -9e18 && v->real <= 9e18 && v->real == floor(v->real))
            *out = (uint64_t)(int64_t)v->real * 0x9E3779B97F4A7C15u;
        else
            memcpy(out, &v->real, sizeof *out);
        return QW_OK;
    case QW_JINJA_TUPLE: {
        const qw_jinja_value *items;
        size_t n;
        QW_JINJA_TRY(qw_jinja_enter(r));
        QW_JINJA_TRY(qw_jinja_items(r, v->list, &items, &n));
        QW_JINJA_TRY(qw_jinja_step(r, n));
        uint64_t h = 17;
        for (size_t i = 0; i < n && *ok; i++) {
            uint64_t item;
            QW_JINJA_TRY(hash_value(r, &items[i], &item, ok));
            if (*ok) h = h * 31 + item;
        }
        *out = h;
        qw_jinja_leave(r);
        return QW_OK;
    }
    case QW_JINJA_LIST:
    case QW_JINJA_DICT:
    case QW_JINJA_VIEW: *ok = false; return QW_OK;
    default: *out = v->kind; return QW_OK;
    }
}

static void index_add(qw_jinja_dict *d, uint32_t i)
{
    uint32_t mask = d->index_size - 1, at = (uint32_t)(d->entries[i].hash >> 16) & mask;
    while (d->index[at]) at = (at + 1) & mask;
    d->index[at] = i + 1;
}

// Make sure that the index covers all entries and is at most half full.
static qw_status grow_index(qw_jinja_run *r, qw_jinja_dict *d)
{
    if (d->n < INDEX_FROM || d->index_size >= 2 * d->n) return QW_OK;
    uint32_t size = d->index_size ? d->index_size : 16;
    while (size < 4 * d->n) size *= 2;
    d->index = qw_jinja_alloc(r, size, sizeof *d->index);
    if (!d->index) return qw_jinja_failure(r);
    d->index_size = size;
    for (uint32_t i = 0; i < d->n; i++) index_add(d, i);
    return QW_OK;
}

static qw_status append_entry(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_entry *entry)
{
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : 4;
        qw_jinja_entry *entries = qw_jinja_alloc(r, cap, sizeof *entries);
        if (!entries) return qw_jinja_failure(r);
        if (d->n) memcpy(entries, d->entries, d->n * sizeof *entries);
        d->entries = entries;
        d->cap = cap;
    }
    d->entries[d->n++] = *entry;
    if (d->index && d->index_size >= 2 * d->n) {
        index_add(d, d->n - 1);
        return QW_OK;
    }
    return grow_index(r, d);
}

static qw_status open_dict(qw_jinja_run *r, qw_jinja_dict *d)
{
    const json_t *source = d->source;
    size_t n = json_object_size(source);
    if (n > UINT32_MAX / 8) return qw_jinja_fail(r, "an object with %zu members is too large", n);
    d->entries = qw_jinja_alloc(r, n, sizeof *d->entries);
    if (!d->entries) return qw_jinja_failure(r);
    d->cap = (uint32_t)n;
    d->source = NULL;
    json_t *object = (json_t *)(uintptr_t)source; // jansson's iteration only reads
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        qw_jinja_entry *e = &d->entries[d->n];
        e->key = qw_jinja_string((qw_str){json_object_iter_key(it), json_object_iter_key_len(it)});
        e->hash = hash_bytes(e->key.str);
        QW_JINJA_TRY(qw_jinja_work(r, e->key.str.len));
        QW_JINJA_TRY(qw_jinja_from_json(r, json_object_iter_value(it), &e->value));
        d->n++;
    }
    return grow_index(r, d);
}

static qw_status find_entry(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_value *key,
                            uint64_t hash, qw_jinja_entry **out)
{
    bool same = false;
    *out = NULL;
    if (d->index) {
        uint32_t mask = d->index_size - 1, at = (uint32_t)(hash >> 16) & mask;
        for (; d->index[at]; at = (at + 1) & mask) {
            qw_jinja_entry *e = &d->entries[d->index[at] - 1];
            QW_JINJA_TRY(qw_jinja_step(r, 1));
            if (e->hash != hash) continue;
            QW_JINJA_TRY(qw_jinja_equal(r, &e->key, key, &same));
            if (same) {
                *out = e;
                return QW_OK;
            }
        }
        return QW_OK;
    }
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->entries[i].hash != hash) continue;
        QW_JINJA_TRY(qw_jinja_equal(r, &d->entries[i].key, key, &same));
        if (!same) continue;
        *out = &d->entries[i];
        return QW_OK;
    }
    return QW_OK;
}

qw_status qw_jinja_dict_put(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_value *key,
                            const qw_jinja_value *value)
{
    if (d->source) QW_JINJA_TRY(open_dict(r, d));
    qw_jinja_entry entry = {.key = *key, .value = *value}, *found;
    bool hashable;
    QW_JINJA_TRY(hash_value(r, key, &entry.hash, &hashable));
    if (!hashable) return qw_jinja_fail(r, "unhashable type: '%s'", qw_jinja_type_name(key));
    QW_JINJA_TRY(find_entry(r, d, key, entry.hash, &found));
    if (!found) return append_entry(r, d, &entry);
    found->value = *value;
    return QW_OK;
}

qw_status qw_jinja_dict_find(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_value *key,
                             const qw_jinja_value **out)
{
    if (d->source) QW_JINJA_TRY(open_dict(r, d));
    uint64_t hash;
    bool hashable;
    qw_jinja_entry *found = NULL;
    QW_JINJA_TRY(hash_value(r, key, &hash, &hashable));
    if (hashable) QW_JINJA_TRY(find_entry(r, d, key, hash, &found));
    *out = found ? &found->value : NULL;
    return QW_OK;
}

qw_status qw_jinja_entries(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_entry **entries,
                           size_t *n)
{
    if (d->source) QW_JINJA_TRY(open_dict(r, d));
    *entries = d->entries;
    *n = d->n;
    return QW_OK;
}
