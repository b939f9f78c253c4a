#include "format/chat_prompt.h"

#include "base/file.h"
#include "base/mem.h"
#include "format/chat_messages.h"
#include "format/chat_template.h"
#include "format/jinja_text.h"

#define MAX_TEMPLATE ((size_t)4 << 20)
#define MAX_CONFIG ((size_t)64 << 20)
#define MAX_PROMPT ((size_t)64 << 20)

struct qw_chat_prompt {
    qw_chat_template *main;     /* for requests without tools, and with them if there is no other */
    qw_chat_template *tool_use; /* may be NULL */
    json_t *special_tokens;     /* object: eos_token and so on, as variables */
};

// Where templates are looked for.
typedef struct template_source {
    const char *dir;
    json_t *config;      /* tokenizer_config.json; NULL if there is none */
    json_t *json;        /* chat_template.json; NULL if there is none */
    bool has_jinja_file; /* chat_template.jinja: what the JSON files say does not count then */
} template_source;

// dir/name as *out, or dir/sub/name.
static qw_status join(char **out, const char *dir, const char *sub, const char *name, qw_error *err)
{
    char *inner = sub ? qw_file_join(dir, sub) : NULL;
    char *path = sub && !inner ? NULL : qw_file_join(inner ? inner : dir, name);
    qw_mem_free(inner);
    if (!path) return qw_fail_memory(err, 0, "a path");
    *out = path;
    return QW_OK;
}

// Append dir/sub/name to `text` if it exists.
static qw_status read_if_there(qw_buf *text, bool *found, const char *dir, const char *sub,
                               const char *name, qw_error *err)
{
    char *path = NULL;
    qw_status st = join(&path, dir, sub, name, err);
    if (st != QW_OK) return st;
    *found = qw_file_exists(path);
    if (*found) st = qw_file_read(text, path, err);
    qw_mem_free(path);
    return st;
}

// A JSON file that must hold an object if it exists. Its numbers do not matter here: many a
// tokenizer_config.json has a model_max_length of 10^30.
static qw_status load_if_there(json_t **out, const char *dir, const char *name, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, MAX_CONFIG);
    bool found;
    qw_status st = read_if_there(&text, &found, dir, NULL, name, err);
    if (st == QW_OK && found) {
        json_t *v = NULL;
        st = qw_json_parse_wide(&v, text.data, text.len, name, err);
        if (st == QW_OK && !json_is_object(v)) {
            st = qw_fail(err, QW_ERR_FORMAT, "%s must hold an object, got %s", name,
                         qw_json_type_name(v));
            json_decref(v);
        } else if (st == QW_OK) {
            *out = v;
        }
    }
    qw_buf_release(&text);
    return st;
}

// ---- finding a template

static qw_status append_string(qw_buf *text, const json_t *v, const char *file, qw_error *err)
{
    if (!json_is_string(v))
        return qw_fail(err, QW_ERR_FORMAT, "the chat template in %s must be a string, got %s", file,
                       qw_json_type_name(v));
    qw_buf_append(text, json_string_value(v), json_string_length(v));
    return qw_buf_check(text, "the chat template", err);
}

// The template called `name` in the `chat_template` member of a JSON file: a text is "default".
static qw_status find_in_json(qw_buf *text, bool *found, const json_t *object, const char *name,
                              const char *file, qw_error *err)
{
    const json_t *member = json_object_get(object, "chat_template");
    if (!member || json_is_null(member)) return QW_OK;
    if (!json_is_array(member)) {
        if (strcmp(name, "default") != 0) return QW_OK;
        *found = true;
        return append_string(text, member, file, err);
    }
    for (size_t i = 0; i < json_array_size(member); i++) {
        const json_t *entry = json_array_get(member, i);
        const char *entry_name = json_string_value(json_object_get(entry, "name"));
        if (!entry_name)
            return qw_fail(err, QW_ERR_FORMAT, "chat_template[%zu] in %s has no 'name'", i, file);
        if (strcmp(entry_name, name) != 0) continue;
        *found = true;
        return append_string(text, json_object_get(entry, "template"), file, err);
    }
    return QW_OK;
}

