#ifndef QW_EVAL_TASK_H
#define QW_EVAL_TASK_H

#include "base/mem.h"
#include "format/json.h"

/** How an answer is judged (eval/score.h). */
typedef enum qw_scorer {
    QW_SCORER_GSM8K,
    QW_SCORER_CHOICE,
    QW_SCORER_EXACT,
    QW_SCORER_ARITHMETIC,
    QW_N_SCORERS,
    QW_SCORER_AUTO = QW_N_SCORERS, /* by what the line looks like */
} qw_scorer;

/** Their names, auto last, then NULL. */
extern const char *const qw_scorer_names[];

/** A question and what is right. Texts belong to the task. */
typedef struct qw_task_item {
    qw_scorer scorer;
    qw_str question;  /* ptr NULL: `messages` ask */
    json_t *messages; /* a conversation that ends with the question; NULL: none */
    qw_str *answers;  /* [n_answers] EXACT: each is right; else one: a number in canonical form
                         (qw_score_number), or of CHOICE the letter */
    size_t n_answers;
    qw_str *choices; /* [n_choices] CHOICE: A, B, ... */
    size_t n_choices;
} qw_task_item;

/** The questions of a file. Zero is an empty one. */
typedef struct qw_task {
    qw_task_item *items;
    size_t n, cap;
    qw_arena arena;
} qw_task;

/**
 * Add what a line of a task file says: `question` (a text) or `messages` (a conversation), and
 * `answer`; other members are not looked at, `scorer` excepted.
 *
 *   gsm8k       "answer": "She has ... = 42\n#### 42", as the data set has it
 *   choice      "choices": ["red", "green"], "answer": "B", or 1 (from 0 on), or "green"
 *   exact       "answer": "Paris", or a list of all that is right
 *   arithmetic  "answer": 42 or "42"
 *
 * `scorer` (or the line's own) AUTO: the first of choice, gsm8k, arithmetic, exact that the line
 * looks like. QW_ERR_FORMAT says what does not fit.
 */
QW_MUST_CHECK qw_status qw_task_add(qw_task *t, const json_t *line, qw_scorer scorer,
                                    qw_error *err);
void qw_task_release(qw_task *t);

/**
 * Append what the model is asked: the question; choices with their letters; then `instruction`, or,
 * when that is NULL, what the scorer's answers have to look like, if anything.
 */
void qw_task_write_question(const qw_task_item *item, const char *instruction, qw_buf *out);

#endif
