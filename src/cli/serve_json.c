#include "cli/serve_json.h"

#include "base/nearest.h"

typedef enum key_type {
    KEY_ANY,
    KEY_BOOL,
    KEY_INT,
    KEY_NUMBER,
    KEY_TEXT,
    KEY_OBJECT,
    KEY_LIST,
    KEY_INTS,
} key_type;

static const char *const type_words[] = {
    [KEY_ANY] = "any value",   [KEY_BOOL] = "true or false",      [KEY_INT] = "an integer",
    [KEY_NUMBER] = "a number", [KEY_TEXT] = "a string",           [KEY_OBJECT] = "an object",
    [KEY_LIST] = "a list",     [KEY_INTS] = "a list of integers",
};

typedef struct json_key {
    const char *key;
    key_type type;
    qw_opt_effect effect;
    const char *why;
} json_key;

typedef struct json_option {
    const char *name;
    const json_key *keys;
    size_t n_keys;
} json_option;

#define COMPILER "there is no compiler to configure"
#define ONE_RANK "1 rank: nothing is communicated"
#define OTHER_MODEL "of models that do not run here"
#define NOT_BUILT "not built yet"
#define NO_DRAFT "not built yet: answers are not drafted"

// vLLM's CompilationConfig.
static const json_key compilation_keys[] = {
    {"cudagraph_mode", KEY_TEXT, QW_OPT_ACTIVE, "which steps run from plans"},
    {"cudagraph_capture_sizes", KEY_INTS, QW_OPT_ACTIVE, "batch sizes that get a step plan"},
    {"max_cudagraph_capture_size", KEY_INT, QW_OPT_ACTIVE, "largest batch with a step plan"},
    {"mode", KEY_ANY, QW_OPT_INERT, COMPILER},
    {"level", KEY_INT, QW_OPT_INERT, COMPILER},
    {"backend", KEY_TEXT, QW_OPT_INERT, COMPILER},
    {"custom_ops", KEY_LIST, QW_OPT_INERT, COMPILER},
    {"splitting_ops", KEY_LIST, QW_OPT_INERT, COMPILER},
    {"pass_config", KEY_OBJECT, QW_OPT_INERT, COMPILER},
    {"compile_sizes", KEY_LIST, QW_OPT_INERT, COMPILER},
    {"compile_ranges_endpoints", KEY_LIST, QW_OPT_INERT, COMPILER},
    {"compile_ranges_split_points", KEY_LIST, QW_OPT_INERT, COMPILER},
    {"compile_mm_encoder", KEY_BOOL, QW_OPT_INERT, COMPILER},
    {"inductor_compile_config", KEY_OBJECT, QW_OPT_INERT, COMPILER},
    {"inductor_passes", KEY_OBJECT, QW_OPT_INERT, COMPILER},
    {"use_inductor", KEY_BOOL, QW_OPT_INERT, COMPILER},
    {"use_inductor_graph_partition", KEY_BOOL, QW_OPT_INERT, COMPILER},
    {"use_cudagraph", KEY_BOOL, QW_OPT_INERT, "cudagraph_mode says it"},
    {"full_cuda_graph", KEY_BOOL, QW_OPT_INERT, "cudagraph_mode says it"},
    {"cudagraph_num_of_warmups", KEY_INT, QW_OPT_INERT, "plans need no warm-up"},
    {"cudagraph_copy_inputs", KEY_BOOL, QW_OPT_INERT, "plans read their inputs where they are"},
    {"cudagraph_specialize_lora", KEY_BOOL, QW_OPT_INERT, "there are no LoRA adapters"},
    {"cache_dir", KEY_TEXT, QW_OPT_INERT, COMPILER},
    {"debug_dump_path", KEY_TEXT, QW_OPT_INERT, COMPILER},
    {"local_cache_dir", KEY_TEXT, QW_OPT_INERT, COMPILER},
    {"dynamic_shapes_config", KEY_OBJECT, QW_OPT_INERT, COMPILER},
    {"fast_moe_cold_start", KEY_ANY, QW_OPT_INERT, COMPILER},
    {"static_all_moe_layers", KEY_LIST, QW_OPT_INERT, COMPILER},
};

