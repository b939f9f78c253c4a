#include "base/cpus.h"

#include "base/mem.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#define PATH_SIZE 4096

// The start of a small text file of /sys or /proc, NUL-terminated; false when it cannot be read.
// These files are generated on read and tell no size, so the helpers of base/file.h do not fit.
static bool read_text(char *text, size_t size, const char *root, const char *path)
{
    char full[PATH_SIZE];
    int len = snprintf(full, sizeof full, "%s%s", root, path);
    if (len < 0 || (size_t)len >= sizeof full) return false;
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t used = 0;
    ssize_t n;
    while (used + 1 < size && (n = read(fd, text + used, size - 1 - used)) > 0) used += (size_t)n;
    close(fd);
    text[used] = '\0';
    return true;
}

// The lowest CPU number of the physical core that `cpu` belongs to: the core's name.
static int core_of(int cpu, const char *root)
{
    char path[128], text[64];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    if (!read_text(text, sizeof text, root, path) || text[0] < '0' || text[0] > '9') return cpu;
    return (int)strtol(text, NULL, 10); // the list is ascending: "0,64", "4-5"
}

size_t qw_cpus_sort_by_core(int *ids, int *cores, size_t n, const char *root)
{
    // Stable partition in place: a CPU whose core is new moves up behind the cores found so far.
    size_t n_cores = 0;
    for (size_t i = 0; i < n; i++) {
        int cpu = ids[i], core = core_of(cpu, root);
        bool is_new = true;
        for (size_t j = 0; j < n_cores && is_new; j++) is_new = cores[j] != core;
        if (!is_new) continue;
        memmove(ids + n_cores + 1, ids + n_cores, (i - n_cores) * sizeof *ids);
        ids[n_cores] = cpu;
        cores[n_cores++] = core;
    }
    return n_cores;
}

// "max 100000" or "150000 100000" (microseconds of CPU time per period); 0 = no limit.
static double parse_cpu_max(const char *text)
{
    char *end;
    double quota = strtod(text, &end);
    if (end == text || quota <= 0) return 0;
    double period = strtod(end, NULL);
    return period > 0 ? quota / period : 0;
}

// The limit of one control group; `dir` is its folder below `root`.
static double group_quota(const char *root, const char *dir, bool is_v2)
{
    char path[PATH_SIZE], text[128];
    if (is_v2) {
        snprintf(path, sizeof path, "%.3900s/cpu.max", dir);
        return read_text(text, sizeof text, root, path) ? parse_cpu_max(text) : 0;
    }
    snprintf(path, sizeof path, "%.3900s/cpu.cfs_quota_us", dir);
    if (!read_text(text, sizeof text, root, path)) return 0;
    double quota = strtod(text, NULL); // -1: no limit
    snprintf(path, sizeof path, "%.3900s/cpu.cfs_period_us", dir);
    if (quota <= 0 || !read_text(text, sizeof text, root, path)) return 0;
    double period = strtod(text, NULL);
    return period > 0 ? quota / period : 0;
}

static double tighter(double a, double b)
{
    if (a == 0 || b == 0) return a + b;
    return a < b ? a : b;
}

// The tightest limit from `group` (as /proc/self/cgroup spells it) up to the mount's root. Groups
// that this mount namespace does not show are skipped.
static double quota_upwards(const char *root, const char *mount, const char *group, bool is_v2)
{
    char dir[PATH_SIZE];
    int len = snprintf(dir, sizeof dir, "%s%s", mount, group);
    if (len < 0 || (size_t)len >= sizeof dir) return 0;
    double quota = 0;
    size_t mount_len = strlen(mount), end = (size_t)len;
    while (end > mount_len) {
        dir[end] = '\0';
        quota = tighter(quota, group_quota(root, dir, is_v2));
        while (end > mount_len && dir[--end] != '/') {
        }
    }
    return tighter(quota, group_quota(root, mount, is_v2));
}

// True if `list` ("cpu,cpuacct") has the entry "cpu".
static bool has_cpu_controller(const char *list)
{
    while (*list) {
        size_t len = strcspn(list, ",");
        if (len == 3 && memcmp(list, "cpu", 3) == 0) return true;
        list += len + (list[len] == ',');
    }
    return false;
}

double qw_cpus_read_quota(const char *root)
{
    char text[8192];
    if (!read_text(text, sizeof text, root, "/proc/self/cgroup")) return 0;
    double quota = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        // "0::/group" is version 2, "4:cpu,cpuacct:/group" version 1.
        char *controllers = strchr(line, ':');
        if (!controllers) continue;
        char *group = strchr(++controllers, ':');
        if (!group) continue;
        *group++ = '\0';
        if (*controllers == '\0')
            quota = tighter(quota, quota_upwards(root, "/sys/fs/cgroup", group, true));
        else if (has_cpu_controller(controllers))
            quota = tighter(quota, quota_upwards(root, "/sys/fs/cgroup/cpu", group, false));
    }
    return quota;
}

qw_status qw_cpus_detect(qw_cpus *out, qw_error *err)
{
    cpu_set_t mask;
    CPU_ZERO(&mask);
    // More than 1024 CPUs do not fit the mask: the call fails, and all that are online count.
    bool has_mask = sched_getaffinity(0, sizeof mask, &mask) == 0 && CPU_COUNT(&mask) > 0;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    size_t n = has_mask ? (size_t)CPU_COUNT(&mask) : online > 0 ? (size_t)online : 1;
    int *ids = qw_mem_array(n, 2 * sizeof *ids); // the second half is scratch for sorting
    if (!ids) return qw_fail_memory(err, n * 2 * sizeof *ids, "the list of CPUs");
    size_t used = 0;
    for (int cpu = 0; used < n; cpu++)
        if (!has_mask || CPU_ISSET(cpu, &mask)) ids[used++] = cpu;
    size_t n_cores = qw_cpus_sort_by_core(ids, ids + n, n, "");
    *out = (qw_cpus){.ids = ids, .n = n, .n_cores = n_cores, .quota = qw_cpus_read_quota("")};
    return QW_OK;
}

void qw_cpus_release(qw_cpus *c)
{
    qw_mem_free(c->ids);
    *c = (qw_cpus){0};
}

int qw_cpus_default_threads(const qw_cpus *c)
{
    // A quota is rounded down: a thread that spins while its group is throttled stops the others.
    size_t n = c->n_cores;
    if (c->quota > 0 && c->quota < (double)n) n = c->quota < 1 ? 1 : (size_t)c->quota;
    return (int)n;
}
