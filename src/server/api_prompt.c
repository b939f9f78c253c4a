// From a checked request to the ids of a prompt, and whether the context has room for them. Runs on
// worker threads.

#include "base/mem.h"
#include "server/api_request_internal.h"

enum { MAX_PROMPT_TEXT = 1 << 30 };

#define REDUCE                                                                                     \
    "Please reduce the length of the input prompt or the number of requested output tokens."

void qw_api_prompt_release(qw_api_prompt *p)
{
    qw_ids_release(&p->ids);
    qw_buf_release(&p->text);
}

int32_t qw_api_longest_token(const qw_tokenizer *tokenizer)
{
    int32_t longest = 0, n_ids = qw_tokenizer_get_info(tokenizer)->n_ids;
    for (int32_t id = 0; id < n_ids; id++) {
        size_t len = qw_tokenizer_token_bytes(tokenizer, id).len;
        if (len > (size_t)longest && len <= INT32_MAX) longest = (int32_t)len;
    }
    return longest;
}

// ---- bounds

// Tokens that the request wants for the answer, as far as it said so.
static int64_t wanted(const qw_api_request *r)
{
    return r->asked_max_tokens > 0 ? r->asked_max_tokens : 0;
}

static size_t count_characters(qw_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return n;
}

// A text that is too long however it is cut into tokens is not tokenized at all.
static qw_status check_characters(const qw_api_request *r, const qw_api_config *cfg, qw_str text,
                                  qw_api_error *err)
{
    // What is truncated may be of any length.
    if (cfg->longest_token <= 0 || r->truncate_prompt_tokens != -2) return QW_OK;
    int64_t room = cfg->max_model_len - wanted(r);
    int64_t most = room * cfg->longest_token, n = (int64_t)text.len;
    if (n <= most) return QW_OK; // bytes: at least as many as characters
    n = (int64_t)count_characters(text);
    if (n <= most) return QW_OK;
    return qw_api_fail(
        err, QW_FAULT_REQUEST, "input_text",
        "This model's maximum context length is %" PRId32 " tokens. However, you requested %" PRId64
        " output tokens and your prompt contains %" PRId64 " characters (more than %" PRId64
        " characters, which is the upper bound for %" PRId64 " input tokens). " REDUCE,
        cfg->max_model_len, wanted(r), n, most, room);
}

static void truncate_ids(const qw_api_request *r, const qw_api_config *cfg, qw_ids *ids)
{
    int64_t keep = r->truncate_prompt_tokens;
    if (keep == -2) return;
    if (keep == -1) keep = cfg->max_model_len - (wanted(r) > 0 ? wanted(r) : 1);
    if (keep < 0) keep = 0;
    if (ids->len <= (size_t)keep) return;
    if (!r->truncate_right)
        memmove(ids->data, ids->data + (ids->len - (size_t)keep), (size_t)keep * sizeof *ids->data);
    ids->len = (size_t)keep;
}

static qw_status check_ids(const qw_api_config *cfg, const qw_ids *ids, qw_api_error *err)
{
    for (size_t i = 0; i < ids->len; i++)
        if (ids->data[i] < 0 || ids->data[i] >= cfg->vocab_size)
            return qw_api_fail(err, QW_FAULT_REQUEST, "prompt",
                               "Token id %" PRId32 " is out of vocabulary", ids->data[i]);
    return QW_OK;
}

static qw_status check_length(const qw_api_request *r, const qw_api_config *cfg, qw_api_prompt *p,
                              qw_api_error *err)
{
    int64_t n = (int64_t)p->ids.len, limit = cfg->max_model_len;
    if (n == 0)
        return qw_api_fail(err, QW_FAULT_REQUEST, NULL, "The decoder prompt cannot be empty");
    if (n + wanted(r) > limit)
        return qw_api_fail(err, QW_FAULT_REQUEST, "input_tokens",
                           "This model's maximum context length is %" PRId64
                           " tokens. However, you requested %" PRId64
                           " output tokens and your prompt contains %" PRId64
                           " input tokens, for a total of %" PRId64 " tokens. " REDUCE,
                           limit, wanted(r), n, n + wanted(r));
    if (n == limit)
        return qw_api_fail(err, QW_FAULT_REQUEST, NULL,
                           "The decoder prompt (length %" PRId64
                           ") plus the number of requested output tokens (at least 1) is longer "
                           "than the maximum model length of %" PRId64 ". " REDUCE,
                           n, limit);
    int64_t room = limit - n;
    if (r->params.max_tokens > 0 && r->params.max_tokens < room) room = r->params.max_tokens;
    if (r->params.min_tokens > room)
        return qw_api_fail(err, QW_FAULT_REQUEST, "min_tokens",
                           "min_tokens must be less than or equal to max_tokens=%" PRId64
                           ", got %" PRId64 ".",
                           room, r->params.min_tokens);
    p->max_tokens = (int32_t)room;
    return QW_OK;
}

