#ifndef QW_SERVER_API_REQUEST_H
#define QW_SERVER_API_REQUEST_H

#include "engine/frontend.h"
#include "server/api_error.h"
#include "server/reasoning.h"
#include "server/tool_calls.h"

/** What the server was started with, as far as requests and answers depend on it. Filled once,
 *  then read by any thread; everything is borrowed. */
typedef struct qw_api_config {
    const qw_frontend *frontend;
    const char *tokenizer_dir; /* special tokens for requests' own templates; NULL: model_path */
    int32_t longest_token;     /* most characters of a token, qw_api_longest_token; 0: unknown */
    const char *const *served_names; /* [n_served_names >= 1]; answers carry the first */
    size_t n_served_names;
    const char *model_path;     /* as given: an accepted name too, and "root" in /v1/models */
    const char *resolved_path;  /* absolute; may be NULL */
    bool skip_model_name_check; /* VLLM_SKIP_MODEL_NAME_VALIDATION=1 */
    int64_t created;            /* unix seconds, of the model cards */

    int32_t max_model_len;
    int32_t vocab_size;                 /* rows of logits */
    const qw_sampling_params *defaults; /* generation_config.json and overrides applied;
                                           max_tokens -1 unless it says max_new_tokens */
    int64_t max_tokens_cap;             /* for all requests (http-api.md 2.1); 0: none */
    int64_t max_logprobs;               /* --max-logprobs; -1: the whole vocabulary */
    int64_t max_n;                      /* VLLM_MAX_N_SEQUENCES */

    const json_t *chat_template_kwargs; /* --default-chat-template-kwargs; NULL: none */
    bool trust_request_chat_template;
    bool enable_auto_tool_choice;
    qw_tool_form tool_form; /* of --tool-call-parser */
    bool exclude_tools_when_tool_choice_none;
    qw_reasoning_parser reasoning;
    const char *response_role; /* "assistant" */

    bool enable_prompt_tokens_details;
    bool force_include_usage;
    bool return_tokens_as_token_ids;
    int32_t stream_interval;        /* tokens per chunk, >= 1 */
    const char *system_fingerprint; /* NULL: null in answers */
} qw_api_config;

typedef enum qw_api_kind {
    QW_API_CHAT,
    QW_API_COMPLETION,
} qw_api_kind;

/** Whose words a request and its answer use. The others are read as a chat. */
typedef enum qw_api_dialect {
    QW_DIALECT_OPENAI,    /* /v1/chat/completions, /v1/completions */
    QW_DIALECT_RESPONSES, /* /v1/responses */
    QW_DIALECT_MESSAGES,  /* /v1/messages, Anthropic's */
} qw_api_dialect;

/** Room for a request id: prefix and the client's part, which is cut to fit. */
enum { QW_API_ID_SIZE = 160 };

