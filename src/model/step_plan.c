#include "model/step_plan.h"

#include "base/clock.h"
#include "base/mem.h"

typedef struct sized_calls {
    qw_step_calls *calls;
    void *ctx;
    int n_rows;
} sized_calls;

static void call_sized(void *ctx, qw_backend *recorder)
{
    const sized_calls *c = ctx;
    c->calls(c->ctx, recorder, c->n_rows);
}

static qw_status make_one(qw_step_plans *p, qw_backend *be, sized_calls *calls, qw_error *err)
{
    int64_t start = qw_clock_ns();
    qw_status st = be->plan_make(be, &p->plans[p->n], calls->n_rows, call_sized, calls, err);
    if (st != QW_OK) return st;
    int64_t ns = qw_clock_ns() - start;
    p->build_ns += ns;
    if (ns > p->max_build_ns) p->max_build_ns = ns;
    p->size += p->plans[p->n++]->size;
    return QW_OK;
}

qw_status qw_step_plans_make(qw_step_plans *out, qw_backend *be, const int32_t *sizes,
                             size_t n_sizes, int max_rows, qw_step_calls *calls, void *ctx,
                             qw_error *err)
{
    qw_step_plans p = {.plans = qw_mem_array(n_sizes, sizeof *p.plans)}; // with the model
    if (!p.plans) return qw_fail_memory(err, n_sizes * sizeof *p.plans, "the list of step plans");
    qw_status st = QW_OK;
    for (size_t i = 0; i < n_sizes && st == QW_OK; i++) {
        bool is_last = sizes[i] >= max_rows;
        sized_calls sized = {calls, ctx, is_last ? max_rows : sizes[i]};
        st = make_one(&p, be, &sized, err);
        if (is_last) break;
    }
    if (st == QW_OK)
        *out = p;
    else
        qw_step_plans_release(&p, be);
    return st;
}

void qw_step_plans_release(qw_step_plans *p, qw_backend *be)
{
    for (size_t i = 0; i < p->n; i++) be->plan_free(be, p->plans[i]);
    qw_mem_free(p->plans);
    *p = (qw_step_plans){0};
}

qw_plan *qw_step_plans_find(const qw_step_plans *p, int n_rows)
{
    size_t low = 0, high = p->n; // plans before `low` are too small, those from `high` on are not
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (p->plans[mid]->max_rows < n_rows)
            low = mid + 1;
        else
            high = mid;
    }
    return low < p->n ? p->plans[low] : NULL;
}
