#include "cli/thread_plan.h"

#include <errno.h>
#include <sched.h>

#include "base/str.h"

extern char **environ;

static const char bind_name[] = "VLLM_CPU_OMP_THREADS_BIND";

// A whole number at *p, which moves behind it.
static bool read_cpu(const char **p, const char *end, int *out)
{
    int value = 0;
    const char *start = *p;
    while (*p < end && **p >= '0' && **p <= '9' && value < CPU_SETSIZE)
        value = 10 * value + (*(*p)++ - '0');
    *out = value;
    return *p > start && value < CPU_SETSIZE;
}

// "0-3,8": ranges of CPU numbers.
static bool parse_list(cpu_set_t *out, const char *list, size_t len)
{
    CPU_ZERO(out);
    const char *p = list, *end = list + len;
    while (p < end) {
        int first, last;
        if (!read_cpu(&p, end, &first)) return false;
        last = first;
        if (p < end && *p == '-') {
            p++;
            if (!read_cpu(&p, end, &last) || last < first) return false;
        }
        for (int i = first; i <= last; i++) CPU_SET(i, out);
        if (p == end) break;
        if (*p++ != ',' || p == end) return false;
    }
    return CPU_COUNT(out) > 0;
}

static bool is_given(const char *text)
{
    return text && *text;
}

static qw_status read_count(int64_t *out, const char *name, const char *text, int64_t min,
                            qw_error *err)
{
    int64_t n;
    if (!qw_str_to_i64(qw_str_of(text), &n) || n < min || n > 4096)
        return qw_fail(err, QW_ERR_USAGE,
                       "environment variable %s: invalid value '%.40s': expected a number from "
                       "%" PRId64 " to 4096",
                       name, text, min);
    *out = n;
    return QW_OK;
}

static qw_status choose_bound(qw_thread_plan *p, const char *text, qw_error *err)
{
    size_t len = strcspn(text, "|"); // the first rank's part
    cpu_set_t set;
    if (!parse_list(&set, text, len))
        return qw_fail(err, QW_ERR_USAGE,
                       "environment variable %s: invalid value '%.60s': expected auto, nobind or "
                       "CPU numbers such as 0-3,8",
                       bind_name, text);
    p->bind = text;
    p->bind_len = len;
    if (p->n_threads > 0) return QW_OK;
    p->n_threads = CPU_COUNT(&set);
    snprintf(p->why, sizeof p->why, "one for each CPU of %s", bind_name);
    return QW_OK;
}

qw_status qw_thread_plan_choose(qw_thread_plan *out, const qw_thread_wish *wish, qw_error *err)
{
    qw_thread_plan p = {0};
    qw_status st = QW_OK;
    if (wish->cpu_threads > 0) {
        p.n_threads = wish->cpu_threads;
        snprintf(p.why, sizeof p.why, "--cpu-threads");
    }
    const char *bind = wish->omp_threads_bind;
    bool binds = is_given(bind) && strcmp(bind, "auto") != 0 && strcmp(bind, "nobind") != 0;
    if (binds) st = choose_bound(&p, bind, err);
    if (st == QW_OK && is_given(wish->omp_num_threads) && p.n_threads == 0) {
        int64_t n;
        st = read_count(&n, "OMP_NUM_THREADS", wish->omp_num_threads, 1, err);
        if (st == QW_OK && n == 1 && wish->has_ascend_variables) {
            p.omp_ignored = true;
        } else if (st == QW_OK) {
            p.n_threads = n;
            snprintf(p.why, sizeof p.why, "OMP_NUM_THREADS");
        }
    }
    if (st == QW_OK && p.n_threads == 0) {
        int64_t reserved = 0;
        if (is_given(wish->reserved_cpus))
            st = read_count(&reserved, "VLLM_CPU_NUM_OF_RESERVED_CPU", wish->reserved_cpus, 0, err);
        p.n_threads = wish->default_threads - reserved;
        if (p.n_threads < 1) p.n_threads = 1;
        snprintf(p.why, sizeof p.why, "one for each usable core%s",
                 reserved > 0 ? ", less the reserved" : "");
    }
    if (st == QW_OK) *out = p;
    return st;
}

qw_status qw_thread_plan_bind(const char *list, qw_error *err)
{
    cpu_set_t set;
    if (!parse_list(&set, list, strlen(list)))
        return qw_fail(err, QW_ERR_USAGE, "'%.60s' is no list of CPUs", list);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        return qw_fail(err, QW_ERR_IO, "cannot stay on the CPUs '%.60s' of %s: %s", list, bind_name,
                       strerror(errno));
    return QW_OK;
}

bool qw_thread_plan_sees_ascend(void)
{
    static const char *const prefixes[] = {"ASCEND_", "HCCL_", "VLLM_ASCEND_", "TASK_QUEUE_ENABLE",
                                           "PYTORCH_NPU_"};
    for (char **e = environ; *e; e++)
        for (size_t i = 0; i < QW_ARRAY_LEN(prefixes); i++)
            if (strncmp(*e, prefixes[i], strlen(prefixes[i])) == 0) return true;
    return false;
}
