#ifndef QW_EVAL_TASK_RUN_H
#define QW_EVAL_TASK_RUN_H

#include "engine/engine.h"
#include "engine/frontend.h"
#include "eval/task.h"

/** What became of a question. Each counts once, and only RIGHT for the score. */
typedef enum qw_outcome {
    QW_OUTCOME_RIGHT,
    QW_OUTCOME_WRONG,
    QW_OUTCOME_TRUNCATED, /* cut at max_tokens or at the end of the context, whatever it says */
    QW_OUTCOME_EMPTY,     /* nothing but blanks and thinking */
    QW_N_OUTCOMES,
} qw_outcome;

/** "right", "wrong", "truncated", "empty". */
const char *qw_outcome_name(qw_outcome outcome);

/** A question's answer. */
typedef struct qw_task_answer {
    qw_outcome outcome;
    bool is_right; /* what there is of it is right, also of a truncated one */
    qw_buf text;   /* thinking included */
    qw_buf found;  /* what the scorer took for the answer; empty: nothing */
    int64_t n_tokens;
} qw_task_answer;

/** All of them. */
typedef struct qw_task_result {
    qw_task_answer *answers; /* [n], in the order of the task */
    size_t n;
    size_t n_outcomes[QW_N_OUTCOMES];
    size_t n_truncated_right;
    double seconds; /* from the first submission to the last token */
    int64_t n_prompt_tokens, n_output_tokens;
} qw_task_result;

/** How to ask. All borrowed for the run. */
typedef struct qw_task_run_args {
    qw_engine *engine; /* idle */
    const qw_frontend *frontend;
    const qw_sampling_params *params; /* n = 1 */
    const json_t *template_kwargs;    /* of the chat template; NULL: none */
    const char *instruction;          /* behind each question; NULL: the scorer's own */
    bool chat;                        /* through the chat template; else "Question: ...\nAnswer:" */
    /** Called after each step; may be NULL. */
    void (*progress)(void *ctx, size_t n_done, size_t n_total);
    void *progress_ctx;
} qw_task_run_args;

/**
 * Ask everything at once, as many at a time as the engine takes, and judge the answers. Release
 * with qw_task_result_release. An error names the question it is about, from 1 on.
 */
QW_MUST_CHECK qw_status qw_task_run(qw_task_result *out, const qw_task *task,
                                    const qw_task_run_args *args, qw_error *err);
/** All zero is fine. */
void qw_task_result_release(qw_task_result *r);

#endif