// vLLM-Ascend's additional_config.md (features 1I). Whatever changes the place or the order of work
// but not its result is inert: outputs are the same with and without.
static const json_key additional_keys[] = {
    {"enable_flashcomm1", KEY_BOOL, QW_OPT_INERT, ONE_RANK},
    {"flashcomm2_parallel_size", KEY_INT, QW_OPT_INERT, ONE_RANK},
    {"enable_matmul_allreduce", KEY_BOOL, QW_OPT_INERT, ONE_RANK},
    {"finegrained_tp_config", KEY_OBJECT, QW_OPT_INERT, ONE_RANK},
    {"enable_fused_mc2", KEY_ANY, QW_OPT_INERT, ONE_RANK},
    {"enable_mc2_hierarchy_comm", KEY_BOOL, QW_OPT_INERT, ONE_RANK},
    {"enable_context_parallel", KEY_BOOL, QW_OPT_INERT, ONE_RANK},
    {"layer_sharding", KEY_LIST, QW_OPT_INERT, ONE_RANK},
    {"enable_balance_scheduling", KEY_BOOL, QW_OPT_INERT, ONE_RANK},
    {"eplb_config", KEY_OBJECT, QW_OPT_INERT, "1 rank holds all experts"},
    {"enable_shared_expert_dp", KEY_BOOL, QW_OPT_INERT, OTHER_MODEL},
    {"multistream_overlap_shared_expert", KEY_BOOL, QW_OPT_INERT, OTHER_MODEL},
    {"multistream_overlap_gate", KEY_BOOL, QW_OPT_INERT, OTHER_MODEL},
    {"multistream_dsv4_dsa_overlap", KEY_ANY, QW_OPT_INERT, OTHER_MODEL},
    {"enable_kv_nz", KEY_BOOL, QW_OPT_INERT, OTHER_MODEL},
    {"enable_mlapo", KEY_BOOL, QW_OPT_INERT, OTHER_MODEL},
    {"enable_sparse_c8", KEY_BOOL, QW_OPT_INERT, OTHER_MODEL},
    {"c8_enable_reshape_optim", KEY_BOOL, QW_OPT_INERT, OTHER_MODEL},
    {"enable_dsa_cp", KEY_BOOL, QW_OPT_INERT, OTHER_MODEL},
    {"weight_nz_mode", KEY_INT, QW_OPT_INERT,
     "weights are always packed for the kernels, as under mode 2"},
    {"weight_prefetch_config", KEY_OBJECT, QW_OPT_INERT, "kernels prefetch their weights anyway"},
    {"pa_shape_list", KEY_INTS, QW_OPT_INERT, "one attention kernel serves all batch sizes"},
    {"ascend_compilation_config", KEY_OBJECT, QW_OPT_INERT, "there is no graph compiler"},
    {"enable_npugraph_ex", KEY_BOOL, QW_OPT_INERT, "there is no graph compiler"},
    {"xlite_graph_config", KEY_OBJECT, QW_OPT_INERT, "there is no graph compiler"},
    {"torchair_graph_config", KEY_OBJECT, QW_OPT_INERT, "there is no graph compiler"},
    {"enable_cpu_binding", KEY_BOOL, QW_OPT_ADJUSTED,
     "compute threads are bound to cores whenever there are enough"},
    {"recompute_scheduler_enable", KEY_BOOL, QW_OPT_INERT, "preempted requests are recomputed"},
    {"ascend_scheduler_config", KEY_OBJECT, QW_OPT_INERT, "there is one scheduler"},
    {"enable_async_exponential", KEY_ANY, QW_OPT_INERT,
     "samples do not depend on when they are drawn"},
    {"SLO_limits_for_dynamic_batch", KEY_NUMBER, QW_OPT_WARNED,
     NOT_BUILT ": a step's size is --max-num-batched-tokens"},
    {"rejection_sampler_config", KEY_OBJECT, QW_OPT_WARNED, NO_DRAFT},
    {"enable_transpose_kv_cache_by_block", KEY_BOOL, QW_OPT_INERT, ONE_RANK},
    {"profiling_chunk_config", KEY_OBJECT, QW_OPT_INERT, "steps need no profiling"},
    {"msmonitor_use_daemon", KEY_BOOL, QW_OPT_INERT, "/metrics has the numbers"},
    {"dump_config", KEY_ANY, QW_OPT_WARNED, NOT_BUILT},
    {"dump_config_path", KEY_TEXT, QW_OPT_WARNED, NOT_BUILT},
    {"refresh", KEY_BOOL, QW_OPT_INERT, "every start reads its options anew"},
    {"expert_tensor_parallel_size", KEY_INT, QW_OPT_INERT, ONE_RANK},
    {"lmhead_tensor_parallel_size", KEY_INT, QW_OPT_INERT, ONE_RANK},
    {"chunked_prefill_for_mla", KEY_BOOL, QW_OPT_INERT, OTHER_MODEL},
    {"expert_map_path", KEY_TEXT, QW_OPT_INERT, "1 rank holds all experts"},
};

