#include "format/model_config.h"

#include <math.h>

#include "base/file.h"
#include "base/mem.h"
#include "format/config_json.h"
#include "format/hf_overrides.h"
#include "format/quant_description.h"

static const struct {
    const char *name;
    bool has_experts;
} architectures[] = {{"Qwen3ForCausalLM", false}, {"Qwen3MoeForCausalLM", true}};

// All keys that are read here: an override of any other key that the file lacks does nothing.
static const char *const known_keys[] = {
    "architectures",       "attention_bias",
    "decoder_sparse_step", "dtype",
    "eos_token_id",        "head_dim",
    "hidden_act",          "hidden_size",
    "intermediate_size",   "layer_types",
    "max_window_layers",   "max_position_embeddings",
    "mlp_only_layers",     "moe_intermediate_size",
    "norm_topk_prob",      "num_attention_heads",
    "num_experts",         "num_experts_per_tok",
    "num_hidden_layers",   "num_key_value_heads",
    "quantization_config", "rms_norm_eps",
    "rope_parameters",     "rope_scaling",
    "rope_theta",          "sliding_window",
    "tie_word_embeddings", "torch_dtype",
    "use_sliding_window",  "vocab_size",
};

// ---- members ----

// A count: at least 1, and small enough for the kernels' int.
static qw_status get_count(int32_t *out, const json_t *config, const char *key, qw_error *err)
{
    int64_t value = *out;
    qw_status st = qw_json_get_i64(&value, config, key, 1, INT32_MAX, err);
    if (st == QW_OK) *out = (int32_t)value;
    return st;
}

static qw_status require_count(int32_t *out, const json_t *config, const char *key, qw_error *err)
{
    if (!qw_json_has(config, key)) return qw_fail(err, QW_ERR_FORMAT, "'%s' is missing", key);
    return get_count(out, config, key, err);
}

static qw_status read_architecture(const char **out, bool *has_experts, const json_t *config,
                                   qw_error *err)
{
    const json_t *list = json_object_get(config, "architectures");
    if (!json_is_array(list) || json_array_size(list) == 0)
        return qw_fail(err, QW_ERR_FORMAT,
                       "'architectures' must be a list that names the model's class");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        for (size_t k = 0; k < QW_ARRAY_LEN(architectures); k++) {
            if (json_is_string(v) && qw_str_is(qw_json_str(v), architectures[k].name)) {
                *out = architectures[k].name;
                *has_experts = architectures[k].has_experts;
                return QW_OK;
            }
        }
    }
    const json_t *first = json_array_get(list, 0);
    return qw_fail(err, QW_ERR_UNSUPPORTED, "model class '%.100s' is not supported; %s and %s are",
                   json_is_string(first) ? json_string_value(first) : qw_json_type_name(first),
                   architectures[0].name, architectures[1].name);
}

static qw_status read_counts(qw_model_config *c, const json_t *config, qw_error *err)
{
    c->head_dim = 128; // the class default; hidden_size / num_attention_heads is wrong for most
    c->vocab_size = 151936;
    c->max_position_embeddings = 32768;
    qw_status st = require_count(&c->hidden_size, config, "hidden_size", err);
    if (st == QW_OK) st = require_count(&c->intermediate_size, config, "intermediate_size", err);
    if (st == QW_OK) st = require_count(&c->num_hidden_layers, config, "num_hidden_layers", err);
    if (st == QW_OK)
        st = require_count(&c->num_attention_heads, config, "num_attention_heads", err);
    if (st == QW_OK) st = get_count(&c->head_dim, config, "head_dim", err);
    if (st == QW_OK) st = get_count(&c->vocab_size, config, "vocab_size", err);
    if (st == QW_OK)
        st = get_count(&c->max_position_embeddings, config, "max_position_embeddings", err);
    if (st != QW_OK) return st;
    // Absent: the class default. null: as many as query heads.
    c->num_key_value_heads =
        json_object_get(config, "num_key_value_heads") ? c->num_attention_heads : 32;
    return get_count(&c->num_key_value_heads, config, "num_key_value_heads", err);
}

// ---- experts ----

