#define XXH_STATIC_LINKING_ONLY
#include "format/quant_description.h"

#include <dirent.h>
#include <errno.h>
#include <xxhash.h>

#include "base/file.h"
#include "format/json.h"

enum { MAX_SIZE = 1 << 28 };

static const char standard_file[] = "quant_model_description.json";

static const char *const type_names[QW_QUANT_OTHER + 1] = {
    [QW_QUANT_FLOAT] = "FLOAT",
    [QW_QUANT_W8A8] = "W8A8",
    [QW_QUANT_W8A8_DYNAMIC] = "W8A8_DYNAMIC",
    [QW_QUANT_W8A8_MIX] = "W8A8_MIX",
    [QW_QUANT_W8A16] = "W8A16",
    [QW_QUANT_W4A16] = "W4A16",
    [QW_QUANT_W4A8_DYNAMIC] = "W4A8_DYNAMIC",
    [QW_QUANT_W4A4_DYNAMIC] = "W4A4_DYNAMIC",
    [QW_QUANT_W4A4_FLATQUANT_DYNAMIC] = "W4A4_FLATQUANT_DYNAMIC",
    [QW_QUANT_C8] = "C8",
    [QW_QUANT_OTHER] = "another type",
};

const char *qw_quant_type_name(qw_quant_type type)
{
    return type_names[type];
}

static qw_quant_type type_of(qw_str text)
{
    for (int t = 0; t < QW_QUANT_OTHER; t++)
        if (qw_str_is(text, type_names[t])) return (qw_quant_type)t;
    return QW_QUANT_OTHER;
}

// ---- names ----

static qw_str without_prefix(qw_str s, qw_str prefix)
{
    if (!qw_str_starts_with(s, prefix)) return s;
    return (qw_str){s.ptr + prefix.len, s.len - prefix.len};
}

// The one spelling under which an entry is kept and looked up. Borrows from `name`.
static qw_str plain_name(qw_str name)
{
    name = without_prefix(name, QW_STR("thinker."));
    qw_str inner = without_prefix(name, QW_STR("language_model."));
    if (qw_str_starts_with(inner, QW_STR("lm_head."))) name = inner;
    qw_str packed = QW_STR("_packed");
    if (qw_str_ends_with(name, QW_STR(".weight_packed"))) name.len -= packed.len;
    return name;
}

// ---- parsing ----

static bool is_weight(qw_str name)
{
    return qw_str_ends_with(name, QW_STR(".weight"));
}

// A member that has to do with the whole model, bare or under "thinker.".
static const json_t *global(const json_t *root, const char *key)
{
    char prefixed[64];
    snprintf(prefixed, sizeof prefixed, "thinker.%s", key);
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v)) v = json_object_get(root, prefixed);
    return v && !json_is_null(v) ? v : NULL;
}

static bool is_global_text(const json_t *root, const char *key, const char *want)
{
    const json_t *v = global(root, key);
    return json_is_string(v) && qw_str_is(qw_json_str(v), want);
}

static qw_status read_globals(qw_quant_description *d, const json_t *root, qw_error *err)
{
    const json_t *version = global(root, "version");
    if (json_is_string(version)) {
        d->version =
            qw_arena_strndup(&d->arena, json_string_value(version), json_string_length(version));
        if (!d->version) return qw_fail_memory(err, json_string_length(version), "a version");
    } else if (version) {
        return qw_fail(err, QW_ERR_FORMAT, "'version' must be a string, got %s",
                       qw_json_type_name(version));
    }
    d->group_size = -1;
    const json_t *group = global(root, "group_size");
    if (json_is_integer(group) && json_integer_value(group) >= 0 &&
        json_integer_value(group) <= INT32_MAX)
        d->group_size = json_integer_value(group);
    else if (group)
        return qw_fail(err, QW_ERR_FORMAT, "'group_size' must be a whole number from 0, got %s",
                       json_is_integer(group) ? "another one" : qw_json_type_name(group));
    d->has_kv_scales =
        is_global_text(root, "kv_cache_type", "C8") || is_global_text(root, "kv_quant_type", "C8");
    return QW_OK;
}

static qw_status add_entry(qw_quant_description *d, qw_str name, const json_t *value, qw_error *err)
{
    qw_str plain = plain_name(name);
    if (!json_is_string(value)) {
        if (!is_weight(plain)) return QW_OK; // about the whole model, or nothing we know
        return qw_fail(err, QW_ERR_FORMAT, "'%.200s' must be a string that names its type, got %s",
                       name.ptr, qw_json_type_name(value));
    }
    qw_quant_entry e = {.type = type_of(qw_json_str(value))};
    uint32_t i;
    if (qw_map_get(&d->by_name, plain, &i)) { // under another spelling
        if (!is_weight(plain) || strcmp(d->entries[i].text, json_string_value(value)) == 0)
            return QW_OK;
        return qw_fail(err, QW_ERR_FORMAT, "'%.200s' stands there twice, as %.60s and as %.60s",
                       name.ptr, d->entries[i].text, json_string_value(value));
    }
    char *key = qw_arena_strndup(&d->arena, plain.ptr, plain.len);
    e.text = e.type < QW_QUANT_OTHER
                 ? type_names[e.type]
                 : qw_arena_strndup(&d->arena, json_string_value(value), json_string_length(value));
    if (!key || !e.text) return qw_fail_memory(err, plain.len, "the quantization description");
    d->entries[d->n_entries] = e;
    return qw_map_put(&d->by_name, (qw_str){key, plain.len}, (uint32_t)d->n_entries++, NULL, err);
}

