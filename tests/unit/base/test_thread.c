#include "test_util.h"

#include "base/cpus.h"
#include "base/mem.h"
#include "base/thread.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static qw_error err;

static qw_thread_pool *new_pool(int n_threads)
{
    qw_thread_pool *pool = NULL;
    assert_ok(qw_thread_pool_new(&pool, n_threads, &err));
    return pool;
}

#define MAX_ITEMS 5000

typedef struct marks {
    size_t n_items, grain;
    int n_threads;
    unsigned char seen[MAX_ITEMS]; /* plain: two threads on one item would be a race under TSan */
    atomic_int n_bad;
} marks;

static void mark_range(void *ctx, size_t begin, size_t end, int i_thread)
{
    marks *m = ctx;
    bool is_whole = end - begin == m->grain || end == m->n_items;
    if (begin >= end || end > m->n_items || begin % m->grain != 0 || !is_whole || i_thread < 0 ||
        i_thread >= m->n_threads)
        atomic_fetch_add(&m->n_bad, 1);
    for (size_t i = begin; i < end; i++) m->seen[i]++;
}

static void check_for(qw_thread_pool *pool, size_t n_items, size_t grain)
{
    static marks m;
    m.n_items = n_items;
    m.grain = grain;
    m.n_threads = qw_thread_pool_size(pool);
    memset(m.seen, 0, sizeof m.seen);
    atomic_store(&m.n_bad, 0);
    qw_thread_pool_for(pool, n_items, grain, mark_range, &m);
    assert_int_equal(atomic_load(&m.n_bad), 0);
    for (size_t i = 0; i < MAX_ITEMS; i++)
        if (m.seen[i] != (i < n_items))
            fail_msg("item %zu of %zu, grain %zu, %d threads: done %d times", i, n_items, grain,
                     m.n_threads, m.seen[i]);
}

static void check_for_sizes(int n_threads)
{
    static const size_t sizes[] = {0, 1, 2, 3, 7, 8, 63, 64, 65, 1000, MAX_ITEMS};
    static const size_t grains[] = {1, 2, 3, 16, 64, 999, 100000};
    qw_thread_pool *pool = new_pool(n_threads);
    assert_int_equal(qw_thread_pool_size(pool), n_threads);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < QW_ARRAY_LEN(sizes); i++)
            for (size_t j = 0; j < QW_ARRAY_LEN(grains); j++) check_for(pool, sizes[i], grains[j]);
    qw_thread_pool_free(pool);
}

static void for_does_every_item_once(void **state)
{
    (void)state;
    for (int n_threads = 1; n_threads <= 7; n_threads++) check_for_sizes(n_threads);
}

static void for_does_every_item_once_shuffled(void **state)
{
    (void)state;
    setenv("QWENCH_TEST_SHUFFLE", "12345", 1);
    for (int n_threads = 1; n_threads <= 7; n_threads++) check_for_sizes(n_threads);
    unsetenv("QWENCH_TEST_SHUFFLE");
}

// Phases of all widths over one array: in each, item i must find what the phase before left there.
typedef struct relay {
    size_t n_items, grain;
    int want; /* value to find in every item, before adding 1 */
    int *values;
    atomic_int *n_bad;
} relay;

static void pass_on(void *ctx, size_t begin, size_t end, int i_thread)
{
    relay *r = ctx;
    (void)i_thread;
    for (size_t i = begin; i < end; i++) {
        // Reads what another thread wrote in the phase before: a race under TSan if not ordered.
        size_t other = r->n_items - 1 - i;
        if (r->values[i] != r->want || r->values[MAX_ITEMS + other] != r->want)
            atomic_fetch_add(r->n_bad, 1);
        r->values[i] = r->want + 1;
    }
}

// Copy the values to the half that the next phase compares with.
static void publish(void *ctx, size_t begin, size_t end, int i_thread)
{
    relay *r = ctx;
    (void)i_thread;
    for (size_t i = begin; i < end; i++) r->values[MAX_ITEMS + i] = r->values[i];
}

