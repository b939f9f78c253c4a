#ifndef QW_SERVER_API_RESPONSE_INTERNAL_H
#define QW_SERVER_API_RESPONSE_INTERNAL_H

// The growing answer. Only for api_response.c (what comes in), api_stream.c and api_whole.c (what
// goes out).

#include "engine/output.h"
#include "server/api_response.h"
#include "server/api_write.h"

/** One choice. In a stream the lists hold what no chunk has told yet, else everything. */
typedef struct qw_choice {
    qw_output output; /* only with a tokenizer */
    qw_reasoning reasoning;
    qw_tool_calls *tools;    /* NULL: calls are text like any other */
    qw_finish_reason finish; /* NONE while it grows */
    int32_t stop_id;         /* -1: none */
    int64_t n_tokens;        /* completion tokens */
    int64_t n_pending;       /* of these, not yet in a chunk */
    bool is_dirty;           /* listed in qw_api_response.dirty */
    bool has_begun;          /* its first chunk was written */
    qw_ids ids;              /* with return_token_ids */
    qw_buf chat_logprobs;    /* list items */
    qw_logprob_lists lists;  /* completions */
} qw_choice;

/** What is shared by the children of a prompt. */
typedef struct qw_prompt_part {
    const qw_api_prompt *prompt; /* borrowed */
    int32_t n_cached;
    qw_buf logprobs;        /* items of prompt_logprobs, without the leading null */
    qw_logprob_lists lists; /* of an echoed prompt: each choice begins with them */
} qw_prompt_part;

/** What an answer of another dialect is made of, one after the other: items (Responses) or blocks
 *  (Messages). */
typedef enum qw_item_kind {
    QW_ITEM_NONE,
    QW_ITEM_REASONING,
    QW_ITEM_TEXT,
    QW_ITEM_CALL,
} qw_item_kind;

enum { QW_ITEM_ID_SIZE = 48 };

/** The answer as items: the one that is open, and those that are complete. */
typedef struct qw_items {
    qw_item_kind kind;
    qw_tool_call *call; /* of a CALL */
    char id[QW_ITEM_ID_SIZE];
    size_t index; /* of the open item, or of the next one */
    qw_buf text;  /* of the open item so far; a call's is in its arguments */
    qw_buf done;  /* JSON of the complete items, with commas */
    int64_t n_events;
    bool has_begun;
} qw_items;

/** How a dialect tells items. Events go to `out`; in a whole answer they are thrown away. */
typedef struct qw_item_form {
    void (*begin)(qw_api_response *r, qw_buf *out); /* before the first item */
    void (*open)(qw_api_response *r, qw_buf *out);
    void (*more)(qw_api_response *r, qw_str news, qw_buf *out);
    void (*close)(qw_api_response *r, qw_buf *out); /* also adds the item to items.done */
    void (*end)(qw_api_response *r, qw_buf *out);   /* behind the last one */
    void (*whole)(qw_api_response *r, qw_buf *out); /* the answer as one object */
    void (*fail)(qw_api_response *r, const qw_api_error *why, qw_buf *out);
} qw_item_form;

extern const qw_item_form qw_responses_form, qw_messages_form;

/** Tell what is new of an answer by items, or all of it (api_items.c). */
void qw_response_write_items(qw_api_response *r, qw_buf *out);
/** {"type":"error","error":{"type":...,"message":...}} */
void qw_messages_write_error(qw_buf *out, const qw_api_error *e);
/** How the answer to a request is told by items; NULL: it is not. */
const qw_item_form *qw_item_form_of(const qw_api_request *req);

struct qw_api_response {
    const qw_api_config *cfg;
    const qw_api_request *req;
    const qw_tokenizer *tokenizer; /* NULL: no text */
    int64_t created;
    size_t n_prompts, n_choices, n_children; /* n_choices = n_prompts * n_children */
    qw_prompt_part *parts;                   /* [n_prompts] */
    qw_choice *choices;                      /* [n_choices] */
    size_t n_unfinished;
    uint32_t *dirty; /* [n_choices] choices with news, in the order of their news */
    size_t n_dirty;
    bool roles_sent, has_started, is_closed;
    qw_buf head;               /* how every chunk begins, up to the choices' bracket */
    qw_buf reasoning, content; /* scratch: a chunk's texts */
    qw_buf divided;            /* scratch: content with its calls */
    qw_status failed;          /* of the calls */
    const qw_item_form *form;  /* NULL: chat chunks and completions */
    qw_items items;            /* with a form */
    qw_str role;               /* of a chat answer; borrowed from cfg or req */
    qw_str echo;               /* chat: the last message, if it is repeated; ptr NULL: it is not */
};

/** True if a chat answer is divided. */
static inline bool qw_response_divides(const qw_api_response *r)
{
    return r->req->kind == QW_API_CHAT && r->cfg->reasoning.is_on;
}

/** True if a step of this choice may have nothing to show, for something parses its text. */
static inline bool qw_response_parses(const qw_api_response *r, const qw_choice *c)
{
    return qw_response_divides(r) || c->tools;
}

/** Calls of a choice that are to be told; a whole answer tells none if one is malformed. */
size_t qw_response_n_calls(const qw_api_response *r, const qw_choice *c);

/** Divide what has become visible of a choice into r->reasoning, r->content, cleared before, and
 * the choice's calls. What is echoed stands in front of a completion's first text and of a whole
 * chat answer. */
void qw_response_take_text(qw_api_response *r, qw_choice *c);

/** "usage" object of the given counts; `whole`: all keys, else those that are set. `reasoning` < 0:
 *  not counted. */
void qw_response_write_usage(qw_buf *b, const qw_api_response *r, qw_api_usage usage, bool whole);
/** "stop", "tool_calls" and so on, or NULL while it grows. */
const char *qw_response_finish_name(const qw_api_response *r, const qw_choice *c);
/** The same with quotes, or null. */
void qw_response_write_finish(qw_buf *b, const qw_api_response *r, const qw_choice *c);
/** The stop string, the stop id, or null. */
void qw_response_write_stop_reason(qw_buf *b, const qw_choice *c);
/** Usage of choice `i` alone. */
qw_api_usage qw_response_choice_usage(const qw_api_response *r, size_t i);

/** Append the chunks that are due (api_stream.c). */
void qw_response_write_chunks(qw_api_response *r, qw_buf *out);
/** Append the usage chunk, if wanted, and the end. */
void qw_response_write_end(qw_api_response *r, qw_buf *out);
/** Append the whole answer (api_whole.c). */
void qw_response_write_whole(qw_api_response *r, qw_buf *out);

#endif
