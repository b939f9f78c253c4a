#include "server/api_request.h"

#include <stdatomic.h>

#include "base/log.h"
#include "server/api_request_internal.h"

static const char *const sides[] = {"left", "right", NULL};

// Members that every form has.
static const qw_field common_fields[] = {
    {"model", .type = QW_FIELD_STR},
    {"frequency_penalty", .type = QW_FIELD_FLOAT},
    {"presence_penalty", .type = QW_FIELD_FLOAT},
    {"logit_bias", .type = QW_FIELD_FLOAT_MAP},
    {"max_tokens", .type = QW_FIELD_INT},
    {"n", .type = QW_FIELD_INT},
    {"seed", .type = QW_FIELD_INT},
    {"stop", .type = QW_FIELD_STR_OR_LIST},
    {"stream", .type = QW_FIELD_BOOL},
    {"stream_options", .type = QW_FIELD_OBJECT},
    {"temperature", .type = QW_FIELD_FLOAT},
    {"top_p", .type = QW_FIELD_FLOAT},
    {"top_k", .type = QW_FIELD_INT},
    {"min_p", .type = QW_FIELD_FLOAT},
    {"repetition_penalty", .type = QW_FIELD_FLOAT},
    {"use_beam_search", .type = QW_FIELD_BOOL, .not_null = true},
    {"length_penalty", .type = QW_FIELD_FLOAT, .not_null = true},
    {"stop_token_ids", .type = QW_FIELD_INT_LIST},
    {"include_stop_str_in_output", .type = QW_FIELD_BOOL, .not_null = true},
    {"ignore_eos", .type = QW_FIELD_BOOL, .not_null = true},
    {"min_tokens", .type = QW_FIELD_INT, .not_null = true},
    {"skip_special_tokens", .type = QW_FIELD_BOOL, .not_null = true},
    {"spaces_between_special_tokens", .type = QW_FIELD_BOOL, .not_null = true},
    {"truncate_prompt_tokens", .type = QW_FIELD_INT, .has_min = true, .min = -1},
    {"truncation_side", .type = QW_FIELD_CHOICE, .choices = sides},
    {"prompt_logprobs", .type = QW_FIELD_INT},
    {"allowed_token_ids", .type = QW_FIELD_INT_LIST},
    {"response_format", .type = QW_FIELD_OBJECT},
    {"structured_outputs", .type = QW_FIELD_OBJECT},
    {"guided_json", .type = QW_FIELD_ANY},
    {"guided_regex", .type = QW_FIELD_ANY},
    {"guided_choice", .type = QW_FIELD_ANY},
    {"guided_grammar", .type = QW_FIELD_ANY},
    {"guided_json_object", .type = QW_FIELD_ANY},
    {"guided_whitespace_pattern", .type = QW_FIELD_ANY},
    {"echo", .type = QW_FIELD_BOOL},
    {"add_special_tokens", .type = QW_FIELD_BOOL, .not_null = true},
    {"priority", .type = QW_FIELD_INT, .not_null = true},
    {"request_id", .type = QW_FIELD_STR},
    {"return_tokens_as_token_ids", .type = QW_FIELD_BOOL},
    {"return_token_ids", .type = QW_FIELD_BOOL},
    {"cache_salt", .type = QW_FIELD_STR},
    {"kv_transfer_params", .type = QW_FIELD_OBJECT},
    {"vllm_xargs", .type = QW_FIELD_OBJECT},
    {"repetition_detection", .type = QW_FIELD_OBJECT},
    {"user", .type = QW_FIELD_STR},
};

// Choices of one request: each costs a few hundred bytes before its first token.
enum { MAX_CHOICES = 1 << 16 };

static qw_status no_memory(qw_api_error *err)
{
    return qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL, "out of memory while reading a request");
}

void qw_api_request_begin(qw_api_request *r, qw_api_kind kind)
{
    *r = (qw_api_request){
        .kind = kind,
        .asked_max_tokens = -1,
        .asked_by = "max_tokens",
        .thinking_token_budget = -1,
        .n_prompts = 1,
        .truncate_prompt_tokens = -2,
        .include_reasoning = true,
    };
    qw_sampling_params_init(&r->params);
}

qw_status qw_api_request_parse(qw_api_request *out, qw_api_kind kind, qw_api_read_fn *read,
                               const qw_api_config *cfg, const qw_api_call *call, qw_api_error *err)
{
    qw_api_request r;
    json_t *raw = NULL;
    qw_api_request_begin(&r, kind);
    qw_status st = qw_api_body_parse(&raw, call->body, call->content_type, err);
    if (st == QW_OK) st = read(&r, cfg, raw, call, err);
    json_decref(raw);
    if (st == QW_OK)
        *out = r;
    else
        qw_api_request_release(&r);
    return st;
}