// ---- text and ids

static qw_status need_tokenizer(const qw_api_config *cfg, qw_api_error *err)
{
    qw_error why;
    if (qw_frontend_need_tokenizer(cfg->frontend, &why) == QW_OK) return QW_OK;
    return qw_api_fail(err, QW_FAULT_REQUEST, NULL, "%s", why.text);
}

qw_status qw_api_prompt_text(const qw_api_request *r, const qw_api_config *cfg, qw_str text,
                             qw_api_prompt *p, qw_api_error *err)
{
    qw_error why;
    qw_status st = need_tokenizer(cfg, err);
    if (st == QW_OK) st = check_characters(r, cfg, text, err);
    if (st != QW_OK) return st;
    st = qw_tokenizer_encode(cfg->frontend->tokenizer, text, 0, &p->ids, &why);
    return st == QW_OK ? QW_OK : qw_api_fail_with(err, st, &why, NULL);
}

static qw_status render(const qw_chat_prompt *template, const qw_api_request *r, qw_buf *text,
                        qw_api_error *err)
{
    qw_error why;
    qw_chat_request chat = {
        .messages = r->messages,
        .tools = r->tools,
        .documents = r->documents,
        .chat_template_kwargs = r->template_kwargs,
        .add_generation_prompt = r->add_generation_prompt,
        .continue_final_message = r->continue_final_message,
    };
    qw_status st = qw_chat_prompt_render(template, &chat, text, &why);
    return st == QW_OK ? QW_OK : qw_api_fail_with(err, st, &why, NULL);
}

// With the request's own template, which the server was told to trust.
static qw_status render_own(const qw_api_request *r, const qw_api_config *cfg, qw_buf *text,
                            qw_api_error *err)
{
    qw_error why;
    qw_chat_prompt *own = NULL;
    char *source = qw_mem_strndup(r->chat_template.ptr, r->chat_template.len);
    qw_status st = source ? QW_OK : qw_fail_memory(&why, r->chat_template.len, "a chat template");
    if (st == QW_OK)
        st = qw_chat_prompt_open(&own, cfg->tokenizer_dir ? cfg->tokenizer_dir : cfg->model_path,
                                 source, &why);
    if (st != QW_OK)
        (void)qw_api_fail_with(err, st, &why, "chat_template");
    else
        st = render(own, r, text, err);
    qw_chat_prompt_close(own);
    qw_mem_free(source);
    return st;
}

qw_status qw_api_prompt_chat(const qw_api_request *r, const qw_api_config *cfg, qw_api_prompt *p,
                             qw_api_error *err)
{
    qw_status st = need_tokenizer(cfg, err);
    if (st != QW_OK) return st;
    if (r->chat_template.ptr)
        st = render_own(r, cfg, &p->text, err);
    else if (cfg->frontend->chat)
        st = render(cfg->frontend->chat, r, &p->text, err);
    else
        return qw_api_fail(err, QW_FAULT_REQUEST, NULL, "%s", cfg->frontend->no_chat.text);
    if (st == QW_OK) st = qw_api_prompt_text(r, cfg, (qw_str){p->text.data, p->text.len}, p, err);
    if (!r->return_prompt_text) qw_buf_release(&p->text);
    return st;
}

