#include "engine/runner.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

// An event as it waits: its logprobs are at an index, for the array may move while it grows.
typedef struct stored_event {
    qw_run_event event;
    size_t first_logprob;
} stored_event;

/** Events in order, and behind them the jobs that are over: a list, so that no end is ever lost. */
typedef struct event_list {
    stored_event *events;
    size_t n_events, max_events;
    qw_logprob *logprobs;
    size_t n_logprobs, max_logprobs;
    qw_job *done, *last_done;
} event_list;

// Lists change hands by swapping, so nothing is copied and nothing can fail on the way:
//
//   told (engine thread)  --flush, if outbox is empty-->  outbox  --drain-->  reading (reader)
//
// When the reader has not drained yet, what was told stays where it is and goes with the next.
struct qw_runner {
    qw_engine *engine;
    void (*notify)(void *ctx);
    void *notify_ctx;
    pthread_t thread;
    bool has_thread;
    event_list told;     /* engine thread only */
    event_list reading;  /* the reader's */
    int32_t n_generated; /* of the step being run; engine thread only */

    pthread_mutex_t mu;
    pthread_cond_t wake;                /* the engine thread waits for work */
    qw_job *submitted, *last_submitted; /* guarded by mu */
    qw_job *cancelled;                  /* guarded by mu */
    bool reset_prefix_cache, stopping;  /* guarded by mu */
    bool wants_list;                    /* guarded by mu */
    event_list outbox;                  /* guarded by mu */
    qw_engine_stats stats;              /* guarded by mu */
    size_t n_jobs;                      /* guarded by mu: submitted and not over */
    int64_t moved_ns;                   /* guarded by mu: when the engine last moved */
};

// Lists of events

static bool list_is_empty(const event_list *l)
{
    return l->n_events == 0 && !l->done;
}

static void list_release(event_list *l)
{
    qw_mem_free(l->events);
    qw_mem_free(l->logprobs);
    *l = (event_list){0};
}

// The array with room for `need` items, or NULL: then the old one is still good.
static void *grown(void *array, size_t *max, size_t need, size_t size)
{
    if (need <= *max) return array;
    size_t n = *max ? *max : 256, bytes;
    while (n < need) n *= 2;
    if (!qw_mul_size(&bytes, n, size)) return NULL;
    void *bigger = qw_mem_realloc(array, bytes);
    if (bigger) *max = n;
    return bigger;
}

// False, and nothing added, when memory is short.
static bool list_add(event_list *l, const qw_run_event *event)
{
    stored_event *events = grown(l->events, &l->max_events, l->n_events + 1, sizeof *events);
    if (!events) return false;
    l->events = events;
    if (event->n_logprobs > 0) {
        size_t n = l->n_logprobs + event->n_logprobs;
        qw_logprob *logprobs = grown(l->logprobs, &l->max_logprobs, n, sizeof *logprobs);
        if (!logprobs) return false;
        l->logprobs = logprobs;
        memcpy(logprobs + l->n_logprobs, event->logprobs, event->n_logprobs * sizeof *logprobs);
    }
    l->events[l->n_events++] = (stored_event){*event, l->n_logprobs};
    l->n_logprobs += event->n_logprobs;
    return true;
}

static void list_add_done(event_list *l, qw_job *job)
{
    job->next = NULL;
    if (l->last_done)
        l->last_done->next = job;
    else
        l->done = job;
    l->last_done = job;
}

// Engine thread

// The job's last word. Nothing about it is told afterwards.
static void end_job(qw_runner *r, qw_job *job)
{
    if (atomic_exchange(&job->is_over, true)) return;
    list_add_done(&r->told, job);
}

static void fail_job(qw_job *job, const qw_error *err)
{
    if (job->status != QW_OK) return;
    job->status = err->code;
    job->error = *err;
}

// Tell an event; a job whose event finds no memory fails and ends.
static void tell(qw_runner *r, const qw_run_event *event)
{
    if (list_add(&r->told, event) || !event->job) return;
    qw_error err;
    (void)qw_fail_memory(&err, sizeof *event, "a token on its way out");
    fail_job(event->job, &err);
}

static bool on_token(void *ctx, const qw_token_event *event)
{
    qw_job *job = ctx;
    qw_runner *r = job->runner;
    if (atomic_load(&job->is_over)) return true;
    if (event->finish == QW_FINISH_ABORT && event->error) fail_job(job, event->error);
    bool is_withdrawn = atomic_load(&job->withdrawn[event->child]);
    if (!is_withdrawn) {
        qw_run_event e = {.kind = QW_RUN_TOKEN,
                          .job = job,
                          .child = event->child,
                          .id = event->id,
                          .finish = event->finish,
                          .stop_id = event->stop_id,
                          .time_ns = event->time_ns,
                          .logprobs = event->logprobs,
                          .n_logprobs = event->n_logprobs};
        tell(r, &e);
        if (event->id >= 0) r->n_generated++;
    }
    bool is_end = is_withdrawn || event->finish != QW_FINISH_NONE || job->status != QW_OK;
    return is_end;
}

