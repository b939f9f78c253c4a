// Attributes, items and slices of values; matching arguments to the parameters of built-ins.

#include "format/jinja_internal.h"
#include "format/jinja_text.h"

static qw_jinja_value missing(const qw_jinja_value *owner, qw_jinja_missing why, qw_str what)
{
    return (qw_jinja_value){
        .kind = QW_JINJA_UNDEFINED, .missing = (uint8_t)why, .owner = owner->kind, .str = what};
}

// ---- attributes

static qw_status macro_attr(qw_jinja_run *r, const qw_jinja_macro *m, qw_str name,
                            qw_jinja_value *out, bool *found)
{
    if (qw_str_is(name, "name")) {
        *out = qw_jinja_string(m->stmt->text);
    } else if (qw_str_is(name, "arguments")) {
        qw_jinja_list *list = qw_jinja_list_new(r, m->stmt->n_params);
        if (!list) return qw_jinja_failure(r);
        for (const qw_jinja_expr *p = m->stmt->params; p; p = p->next) {
            qw_jinja_value param = qw_jinja_string(p->text);
            QW_JINJA_TRY(qw_jinja_list_push(r, list, &param));
        }
        *out = qw_jinja_sequence(QW_JINJA_TUPLE, list);
    } else if (qw_str_is(name, "catch_varargs")) {
        *out = qw_jinja_bool(m->stmt->uses_varargs);
    } else if (qw_str_is(name, "catch_kwargs")) {
        *out = qw_jinja_bool(m->stmt->uses_kwargs);
    } else if (qw_str_is(name, "caller")) {
        *out = qw_jinja_bool(m->stmt->uses_caller);
    } else {
        *found = false;
    }
    return QW_OK;
}

// Attributes that are values rather than methods.
static qw_status data_attr(qw_jinja_run *r, const qw_jinja_value *v, qw_str name,
                           qw_jinja_value *out, bool *found)
{
    *found = true;
    if (v->kind == QW_JINJA_NAMESPACE) {
        qw_jinja_value key = qw_jinja_string(name);
        const qw_jinja_value *value;
        QW_JINJA_TRY(qw_jinja_dict_find(r, v->dict, &key, &value));
        *found = value != NULL;
        if (value) *out = *value;
        return QW_OK;
    }
    if (v->kind == QW_JINJA_LOOP) return qw_jinja_loop_attr(r, v->loop, name, out, found);
    if (v->kind == QW_JINJA_MACRO) return macro_attr(r, v->macro, name, out, found);
    if (v->kind == QW_JINJA_CYCLER && qw_str_is(name, "current") && v->cycler->n > 0) {
        *out = v->cycler->items[v->cycler->next];
        return QW_OK;
    }
    if (v->kind == QW_JINJA_TUPLE && v->grouped) {
        if (qw_str_is(name, "grouper") || qw_str_is(name, "list")) {
            *out = v->list->items[qw_str_is(name, "list")];
            return QW_OK;
        }
    }
    *found = false;
    return QW_OK;
}

// What Python's getattr finds, as the sandbox shows it; *found is false for an AttributeError.
static qw_status find_attr(qw_jinja_run *r, const qw_jinja_value *v, qw_str name,
                           qw_jinja_value *out, bool *found)
{
    QW_JINJA_TRY(data_attr(r, v, name, out, found));
    if (*found) return QW_OK;
    *found = true;
    bool dunder = name.len > 4 && qw_str_starts_with(name, QW_STR("__")) &&
                  qw_str_ends_with(name, QW_STR("__"));
    const qw_jinja_builtin *b = dunder ? NULL : qw_jinja_find_method(v, name);
    if (dunder || (b && !b->fn)) {
        *out = missing(v, QW_JINJA_MISSING_UNSAFE, name);
        return QW_OK;
    }
    if (!b) {
        *found = false;
        return QW_OK;
    }
    qw_jinja_method *m = qw_jinja_alloc(r, 1, sizeof *m);
    if (!m) return qw_jinja_failure(r);
    *m = (qw_jinja_method){.builtin = b, .self = *v};
    *out = (qw_jinja_value){.kind = QW_JINJA_METHOD, .method = m};
    return QW_OK;
}