static void check_walk(qw_thread_pool *pool, size_t n_items, uint64_t seed)
{
    enum { N_PHASES = 60 };
    static const size_t grains[] = {1, 3, 64, 100000};
    static const size_t zero = 0;
    static int values[2 * MAX_ITEMS];
    memset(values, 0, sizeof values);
    atomic_int n_bad = 0;
    relay relays[N_PHASES];
    qw_thread_phase phases[N_PHASES];
    int n_passes = 0;
    for (size_t i = 0; i < N_PHASES; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        size_t grain = grains[seed >> 62];
        relays[i] = (relay){n_items, grain, n_passes, values, &n_bad};
        bool is_publish = i % 2 == 1, is_empty = !is_publish && seed >> 40 & 1;
        phases[i] = (qw_thread_phase){is_publish ? publish : pass_on, &relays[i],
                                      is_empty ? &zero : &relays[i].n_items, grain};
        if (!is_publish && !is_empty) n_passes++;
    }
    qw_thread_pool_walk(pool, phases, N_PHASES);
    assert_int_equal(atomic_load(&n_bad), 0);
    for (size_t i = 0; i < MAX_ITEMS; i++) assert_int_equal(values[i], i < n_items ? n_passes : 0);
}

static void check_walks(int n_threads)
{
    static const size_t sizes[] = {0, 1, 2, 5, 64, 200};
    qw_thread_pool *pool = new_pool(n_threads);
    for (uint64_t round = 0; round < 8; round++) {
        for (size_t i = 0; i < QW_ARRAY_LEN(sizes); i++) {
            check_walk(pool, sizes[i], round * 977 + i);
            check_for(pool, sizes[i], 3); // the two kinds of jobs share their counters
        }
        qw_thread_pool_set_spin(pool, round % 2 ? 0 : 50);
    }
    qw_thread_pool_walk(pool, NULL, 0);
    qw_thread_pool_free(pool);
}

static void walk_does_phases_in_order(void **state)
{
    (void)state;
    for (int n_threads = 1; n_threads <= 5; n_threads++) check_walks(n_threads);
    setenv("QWENCH_TEST_SHUFFLE", "99", 1);
    for (int n_threads = 1; n_threads <= 3; n_threads++) check_walks(n_threads);
    unsetenv("QWENCH_TEST_SHUFFLE");
}

typedef struct order_log {
    size_t begins[32];
    size_t n;
} order_log;

static void log_begin(void *ctx, size_t begin, size_t end, int i_thread)
{
    order_log *log = ctx;
    (void)end, (void)i_thread;
    log->begins[log->n++] = begin;
}

static void shuffle_changes_the_order(void **state)
{
    (void)state;
    order_log plain = {.n = 0}, first = {.n = 0}, second = {.n = 0};
    qw_thread_pool *pool = new_pool(1);
    qw_thread_pool_for(pool, 32, 1, log_begin, &plain);
    qw_thread_pool_free(pool);
    for (size_t i = 0; i < 32; i++) assert_int_equal(plain.begins[i], i);

    setenv("QWENCH_TEST_SHUFFLE", "7", 1);
    pool = new_pool(1);
    unsetenv("QWENCH_TEST_SHUFFLE");
    qw_thread_pool_for(pool, 32, 1, log_begin, &first);
    qw_thread_pool_for(pool, 32, 1, log_begin, &second);
    qw_thread_pool_free(pool);
    assert_memory_not_equal(first.begins, plain.begins, sizeof plain.begins);
    assert_memory_not_equal(first.begins, second.begins, sizeof plain.begins);
}

// Thread 0 owns the first half and stays in its first chunk until all others are done: the other
// threads have to take the rest of its part.
typedef struct hold {
    atomic_size_t n_done;
    size_t n_items;
} hold;

static void hold_first(void *ctx, size_t begin, size_t end, int i_thread)
{
    hold *h = ctx;
    (void)i_thread;
    while (begin == 0 && atomic_load(&h->n_done) < h->n_items - 1) sched_yield();
    atomic_fetch_add(&h->n_done, end - begin);
}

static void idle_threads_take_the_work_of_a_stuck_one(void **state)
{
    (void)state;
    qw_thread_pool *pool = new_pool(3);
    hold h = {.n_items = 100};
    qw_thread_pool_for(pool, h.n_items, 1, hold_first, &h);
    assert_int_equal(atomic_load(&h.n_done), h.n_items);
    qw_thread_pool_free(pool);
}

typedef struct visits {
    int n_threads;
    int seen[8];

} visits;

static void visit(void *ctx, int i_thread, int n_threads)
{
    visits *v = ctx;
    if (i_thread == 0) v->n_threads = n_threads;
    v->seen[i_thread]++;
}

static void run_visits_every_thread_once(void **state)
{
    (void)state;
    for (int n_threads = 1; n_threads <= 7; n_threads++) {
        qw_thread_pool *pool = new_pool(n_threads);
        visits v = {.n_threads = 0};
        for (int job = 1; job <= 200; job++) {
            // Let the workers fall asleep now and then: both ways of waiting are used.
            qw_thread_pool_set_spin(pool, job % 3 == 0 ? 0 : job % 3 == 1 ? 5 : 500);
            qw_thread_pool_run(pool, visit, &v);
            assert_int_equal(v.n_threads, n_threads);
            for (int i = 0; i < 8; i++) assert_int_equal(v.seen[i], i < n_threads ? job : 0);
        }
        qw_thread_pool_free(pool);
    }
}

