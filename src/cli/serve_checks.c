// What the options of `serve` mean: lists and JSON made typed, and what belongs together checked.
#include <strings.h>

#include "cli/serve_internal.h"
#include "cli/serve_json.h"
#include "cli/serve_limits.h"
#include "format/opt_json.h"
#include "server/tool_calls.h"

const char qw_serve_summary[] =
    "Serves a model over HTTP in the way of OpenAI's API, as a drop-in for vllm serve.";

static qw_status no_memory(qw_error *err)
{
    return qw_fail(err, QW_ERR_NO_MEMORY, "out of memory while reading the options");
}

// Lists that end with NULL

static qw_status copy_list(qw_serve_options *o, const char *const **out, const char *const *items,
                           size_t n, qw_error *err)
{
    const char **list = qw_arena_array(&o->arena, n + 1, sizeof *list);
    if (!list) return no_memory(err);
    for (size_t i = 0; i < n; i++) list[i] = items[i];
    *out = list;
    return QW_OK;
}

// The strings of a JSON list, as vLLM wants them for CORS.
static qw_status read_json_list(qw_serve_options *o, const char *name, const char *const **out,
                                size_t *n_out, qw_error *err)
{
    const qw_opt_value *v = qw_opts_get(&o->opts, name);
    const char *text = v->texts[v->n_texts - 1];
    json_t *list = NULL;
    qw_error ignored;
    qw_status st = qw_json_parse(&list, text, strlen(text), name, &ignored);
    bool good = st == QW_OK && json_is_array(list);
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        good = json_is_string(item) && strlen(json_string_value(item)) == json_string_length(item);
    }
    if (st == QW_ERR_NO_MEMORY) {
        st = no_memory(err);
    } else if (!good) {
        st = qw_fail(err, QW_ERR_USAGE,
                     "argument --%s: invalid value '%.100s': expected a JSON list of strings such "
                     "as '[\"*\"]'",
                     name, text);
    } else {
        size_t n = json_array_size(list);
        const char **items = qw_arena_array(&o->arena, n + 1, sizeof *items);
        st = items ? QW_OK : no_memory(err);
        for (size_t i = 0; st == QW_OK && i < n; i++) {
            const json_t *item = json_array_get(list, i);
            items[i] =
                qw_arena_strndup(&o->arena, json_string_value(item), json_string_length(item));
            if (!items[i]) st = no_memory(err);
        }
        if (st == QW_OK) *out = items, *n_out = n;
    }
    json_decref(list);
    return st;
}

// "/health,/metrics"
static qw_status read_paths(qw_serve_options *o, qw_error *err)
{
    const char *text = qw_serve_text(o, "disable-access-log-for-endpoints");
    if (!text) return QW_OK;
    size_t most = 1;
    for (const char *p = text; *p; p++) most += *p == ',';
    const char **paths = qw_arena_array(&o->arena, most + 1, sizeof *paths);
    if (!paths) return no_memory(err);
    size_t n = 0;
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, ",");
        const char *end = p + len;
        while (p < end && *p == ' ') p++;
        size_t n_chars = (size_t)(end - p);
        while (n_chars > 0 && p[n_chars - 1] == ' ') n_chars--;
        if (n_chars > 0 && !(paths[n++] = qw_arena_strndup(&o->arena, p, n_chars)))
            return no_memory(err);
        p = end;
        if (*p == '\0') break;
    }
    o->access_log_excluded = paths;
    o->n_access_log_excluded = n;
    return QW_OK;
}

static qw_status read_keys(qw_serve_options *o, qw_error *err)
{
    const char *fallback = getenv("VLLM_API_KEY");
    if (o->n_api_keys == 0 && fallback && *fallback) {
        fallback = qw_arena_strndup(&o->arena, fallback, strlen(fallback));
        if (!fallback) return no_memory(err);
        o->n_api_keys = 1;
        return copy_list(o, &o->api_keys, &fallback, 1, err);
    }
    return copy_list(o, &o->api_keys, o->api_keys, o->n_api_keys, err);
}

