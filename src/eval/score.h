#ifndef QW_EVAL_SCORE_H
#define QW_EVAL_SCORE_H

#include "eval/task.h"

/** Room for a number in canonical form, its NUL included. */
#define QW_SCORE_NUMBER_SIZE 128

/**
 * What a reply says after its thinking: what follows the last "</think>", without blanks at both
 * ends. Empty when a block was opened ("<think>") and never closed.
 */
qw_str qw_score_final(qw_str reply);

/**
 * The first (or last) number in a text in canonical form: digits without a leading zero, no commas,
 * no zeros at the end behind a point, "-" in front if negative: "1,200.50" is "1200.5". A minus is
 * a sign unless a digit, a letter or a bracket is right in front of it; "$" may stand between. A
 * comma counts if three digits follow. False: there is none, or it has more than 120 digits.
 */
bool qw_score_number(char out[QW_SCORE_NUMBER_SIZE], qw_str text, bool want_last);
/** The same, and blanks, "$" in front and "%" or a full stop behind are all there is beside it. */
bool qw_score_whole_number(char out[QW_SCORE_NUMBER_SIZE], qw_str text);

/** What a scorer made of a reply. */
typedef struct qw_score {
    bool is_right;
    qw_str found; /* what was taken for the answer: into `buffer` or the reply; ptr NULL: nothing */
    char buffer[QW_SCORE_NUMBER_SIZE];
} qw_score;

/**
 * Judge a reply by its final part.
 *
 *   gsm8k       the number behind the last "####"; else the one in the last \boxed{}; else the
 *               last number there is
 *   arithmetic  the number behind the last "="; else as gsm8k
 *   choice      a letter: in the last \boxed{} or behind the last "answer is" or "answer:"; else
 *               the reply begins with it ("B", "B. ...", "(B)"); else the one choice whose text
 *               the reply contains; else the last letter in brackets
 *   exact       all of the reply, up to letter case (ASCII), runs of blanks, a full stop at the end
 */
void qw_score_reply(qw_score *out, const qw_task_item *item, qw_str reply);

#endif
