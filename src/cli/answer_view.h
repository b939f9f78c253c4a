#ifndef QW_CLI_ANSWER_VIEW_H
#define QW_CLI_ANSWER_VIEW_H

#include "base/buf.h"
#include "base/str.h"

/**
 * Shows an answer as it streams in and keeps its two parts: the thinking between <think> and
 * </think>, and the content behind it. Tags may be cut anywhere between two pieces of text.
 */
typedef struct qw_answer_view {
    FILE *out;
    bool is_styled; /* a terminal that understands dim text */
    bool is_folded; /* thinking is not shown, only that it goes on */
    bool is_thinking;
    bool has_shown_fold, at_content_start;
    qw_buf thinking, content;
    qw_buf pending; /* the possible start of a tag */
} qw_answer_view;

/** `starts_thinking`: the prompt itself ended with an open <think>. */
void qw_answer_view_begin(qw_answer_view *v, FILE *out, bool is_styled, bool is_folded,
                          bool starts_thinking);
void qw_answer_view_release(qw_answer_view *v);
/** Show and keep the next piece. */
void qw_answer_view_add(qw_answer_view *v, qw_str text);
/** Nothing more will come: show what was held back, end the style. */
void qw_answer_view_end(qw_answer_view *v);

#endif