static qw_status read_lists(qw_serve_options *o, qw_error *err)
{
    qw_status st = read_keys(o, err);
    if (st == QW_OK)
        st = read_json_list(o, "allowed-origins", &o->allowed_origins, &o->n_allowed_origins, err);
    if (st == QW_OK)
        st = read_json_list(o, "allowed-methods", &o->allowed_methods, &o->n_allowed_methods, err);
    if (st == QW_OK)
        st = read_json_list(o, "allowed-headers", &o->allowed_headers, &o->n_allowed_headers, err);
    return st == QW_OK ? read_paths(o, err) : st;
}

// Single values

static qw_status check_ssl(const qw_serve_options *o, qw_error *err)
{
    if (!o->ssl_keyfile != !o->ssl_certfile)
        return qw_fail(err, QW_ERR_USAGE, "--ssl-keyfile and --ssl-certfile need each other");
    if (o->ssl_keyfile) return QW_OK;
    if (o->ssl_ca_certs || o->ssl_cert_reqs)
        return qw_fail(err, QW_ERR_USAGE,
                       "--ssl-ca-certs and --ssl-cert-reqs need --ssl-keyfile and --ssl-certfile");
    return QW_OK;
}

static bool is_in(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, word) == 0) return true;
    return false;
}

static qw_status fail_choice(const char *name, const char *value, const char *choices,
                             qw_error *err)
{
    return qw_fail(err, QW_ERR_USAGE, "argument --%s: invalid value '%.60s': expected %s", name,
                   value, choices);
}

static qw_status check_parsers(qw_serve_options *o, qw_error *err)
{
    static const char *const reasoning[] = {"auto", "none", "qwen3", "deepseek_r1", NULL};
    if (*o->reasoning_parser == '\0') o->reasoning_parser = "auto";
    if (!is_in(o->reasoning_parser, reasoning))
        return fail_choice("reasoning-parser", o->reasoning_parser,
                           "auto, none, qwen3, deepseek_r1", err);
    if (o->tool_call_parser && qw_tool_form_of(o->tool_call_parser) == QW_TOOL_FORM_NONE)
        return fail_choice("tool-call-parser", o->tool_call_parser,
                           "hermes, qwen3, qwen3_coder, qwen3_xml", err);
    if (o->enable_auto_tool_choice && !o->tool_call_parser)
        return qw_fail(err, QW_ERR_USAGE, "--enable-auto-tool-choice requires --tool-call-parser");
    return QW_OK;
}

static qw_status check_together(const qw_serve_options *o, qw_error *err)
{
    if (o->enable_log_outputs && !o->enable_log_requests)
        return qw_fail(err, QW_ERR_USAGE, "--enable-log-outputs requires --enable-log-requests");
    bool custom = o->fingerprint_mode == QW_FINGERPRINT_CUSTOM;
    if (custom && !o->fingerprint_value)
        return qw_fail(err, QW_ERR_USAGE, "--fingerprint-mode custom requires --fingerprint-value");
    if (!custom && o->fingerprint_value)
        return qw_fail(err, QW_ERR_USAGE, "--fingerprint-value requires --fingerprint-mode custom");
    if (o->model.block_size % 16 != 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "--block-size must be a multiple of 16 from 16 to 128, got %" PRId64,
                       o->model.block_size);
    if (o->max_long_partial_prefills > o->max_num_partial_prefills)
        return qw_fail(err, QW_ERR_USAGE,
                       "max_long_partial_prefills (%" PRId64
                       ") must be less than or equal to max_num_partial_prefills (%" PRId64 ")",
                       o->max_long_partial_prefills, o->max_num_partial_prefills);
    if (o->max_num_partial_prefills > 1 && !o->enable_chunked_prefill)
        return qw_fail(err, QW_ERR_USAGE,
                       "--max-num-partial-prefills above 1 requires --enable-chunked-prefill");
    return QW_OK;
}

// Step plans

static qw_status read_mode(qw_serve_options *o, const json_t *config, qw_error *err)
{
    static const char *const modes[] = {"NONE", "PIECEWISE", "FULL", "FULL_DECODE_ONLY",
                                        "FULL_AND_PIECEWISE"};
    const char *text = json_string_value(json_object_get(config, "cudagraph_mode"));
    if (!text) return QW_OK;
    for (size_t i = 0; i < QW_ARRAY_LEN(modes); i++) {
        if (strcasecmp(modes[i], text) != 0) continue;
        o->cudagraph_mode = (qw_cudagraph_mode)i;
        return QW_OK;
    }
    return qw_fail(err, QW_ERR_USAGE,
                   "argument --compilation-config.cudagraph_mode: invalid value '%.60s': expected "
                   "NONE, PIECEWISE, FULL, FULL_DECODE_ONLY or FULL_AND_PIECEWISE",
                   text);
}

