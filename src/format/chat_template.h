#ifndef QW_FORMAT_CHAT_TEMPLATE_H
#define QW_FORMAT_CHAT_TEMPLATE_H

#include <jansson.h>
#include <time.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/**
 * A chat template: the subset of Jinja that model folders use (spec qwen3-dense, section 7), with
 * the environment that transformers gives it: trim_blocks, lstrip_blocks, no autoescape, immutable
 * sandbox, loop controls, generation blocks, tojson = json.dumps.
 *
 * Known differences from Jinja: integers have 64 bits, and more is an error; there is no marked-up
 * text, so `safe` only makes a string and `e` escapes twice if asked twice; map, select and the
 * like run at once instead of item by item; and a variable that a scope sets later on is, until
 * then, the outer one of that name, also inside loops, where Jinja calls it undefined.
 *
 * Parsed once, then immutable: any number of threads may render it at the same time.
 */
typedef struct qw_chat_template qw_chat_template;

/** Bounds of one rendering, so that no template can hold a thread or exhaust the memory. */
typedef struct qw_chat_template_options {
    size_t max_output;    /* bytes of text; captured text (macros, set blocks) counts while open */
    size_t max_memory;    /* bytes of all values that the rendering makes */
    uint64_t max_steps;   /* evaluations, loop rounds, and 64-byte units of text moved */
    int max_calls;        /* macro calls and recursive loops inside each other */
    const struct tm *now; /* what strftime_now prints; NULL = the local time. Borrowed */
} qw_chat_template_options;

/** 64 MiB of text, 256 MiB of values, 10 million steps, 200 calls, the local time. */
extern const qw_chat_template_options qw_chat_template_defaults;

/**
 * Parse `len` bytes of template text (UTF-8). `name` says in errors which template it is; it and
 * the text are copied. Caller owns *out (qw_chat_template_free).
 *
 * QW_ERR_FORMAT names line and token; QW_ERR_UNSUPPORTED is for Jinja that is valid but left out
 * (blocks, autoescape). Jinja's rarely used inclusion tags and, inside branches, unknown filters
 * and tests only fail when they are executed, as in Jinja.
 */
QW_MUST_CHECK qw_status qw_chat_template_parse(qw_chat_template **out, const char *text, size_t len,
                                               const char *name, qw_error *err);
void qw_chat_template_free(qw_chat_template *t);

/**
 * Render with the members of `context` (an object) as variables: messages, tools,
 * add_generation_prompt, eos_token ... A member that is absent is undefined, null is none. Integers
 * and reals stay apart (1 prints 1, 1.0 prints 1.0), and objects keep their key order. The context
 * is only read, and may be shared by threads that only read it.
 *
 * Appends to `out`; a failure leaves it untouched. `options` may be NULL for the defaults.
 * QW_ERR_FORMAT: the template failed, by raise_exception (the text contains its message), by a
 * mistake in it or by a limit; the text names the template and the line.
 */
QW_MUST_CHECK qw_status qw_chat_template_render(const qw_chat_template *t, const json_t *context,
                                                qw_buf *out,
                                                const qw_chat_template_options *options,
                                                qw_error *err);

/** The template's text as it was given (borrowed from `t`). */
qw_str qw_chat_template_text(const qw_chat_template *t);

/**
 * True if the template loops over the content of a message, so that it wants lists of content
 * parts ("openai" format); false if it wants plain text ("string" format). Follows variables, loop
 * targets and macro arguments that hold `messages`, a message, or its content.
 */
bool qw_chat_template_wants_parts(const qw_chat_template *t);

#endif
