// Bodies of other dialects: each is turned into the chat that it means and read as one.

#include "server/api_request_internal.h"

bool qw_api_copy_members(json_t *to, const json_t *from, const char *const *keys)
{
    for (; *keys; keys++) {
        json_t *v = json_object_get(from, *keys);
        if (v && json_object_set(to, *keys, v) != 0) return false;
    }
    return true;
}

bool qw_api_set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

json_t *qw_api_add_message(json_t *messages, const char *role, json_t *content)
{
    json_t *m = json_object();
    if (!m || json_array_append_new(messages, m) != 0) {
        json_decref(content);
        return NULL;
    }
    bool ok = qw_api_set(m, "role", json_string(role));
    if (!ok) json_decref(content);
    return ok && qw_api_set(m, "content", content) ? m : NULL;
}

static qw_status read_as_chat(qw_api_request *r, const qw_api_config *cfg, json_t *chat,
                              const json_t *raw, const qw_api_call *call, qw_api_error *err)
{
    qw_status st = qw_api_chat_parse(r, cfg, chat, call, err);
    json_decref(chat);
    if (st == QW_OK) r->original = json_incref((json_t *)(uintptr_t)raw);
    return st;
}

static qw_status read_responses(qw_api_request *r, const qw_api_config *cfg, const json_t *raw,
                                const qw_api_call *call, qw_api_error *err)
{
    json_t *chat;
    qw_status st = qw_api_responses_to_chat(&chat, raw, err);
    r->dialect = QW_DIALECT_RESPONSES;
    return st == QW_OK ? read_as_chat(r, cfg, chat, raw, call, err) : st;
}

static qw_status read_messages(qw_api_request *r, const qw_api_config *cfg, const json_t *raw,
                               const qw_api_call *call, qw_api_error *err)
{
    json_t *chat;
    qw_status st = qw_api_messages_to_chat(&chat, raw, false, err);
    r->dialect = QW_DIALECT_MESSAGES;
    return st == QW_OK ? read_as_chat(r, cfg, chat, raw, call, err) : st;
}

qw_status qw_api_request_parse_dialect(qw_api_request *out, qw_api_dialect dialect,
                                       const qw_api_config *cfg, const qw_api_call *call,
                                       qw_api_error *err)
{
    qw_api_read_fn *read = dialect == QW_DIALECT_RESPONSES  ? read_responses
                           : dialect == QW_DIALECT_MESSAGES ? read_messages
                                                            : qw_api_chat_parse;
    return qw_api_request_parse(out, QW_API_CHAT, read, cfg, call, err);
}
