#include "engine/executor.h"

#include <pthread.h>
#include <signal.h>

#include "base/mem.h"

enum { MAX_LOGIT_ROWS = 64 }; // rows of one call; the model may take fewer

struct qw_executor {
    qw_executor_args args;
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t changed; /* one of the following */
    qw_batch *batch;        /* to run, or running; guarded by mu */
    bool is_stopping;       /* guarded by mu */
};

static void sample(qw_executor *x, qw_batch *b, int32_t i, const float *logits)
{
    qw_sampler *sampler = x->args.sampler;
    qw_sampled *s = &b->sampled[i];
    const qw_sequence *seq = b->sequences[s->i_seq];
    qw_error *err = &b->errors[i];
    int32_t id = -1;
    s->status = qw_sampler_constrain(&logits, sampler, seq->sampler, logits, err);
    if (s->status == QW_OK) s->status = qw_sampler_sample(&id, sampler, seq->sampler, logits, err);
    if (s->status == QW_OK && seq->logprobs) {
        qw_logprob *row = seq->logprobs + (size_t)b->i_logprobs * seq->n_logprobs;
        s->status = qw_logprobs_row(row, sampler, logits, id, seq->request->params.logprobs, err);
        s->logprobs = row;
    }
    if (s->status != QW_OK) return;
    s->id = id;
    qw_sampler_state_accept(seq->sampler, id);
}

static void run(qw_executor *x, qw_batch *b)
{
    const qw_kv_cache *kv = x->args.kv;
    qw_model_step step = {.n_tokens = b->n_tokens,
                          .token_ids = b->token_ids,
                          .positions = b->positions,
                          .seqs = b->seqs,
                          .n_seqs = b->n_seqs,
                          .kv = kv->layers,
                          .layout = &kv->layout};
    qw_model_forward(x->args.model, &step);
    for (int32_t i = 0, n; i < b->n_sampled; i += n) {
        int32_t rows[MAX_LOGIT_ROWS];
        for (n = 0; n < x->args.max_logit_rows && i + n < b->n_sampled; n++)
            rows[n] = b->sampled[i + n].row;
        size_t stride;
        const float *logits = qw_model_logits(x->args.model, rows, n, &stride);
        for (int32_t j = 0; j < n; j++) sample(x, b, i + j, logits + (size_t)j * stride);
    }
}

static void *thread_main(void *ctx)
{
    qw_executor *x = ctx;
    pthread_mutex_lock(&x->mu);
    for (;;) {
        while (!x->batch && !x->is_stopping) pthread_cond_wait(&x->changed, &x->mu);
        if (x->is_stopping) break;
        qw_batch *b = x->batch;
        pthread_mutex_unlock(&x->mu);
        run(x, b);
        pthread_mutex_lock(&x->mu);
        x->batch = NULL;
        pthread_cond_signal(&x->changed);
    }
    pthread_mutex_unlock(&x->mu);
    return NULL;
}

// Signals belong to the main thread.
static qw_status start_thread(qw_executor *x, qw_error *err)
{
    sigset_t all, saved;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    int e = pthread_create(&x->thread, NULL, thread_main, x);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    if (e != 0)
        return qw_fail(err, QW_ERR_IO, "cannot start the thread that runs the model: %s",
                       strerror(e));
    (void)pthread_setname_np(x->thread, "qw-forward");
    x->has_thread = true;
    return QW_OK;
}

qw_status qw_executor_new(qw_executor **out, const qw_executor_args *args, qw_error *err)
{
    qw_executor *x = qw_mem_calloc(1, sizeof *x);
    if (!x) return qw_fail_memory(err, sizeof *x, "the executor");
    x->args = *args;
    if (x->args.max_logit_rows > MAX_LOGIT_ROWS) x->args.max_logit_rows = MAX_LOGIT_ROWS;
    pthread_mutex_init(&x->mu, NULL);
    pthread_cond_init(&x->changed, NULL);
    qw_status st = args->own_thread ? start_thread(x, err) : QW_OK;
    if (st != QW_OK) {
        qw_executor_free(x);
        return st;
    }
    *out = x;
    return QW_OK;
}

void qw_executor_free(qw_executor *x)
{
    if (!x) return;
    if (x->has_thread) {
        pthread_mutex_lock(&x->mu);
        QW_ASSERT(!x->batch);
        x->is_stopping = true;
        pthread_cond_signal(&x->changed);
        pthread_mutex_unlock(&x->mu);
        pthread_join(x->thread, NULL);
    }
    pthread_cond_destroy(&x->changed);
    pthread_mutex_destroy(&x->mu);
    qw_mem_free(x);
}

void qw_executor_submit(qw_executor *x, qw_batch *batch)
{
    if (!x->has_thread) {
        run(x, batch);
        return;
    }
    pthread_mutex_lock(&x->mu);
    QW_ASSERT(!x->batch);
    x->batch = batch;
    pthread_cond_signal(&x->changed);
    pthread_mutex_unlock(&x->mu);
}

void qw_executor_wait(qw_executor *x)
{
    if (!x->has_thread) return;
    pthread_mutex_lock(&x->mu);
    while (x->batch) pthread_cond_wait(&x->changed, &x->mu);
    pthread_mutex_unlock(&x->mu);
}