static void on_prompt_logprobs(void *ctx, int32_t position, const qw_logprob *logprobs, size_t n)
{
    qw_job *job = ctx;
    if (atomic_load(&job->is_over)) return;
    qw_run_event e = {.kind = QW_RUN_PROMPT_LOGPROBS,
                      .job = job,
                      .position = position,
                      .logprobs = logprobs,
                      .n_logprobs = n};
    tell(job->runner, &e);
}

static void on_done(void *ctx, const qw_request_facts *facts)
{
    qw_job *job = ctx;
    job->facts = *facts;
    end_job(job->runner, job);
}

static void start_job(qw_runner *r, qw_job *job)
{
    qw_error err;
    size_t n = job->params.n > 0 ? (size_t)job->params.n : 1;
    job->withdrawn = qw_mem_calloc(n, sizeof *job->withdrawn);
    qw_status st = job->withdrawn ? QW_OK : qw_fail_memory(&err, n, "a request");
    if (st == QW_OK) {
        qw_request_sink sink = {.ctx = job, .token = on_token, .done = on_done};
        if (job->wants_prompt_logprobs) sink.prompt_logprobs = on_prompt_logprobs;
        st = qw_engine_submit(r->engine, job->prompt, job->n_prompt, &job->params, &job->options,
                              &sink, &job->id, &err);
    }
    if (st == QW_OK) return;
    fail_job(job, &err);
    end_job(r, job);
}

// Put what was told into the outbox if the reader has emptied it, and say so.
static void flush(qw_runner *r, bool moved)
{
    bool notify = false;
    pthread_mutex_lock(&r->mu);
    qw_engine_get_stats(r->engine, &r->stats);
    if (moved) r->moved_ns = qw_clock_ns();
    if (list_is_empty(&r->outbox) && !list_is_empty(&r->told)) {
        for (const qw_job *job = r->told.done; job; job = job->next) r->n_jobs--;
        event_list empty = r->outbox;
        r->outbox = r->told;
        r->told = empty;
        notify = true;
    }
    pthread_mutex_unlock(&r->mu);
    if (notify) r->notify(r->notify_ctx);
}

typedef struct inbox {
    qw_job *submitted, *cancelled;
    bool reset_prefix_cache, stopping, wants_list;
} inbox;

// A job that has ended may be gone as soon as its end was drained, so it may not stay in the list.
static void drop_ended(qw_job **list)
{
    while (*list) {
        if (atomic_load(&(*list)->is_over))
            *list = (*list)->next_cancel;
        else
            list = &(*list)->next_cancel;
    }
}

// What has come in; waits for something when there is no work.
static inbox take_inbox(qw_runner *r, bool has_work)
{
    pthread_mutex_lock(&r->mu);
    while (!has_work && !r->submitted && !r->cancelled && !r->reset_prefix_cache && !r->stopping &&
           !r->wants_list && (list_is_empty(&r->told) || !list_is_empty(&r->outbox)))
        pthread_cond_wait(&r->wake, &r->mu);
    drop_ended(&r->cancelled);
    inbox in = {r->submitted, r->cancelled, r->reset_prefix_cache, r->stopping, r->wants_list};
    r->submitted = r->last_submitted = r->cancelled = NULL;
    r->reset_prefix_cache = r->wants_list = false;
    pthread_mutex_unlock(&r->mu);
    return in;
}

static void tell_child(void *ctx, const qw_sequence *seq)
{
    qw_runner *r = ctx;
    qw_run_event e = {.kind = QW_RUN_CHILD,
                      .job = seq->request->sink.ctx,
                      .child = seq->child,
                      .is_running = seq->state == QW_SEQ_RUNNING,
                      .n_computed = seq->n_computed,
                      .n_blocks = seq->n_blocks};
    // One that finds no memory is missing in the list; its job is none the worse.
    if (!atomic_load(&e.job->is_over)) (void)list_add(&r->told, &e);
}

// Somebody waits for the end of the list: if there is no memory for it, it is asked for again.
static void tell_list(qw_runner *r)
{
    qw_engine_each(r->engine, tell_child, r);
    qw_run_event e = {.kind = QW_RUN_LISTED};
    if (!list_add(&r->told, &e)) qw_runner_list(r);
}

static bool step(qw_runner *r)
{
    r->n_generated = 0;
    bool has_work = qw_engine_step(r->engine);
    if (!has_work) return false;
    qw_run_event e = {.kind = QW_RUN_STEP,
                      .time_ns = qw_clock_ns(),
                      .n_prompt_tokens = qw_engine_last_step(r->engine).n_prompt_tokens,
                      .n_generated = r->n_generated};
    tell(r, &e);
    return true;
}

static void *run(void *ctx)
{
    qw_runner *r = ctx;
    bool has_work = false;
    for (;;) {
        inbox in = take_inbox(r, has_work);
        for (qw_job *job = in.submitted, *next; job; job = next) {
            next = job->next;
            start_job(r, job);
        }
        // After the submissions: a job may have been cancelled before it was seen here.
        for (qw_job *job = in.cancelled, *next; job; job = next) {
            next = job->next_cancel;
            if (!atomic_load(&job->is_over)) qw_engine_cancel(r->engine, job->id);
        }
        if (in.reset_prefix_cache) qw_engine_reset_prefix_cache(r->engine);
        if (in.stopping) return NULL;
        if (in.wants_list) tell_list(r);
        has_work = step(r);
        flush(r, has_work);
    }
}

