#ifndef QW_BASE_CPUS_H
#define QW_BASE_CPUS_H

#include "base/status.h"

/** The CPUs that this process may compute on. */
typedef struct qw_cpus {
    int *ids;       /* [n] CPU numbers: one of each physical core first, then their siblings */
    size_t n;       /* usable CPUs, >= 1 */
    size_t n_cores; /* physical cores among them, >= 1 */
    double quota;   /* CPUs' worth of time that the control group allows; 0 = no limit */
} qw_cpus;

/**
 * Read the affinity mask, the core topology and the CPU quota (control groups v2 and v1). What
 * cannot be read counts as "no limit": only a lack of memory is an error. Release with
 * qw_cpus_release.
 */
QW_MUST_CHECK qw_status qw_cpus_detect(qw_cpus *out, qw_error *err);
void qw_cpus_release(qw_cpus *c);

/** Compute threads when the user names no number: one per physical core, within the quota. */
int qw_cpus_default_threads(const qw_cpus *c);

/**
 * Parts of qw_cpus_detect with the root of /sys and /proc as a parameter ("" for the real one), for
 * tests. Order `ids` [n] (ascending CPU numbers) as described above; `cores` [n] is scratch;
 * returns n_cores.
 */
size_t qw_cpus_sort_by_core(int *ids, int *cores, size_t n, const char *root);
/** The tightest quota of this process's control group and the groups around it; 0 = no limit. */
double qw_cpus_read_quota(const char *root);

#endif
