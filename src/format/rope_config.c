#include "format/rope_config.h"

#include <math.h>

// Sane bounds, far outside of what any model uses; they keep the arithmetic of 4.1 finite.
#define MIN_THETA 2.0
#define MAX_THETA 1e18
#define MAX_FACTOR 1e6

json_t *qw_rope_config_of_full_attention(json_t *rope)
{
    json_t *full = json_object_get(rope, "full_attention");
    return json_is_object(full) ? full : rope;
}

static const char *rope_key(const json_t *config)
{
    return qw_json_has(config, "rope_parameters") ? "rope_parameters" : "rope_scaling";
}

json_t *qw_rope_config_find(const json_t *config)
{
    json_t *rope = json_object_get(config, rope_key(config));
    return json_is_object(rope) ? qw_rope_config_of_full_attention(rope) : NULL;
}

json_t *qw_rope_config_find_theta(const json_t *config)
{
    const json_t *rope = qw_rope_config_find(config);
    if (qw_json_has(rope, "rope_theta")) return json_object_get(rope, "rope_theta");
    if (qw_json_has(config, "rope_theta")) return json_object_get(config, "rope_theta");
    return NULL;
}

static qw_status read_type(qw_rope_type *out, const json_t *rope, qw_buf *warnings, qw_error *err)
{
    qw_str type = QW_STR("default");
    bool named = qw_json_has(rope, "rope_type") || qw_json_has(rope, "type");
    qw_status st =
        qw_json_get_str(&type, rope, qw_json_has(rope, "rope_type") ? "rope_type" : "type", err);
    if (st != QW_OK) return st;
    if (!named && qw_json_has(rope, "factor"))
        qw_buf_puts(warnings, "the rope settings have a factor but no rope_type; it has no effect "
                              "(YaRN needs \"rope_type\": \"yarn\")\n");
    if (qw_str_is(type, "default"))
        *out = QW_ROPE_DEFAULT;
    else if (qw_str_is(type, "linear"))
        *out = QW_ROPE_LINEAR;
    else if (qw_str_is(type, "yarn"))
        *out = QW_ROPE_YARN;
    else
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "rope_type '%.60s' is not supported; default, linear and yarn are",
                       type.ptr);
    return QW_OK;
}

static qw_status read_theta(double *out, const json_t *config, qw_buf *warnings, qw_error *err)
{
    const json_t *rope = qw_rope_config_find(config);
    const json_t *owner = qw_json_has(rope, "rope_theta") ? rope : config;
    if (!qw_json_has(owner, "rope_theta")) {
        *out = 10000;
        qw_buf_puts(warnings, "rope_theta is missing; using 10000, with which most Qwen3 models "
                              "write fluent nonsense\n");
        return QW_OK;
    }
    return qw_json_get_f64(out, owner, "rope_theta", MIN_THETA, MAX_THETA, err);
}

// vLLM takes factor and O as given; only a missing factor is derived, as transformers does.
static qw_status read_factor(qw_rope_config *r, const json_t *rope, int32_t max_position,
                             qw_buf *warnings, qw_error *err)
{
    if (r->rope_type == QW_ROPE_DEFAULT) return QW_OK;
    if (qw_json_has(rope, "factor"))
        return qw_json_get_f64(&r->factor, rope, "factor", 1, MAX_FACTOR, err);
    if (r->rope_type != QW_ROPE_YARN || max_position <= r->original_max_position_embeddings)
        return qw_fail(err, QW_ERR_FORMAT, "'factor' is missing");
    r->factor = (double)max_position / r->original_max_position_embeddings;
    qw_buf_printf(warnings,
                  "the rope settings have no factor; using max_position_embeddings / "
                  "original_max_position_embeddings = %g\n",
                  r->factor);
    return QW_OK;
}

static qw_status read_yarn(qw_rope_config *r, const json_t *rope, qw_error *err)
{
    qw_status st = qw_json_get_f64(&r->beta_fast, rope, "beta_fast", 1e-6, 1e6, err);
    if (st == QW_OK) st = qw_json_get_f64(&r->beta_slow, rope, "beta_slow", 1e-6, 1e6, err);
    if (st == QW_OK) st = qw_json_get_bool(&r->truncate, rope, "truncate", err);
    if (st == QW_OK)
        st = qw_json_get_f64(&r->extrapolation_factor, rope, "extrapolation_factor", 0, 1e6, err);
    if (st == QW_OK)
        st = qw_json_get_f64(&r->attention_factor, rope, "attention_factor", 1e-6, 1e6, err);
    if (st == QW_OK) st = qw_json_get_f64(&r->attn_factor, rope, "attn_factor", 1e-6, 1e6, err);
    if (st == QW_OK) st = qw_json_get_f64(&r->mscale, rope, "mscale", 0, 1e6, err);
    if (st == QW_OK) st = qw_json_get_f64(&r->mscale_all_dim, rope, "mscale_all_dim", 0, 1e6, err);
    if (st != QW_OK) return st;
    r->has_attention_factor = qw_json_has(rope, "attention_factor");
    if (r->beta_fast < r->beta_slow)
        return qw_fail(err, QW_ERR_FORMAT, "'beta_fast' (%g) is less than 'beta_slow' (%g)",
                       r->beta_fast, r->beta_slow);
    return QW_OK;
}

static qw_status read_object(qw_rope_config *r, const json_t *rope, int32_t max_position,
                             qw_buf *warnings, qw_error *err)
{
    int64_t original = max_position;
    qw_status st = read_type(&r->rope_type, rope, warnings, err);
    if (st == QW_OK && r->rope_type == QW_ROPE_YARN)
        st =
            qw_json_get_i64(&original, rope, "original_max_position_embeddings", 1, INT32_MAX, err);
    if (st != QW_OK) return st;
    r->original_max_position_embeddings = (int32_t)original;
    st = read_factor(r, rope, max_position, warnings, err);
    if (st == QW_OK && r->rope_type == QW_ROPE_YARN) st = read_yarn(r, rope, err);
    return st;
}

qw_status qw_rope_config_read(qw_rope_config *out, const json_t *config,
                              int32_t max_position_embeddings, qw_buf *warnings, qw_error *err)
{
    qw_rope_config r = {.factor = 1,
                        .original_max_position_embeddings = max_position_embeddings,
                        .beta_fast = 32,
                        .beta_slow = 1,
                        .truncate = true,
                        .extrapolation_factor = 1,
                        .attn_factor = 1};
    const char *key = rope_key(config);
    const json_t *given = json_object_get(config, key);
    if (given && !json_is_null(given) && !json_is_object(given))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be an object, got %s", key,
                       qw_json_type_name(given));
    qw_status st = read_theta(&r.rope_theta, config, warnings, err);
    if (st != QW_OK) return st;
    const json_t *rope = qw_rope_config_find(config);
    if (rope) {
        st = read_object(&r, rope, max_position_embeddings, warnings, err);
        if (st != QW_OK) return qw_context(err, st, "'%s'", key);
    }
    *out = r;
    return QW_OK;
}