static qw_status find_template(qw_buf *text, bool *found, const template_source *s,
                               const char *name, qw_error *err)
{
    *found = false;
    if (s->has_jinja_file && strcmp(name, "default") == 0)
        return read_if_there(text, found, s->dir, NULL, "chat_template.jinja", err);
    qw_status st = QW_OK;
    if (!strchr(name, '/')) {
        char file[200];
        int n = snprintf(file, sizeof file, "%s.jinja", name);
        if (n > 0 && (size_t)n < sizeof file)
            st = read_if_there(text, found, s->dir, "additional_chat_templates", file, err);
    }
    if (s->has_jinja_file) return st;
    if (st == QW_OK && !*found)
        st = find_in_json(text, found, s->config, name, "tokenizer_config.json", err);
    if (st == QW_OK && !*found)
        st = find_in_json(text, found, s->json, name, "chat_template.json", err);
    return st;
}

// The directory's template of that name, parsed; *out stays NULL if there is none.
static qw_status open_named(qw_chat_template **out, const template_source *s, const char *name,
                            qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, MAX_TEMPLATE);
    bool found;
    qw_status st = find_template(&text, &found, s, name, err);
    if (st == QW_OK && found) st = qw_chat_template_parse(out, text.data, text.len, name, err);
    qw_buf_release(&text);
    return st;
}

// The user's choice: a file, the text itself, or a name.
static qw_status open_chosen(qw_chat_template **out, const template_source *s, const char *chosen,
                             qw_error *err)
{
    if (qw_file_exists(chosen)) {
        qw_buf text;
        qw_buf_init(&text, MAX_TEMPLATE);
        qw_status st = qw_file_read(&text, chosen, err);
        if (st == QW_OK) st = qw_chat_template_parse(out, text.data, text.len, chosen, err);
        qw_buf_release(&text);
        return st;
    }
    if (strpbrk(chosen, "{}\n"))
        return qw_chat_template_parse(out, chosen, strlen(chosen), "given as text", err);
    qw_status st = open_named(out, s, chosen, err);
    if (st != QW_OK || *out) return st;
    return qw_fail(err, QW_ERR_IO,
                   "cannot open the chat template '%.200s': there is no such file, and no template "
                   "of that name in '%.200s'",
                   chosen, s->dir);
}

static qw_status open_templates(qw_chat_prompt *p, const template_source *s, const char *chosen,
                                qw_error *err)
{
    if (chosen) return open_chosen(&p->main, s, chosen, err);
    qw_status st = open_named(&p->main, s, "default", err);
    if (st == QW_OK) st = open_named(&p->tool_use, s, "tool_use", err);
    if (st != QW_OK || p->main) return st;
    return qw_fail(err, QW_ERR_IO,
                   "no chat template in '%.300s'; give one with --chat-template, or send a prompt "
                   "instead of messages",
                   s->dir);
}

// ---- special tokens

// A token as tokenizer_config.json spells it: a text, or an object with `content`.
static const json_t *token_text(const json_t *v)
{
    if (json_is_object(v)) v = json_object_get(v, "content");
    return json_is_string(v) ? v : NULL;
}

static qw_status add_special_token(json_t *tokens, const json_t *config, const char *name,
                                   qw_error *err)
{
    const json_t *v = json_object_get(config, name);
    if (!v || json_is_null(v)) return QW_OK; // undefined in templates
    const json_t *text = token_text(v);
    if (!text)
        return qw_fail(err, QW_ERR_FORMAT,
                       "'%s' in tokenizer_config.json must be a string or an object with 'content'",
                       name);
    if (json_object_set(tokens, name, (json_t *)(uintptr_t)text) != 0)
        return qw_fail_memory(err, 0, "special tokens");
    return QW_OK;
}

static qw_status add_token_list(json_t *tokens, const json_t *config, const char *name,
                                qw_error *err)
{
    const json_t *list = json_object_get(config, name);
    if (!list || json_is_null(list)) return QW_OK;
    if (!json_is_array(list))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' in tokenizer_config.json must be a list, got %s",
                       name, qw_json_type_name(list));
    json_t *texts = json_array();
    if (!texts || json_object_set_new(tokens, name, texts) != 0)
        return qw_fail_memory(err, 0, "special tokens");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *text = token_text(json_array_get(list, i));
        if (!text)
            return qw_fail(err, QW_ERR_FORMAT,
                           "'%s[%zu]' in tokenizer_config.json must be a string or an object with "
                           "'content'",
                           name, i);
        if (json_array_append(texts, (json_t *)(uintptr_t)text) != 0)
            return qw_fail_memory(err, 0, "special tokens");
    }
    return QW_OK;
}