static float times_tenth(float x)
{
    volatile float a = x, b = 0.1f;
    return a * b;
}

typedef struct denormals {
    float product[4], operand[4];
} denormals;

static void compute_denormals(void *ctx, int i_thread, int n_threads)
{
    denormals *d = ctx;
    (void)n_threads;
    volatile float denormal = 1e-40f, large = 0x1p100f;
    d->product[i_thread] = times_tenth(2e-38f);
    d->operand[i_thread] = denormal * large;
}

static void denormals_are_flushed_inside_only(void **state)
{
    (void)state;
    assert_false(qw_fp_mode_is_on());
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        qw_thread_pool *pool = new_pool(n_threads);
        denormals d;
        memset(&d, 0xFF, sizeof d);
        qw_thread_pool_run(pool, compute_denormals, &d);
        for (int i = 0; i < n_threads; i++) {
            assert_true(d.product[i] == 0.0f);
            assert_true(d.operand[i] == 0.0f);
        }
        assert_false(qw_fp_mode_is_on());
        assert_true(times_tenth(2e-38f) > 0.0f);
        qw_thread_pool_free(pool);
    }
    uint64_t outer = qw_fp_mode_enter(), inner = qw_fp_mode_enter();
    qw_fp_mode_leave(inner);
    assert_true(qw_fp_mode_is_on());
    qw_fp_mode_leave(outer);
    assert_false(qw_fp_mode_is_on());
}

static void do_nothing(void *ctx, int i_thread, int n_threads)
{
    (void)ctx, (void)i_thread, (void)n_threads;
}

static void run_again(void *ctx, int i_thread, int n_threads)
{
    (void)n_threads;
    if (i_thread == 0) qw_thread_pool_run(ctx, do_nothing, NULL);
}

static void run_again_in_range(void *ctx, size_t begin, size_t end, int i_thread)
{
    (void)begin, (void)end, (void)i_thread;
    qw_thread_pool_run(ctx, do_nothing, NULL);
}

