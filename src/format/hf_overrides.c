#include "format/hf_overrides.h"

#include "format/config_json.h"
#include "format/rope_config.h"

static const char parameters_key[] = "rope_parameters";
static const char scaling_key[] = "rope_scaling";
static const char theta_key[] = "rope_theta";

static bool is_rope_key(const char *key)
{
    return strcmp(key, parameters_key) == 0 || strcmp(key, scaling_key) == 0 ||
           strcmp(key, theta_key) == 0;
}

// Keys whose object is a config of its own, as opposed to a plain mapping.
static bool is_nested_config(const char *key)
{
    return qw_str_ends_with(qw_str_of(key), QW_STR("_config")) &&
           strcmp(key, "quantization_config") != 0;
}

// The override's rope object under either spelling; JSON null (scaling switched off) included.
// NULL when the override has neither.
static json_t *rope_override(const json_t *overrides)
{
    json_t *parameters = json_object_get(overrides, parameters_key);
    json_t *scaling = json_object_get(overrides, scaling_key);
    if (parameters && !json_is_null(parameters)) return parameters;
    return scaling ? scaling : parameters;
}

static qw_status replace_rope(json_t *config, const json_t *rope, const json_t *new_theta,
                              qw_buf *warnings, qw_error *err)
{
    if (!json_is_null(rope) && !json_is_object(rope))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be an object, got %s", parameters_key,
                       qw_json_type_name(rope));
    json_t *copy = json_is_null(rope) ? json_object() : json_deep_copy(rope);
    if (!copy) return qw_fail_memory(err, 0, "a rope override");
    json_t *target = qw_rope_config_of_full_attention(copy);
    if (!qw_json_has(target, theta_key)) {
        json_t *theta = (json_t *)(uintptr_t)new_theta;
        if (!theta && (theta = qw_rope_config_find_theta(config)) && !json_is_null(rope)) {
            qw_buf_printf(warnings, "--hf-overrides gives no rope_theta; keeping that of "
                                    "config.json, ");
            qw_json_write(warnings, theta, false);
            qw_buf_putc(warnings, '\n');
        }
        if (theta && json_object_set(target, theta_key, theta) != 0) {
            json_decref(copy);
            return qw_fail_memory(err, 0, "a rope override");
        }
    }
    return qw_config_set_new(config, parameters_key, copy, err); // wins over any rope_scaling
}

static qw_status merge_rope(json_t *config, const json_t *overrides, qw_buf *warnings,
                            qw_error *err)
{
    json_t *theta = json_object_get(overrides, theta_key);
    if (json_is_null(theta)) theta = NULL;
    const json_t *rope = rope_override(overrides);
    if (rope) {
        qw_status st = replace_rope(config, rope, theta, warnings, err);
        if (st != QW_OK) return st;
    } else if (theta) {
        // A theta inside the file's rope object would win over the one set below.
        json_t *target = qw_rope_config_find(config);
        if (qw_json_has(target, theta_key) && json_object_set(target, theta_key, theta) != 0)
            return qw_fail_memory(err, 0, "a rope override");
    }
    if (theta && json_object_set(config, theta_key, theta) != 0)
        return qw_fail_memory(err, 0, "a rope override");
    return QW_OK;
}

qw_status qw_hf_overrides_apply(json_t *config, const json_t *overrides, qw_buf *warnings,
                                qw_error *err)
{
    qw_status st = merge_rope(config, overrides, warnings, err);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)overrides, key, value)
    {
        if (st != QW_OK) break;
        if (is_rope_key(key)) continue;
        json_t *old = json_object_get(config, key);
        if (json_is_object(old) && json_is_object(value) && is_nested_config(key))
            st = qw_hf_overrides_apply(old, value, warnings, err);
        else
            st = qw_config_set_new(config, key, json_deep_copy(value), err);
    }
    return st;
}
