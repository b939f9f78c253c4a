#include "cli/config_file.h"

#include <strings.h>
#include <yaml.h>

#include "base/file.h"
#include "base/mem.h"
#include "format/json.h"

enum { MAX_SIZE = 1 << 20, MAX_LEVELS = 32 };

/** A mapping is read event by event: nothing of it is kept but the option being read. */
typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one at hand, if has_event */
    bool has_event;
    const char *name;
    qw_opts *opts;
    qw_error *err;
} reader;

static qw_status fail_at(reader *r, const yaml_mark_t *mark, const char *what)
{
    return qw_fail(r->err, QW_ERR_USAGE, "config file '%.200s' line %zu: %s", r->name,
                   mark->line + 1, what);
}

static void drop_event(reader *r)
{
    if (r->has_event) yaml_event_delete(&r->event);
    r->has_event = false;
}

static qw_status next(reader *r)
{
    drop_event(r);
    if (yaml_parser_parse(&r->parser, &r->event) == 1) {
        r->has_event = true;
        return QW_OK;
    }
    if (r->parser.error == YAML_MEMORY_ERROR) return qw_fail_memory(r->err, 0, "the config file");
    const char *problem = r->parser.problem ? r->parser.problem : "not valid YAML";
    // The reader and the scanner tell the place in different members.
    yaml_mark_t mark = r->parser.problem_mark;
    return fail_at(r, &mark, problem);
}

static qw_str scalar_text(const yaml_event_t *e)
{
    return (qw_str){(const char *)e->data.scalar.value, e->data.scalar.length};
}

// What a plain scalar means is YAML's core schema, as vLLM's reader has it; quoted ones are texts.
static bool is_plain(const yaml_event_t *e)
{
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_one_of(qw_str s, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == s.len && strncasecmp(*words, s.ptr, s.len) == 0) return true;
    return false;
}

static const char *const true_words[] = {"true", "yes", "on", NULL};
static const char *const false_words[] = {"false", "no", "off", NULL};
static const char *const null_words[] = {"", "~", "null", NULL};

static json_t *scalar_value(const yaml_event_t *e)
{
    qw_str s = scalar_text(e);
    if (is_plain(e)) {
        int64_t i;
        double d;
        if (is_one_of(s, null_words)) return json_null();
        if (is_one_of(s, true_words)) return json_true();
        if (is_one_of(s, false_words)) return json_false();
        if (qw_str_to_i64(s, &i)) return json_integer(i);
        if (qw_str_to_f64(s, &d)) return json_real(d);
    }
    return json_stringn(s.ptr, s.len);
}

static qw_status read_value(reader *r, json_t **out, int level);

static qw_status read_list(reader *r, json_t *list, int level)
{
    for (;;) {
        qw_status st = next(r);
        if (st != QW_OK || r->event.type == YAML_SEQUENCE_END_EVENT) return st;
        json_t *item = NULL;
        st = read_value(r, &item, level);
        if (st != QW_OK) return st;
        if (json_array_append_new(list, item) != 0)
            return qw_fail_memory(r->err, 0, "the config file");
    }
}

static qw_status read_mapping(reader *r, json_t *object, int level)
{
    for (;;) {
        qw_status st = next(r);
        if (st != QW_OK || r->event.type == YAML_MAPPING_END_EVENT) return st;
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail_at(r, &r->event.start_mark, "a key must be a text");
        qw_str s = scalar_text(&r->event);
        char *key = qw_mem_strndup(s.ptr, s.len);
        if (!key) return qw_fail_memory(r->err, s.len, "the config file");
        json_t *value = NULL;
        st = next(r);
        if (st == QW_OK) st = read_value(r, &value, level);
        if (st == QW_OK && json_object_set_new(object, key, value) != 0)
            st = qw_fail_memory(r->err, 0, "the config file");
        qw_mem_free(key);
        if (st != QW_OK) return st;
    }
}

// The value that the event at hand begins; the event that ends it is the one at hand afterwards.
static qw_status read_value(reader *r, json_t **out, int level)
{
    if (level > MAX_LEVELS) return fail_at(r, &r->event.start_mark, "too many levels");
    json_t *v = NULL;
    qw_status st = QW_OK;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        if (!qw_utf8_is_valid(scalar_text(&r->event)))
            return fail_at(r, &r->event.start_mark, "not valid UTF-8");
        v = scalar_value(&r->event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        v = json_array();
        if (v) st = read_list(r, v, level + 1);
        break;
    case YAML_MAPPING_START_EVENT:
        v = json_object();
        if (v) st = read_mapping(r, v, level + 1);
        break;
    default: return fail_at(r, &r->event.start_mark, "aliases are not understood");
    }
    if (!v) return qw_fail_memory(r->err, 0, "the config file");
    if (st != QW_OK)
        json_decref(v);
    else
        *out = v;
    return st;
}