// `mode` is a number from 0 to 3 or its name.
static qw_status check_compile_mode(const json_t *config, qw_error *err)
{
    static const char *const names[] = {"NONE", "STOCK_TORCH_COMPILE", "DYNAMO_TRACE_ONCE",
                                        "VLLM_COMPILE"};
    const json_t *v = json_object_get(config, "mode");
    if (!v || json_is_null(v)) return QW_OK;
    bool good = json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= 3;
    for (size_t i = 0; json_is_string(v) && i < QW_ARRAY_LEN(names); i++)
        good |= strcasecmp(names[i], json_string_value(v)) == 0;
    if (good) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE,
                   "argument --compilation-config.mode: expected an integer from 0 to 3");
}

static qw_status set_sizes(qw_serve_options *o, int64_t *sizes, size_t n, const char *name,
                           qw_error *err)
{
    int64_t bad;
    if (!qw_capture_sizes_normalize(sizes, &n, o->max_cudagraph_capture_size, &bad))
        return qw_fail(err, QW_ERR_USAGE,
                       "argument --%s: invalid batch size %" PRId64
                       ": expected an integer from 1 to 65536",
                       name, bad);
    o->cudagraph_capture_sizes = n ? sizes : NULL;
    o->n_cudagraph_capture_sizes = n;
    return QW_OK;
}

static qw_status read_sizes(qw_serve_options *o, const json_t *config, qw_error *err)
{
    const json_t *largest = json_object_get(config, "max_cudagraph_capture_size");
    if (json_is_integer(largest)) o->max_cudagraph_capture_size = json_integer_value(largest);
    if (o->max_cudagraph_capture_size < 0 || o->max_cudagraph_capture_size > 65536)
        return qw_fail(err, QW_ERR_USAGE,
                       "argument --compilation-config.max_cudagraph_capture_size: expected an "
                       "integer from 0 to 65536, got %" PRId64,
                       o->max_cudagraph_capture_size);
    static const char *const flags[] = {"cudagraph-capture-sizes", "cuda-graph-sizes"};
    for (size_t i = 0; i < QW_ARRAY_LEN(flags); i++) {
        const qw_opt_value *v = qw_opts_get(&o->opts, flags[i]);
        if (!qw_serve_is_given(v)) continue;
        int64_t *sizes = qw_arena_array(&o->arena, v->n_texts, sizeof *sizes);
        if (!sizes) return no_memory(err);
        memcpy(sizes, v->as.ints, v->n_texts * sizeof *sizes);
        return set_sizes(o, sizes, v->n_texts, flags[i], err);
    }
    const json_t *list = json_object_get(config, "cudagraph_capture_sizes");
    size_t n = json_array_size(list);
    if (n == 0) return QW_OK;
    int64_t *sizes = qw_arena_array(&o->arena, n, sizeof *sizes);
    if (!sizes) return no_memory(err);
    for (size_t i = 0; i < n; i++) sizes[i] = json_integer_value(json_array_get(list, i));
    return set_sizes(o, sizes, n, "compilation-config.cudagraph_capture_sizes", err);
}

static qw_status read_step_plans(qw_serve_options *o, qw_error *err)
{
    const qw_opt_value *v = qw_opts_get(&o->opts, "compilation-config");
    const char *level = qw_serve_text(o, "optimization-level");
    if (level && strcmp(level, "0") == 0) o->cudagraph_mode = QW_CUDAGRAPH_NONE;
    json_t *config = NULL;
    qw_status st =
        qw_serve_is_given(v) ? qw_opt_json_merge(&config, &v->as.json, v->name, err) : QW_OK;
    if (st == QW_OK) st = read_mode(o, config, err);
    if (st == QW_OK) st = check_compile_mode(config, err);
    if (st == QW_OK) st = read_sizes(o, config, err);
    json_decref(config);
    if (o->enforce_eager) o->cudagraph_mode = QW_CUDAGRAPH_NONE;
    return st;
}

// JSON that is passed on