static qw_status read_mlp_only(qw_model_config *c, const json_t *config, qw_error *err)
{
    const json_t *list = json_object_get(config, "mlp_only_layers");
    if (!list || json_is_null(list)) return QW_OK;
    if (!json_is_array(list))
        return qw_fail(err, QW_ERR_FORMAT, "'mlp_only_layers' must be a list of layers, got %s",
                       qw_json_type_name(list));
    size_t n = json_array_size(list);
    c->mlp_only_layers = qw_mem_array(n, sizeof *c->mlp_only_layers);
    if (!c->mlp_only_layers) return qw_fail_memory(err, n * sizeof *c->mlp_only_layers, "layers");
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
            return qw_fail(err, QW_ERR_FORMAT,
                           "'mlp_only_layers' must hold numbers of layers; item %zu is none", i);
        c->mlp_only_layers[c->n_mlp_only_layers++] = (int32_t)json_integer_value(v);
    }
    return QW_OK;
}

static qw_status read_experts(qw_model_config *c, const json_t *config, qw_error *err)
{
    int64_t n = 128; // this and the others: class defaults
    c->num_experts_per_tok = 8;
    c->moe_intermediate_size = 768;
    c->decoder_sparse_step = 1;
    qw_status st = qw_json_get_i64(&n, config, "num_experts", 0, QW_MAX_EXPERTS, err);
    c->num_experts = (int32_t)n;
    if (st == QW_OK) st = get_count(&c->num_experts_per_tok, config, "num_experts_per_tok", err);
    if (st == QW_OK)
        st = get_count(&c->moe_intermediate_size, config, "moe_intermediate_size", err);
    if (st == QW_OK) st = get_count(&c->decoder_sparse_step, config, "decoder_sparse_step", err);
    if (st == QW_OK) st = qw_json_get_bool(&c->norm_topk_prob, config, "norm_topk_prob", err);
    if (st == QW_OK) st = read_mlp_only(c, config, err);
    if (st == QW_OK && c->num_experts > 0 && c->num_experts_per_tok > c->num_experts)
        st = qw_fail(err, QW_ERR_FORMAT,
                     "'num_experts_per_tok' (%" PRId32 ") must be at most 'num_experts' (%" PRId32
                     ")",
                     c->num_experts_per_tok, c->num_experts);
    return st;
}

bool qw_model_config_is_sparse(const qw_model_config *c, int layer)
{
    if (c->num_experts == 0 || (layer + 1) % c->decoder_sparse_step != 0) return false;
    for (size_t i = 0; i < c->n_mlp_only_layers; i++)
        if (c->mlp_only_layers[i] == layer) return false;
    return true;
}

int qw_model_config_n_sparse(const qw_model_config *c)
{
    int n = 0;
    for (int i = 0; i < c->num_hidden_layers; i++) n += qw_model_config_is_sparse(c, i);
    return n;
}

double qw_model_config_layer_weights(const qw_model_config *c, double n_experts)
{
    double h = c->hidden_size, q = (double)c->num_attention_heads * c->head_dim;
    double kv = (double)c->num_key_value_heads * c->head_dim;
    double n_sparse = qw_model_config_n_sparse(c), n_dense = c->num_hidden_layers - n_sparse;
    return c->num_hidden_layers * h * (2 * q + 2 * kv) + n_dense * 3 * h * c->intermediate_size +
           n_sparse * (3 * h * c->moe_intermediate_size * n_experts + h * c->num_experts);
}

double qw_model_config_touched_experts(const qw_model_config *c, double n_rows)
{
    if (c->num_experts == 0) return 0;
    double share = (double)c->num_experts_per_tok / c->num_experts;
    return c->num_experts * (1 - pow(1 - share, n_rows));
}

static qw_status read_activation(const json_t *config, qw_error *err)
{
    qw_str act = QW_STR("silu");
    qw_status st = qw_json_get_str(&act, config, "hidden_act", err);
    if (st == QW_OK && !qw_str_is(act, "silu"))
        st = qw_fail(err, QW_ERR_UNSUPPORTED, "hidden_act '%.60s' is not supported; silu is",
                     act.ptr);
    return st;
}

