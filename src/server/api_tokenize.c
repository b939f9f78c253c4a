#include "server/api_tokenize.h"

#include "base/file.h"
#include "base/mem.h"
#include "server/api_request_internal.h"
#include "server/api_write.h"

enum { MAX_TEXT = 1 << 30, MAX_CONFIG = 64 << 20 };

static qw_status finish(qw_buf *out, size_t before, qw_api_error *err)
{
    qw_error why;
    qw_status st = qw_buf_check(out, "an answer", &why);
    if (st == QW_OK) return QW_OK;
    out->len = before;
    return qw_api_fail_with(err, st, &why, NULL);
}

// ---- tokenize

// A token as the tokenizer's own vocabulary spells it: byte-level BPE has a printable character for
// each byte (GPT-2: those that are not printable in Latin-1 come from U+0100 on, in order).
static void write_spelling(qw_buf *out, const qw_tokenizer *tokenizer, int32_t id)
{
    qw_str bytes = qw_tokenizer_token_bytes(tokenizer, id);
    if (!bytes.ptr || qw_tokenizer_is_added(tokenizer, id)) {
        qw_api_write_text(out, bytes);
        return;
    }
    qw_buf_putc(out, '"');
    for (size_t i = 0; i < bytes.len; i++) {
        int32_t c = (unsigned char)bytes.ptr[i];
        if (c <= 0x20)
            c += 0x100;
        else if (c >= 0x7F && c <= 0xA0)
            c += 0x121 - 0x7F;
        else if (c == 0xAD)
            c = 0x143;
        char text[4];
        if (c == '"' || c == '\\') qw_buf_putc(out, '\\');
        qw_buf_append(out, text, (size_t)qw_utf8_put(text, c));
    }
    qw_buf_putc(out, '"');
}

static void write_tokens(qw_buf *out, const qw_api_config *cfg, const qw_ids *ids, bool spell)
{
    QW_PUT(out, "{\"count\":");
    qw_api_write_int(out, (int64_t)ids->len);
    QW_PUT(out, ",\"max_model_len\":");
    qw_api_write_int(out, cfg->max_model_len);
    QW_PUT(out, ",\"tokens\":");
    qw_api_write_ids(out, ids->data, ids->len);
    QW_PUT(out, ",\"token_strs\":");
    if (!spell) {
        QW_PUT(out, "null}");
        return;
    }
    qw_buf_putc(out, '[');
    for (size_t i = 0; i < ids->len; i++) {
        if (i) qw_buf_putc(out, ',');
        write_spelling(out, cfg->frontend->tokenizer, ids->data[i]);
    }
    QW_PUT(out, "]}");
}

static qw_status tokenize_text(const qw_api_request *r, const qw_api_config *cfg, json_t *raw,
                               qw_api_prompt *p, qw_api_error *err)
{
    static const qw_field fields[] = {
        {"prompt", .type = QW_FIELD_STR, .required = true},
        {"model", .type = QW_FIELD_STR},
        {"add_special_tokens", .type = QW_FIELD_BOOL, .not_null = true},
    };
    qw_issues issues = {0};
    json_t *body = json_object();
    if (!body) return qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL, "out of memory");
    qw_status st = qw_api_schema_read(body, raw, fields, QW_ARRAY_LEN(fields), &issues, err);
    if (st == QW_OK) st = qw_issues_check(&issues, NULL, err);
    if (st == QW_OK) st = qw_api_check_model(cfg, body, err);
    if (st == QW_OK) st = qw_api_prompt_text(r, cfg, qw_api_str(body, "prompt"), p, err);
    json_decref(body);
    return st;
}

static qw_status tokenize_chat(qw_api_request *r, const qw_api_config *cfg, json_t *raw,
                               qw_api_prompt *p, qw_api_error *err)
{
    qw_status st = qw_api_chat_read(r, cfg, raw, err);
    if (st == QW_OK) st = qw_api_chat_settle(r, cfg, err);
    return st == QW_OK ? qw_api_prompt_chat(r, cfg, p, err) : st;
}

// The switch is the same for both forms.
static qw_status read_spell(const json_t *raw, bool *spell, qw_api_error *err)
{
    static const qw_field fields[] = {{"return_token_strs", .type = QW_FIELD_BOOL}};
    qw_issues issues = {0};
    json_t *body = json_object();
    if (!body) return qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL, "out of memory");
    qw_status st = qw_api_schema_read(body, raw, fields, 1, &issues, err);
    if (st == QW_OK) st = qw_issues_check(&issues, NULL, err);
    *spell = qw_api_bool(body, "return_token_strs", false);
    json_decref(body);
    return st;
}

qw_status qw_api_tokenize(qw_buf *out, const qw_api_config *cfg, const qw_api_call *call,
                          qw_api_error *err)
{
    qw_api_request r;
    qw_api_prompt p = {.max_tokens = 0};
    json_t *raw = NULL;
    bool spell = false;
    size_t before = out->len;
    qw_api_request_begin(&r, QW_API_CHAT);
    r.truncate_prompt_tokens = -1; // no limit of length
    qw_buf_init(&p.text, MAX_TEXT);
    qw_status st = qw_api_body_parse(&raw, call->body, call->content_type, err);
    if (st == QW_OK) st = read_spell(raw, &spell, err);
    if (st == QW_OK)
        st = json_object_get(raw, "messages") ? tokenize_chat(&r, cfg, raw, &p, err)
                                              : tokenize_text(&r, cfg, raw, &p, err);
    if (st == QW_OK) {
        write_tokens(out, cfg, &p.ids, spell);
        st = finish(out, before, err);
    }
    qw_api_prompt_release(&p);
    qw_api_request_release(&r);
    json_decref(raw);
    return st;
}

