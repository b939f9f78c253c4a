#include "bench/bench_start.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"

extern char **environ;

// Children

// Read fd to its end; the time of the first byte, 0 if there is none.
static int64_t drain(int fd)
{
    int64_t first_ns = 0;
    char bytes[4096];
    for (;;) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return first_ns;
        if (first_ns == 0) first_ns = qw_clock_ns();
    }
}

static int spawn_self(pid_t *pid, int stdout_fd, char *const *argv)
{
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error) return error;
    error = posix_spawn_file_actions_adddup2(&actions, stdout_fd, STDOUT_FILENO);
    if (!error) error = posix_spawn(pid, "/proc/self/exe", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

qw_status qw_child_run_self(qw_child_run *out, char *const *argv, qw_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return qw_fail(err, QW_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    pid_t pid;
    int64_t start_ns = qw_clock_ns();
    int error = spawn_self(&pid, ends[1], argv);
    close(ends[1]);
    if (error) {
        close(ends[0]);
        return qw_fail(err, QW_ERR_IO, "cannot start '%s %s': %s", argv[0], argv[1],
                       strerror(error));
    }
    int64_t first_ns = drain(ends[0]);
    close(ends[0]);
    int wait_status;
    struct rusage usage;
    while (wait4(pid, &wait_status, 0, &usage) < 0)
        if (errno != EINTR)
            return qw_fail(err, QW_ERR_IO, "cannot wait for '%s': %s", argv[0], strerror(errno));
    if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0)
        return qw_fail(err, QW_ERR_DEVICE, "'%s %s' failed with status %d", argv[0], argv[1],
                       WIFEXITED(wait_status) ? WEXITSTATUS(wait_status)
                                              : 128 + WTERMSIG(wait_status));
    if (first_ns == 0)
        return qw_fail(err, QW_ERR_DEVICE, "'%s %s' printed nothing", argv[0], argv[1]);
    *out = (qw_child_run){.first_output_s = (double)(first_ns - start_ns) * 1e-9,
                          .peak_rss = (size_t)usage.ru_maxrss << 10};
    return QW_OK;
}

// Answers in this process

typedef struct answer_clock {
    int64_t first_ns, last_ns;
    qw_error error; /* code QW_OK: none */
} answer_clock;

static bool on_token(void *ctx, const qw_token_event *event)
{
    answer_clock *c = ctx;
    if (event->error) c->error = *event->error;
    c->last_ns = qw_clock_ns();
    if (c->first_ns == 0) c->first_ns = c->last_ns;
    return false;
}

qw_status qw_answer_time_measure(qw_answer_time *out, qw_engine *e, const int32_t *prompt,
                                 size_t n_prompt, int32_t n_tokens, qw_error *err)
{
    qw_sampling_params params;
    qw_sampling_params_init(&params);
    params.temperature = 0;
    params.max_tokens = n_tokens;
    params.ignore_eos = true;
    answer_clock c = {0};
    const qw_request_sink sink = {.ctx = &c, .token = on_token};
    int64_t start_ns = qw_clock_ns();
    qw_status st = qw_engine_submit(e, prompt, n_prompt, &params, NULL, &sink, NULL, err);
    qw_sampling_params_release(&params);
    if (st != QW_OK) return st;
    while (qw_engine_step(e)) {
    }
    if (c.error.code != QW_OK) return qw_fail(err, c.error.code, "%s", c.error.text);
    *out = (qw_answer_time){.first_token_s = (double)(c.first_ns - start_ns) * 1e-9,
                            .decode_s = (double)(c.last_ns - c.first_ns) * 1e-9};
    return QW_OK;
}

void qw_bench_random_prompt(int32_t *ids, size_t n, int32_t n_ids, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(qw_rng_child_seed(seed, i) % (uint64_t)n_ids);
}