// Newer files say "dtype", older ones "torch_dtype". Only informative, so never an error.
static void read_dtype(qw_model_config *c, const json_t *config)
{
    static const struct {
        const char *name;
        qw_dtype dtype;
    } table[] = {{"bfloat16", QW_DTYPE_BF16},
                 {"float16", QW_DTYPE_F16},
                 {"float32", QW_DTYPE_F32},
                 {"float64", QW_DTYPE_F64}};
    const json_t *v =
        json_object_get(config, qw_json_has(config, "dtype") ? "dtype" : "torch_dtype");
    for (size_t i = 0; json_is_string(v) && i < QW_ARRAY_LEN(table); i++) {
        if (!qw_str_is(qw_json_str(v), table[i].name)) continue;
        c->has_torch_dtype = true;
        c->torch_dtype = table[i].dtype;
    }
}

static qw_status fail_sliding(int64_t layer, int64_t window, qw_error *err)
{
    return qw_fail(err, QW_ERR_UNSUPPORTED,
                   "sliding-window attention is not supported: layer %" PRId64
                   " attends only to the last %" PRId64 " positions",
                   layer, window);
}

// layer_types, where a file has it, is the truth; else the three older keys decide. The list may be
// longer than the model: --hf-overrides can cut layers off.
static qw_status refuse_sliding_window(const qw_model_config *c, const json_t *config,
                                       qw_error *err)
{
    bool use = false;
    int64_t window = 4096, first_layer = 28; // class defaults
    qw_status st = qw_json_get_bool(&use, config, "use_sliding_window", err);
    if (st == QW_OK) st = qw_json_get_i64(&window, config, "sliding_window", 0, INT64_MAX, err);
    if (st == QW_OK)
        st = qw_json_get_i64(&first_layer, config, "max_window_layers", 0, INT64_MAX, err);
    if (st != QW_OK) return st;
    const json_t *types = json_object_get(config, "layer_types");
    if (!types || json_is_null(types)) {
        bool has_window = !json_is_null(json_object_get(config, "sliding_window"));
        if (use && has_window && first_layer < c->num_hidden_layers)
            return fail_sliding(first_layer, window, err);
        return QW_OK;
    }
    if (!json_is_array(types) || json_array_size(types) < (size_t)c->num_hidden_layers)
        return qw_fail(err, QW_ERR_FORMAT,
                       "'layer_types' must be a list of at least %" PRId32
                       " items (num_hidden_layers)",
                       c->num_hidden_layers);
    for (size_t i = 0; i < (size_t)c->num_hidden_layers; i++) {
        const json_t *v = json_array_get(types, i);
        qw_str type = json_is_string(v) ? qw_json_str(v) : qw_str_of(qw_json_type_name(v));
        if (qw_str_is(type, "full_attention")) continue;
        if (qw_str_is(type, "sliding_attention")) return fail_sliding((int64_t)i, window, err);
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "layer type '%.60s' of layer %zu is not supported; full_attention is",
                       type.ptr, i);
    }
    return QW_OK;
}

// An ascend checkpoint is what its description file says; some tools leave an object here as well.
static qw_status refuse_quantization(const json_t *config, bool is_described, qw_error *err)
{
    if (is_described || !qw_json_has(config, "quantization_config")) return QW_OK;
    const json_t *q = json_object_get(config, "quantization_config");
    const char *method = json_string_value(json_object_get(q, "quant_method"));
    return qw_fail(err, QW_ERR_UNSUPPORTED,
                   "the weights are quantized with '%.60s' (quantization_config), which is not "
                   "supported; use the BF16 checkpoint",
                   method ? method : "an unnamed method");
}

// ---- values that must fit together ----

// Bytes of all weights as fp32, which bounds every size computed from this config; false if they
// do not fit into a ptrdiff_t.
static bool weights_are_countable(const qw_model_config *c)
{
    size_t h = (size_t)c->hidden_size, hd = (size_t)c->head_dim;
    size_t heads = 2 * ((size_t)c->num_attention_heads + (size_t)c->num_key_value_heads);
    size_t attention, mlp, experts, layer, layers, embedding, total, bytes;
    size_t expert = 3 * (size_t)c->moe_intermediate_size + 1; // gate, up, down, the router's row
    return qw_mul_size(&attention, heads * hd, h) &&          // q, k, v, o
           qw_mul_size(&mlp, 3 * (size_t)c->intermediate_size, h) && // gate, up, down
           qw_mul_size(&experts, expert * (size_t)c->num_experts, h) &&
           qw_add_size(&layer, attention, mlp) && qw_add_size(&layer, layer, experts) &&
           qw_add_size(&layer, layer, 2 * (h + hd)) &&
           qw_mul_size(&layers, layer, (size_t)c->num_hidden_layers) &&
           qw_mul_size(&embedding, 2 * (size_t)c->vocab_size, h) &&
           qw_add_size(&total, layers, embedding) && qw_add_size(&total, total, h) &&
           qw_mul_size(&bytes, total, 4) && bytes <= PTRDIFF_MAX;
}

