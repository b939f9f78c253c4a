#include "format/checkpoint.h"

#include <dirent.h>
#include <errno.h>

#include "base/log.h"
#include "format/json.h"

static const char single_file[] = "model.safetensors";
static const char index_file[] = "model.safetensors.index.json";

// Where the index says a tensor lies. Strings are borrowed from the index.
typedef struct mapping {
    qw_str tensor;
    uint32_t shard;
    bool found;
} mapping;

// What is needed only while opening.
typedef struct loader {
    qw_checkpoint c;
    mapping *mappings; /* of the index; NULL without one */
    size_t n_mappings;
    qw_map mapping_of; /* tensor name -> mappings[] */
    const char *dir;
    const char *index; /* its name */
} loader;

static void release_loader(loader *l)
{
    qw_mem_free(l->mappings);
    l->mappings = NULL;
    qw_map_release(&l->mapping_of);
}

// ---- one shard ----

// "shard 3 of 15, 'DIR/x.safetensors'", or only the path when there is one file.
static qw_status shard_context(const loader *l, size_t i, qw_status st, qw_error *err)
{
    const char *name = l->c.shards[i].name;
    if (l->c.n_shards == 1) return qw_context(err, st, "'%.200s/%.100s'", l->dir, name);
    return qw_context(err, st, "shard %zu of %zu, '%.200s/%.100s'", i + 1, l->c.n_shards, l->dir,
                      name);
}

static qw_status open_shard(loader *l, size_t i, qw_error *err)
{
    qw_checkpoint_shard *shard = &l->c.shards[i];
    char *path = qw_file_join(l->dir, shard->name);
    if (!path) return qw_fail_memory(err, strlen(l->dir), "a path");
    qw_file file;
    qw_status st = qw_file_open(&file, path, err);
    if (st == QW_ERR_IO && !qw_file_exists(path))
        st = qw_fail(err, QW_ERR_IO,
                     "cannot be opened: no such file, or not a regular one; the download looks "
                     "incomplete");
    qw_mem_free(path);
    if (st != QW_OK) return shard_context(l, i, st, err);
    st = qw_safetensors_parse(&shard->file, file.data, (size_t)file.size, err);
    if (st != QW_OK) {
        qw_file_close(&file);
        return shard_context(l, i, st, err);
    }
    shard->file.file = file;
    shard->size = file.size;
    shard->mtime_ns = file.mtime_ns;
    return QW_OK;
}

// ---- the index ----

static bool is_plain_name(const char *name, size_t len)
{
    return len > 0 && strlen(name) == len && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The distinct file names of the index, ascending, become the shards. Borrows from `weight_map`.
static qw_status collect_shards(loader *l, const json_t *weight_map, qw_error *err)
{
    size_t n = 0, n_max = json_object_size(weight_map);
    const char **names = qw_mem_array(n_max, sizeof *names);
    if (!names) return qw_fail_memory(err, n_max * sizeof *names, "the weight index");
    qw_map seen;
    qw_map_init(&seen);
    qw_status st = QW_OK;
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)weight_map, tensor, value)
    {
        const char *name = json_string_value(value);
        bool known;
        if (!name || !is_plain_name(name, json_string_length(value))) {
            st = qw_fail(err, QW_ERR_FORMAT,
                         "tensor '%.120s': its file must be a plain file name in the same folder, "
                         "got '%.120s'",
                         tensor, name ? name : qw_json_type_name(value));
            goto out;
        }
        st = qw_map_put(&seen, qw_str_of(name), 0, &known, err);
        if (st != QW_OK) goto out;
        if (!known) names[n++] = name;
    }
    qsort(names, n, sizeof *names, compare_names);
    l->c.shards = qw_arena_array(&l->c.arena, n, sizeof *l->c.shards);
    if (!l->c.shards) {
        st = qw_fail_memory(err, n * sizeof *l->c.shards, "the shard table");
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        l->c.shards[i].name = qw_arena_strndup(&l->c.arena, names[i], strlen(names[i]));
        if (!l->c.shards[i].name) {
            st = qw_fail_memory(err, strlen(names[i]), "a shard's name");
            goto out;
        }
    }
    l->c.n_shards = n;
out:
    qw_map_release(&seen);
    qw_mem_free(names);
    return st;
}

