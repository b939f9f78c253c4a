#include "base/workers.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"

struct qw_workers {
    pthread_mutex_t mu;
    pthread_cond_t more;
    qw_task *head, *tail; /* guarded by mu */
    bool stopping;        /* guarded by mu */
    int n_threads;
    pthread_t threads[];
};

static void *work(void *ctx)
{
    qw_workers *w = ctx;
    pthread_mutex_lock(&w->mu);
    for (;;) {
        while (!w->head && !w->stopping) pthread_cond_wait(&w->more, &w->mu);
        qw_task *task = w->head;
        if (!task) break;
        w->head = task->next;
        if (!w->head) w->tail = NULL;
        pthread_mutex_unlock(&w->mu);
        task->run(task);
        pthread_mutex_lock(&w->mu);
    }
    pthread_mutex_unlock(&w->mu);
    return NULL;
}

qw_status qw_workers_new(qw_workers **out, int n_threads, const char *name, qw_error *err)
{
    QW_ASSERT(n_threads >= 1);
    size_t size = sizeof(qw_workers) + (size_t)n_threads * sizeof(pthread_t);
    qw_workers *w = qw_mem_calloc(1, size);
    if (!w) return qw_fail_memory(err, size, "worker threads");
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->more, NULL);
    for (; w->n_threads < n_threads; w->n_threads++) {
        int e = pthread_create(&w->threads[w->n_threads], NULL, work, w);
        if (e != 0) {
            qw_status st =
                qw_fail(err, QW_ERR_IO, "cannot start a thread of '%s': %s", name, strerror(e));
            qw_workers_free(w);
            return st;
        }
        pthread_setname_np(w->threads[w->n_threads], name);
    }
    *out = w;
    return QW_OK;
}

void qw_workers_free(qw_workers *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->mu);
    w->stopping = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->mu);
    for (int i = 0; i < w->n_threads; i++) pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->mu);
    qw_mem_free(w);
}

void qw_workers_add(qw_workers *w, qw_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&w->mu);
    if (w->tail)
        w->tail->next = task;
    else
        w->head = task;
    w->tail = task;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->mu);
}