static qw_status check_sizes(const qw_model_config *c, qw_error *err)
{
    if (c->num_attention_heads % c->num_key_value_heads != 0)
        return qw_fail(err, QW_ERR_FORMAT,
                       "'num_key_value_heads' (%" PRId32 ") must divide 'num_attention_heads' "
                       "(%" PRId32 ")",
                       c->num_key_value_heads, c->num_attention_heads);
    if (c->head_dim % 2 != 0)
        return qw_fail(err, QW_ERR_FORMAT, "'head_dim' must be even, got %" PRId32, c->head_dim);
    if ((int64_t)c->num_attention_heads * c->head_dim > INT32_MAX)
        return qw_fail(err, QW_ERR_FORMAT,
                       "'num_attention_heads' (%" PRId32 ") times 'head_dim' (%" PRId32
                       ") is too large",
                       c->num_attention_heads, c->head_dim);
    if (!weights_are_countable(c))
        return qw_fail(err, QW_ERR_FORMAT,
                       "'hidden_size' %" PRId32 ", 'intermediate_size' %" PRId32
                       ", 'num_hidden_layers' %" PRId32 ", 'num_experts' %" PRId32
                       " and 'vocab_size' %" PRId32 " make more weights than can be counted",
                       c->hidden_size, c->intermediate_size, c->num_hidden_layers, c->num_experts,
                       c->vocab_size);
    return QW_OK;
}

static double derived_max_len(const qw_model_config *c)
{
    double base = c->rope.rope_type == QW_ROPE_YARN ? c->rope.original_max_position_embeddings
                                                    : c->max_position_embeddings;
    return floor(base * c->rope.factor);
}

static qw_status check_max_len(const qw_model_config *c, qw_error *err)
{
    if (derived_max_len(c) <= INT32_MAX) return QW_OK;
    return qw_fail(err, QW_ERR_FORMAT,
                   "rope factor %g makes a context of %.0f tokens, more than the largest position "
                   "%" PRId32,
                   c->rope.factor, derived_max_len(c), INT32_MAX);
}

// ---- the whole ----

static qw_status read_config(qw_model_config *c, const json_t *config, bool is_described,
                             qw_buf *warnings, qw_error *err)
{
    c->rms_norm_eps = 1e-6;
    bool has_experts = false;
    qw_status st = read_architecture(&c->architecture, &has_experts, config, err);
    if (st == QW_OK) st = refuse_quantization(config, is_described, err);
    if (st == QW_OK) st = read_counts(c, config, err);
    if (st == QW_OK && has_experts) st = read_experts(c, config, err);
    if (st == QW_OK) st = read_activation(config, err);
    // The lower bound is the smallest normal float: below it the kernels would add zero.
    if (st == QW_OK)
        st = qw_json_get_f64(&c->rms_norm_eps, config, "rms_norm_eps", 1.2e-38, 1, err);
    if (st == QW_OK)
        st = qw_json_get_bool(&c->tie_word_embeddings, config, "tie_word_embeddings", err);
    if (st == QW_OK) st = qw_json_get_bool(&c->attention_bias, config, "attention_bias", err);
    if (st == QW_OK) st = refuse_sliding_window(c, config, err);
    if (st == QW_OK) st = check_sizes(c, err);
    if (st == QW_OK)
        st = qw_rope_config_read(&c->rope, config, c->max_position_embeddings, warnings, err);
    if (st == QW_OK) st = check_max_len(c, err);
    if (st == QW_OK)
        st = qw_config_get_token_ids(&c->eos_token_ids, &c->n_eos_token_ids, config, "eos_token_id",
                                     err);
    if (st == QW_OK) read_dtype(c, config);
    return st;
}

static bool is_known_key(const char *key)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(known_keys); i++)
        if (strcmp(key, known_keys[i]) == 0) return true;
    return false;
}

