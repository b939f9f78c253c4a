// vllm/benchmarks/lib/endpoint_request_func.py, the payloads; in their order.
#include "bench/load_body.h"

static const char *prompt_key(const qw_load_body *b)
{
    return b->is_chat ? "messages" : "prompt";
}

static const char *limit_key(const qw_load_body *b)
{
    return b->is_chat ? "max_completion_tokens" : "max_tokens";
}

qw_status qw_load_body_init(qw_load_body *out, bool is_chat, const char *model, int64_t logprobs,
                            bool ignore_eos, const json_t *extra, qw_error *err)
{
    qw_load_body b = {.is_chat = is_chat, .members = json_object()};
    json_t *m = b.members;
    bool ok = m && json_object_set_new(m, "model", json_string(model)) == 0 &&
              json_object_set_new(m, prompt_key(&b), json_null()) == 0;
    if (ok && !is_chat) ok = json_object_set_new(m, "repetition_penalty", json_real(1)) == 0;
    if (ok) ok = json_object_set_new(m, limit_key(&b), json_null()) == 0;
    if (ok && !is_chat)
        ok = json_object_set_new(m, "logprobs",
                                 logprobs < 0 ? json_null() : json_integer(logprobs)) == 0;
    if (ok && is_chat && logprobs >= 0)
        ok = json_object_set_new(m, "logprobs", json_true()) == 0 &&
             json_object_set_new(m, "top_logprobs", json_integer(logprobs)) == 0;
    if (ok)
        ok = json_object_set_new(m, "stream", json_true()) == 0 &&
             json_object_set_new(m, "stream_options", json_pack("{s:b}", "include_usage", true)) ==
                 0;
    if (ok && ignore_eos) ok = json_object_set_new(m, "ignore_eos", json_true()) == 0;
    if (ok && extra) {
        ok = json_object_update(m, (json_t *)(uintptr_t)extra) == 0;
        b.prompt_given = json_object_get(extra, prompt_key(&b)) != NULL;
        b.limit_given = json_object_get(extra, limit_key(&b)) != NULL;
    }
    if (ok) {
        *out = b;
        return QW_OK;
    }
    json_decref(m);
    return qw_fail(err, QW_ERR_NO_MEMORY, "cannot make a request for model '%s'", model);
}

void qw_load_body_release(qw_load_body *b)
{
    json_decref(b->members);
    *b = (qw_load_body){0};
}

static void write_prompt(const qw_load_body *b, const qw_load_request *r, qw_buf *out)
{
    const qw_str prompt = {r->prompt, r->prompt_size};
    if (!b->is_chat) {
        qw_json_write_string(out, prompt);
        return;
    }
    qw_buf_puts(out, "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": ");
    qw_json_write_string(out, prompt);
    qw_buf_putc(out, '}');
    if (r->media) {
        qw_buf_puts(out, ", ");
        qw_buf_puts(out, r->media);
    }
    qw_buf_puts(out, "]}]");
}

void qw_load_body_write(const qw_load_body *b, const qw_load_request *r, qw_buf *out)
{
    const char *key, *between = "{";
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)b->members, key, value)
    {
        qw_buf_puts(out, between);
        qw_json_write_string(out, qw_str_of(key));
        qw_buf_puts(out, ": ");
        if (!b->prompt_given && strcmp(key, prompt_key(b)) == 0)
            write_prompt(b, r, out);
        else if (!b->limit_given && strcmp(key, limit_key(b)) == 0)
            qw_buf_printf(out, "%" PRId64, r->n_output);
        else
            qw_json_write(out, value, false);
        between = ", ";
    }
    qw_buf_putc(out, '}');
}