// Any thread

qw_status qw_runner_new(qw_runner **out, qw_engine *engine, void (*notify)(void *ctx),
                        void *notify_ctx, qw_error *err)
{
    qw_runner *r = qw_mem_calloc(1, sizeof *r);
    if (!r) return qw_fail_memory(err, sizeof *r, "the engine's queues");
    r->engine = engine;
    r->notify = notify;
    r->notify_ctx = notify_ctx;
    pthread_mutex_init(&r->mu, NULL);
    pthread_cond_init(&r->wake, NULL);
    qw_engine_get_stats(engine, &r->stats);
    int e = pthread_create(&r->thread, NULL, run, r);
    if (e != 0) {
        qw_runner_free(r);
        return qw_fail(err, QW_ERR_IO, "cannot start the engine's thread: %s", strerror(e));
    }
    r->has_thread = true;
    pthread_setname_np(r->thread, "qw-engine");
    *out = r;
    return QW_OK;
}

void qw_runner_free(qw_runner *r)
{
    if (!r) return;
    pthread_mutex_lock(&r->mu);
    r->stopping = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->mu);
    if (r->has_thread) pthread_join(r->thread, NULL);
    QW_ASSERT(r->n_jobs == 0);
    list_release(&r->told);
    list_release(&r->outbox);
    list_release(&r->reading);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->mu);
    qw_mem_free(r);
}

void qw_runner_submit(qw_runner *r, qw_job *job)
{
    job->runner = r;
    job->status = QW_OK;
    atomic_init(&job->is_over, false);
    atomic_init(&job->is_cancelled, false);
    job->next = job->next_cancel = NULL;
    pthread_mutex_lock(&r->mu);
    if (r->n_jobs++ == 0) r->moved_ns = qw_clock_ns();
    if (r->last_submitted)
        r->last_submitted->next = job;
    else
        r->submitted = job;
    r->last_submitted = job;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->mu);
}

void qw_runner_cancel(qw_job *job)
{
    if (atomic_exchange(&job->is_cancelled, true)) return;
    qw_runner *r = job->runner;
    pthread_mutex_lock(&r->mu);
    // A job that is over needs no cancelling, and may not enter the list once the drain that hands
    // it back has cleaned that: the caller is about to free it.
    if (!atomic_load(&job->is_over)) {
        job->next_cancel = r->cancelled;
        r->cancelled = job;
        pthread_cond_signal(&r->wake);
    }
    pthread_mutex_unlock(&r->mu);
}

void qw_runner_reset_prefix_cache(qw_runner *r)
{
    pthread_mutex_lock(&r->mu);
    r->reset_prefix_cache = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->mu);
}

void qw_runner_list(qw_runner *r)
{
    pthread_mutex_lock(&r->mu);
    r->wants_list = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->mu);
}

void qw_runner_withdraw(qw_job *job, int32_t child)
{
    atomic_store(&job->withdrawn[child], true);
}

size_t qw_runner_drain(qw_runner *r, void (*fn)(void *ctx, const qw_run_event *event), void *ctx)
{
    event_list *l = &r->reading;
    pthread_mutex_lock(&r->mu);
    event_list full = r->outbox;
    r->outbox = *l;
    drop_ended(&r->cancelled);
    pthread_cond_signal(&r->wake); // something may be waiting for the empty outbox
    pthread_mutex_unlock(&r->mu);
    *l = full;
    size_t n = l->n_events;
    for (size_t i = 0; i < l->n_events; i++) {
        qw_run_event *e = &l->events[i].event;
        e->logprobs = e->n_logprobs ? l->logprobs + l->events[i].first_logprob : NULL;
        fn(ctx, e);
    }
    qw_job *done = l->done;
    l->done = l->last_done = NULL;
    l->n_events = l->n_logprobs = 0;
    for (qw_job *next; done; done = next, n++) {
        next = done->next;
        qw_mem_free(done->withdrawn);
        done->withdrawn = NULL;
        qw_run_event e = {.kind = QW_RUN_DONE, .job = done};
        fn(ctx, &e);
    }
    return n;
}

void qw_runner_stats(qw_runner *r, qw_engine_stats *out)
{
    pthread_mutex_lock(&r->mu);
    *out = r->stats;
    pthread_mutex_unlock(&r->mu);
}

size_t qw_runner_n_jobs(qw_runner *r)
{
    pthread_mutex_lock(&r->mu);
    size_t n = r->n_jobs;
    pthread_mutex_unlock(&r->mu);
    return n;
}

int64_t qw_runner_stalled_ns(qw_runner *r)
{
    pthread_mutex_lock(&r->mu);
    int64_t ns = r->n_jobs > 0 ? qw_clock_ns() - r->moved_ns : 0;
    pthread_mutex_unlock(&r->mu);
    return ns;
}