static qw_status collect_mappings(loader *l, const json_t *weight_map, qw_error *err)
{
    qw_map shard_of; // file name -> shards[]
    qw_map_init(&shard_of);
    qw_status st = QW_OK;
    for (size_t i = 0; st == QW_OK && i < l->c.n_shards; i++)
        st = qw_map_put(&shard_of, qw_str_of(l->c.shards[i].name), (uint32_t)i, NULL, err);
    size_t n = json_object_size(weight_map);
    l->mappings = qw_mem_calloc(n, sizeof *l->mappings);
    if (st == QW_OK && !l->mappings) st = qw_fail_memory(err, n, "the weight index");
    const char *tensor;
    size_t tensor_len;
    json_t *value;
    json_object_keylen_foreach((json_t *)(uintptr_t)weight_map, tensor, tensor_len, value)
    {
        if (st != QW_OK) break;
        mapping *m = &l->mappings[l->n_mappings];
        m->tensor = (qw_str){tensor, tensor_len};
        bool known = qw_map_get(&shard_of, qw_json_str(value), &m->shard);
        QW_ASSERT(known);
        st = qw_map_put(&l->mapping_of, m->tensor, (uint32_t)l->n_mappings++, NULL, err);
    }
    qw_map_release(&shard_of);
    return st;
}

// Ascend checkpoints of Qwen3-Omni have the map itself at the top.
static const json_t *find_weight_map(const loader *l, const json_t *root)
{
    const json_t *map = json_object_get(root, "weight_map");
    return l->c.quant && !map ? root : map;
}

static qw_status read_index(loader *l, const json_t *root, qw_error *err)
{
    const json_t *weight_map = find_weight_map(l, root);
    if (!json_is_object(weight_map))
        return qw_fail(err, QW_ERR_FORMAT, "'weight_map' must be an object, got %s",
                       qw_json_type_name(weight_map));
    if (json_object_size(weight_map) == 0)
        return qw_fail(err, QW_ERR_FORMAT, "'weight_map' names no tensor");
    qw_status st = collect_shards(l, weight_map, err);
    if (st == QW_OK) st = collect_mappings(l, weight_map, err);
    return st;
}

// ---- all tensors ----

// True if the tensor counts: without an index all do, with one only where the index puts it.
static bool is_wanted(loader *l, size_t i_shard, const qw_stored_tensor *t)
{
    uint32_t i;
    if (!l->mappings) return true;
    if (!qw_map_get(&l->mapping_of, qw_str_of(t->name), &i)) return false;
    if (l->mappings[i].shard != i_shard) return false;
    l->mappings[i].found = true;
    return true;
}

static qw_status collect_tensors(loader *l, qw_error *err)
{
    qw_checkpoint *c = &l->c;
    size_t n_max = 0;
    for (size_t i = 0; i < c->n_shards; i++) n_max += c->shards[i].file.n_tensors;
    if (l->mappings && l->n_mappings < n_max) n_max = l->n_mappings;
    c->tensors = qw_arena_array(&c->arena, n_max, sizeof *c->tensors);
    if (!c->tensors) return qw_fail_memory(err, n_max * sizeof *c->tensors, "the tensor table");
    qw_status st = qw_map_reserve(&c->by_name, n_max, err);
    for (size_t i = 0; i < c->n_shards; i++) {
        const qw_safetensors *file = &c->shards[i].file;
        for (size_t k = 0; st == QW_OK && k < file->n_tensors; k++) {
            const qw_stored_tensor *t = &file->tensors[k];
            if (!is_wanted(l, i, t)) continue;
            bool was_there;
            st = qw_map_put(&c->by_name, qw_str_of(t->name), (uint32_t)c->n_tensors, &was_there,
                            err);
            if (st == QW_OK && was_there) {
                st = qw_fail(err, QW_ERR_FORMAT, "another file has tensor '%.120s' as well",
                             t->name);
                st = shard_context(l, i, st, err);
            }
            if (st != QW_OK) break;
            c->tensors[c->n_tensors++] = t;
            c->total_size += t->size;
        }
    }
    for (size_t i = 0; st == QW_OK && i < l->n_mappings; i++) {
        const mapping *m = &l->mappings[i];
        if (m->found) continue;
        st = qw_fail(err, QW_ERR_FORMAT, "has no tensor '%.120s', which '%s' puts there",
                     m->tensor.ptr, l->index);
        st = shard_context(l, m->shard, st, err);
    }
    return st;
}

static qw_status open_shards(loader *l, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; st == QW_OK && i < l->c.n_shards; i++) st = open_shard(l, i, err);
    if (st == QW_OK) st = collect_tensors(l, err);
    return st;
}