qw_status qw_jinja_get_attr(qw_jinja_run *r, const qw_jinja_value *v, qw_str name,
                            qw_jinja_value *out)
{
    if (v->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, v);
    bool found;
    QW_JINJA_TRY(find_attr(r, v, name, out, &found));
    if (found) return QW_OK;
    if (v->kind == QW_JINJA_DICT) {
        qw_jinja_value key = qw_jinja_string(name);
        const qw_jinja_value *value;
        QW_JINJA_TRY(qw_jinja_dict_find(r, v->dict, &key, &value));
        if (value) {
            *out = *value;
            return QW_OK;
        }
    }
    *out = missing(v, QW_JINJA_MISSING_ATTR, name);
    return QW_OK;
}

// ---- items

// Python's index: negative ones count from the end. False if out of range.
static bool real_index(int64_t index, size_t n, size_t *out)
{
    if (index < 0) index += (int64_t)n;
    if (index < 0 || (uint64_t)index >= n) return false;
    *out = (size_t)index;
    return true;
}

static qw_status text_at(qw_jinja_run *r, qw_str s, int64_t index, qw_jinja_value *out, bool *found)
{
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    size_t i;
    *found = real_index(index, qw_jinja_text_len(s), &i);
    if (!*found) return QW_OK;
    size_t start = qw_jinja_text_offset(s, i), end = start;
    (void)qw_utf8_next(s, &end);
    *out = qw_jinja_string(qw_jinja_sub(s, start, end));
    return QW_OK;
}

static qw_status find_item(qw_jinja_run *r, const qw_jinja_value *v, const qw_jinja_value *key,
                           qw_jinja_value *out, bool *found)
{
    *found = false;
    if (v->kind == QW_JINJA_DICT) {
        const qw_jinja_value *value;
        QW_JINJA_TRY(qw_jinja_dict_find(r, v->dict, key, &value));
        *found = value != NULL;
        if (value) *out = *value;
        return QW_OK;
    }
    if (!qw_jinja_is_integral(key)) return QW_OK;
    int64_t index = qw_jinja_as_int(key);
    size_t i, n;
    if (v->kind == QW_JINJA_STRING) return text_at(r, v->str, index, out, found);
    if (v->kind == QW_JINJA_LIST || v->kind == QW_JINJA_TUPLE) {
        const qw_jinja_value *items;
        QW_JINJA_TRY(qw_jinja_items(r, v->list, &items, &n));
        *found = real_index(index, n, &i);
        if (*found) *out = items[i];
    } else if (v->kind == QW_JINJA_RANGE) {
        *found = real_index(index, v->range->n, &i);
        if (*found) *out = qw_jinja_int(v->range->start + (int64_t)i * v->range->step);
    }
    return QW_OK;
}

qw_status qw_jinja_get_item(qw_jinja_run *r, const qw_jinja_value *v, const qw_jinja_value *key,
                            qw_jinja_value *out)
{
    if (v->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, v);
    bool found;
    QW_JINJA_TRY(find_item(r, v, key, out, &found));
    if (found) return QW_OK;
    if (key->kind == QW_JINJA_STRING) {
        QW_JINJA_TRY(find_attr(r, v, key->str, out, &found));
        if (!found) *out = missing(v, QW_JINJA_MISSING_ATTR, key->str);
        return QW_OK;
    }
    if (key->kind == QW_JINJA_UNDEFINED) { // l[undefined] is undefined too
        *out = missing(v, QW_JINJA_MISSING_ELEMENT, QW_STR("Undefined"));
        return QW_OK;
    }
    size_t start = r->out.len;
    qw_str text;
    QW_JINJA_TRY(qw_jinja_write_repr(r, key));
    QW_JINJA_TRY(qw_jinja_capture(r, start, &text));
    *out = missing(v, QW_JINJA_MISSING_ELEMENT, text);
    return QW_OK;
}

// ---- slices

