#include "bench/load_outcome.h"

#include "base/mem.h"

void qw_load_outcome_release(qw_load_outcome *o)
{
    qw_mem_free(o->itls);
    qw_mem_free(o->text);
    qw_mem_free(o->error);
    *o = (qw_load_outcome){0};
}

qw_status qw_load_outcome_add_gap(qw_load_outcome *o, double seconds, qw_error *err)
{
    if (o->n_itls == o->itls_cap) {
        size_t cap = o->itls_cap ? 2 * o->itls_cap : 128, size;
        double *itls = qw_mul_size(&size, cap, sizeof *itls) ? qw_mem_realloc(o->itls, size) : NULL;
        if (!itls) return qw_fail_memory(err, cap * sizeof *itls, "the times of a request");
        o->itls = itls;
        o->itls_cap = cap;
    }
    o->itls[o->n_itls++] = seconds;
    return QW_OK;
}

void qw_load_outcome_fail(qw_load_outcome *o, const char *text)
{
    o->is_ok = false;
    if (!o->error) o->error = qw_mem_strdup(text);
}