// A misspelt key should not pass in silence.
static void warn_unknown_overrides(qw_buf *warnings, const json_t *config, const json_t *overrides)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)overrides, key, value)
    {
        if (is_known_key(key) || json_object_get(config, key)) continue;
        qw_buf_puts(warnings, "--hf-overrides sets ");
        qw_json_write_string(warnings, qw_str_of(key));
        qw_buf_puts(warnings, ", which config.json does not have and nothing reads\n");
    }
}

static qw_status parse_config(qw_model_config *out, const char *text, size_t len, bool is_described,
                              const json_t *overrides, qw_error *err)
{
    json_t *config;
    qw_status st = qw_config_parse_object(&config, text, len, err);
    if (st != QW_OK) return st;
    qw_model_config c = {0};
    qw_buf warnings;
    qw_buf_init(&warnings, QW_CONFIG_MAX_SIZE);
    warn_unknown_overrides(&warnings, config, overrides);
    st = qw_hf_overrides_apply(config, overrides, &warnings, err);
    if (st == QW_OK) st = read_config(&c, config, is_described, &warnings, err);
    if (st == QW_OK) st = qw_buf_check(&warnings, "the list of warnings", err);
    if (st == QW_OK && !(c.warnings = qw_buf_take(&warnings, NULL)))
        st = qw_fail_memory(err, 64, "the list of warnings");
    qw_buf_release(&warnings);
    json_decref(config);
    if (st == QW_OK)
        *out = c;
    else
        qw_model_config_release(&c);
    return st;
}

qw_status qw_model_config_parse(qw_model_config *out, const char *text, size_t len,
                                const char *hf_overrides, qw_error *err)
{
    json_t *overrides;
    qw_status st = qw_config_parse_overrides(&overrides, hf_overrides, "--hf-overrides", err);
    if (st != QW_OK) return st;
    st = parse_config(out, text, len, false, overrides, err);
    json_decref(overrides);
    return st;
}

qw_status qw_model_config_load(qw_model_config *out, const char *dir, const char *hf_overrides,
                               qw_error *err)
{
    json_t *overrides;
    qw_status st = qw_config_parse_overrides(&overrides, hf_overrides, "--hf-overrides", err);
    if (st != QW_OK) return st;
    qw_buf text;
    qw_buf_init(&text, QW_CONFIG_MAX_SIZE);
    char *path = qw_file_join(dir, "config.json");
    st = path ? qw_file_read(&text, path, err) : qw_fail_memory(err, strlen(dir), "a path");
    bool is_described = false;
    char *description = NULL;
    // A folder that cannot be listed is the checkpoint's to complain about.
    if (st == QW_OK && qw_quant_description_find(&description, &is_described, dir, NULL) != QW_OK)
        is_described = false;
    qw_mem_free(description);
    if (st == QW_OK) {
        st = parse_config(out, text.data, text.len, is_described, overrides, err);
        if (st != QW_OK)
            qw_context(err, st, "'%.250s'%s", path, hf_overrides ? " with --hf-overrides" : "");
    }
    qw_mem_free(path);
    qw_buf_release(&text);
    json_decref(overrides);
    return st;
}

void qw_model_config_release(qw_model_config *c)
{
    qw_mem_free(c->mlp_only_layers);
    qw_mem_free(c->eos_token_ids);
    qw_mem_free(c->warnings);
    *c = (qw_model_config){0};
}

int32_t qw_model_config_max_len(const qw_model_config *c)
{
    return (int32_t)derived_max_len(c);
}

// g(s, c) of 4.1.
static double yarn_mscale(double factor, double c)
{
    return factor <= 1 ? 1 : 0.1 * c * log(factor) + 1;
}

double qw_model_config_attention_factor(const qw_model_config *c)
{
    const qw_rope_config *r = &c->rope;
    if (r->rope_type != QW_ROPE_YARN) return 1;
    if (r->has_attention_factor) return r->attention_factor;
    if (r->mscale != 0 && r->mscale_all_dim != 0)
        return yarn_mscale(r->factor, r->mscale) / yarn_mscale(r->factor, r->mscale_all_dim);
    return yarn_mscale(r->factor, 1) * r->attn_factor;
}

bool qw_model_config_next_warning(const char **rest, qw_str *warning)
{
    if (!*rest || !**rest) return false;
    *warning = (qw_str){*rest, strcspn(*rest, "\n")};
    *rest += warning->len + 1;
    return true;
}
