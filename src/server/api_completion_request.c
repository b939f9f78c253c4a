#include "server/api_request_internal.h"

enum { DEFAULT_MAX_TOKENS = 16 };

static const qw_field fields[] = {
    {"prompt", .type = QW_FIELD_ANY},
    {"prompt_embeds", .type = QW_FIELD_ANY},
    {"suffix", .type = QW_FIELD_STR},
    {"logprobs", .type = QW_FIELD_INT},
};

static qw_status check_rules(const json_t *body, qw_api_error *err)
{
    const json_t *logprobs = json_object_get(body, "logprobs");
    const json_t *prompt = json_object_get(body, "prompt");
    bool is_empty = !prompt || json_is_null(prompt) ||
                    (json_is_string(prompt) && json_string_length(prompt) == 0) ||
                    (json_is_array(prompt) && json_array_size(prompt) == 0);
    if (is_empty && !qw_json_has(body, "prompt_embeds"))
        return qw_api_fail_rule(err, "prompt",
                                "Either prompt or prompt_embeds must be provided and non-empty.");
    if (json_is_number(logprobs) && json_number_value(logprobs) < 0)
        return qw_api_fail_rule(err, "logprobs", "logprobs must be a positive value.");
    return qw_api_check_rules(body, err);
}

// An id of a prompt: an integer from 0 on that fits an id.
static bool is_id(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= INT32_MAX;
}

static bool is_id_list(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!is_id(json_array_get(list, i))) return false;
    return json_is_array(list);
}

// A text, a list of ids, or a list of either kind. *n is the number of prompts.
static void check_prompt(const json_t *prompt, size_t *n, qw_issues *issues)
{
    *n = 1;
    if (!prompt || qw_api_is_text(prompt) || (is_id_list(prompt) && json_array_size(prompt) > 0))
        return;
    if (!json_is_array(prompt)) {
        qw_issues_add(issues, "'prompt'", "string_type", prompt,
                      "Input should be a valid string, a list of strings, a list of token ids or "
                      "a list of lists of token ids");
        return;
    }
    *n = json_array_size(prompt);
    bool texts = qw_api_is_text(json_array_get(prompt, 0));
    for (size_t i = 0; i < *n; i++) {
        const json_t *v = json_array_get(prompt, i);
        char path[40];
        if (texts ? qw_api_is_text(v) : is_id_list(v)) continue;
        snprintf(path, sizeof path, "'prompt', %zu", i);
        qw_issues_add(issues, path, texts ? "string_type" : "list_type", v,
                      texts ? "Input should be a valid string"
                            : "Input should be a token id or a list of token ids");
        return;
    }
}

static qw_status check_features(const json_t *body, qw_api_error *err)
{
    if (json_object_get(body, "suffix"))
        return qw_api_fail(err, QW_FAULT_REQUEST, NULL, "suffix is not currently supported");
    if (json_object_get(body, "prompt_embeds"))
        return qw_api_fail(err, QW_FAULT_UNSUPPORTED, NULL, "prompt_embeds is not implemented");
    return qw_api_check_features(body, err);
}

static qw_status set_int(json_t *body, const char *name, int64_t value, qw_api_error *err)
{
    if (json_object_set_new(body, name, json_integer(value)) == 0) return QW_OK;
    return qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL, "out of memory while reading a request");
}

// Defaults that depend on other members. `raw`: the body as it came, where null is not absent.
static qw_status settle_counts(qw_api_request *r, const json_t *raw, qw_api_error *err)
{
    qw_status st = QW_OK;
    json_t *body = r->body;
    bool echo = qw_api_bool(body, "echo", false);
    if (!json_object_get(raw, "max_tokens"))
        st = set_int(body, "max_tokens", DEFAULT_MAX_TOKENS, err);
    r->asked_max_tokens = qw_api_int(body, "max_tokens", -1);
    if (st == QW_OK && echo && r->asked_max_tokens == 0 && json_object_get(body, "max_tokens")) {
        // A token is computed all the same, for the prompt has to go through the model.
        r->prompt_only = true;
        r->asked_max_tokens = 1;
        st = set_int(body, "max_tokens", 1, err);
    }
    return st;
}

// The answer's logprobs then cover the prompt too.
static void echo_logprobs(qw_api_request *r)
{
    if (r->echo && !r->prompt_logprobs) r->params.prompt_logprobs = r->params.logprobs;
}

static qw_status parse(qw_api_request *r, const qw_api_config *cfg, const json_t *raw,
                       const qw_api_call *call, qw_api_error *err)
{
    qw_issues issues = {0};
    qw_status st = check_rules(raw, err);
    if (st == QW_OK)
        st = qw_api_read_members(&r->body, raw, fields, QW_ARRAY_LEN(fields), &issues, err);
    if (st != QW_OK) return st;
    r->prompt = json_object_get(r->body, "prompt");
    check_prompt(r->prompt, &r->n_prompts, &issues);
    st = qw_issues_check(&issues, NULL, err);
    if (st == QW_OK) st = qw_api_check_model(cfg, r->body, err);
    if (st == QW_OK) st = check_features(r->body, err);
    if (st == QW_OK) st = settle_counts(r, raw, err);
    if (st == QW_OK) st = qw_api_request_fill(r, cfg, call, err);
    if (st == QW_OK) echo_logprobs(r);
    return st;
}

qw_status qw_api_request_parse_completion(qw_api_request *out, const qw_api_config *cfg,
                                          const qw_api_call *call, qw_api_error *err)
{
    return qw_api_request_parse(out, QW_API_COMPLETION, parse, cfg, call, err);
}
