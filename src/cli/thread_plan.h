#ifndef QW_CLI_THREAD_PLAN_H
#define QW_CLI_THREAD_PLAN_H

#include "base/status.h"

/** What a user and the machine say about compute threads. Texts may be NULL. */
typedef struct qw_thread_wish {
    int64_t cpu_threads;          /* --cpu-threads; 0: not given */
    const char *omp_threads_bind; /* VLLM_CPU_OMP_THREADS_BIND: "auto", "nobind", "0-31|32-63" */
    const char *omp_num_threads;  /* OMP_NUM_THREADS */
    const char *reserved_cpus;    /* VLLM_CPU_NUM_OF_RESERVED_CPU */
    bool has_ascend_variables;    /* any of ASCEND_*, HCCL_*, TASK_QUEUE_ENABLE ... is set */
    int default_threads;          /* qw_cpus_default_threads: affinity mask and quota */
} qw_thread_wish;

typedef struct qw_thread_plan {
    int64_t n_threads; /* at least 1 */
    const char *bind;  /* the CPUs to stay on: a part of omp_threads_bind, borrowed; NULL: all */
    size_t bind_len;
    bool omp_ignored; /* OMP_NUM_THREADS was not meant for us */
    char why[160];    /* "3 threads: OMP_NUM_THREADS" */
} qw_thread_plan;

/**
 * Decide (cli-and-bench.md 3): --cpu-threads, then the CPUs that VLLM_CPU_OMP_THREADS_BIND names,
 * then OMP_NUM_THREADS unless it is 1 beside an Ascend variable, then all usable cores less the
 * reserved ones. QW_ERR_USAGE: a variable that cannot be read, naming it.
 */
QW_MUST_CHECK qw_status qw_thread_plan_choose(qw_thread_plan *out, const qw_thread_wish *wish,
                                              qw_error *err);

/** Keep this process, and the threads it starts from now on, to the CPUs of a list ("0-3,8"). */
QW_MUST_CHECK qw_status qw_thread_plan_bind(const char *list, qw_error *err);

/** True if the environment holds a variable of the Ascend tools. */
bool qw_thread_plan_sees_ascend(void);

#endif
