#include "format/tokenizer.h"

#include "base/log.h"
#include "base/mem.h"
#include "format/cache_file.h"
#include "format/cache_path.h"
#include "format/tokenizer_internal.h"

// Parsing 11 MB of JSON takes half a second, hashing it a few milliseconds. So the image that was
// once built from tokenizer.json is kept in a file that the next start maps. One file per model
// directory, named after its real path; whether it still fits is decided by the hashes of both
// source files, which the image carries, not by their dates.

typedef struct sources {
    qw_file json, config;
    qw_str json_text, config_text;
    bool has_config;
} sources;

static void sources_close(sources *s)
{
    qw_file_close(&s->config);
    qw_file_close(&s->json);
}

static qw_status open_source(qw_file *file, qw_str *text, const char *dir, const char *name,
                             bool *exists, qw_error *err)
{
    char *path = qw_file_join(dir, name);
    if (!path) return qw_fail_memory(err, strlen(dir), "a path");
    qw_status st = QW_OK;
    *exists = qw_file_exists(path);
    if (*exists) st = qw_file_open(file, path, err);
    *text = (qw_str){file->data ? (const char *)file->data : "", (size_t)file->size};
    qw_mem_free(path);
    return st;
}

static qw_status sources_open(sources *s, const char *dir, qw_error *err)
{
    if (!qw_file_is_dir(dir))
        return qw_fail(err, QW_ERR_IO, "no tokenizer in '%s': there is no such directory", dir);
    bool has_json;
    qw_status st = open_source(&s->json, &s->json_text, dir, "tokenizer.json", &has_json, err);
    if (st == QW_OK && !has_json)
        st = qw_fail(err, QW_ERR_IO,
                     "no tokenizer in '%s': tokenizer.json is missing; use --prompt-ids", dir);
    if (st == QW_OK)
        st = open_source(&s->config, &s->config_text, dir, "tokenizer_config.json", &s->has_config,
                         err);
    return st;
}

static bool same_source(const qw_tokenizer_source *a, const qw_str *content)
{
    qw_tokenizer_source b = qw_tokenizer_source_of(content);
    return a->size == b.size && a->hash[0] == b.hash[0] && a->hash[1] == b.hash[1];
}

// The tokenizer from the cache file, if it is sound and was made from these sources.
static qw_status read_cache(qw_tokenizer **out, const char *path, const sources *s, qw_error *err)
{
    qw_file cache;
    qw_status st = qw_file_open(&cache, path, err);
    if (st != QW_OK) return st;
    qw_tokenizer *t = NULL;
    st = qw_tokenizer_from_cache(&t, &cache, err);
    if (st != QW_OK) {
        qw_file_close(&cache);
        return st;
    }
    const qw_tokenizer_header *h = t->view.header;
    if (!same_source(&h->json, &s->json_text) ||
        !same_source(&h->config, s->has_config ? &s->config_text : NULL)) {
        qw_tokenizer_close(t);
        return qw_fail(err, QW_ERR_FORMAT, "it was made from other files");
    }
    *out = t;
    return QW_OK;
}

static qw_status write_cache(const char *path, const void *image, size_t size, qw_error *err)
{
    qw_file_writer w;
    qw_status st = qw_cache_file_create(&w, path, err);
    if (st != QW_OK) return st;
    st = qw_file_writer_append(&w, image, size, err);
    if (st == QW_OK) return qw_cache_file_commit(&w, err);
    qw_file_writer_abort(&w);
    return st;
}

static void take_note(qw_error *note, const char *what, const char *path, const qw_error *why)
{
    *note = *why;
    (void)qw_context(note, why->code, "%s '%s'", what, path);
    QW_LOG(QW_LOG_INFO, "tokenizer_cache", "%s", note->text);
}

// Compile the sources, keep the result in the cache file (unless path is NULL), and use it.
static qw_status build(qw_tokenizer **out, const sources *s, const char *path, qw_error *note,
                       qw_error *err)
{
    void *image;
    size_t size;
    qw_status st = qw_tokenizer_compile(&image, &size, &s->json_text,
                                        s->has_config ? &s->config_text : NULL, err);
    if (st != QW_OK) return st;
    qw_tokenizer *t;
    st = qw_tokenizer_from_image(&t, image, size, err);
    if (st != QW_OK) return st;
    qw_error why;
    if (path && write_cache(path, image, size, &why) != QW_OK)
        take_note(note, "the tokenizer's cache is not kept in", path, &why);
    *out = t;
    return QW_OK;
}

qw_status qw_tokenizer_open(qw_tokenizer **out, const char *model_dir, const char *cache_dir,
                            qw_error *err)
{
    sources s = {0};
    char *path = NULL;
    qw_tokenizer *t = NULL;
    qw_error why, note = {QW_OK, ""};
    qw_status st = sources_open(&s, model_dir, err);
    if (st == QW_OK && cache_dir)
        st = qw_cache_path(&path, cache_dir, model_dir, QW_STR(""), "qwtok", err);
    if (st != QW_OK) goto out;
    if (path && qw_file_exists(path) && read_cache(&t, path, &s, &why) != QW_OK)
        take_note(&note, "rebuilt the tokenizer's cache", path, &why);
    if (!t) st = build(&t, &s, path, &note, err);
    if (st != QW_OK) {
        st = qw_context(err, st, "reading '%s/tokenizer.json'", model_dir);
        goto out;
    }
    t->note = note;
    *out = t;
out:
    qw_mem_free(path);
    sources_close(&s);
    return st;
}