static qw_status open_indexed(loader *l, const char *index_path, qw_error *err)
{
    json_t *root;
    qw_status st = qw_json_load(&root, index_path, QW_SAFETENSORS_MAX_HEADER, err);
    if (st != QW_OK) return st;
    st = read_index(l, root, err);
    if (st != QW_OK)
        qw_context(err, st, "'%.300s'", index_path);
    else
        st = open_shards(l, err);
    json_decref(root);
    return st;
}

static qw_status open_files(loader *l, const char *const *names, size_t n, qw_error *err)
{
    l->c.shards = qw_arena_array(&l->c.arena, n, sizeof *l->c.shards);
    if (!l->c.shards) return qw_fail_memory(err, n * sizeof *l->c.shards, "the shard table");
    for (size_t i = 0; i < n; i++) l->c.shards[i].name = names[i];
    l->c.n_shards = n;
    return open_shards(l, err);
}

// ---- no weights ----

// Say what the directory holds instead, since that decides what to do about it.
static qw_status fail_without_weights(const char *dir, qw_error *err)
{
    DIR *d = opendir(dir);
    if (!d) return qw_fail(err, QW_ERR_IO, "cannot open directory '%s': %s", dir, strerror(errno));
    char pickle[256] = "", stray[256] = "";
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        qw_str name = qw_str_of(e->d_name);
        if (qw_str_ends_with(name, QW_STR(".bin")) || qw_str_ends_with(name, QW_STR(".pt")) ||
            qw_str_ends_with(name, QW_STR(".pth")))
            snprintf(pickle, sizeof pickle, "%s", e->d_name);
        if (qw_str_ends_with(name, QW_STR(".safetensors")))
            snprintf(stray, sizeof stray, "%s", e->d_name);
    }
    closedir(d);
    if (*stray)
        return qw_fail(
            err, QW_ERR_IO,
            "'%.200s' has '%.100s' but neither '%s' nor '%s'; the download looks incomplete", dir,
            stray, index_file, single_file);
    if (*pickle)
        return qw_fail(
            err, QW_ERR_UNSUPPORTED,
            "'%.150s' has only pickled weights ('%.100s'), which are not read because they "
            "can run code; convert them with Python's transformers: "
            "AutoModelForCausalLM.from_pretrained(DIR, torch_dtype='auto')"
            ".save_pretrained(NEW_DIR)",
            dir, pickle);
    return qw_fail(err, QW_ERR_IO, "no weights in '%.300s': neither '%s' nor '%s'", dir, index_file,
                   single_file);
}

// ---- ascend checkpoints ----

typedef struct name_list {
    const char **names; /* of the loader's arena */
    size_t n, cap;
} name_list;

static bool add_name(name_list *list, loader *l, const char *name)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 16;
        const char **names = qw_mem_realloc(list->names, cap * sizeof *names);
        if (!names) return false;
        list->names = names;
        list->cap = cap;
    }
    list->names[list->n] = qw_arena_strndup(&l->c.arena, name, strlen(name));
    return list->names[list->n++] != NULL;
}

// Those of the quantizer, quant_*, before what may be left of the model that it read.
static int compare_quantized(const void *a, const void *b)
{
    const char *s = *(const char *const *)a, *t = *(const char *const *)b;
    int s_quant = strncmp(s, "quant_", 6) == 0, t_quant = strncmp(t, "quant_", 6) == 0;
    return s_quant != t_quant ? t_quant - s_quant : strcmp(s, t);
}

static qw_status list_files(loader *l, name_list *indexes, name_list *files, qw_error *err)
{
    DIR *d = opendir(l->dir);
    if (!d)
        return qw_fail(err, QW_ERR_IO, "cannot open directory '%s': %s", l->dir, strerror(errno));
    bool ok = true;
    for (const struct dirent *e; ok && (e = readdir(d)) != NULL;) {
        qw_str name = qw_str_of(e->d_name);
        if (qw_str_ends_with(name, QW_STR(".safetensors.index.json")))
            ok = add_name(indexes, l, e->d_name);
        else if (qw_str_ends_with(name, QW_STR(".safetensors")))
            ok = add_name(files, l, e->d_name);
    }
    closedir(d);
    if (!ok) return qw_fail_memory(err, 0, "the list of weight files");
    if (indexes->n > 0)
        qsort(indexes->names, indexes->n, sizeof *indexes->names, compare_quantized);
    if (files->n > 0) qsort(files->names, files->n, sizeof *files->names, compare_names);
    return QW_OK;
}

