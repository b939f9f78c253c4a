#ifndef QW_SERVER_REASONING_H
#define QW_SERVER_REASONING_H

#include "format/tokenizer.h"

/**
 * Divides what a model says into reasoning and content (http-api.md 3.1, 3.2). The tags are told by
 * token id, not by their letters: a model that quotes "</think>" in pieces goes on thinking.
 *
 * There is one automaton for streamed and for whole answers, so both always agree:
 *
 *              first text is <think>            </think>: dropped
 *     UNDECIDED ------------------> THINKING ----------------------> CONTENT
 *         |                              \---- <tool_call>: kept ---/  ^
 *         \------------- any other text -------------------------------/
 *
 * White space in front of the first tag or text waits until it is clear what it belongs to; in
 * front of <think> it is dropped. CONTENT keeps every later tag as text.
 */
typedef enum qw_reasoning_state {
    QW_REASONING_UNDECIDED, /* auto: the model has not shown yet whether it thinks */
    QW_REASONING_THINKING,
    QW_REASONING_CONTENT, /* thinking is over, or there is no parser */
} qw_reasoning_state;

/** The parser of a server. Immutable, any thread. */
typedef struct qw_reasoning_parser {
    bool is_on;
    bool is_auto;                           /* text without tags is content, not reasoning */
    int32_t think_id, end_think_id;         /* both >= 0 when on */
    int32_t tool_call_id;                   /* -1: the vocabulary has none */
    int32_t eos_id, im_start_id, im_end_id; /* -1: none; where the last message ends */
    qw_str think, end_think;                /* the tags' text, borrowed from literals */
} qw_reasoning_parser;

/**
 * `name` as given to --reasoning-parser: "auto" (on if the chat template knows <think>), "qwen3",
 * "deepseek_r1" (the same), "none"; NULL is auto. `chat_template` may be empty. QW_ERR_USAGE: an
 * unknown name, with the choices; or a named parser on a vocabulary without the tags.
 */
QW_MUST_CHECK qw_status qw_reasoning_parser_init(qw_reasoning_parser *p, const char *name,
                                                 const qw_tokenizer *tokenizer,
                                                 qw_str chat_template, qw_error *err);

/** What a request said about thinking, in chat_template_kwargs or by reasoning_effort. */
typedef enum qw_thinking_wish {
    QW_THINKING_UNSAID,
    QW_THINKING_OFF, /* enable_thinking is false: everything is content */
    QW_THINKING_ON,
} qw_thinking_wish;

/**
 * The state in which an answer to this prompt begins. Looks only at what the template put after the
 * last message: tags in the history do not matter.
 */
qw_reasoning_state qw_reasoning_start(const qw_reasoning_parser *p, const int32_t *prompt,
                                      size_t n_prompt, qw_thinking_wish wish);

/** A tag that changes the state, as long as its text is not all divided. */
typedef struct qw_reasoning_mark {
    size_t begin, end; /* bytes of the answer's text; equal: the tag does not show */
    int32_t id;
} qw_reasoning_mark;

/** Most white space that waits in front of the first tag; more of it is text like any other. */
enum { QW_REASONING_HELD = 64 };

/**
 * One answer being divided. Tokens are told first, their text is divided later, perhaps much later
 * (stop strings hold text back), so the automaton runs twice: over tokens, which finds the tags,
 * and over the text, which stops at the marks.
 */
typedef struct qw_reasoning {
    const qw_reasoning_parser *parser; /* borrowed */
    qw_reasoning_state told_state;     /* after the tokens told so far */
    size_t n_told;                     /* bytes of text they made */
    bool saw_think;                    /* the first <think> was told */
    int64_t n_reasoning_tokens;        /* tokens of reasoning, tags not counted */
    qw_reasoning_mark marks[2];        /* ascending: at most one <think> and one end of thinking */
    int n_marks;
    qw_reasoning_state state; /* of the text divided so far */
    size_t n_done;            /* bytes of it */
    size_t skip_until;        /* text before this byte belongs to a tag */
    size_t n_held;            /* white space that waits */
    char held[QW_REASONING_HELD];
    bool at_start; /* nothing but that white space so far */
} qw_reasoning;

void qw_reasoning_init(qw_reasoning *r, const qw_reasoning_parser *parser,
                       qw_reasoning_state start);
/**
 * Tell a generated token, after which the answer's whole text is `text` (qw_output.text). Before
 * any of the text that the token added is divided.
 */
void qw_reasoning_token(qw_reasoning *r, int32_t id, qw_str text);
/**
 * Divide the next piece of text: every byte once, in order, in pieces of any size. Appends to
 * `reasoning` and `content`, which may be the same buffer. `last`: nothing will follow, so nothing
 * is held.
 */
void qw_reasoning_divide(qw_reasoning *r, qw_str piece, bool last, qw_buf *reasoning,
                         qw_buf *content);

#endif