// The exit of a child that starts a job inside a job, with its message kept off the test's output.
static int nested_use_status(int n_threads, bool in_range)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL); // cmocka and the sanitizers have their own handlers
        int null = open("/dev/null", O_WRONLY);
        if (null >= 0) dup2(null, STDERR_FILENO);
        qw_thread_pool *pool = NULL;
        if (qw_thread_pool_new(&pool, n_threads, NULL) != QW_OK) _exit(3);
        if (in_range)
            qw_thread_pool_for(pool, 1, 1, run_again_in_range, pool);
        else
            qw_thread_pool_run(pool, run_again, pool);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void nested_use_is_refused(void **state)
{
    (void)state;
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        int status = nested_use_status(n_threads, false);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
    int status = nested_use_status(1, true);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void bad_thread_numbers_are_errors(void **state)
{
    (void)state;
    qw_thread_pool *pool = NULL;
    assert_fails(qw_thread_pool_new(&pool, -1, &err), QW_ERR_USAGE, "-1 threads");
    assert_fails(qw_thread_pool_new(&pool, 1000000, &err), QW_ERR_USAGE, "1000000 threads");
    assert_null(pool);
    qw_thread_pool_free(NULL);
}

static void too_little_address_space_for_the_stacks_is_an_error(void **state)
{
    (void)state;
    if (QW_TEST_SANITIZED || QW_TEST_EMULATED) skip(); // their own memory does not fit the limit
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit space = {256 << 20, 256 << 20}; // room for about 30 stacks of 8 MiB
        if (setrlimit(RLIMIT_AS, &space) != 0) _exit(10);
        size_t live = qw_mem_live();
        qw_thread_pool *pool = NULL;
        if (qw_thread_pool_new(&pool, 300, &err) != QW_ERR_IO) _exit(11);
        if (!strstr(err.text, "of 300: ")) _exit(12);
        if (pool || qw_mem_live() != live) _exit(13);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void failed_allocations_leave_nothing(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    for (uint64_t n = 1;; n++) {
        qw_thread_pool *pool = NULL;
        qw_mem_fail_at(n);
        qw_status st = qw_thread_pool_new(&pool, 3, &err);
        qw_mem_fail_at(0);
        if (st == QW_OK) {
            assert_true(n > 1);
            qw_thread_pool_free(pool);
            assert_int_equal(qw_mem_live(), live);
            return;
        }
        assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_null(pool);
        assert_int_equal(qw_mem_live(), live);
    }
}

static void default_size_is_within_the_usable_cpus(void **state)
{
    (void)state;
    qw_cpus cpus;
    assert_ok(qw_cpus_detect(&cpus, &err));
    assert_true(cpus.n >= 1 && cpus.n_cores >= 1 && cpus.n_cores <= cpus.n);
    qw_thread_pool *pool = new_pool(0);
    assert_int_equal(qw_thread_pool_size(pool), qw_cpus_default_threads(&cpus));
    assert_true((size_t)qw_thread_pool_size(pool) <= cpus.n_cores);
    qw_thread_pool_free(pool);
    qw_cpus_release(&cpus);
}

static void default_threads_obey_the_quota(void **state)
{
    (void)state;
    int ids[8] = {0};
    qw_cpus c = {.ids = ids, .n = 8, .n_cores = 4};
    assert_int_equal(qw_cpus_default_threads(&c), 4);
    c.quota = 16;
    assert_int_equal(qw_cpus_default_threads(&c), 4);
    c.quota = 2.5;
    assert_int_equal(qw_cpus_default_threads(&c), 2);
    c.quota = 0.25;
    assert_int_equal(qw_cpus_default_threads(&c), 1);
}

static void write_file(const char *root, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(full, 0700);
        *p = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void topology_and_quota_are_read_from_the_system(void **state)
{
    (void)state;
    char root[] = QW_TEST_TMP "/cpus-XXXXXX";
    assert_non_null(mkdtemp(root));
    for (int cpu = 0; cpu < 8; cpu++) { // 4 cores, siblings 4 apart
        char path[128], text[32];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                 cpu);
        snprintf(text, sizeof text, "%d,%d\n", cpu % 4, cpu % 4 + 4);
        write_file(root, path, text);
    }
    int ids[] = {0, 1, 3, 4, 5, 6}, scratch[6]; // CPUs 2 and 7 are masked
    const int want[] = {0, 1, 3, 6, 4, 5};
    assert_int_equal(qw_cpus_sort_by_core(ids, scratch, 6, root), 4);
    assert_memory_equal(ids, want, sizeof want);
    int unknown[] = {8, 9};
    assert_int_equal(qw_cpus_sort_by_core(unknown, scratch, 2, root), 2);

    assert_true(qw_cpus_read_quota(root) == 0);
    write_file(root, "/proc/self/cgroup", "4:cpu,cpuacct:/a/b\n1:cpuset:/\n0::/u/v\n");
    assert_true(qw_cpus_read_quota(root) == 0);
    write_file(root, "/sys/fs/cgroup/u/v/cpu.max", "max 100000\n");
    assert_true(qw_cpus_read_quota(root) == 0);
    write_file(root, "/sys/fs/cgroup/u/cpu.max", "350000 100000\n"); // the group around it
    assert_true(qw_cpus_read_quota(root) == 3.5);
    write_file(root, "/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
    write_file(root, "/sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
    assert_true(qw_cpus_read_quota(root) == 3.5);
    write_file(root, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "75000\n");
    write_file(root, "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
    assert_true(qw_cpus_read_quota(root) == 1.5);
    write_file(root, "/proc/self/cgroup", "4:cpuset:/a/b\n");
    assert_true(qw_cpus_read_quota(root) == 0);
    write_file(root, "/proc/self/cgroup", "nonsense\n::\n0:\n");
    assert_true(qw_cpus_read_quota(root) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nested_use_is_refused), // first: it forks, and no thread has run yet
        cmocka_unit_test(too_little_address_space_for_the_stacks_is_an_error),
        cmocka_unit_test(for_does_every_item_once),
        cmocka_unit_test(for_does_every_item_once_shuffled),
        cmocka_unit_test(walk_does_phases_in_order),
        cmocka_unit_test(shuffle_changes_the_order),
        cmocka_unit_test(idle_threads_take_the_work_of_a_stuck_one),
        cmocka_unit_test(run_visits_every_thread_once),
        cmocka_unit_test(denormals_are_flushed_inside_only),
        cmocka_unit_test(bad_thread_numbers_are_errors),
        cmocka_unit_test(failed_allocations_leave_nothing),
        cmocka_unit_test(default_size_is_within_the_usable_cpus),
        cmocka_unit_test(default_threads_obey_the_quota),
        cmocka_unit_test(topology_and_quota_are_read_from_the_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