static qw_status slice_number(qw_jinja_run *r, const qw_jinja_value *v, int64_t *out, bool *given)
{
    *given = v->kind != QW_JINJA_ABSENT && v->kind != QW_JINJA_NONE;
    if (!*given) return QW_OK;
    if (!qw_jinja_is_integral(v))
        return qw_jinja_fail(r, "slice indices must be integers or None, not %s",
                             qw_jinja_type_name(v));
    *out = qw_jinja_as_int(v);
    return QW_OK;
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

// First index and number of steps of a slice over `n` items (Python's slice.indices).
static qw_status slice_bounds(qw_jinja_run *r, const qw_jinja_value *part[3], size_t n,
                              int64_t *first, int64_t *step, size_t *count)
{
    int64_t len = (int64_t)n, start = 0, stop = 0;
    bool has_start, has_stop, has_step;
    *step = 1;
    QW_JINJA_TRY(slice_number(r, part[0], &start, &has_start));
    QW_JINJA_TRY(slice_number(r, part[1], &stop, &has_stop));
    QW_JINJA_TRY(slice_number(r, part[2], step, &has_step));
    if (*step == 0) return qw_jinja_fail(r, "slice step cannot be zero");
    if (*step < -INT64_MAX) *step = -INT64_MAX;
    bool down = *step < 0;
    int64_t lo = down ? -1 : 0, hi = down ? len - 1 : len;
    start = !has_start ? (down ? hi : lo) : clamp(start < 0 ? start + len : start, lo, hi);
    stop = !has_stop ? (down ? lo : hi) : clamp(stop < 0 ? stop + len : stop, lo, hi);
    int64_t distance = down ? start - stop : stop - start;
    int64_t stride = down ? -*step : *step;
    *first = start;
    *count = distance <= 0 ? 0 : (size_t)((distance - 1) / stride + 1);
    return QW_OK;
}

static qw_status slice_text(qw_jinja_run *r, qw_str s, const qw_jinja_value *part[3],
                            qw_jinja_value *out)
{
    int64_t at, step;
    size_t count;
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    QW_JINJA_TRY(slice_bounds(r, part, qw_jinja_text_len(s), &at, &step, &count));
    if (count == 0) {
        *out = qw_jinja_text("");
        return QW_OK;
    }
    if (step == 1) { // a view of the same text
        size_t from = qw_jinja_text_offset(s, (size_t)at);
        qw_str rest = qw_jinja_sub(s, from, s.len);
        *out = qw_jinja_string(qw_jinja_sub(rest, 0, qw_jinja_text_offset(rest, count)));
        return QW_OK;
    }
    const qw_jinja_value *chars;
    size_t n;
    qw_jinja_value whole = qw_jinja_string(s);
    QW_JINJA_TRY(qw_jinja_iterate(r, &whole, &chars, &n));
    char *text = qw_jinja_alloc(r, s.len, 1);
    if (!text) return qw_jinja_failure(r);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        qw_str c = chars[at + (int64_t)i * step].str;
        memcpy(text + len, c.ptr, c.len);
        len += c.len;
    }
    *out = qw_jinja_string((qw_str){text, len});
    return QW_OK;
}

qw_status qw_jinja_get_slice(qw_jinja_run *r, const qw_jinja_value *v, const qw_jinja_value *start,
                             const qw_jinja_value *stop, const qw_jinja_value *step,
                             qw_jinja_value *out)
{
    const qw_jinja_value *part[3] = {start, stop, step};
    if (v->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, v);
    if (v->kind == QW_JINJA_STRING) return slice_text(r, v->str, part, out);
    if (v->kind != QW_JINJA_LIST && v->kind != QW_JINJA_TUPLE && v->kind != QW_JINJA_RANGE) {
        return qw_jinja_fail(r, "'%s' object is not subscriptable by a slice",
                             qw_jinja_type_name(v));
    }
    const qw_jinja_value *items;
    size_t n, count;
    int64_t at, stride;
    QW_JINJA_TRY(qw_jinja_iterate(r, v, &items, &n));
    QW_JINJA_TRY(slice_bounds(r, part, n, &at, &stride, &count));
    qw_jinja_list *list = qw_jinja_list_new(r, count);
    if (!list) return qw_jinja_failure(r);
    for (size_t i = 0; i < count; i++) list->items[i] = items[at + (int64_t)i * stride];
    list->n = count;
    *out = qw_jinja_sequence(v->kind == QW_JINJA_TUPLE ? QW_JINJA_TUPLE : QW_JINJA_LIST, list);
    return QW_OK;
}

// ---- paths of filters' attribute arguments

static qw_status path_step(qw_jinja_run *r, qw_jinja_value *at, const qw_jinja_value *key,
                           const qw_jinja_value *fallback)
{
    qw_jinja_value next = {0};
    QW_JINJA_TRY(qw_jinja_get_item(r, at, key, &next));
    *at = next.kind == QW_JINJA_UNDEFINED && fallback ? *fallback : next;
    return QW_OK;
}

