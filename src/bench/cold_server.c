#include "bench/cold_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "bench/load_client.h"

extern char **environ;

const char *const qw_cold_phase_names[QW_COLD_N_PHASES] = {"options", "model", "listen", "ready",
                                                           "first_token"};

// What the server says at the end of each phase but the last.
static const char *const marks[] = {"Resolved model to ", "Loading weights took ",
                                    "Starting vLLM server on ", "Application startup complete."};

enum { N_MARKS = QW_ARRAY_LEN(marks), DEADLINE_S = 600 };

/** A server that starts. */
typedef struct cold_server {
    pid_t pid;
    int fd; /* its stderr */
    char line[2048];
    size_t n_line;
    size_t n_marks;               /* seen so far */
    int64_t mark_ns[N_MARKS + 1]; /* [0]: exec */
    char url[256];
} cold_server;

static qw_status spawn(cold_server *s, char *const *argv, qw_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return qw_fail(err, QW_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    posix_spawn_file_actions_t actions;
    s->mark_ns[0] = qw_clock_ns();
    int e = posix_spawn_file_actions_init(&actions);
    if (e == 0) {
        e = posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
        if (e == 0) e = posix_spawn(&s->pid, "/proc/self/exe", &actions, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    s->fd = ends[0];
    if (e == 0) return QW_OK;
    close(ends[0]);
    return qw_fail(err, QW_ERR_IO, "cannot start '%s %s': %s", argv[0], argv[1], strerror(e));
}

static void take_line(cold_server *s, int64_t now_ns)
{
    s->line[s->n_line] = '\0';
    const char *mark = s->n_marks < N_MARKS ? strstr(s->line, marks[s->n_marks]) : NULL;
    if (!mark) return;
    const char *behind = mark + strlen(marks[s->n_marks]);
    if (s->n_marks == QW_COLD_LISTEN) snprintf(s->url, sizeof s->url, "%s/v1/completions", behind);
    s->mark_ns[++s->n_marks] = now_ns;
}

// Lines up to the last mark. The last line stays in s->line when the server ends before it.
static qw_status wait_ready(cold_server *s, qw_error *err)
{
    char bytes[4096];
    while (s->n_marks < N_MARKS) {
        ssize_t n = read(s->fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return qw_fail(err, QW_ERR_DEVICE, "the server ended before it was ready: %.400s",
                           s->line);
        int64_t now_ns = qw_clock_ns();
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] == '\n') {
                take_line(s, now_ns);
                s->n_line = 0;
            } else if (s->n_line + 1 < sizeof s->line) {
                s->line[s->n_line++] = bytes[i];
            }
        }
    }
    return QW_OK;
}

static void on_done(void *ctx, size_t i)
{
    (void)i;
    *(bool *)ctx = true;
}

static qw_status ask(double *first_s, const cold_server *s, const char *body, qw_error *err)
{
    const qw_load_target target = {.url = s->url, .request_id_prefix = "cold-"};
    qw_load_client *client;
    qw_load_outcome outcome = {0};
    bool is_done = false;
    char *text = qw_mem_strdup(body);
    if (!text) return qw_fail_memory(err, strlen(body), "a request");
    qw_status st = qw_load_client_new(&client, &target, on_done, &is_done, err);
    if (st != QW_OK) {
        qw_mem_free(text);
        return st;
    }
    int64_t end_ns = qw_clock_ns() + (int64_t)DEADLINE_S * 1000000000;
    st = qw_load_client_start(client, 0, text, strlen(body), &outcome, err);
    while (st == QW_OK && !is_done && qw_clock_ns() < end_ns)
        st = qw_load_client_poll(client, end_ns, err);
    qw_load_client_free(client);
    if (st == QW_OK && !outcome.is_ok)
        st = qw_fail(err, QW_ERR_DEVICE, "the server did not answer: %s",
                     outcome.error ? outcome.error : "");
    *first_s = outcome.start_s + outcome.ttft_s;
    qw_load_outcome_release(&outcome);
    return st;
}

static qw_status stop(cold_server *s, qw_error *err)
{
    char bytes[4096];
    int status;
    kill(s->pid, SIGTERM);
    while (read(s->fd, bytes, sizeof bytes) > 0) continue; // a full pipe would hold it up
    close(s->fd);
    while (waitpid(s->pid, &status, 0) < 0)
        if (errno != EINTR) return qw_fail(err, QW_ERR_IO, "cannot wait for the server");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return QW_OK;
    return qw_fail(err, QW_ERR_DEVICE, "the server failed with status %d",
                   WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

qw_status qw_cold_start_run(qw_cold_start *out, char *const *argv, const char *body, qw_error *err)
{
    cold_server s = {0};
    qw_status st = spawn(&s, argv, err);
    if (st != QW_OK) return st;
    double first_s = 0;
    st = wait_ready(&s, err);
    if (st == QW_OK) st = ask(&first_s, &s, body, err);
    qw_error stop_error;
    qw_status stopped = stop(&s, &stop_error);
    if (st == QW_OK && stopped != QW_OK) st = qw_fail(err, stopped, "%s", stop_error.text);
    if (st != QW_OK) return st;
    qw_cold_start r = {.total_s = first_s - (double)s.mark_ns[0] * 1e-9};
    for (int i = 0; i < N_MARKS; i++)
        r.seconds[i] = (double)(s.mark_ns[i + 1] - s.mark_ns[i]) * 1e-9;
    r.seconds[QW_COLD_FIRST_TOKEN] = first_s - (double)s.mark_ns[N_MARKS] * 1e-9;
    *out = r;
    return QW_OK;
}
