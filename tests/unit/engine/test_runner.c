// The engine on its thread: every job ends exactly once however it ends, its events come in order
// and none after its end, whoever reads reads late, and memory that fails costs one job.

#include "test_util.h"

#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/runner.h"

// Small enough for a sanitizer: what is tested here is threads, not arithmetic.
#define MODEL QW_TEST_DATA "/tiny-models/tied"

enum { MAX_CHILDREN = 4, MAX_IDS = 512, MAX_PROMPT = 600 };

typedef struct told {
    qw_job job;
    int32_t prompt[MAX_PROMPT];
    int32_t ids[MAX_CHILDREN][MAX_IDS];
    int32_t n_ids[MAX_CHILDREN], n_ends[MAX_CHILDREN];
    int32_t n_children, n_done, n_tokens, last_position;
    int64_t last_ns;
    size_t n_logprobs;      /* every token must have so many */
    int32_t cancel_at;      /* cancel from the reader at this token; 0: never */
    int32_t withdraw_child; /* withdraw it at its second token; -1: none */
} told;

typedef struct desk {
    qw_engine *engine;
    qw_runner *runner;
    sem_t notified;
    int32_t n_done, n_steps;
    uint64_t n_generated;
    int32_t n_listed, n_children, n_running, n_waiting; /* lists; children of the one being told */
    int32_t max_running, max_waiting, max_blocks;
} desk;

static void notify(void *ctx)
{
    desk *d = ctx;
    sem_post(&d->notified);
}

static void on_token(told *t, const qw_run_event *e)
{
    assert_true(e->child >= 0 && e->child < t->n_children);
    assert_int_equal(t->n_ends[e->child], 0);
    if (e->finish != QW_FINISH_NONE) t->n_ends[e->child]++;
    if (e->id < 0) return;
    assert_true(e->time_ns >= t->last_ns);
    t->last_ns = e->time_ns;
    assert_int_equal(e->n_logprobs, t->n_logprobs);
    if (e->n_logprobs > 0) assert_int_equal(e->logprobs[0].id, e->id);
    assert_true(t->n_ids[e->child] < MAX_IDS);
    t->ids[e->child][t->n_ids[e->child]++] = e->id;
    t->n_tokens++;
    if (t->n_tokens == t->cancel_at) qw_runner_cancel(&t->job);
    if (e->child == t->withdraw_child && t->n_ids[e->child] == 2)
        qw_runner_withdraw(&t->job, e->child);
}

static void on_child(desk *d, const qw_run_event *e)
{
    const told *t = e->job->user;
    assert_int_equal(t->n_done, 0);
    assert_true(e->child >= 0 && e->child < t->n_children);
    assert_true(e->n_computed >= 0 && e->n_computed <= e->n_blocks * 16);
    assert_true(e->is_running || e->n_blocks == 0);
    d->n_running += e->is_running;
    d->n_waiting += !e->is_running;
    if (e->n_blocks > d->max_blocks) d->max_blocks = e->n_blocks;
}

static void on_listed(desk *d, const qw_run_event *e)
{
    assert_null(e->job);
    if (d->n_running > d->max_running) d->max_running = d->n_running;
    if (d->n_waiting > d->max_waiting) d->max_waiting = d->n_waiting;
    d->n_running = d->n_waiting = 0;
    d->n_listed++;
}

static void on_event(void *ctx, const qw_run_event *e)
{
    desk *d = ctx;
    if (e->kind == QW_RUN_CHILD) {
        on_child(d, e);
        return;
    }
    if (e->kind == QW_RUN_LISTED) {
        on_listed(d, e);
        return;
    }
    if (e->kind == QW_RUN_STEP) {
        assert_null(e->job);
        d->n_steps++;
        d->n_generated += (uint64_t)e->n_generated;
        return;
    }
    told *t = e->job->user;
    assert_int_equal(t->n_done, 0);
    switch (e->kind) {
    case QW_RUN_TOKEN: on_token(t, e); break;
    case QW_RUN_PROMPT_LOGPROBS:
        assert_int_equal(e->position, t->last_position + 1);
        t->last_position = e->position;
        assert_true(e->n_logprobs >= 1);
        break;
    case QW_RUN_DONE:
        t->n_done++;
        d->n_done++;
        qw_sampling_params_release(&t->job.params);
        // What the owner may do: the memory is its own again.
        memset(&t->job, 0x5A, offsetof(qw_job, status));
        t->job.next = t->job.next_cancel = (qw_job *)(uintptr_t)0x5A5A5A5A5A5A5A5A;
        break;
    case QW_RUN_STEP:
    case QW_RUN_CHILD:
    case QW_RUN_LISTED: break;
    }
}