static qw_status read_root(qw_quant_description *d, const json_t *root, qw_error *err)
{
    if (!json_is_object(root))
        return qw_fail(err, QW_ERR_FORMAT, "must hold a JSON object, not %s",
                       qw_json_type_name(root));
    qw_status st = read_globals(d, root, err);
    size_t n = json_object_size(root);
    d->entries = qw_arena_array(&d->arena, n, sizeof *d->entries);
    if (!d->entries) return qw_fail_memory(err, n, "the quantization description");
    if (st == QW_OK) st = qw_map_reserve(&d->by_name, n, err);
    const char *name;
    size_t len;
    json_t *value;
    json_object_keylen_foreach((json_t *)(uintptr_t)root, name, len, value)
    {
        if (st != QW_OK) break;
        st = add_entry(d, (qw_str){name, len}, value, err);
    }
    return st;
}

qw_status qw_quant_description_parse(qw_quant_description *out, const char *text, size_t len,
                                     qw_error *err)
{
    qw_quant_description d = {0};
    qw_arena_init(&d.arena, 1 << 16);
    qw_map_init(&d.by_name);
    XXH128_hash_t hash = XXH3_128bits(text, len);
    d.hash[0] = hash.low64;
    d.hash[1] = hash.high64;
    json_t *root = NULL;
    qw_status st = qw_json_parse(&root, text, len, "the quantization description", err);
    if (st == QW_OK) st = read_root(&d, root, err);
    json_decref(root);
    if (st == QW_OK)
        *out = d;
    else
        qw_quant_description_release(&d);
    return st;
}

qw_status qw_quant_description_load(qw_quant_description *out, const char *dir, const char *file,
                                    qw_error *err)
{
    char *path = qw_file_join(dir, file);
    if (!path) return qw_fail_memory(err, strlen(dir), "a path");
    qw_buf text;
    qw_buf_init(&text, MAX_SIZE);
    qw_status st = qw_file_read(&text, path, err);
    if (st == QW_OK) {
        st = qw_quant_description_parse(out, text.data ? text.data : "", text.len, err);
        if (st != QW_OK) qw_context(err, st, "'%.300s'", path);
    }
    qw_buf_release(&text);
    if (st == QW_OK) {
        out->file = qw_arena_strndup(&out->arena, file, strlen(file));
        if (!out->file) {
            qw_quant_description_release(out);
            st = qw_fail_memory(err, strlen(file), "a file's name");
        }
    }
    qw_mem_free(path);
    return st;
}

void qw_quant_description_release(qw_quant_description *d)
{
    qw_map_release(&d->by_name);
    qw_arena_release(&d->arena);
    *d = (qw_quant_description){0};
}

// ---- looking up ----

const qw_quant_entry *qw_quant_description_entry(const qw_quant_description *d, const char *name)
{
    uint32_t i;
    return qw_map_get(&d->by_name, plain_name(qw_str_of(name)), &i) ? &d->entries[i] : NULL;
}

static qw_status fail_several(const char *dir, const char *a, const char *b, qw_error *err)
{
    return qw_fail(err, QW_ERR_FORMAT,
                   "'%.200s' has several quantization descriptions ('%.100s' and '%.100s') and no "
                   "'%s'; keep the one that belongs to the weights",
                   dir, a, b, standard_file);
}

qw_status qw_quant_description_find(char **out, bool *found, const char *dir, qw_error *err)
{
    *out = NULL;
    *found = false;
    DIR *d = opendir(dir);
    if (!d) return qw_fail(err, QW_ERR_IO, "cannot open directory '%s': %s", dir, strerror(errno));
    char name[256] = "", other[256] = "";
    bool is_standard = false;
    for (const struct dirent *e; !is_standard && (e = readdir(d)) != NULL;) {
        qw_str s = qw_str_of(e->d_name);
        is_standard = qw_str_is(s, standard_file);
        bool is_typed = qw_str_starts_with(s, QW_STR("quant_model_description_")) &&
                        qw_str_ends_with(s, QW_STR(".json"));
        if (is_standard || (is_typed && !*name))
            snprintf(name, sizeof name, "%s", e->d_name);
        else if (is_typed)
            snprintf(other, sizeof other, "%s", e->d_name);
    }
    closedir(d);
    if (!is_standard && *other) return fail_several(dir, name, other, err);
    if (!*name) return QW_OK;
    *found = true;
    *out = qw_mem_strdup(name);
    return *out ? QW_OK : qw_fail_memory(err, strlen(name), "a file's name");
}
