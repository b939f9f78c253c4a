#include "bench/machine.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cpus.h"
#include "engine/memory_plan.h"

// The start of a file of /proc or /sys, NUL-terminated: these are generated on read and tell no
// size. Empty when it cannot be read.
static void read_start(char *text, size_t size, const char *path)
{
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n;
        while (used + 1 < size && (n = read(fd, text + used, size - 1 - used)) > 0)
            used += (size_t)n;
        close(fd);
    }
    text[used] = '\0';
}

static void read_cpu_name(char *out, size_t size)
{
    char text[4096];
    read_start(text, sizeof text, "/proc/cpuinfo");
    snprintf(out, size, "unknown CPU");
    const char *line = strstr(text, "model name");
    const char *colon = line ? strchr(line, ':') : NULL;
    if (!colon) return;
    colon += strspn(colon, ": \t");
    size_t len = strcspn(colon, "\n");
    snprintf(out, size, "%.*s", len < size ? (int)len : (int)size - 1, colon);
}

// "32768K" of one cache of CPU 0, by level; instruction caches are skipped.
static void read_caches(qw_machine *m)
{
    for (int i = 0; i < 16; i++) {
        char path[96], type[32], level[32], size[32];
        const char *dir = "/sys/devices/system/cpu/cpu0/cache";
        snprintf(path, sizeof path, "%s/index%d/type", dir, i);
        read_start(type, sizeof type, path);
        if (type[0] == '\0') break;
        if (type[0] == 'I') continue;
        snprintf(path, sizeof path, "%s/index%d/level", dir, i);
        read_start(level, sizeof level, path);
        snprintf(path, sizeof path, "%s/index%d/size", dir, i);
        read_start(size, sizeof size, path);
        char *end;
        unsigned long long bytes = strtoull(size, &end, 10);
        if (*end == 'K') bytes <<= 10;
        if (*end == 'M') bytes <<= 20;
        if (level[0] >= '1' && level[0] <= '3') m->cache_size[level[0] - '0'] = (size_t)bytes;
        if (bytes > m->last_cache) m->last_cache = (size_t)bytes;
    }
}

void qw_machine_detect(qw_machine *out)
{
    qw_machine m = {.n_cores = 1, .memory = qw_memory_limit(), .ticks_per_s = sysconf(_SC_CLK_TCK)};
    if (m.ticks_per_s <= 0) m.ticks_per_s = 100;
    read_cpu_name(m.cpu, sizeof m.cpu);
    read_caches(&m);
    qw_cpus cpus;
    if (qw_cpus_detect(&cpus, NULL) == QW_OK) {
        m.n_cores = (int)cpus.n_cores;
        qw_cpus_release(&cpus);
    }
    *out = m;
}

int64_t qw_machine_parse_steal(const char *stat)
{
    if (strncmp(stat, "cpu ", 4) != 0) return 0;
    const char *p = stat + 4;
    long long value = 0;
    for (int field = 1; field <= 8; field++) {
        char *end;
        value = strtoll(p, &end, 10);
        if (end == p) return 0;
        p = end;
    }
    return value;
}

int64_t qw_machine_steal(void)
{
    char text[256];
    read_start(text, sizeof text, "/proc/stat");
    return qw_machine_parse_steal(text);
}
