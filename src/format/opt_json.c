#include "format/opt_json.h"

#define MAX_LEVELS 64

static qw_status no_memory(const char *name, qw_error *err)
{
    return qw_fail(err, QW_ERR_NO_MEMORY, "out of memory while reading --%s", name);
}

// One value as people type it: JSON, a human number, or else the text itself.
static qw_status read_value(json_t **out, qw_str text, const char *name, qw_error *err)
{
    if (!qw_utf8_is_valid(text))
        return qw_fail(err, QW_ERR_USAGE, "argument --%s: a value is not valid UTF-8", name);
    qw_error ignored;
    json_t *v = NULL;
    qw_status st = qw_json_parse(&v, text.ptr, text.len, name, &ignored);
    if (st == QW_ERR_NO_MEMORY) return no_memory(name, err);
    int64_t number;
    if (st != QW_OK)
        v = qw_opt_human_int(text, &number) ? json_integer(number)
                                            : json_stringn(text.ptr, text.len);
    if (!v) return no_memory(name, err);
    *out = v;
    return QW_OK;
}

// Append the comma-separated items of `text`, or those of the JSON list that it is.
static qw_status append_items(json_t *list, const char *text, const char *name, qw_error *err)
{
    json_t *whole = NULL;
    qw_status st = read_value(&whole, qw_str_of(text), name, err);
    if (st != QW_OK) return st;
    if (json_is_array(whole)) {
        int failed = json_array_extend(list, whole);
        json_decref(whole);
        return failed ? no_memory(name, err) : QW_OK;
    }
    json_decref(whole);
    for (const char *p = text;; p++) {
        qw_str item = {p, strcspn(p, ",")};
        json_t *v = NULL;
        st = read_value(&v, item, name, err);
        if (st != QW_OK) return st;
        if (json_array_append_new(list, v) != 0) return no_memory(name, err);
        p += item.len;
        if (*p == '\0') return QW_OK;
    }
}

// The member `key` of `object`; made as an empty object or list when missing. Borrowed.
static qw_status enter(json_t **out, json_t *object, qw_str key, bool as_list,
                       const qw_opt_assign *a, const char *name, qw_error *err)
{
    json_t *member = json_object_getn(object, key.ptr, key.len);
    if (!member) {
        member = as_list ? json_array() : json_object();
        if (json_object_setn_new(object, key.ptr, key.len, member) != 0)
            return no_memory(name, err);
    }
    if (as_list ? !json_is_array(member) : !json_is_object(member))
        return qw_fail(err, QW_ERR_USAGE, "argument --%s.%s: '%.*s' is already set to %s, not %s",
                       name, a->path, (int)key.len, key.ptr, qw_json_type_name(member),
                       as_list ? "a list" : "an object");
    *out = member;
    return QW_OK;
}

static qw_status assign(json_t *root, const qw_opt_assign *a, const char *name, qw_error *err)
{
    json_t *object = root;
    const char *p = a->path;
    qw_str key = {p, strcspn(p, ".")};
    if (!qw_utf8_is_valid(qw_str_of(a->path)))
        return qw_fail(err, QW_ERR_USAGE, "argument --%s: a key is not valid UTF-8", name);
    for (int level = 1;; level++) {
        if (key.len == 0 || level > MAX_LEVELS)
            return qw_fail(err, QW_ERR_USAGE, "argument --%s: '%.100s' %s", name, a->path,
                           key.len ? "has too many levels" : "has an empty key");
        if (key.ptr[key.len] == '\0') break;
        qw_status st = enter(&object, object, key, false, a, name, err);
        if (st != QW_OK) return st;
        p = key.ptr + key.len + 1;
        key = (qw_str){p, strcspn(p, ".")};
    }
    json_t *v = NULL;
    if (a->append) {
        qw_status st = enter(&v, object, key, true, a, name, err);
        return st == QW_OK ? append_items(v, a->value, name, err) : st;
    }
    qw_status st = read_value(&v, qw_str_of(a->value), name, err);
    if (st != QW_OK) return st;
    return json_object_setn_new(object, key.ptr, key.len, v) == 0 ? QW_OK : no_memory(name, err);
}

qw_status qw_opt_json_merge(json_t **out, const qw_opt_json *value, const char *name, qw_error *err)
{
    json_t *root = NULL;
    if (value->text) {
        char what[160];
        snprintf(what, sizeof what, "argument --%s", name);
        qw_status st = qw_json_parse(&root, value->text, strlen(value->text), what, err);
        if (st != QW_OK) {
            if (st == QW_ERR_NO_MEMORY) return st;
            if (err) err->code = QW_ERR_USAGE;
            return QW_ERR_USAGE;
        }
        if (!json_is_object(root)) {
            qw_fail(err, QW_ERR_USAGE, "%s: expected a JSON object, got %s", what,
                    qw_json_type_name(root));
            json_decref(root);
            return QW_ERR_USAGE;
        }
    } else {
        root = json_object();
        if (!root) return no_memory(name, err);
    }
    for (size_t i = 0; i < value->n_assigns; i++) {
        qw_status st = assign(root, &value->assigns[i], name, err);
        if (st != QW_OK) {
            json_decref(root);
            return st;
        }
    }
    *out = root;
    return QW_OK;
}
