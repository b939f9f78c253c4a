#ifndef QW_ENGINE_FRONTEND_H
#define QW_ENGINE_FRONTEND_H

#include "engine/sampling_params.h"
#include "format/chat_prompt.h"
#include "format/tokenizer.h"
#include "grammar/grammar.h"

/**
 * From what a user sends to token ids: tokenizer and chat template of a model. Read-only after
 * opening, any thread. A checkpoint without a tokenizer still takes prompt_token_ids.
 */
typedef struct qw_frontend {
    qw_tokenizer *tokenizer;        /* NULL: the checkpoint has none */
    qw_grammar_cache *grammars;     /* NULL: without a tokenizer */
    qw_chat_prompt *chat;           /* NULL: the checkpoint has no chat template */
    qw_error no_tokenizer, no_chat; /* why not */
} qw_frontend;

/**
 * `tokenizer_dir` and `chat_template` may be NULL: the model's own. `cache_dir` may be NULL: no
 * compiled tokenizer is kept. A missing tokenizer or template is no failure here; a broken one is.
 */
QW_MUST_CHECK qw_status qw_frontend_open(qw_frontend *out, const char *model_dir,
                                         const char *tokenizer_dir, const char *chat_template,
                                         const char *cache_dir, qw_error *err);
void qw_frontend_close(qw_frontend *f);

/** QW_OK, or the failure that says why there is no tokenizer. */
QW_MUST_CHECK qw_status qw_frontend_need_tokenizer(const qw_frontend *f, qw_error *err);

/**
 * Append the prompt of a request to `out`. The object holds exactly one of `prompt` (text),
 * `prompt_token_ids` (list of ids) and `messages` (with `tools`, `chat_template_kwargs`,
 * `add_generation_prompt`, `continue_final_message`); other members are not looked at.
 */
QW_MUST_CHECK qw_status qw_frontend_prompt_ids(const qw_frontend *f, const json_t *request,
                                               qw_ids *out, qw_error *err);

/** Fill params->bad_word_ids from params->bad_words: each word with and without a leading space. */
QW_MUST_CHECK qw_status qw_frontend_bad_words(const qw_frontend *f, qw_sampling_params *params,
                                              qw_error *err);

/**
 * Compile what a request asks for in response_format, structured_outputs or guided_* into
 * params->grammar, which is NULL. On failure *param (may be NULL) names the field. Takes
 * milliseconds: for worker threads.
 */
QW_MUST_CHECK qw_status qw_frontend_grammar(const qw_frontend *f, const json_t *request,
                                            qw_sampling_params *params, const char **param,
                                            qw_error *err);

#endif
