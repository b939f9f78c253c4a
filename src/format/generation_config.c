#include "format/generation_config.h"

#include "base/file.h"
#include "base/mem.h"
#include "format/config_json.h"

static const char option[] = "--override-generation-config";

// A number that may not be zero, which the ranges of qw_json_get_f64 cannot say.
static qw_status get_positive(double *out, bool *has, const json_t *object, const char *key,
                              double max, qw_error *err)
{
    double value = 1;
    qw_status st = qw_json_get_f64(&value, object, key, 0, max, err);
    if (st == QW_OK && value <= 0)
        st = qw_fail(err, QW_ERR_FORMAT, "'%s' must be above 0, got %g", key, value);
    if (st != QW_OK) return st;
    *has = qw_json_has(object, key);
    *out = value;
    return QW_OK;
}

static qw_status read_values(qw_generation_config *g, const json_t *o, qw_error *err)
{
    const double any = 1e9; // no upper bound that matters, but infinity stays out
    qw_status st = qw_json_get_bool(&g->do_sample, o, "do_sample", err);
    if (st == QW_OK) st = qw_json_get_f64(&g->temperature, o, "temperature", 0, any, err);
    if (st == QW_OK) st = get_positive(&g->top_p, &g->has_top_p, o, "top_p", 1, err);
    if (st == QW_OK) st = qw_json_get_i64(&g->top_k, o, "top_k", -1, INT64_MAX, err);
    if (st == QW_OK) st = qw_json_get_f64(&g->min_p, o, "min_p", 0, 1, err);
    if (st == QW_OK)
        st = get_positive(&g->repetition_penalty, &g->has_repetition_penalty, o,
                          "repetition_penalty", any, err);
    if (st == QW_OK)
        st = qw_json_get_i64(&g->max_new_tokens, o, "max_new_tokens", 1, INT64_MAX, err);
    g->has_do_sample = qw_json_has(o, "do_sample");
    g->has_temperature = qw_json_has(o, "temperature");
    g->has_top_k = qw_json_has(o, "top_k");
    g->has_min_p = qw_json_has(o, "min_p");
    g->has_max_new_tokens = qw_json_has(o, "max_new_tokens");
    return st;
}

static qw_status read_eos(qw_generation_config *g, const json_t *o, const qw_model_config *cfg,
                          qw_error *err)
{
    qw_status st =
        qw_config_get_token_ids(&g->eos_token_ids, &g->n_eos_token_ids, o, "eos_token_id", err);
    if (st != QW_OK || g->n_eos_token_ids > 0) return st;
    qw_mem_free(g->eos_token_ids); // an empty list
    size_t n = cfg->n_eos_token_ids;
    g->eos_token_ids = qw_mem_array(n, sizeof *g->eos_token_ids);
    if (!g->eos_token_ids) return qw_fail_memory(err, n * sizeof *g->eos_token_ids, "token ids");
    for (size_t i = 0; i < n; i++) g->eos_token_ids[i] = cfg->eos_token_ids[i];
    g->n_eos_token_ids = n;
    return QW_OK;
}

static qw_status parse_config(qw_generation_config *out, const char *text, size_t len,
                              const json_t *overrides, const qw_model_config *cfg, qw_error *err)
{
    json_t *object;
    qw_status st = qw_config_parse_object(&object, text, len, err);
    if (st != QW_OK) return st;
    if (json_object_update(object, (json_t *)(uintptr_t)overrides) != 0)
        st = qw_fail_memory(err, len, "the generation config");
    qw_generation_config g = {0};
    if (st == QW_OK) st = read_values(&g, object, err);
    if (st == QW_OK) st = read_eos(&g, object, cfg, err);
    g.max_new_tokens_overridden = qw_json_has(overrides, "max_new_tokens");
    json_decref(object);
    if (st == QW_OK)
        *out = g;
    else
        qw_generation_config_release(&g);
    return st;
}

qw_status qw_generation_config_parse(qw_generation_config *out, const char *text, size_t len,
                                     const char *overrides, const qw_model_config *cfg,
                                     qw_error *err)
{
    json_t *merged;
    qw_status st = qw_config_parse_overrides(&merged, overrides, option, err);
    if (st != QW_OK) return st;
    st = parse_config(out, text, len, merged, cfg, err);
    json_decref(merged);
    return st;
}

qw_status qw_generation_config_load(qw_generation_config *out, const char *dir,
                                    const char *overrides, const qw_model_config *cfg,
                                    qw_error *err)
{
    char *path = qw_file_join(dir, "generation_config.json");
    if (!path) return qw_fail_memory(err, strlen(dir), "a path");
    qw_buf text;
    qw_buf_init(&text, QW_CONFIG_MAX_SIZE);
    qw_status st = QW_OK;
    if (qw_file_exists(path))
        st = qw_file_read(&text, path, err);
    else
        qw_buf_puts(&text, "{}");
    if (st == QW_OK) st = qw_buf_check(&text, path, err);
    json_t *merged = NULL;
    if (st == QW_OK) st = qw_config_parse_overrides(&merged, overrides, option, err);
    if (st == QW_OK) {
        st = parse_config(out, text.data, text.len, merged, cfg, err);
        if (st != QW_OK)
            qw_context(err, st, "'%.250s'%s%s", path, overrides ? " with " : "",
                       overrides ? option : "");
    }
    json_decref(merged);
    qw_buf_release(&text);
    qw_mem_free(path);
    return st;
}

void qw_generation_config_release(qw_generation_config *g)
{
    qw_mem_free(g->eos_token_ids);
    *g = (qw_generation_config){0};
}

bool qw_generation_config_is_eos(const qw_generation_config *g, int32_t id)
{
    for (size_t i = 0; i < g->n_eos_token_ids; i++)
        if (g->eos_token_ids[i] == id) return true;
    return false;
}