static void open_with(desk *d, qw_engine_options *o)
{
    qw_error err;
    *d = (desk){0};
    sem_init(&d->notified, 0, 0);
    o->model_dir = MODEL;
    o->max_model_len = 512;
    o->cpu_threads = 1;
    assert_ok(qw_engine_open(&d->engine, o, &err));
    assert_ok(qw_runner_new(&d->runner, d->engine, notify, d, &err));
}

static void open_desk(desk *d, bool is_async)
{
    qw_engine_options o = qw_engine_options_default();
    o.async_scheduling = is_async;
    o.max_num_batched_tokens = 64;
    o.max_num_seqs = 4;
    open_with(d, &o);
}

static void close_desk(desk *d)
{
    qw_engine_stats s;
    qw_runner_free(d->runner);
    qw_engine_get_stats(d->engine, &s);
    assert_int_equal(s.n_blocks_used, 0);
    assert_int_equal(s.n_running + s.n_waiting, 0);
    qw_engine_close(d->engine);
    sem_destroy(&d->notified);
}

static void prepare(told *t, int32_t n_prompt, int32_t family, int64_t max_tokens, int64_t n)
{
    *t = (told){.withdraw_child = -1, .n_children = (int32_t)n};
    for (int32_t i = 0; i < n_prompt && i < MAX_PROMPT; i++)
        t->prompt[i] = (family * 577 + i * 31 + i * i * 7) % 300;
    t->job.user = t;
    t->job.prompt = t->prompt;
    t->job.n_prompt = (size_t)n_prompt;
    qw_sampling_params_init(&t->job.params);
    t->job.params.temperature = n > 1 ? 1.0 : 0.0;
    t->job.params.has_seed = true;
    t->job.params.seed = family;
    t->job.params.max_tokens = max_tokens;
    t->job.params.ignore_eos = true;
    t->job.params.n = n;
}

// Until so many jobs are back.
static void drain_until(desk *d, int32_t n_done)
{
    while (d->n_done < n_done) {
        while (sem_wait(&d->notified) != 0) continue;
        (void)qw_runner_drain(d->runner, on_event, d);
    }
    assert_int_equal(d->n_done, n_done);
}

// Tokens, logprobs of tokens and of the prompt, two children: all there, then one end.
static void test_plain(void **state)
{
    desk d;
    static told a, b;
    open_desk(&d, *state != NULL);
    prepare(&a, 40, 1, 20, 1);
    a.job.params.logprobs = 3;
    a.n_logprobs = 4;
    a.job.params.prompt_logprobs = 1;
    a.job.wants_prompt_logprobs = true;
    prepare(&b, 100, 2, 15, 3);
    qw_runner_submit(d.runner, &a.job);
    qw_runner_submit(d.runner, &b.job);
    drain_until(&d, 2);
    assert_int_equal(a.n_ids[0], 20);
    assert_int_equal(a.n_ends[0], 1);
    assert_int_equal(a.last_position, 39);
    assert_int_equal(a.job.status, QW_OK);
    assert_int_equal(a.job.facts.n_generated, 20);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(b.n_ids[i], 15);
        assert_int_equal(b.n_ends[i], 1);
    }
    assert_int_equal(d.n_generated, 20 + 45);
    assert_true(d.n_steps >= 20);
    assert_int_equal(qw_runner_n_jobs(d.runner), 0);
    assert_int_equal(qw_runner_stalled_ns(d.runner), 0);
    close_desk(&d);
}

// A prompt that does not fit, one that is empty, ids that do not exist: only the end comes.
static void test_refused(void **state)
{
    desk d;
    static told t[4];
    open_desk(&d, *state != NULL);
    static int32_t too_long[2000];
    prepare(&t[0], 10, 1, 5, 1);
    t[0].job.prompt = too_long;
    t[0].job.n_prompt = 2000;
    prepare(&t[1], 0, 1, 5, 1);
    prepare(&t[2], 10, 1, 5, 1);
    t[2].prompt[3] = 1 << 30;
    prepare(&t[3], 10, 1, 5, 1);
    for (int i = 0; i < 4; i++) {
        qw_runner_submit(d.runner, &t[i].job);
        if (i == 1) qw_runner_cancel(&t[i].job);
    }
    drain_until(&d, 4);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(t[i].n_tokens, 0);
        assert_int_equal(t[i].job.status, QW_ERR_USAGE);
        assert_true(strlen(t[i].job.error.text) > 0);
    }
    assert_int_equal(t[3].job.status, QW_OK);
    assert_int_equal(t[3].n_tokens, 5);
    close_desk(&d);
}

