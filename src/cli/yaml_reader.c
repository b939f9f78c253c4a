#include "cli/yaml_reader.h"

#include <strings.h>

#include "base/mem.h"

qw_status qw_yaml_init(qw_yaml_reader *r, const char *text, size_t len, const char *kind,
                       const char *name, qw_error *err)
{
    *r = (qw_yaml_reader){.kind = kind, .name = name, .err = err};
    if (yaml_parser_initialize(&r->parser) != 1) return qw_fail_memory(err, 0, "a reader of YAML");
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
    return QW_OK;
}

qw_status qw_yaml_fail(qw_yaml_reader *r, const yaml_mark_t *mark, const char *what)
{
    return qw_fail(r->err, QW_ERR_USAGE, "%s '%.200s' line %zu: %s", r->kind, r->name,
                   mark->line + 1, what);
}

static void drop_event(qw_yaml_reader *r)
{
    if (r->has_event) yaml_event_delete(&r->event);
    r->has_event = false;
}

qw_status qw_yaml_next(qw_yaml_reader *r)
{
    drop_event(r);
    if (yaml_parser_parse(&r->parser, &r->event) == 1) {
        r->has_event = true;
        return QW_OK;
    }
    if (r->parser.error == YAML_MEMORY_ERROR) return qw_fail_memory(r->err, 0, r->kind);
    const char *problem = r->parser.problem ? r->parser.problem : "not valid YAML";
    // The reader and the scanner tell the place in different members.
    yaml_mark_t mark = r->parser.problem_mark;
    return qw_yaml_fail(r, &mark, problem);
}

qw_str qw_yaml_text(const yaml_event_t *e)
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

bool qw_yaml_is_null(const yaml_event_t *e)
{
    return is_plain(e) && is_one_of(qw_yaml_text(e), null_words);
}

static json_t *scalar_value(const yaml_event_t *e)
{
    qw_str s = qw_yaml_text(e);
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

static qw_status read_list(qw_yaml_reader *r, json_t *list, int level)
{
    for (;;) {
        qw_status st = qw_yaml_next(r);
        if (st != QW_OK || r->event.type == YAML_SEQUENCE_END_EVENT) return st;
        json_t *item = NULL;
        st = qw_yaml_value(r, &item, level);
        if (st != QW_OK) return st;
        if (json_array_append_new(list, item) != 0) return qw_fail_memory(r->err, 0, r->kind);
    }
}

static qw_status read_mapping(qw_yaml_reader *r, json_t *object, int level)
{
    for (;;) {
        qw_status st = qw_yaml_next(r);
        if (st != QW_OK || r->event.type == YAML_MAPPING_END_EVENT) return st;
        if (r->event.type != YAML_SCALAR_EVENT)
            return qw_yaml_fail(r, &r->event.start_mark, "a key must be a text");
        qw_str s = qw_yaml_text(&r->event);
        char *key = qw_mem_strndup(s.ptr, s.len);
        if (!key) return qw_fail_memory(r->err, s.len, r->kind);
        json_t *value = NULL;
        st = qw_yaml_next(r);
        if (st == QW_OK) st = qw_yaml_value(r, &value, level);
        if (st == QW_OK && json_object_set_new(object, key, value) != 0)
            st = qw_fail_memory(r->err, 0, r->kind);
        qw_mem_free(key);
        if (st != QW_OK) return st;
    }
}

qw_status qw_yaml_value(qw_yaml_reader *r, json_t **out, int level)
{
    if (level > QW_YAML_MAX_LEVELS) return qw_yaml_fail(r, &r->event.start_mark, "too many levels");
    json_t *v = NULL;
    qw_status st = QW_OK;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        if (!qw_utf8_is_valid(qw_yaml_text(&r->event)))
            return qw_yaml_fail(r, &r->event.start_mark, "not valid UTF-8");
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
    default: return qw_yaml_fail(r, &r->event.start_mark, "aliases are not understood");
    }
    if (!v) return qw_fail_memory(r->err, 0, r->kind);
    if (st != QW_OK)
        json_decref(v);
    else
        *out = v;
    return st;
}

void qw_yaml_release(qw_yaml_reader *r)
{
    drop_event(r);
    yaml_parser_delete(&r->parser);
}

qw_status qw_yaml_begin(qw_yaml_reader *r, bool *any, const char *expected)
{
    *any = false;
    qw_status st = qw_yaml_next(r); // of the stream
    if (st == QW_OK) st = qw_yaml_next(r);
    if (st != QW_OK || r->event.type == YAML_STREAM_END_EVENT) return st; // an empty file
    st = qw_yaml_next(r);
    if (st != QW_OK) return st;
    if (r->event.type == YAML_SCALAR_EVENT && qw_yaml_is_null(&r->event))
        return QW_OK; // only comments
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return qw_yaml_fail(r, &r->event.start_mark, expected);
    *any = true;
    return QW_OK;
}

qw_status qw_yaml_end(qw_yaml_reader *r)
{
    qw_status st = qw_yaml_next(r); // the document's end
    if (st == QW_OK) st = qw_yaml_next(r);
    if (st == QW_OK && r->event.type != YAML_STREAM_END_EVENT)
        st = qw_yaml_fail(r, &r->event.start_mark, "there is a second document");
    return st;
}