static const json_key speculative_keys[] = {
    {"method", KEY_TEXT, QW_OPT_WARNED, NO_DRAFT},
    {"model", KEY_TEXT, QW_OPT_INERT, NO_DRAFT},
    {"num_speculative_tokens", KEY_INT, QW_OPT_INERT, NO_DRAFT},
    {"enforce_eager", KEY_BOOL, QW_OPT_INERT, NO_DRAFT},
    {"draft_tensor_parallel_size", KEY_INT, QW_OPT_INERT, NO_DRAFT},
    {"quantization", KEY_TEXT, QW_OPT_INERT, NO_DRAFT},
    {"max_model_len", KEY_INT, QW_OPT_INERT, NO_DRAFT},
    {"revision", KEY_TEXT, QW_OPT_INERT, NO_DRAFT},
    {"prompt_lookup_max", KEY_INT, QW_OPT_INERT, NO_DRAFT},
    {"prompt_lookup_min", KEY_INT, QW_OPT_INERT, NO_DRAFT},
    {"disable_padded_drafter_batch", KEY_BOOL, QW_OPT_INERT, NO_DRAFT},
    {"parallel_drafting", KEY_BOOL, QW_OPT_INERT, NO_DRAFT},
    {"disable_by_batch_size", KEY_INT, QW_OPT_INERT, NO_DRAFT},
    {"rejection_sample_method", KEY_TEXT, QW_OPT_INERT, NO_DRAFT},
    {"speculative_token_tree", KEY_TEXT, QW_OPT_INERT, NO_DRAFT},
    {"suffix_decoding_max_tree_depth", KEY_INT, QW_OPT_INERT, NO_DRAFT},
    {"suffix_decoding_max_cached_requests", KEY_INT, QW_OPT_INERT, NO_DRAFT},
    {"suffix_decoding_max_spec_factor", KEY_NUMBER, QW_OPT_INERT, NO_DRAFT},
    {"suffix_decoding_min_token_prob", KEY_NUMBER, QW_OPT_INERT, NO_DRAFT},
    {"num_speculative_tokens_per_batch_size", KEY_ANY, QW_OPT_INERT, NO_DRAFT},
};

static const json_option options[] = {
    {"compilation-config", compilation_keys, QW_ARRAY_LEN(compilation_keys)},
    {"additional-config", additional_keys, QW_ARRAY_LEN(additional_keys)},
    {"speculative-config", speculative_keys, QW_ARRAY_LEN(speculative_keys)},
};

static const json_option *find_option(const char *name)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(options); i++)
        if (strcmp(options[i].name, name) == 0) return &options[i];
    return NULL;
}

bool qw_serve_json_has_keys(const char *option)
{
    return find_option(option) != NULL;
}

static bool has_type(const json_t *v, key_type type)
{
    if (json_is_null(v)) return true; // as if it were not there
    switch (type) {
    case KEY_ANY: return true;
    case KEY_BOOL: return json_is_boolean(v) || json_is_integer(v);
    case KEY_INT: return json_is_integer(v);
    case KEY_NUMBER: return json_is_number(v);
    case KEY_TEXT: return json_is_string(v);
    case KEY_OBJECT: return json_is_object(v);
    case KEY_LIST: return json_is_array(v);
    case KEY_INTS:
        if (!json_is_array(v)) return false;
        for (size_t i = 0; i < json_array_size(v); i++)
            if (!json_is_integer(json_array_get(v, i))) return false;
        return true;
    }
    return false;
}