// At once, from the reader at every token up to the last, and by several threads.
static void test_cancel(void **state)
{
    desk d;
    static told t[12];
    open_desk(&d, *state != NULL);
    for (int i = 0; i < 12; i++) {
        prepare(&t[i], i % 3 == 0 ? 300 : 20, i, 10, i % 4 == 1 ? 2 : 1);
        // At the last token the job is over before its reader cancels it.
        t[i].cancel_at = i < 2 ? 0 : i - 1;
        qw_runner_submit(d.runner, &t[i].job);
        if (i < 2) qw_runner_cancel(&t[i].job);
        if (i < 2) qw_runner_cancel(&t[i].job);
    }
    drain_until(&d, 12);
    for (int i = 0; i < 12; i++) assert_int_equal(t[i].n_done, 1);
    // The jobs' memory is not the runner's any more: it must go on without looking at it.
    static told after;
    prepare(&after, 20, 50, 5, 1);
    qw_runner_submit(d.runner, &after.job);
    drain_until(&d, 13);
    assert_int_equal(after.n_tokens, 5);
    close_desk(&d);
}

// The reader cancels at the very last token: the job is over, and nothing may remember it.
static void test_cancel_at_the_end(void **state)
{
    desk d;
    static told t;
    open_desk(&d, *state != NULL);
    for (int i = 0; i < 20; i++) {
        prepare(&t, 20, i, 4, 1);
        t.cancel_at = 4;
        qw_runner_submit(d.runner, &t.job);
        drain_until(&d, i + 1);
        assert_int_equal(t.n_tokens, 4);
    }
    close_desk(&d);
}

// Asked at any time, also with nothing to do, the list comes, and what it says can be.
static void test_list(void **state)
{
    enum { N = 6 };
    desk d;
    told t[N];
    open_desk(&d, *state != NULL);
    qw_runner_list(d.runner);
    while (d.n_listed < 1) {
        while (sem_wait(&d.notified) != 0) continue;
        (void)qw_runner_drain(d.runner, on_event, &d);
    }
    assert_int_equal(d.max_running + d.max_waiting, 0);
    // A reader that sleeps too long sees nothing of a round: then another one.
    for (int32_t round = 0; round < 100 && (d.max_running < 2 || d.max_waiting < 1); round++) {
        int32_t end = d.n_done + N;
        for (int32_t i = 0; i < N; i++) {
            prepare(&t[i], 40, i, 60, i == 0 ? 2 : 1);
            qw_runner_submit(d.runner, &t[i].job);
        }
        while (d.n_done < end) {
            qw_runner_list(d.runner);
            while (sem_wait(&d.notified) != 0) continue;
            (void)qw_runner_drain(d.runner, on_event, &d);
        }
    }
    assert_true(d.max_running >= 2 && d.max_running <= 4);
    assert_true(d.max_waiting >= 1);
    assert_true(d.max_blocks >= 3); // 40 tokens
    close_desk(&d);
}

static void test_withdraw_child(void **state)
{
    enum { LONG = 400 }; // a reader that sleeps is back before the end
    desk d;
    static told t, alone;
    open_desk(&d, *state != NULL);
    prepare(&alone, 50, 7, LONG, 3);
    qw_runner_submit(d.runner, &alone.job);
    drain_until(&d, 1);
    prepare(&t, 50, 7, LONG, 3);
    t.withdraw_child = 1;
    qw_runner_submit(d.runner, &t.job);
    drain_until(&d, 2);
    assert_true(t.n_ids[1] >= 2 && t.n_ids[1] < LONG);
    assert_int_equal(t.n_ids[0], LONG);
    assert_int_equal(t.n_ids[2], LONG);
    assert_memory_equal(t.ids[0], alone.ids[0], LONG * sizeof(int32_t));
    assert_memory_equal(t.ids[2], alone.ids[2], LONG * sizeof(int32_t));
    close_desk(&d);
}

// Many jobs from several threads, cancelled by others, read by one that takes its time.
typedef struct crowd {
    desk *d;
    told *t;
    int32_t first, n;
} crowd;

static void *submit_crowd(void *ctx)
{
    crowd *c = ctx;
    for (int32_t i = c->first; i < c->first + c->n; i++) {
        told *t = &c->t[i];
        prepare(t, 5 + i * 37 % 80, i % 6, 3 + i % 20, i % 5 == 0 ? 2 : 1);
        if (i % 3 == 0) t->cancel_at = 1 + i % 7;
        if (i % 4 == 0) t->withdraw_child = 0;
        qw_runner_submit(c->d->runner, &t->job);
        if (i % 11 == 0) qw_runner_reset_prefix_cache(c->d->runner);
        qw_engine_stats s;
        qw_runner_stats(c->d->runner, &s);
        assert_true(s.n_blocks_used <= s.n_blocks);
    }
    return NULL;
}

