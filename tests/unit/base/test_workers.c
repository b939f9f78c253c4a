#include "test_util.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/workers.h"

typedef struct counted {
    qw_task task; /* first */
    atomic_int *n;
    int order, *next_order;
    qw_workers *workers;
    struct counted *then; /* added by the task itself */
} counted;

static void count(qw_task *task)
{
    counted *c = (counted *)task;
    if (c->next_order) c->order = (*c->next_order)++;
    if (c->then) qw_workers_add(c->workers, &c->then->task);
    atomic_fetch_add(c->n, 1);
}

// All tasks run once, whoever runs them; also those still queued when the workers are freed.
static void test_all_run(void **state)
{
    (void)state;
    qw_error err;
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        enum { N = 1000 };
        static counted tasks[N];
        atomic_int n = 0;
        qw_workers *w;
        assert_ok(qw_workers_new(&w, n_threads, "test", &err));
        for (int i = 0; i < N; i++) {
            tasks[i] = (counted){.task.run = count, .n = &n};
            qw_workers_add(w, &tasks[i].task);
        }
        qw_workers_free(w);
        assert_int_equal(atomic_load(&n), N);
    }
}

// One thread runs them in order; a task may add another.
static void test_order(void **state)
{
    (void)state;
    qw_error err;
    enum { N = 100 };
    static counted tasks[N], last;
    atomic_int n = 0;
    int next = 0;
    qw_workers *w;
    assert_ok(qw_workers_new(&w, 1, "test", &err));
    last = (counted){.task.run = count, .n = &n, .next_order = &next};
    for (int i = 0; i < N; i++) {
        tasks[i] = (counted){.task.run = count, .n = &n, .next_order = &next, .workers = w};
        if (i == N - 1) tasks[i].then = &last;
        qw_workers_add(w, &tasks[i].task);
    }
    qw_workers_free(w);
    for (int i = 0; i < N; i++) assert_int_equal(tasks[i].order, i);
    assert_int_equal(last.order, N);
}

static void test_no_memory(void **state)
{
    (void)state;
    qw_error err;
    size_t live = qw_mem_live();
    qw_workers *w;
    qw_mem_fail_at(1);
    assert_fails(qw_workers_new(&w, 2, "test", &err), QW_ERR_NO_MEMORY, "worker threads");
    assert_int_equal(qw_mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_run),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
