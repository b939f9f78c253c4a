#include "bench/serve_client.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/serve_client_internal.h"

struct qw_serve_client {
    pid_t pid;
    int fd;
};

qw_status qw_serve_client_new(qw_serve_client **out, const char *const *prompts, size_t n_prompts,
                              qw_error *err)
{
    qw_serve_client *c = qw_mem_calloc(1, sizeof *c);
    if (!c) return qw_fail_memory(err, sizeof *c, "the load client");
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        qw_mem_free(c);
        return qw_fail(err, QW_ERR_IO, "cannot make a socket pair: %s", strerror(errno));
    }
    c->pid = fork();
    if (c->pid == 0) {
        close(ends[0]);
        qw_serve_client_main(ends[1], prompts, n_prompts);
        _exit(0);
    }
    int why = errno;
    close(ends[1]);
    c->fd = ends[0];
    if (c->pid < 0) {
        close(c->fd);
        qw_mem_free(c);
        return qw_fail(err, QW_ERR_IO, "cannot start the load client: %s", strerror(why));
    }
    *out = c;
    return QW_OK;
}

qw_status qw_serve_client_do(qw_serve_client *c, const qw_serve_order *order, qw_serve_answer *out,
                             qw_error *err)
{
    qw_serve_result r;
    ssize_t n = send(c->fd, order, sizeof *order, MSG_NOSIGNAL);
    while (n == sizeof *order) {
        ssize_t got = recv(c->fd, &r, sizeof r, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got != sizeof r) break;
        if (r.status != QW_OK) return qw_fail(err, r.status, "%s", r.text);
        *out = r.answer;
        return QW_OK;
    }
    return qw_fail(err, QW_ERR_DEVICE, "the load client ended");
}

void qw_serve_client_free(qw_serve_client *c)
{
    if (!c) return;
    close(c->fd); // the client reads the end of its orders
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) continue;
    qw_mem_free(c);
}
