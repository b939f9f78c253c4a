#ifndef QW_FORMAT_CHAT_PROMPT_H
#define QW_FORMAT_CHAT_PROMPT_H

#include "format/json.h"

/**
 * What turns the messages of a request into the text of a prompt: the chat templates and special
 * tokens of a model directory (spec qwen3-dense, 6.1 and 6.3). Immutable after opening; any number
 * of threads may render at the same time.
 */
typedef struct qw_chat_prompt qw_chat_prompt;

/**
 * Find and parse the template. `chat_template` (may be NULL) is the user's choice: the path of a
 * file, or else, if it contains '{', '}' or a newline, the template itself, or else the name of one
 * of the directory's templates. Without it, the first that exists:
 *
 *   1. chat_template.jinja; with it come additional_chat_templates/NAME.jinja
 *   2. `chat_template` in tokenizer_config.json: a text, or a list of {"name", "template"}
 *   3. `chat_template` in chat_template.json, in the same forms
 *
 * "default" is used, and "tool_use", if there is one, for requests with tools. An explicit file or
 * text is used for all requests.
 *
 * QW_ERR_IO: there is no template, or no file to read. QW_ERR_FORMAT, QW_ERR_UNSUPPORTED: it is
 * malformed or uses what is left out of Jinja here. Caller owns *out (qw_chat_prompt_close).
 */
QW_MUST_CHECK qw_status qw_chat_prompt_open(qw_chat_prompt **out, const char *dir,
                                            const char *chat_template, qw_error *err);
void qw_chat_prompt_close(qw_chat_prompt *p);

/** The text of the template for requests without tools (borrowed from `p`). */
qw_str qw_chat_prompt_template(const qw_chat_prompt *p);

/** One conversation. All JSON is borrowed and only read; NULL and null mean "not given". */
typedef struct qw_chat_request {
    const json_t *messages;             /* list of objects */
    const json_t *tools;                /* list of objects, as in the API's request */
    const json_t *documents;            /* list, passed on as it is */
    const json_t *chat_template_kwargs; /* object: further variables, such as enable_thinking */
    bool add_generation_prompt;         /* end with the opening of the assistant's turn */
    bool continue_final_message;        /* end with the last message, left open */
} qw_chat_request;

/**
 * Append the prompt's text to `out` (untouched on failure). Prepares the request as vLLM does
 * (chat_messages.h), so that prompts have the same tokens there and here. With
 * continue_final_message the text is cut behind the content of the last message.
 *
 * Errors name the place, as in "messages[2].content". QW_ERR_USAGE: options that exclude each
 * other, or a variable that chat_template_kwargs may not set. QW_ERR_FORMAT: a malformed message,
 * or the template's own raise_exception. QW_ERR_UNSUPPORTED: content that is not text.
 */
QW_MUST_CHECK qw_status qw_chat_prompt_render(const qw_chat_prompt *p, const qw_chat_request *req,
                                              qw_buf *out, qw_error *err);

#endif
