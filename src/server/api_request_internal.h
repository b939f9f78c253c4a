#ifndef QW_SERVER_API_REQUEST_INTERNAL_H
#define QW_SERVER_API_REQUEST_INTERNAL_H

// What the request forms share. Only for api_request.c and api_*_request.c.

#include "server/api_request.h"
#include "server/api_schema.h"

/**
 * The members of a body: a form's own and those of all forms, in *out (caller owns), as
 * qw_api_schema_read makes them.
 */
QW_MUST_CHECK qw_status qw_api_read_members(json_t **out, const json_t *raw, const qw_field *own,
                                            size_t n_own, qw_issues *issues, qw_api_error *err);

/** Rules that vLLM applies to the raw body before its types, for all forms. */
QW_MUST_CHECK qw_status qw_api_check_rules(const json_t *body, qw_api_error *err);

/** 404 unless the body's `model` is ours. */
QW_MUST_CHECK qw_status qw_api_check_model(const qw_api_config *cfg, const json_t *body,
                                           qw_api_error *err);

/** Refuse what is not built: beam search. */
QW_MUST_CHECK qw_status qw_api_check_features(const json_t *body, qw_api_error *err);

/**
 * Fill the members that do not depend on the form, sampling included, from r->body (made by
 * qw_api_read_members). *r was initialized by qw_api_request_begin; what it owns is released by the
 * caller on failure.
 */
QW_MUST_CHECK qw_status qw_api_request_fill(qw_api_request *r, const qw_api_config *cfg,
                                            const qw_api_call *call, qw_api_error *err);

/** Members of a chat body, their form, and the model's name; fills body, messages and tools. */
QW_MUST_CHECK qw_status qw_api_chat_read(qw_api_request *r, const qw_api_config *cfg,
                                         const json_t *raw, qw_api_error *err);
/** Rules for `tools` and `tool_choice` of a raw body, and the form of tool `i`. */
QW_MUST_CHECK qw_status qw_api_check_tool_choice(const json_t *body, qw_api_error *err);
void qw_api_check_tool(const json_t *tool, size_t i, qw_issues *issues);
/** Which tools the template shows, and how their calls are understood. */
QW_MUST_CHECK qw_status qw_api_settle_tools(qw_api_request *r, const qw_api_config *cfg,
                                            qw_api_error *err);
/** Read a chat whose body is JSON already; a qw_api_read_fn. */
QW_MUST_CHECK qw_status qw_api_chat_parse(qw_api_request *r, const qw_api_config *cfg,
                                          const json_t *raw, const qw_api_call *call,
                                          qw_api_error *err);
/** Put the members that `keys` name, ended by NULL, into `to` as they are in `from`, null too. */
QW_MUST_CHECK bool qw_api_copy_members(json_t *to, const json_t *from, const char *const *keys);
/** Set a member; takes over `value`, NULL after a failed allocation. */
QW_MUST_CHECK bool qw_api_set(json_t *object, const char *key, json_t *value);
/** {"role": role, "content": content}, appended to `messages`; takes over `content`. NULL: no
 *  memory. */
json_t *qw_api_add_message(json_t *messages, const char *role, json_t *content);

/**
 * The chat that a body of another dialect means (caller owns *out). What is wrong with it is told
 * in the words of the dialect as far as its form goes; all else is checked as a chat's.
 */
QW_MUST_CHECK qw_status qw_api_responses_to_chat(json_t **out, const json_t *raw,
                                                 qw_api_error *err);
/** `counts_only`: /v1/messages/count_tokens, which needs no max_tokens. */
QW_MUST_CHECK qw_status qw_api_messages_to_chat(json_t **out, const json_t *raw, bool counts_only,
                                                qw_api_error *err);

/** What the template is given, and whether this model takes the messages' parts. */
QW_MUST_CHECK qw_status qw_api_chat_settle(qw_api_request *r, const qw_api_config *cfg,
                                           qw_api_error *err);
/** Render and tokenize a chat into p->text (kept only if return_prompt_text) and p->ids. */
QW_MUST_CHECK qw_status qw_api_prompt_chat(const qw_api_request *r, const qw_api_config *cfg,
                                           qw_api_prompt *p, qw_api_error *err);
/** The same for a text. */
QW_MUST_CHECK qw_status qw_api_prompt_text(const qw_api_request *r, const qw_api_config *cfg,
                                           qw_str text, qw_api_prompt *p, qw_api_error *err);

/** Read a body that is JSON already into *r, which qw_api_request_parse has begun and, on failure,
 *  releases. */
typedef qw_status qw_api_read_fn(qw_api_request *r, const qw_api_config *cfg, const json_t *raw,
                                 const qw_api_call *call, qw_api_error *err);
/** What parsing is for every form: the body's JSON, then `read`; *out is touched on success only.
 */
QW_MUST_CHECK qw_status qw_api_request_parse(qw_api_request *out, qw_api_kind kind,
                                             qw_api_read_fn *read, const qw_api_config *cfg,
                                             const qw_api_call *call, qw_api_error *err);

void qw_api_request_begin(qw_api_request *r, qw_api_kind kind);

#endif
