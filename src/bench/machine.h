#ifndef QW_BENCH_MACHINE_H
#define QW_BENCH_MACHINE_H

#include "base/compiler.h"

/** What a benchmark's reader must know of the machine it ran on. */
typedef struct qw_machine {
    char cpu[96];         /* the processor's name, or "unknown CPU" */
    int n_cores;          /* physical cores that this process may use */
    size_t cache_size[4]; /* bytes of a level-1 data, 2, 3 cache at [1] to [3]; 0: none */
    size_t last_cache;    /* bytes of the largest of them */
    size_t memory;        /* bytes this process may use */
    int64_t ticks_per_s;  /* of qw_machine_steal */
} qw_machine;

/** What cannot be read is left empty; nothing fails. */
void qw_machine_detect(qw_machine *out);

/**
 * Time that a hypervisor gave to others while this machine wanted to run: field 8 of the `cpu` line
 * of /proc/stat, in ticks, all CPUs together. 0 where the system does not tell.
 */
int64_t qw_machine_steal(void);

/** The same from the text of /proc/stat. */
int64_t qw_machine_parse_steal(const char *stat);

#endif