void qw_api_request_release(qw_api_request *r)
{
    qw_sampling_params_release(&r->params);
    json_decref(r->template_kwargs);
    json_decref(r->body);
    json_decref(r->original);
    json_decref(r->tool_grammar);
    *r = (qw_api_request){0};
}

qw_status qw_api_read_members(json_t **out, const json_t *raw, const qw_field *own, size_t n_own,
                              qw_issues *issues, qw_api_error *err)
{
    json_t *members = json_object();
    qw_status st = members ? QW_OK : no_memory(err);
    if (st == QW_OK) st = qw_api_schema_read(members, raw, own, n_own, issues, err);
    if (st == QW_OK)
        st = qw_api_schema_read(members, raw, common_fields, QW_ARRAY_LEN(common_fields), issues,
                                err);
    if (st == QW_OK)
        *out = members;
    else
        json_decref(members);
    return st;
}

// ---- rules between members, on the raw body

static qw_status check_salt(const json_t *body, qw_api_error *err)
{
    const json_t *salt = json_object_get(body, "cache_salt");
    if (!salt || json_is_null(salt) || (qw_api_is_text(salt) && json_string_length(salt) > 0))
        return QW_OK;
    return qw_api_fail_rule(err, "cache_salt",
                            "Parameter 'cache_salt' must be a non-empty string if provided.");
}

static qw_status check_logprobs(const json_t *body, qw_api_error *err)
{
    const json_t *prompt = json_object_get(body, "prompt_logprobs");
    if (json_is_number(prompt)) {
        double n = json_number_value(prompt);
        if (qw_api_is_truthy(json_object_get(body, "stream")) && (n > 0 || n == -1))
            return qw_api_fail_rule(err, "prompt_logprobs",
                                    "prompt_logprobs are not available when stream=True.");
        if (n < 0 && n != -1)
            return qw_api_fail_rule(err, "prompt_logprobs",
                                    "prompt_logprobs must be a positive value or -1.");
    }
    return QW_OK;
}

// Structured output can be asked for in many ways, old and new; only one at a time.
static qw_status check_constraints(const json_t *body, qw_api_error *err)
{
    static const char *const kinds[] = {"json",    "regex",       "choice",
                                        "grammar", "json_object", "structural_tag"};
    static const char *const guided[] = {"guided_json", "guided_regex", "guided_choice",
                                         "guided_grammar"};
    const json_t *outputs = json_object_get(body, "structured_outputs");
    size_t n = 0;
    for (size_t i = 0; i < QW_ARRAY_LEN(kinds); i++) n += qw_json_has(outputs, kinds[i]);
    for (size_t i = 0; i < QW_ARRAY_LEN(guided); i++) n += qw_json_has(body, guided[i]);
    if (n > 1)
        return qw_api_fail_rule(err, "structured_outputs",
                                "You can only use one kind of constraints for structured outputs "
                                "('json', 'regex', 'choice', 'grammar', 'json_object' or "
                                "'structural_tag').");
    if (json_is_object(outputs) && n == 0)
        return qw_api_fail_rule(err, "structured_outputs",
                                "structured_outputs needs one of 'json', 'regex', 'choice', "
                                "'grammar', 'json_object' or 'structural_tag'.");
    const json_t *format = json_object_get(body, "response_format");
    qw_str type = qw_api_str(format, "type");
    if (json_is_object(format) && !qw_str_is(type, "text") && !qw_str_is(type, "json_object") &&
        !qw_str_is(type, "json_schema") && !qw_str_is(type, "structural_tag"))
        return qw_api_fail_rule(err, "response_format",
                                "response_format type must be 'text', 'json_object', 'json_schema' "
                                "or 'structural_tag'.");
    if (qw_str_is(type, "json_schema") &&
        !qw_json_has(json_object_get(format, "json_schema"), "schema"))
        return qw_api_fail_rule(err, "response_format",
                                "When response_format type is 'json_schema', the 'json_schema' "
                                "field must be provided.");
    if (n > 0 && json_is_object(format) && !qw_str_is(type, "text"))
        return qw_api_fail_rule(err, "response_format",
                                "You can only use one of response_format and structured_outputs.");
    return QW_OK;
}

qw_status qw_api_check_rules(const json_t *body, qw_api_error *err)
{
    qw_status st = check_salt(body, err);
    if (st == QW_OK) st = check_constraints(body, err);
    if (st == QW_OK) st = check_logprobs(body, err);
    if (st != QW_OK) return st;
    if (qw_api_is_truthy(json_object_get(body, "stream_options")) &&
        !qw_api_is_truthy(json_object_get(body, "stream")))
        return qw_api_fail_rule(err, "stream_options",
                                "Stream options can only be defined when stream=True.");
    return QW_OK;
}

// ---- model

