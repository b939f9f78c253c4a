#include "format/config_json.h"

#include "base/mem.h"

// The value with number strings converted: a new reference, NULL when memory is short. Depth is
// limited by the parser.
static json_t *with_numbers(json_t *v)
{
    if (json_is_string(v)) {
        int64_t i;
        double d;
        if (qw_str_to_i64(qw_json_str(v), &i)) return json_integer(i);
        if (qw_str_to_f64(qw_json_str(v), &d)) return json_real(d);
        return json_incref(v);
    }
    if (json_is_object(v)) {
        json_t *copy = json_object(), *member;
        const char *key;
        if (!copy) return NULL;
        json_object_foreach(v, key, member)
        {
            if (json_object_set_new(copy, key, with_numbers(member)) != 0) {
                json_decref(copy);
                return NULL;
            }
        }
        return copy;
    }
    if (json_is_array(v)) {
        json_t *copy = json_array();
        if (!copy) return NULL;
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (json_array_append_new(copy, with_numbers(json_array_get(v, i))) != 0) {
                json_decref(copy);
                return NULL;
            }
        }
        return copy;
    }
    return json_incref(v);
}

qw_status qw_config_parse_overrides(json_t **out, const char *text, const char *option,
                                    qw_error *err)
{
    if (!text) text = "{}";
    json_t *v;
    qw_status st = qw_json_parse(&v, text, strlen(text), option, err);
    if (st == QW_ERR_FORMAT) { // whoever typed it made the mistake
        if (err) err->code = QW_ERR_USAGE;
        return QW_ERR_USAGE;
    }
    if (st != QW_OK) return st;
    if (!json_is_object(v)) {
        st = qw_fail(err, QW_ERR_USAGE, "%s must be a JSON object, got %s", option,
                     qw_json_type_name(v));
        json_decref(v);
        return st;
    }
    json_t *converted = with_numbers(v);
    json_decref(v);
    if (!converted) return qw_fail_memory(err, strlen(text), option);
    *out = converted;
    return QW_OK;
}

qw_status qw_config_parse_object(json_t **out, const char *text, size_t len, qw_error *err)
{
    json_t *v;
    qw_status st = qw_json_parse(&v, text, len, "content", err);
    if (st != QW_OK) return st;
    if (!json_is_object(v)) {
        st = qw_fail(err, QW_ERR_FORMAT, "content must be a JSON object, got %s",
                     qw_json_type_name(v));
        json_decref(v);
        return st;
    }
    *out = v;
    return QW_OK;
}

qw_status qw_config_set_new(json_t *object, const char *key, json_t *value, qw_error *err)
{
    if (json_object_set_new(object, key, value) == 0) return QW_OK;
    return qw_fail_memory(err, strlen(key), "a configuration value");
}

static qw_status check_token_id(int32_t *out, const json_t *v, const char *key, qw_error *err)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
        return qw_fail(err, QW_ERR_FORMAT,
                       "'%s' must be a token id from 0 to %" PRId32 " or a list of them", key,
                       INT32_MAX);
    *out = (int32_t)json_integer_value(v);
    return QW_OK;
}

qw_status qw_config_get_token_ids(int32_t **ids, size_t *n, const json_t *object, const char *key,
                                  qw_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v)) return QW_OK;
    size_t n_found = json_is_array(v) ? json_array_size(v) : 1;
    int32_t *found = qw_mem_array(n_found, sizeof *found);
    if (!found) return qw_fail_memory(err, n_found * sizeof *found, "token ids");
    qw_status st = QW_OK;
    for (size_t i = 0; st == QW_OK && i < n_found; i++)
        st = check_token_id(&found[i], json_is_array(v) ? json_array_get(v, i) : v, key, err);
    if (st != QW_OK) {
        qw_mem_free(found);
        return st;
    }
    *ids = found;
    *n = n_found;
    return QW_OK;
}