/** A request for text, checked (http-api.md 1.5, 1.8). Owns what it points to unless said. */
typedef struct qw_api_request {
    qw_api_kind kind;
    qw_api_dialect dialect;
    char id[QW_API_ID_SIZE]; /* "chatcmpl-...", "cmpl-...", "resp_..." or "msg_..." */
    json_t *body;            /* the parsed body: what is borrowed below lives in it */
    json_t *original;        /* the body of another dialect, as it came; else NULL */

    // How to sample. max_tokens: as asked for, or the model's default, at most the server's cap;
    // -1: to the end of the context. n >= 1; each prompt has that many children.
    qw_sampling_params params;
    int64_t asked_max_tokens;      /* the request's own number; -1: none */
    const char *asked_by;          /* the field it stood in */
    int64_t priority;              /* lower first */
    qw_str cache_salt;             /* ptr NULL: none; borrowed from body */
    int64_t thinking_token_budget; /* -1: none */

    // Prompts.
    size_t n_prompts;          /* 1 for chat */
    const json_t *messages;    /* chat; borrowed from body */
    const json_t *tools;       /* to show to the template; NULL: none; borrowed */
    const json_t *documents;   /* NULL: none; borrowed */
    json_t *template_kwargs;   /* merged over the server's; NULL: none */
    qw_str chat_template;      /* the request's own; ptr NULL: the server's; borrowed */
    qw_thinking_wish thinking; /* what template_kwargs say */
    bool add_generation_prompt, continue_final_message;
    bool add_special_tokens;
    const json_t *prompt;           /* completions: text, ids, or a list of either; borrowed */
    int64_t truncate_prompt_tokens; /* -2: no; -1: to the longest prompt there is room for */
    bool truncate_right;            /* keep the beginning, not the end */

    // Tool calls in the answer.
    qw_tool_form tool_form; /* NONE: they are text like any other */
    bool tool_is_forced;    /* "required" or a named tool: nothing but calls comes */
    bool tool_is_named;     /* then the answer ends with "stop" */
    json_t *tool_grammar;   /* a structural tag (grammar.h) that holds calls to the schemas; NULL */
    size_t max_tool_calls;  /* 1: no parallel calls; 0: any number */

    // The answer.
    bool stream, include_usage, continuous_usage;
    bool echo;
    bool prompt_only; /* echo with max_tokens 0: one token is computed and not shown */
    bool include_reasoning;
    bool return_token_ids, return_tokens_as_token_ids, return_prompt_text;
    bool prompt_logprobs; /* asked for by that name, not only for echo */
    bool logprobs;        /* asked for; params.logprobs candidates beside the token */
} qw_api_request;

/** What the transport knows beside the body. */
typedef struct qw_api_call {
    qw_str body;
    const char *content_type; /* header, NULL: none sent */
    const char *request_id;   /* X-Request-Id header, NULL: none; wins over the body's */
    const char *random_id;    /* 32 hex digits, used when the client names none */
} qw_api_call;

/**
 * Read and check a body; needs no tokenizer and no template, so it is cheap. Checks follow vLLM's
 * order: content type, JSON, rules between fields, types, model name, features, ranges. On failure
 * *out is untouched and *err is the answer.
 */
QW_MUST_CHECK qw_status qw_api_request_parse_chat(qw_api_request *out, const qw_api_config *cfg,
                                                  const qw_api_call *call, qw_api_error *err);
QW_MUST_CHECK qw_status qw_api_request_parse_completion(qw_api_request *out,
                                                        const qw_api_config *cfg,
                                                        const qw_api_call *call, qw_api_error *err);
/** The body of another dialect; QW_DIALECT_OPENAI is a chat. */
QW_MUST_CHECK qw_status qw_api_request_parse_dialect(qw_api_request *out, qw_api_dialect dialect,
                                                     const qw_api_config *cfg,
                                                     const qw_api_call *call, qw_api_error *err);
void qw_api_request_release(qw_api_request *r);

/** One prompt, ready for the engine. */
typedef struct qw_api_prompt {
    qw_ids ids;                  /* never empty, fits the context with at least one more token */
    qw_buf text;                 /* chat: as rendered; completions: only made for echo */
    int32_t max_tokens;          /* what remains for the answer: >= 1; for params.max_tokens */
    qw_reasoning_state thinking; /* how the answer begins */
} qw_api_prompt;

/**
 * Make prompt `i` of a request: template, tokenizer, truncation, bounds on its length, bad_words
 * (into r->params, once, with i == 0). For a worker thread: this is the part that takes time. One
 * thread at a time for one request. *out holds nothing before; on failure it is untouched.
 */
QW_MUST_CHECK qw_status qw_api_request_prompt(qw_api_prompt *out, qw_api_request *r, size_t i,
                                              const qw_api_config *cfg, qw_api_error *err);
void qw_api_prompt_release(qw_api_prompt *p);

/** Most characters (bytes are an upper bound) that one token stands for, to refuse far too long
 *  prompts before they are tokenized. Looks at all tokens: once at start. */
int32_t qw_api_longest_token(const qw_tokenizer *tokenizer);

/** True if a request may call the model so: a served name, or one of its paths (decision D3). NULL
 *  and "" are the served model. */
bool qw_api_config_knows_model(const qw_api_config *cfg, qw_str name);

#endif