// The first file of the index that is not there; NULL: all are.
static const char *missing_file(const json_t *weight_map, const name_list *files)
{
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)weight_map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (!name) continue; // read_index tells
        if (!bsearch(&name, files->names, files->n, sizeof name, compare_names)) return name;
    }
    return NULL;
}

// Open by the index if its files are there; `used` tells.
static qw_status try_index(loader *l, const char *name, const name_list *files, bool *used,
                           qw_error *err)
{
    json_t *root = NULL;
    char *path = qw_file_join(l->dir, name);
    qw_status st = path ? qw_json_load(&root, path, QW_SAFETENSORS_MAX_HEADER, err)
                        : qw_fail_memory(err, strlen(l->dir), "a path");
    const char *missing = st == QW_OK ? missing_file(find_weight_map(l, root), files) : NULL;
    *used = !missing;
    if (missing)
        QW_LOG(QW_LOG_WARN, "checkpoint", "not using '%s': it names '%s', which is not there", path,
               missing);
    json_decref(root);
    if (st == QW_OK && *used) {
        l->index = name;
        st = open_indexed(l, path, err);
    }
    qw_mem_free(path);
    return st;
}

static qw_status open_quantized(loader *l, qw_error *err)
{
    name_list indexes = {0}, files = {0};
    bool used = false;
    qw_status st = list_files(l, &indexes, &files, err);
    for (size_t i = 0; st == QW_OK && !used && i < indexes.n; i++)
        st = try_index(l, indexes.names[i], &files, &used, err);
    if (st == QW_OK && !used)
        st = files.n > 0 ? open_files(l, files.names, files.n, err)
                         : fail_without_weights(l->dir, err);
    qw_mem_free(indexes.names);
    qw_mem_free(files.names);
    return st;
}

static qw_status open_description(loader *l, bool *found, qw_error *err)
{
    char *file;
    qw_status st = qw_quant_description_find(&file, found, l->dir, err);
    if (st != QW_OK || !*found) return st;
    l->c.quant = qw_mem_calloc(1, sizeof *l->c.quant);
    st = l->c.quant ? qw_quant_description_load(l->c.quant, l->dir, file, err)
                    : qw_fail_memory(err, sizeof *l->c.quant, "the quantization description");
    qw_mem_free(file);
    return st;
}

static qw_status open_plain(loader *l, qw_error *err)
{
    const char *const single = single_file;
    char *index_path = qw_file_join(l->dir, index_file);
    char *single_path = qw_file_join(l->dir, single_file);
    qw_status st;
    if (!index_path || !single_path)
        st = qw_fail_memory(err, strlen(l->dir), "a path");
    else if (qw_file_exists(index_path))
        st = open_indexed(l, index_path, err);
    else if (qw_file_exists(single_path))
        st = open_files(l, &single, 1, err);
    else
        st = fail_without_weights(l->dir, err);
    qw_mem_free(single_path);
    qw_mem_free(index_path);
    return st;
}

qw_status qw_checkpoint_open(qw_checkpoint *out, const char *dir, qw_error *err)
{
    loader l = {.dir = dir, .index = index_file};
    qw_arena_init(&l.c.arena, 1 << 16);
    qw_map_init(&l.c.by_name);
    qw_map_init(&l.mapping_of);
    bool is_quantized;
    qw_status st = open_description(&l, &is_quantized, err);
    if (st == QW_OK) st = is_quantized ? open_quantized(&l, err) : open_plain(&l, err);
    release_loader(&l);
    if (st == QW_OK)
        *out = l.c;
    else
        qw_checkpoint_close(&l.c);
    return st;
}

void qw_checkpoint_close(qw_checkpoint *c)
{
    for (size_t i = 0; i < c->n_shards; i++) qw_safetensors_close(&c->shards[i].file);
    if (c->quant) qw_quant_description_release(c->quant);
    qw_mem_free(c->quant);
    qw_map_release(&c->by_name);
    qw_arena_release(&c->arena);
    *c = (qw_checkpoint){0};
}

const qw_stored_tensor *qw_checkpoint_find(const qw_checkpoint *c, const char *name)
{
    uint32_t i;
    return qw_map_get(&c->by_name, qw_str_of(name), &i) ? c->tensors[i] : NULL;
}