static qw_status note(qw_explain *records, const char *option, const json_key *k, const json_t *v,
                      qw_opt_source source, qw_error *err)
{
    char name[160];
    snprintf(name, sizeof name, "--%s.%s", option, k->key);
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 24);
    qw_json_write(&text, v, false);
    qw_status st = qw_buf_check(&text, name, err);
    if (st == QW_OK)
        st = qw_explain_add(records, err, name, text.data, source, k->effect, "%s", k->why);
    if (st == QW_OK && k->effect == QW_OPT_WARNED)
        st = qw_explain_warn(records, err, "%s has no effect: %s", name, k->why);
    qw_buf_release(&text);
    return st;
}

static qw_status check_key(qw_explain *records, const json_option *o, const char *key,
                           const json_t *v, qw_opt_source source, qw_error *err)
{
    qw_nearest near;
    qw_nearest_init(&near, qw_str_of(key));
    for (size_t i = 0; i < o->n_keys; i++) {
        const json_key *k = &o->keys[i];
        if (strcmp(k->key, key) != 0) {
            qw_nearest_offer(&near, k->key);
            continue;
        }
        if (!has_type(v, k->type))
            return qw_fail(err, QW_ERR_USAGE, "argument --%s.%s: expected %s, got %s", o->name, key,
                           type_words[k->type], qw_json_type_name(v));
        return note(records, o->name, k, v, source, err);
    }
    if (near.name)
        return qw_explain_warn(records, err, "--%s: unknown key '%.100s' (did you mean '%s'?)",
                               o->name, key, near.name);
    return qw_explain_warn(records, err, "--%s: unknown key '%.100s'", o->name, key);
}

qw_status qw_serve_json_check(qw_explain *records, const char *option, const json_t *object,
                              qw_opt_source source, qw_error *err)
{
    const json_option *o = find_option(option);
    QW_ASSERT(o);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        qw_status st = check_key(records, o, key, value, source, err);
        if (st != QW_OK) return st;
    }
    return QW_OK;
}

// Drafts

typedef struct draft_method {
    const char *name;
    bool needs_model;
} draft_method;

static const draft_method methods[] = {
    {"eagle3", true},         {"eagle", true},  {"draft_model", true},
    {"medusa", true},         {"ngram", false}, {"ngram_gpu", false},
    {"suffix", false},        {"mtp", false},   {"qwen3_next_mtp", false},
    {"mlp_speculator", true}, {"dflash", true}, {"extract_hidden_states", false},
};

static const draft_method *find_method(const char *name, qw_nearest *near)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(methods); i++) {
        if (strcmp(methods[i].name, name) == 0) return &methods[i];
        qw_nearest_offer(near, methods[i].name);
    }
    return NULL;
}

qw_status qw_draft_config_read(qw_draft_config *out, const json_t *object, qw_error *err)
{
    qw_draft_config d = {
        .method = json_string_value(json_object_get(object, "method")),
        .model = json_string_value(json_object_get(object, "model")),
    };
    const json_t *n = json_object_get(object, "num_speculative_tokens");
    if (json_is_integer(n)) {
        d.num_speculative_tokens = json_integer_value(n);
        if (d.num_speculative_tokens < 1)
            return qw_fail(err, QW_ERR_USAGE,
                           "argument --speculative-config.num_speculative_tokens: expected an "
                           "integer of at least 1, got %" PRId64,
                           d.num_speculative_tokens);
    }
    if (!d.method && !d.model)
        return qw_fail(err, QW_ERR_USAGE,
                       "argument --speculative-config: give a method ('eagle3', 'ngram', ...) or a "
                       "draft model's directory");
    if (d.method) {
        qw_nearest near;
        qw_nearest_init(&near, qw_str_of(d.method));
        const draft_method *m = find_method(d.method, &near);
        if (!m)
            return qw_fail(err, QW_ERR_USAGE,
                           "argument --speculative-config.method: unknown method '%.60s'%s%s%s",
                           d.method, near.name ? " (did you mean '" : "",
                           near.name ? near.name : "", near.name ? "'?)" : "");
        if (m->needs_model && !d.model)
            return qw_fail(err, QW_ERR_USAGE,
                           "argument --speculative-config: method '%s' needs 'model', the draft "
                           "model's directory",
                           d.method);
    }
    *out = d;
    return QW_OK;
}
