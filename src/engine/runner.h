#ifndef QW_ENGINE_RUNNER_H
#define QW_ENGINE_RUNNER_H

#include <stdatomic.h>

#include "engine/engine.h"

/**
 * The engine on a thread of its own, and the queues to it and from it.
 *
 *   any thread  --- submit, cancel --->  inbox   ---> engine thread: steps
 *   one reader  <-- drain ------------   outbox  <--- tokens, ends      (notify: "look in")
 *
 * A job is the caller's struct: it is lent from submit until its DONE event has been drained, which
 * comes exactly once for every job that was submitted, after everything else about it, also when it
 * failed or was cancelled. Nothing is allocated for a token once the outbox has grown to the size
 * of a step.
 */
typedef struct qw_runner qw_runner;

typedef struct qw_job {
    // The caller's, before submit
    void *user;
    const int32_t *prompt; /* [n_prompt], the caller's; must stay until DONE */
    size_t n_prompt;
    qw_sampling_params params; /* moved in by submit */
    qw_submit_options options;
    bool wants_prompt_logprobs;

    // The runner's answer, to be read once DONE was drained
    qw_status status; /* not QW_OK: it failed, see error */
    qw_error error;
    qw_request_facts facts;

    // The runner's
    qw_runner *runner;
    uint64_t id;              /* engine thread only */
    atomic_bool *withdrawn;   /* [n]; allocated by submit, freed before DONE is handed over */
    atomic_bool is_cancelled; /* set once, by the first cancel */
    atomic_bool is_over;      /* set by the engine thread; nothing is told after it but DONE */
    struct qw_job *next, *next_cancel; /* links of the queues, guarded by its lock */
} qw_job;

typedef enum qw_run_kind {
    QW_RUN_TOKEN,           /* a token of a child, or its end without one (id -1) */
    QW_RUN_PROMPT_LOGPROBS, /* of prompt token `position` */
    QW_RUN_DONE,            /* nothing more will come; the job is the caller's again */
    QW_RUN_STEP,            /* a step ran; no job */
    QW_RUN_CHILD,           /* how a child stands: qw_runner_list asked */
    QW_RUN_LISTED,          /* all children have been told; no job */
} qw_run_kind;

/** What the engine told. Logprobs are borrowed for the call. */
typedef struct qw_run_event {
    qw_run_kind kind;
    qw_job *job; /* NULL with STEP and LISTED */
    int32_t child;
    int32_t id;       /* TOKEN: -1 when only the end is told */
    int32_t position; /* PROMPT_LOGPROBS */
    qw_finish_reason finish;
    int32_t stop_id;            /* as in qw_token_event */
    int64_t time_ns;            /* TOKEN: when it was chosen; STEP: when it ended */
    const qw_logprob *logprobs; /* [n_logprobs] */
    size_t n_logprobs;
    int32_t n_prompt_tokens, n_generated; /* STEP */
    bool is_running;                      /* CHILD: scheduled; else it waits, as the following */
    int32_t n_computed, n_blocks;         /* positions in its KV blocks, and those blocks */
} qw_run_event;

/**
 * Start the engine's thread. `notify` is called there (never while a lock is held) when the outbox
 * has got its first event since the last drain; it must be quick and must not fail. The engine is
 * lent until qw_runner_free.
 */
QW_MUST_CHECK qw_status qw_runner_new(qw_runner **out, qw_engine *engine, void (*notify)(void *ctx),
                                      void *notify_ctx, qw_error *err);
/** Every job must be over and drained. Stops and joins the thread. NULL is fine. */
void qw_runner_free(qw_runner *r);

/** Queue a job; any thread. A refused one (a prompt too long) fails by its DONE event. */
void qw_runner_submit(qw_runner *r, qw_job *job);
/**
 * Withdraw all of a submitted job's children, wherever they are; any thread, any number of times
 * before its DONE event was drained. Tokens already on their way may still come before DONE.
 */
void qw_runner_cancel(qw_job *job);
/** Withdraw one child (its stop string was found): at most one more token of it is computed. */
void qw_runner_withdraw(qw_job *job, int32_t child);
/** Forget all cached prefixes that nobody uses; done before the next step. Any thread. */
void qw_runner_reset_prefix_cache(qw_runner *r);

/**
 * Ask how all children stand: the events CHILD of each, then LISTED, come before the next step.
 * What is asked again before that is answered once. Any thread.
 */
void qw_runner_list(qw_runner *r);

/** Hand all events that have come to `fn`, in order. One thread only. Returns how many. */
size_t qw_runner_drain(qw_runner *r, void (*fn)(void *ctx, const qw_run_event *event), void *ctx);

/** How things stood after the last step; any thread. */
void qw_runner_stats(qw_runner *r, qw_engine_stats *out);
/** Jobs that are queued or run; any thread. */
size_t qw_runner_n_jobs(qw_runner *r);
/** Nanoseconds since the engine last moved while it had work, 0 when it has none; any thread. */
int64_t qw_runner_stalled_ns(qw_runner *r);

#endif
