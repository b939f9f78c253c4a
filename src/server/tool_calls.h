#ifndef QW_SERVER_TOOL_CALLS_H
#define QW_SERVER_TOOL_CALLS_H

#include "format/json.h"

/**
 * Takes the calls of tools out of what a model says (http-api.md 3.3 to 3.5). One automaton for
 * streamed and for whole answers: whatever pieces the text comes in, the calls and the content are
 * the same.
 */

/** How calls are written in the text. */
typedef enum qw_tool_form {
    QW_TOOL_FORM_NONE,
    QW_TOOL_FORM_HERMES, /* <tool_call>{"name": "f", "arguments": {...}}</tool_call> */
    /* <tool_call><function=f><parameter=k>\nv\n</parameter></function></tool_call> */
    QW_TOOL_FORM_QWEN3_CODER,
} qw_tool_form;

/** Names that --tool-call-parser takes, ended by NULL: hermes, qwen3 (the same), qwen3_coder,
 *  qwen3_xml (the same). */
extern const char *const qw_tool_form_names[];
/** The form of a name; NONE for NULL and for an unknown one. */
qw_tool_form qw_tool_form_of(const char *name);

enum { QW_TOOL_CALL_ID_SIZE = 48 };

/** One call, perhaps still growing. */
typedef struct qw_tool_call {
    char id[QW_TOOL_CALL_ID_SIZE];
    qw_buf name;
    qw_buf arguments; /* JSON as far as it has come */
    bool is_whole;    /* its end was seen */
    // For whoever writes a stream
    bool is_told;   /* its beginning was written */
    size_t n_told;  /* bytes of arguments written */
    size_t i_block; /* where it stands in the answer */
} qw_tool_call;

typedef struct qw_tool_calls qw_tool_calls;

/**
 * `tools`: the request's, borrowed until free; types of parameters are looked up there.
 * `max_calls`: later ones are dropped; 0: no limit.
 */
QW_MUST_CHECK qw_status qw_tool_calls_new(qw_tool_calls **out, qw_tool_form form,
                                          const json_t *tools, size_t max_calls, qw_error *err);
void qw_tool_calls_free(qw_tool_calls *p);

/** What comes behind a piece of text. */
typedef enum qw_text_end {
    QW_TEXT_GOES_ON,
    QW_TEXT_ENDED, /* nothing: the model has finished */
    QW_TEXT_CUT,   /* nothing: a limit was reached */
} qw_text_end;

/**
 * Take the next piece of text, every byte once, in order. Appends to `content` what is no call:
 * text up to the first one, without white space if there is nothing else in front of it; what
 * follows a call is dropped. A block that turns out not to be a call before its name is known is
 * content. Nothing is taken after the end.
 */
void qw_tool_calls_push(qw_tool_calls *p, qw_str piece, qw_text_end end, qw_buf *content);
/** Memory that was short, here or in an earlier call. */
QW_MUST_CHECK qw_status qw_tool_calls_check(const qw_tool_calls *p, qw_error *err);

/** Calls whose name is known, in order. */
size_t qw_tool_calls_count(const qw_tool_calls *p);
qw_tool_call *qw_tool_calls_at(qw_tool_calls *p, size_t i);
/**
 * True once a block was malformed or has ended too early. A whole answer is then told as content
 * and no calls, as vLLM does; a stream keeps what it has told.
 */
bool qw_tool_calls_is_broken(const qw_tool_calls *p);
qw_tool_form qw_tool_calls_form(const qw_tool_calls *p);

/** Append the arguments as Python's json.dumps spells them; text that it would not read, as is. */
void qw_tool_call_write_arguments(const qw_tool_call *call, qw_buf *out);

#endif