static void test_crowd(void **state)
{
    enum { N = 60, N_THREADS = 3 };
    desk d;
    open_desk(&d, *state != NULL);
    told *t = qw_mem_calloc(N, sizeof *t);
    assert_non_null(t);
    crowd c[N_THREADS];
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        c[i] = (crowd){&d, t, i * N / N_THREADS, N / N_THREADS};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_crowd, &c[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    // The reader slept through all of that; the engine may have run far ahead of it.
    drain_until(&d, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(t[i].n_done, 1);
        assert_int_equal(t[i].job.status, QW_OK);
        if (t[i].cancel_at == 0 && t[i].withdraw_child < 0)
            assert_int_equal(t[i].n_ids[0], 3 + i % 20);
    }
    qw_mem_free(t);
    close_desk(&d);
}

// A reader that does not come at all until the engine has nothing left to do: one notification,
// and everything is there.
static void test_slow_reader(void **state)
{
    desk d;
    static told a, b;
    open_desk(&d, *state != NULL);
    prepare(&a, 20, 1, 100, 1);
    prepare(&b, 20, 2, 100, 1);
    qw_runner_submit(d.runner, &a.job);
    qw_runner_submit(d.runner, &b.job);
    qw_engine_stats s;
    do qw_runner_stats(d.runner, &s);
    while (s.n_generated_tokens < 200 || s.n_running > 0);
    int n_notified = 0;
    assert_int_equal(sem_getvalue(&d.notified, &n_notified), 0);
    assert_int_equal(n_notified, 1);
    drain_until(&d, 2);
    assert_int_equal(a.n_tokens + b.n_tokens, 200);
    close_desk(&d);
}

// One allocation in `period` fails: jobs fail or not, each ends once, nothing stays behind.
static void test_failing_memory(void **state)
{
    static const uint64_t periods[] = {2, 5, 20, 100};
    desk d;
    static told t[8];
    open_desk(&d, *state != NULL);
    size_t live = qw_mem_live();
    int32_t n_done = 0, n_failed = 0, n_good = 0;
    for (size_t p = 0; p < QW_ARRAY_LEN(periods); p++) {
        for (int round = 0; round < 6; round++) {
            for (int i = 0; i < 8; i++) {
                prepare(&t[i], 10 + 20 * i, round * 8 + i, 12, i % 3 == 2 ? 3 : 1);
                t[i].job.params.logprobs = i % 2 ? 5 : QW_LOGPROBS_OFF;
                t[i].n_logprobs = i % 2 ? 6 : 0;
            }
            qw_mem_fail_often(periods[p]);
            for (int i = 0; i < 8; i++) qw_runner_submit(d.runner, &t[i].job);
            drain_until(&d, n_done += 8);
            qw_mem_fail_often(0);
            for (int i = 0; i < 8; i++) {
                if (t[i].job.status == QW_OK) {
                    assert_int_equal(t[i].n_tokens, (i % 3 == 2 ? 3 : 1) * 12);
                    n_good++;
                } else {
                    assert_int_equal(t[i].job.status, QW_ERR_NO_MEMORY);
                    n_failed++;
                }
            }
        }
    }
    print_message("%d jobs answered, %d failed\n", n_good, n_failed);
    assert_true(n_failed > 0 && n_good > 0);
    static told after;
    prepare(&after, 20, 3, 5, 1);
    qw_runner_submit(d.runner, &after.job);
    drain_until(&d, n_done + 1);
    assert_int_equal(after.n_tokens, 5);
    // What grew in the queues may stay; what belonged to jobs may not.
    assert_true(qw_mem_live() <= live + 16);
    close_desk(&d);
}

// Each of the first allocations of a start fails in turn.
static void test_failing_start(void **state)
{
    desk d;
    qw_error err;
    open_desk(&d, *state != NULL);
    size_t live = qw_mem_live();
    qw_mem_fail_at(1);
    qw_runner *r = NULL;
    assert_int_equal(qw_runner_new(&r, d.engine, notify, &d, &err), QW_ERR_NO_MEMORY);
    qw_mem_fail_at(0);
    assert_null(r);
    assert_int_equal(qw_mem_live(), live);
    close_desk(&d);
}

#define SYNC_AND_ASYNC(test)                                                                       \
    {#test ", sync", test, NULL, NULL, NULL},                                                      \
    {                                                                                              \
#test ", async", test, NULL, NULL, (void *)1                                               \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        SYNC_AND_ASYNC(test_plain),          SYNC_AND_ASYNC(test_refused),
        SYNC_AND_ASYNC(test_cancel),         SYNC_AND_ASYNC(test_cancel_at_the_end),
        SYNC_AND_ASYNC(test_withdraw_child), SYNC_AND_ASYNC(test_crowd),
        SYNC_AND_ASYNC(test_slow_reader),    SYNC_AND_ASYNC(test_failing_memory),
        SYNC_AND_ASYNC(test_failing_start),  SYNC_AND_ASYNC(test_list),
    };
    size_t before = qw_mem_live();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed || qw_mem_live() != before;
}