static qw_status read_special_tokens(qw_chat_prompt *p, const json_t *config, qw_error *err)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    p->special_tokens = json_object();
    if (!p->special_tokens) return qw_fail_memory(err, 0, "special tokens");
    qw_status st = QW_OK;
    for (size_t i = 0; i < QW_ARRAY_LEN(names) && st == QW_OK; i++)
        st = add_special_token(p->special_tokens, config, names[i], err);
    if (st == QW_OK)
        st = add_token_list(p->special_tokens, config, "additional_special_tokens", err);
    return st;
}

// ---- opening

static qw_status open_source(template_source *s, const char *dir, qw_error *err)
{
    char *path = NULL;
    *s = (template_source){.dir = dir};
    qw_status st = join(&path, dir, NULL, "chat_template.jinja", err);
    if (st == QW_OK) s->has_jinja_file = qw_file_exists(path);
    qw_mem_free(path);
    if (st == QW_OK) st = load_if_there(&s->config, dir, "tokenizer_config.json", err);
    if (st == QW_OK) st = load_if_there(&s->json, dir, "chat_template.json", err);
    return st;
}

qw_status qw_chat_prompt_open(qw_chat_prompt **out, const char *dir, const char *chat_template,
                              qw_error *err)
{
    template_source s = {0};
    qw_chat_prompt *p = qw_mem_calloc(1, sizeof *p);
    qw_status st = p ? QW_OK : qw_fail_memory(err, sizeof *p, "a chat prompt");
    if (st == QW_OK) st = open_source(&s, dir, err);
    if (st == QW_OK) st = open_templates(p, &s, chat_template, err);
    if (st == QW_OK) st = read_special_tokens(p, s.config, err);
    json_decref(s.json);
    json_decref(s.config);
    if (st == QW_OK)
        *out = p;
    else
        qw_chat_prompt_close(p);
    return st;
}

void qw_chat_prompt_close(qw_chat_prompt *p)
{
    if (!p) return;
    json_decref(p->special_tokens);
    qw_chat_template_free(p->tool_use);
    qw_chat_template_free(p->main);
    qw_mem_free(p);
}

qw_str qw_chat_prompt_template(const qw_chat_prompt *p)
{
    return qw_chat_template_text(p->main);
}

// ---- rendering

static qw_status check_kwargs(const json_t *kwargs, qw_error *err)
{
    static const char *const reserved[] = {
        "messages",      "tools",   "documents", "add_generation_prompt", "continue_final_message",
        "chat_template", "tokenize"};
    if (!kwargs || json_is_null(kwargs)) return QW_OK;
    if (!json_is_object(kwargs))
        return qw_fail(err, QW_ERR_FORMAT, "chat_template_kwargs must be an object, got %s",
                       qw_json_type_name(kwargs));
    for (size_t i = 0; i < QW_ARRAY_LEN(reserved); i++)
        if (json_object_get(kwargs, reserved[i]))
            return qw_fail(err, QW_ERR_USAGE,
                           "chat_template_kwargs may not set '%s'; it is a field of the request",
                           reserved[i]);
    return QW_OK;
}

static qw_status set_variable(json_t *context, const char *name, const json_t *value, qw_error *err)
{
    if (json_object_set(context, name, (json_t *)(uintptr_t)value) == 0) return QW_OK;
    return qw_fail_memory(err, 0, "template variables");
}

// The variables of the template, in the order in which later ones win.
static qw_status make_context(json_t **out, const qw_chat_prompt *p, const qw_chat_request *req,
                              const json_t *messages, const json_t *tools, qw_error *err)
{
    json_t *context = json_object();
    qw_status st = context ? QW_OK : qw_fail_memory(err, 0, "template variables");
    if (st == QW_OK && json_object_update(context, p->special_tokens) != 0)
        st = qw_fail_memory(err, 0, "template variables");
    if (st == QW_OK && json_is_object(req->chat_template_kwargs) &&
        json_object_update(context, (json_t *)(uintptr_t)req->chat_template_kwargs) != 0)
        st = qw_fail_memory(err, 0, "template variables");
    if (st == QW_OK) st = set_variable(context, "messages", messages, err);
    if (st == QW_OK) st = set_variable(context, "tools", tools, err);
    if (st == QW_OK)
        st = set_variable(context, "documents", req->documents ? req->documents : json_null(), err);
    if (st == QW_OK)
        st = set_variable(context, "add_generation_prompt",
                          json_boolean(req->add_generation_prompt), err);
    if (st == QW_OK)
        *out = context;
    else
        json_decref(context);
    return st;
}