// The text of a prompt, for echo: as given, or what its ids spell. After truncation it is what
// remains of it.
static qw_status make_echo(const qw_api_request *r, const qw_api_config *cfg, const json_t *prompt,
                           qw_api_prompt *p, qw_api_error *err)
{
    qw_error why;
    if (!r->echo) return QW_OK;
    if (json_is_string(prompt) && r->truncate_prompt_tokens == -2) {
        qw_buf_append(&p->text, json_string_value(prompt), json_string_length(prompt));
    } else {
        qw_status st = need_tokenizer(cfg, err);
        if (st != QW_OK) return st;
        qw_tokenizer_decode(cfg->frontend->tokenizer, p->ids.data, p->ids.len, false, &p->text);
    }
    qw_status st = qw_buf_check(&p->text, "an echoed prompt", &why);
    return st == QW_OK ? QW_OK : qw_api_fail_with(err, st, &why, "prompt");
}

static qw_status make_completion(const qw_api_request *r, const json_t *prompt,
                                 const qw_api_config *cfg, qw_api_prompt *p, qw_api_error *err)
{
    qw_error why;
    if (json_is_string(prompt)) return qw_api_prompt_text(r, cfg, qw_json_str(prompt), p, err);
    qw_status st = qw_ids_append_json(&p->ids, prompt, "prompt", &why);
    if (st != QW_OK) return qw_api_fail_with(err, st, &why, "prompt");
    return check_ids(cfg, &p->ids, err);
}

// Prompt `i`: the whole member, or one item of it.
static const json_t *prompt_at(const qw_api_request *r, size_t i)
{
    const json_t *first = json_array_get(r->prompt, 0);
    bool is_one = !json_is_array(r->prompt) || json_is_integer(first);
    return is_one ? r->prompt : json_array_get(r->prompt, i);
}

static qw_status hold_calls(qw_api_request *r, const qw_api_config *cfg, qw_api_error *err)
{
    qw_error why;
    // White space as the chat template spells calls: what the model has seen, and no room to stray.
    const qw_grammar_spec spec = {
        .kind = QW_GRAMMAR_STRUCTURAL_TAG, .json = r->tool_grammar, .compact = true};
    qw_status st = need_tokenizer(cfg, err);
    if (st != QW_OK) return st;
    st = qw_grammar_cache_get(cfg->frontend->grammars, &r->params.grammar, &spec, &why);
    return st == QW_OK ? QW_OK : qw_api_fail_with(err, st, &why, "tools");
}

// What holds the answer: calls that are forced come before a format, and a format before the
// schemas of strict tools.
static qw_status make_grammar(qw_api_request *r, const qw_api_config *cfg, qw_api_error *err)
{
    qw_error why;
    const char *param = NULL;
    if (r->tool_is_forced) return hold_calls(r, cfg, err);
    qw_status st = qw_frontend_grammar(cfg->frontend, r->body, &r->params, &param, &why);
    if (st != QW_OK) return qw_api_fail_with(err, st, &why, param);
    return r->tool_grammar && !r->params.grammar ? hold_calls(r, cfg, err) : QW_OK;
}

qw_status qw_api_request_prompt(qw_api_prompt *out, qw_api_request *r, size_t i,
                                const qw_api_config *cfg, qw_api_error *err)
{
    qw_error why;
    qw_api_prompt p = {.thinking = QW_REASONING_CONTENT};
    qw_status st = QW_OK;
    qw_buf_init(&p.text, MAX_PROMPT_TEXT);
    if (i == 0 && r->params.n_bad_words > 0) {
        st = need_tokenizer(cfg, err);
        if (st == QW_OK && (st = qw_frontend_bad_words(cfg->frontend, &r->params, &why)) != QW_OK)
            (void)qw_api_fail_with(err, st, &why, "bad_words");
    }
    if (i == 0 && st == QW_OK && !r->params.grammar) st = make_grammar(r, cfg, err);
    if (st == QW_OK)
        st = r->kind == QW_API_CHAT ? qw_api_prompt_chat(r, cfg, &p, err)
                                    : make_completion(r, prompt_at(r, i), cfg, &p, err);
    if (st == QW_OK) {
        truncate_ids(r, cfg, &p.ids);
        st = check_length(r, cfg, &p, err);
    }
    if (st == QW_OK && r->kind == QW_API_CHAT)
        p.thinking = qw_reasoning_start(&cfg->reasoning, p.ids.data, p.ids.len, r->thinking);
    if (st == QW_OK && r->kind == QW_API_COMPLETION)
        st = make_echo(r, cfg, prompt_at(r, i), &p, err);
    if (st == QW_OK)
        *out = p;
    else
        qw_api_prompt_release(&p);
    return st;
}