qw_status qw_api_count_tokens(qw_buf *out, const qw_api_config *cfg, const qw_api_call *call,
                              qw_api_error *err)
{
    qw_api_request r;
    qw_api_prompt p = {.max_tokens = 0};
    json_t *raw = NULL, *chat = NULL;
    size_t before = out->len;
    qw_api_request_begin(&r, QW_API_CHAT);
    r.truncate_prompt_tokens = -1;
    qw_buf_init(&p.text, MAX_TEXT);
    qw_status st = qw_api_body_parse(&raw, call->body, call->content_type, err);
    if (st == QW_OK) st = qw_api_messages_to_chat(&chat, raw, true, err);
    if (st == QW_OK) st = tokenize_chat(&r, cfg, chat, &p, err);
    if (st == QW_OK) {
        qw_buf_printf(
            out, "{\"input_tokens\":%zu,\"context_management\":{\"original_input_tokens\":%zu}}",
            p.ids.len, p.ids.len);
        st = finish(out, before, err);
    }
    qw_api_prompt_release(&p);
    qw_api_request_release(&r);
    json_decref(chat);
    json_decref(raw);
    return st;
}

// ---- detokenize

static qw_status write_decoded(qw_buf *out, const qw_api_config *cfg, const qw_ids *ids,
                               qw_api_error *err)
{
    qw_error why;
    qw_buf text;
    qw_status st = qw_frontend_need_tokenizer(cfg->frontend, &why);
    if (st != QW_OK) return qw_api_fail(err, QW_FAULT_REQUEST, NULL, "%s", why.text);
    qw_buf_init(&text, MAX_TEXT);
    qw_tokenizer_decode(cfg->frontend->tokenizer, ids->data, ids->len, false, &text);
    st = qw_buf_check(&text, "the text", &why);
    if (st == QW_OK) {
        QW_PUT(out, "{\"prompt\":");
        qw_json_write_string(out, qw_buf_text(&text));
        qw_buf_putc(out, '}');
    }
    qw_buf_release(&text);
    return st == QW_OK ? QW_OK : qw_api_fail_with(err, st, &why, NULL);
}

static qw_status read_ids(qw_ids *ids, const json_t *body, qw_api_error *err)
{
    qw_error why;
    qw_status st = qw_ids_append_json(ids, json_object_get(body, "tokens"), "tokens", &why);
    if (st != QW_ERR_FORMAT) return st == QW_OK ? QW_OK : qw_api_fail_with(err, st, &why, NULL);
    return qw_api_fail_rule(err, NULL, "%s", why.text);
}

qw_status qw_api_detokenize(qw_buf *out, const qw_api_config *cfg, const qw_api_call *call,
                            qw_api_error *err)
{
    static const qw_field fields[] = {{"tokens", .type = QW_FIELD_INT_LIST, .required = true},
                                      {"model", .type = QW_FIELD_STR}};
    qw_issues issues = {0};
    qw_ids ids = {0};
    json_t *raw = NULL, *body = NULL;
    size_t before = out->len;
    qw_status st = qw_api_body_parse(&raw, call->body, call->content_type, err);
    if (st == QW_OK && !(body = json_object()))
        st = qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL, "out of memory");
    if (st == QW_OK) st = qw_api_schema_read(body, raw, fields, QW_ARRAY_LEN(fields), &issues, err);
    if (st == QW_OK) st = qw_issues_check(&issues, NULL, err);
    if (st == QW_OK) st = qw_api_check_model(cfg, body, err);
    if (st == QW_OK) st = read_ids(&ids, body, err);
    if (st == QW_OK) st = write_decoded(out, cfg, &ids, err);
    if (st == QW_OK) st = finish(out, before, err);
    qw_ids_release(&ids);
    json_decref(body);
    json_decref(raw);
    return st;
}

// ---- tokenizer_info

static void write_info(qw_buf *out, const qw_api_config *cfg, const json_t *config)
{
    const char *key;
    json_t *v;
    qw_str name = qw_api_str(config, "tokenizer_class");
    QW_PUT(out, "{\"tokenizer_class\":");
    qw_json_write_string(out, name.ptr ? name : QW_STR("Qwen2Tokenizer"));
    json_object_foreach((json_t *)(uintptr_t)config, key, v)
    {
        if (strcmp(key, "tokenizer_class") == 0 || strcmp(key, "chat_template") == 0) continue;
        qw_buf_putc(out, ',');
        qw_json_write_string(out, qw_str_of(key));
        qw_buf_putc(out, ':');
        qw_json_write(out, v, true);
    }
    QW_PUT(out, ",\"chat_template\":");
    qw_api_write_text(out, cfg->frontend->chat ? qw_chat_prompt_template(cfg->frontend->chat)
                                               : (qw_str){NULL, 0});
    qw_buf_putc(out, '}');
}

qw_status qw_api_tokenizer_info(qw_buf *out, const qw_api_config *cfg, qw_api_error *err)
{
    qw_error why;
    json_t *config = NULL;
    size_t before = out->len;
    qw_buf text;
    qw_buf_init(&text, MAX_CONFIG);
    char *path = qw_file_join(cfg->tokenizer_dir ? cfg->tokenizer_dir : cfg->model_path,
                              "tokenizer_config.json");
    qw_status st = path ? qw_file_read(&text, path, &why)
                        : qw_fail_memory(&why, 0, "the path of tokenizer_config.json");
    // model_max_length is often 10^30.
    if (st == QW_OK) st = qw_json_parse_digits(&config, text.data, text.len, path, &why);
    if (st == QW_OK) {
        write_info(out, cfg, config);
        st = finish(out, before, err);
    } else {
        st = qw_api_fail_with(err, st, &why, NULL);
    }
    json_decref(config);
    qw_buf_release(&text);
    qw_mem_free(path);
    return st;
}