// A value as it would be typed on the command line.
static qw_status value_text(reader *r, const json_t *v, qw_buf *out)
{
    if (json_is_string(v))
        qw_buf_append(out, json_string_value(v), json_string_length(v));
    else
        qw_json_write(out, v, false);
    if (json_is_string(v) && strlen(json_string_value(v)) != json_string_length(v))
        return qw_fail(r->err, QW_ERR_USAGE, "config file '%.200s': a text holds a NUL", r->name);
    return qw_buf_check(out, "a value of the config file", r->err);
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
    qw_buf_init(&text, (size_t)MAX_SIZE * 4);
    qw_status st = texts ? QW_OK : qw_fail_memory(r->err, n * sizeof *texts, "the config file");
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        qw_buf_clear(&text);
        st = value_text(r, json_is_array(v) ? json_array_get(v, i) : v, &text);
        if (st != QW_OK) break;
        texts[i] = qw_arena_strndup(&arena, text.data ? text.data : "", text.len);
        if (!texts[i]) st = qw_fail_memory(r->err, text.len, "the config file");
    }
    if (st == QW_OK) st = qw_opts_apply_config(r->opts, key, texts, n, r->err);
    qw_buf_release(&text);
    qw_arena_release(&arena);
    return st;
}

static qw_status read_option(reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail_at(r, &r->event.start_mark, "an option's name must be a text");
    yaml_mark_t mark = r->event.start_mark;
    qw_str s = scalar_text(&r->event);
    char *key = qw_mem_strndup(s.ptr, s.len);
    if (!key) return qw_fail_memory(r->err, s.len, "the config file");
    json_t *value = NULL;
    qw_status st = next(r);
    if (st == QW_OK) st = read_value(r, &value, 1);
    if (st == QW_OK && strcmp(key, "config") == 0)
        st = fail_at(r, &mark, "a config file cannot name another one");
    else if (st == QW_OK) {
        st = apply(r, key, value);
        if (st == QW_ERR_USAGE)
            qw_context(r->err, st, "config file '%.200s' line %zu", r->name, mark.line + 1);
    }
    json_decref(value);
    qw_mem_free(key);
    return st;
}

static qw_status read_document(reader *r)
{
    qw_status st = next(r); // of the stream
    if (st == QW_OK) st = next(r);
    if (st != QW_OK || r->event.type == YAML_STREAM_END_EVENT) return st; // an empty file
    st = next(r);
    if (st != QW_OK) return st;
    if (r->event.type == YAML_SCALAR_EVENT && is_one_of(scalar_text(&r->event), null_words) &&
        is_plain(&r->event))
        return QW_OK; // only comments
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail_at(r, &r->event.start_mark, "expected options, NAME: VALUE on each line");
    for (;;) {
        st = next(r);
        if (st != QW_OK) return st;
        if (r->event.type == YAML_MAPPING_END_EVENT) break;
        st = read_option(r);
        if (st != QW_OK) return st;
    }
    st = next(r); // the document's end
    if (st == QW_OK) st = next(r);
    if (st == QW_OK && r->event.type != YAML_STREAM_END_EVENT)
        st = fail_at(r, &r->event.start_mark, "there is a second document");
    return st;
}

qw_status qw_config_file_parse(qw_opts *o, const char *text, size_t len, const char *name,
                               qw_error *err)
{
    reader r = {.name = name, .opts = o, .err = err};
    if (yaml_parser_initialize(&r.parser) != 1)
        return qw_fail_memory(err, 0, "the reader of config files");
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    qw_status st = read_document(&r);
    drop_event(&r);
    yaml_parser_delete(&r.parser);
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
    qw_buf_init(&text, MAX_SIZE);
    qw_status st = qw_file_read(&text, path, err);
    if (st != QW_OK)
        st = qw_context(err, st, "--config");
    else
        st = qw_config_file_parse(o, text.data ? text.data : "", text.len, path, err);
    qw_buf_release(&text);
    return st;
}