static qw_str last_component(const char *path)
{
    qw_str s = path ? qw_str_of(path) : (qw_str){"", 0};
    while (s.len > 1 && s.ptr[s.len - 1] == '/') s.len--;
    for (size_t i = s.len; i-- > 0;)
        if (s.ptr[i] == '/') return (qw_str){s.ptr + i + 1, s.len - i - 1};
    return s;
}

// A name that is not served, yet accepted (decision D3).
static bool is_alias(const qw_api_config *cfg, qw_str name)
{
    if (qw_str_is(name, cfg->model_path)) return true;
    if (cfg->resolved_path && qw_str_is(name, cfg->resolved_path)) return true;
    // Clients send the path on their own machine: its last component counts.
    qw_str given = name;
    for (size_t i = name.len; i-- > 0;)
        if (name.ptr[i] == '/') {
            given = (qw_str){name.ptr + i + 1, name.len - i - 1};
            break;
        }
    if (given.len == 0) return false;
    return qw_str_eq(given, last_component(cfg->model_path)) ||
           (cfg->resolved_path && qw_str_eq(given, last_component(cfg->resolved_path)));
}

static bool is_served(const qw_api_config *cfg, qw_str name)
{
    if (name.len == 0) return true;
    for (size_t i = 0; i < cfg->n_served_names; i++)
        if (qw_str_is(name, cfg->served_names[i])) return true;
    return false;
}

bool qw_api_config_knows_model(const qw_api_config *cfg, qw_str name)
{
    return cfg->skip_model_name_check || is_served(cfg, name) || is_alias(cfg, name);
}

// Once for the process: the same client sends the same name with every request.
static void warn_of_alias(const qw_api_config *cfg, qw_str name)
{
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    if (is_served(cfg, name) || atomic_flag_test_and_set(&warned)) return;
    QW_LOG(QW_LOG_WARN, "api_request",
           "a request named the model by its path and not by a served name; it gets '%s'",
           cfg->served_names[0]);
}

qw_status qw_api_check_model(const qw_api_config *cfg, const json_t *body, qw_api_error *err)
{
    qw_str name = qw_api_str(body, "model");
    if (qw_api_config_knows_model(cfg, name)) {
        warn_of_alias(cfg, name);
        return QW_OK;
    }
    return qw_api_fail(err, QW_FAULT_NOT_FOUND, "model", "The model `%.*s` does not exist.",
                       (int)(name.len > 1000 ? 1000 : name.len), name.ptr);
}

// ---- features to come

qw_status qw_api_check_features(const json_t *body, qw_api_error *err)
{
    if (qw_api_bool(body, "use_beam_search", false))
        return qw_api_fail(err, QW_FAULT_UNSUPPORTED, NULL, "use_beam_search is not implemented");
    return QW_OK;
}

// ---- sampling

static qw_status cannot_exceed_context(const qw_api_request *r, const qw_api_config *cfg,
                                       qw_api_error *err)
{
    if (r->asked_max_tokens <= cfg->max_model_len) return QW_OK;
    return qw_api_fail(err, QW_FAULT_REQUEST, r->asked_by,
                       "%s=%" PRId64 " cannot be greater than max_model_len=%" PRId32
                       ". Please request fewer output tokens.",
                       r->asked_by, r->asked_max_tokens, cfg->max_model_len);
}

static qw_status fill_sampling(qw_api_request *r, const qw_api_config *cfg, qw_api_error *err)
{
    qw_error why;
    const char *param = NULL;
    const qw_sampling_limits limits = {.max_n = cfg->max_n,
                                       .max_logprobs = cfg->max_logprobs ? cfg->max_logprobs : -1,
                                       .vocab_size = cfg->vocab_size};
    qw_sampling_params params;
    qw_status st = qw_sampling_params_copy(&params, cfg->defaults, &why);
    if (st != QW_OK) return qw_api_fail_with(err, st, &why, NULL);
    st = qw_sampling_params_apply_request(&params, r->body, &param, &why);
    if (st == QW_OK) st = qw_sampling_params_validate(&params, &limits, &param, &why);
    if (st != QW_OK) {
        qw_sampling_params_release(&params);
        return qw_api_fail_with(err, st, &why, param);
    }
    if (cfg->max_tokens_cap > 0 &&
        (params.max_tokens < 0 || params.max_tokens > cfg->max_tokens_cap))
        params.max_tokens = cfg->max_tokens_cap;
    r->params = params;
    // A cap of logprobs at 0 is a server that gives none but the token's own.
    if (cfg->max_logprobs == 0 && (params.logprobs > 0 || params.logprobs == QW_LOGPROBS_ALL))
        return qw_api_fail(err, QW_FAULT_REQUEST, "logprobs",
                           "Requested sample logprobs of %" PRId64
                           ", which is greater than max allowed: 0",
                           params.logprobs < 0 ? cfg->vocab_size : params.logprobs);
    return cannot_exceed_context(r, cfg, err);
}

