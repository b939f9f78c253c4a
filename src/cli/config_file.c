#include "cli/config_file.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/yaml_reader.h"

/** A mapping is read event by event: nothing of it is kept but the option being read. */
typedef struct reader {
    qw_yaml_reader yaml;
    qw_opts *opts;
} reader;

// A value as it would be typed on the command line.
static qw_status value_text(reader *r, const json_t *v, qw_buf *out)
{
    if (json_is_string(v))
        qw_buf_append(out, json_string_value(v), json_string_length(v));
    else
        qw_json_write(out, v, false);
    if (json_is_string(v) && strlen(json_string_value(v)) != json_string_length(v))
        return qw_fail(r->yaml.err, QW_ERR_USAGE, "config file '%.200s': a text holds a NUL",
                       r->yaml.name);
    return qw_buf_check(out, "a value of the config file", r->yaml.err);
}

static qw_status apply(reader *r, const char *key, const json_t *v)
{
    if (json_is_null(v)) return QW_OK;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n == 0) return QW_OK;
    qw_arena arena;
    qw_arena_init(&arena, 4096);
    const char **texts = qw_arena_array(&arena, n, sizeof *texts);
    qw_buf text;
    qw_buf_init(&text, (size_t)QW_YAML_MAX_SIZE * 4);
    qw_status st =
        texts ? QW_OK : qw_fail_memory(r->yaml.err, n * sizeof *texts, "the config file");
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        qw_buf_clear(&text);
        st = value_text(r, json_is_array(v) ? json_array_get(v, i) : v, &text);
        if (st != QW_OK) break;
        texts[i] = qw_arena_strndup(&arena, text.data ? text.data : "", text.len);
        if (!texts[i]) st = qw_fail_memory(r->yaml.err, text.len, "the config file");
    }
    if (st == QW_OK) st = qw_opts_apply_config(r->opts, key, texts, n, r->yaml.err);
    qw_buf_release(&text);
    qw_arena_release(&arena);
    return st;
}

static qw_status read_option(reader *r)
{
    if (r->yaml.event.type != YAML_SCALAR_EVENT)
        return qw_yaml_fail(&r->yaml, &r->yaml.event.start_mark, "an option's name must be a text");
    yaml_mark_t mark = r->yaml.event.start_mark;
    qw_str s = qw_yaml_text(&r->yaml.event);
    char *key = qw_mem_strndup(s.ptr, s.len);
    if (!key) return qw_fail_memory(r->yaml.err, s.len, "the config file");
    json_t *value = NULL;
    qw_status st = qw_yaml_next(&r->yaml);
    if (st == QW_OK) st = qw_yaml_value(&r->yaml, &value, 1);
    if (st == QW_OK && strcmp(key, "config") == 0)
        st = qw_yaml_fail(&r->yaml, &mark, "a config file cannot name another one");
    else if (st == QW_OK) {
        st = apply(r, key, value);
        if (st == QW_ERR_USAGE)
            qw_context(r->yaml.err, st, "config file '%.200s' line %zu", r->yaml.name,
                       mark.line + 1);
    }
    json_decref(value);
    qw_mem_free(key);
    return st;
}

static qw_status read_document(reader *r)
{
    bool any;
    qw_status st = qw_yaml_begin(&r->yaml, &any, "expected options, NAME: VALUE on each line");
    if (st != QW_OK || !any) return st;
    for (;;) {
        st = qw_yaml_next(&r->yaml);
        if (st != QW_OK) return st;
        if (r->yaml.event.type == YAML_MAPPING_END_EVENT) return qw_yaml_end(&r->yaml);
        st = read_option(r);
        if (st != QW_OK) return st;
    }
}

qw_status qw_config_file_parse(qw_opts *o, const char *text, size_t len, const char *name,
                               qw_error *err)
{
    reader r = {.opts = o};
    qw_status st = qw_yaml_init(&r.yaml, text, len, "config file", name, err);
    if (st != QW_OK) return st;
    st = read_document(&r);
    qw_yaml_release(&r.yaml);
    return st;
}

qw_status qw_config_file_apply(qw_opts *o, const char *path, qw_error *err)
{
    const char *dot = strrchr(path, '.');
    const char *extension = dot ? dot + 1 : path;
    if (strcmp(extension, "yaml") != 0 && strcmp(extension, "yml") != 0)
        return qw_fail(err, QW_ERR_USAGE, "Config file must be of a yaml/yml type. %.100s supplied",
                       extension);
    qw_buf text;
    qw_buf_init(&text, QW_YAML_MAX_SIZE);
    qw_status st = qw_file_read(&text, path, err);
    if (st != QW_OK)
        st = qw_context(err, st, "--config");
    else
        st = qw_config_file_parse(o, text.data ? text.data : "", text.len, path, err);
    qw_buf_release(&text);
    return st;
}
