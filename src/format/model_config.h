#ifndef QW_FORMAT_MODEL_CONFIG_H
#define QW_FORMAT_MODEL_CONFIG_H

// config.json of a model directory as a typed struct (qwen3-dense 1.1, 1.2, 4).
#include "base/dtype.h"
#include "base/status.h"
#include "format/rope_config.h"

/** The most experts of a layer. */
#define QW_MAX_EXPERTS 1024

/**
 * What a Qwen3 config.json says, checked: every count is at least 1, nh * head_dim,
 * nkv * head_dim and the bytes of all weights in fp32 do not overflow, num_key_value_heads divides
 * num_attention_heads, head_dim is even, hidden_act is silu, no layer attends to a window, each
 * token goes to at most all experts. Fields keep the file's spelling.
 */
typedef struct qw_model_config {
    const char *architecture; /* the accepted one of `architectures`; static text */
    int32_t hidden_size, intermediate_size;
    int32_t num_hidden_layers;
    int32_t num_attention_heads, num_key_value_heads;
    int32_t head_dim; /* never hidden_size / num_attention_heads */
    int32_t vocab_size;
    int32_t max_position_embeddings;
    /* Mixture of experts (Qwen3-MoE); num_experts 0: every layer is dense, nothing else counts. */
    int32_t num_experts, num_experts_per_tok, moe_intermediate_size;
    bool norm_topk_prob;         /* the weights of a token's experts are made to add up to 1 */
    int32_t decoder_sparse_step; /* layers step - 1, 2 step - 1, ... have experts, */
    int32_t *mlp_only_layers;    /* but not these */
    size_t n_mlp_only_layers;
    double rms_norm_eps;
    bool tie_word_embeddings;
    bool attention_bias; /* q, k, v and o projections have a bias; the model supports or refuses */
    bool has_torch_dtype;
    qw_dtype torch_dtype; /* as saved ("dtype" in newer files); the tensors' own dtype decides */
    qw_rope_config rope;
    int32_t *eos_token_ids; /* of config.json; see qw_generation_config for the ones in force */
    size_t n_eos_token_ids;
    char *warnings; /* for the caller to print: one sentence per line, each ended by a newline */
} qw_model_config;

/** The next of config->warnings, without its newline: *rest begins as that text and moves on. False
 *  when there is no more. */
bool qw_model_config_next_warning(const char **rest, qw_str *warning);

/**
 * Read `dir`/config.json with `hf_overrides` (the JSON text of --hf-overrides; NULL: none) merged
 * into it (4.4): scalars replace, nested config objects merge, other objects replace; a rope object
 * wins over both spellings in the file and keeps the file's rope_theta if it has none of its own;
 * strings that hold a number count as that number.
 * QW_ERR_USAGE: the overrides are no JSON object; QW_ERR_FORMAT: a missing or impossible value;
 * QW_ERR_UNSUPPORTED: another architecture, rope type, activation, sliding windows, a
 * quantization_config (unless `dir` is an ascend checkpoint, format/quant_description.h). Release
 * with qw_model_config_release.
 */
QW_MUST_CHECK qw_status qw_model_config_load(qw_model_config *out, const char *dir,
                                             const char *hf_overrides, qw_error *err);
/** The same from `len` bytes of config.json's text. */
QW_MUST_CHECK qw_status qw_model_config_parse(qw_model_config *out, const char *text, size_t len,
                                              const char *hf_overrides, qw_error *err);
void qw_model_config_release(qw_model_config *cfg);

/**
 * Longest context in tokens that the model is made for (4.3): max_position_embeddings, times
 * `factor` for linear scaling; original_max_position_embeddings * factor for YaRN.
 */
int32_t qw_model_config_max_len(const qw_model_config *cfg);

/** True for a layer with experts instead of one MLP (qwen3-omni.md 2.3). */
bool qw_model_config_is_sparse(const qw_model_config *cfg, int layer);
/** How many of the layers are. */
int qw_model_config_n_sparse(const qw_model_config *cfg);
/** Weights of the products of all layers: that there are (`n_experts` num_experts), or that one
 *  token meets (num_experts_per_tok). */
double qw_model_config_layer_weights(const qw_model_config *cfg, double n_experts);
/** Experts of a layer that n_rows rows go to, if all are as likely. */
double qw_model_config_touched_experts(const qw_model_config *cfg, double n_rows);

/** m of 4.1, which multiplies cos and sin: 1 unless YaRN. */
double qw_model_config_attention_factor(const qw_model_config *cfg);

#endif