static qw_status read_template_kwargs(qw_serve_options *o, qw_error *err)
{
    const qw_opt_value *v = qw_opts_get(&o->opts, "default-chat-template-kwargs");
    if (!qw_serve_is_given(v)) return QW_OK;
    return qw_opt_json_merge(&o->default_chat_template_kwargs, &v->as.json, v->name, err);
}

// --rope-scaling and --rope-theta, which vLLM has removed, are members of --hf-overrides.
static qw_status read_old_rope(qw_serve_options *o, qw_error *err)
{
    static const char *const names[][2] = {{"rope-scaling", "rope_scaling"},
                                           {"rope-theta", "rope_theta"}};
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) {
        const char *text = qw_serve_text(o, names[i][0]);
        if (!text) continue;
        qw_opt_json *json = &o->model.hf_overrides;
        qw_opt_assign *all = qw_arena_array(&o->arena, json->n_assigns + 1, sizeof *all);
        if (!all) return no_memory(err);
        for (size_t k = 0; k < json->n_assigns; k++) all[k] = json->assigns[k];
        all[json->n_assigns] = (qw_opt_assign){.path = names[i][1], .value = text};
        json->assigns = all;
        json->n_assigns++;
    }
    return QW_OK;
}

qw_status qw_serve_read_draft(qw_draft_config *draft, json_t **object, const qw_serve_options *o,
                              qw_error *err)
{
    *object = NULL;
    const qw_opt_value *v = qw_opts_get(&o->opts, "speculative-config");
    if (!qw_serve_is_given(v)) return QW_OK;
    qw_status st = qw_opt_json_merge(object, &v->as.json, v->name, err);
    if (st == QW_OK) st = qw_draft_config_read(draft, *object, err);
    if (st == QW_OK) return QW_OK;
    json_decref(*object);
    *object = NULL;
    return st;
}

static qw_status check_draft(const qw_serve_options *o, qw_error *err)
{
    qw_draft_config draft;
    json_t *object;
    qw_status st = qw_serve_read_draft(&draft, &object, o, err);
    json_decref(object);
    return st;
}

// Memory

// vLLM's CPU backend takes the size of the KV cache from a variable.
static qw_status read_kv_space(qw_serve_options *o, qw_error *err)
{
    const char *text = getenv("VLLM_CPU_KVCACHE_SPACE");
    if (!text || !*text) return QW_OK;
    double gib;
    if (!qw_str_to_f64(qw_str_of(text), &gib) || gib < 0 || gib > 1e6)
        return qw_fail(err, QW_ERR_USAGE,
                       "environment variable VLLM_CPU_KVCACHE_SPACE: invalid value '%.40s': "
                       "expected a number of GiB",
                       text);
    if (o->model.kv_cache_memory_bytes == 0)
        o->model.kv_cache_memory_bytes = (int64_t)(gib * (double)((int64_t)1 << 30));
    return QW_OK;
}

// The limits that can be compared before the model is known.
static qw_status check_limits(const qw_serve_options *o, qw_error *err)
{
    const qw_serve_limits_input in = {
        .given = {o->model.max_num_seqs, o->model.max_num_batched_tokens},
        .max_model_len = o->model.max_model_len > 0 ? o->model.max_model_len : 0,
        .long_prefill_token_threshold = o->long_prefill_token_threshold,
        .enable_chunked_prefill = o->enable_chunked_prefill,
        .throughput = o->performance_mode == QW_PERFORMANCE_THROUGHPUT};
    qw_serve_limits ignored;
    bool unused;
    return qw_serve_limits_choose(&ignored, &unused, &in, err);
}

qw_status qw_serve_options_check(qw_serve_options *o, qw_error *err)
{
    qw_status st = read_lists(o, err);
    if (st == QW_OK) st = check_ssl(o, err);
    if (st == QW_OK) st = check_parsers(o, err);
    if (st == QW_OK) st = check_together(o, err);
    if (st == QW_OK) st = read_step_plans(o, err);
    if (st == QW_OK) st = read_template_kwargs(o, err);
    if (st == QW_OK) st = read_old_rope(o, err);
    if (st == QW_OK) st = check_draft(o, err);
    if (st == QW_OK) st = read_kv_space(o, err);
    if (st == QW_OK) st = check_limits(o, err);
    return st;
}
