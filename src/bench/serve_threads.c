#include "bench/serve_threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"

double qw_thread_times_others(const qw_thread_times *t)
{
    return t->engine + t->io + t->workers;
}

qw_thread_times qw_thread_times_since(const qw_thread_times *before, const qw_thread_times *now)
{
    return (qw_thread_times){.forward = now->forward - before->forward,
                             .engine = now->engine - before->engine,
                             .io = now->io - before->io,
                             .workers = now->workers - before->workers};
}

// Where a thread's time is counted; NULL: nowhere.
static double *place(qw_thread_times *t, const char *name)
{
    const struct {
        const char *prefix;
        double *time;
    } places[] = {{"qw-forward", &t->forward},
                  {"qw-compute", &t->forward},
                  {"qw-engine", &t->engine},
                  {"qw-io", &t->io},
                  {"qw-worker", &t->workers}};
    for (size_t i = 0; i < QW_ARRAY_LEN(places); i++)
        if (strncmp(name, places[i].prefix, strlen(places[i].prefix)) == 0) return places[i].time;
    return NULL;
}

// False if the thread is gone.
static bool read_name(char *out, size_t size, const char *tid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    if (n < 0) return false;
    out[n] = '\0';
    return true;
}

// The CPU clock of any thread of this process, as pthread_getcpuclockid makes it, but from the id
// that /proc knows it by. Nanoseconds, where /proc's own figures are in ticks.
static clockid_t cpu_clock(int64_t tid)
{
    enum { PER_THREAD = 4, SCHEDULER = 2 };
    return (clockid_t)(~(unsigned)tid << 3 | PER_THREAD | SCHEDULER);
}

qw_status qw_thread_times_read(qw_thread_times *out, qw_error *err)
{
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks)
        return qw_fail(err, QW_ERR_IO, "cannot read '/proc/self/task': %s", strerror(errno));
    qw_thread_times t = {0};
    for (const struct dirent *e; (e = readdir(tasks)) != NULL;) {
        int64_t tid;
        char name[32];
        struct timespec used;
        if (!qw_str_to_i64(qw_str_of(e->d_name), &tid) || !read_name(name, sizeof name, e->d_name))
            continue;
        double *time = place(&t, name);
        if (time && clock_gettime(cpu_clock(tid), &used) == 0)
            *time += (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
    }
    closedir(tasks);
    *out = t;
    return QW_OK;
}