static void copy_reversed(char *to, qw_str s)
{
    for (size_t i = 0; i < s.len; i++) to[i] = s.ptr[s.len - 1 - i];
}

// Last occurrence of `needle`, SIZE_MAX if there is none. Searches the reversed texts, which takes
// linear time whatever a client sends.
static qw_status find_last(qw_str s, qw_str needle, size_t *out, qw_error *err)
{
    size_t size;
    char *reversed = qw_add_size(&size, s.len, needle.len) ? qw_mem_alloc(size) : NULL;
    if (!reversed) return qw_fail_memory(err, s.len, "the end of a prompt");
    qw_str back = {reversed, s.len}, needle_back = {reversed + s.len, needle.len};
    copy_reversed(reversed, s);
    copy_reversed(reversed + s.len, needle);
    size_t hit = qw_jinja_find(back, needle_back, 0);
    *out = hit == SIZE_MAX ? SIZE_MAX : s.len - hit - needle.len;
    qw_mem_free(reversed);
    return QW_OK;
}

// Cut the text behind the content of the last message, so that the model goes on with it. White
// space at the content's end is kept if the template kept it.
static qw_status cut_after_final_message(qw_buf *text, const json_t *messages, qw_error *err)
{
    size_t n = json_array_size(messages);
    qw_str content = {NULL, 0}, rendered = {text->data, text->len};
    bool has_text = qw_chat_message_text(&content, json_array_get(messages, n - 1));
    qw_str stripped = has_text ? qw_jinja_trim(content, true, true) : content;
    if (stripped.len == 0)
        return qw_fail(
            err, QW_ERR_USAGE,
            "continue_final_message: messages[%zu].content is empty, so there is nothing "
            "to continue",
            n - 1);
    size_t at = SIZE_MAX;
    qw_status st = find_last(rendered, stripped, &at, err);
    if (st != QW_OK) return st;
    if (at == SIZE_MAX)
        return qw_fail(err, QW_ERR_USAGE,
                       "continue_final_message: the chat template changes the content of "
                       "messages[%zu], so it cannot be continued",
                       n - 1);
    qw_str open = qw_jinja_trim(content, true, false),
           rest = qw_jinja_sub(rendered, at, rendered.len);
    text->len = at + (qw_str_starts_with(rest, open) ? open.len : stripped.len);
    return QW_OK;
}

static qw_status render_prepared(const qw_chat_prompt *p, const qw_chat_template *t,
                                 const qw_chat_request *req, const json_t *messages,
                                 const json_t *tools, qw_buf *text, qw_error *err)
{
    json_t *context = NULL;
    qw_status st = make_context(&context, p, req, messages, tools, err);
    if (st == QW_OK) st = qw_chat_template_render(t, context, text, NULL, err);
    if (st == QW_OK && req->continue_final_message)
        st = cut_after_final_message(text, messages, err);
    json_decref(context);
    return st;
}

qw_status qw_chat_prompt_render(const qw_chat_prompt *p, const qw_chat_request *req, qw_buf *out,
                                qw_error *err)
{
    if (req->continue_final_message && req->add_generation_prompt)
        return qw_fail(err, QW_ERR_USAGE,
                       "continue_final_message and add_generation_prompt cannot both be true");
    json_t *messages = NULL, *tools = NULL;
    qw_buf text;
    qw_buf_init(&text, MAX_PROMPT);
    qw_status st = check_kwargs(req->chat_template_kwargs, err);
    if (st == QW_OK) st = qw_chat_tools_prepare(&tools, req->tools, err);
    const qw_chat_template *t = p->tool_use && json_is_array(tools) ? p->tool_use : p->main;
    if (st == QW_OK)
        st = qw_chat_messages_prepare(&messages, req->messages, qw_chat_template_wants_parts(t),
                                      err);
    if (st == QW_OK) st = render_prepared(p, t, req, messages, tools, &text, err);
    if (st == QW_OK) {
        size_t len_before = out->len;
        qw_buf_append(out, text.data, text.len);
        st = qw_buf_check(out, "the prompt", err);
        if (st != QW_OK) out->len = len_before;
    }
    qw_buf_release(&text);
    json_decref(tools);
    json_decref(messages);
    return st;
}