qw_status qw_jinja_get_path(qw_jinja_run *r, const qw_jinja_value *v, const qw_jinja_value *path,
                            const qw_jinja_value *fallback, qw_jinja_value *out)
{
    qw_jinja_value at = *v;
    if (path->kind != QW_JINJA_STRING) {
        QW_JINJA_TRY(path_step(r, &at, path, fallback));
        *out = at;
        return QW_OK;
    }
    for (size_t start = 0; start <= path->str.len;) {
        size_t dot = qw_jinja_find(path->str, QW_STR("."), start);
        if (dot == SIZE_MAX) dot = path->str.len;
        qw_str part = qw_jinja_sub(path->str, start, dot);
        qw_jinja_value key = qw_jinja_string(part);
        int64_t index;
        if (part.len > 0 && part.ptr[0] >= '0' && part.ptr[0] <= '9' && qw_str_to_i64(part, &index))
            key = qw_jinja_int(index);
        QW_JINJA_TRY(qw_jinja_step(r, 1));
        QW_JINJA_TRY(path_step(r, &at, &key, fallback));
        start = dot + 1;
    }
    *out = at;
    return QW_OK;
}

// ---- arguments of built-ins

const qw_jinja_builtin *qw_jinja_find_builtin(const qw_jinja_builtin *table, qw_str name)
{
    for (; table->name; table++)
        if (qw_str_is(name, table->name)) return table;
    return NULL;
}

// The next word of a parameter list, without its "?".
static bool next_param(const char **list, qw_str *name, bool *optional)
{
    const char *p = *list;
    while (*p == ' ') p++;
    if (!*p) return false;
    const char *end = p;
    while (*end && *end != ' ' && *end != '?') end++;
    *name = (qw_str){p, (size_t)(end - p)};
    *optional = *end == '?';
    *list = end + (*end == '?');
    return true;
}

static qw_status bind_params(qw_jinja_run *r, const qw_jinja_builtin *b, qw_jinja_args *args)
{
    const char *list = b->params;
    qw_str name;
    bool optional;
    size_t n = 0, n_used = 0;
    while (next_param(&list, &name, &optional)) {
        qw_jinja_value *slot = &args->v[n];
        *slot = (qw_jinja_value){.kind = QW_JINJA_ABSENT};
        if (n < args->n_pos) *slot = args->pos[n];
        for (size_t i = 0; i < args->n_kw; i++) {
            if (!qw_str_eq(args->kw[i].name, name)) continue;
            if (slot->kind != QW_JINJA_ABSENT)
                return qw_jinja_fail(r, "%s() got multiple values for argument '%.*s'", b->name,
                                     (int)name.len, name.ptr);
            *slot = args->kw[i].value;
            n_used++;
        }
        if (slot->kind == QW_JINJA_ABSENT && !optional)
            return qw_jinja_fail(r, "%s() is missing the argument '%.*s'", b->name, (int)name.len,
                                 name.ptr);
        n++;
    }
    if (args->n_pos > n)
        return qw_jinja_fail(r, "%s() takes at most %zu arguments, got %zu", b->name, n,
                             args->n_pos);
    if (n_used == args->n_kw) return QW_OK;
    for (size_t i = 0; i < args->n_kw; i++) { // name one that was not used
        bool known = false;
        for (list = b->params; next_param(&list, &name, &optional);)
            known = known || qw_str_eq(name, args->kw[i].name);
        if (!known)
            return qw_jinja_fail(r, "%s() got an unexpected keyword argument '%.*s'", b->name,
                                 (int)args->kw[i].name.len, args->kw[i].name.ptr);
    }
    return QW_OK;
}

qw_status qw_jinja_call_builtin(qw_jinja_run *r, const qw_jinja_builtin *b,
                                const qw_jinja_value *self, const qw_jinja_args *args,
                                qw_jinja_value *out)
{
    qw_jinja_args bound = *args;
    QW_JINJA_TRY(qw_jinja_step(r, 1));
    if (b->params) QW_JINJA_TRY(bind_params(r, b, &bound));
    return b->fn(r, self, &bound, out);
}

qw_status qw_jinja_arg_str(qw_jinja_run *r, const qw_jinja_value *v, const char *what, qw_str *out)
{
    if (v->kind == QW_JINJA_ABSENT) return QW_OK;
    if (v->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, v);
    if (v->kind != QW_JINJA_STRING)
        return qw_jinja_fail(r, "%s must be str, not %s", what, qw_jinja_type_name(v));
    *out = v->str;
    return QW_OK;
}

qw_status qw_jinja_arg_int(qw_jinja_run *r, const qw_jinja_value *v, const char *what, int64_t *out)
{
    if (v->kind == QW_JINJA_ABSENT) return QW_OK;
    if (v->kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, v);
    if (!qw_jinja_is_integral(v))
        return qw_jinja_fail(r, "%s must be int, not %s", what, qw_jinja_type_name(v));
    *out = qw_jinja_as_int(v);
    return QW_OK;
}
