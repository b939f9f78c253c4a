#include "engine/frontend.h"

#include "base/mem.h"
#include "grammar/grammar_request.h"

// A missing tokenizer or template is remembered as a sentence; everything else ends the opening.
static qw_status remember_missing(qw_error *kept, qw_status st, const qw_error *why)
{
    if (st != QW_ERR_IO) return st;
    *kept = *why;
    return QW_OK;
}

qw_status qw_frontend_open(qw_frontend *out, const char *model_dir, const char *tokenizer_dir,
                           const char *chat_template, const char *cache_dir, qw_error *err)
{
    qw_frontend f = {0};
    qw_error why = {0};
    qw_status st =
        qw_tokenizer_open(&f.tokenizer, tokenizer_dir ? tokenizer_dir : model_dir, cache_dir, &why);
    // A directory that was named must have one.
    if (!tokenizer_dir) st = remember_missing(&f.no_tokenizer, st, &why);
    if (st == QW_OK && f.tokenizer) st = qw_grammar_cache_new(&f.grammars, f.tokenizer, &why);
    if (st == QW_OK) {
        st = qw_chat_prompt_open(&f.chat, tokenizer_dir ? tokenizer_dir : model_dir, chat_template,
                                 &why);
        if (!chat_template) st = remember_missing(&f.no_chat, st, &why);
    }
    if (st != QW_OK) {
        qw_frontend_close(&f);
        return qw_fail(err, st, "%s", why.text);
    }
    *out = f;
    return QW_OK;
}

void qw_frontend_close(qw_frontend *f)
{
    qw_grammar_cache_free(f->grammars);
    qw_tokenizer_close(f->tokenizer);
    qw_chat_prompt_close(f->chat);
    *f = (qw_frontend){0};
}

qw_status qw_frontend_need_tokenizer(const qw_frontend *f, qw_error *err)
{
    if (f->tokenizer) return QW_OK;
    return qw_fail(err, f->no_tokenizer.code, "%s", f->no_tokenizer.text);
}

static qw_status encode(const qw_frontend *f, qw_str text, qw_ids *out, qw_error *err)
{
    qw_status st = qw_frontend_need_tokenizer(f, err);
    return st == QW_OK ? qw_tokenizer_encode(f->tokenizer, text, 0, out, err) : st;
}

static qw_status encode_messages(const qw_frontend *f, const json_t *request, qw_ids *out,
                                 qw_error *err)
{
    qw_status st = qw_frontend_need_tokenizer(f, err);
    if (st != QW_OK) return st;
    if (!f->chat) return qw_fail(err, f->no_chat.code, "%s", f->no_chat.text);
    qw_chat_request chat = {.messages = json_object_get(request, "messages"),
                            .tools = json_object_get(request, "tools"),
                            .chat_template_kwargs =
                                json_object_get(request, "chat_template_kwargs"),
                            .add_generation_prompt = true};
    st = qw_json_get_bool(&chat.continue_final_message, request, "continue_final_message", err);
    if (st == QW_OK && chat.continue_final_message) chat.add_generation_prompt = false;
    if (st == QW_OK)
        st = qw_json_get_bool(&chat.add_generation_prompt, request, "add_generation_prompt", err);
    qw_buf text;
    qw_buf_init(&text, (size_t)64 << 20);
    if (st == QW_OK) st = qw_chat_prompt_render(f->chat, &chat, &text, err);
    if (st == QW_OK)
        st = qw_tokenizer_encode(f->tokenizer, (qw_str){text.data, text.len}, 0, out, err);
    qw_buf_release(&text);
    return st;
}

qw_status qw_frontend_prompt_ids(const qw_frontend *f, const json_t *request, qw_ids *out,
                                 qw_error *err)
{
    const json_t *prompt = json_object_get(request, "prompt");
    const json_t *ids = json_object_get(request, "prompt_token_ids");
    const json_t *messages = json_object_get(request, "messages");
    int n = (prompt != NULL) + (ids != NULL) + (messages != NULL);
    if (n != 1)
        return qw_fail(err, QW_ERR_FORMAT,
                       "no request: it needs %s of 'prompt', 'prompt_token_ids' and 'messages'",
                       n == 0 ? "one" : "only one");
    if (messages) return encode_messages(f, request, out, err);
    if (ids) return qw_ids_append_json(out, ids, "prompt_token_ids", err);
    if (!json_is_string(prompt))
        return qw_fail(err, QW_ERR_FORMAT, "'prompt' must be a string, got %s",
                       qw_json_type_name(prompt));
    return encode(f, qw_json_str(prompt), out, err);
}

// One spelling of a bad word as ids, added to the list.
static qw_status add_bad_word(qw_sampling_params *p, const qw_ids *ids, qw_error *err)
{
    qw_token_seq *seqs = qw_mem_realloc(p->bad_word_ids, (p->n_bad_word_ids + 1) * sizeof *seqs);
    if (!seqs) return qw_fail_memory(err, sizeof *seqs, "bad words");
    p->bad_word_ids = seqs;
    int32_t *copy = qw_mem_array(ids->len, sizeof *copy);
    if (!copy) return qw_fail_memory(err, ids->len * sizeof *copy, "bad words");
    memcpy(copy, ids->data, ids->len * sizeof *copy);
    seqs[p->n_bad_word_ids++] = (qw_token_seq){copy, ids->len};
    return QW_OK;
}

// As vLLM: the word itself, and with a space in front if that only changes the first token.
static qw_status add_spellings(const qw_frontend *f, qw_sampling_params *p, const char *word,
                               qw_error *err)
{
    while (*word == ' ') word++;
    qw_buf spaced;
    qw_buf_init(&spaced, (size_t)1 << 20);
    qw_buf_printf(&spaced, " %s", word);
    qw_ids plain = {0}, with_space = {0};
    qw_status st = qw_buf_check(&spaced, "a bad word", err);
    if (st == QW_OK) st = encode(f, qw_str_of(word), &plain, err);
    if (st == QW_OK) st = encode(f, (qw_str){spaced.data, spaced.len}, &with_space, err);
    if (st == QW_OK && plain.len == 0)
        st = qw_fail(err, QW_ERR_USAGE, "bad_words: an empty word cannot be forbidden");
    if (st == QW_OK) st = add_bad_word(p, &plain, err);
    if (st == QW_OK && with_space.len == plain.len && with_space.data[0] != plain.data[0])
        st = add_bad_word(p, &with_space, err);
    qw_buf_release(&spaced);
    qw_ids_release(&plain);
    qw_ids_release(&with_space);
    return st;
}

qw_status qw_frontend_bad_words(const qw_frontend *f, qw_sampling_params *params, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < params->n_bad_words && st == QW_OK; i++)
        st = add_spellings(f, params, params->bad_words[i], err);
    return st;
}

qw_status qw_frontend_grammar(const qw_frontend *f, const json_t *request,
                              qw_sampling_params *params, const char **param, qw_error *err)
{
    qw_grammar_request r;
    qw_status st = qw_grammar_request_read(&r, request, err);
    if (st == QW_OK && r.has_grammar) st = qw_frontend_need_tokenizer(f, err);
    if (st == QW_OK && r.has_grammar)
        st = qw_grammar_cache_get(f->grammars, &params->grammar, &r.spec, err);
    if (param) *param = r.param;
    qw_grammar_request_release(&r);
    return st;
}