static qw_status check_choices(const qw_api_request *r, qw_api_error *err)
{
    size_t n;
    if (qw_mul_size(&n, r->n_prompts, (size_t)r->params.n) && n <= MAX_CHOICES) return QW_OK;
    return qw_api_fail(err, QW_FAULT_REQUEST, "n",
                       "%zu prompts with n=%" PRId64 " are more than the %d choices that one "
                       "request may have",
                       r->n_prompts, r->params.n, MAX_CHOICES);
}

// ---- the rest

static void fill_id(qw_api_request *r, const qw_api_call *call)
{
    const char *prefix = r->dialect == QW_DIALECT_RESPONSES  ? "resp_"
                         : r->dialect == QW_DIALECT_MESSAGES ? "msg_"
                         : r->kind == QW_API_CHAT            ? "chatcmpl-"
                                                             : "cmpl-";
    qw_str own = qw_api_str(r->body, "request_id"), id = qw_str_of(call->random_id);
    if (call->request_id && call->request_id[0])
        id = qw_str_of(call->request_id);
    else if (own.len > 0)
        id = own;
    size_t room = sizeof r->id - strlen(prefix) - 1, n = id.len < room ? id.len : room;
    // Not half a character; a header may hold bytes that are no UTF-8 at all.
    while (n < id.len && n > 0 && ((unsigned char)id.ptr[n] & 0xC0) == 0x80) n--;
    if (!qw_utf8_is_valid((qw_str){id.ptr, n}) || memchr(id.ptr, '\0', n)) {
        id = qw_str_of(call->random_id);
        n = id.len < room ? id.len : room;
    }
    snprintf(r->id, sizeof r->id, "%s%.*s", prefix, (int)n, id.ptr);
}

static qw_status fill_stream(qw_api_request *r, const qw_api_config *cfg, qw_api_error *err)
{
    static const qw_field rows[] = {{"include_usage", .type = QW_FIELD_BOOL},
                                    {"continuous_usage_stats", .type = QW_FIELD_BOOL}};
    r->stream = qw_api_bool(r->body, "stream", false);
    const json_t *given = json_object_get(r->body, "stream_options");
    if (given) {
        qw_issues issues = {0};
        json_t *options = json_object();
        qw_status st = options ? QW_OK : no_memory(err);
        if (st == QW_OK)
            st = qw_api_schema_read(options, given, rows, QW_ARRAY_LEN(rows), &issues, err);
        if (st == QW_OK) st = qw_issues_check(&issues, NULL, err);
        r->include_usage = qw_api_bool(options, "include_usage", false);
        r->continuous_usage = qw_api_bool(options, "continuous_usage_stats", false);
        json_decref(options);
        if (st != QW_OK) return st;
    }
    if (cfg->force_include_usage) r->include_usage = r->continuous_usage = true;
    r->continuous_usage = r->continuous_usage && r->include_usage;
    return QW_OK;
}

qw_status qw_api_request_fill(qw_api_request *r, const qw_api_config *cfg, const qw_api_call *call,
                              qw_api_error *err)
{
    const json_t *body = r->body;
    fill_id(r, call);
    qw_status st = fill_stream(r, cfg, err);
    if (st == QW_OK) st = fill_sampling(r, cfg, err);
    if (st == QW_OK) st = check_choices(r, err);
    if (st != QW_OK) return st;
    r->logprobs = r->params.logprobs != QW_LOGPROBS_OFF;
    r->prompt_logprobs = json_object_get(body, "prompt_logprobs") != NULL;
    r->priority = qw_api_int(body, "priority", 0);
    r->cache_salt = qw_api_str(body, "cache_salt");
    r->echo = qw_api_bool(body, "echo", false);
    r->add_special_tokens = qw_api_bool(body, "add_special_tokens", r->kind == QW_API_COMPLETION);
    r->truncate_prompt_tokens = qw_api_int(body, "truncate_prompt_tokens", -2);
    r->truncate_right = qw_str_is(qw_api_str(body, "truncation_side"), "right");
    r->return_token_ids = qw_api_bool(body, "return_token_ids", false);
    r->return_tokens_as_token_ids =
        qw_api_bool(body, "return_tokens_as_token_ids", cfg->return_tokens_as_token_ids);
    if (r->truncate_prompt_tokens > cfg->max_model_len)
        return qw_api_fail(err, QW_FAULT_REQUEST, "truncate_prompt_tokens",
                           "truncate_prompt_tokens value (%" PRId64
                           ") is greater than max_model_len (%" PRId32
                           "). Please request a smaller truncation size.",
                           r->truncate_prompt_tokens, cfg->max_model_len);
    return QW_OK;
}
