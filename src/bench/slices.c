#include "bench/slices.h"

static double slice_s(const qw_slice *s)
{
    return (double)(s->after.at_ns - s->before.at_ns) * 1e-9;
}

double qw_slice_steal_percent(const qw_slice *s, const qw_slice_rule *rule)
{
    double stolen_s = (double)(s->after.steal - s->before.steal) / (double)rule->ticks_per_s;
    double cpu_s = slice_s(s) * rule->n_threads;
    return cpu_s > 0 && stolen_s > 0 ? 100 * stolen_s / cpu_s : 0;
}

static bool probe_is_good(const qw_probe *p, const qw_slice_rule *rule)
{
    if (p->spin < rule->best_spin * (1 - QW_SLICE_SPIN_TOLERANCE)) return false;
    return rule->n_threads < 2 || p->handover_ns > QW_SLICE_MIN_HANDOVER_NS;
}

bool qw_slice_is_clean(const qw_slice *s, const qw_slice_rule *rule)
{
    return probe_is_good(&s->before, rule) && probe_is_good(&s->after, rule) &&
           qw_slice_steal_percent(s, rule) < 1;
}

const char *qw_limit_name(qw_limit_kind kind)
{
    static const char *const names[QW_N_LIMITS] = {"bw", "fma", "bf16", "int8", "int4"};
    return names[kind];
}

static double divide(double amount, double rate)
{
    return rate > 0 ? amount / rate : 0;
}

static double moving_s(const qw_work *work, const double limits[QW_N_LIMITS])
{
    return divide(work->bytes, limits[QW_LIMIT_READ]);
}

static double computing_s(const qw_work *work, const double limits[QW_N_LIMITS])
{
    double s = divide(work->product_ops, limits[work->peak]) +
               divide(work->attention_ops, limits[QW_LIMIT_FMA]);
    for (int k = 0; k < QW_N_LIMITS; k++) s += divide(work->other_ops[k], limits[k]);
    return s;
}

double qw_work_ops(const qw_work *work)
{
    double ops = work->product_ops + work->attention_ops;
    for (int k = 0; k < QW_N_LIMITS; k++) ops += work->other_ops[k];
    return ops;
}

qw_limit_set qw_work_limits(const qw_work *work, const double limits[QW_N_LIMITS])
{
    double moving = moving_s(work, limits), computing = computing_s(work, limits);
    qw_limit_set kinds = 0;
    if (moving > 0 && moving >= computing / 2) kinds |= 1u << QW_LIMIT_READ;
    if (computing > 0 && computing >= moving / 2) {
        if (work->product_ops > 0) kinds |= 1u << work->peak;
        if (work->attention_ops > 0) kinds |= 1u << QW_LIMIT_FMA;
        for (int k = 0; k < QW_N_LIMITS; k++)
            if (work->other_ops[k] > 0) kinds |= 1u << k;
    }
    return kinds;
}

double qw_work_limit_s(const qw_work *work, const double limits[QW_N_LIMITS],
                       qw_limit_kind *decided_by)
{
    double moving = moving_s(work, limits), computing = computing_s(work, limits);
    if (decided_by) {
        *decided_by = QW_LIMIT_READ;
        if (computing > moving) *decided_by = work->product_ops > 0 ? work->peak : QW_LIMIT_FMA;
    }
    return computing > moving ? computing : moving;
}

void qw_sample_limits(double out[QW_N_LIMITS], const qw_sample *s)
{
    for (int k = 0; k < QW_N_LIMITS; k++)
        out[k] = (s->limits[0][k].value + s->limits[1][k].value) / 2;
}

double qw_sample_ratio(const qw_sample *s, const qw_work *work)
{
    double limits[QW_N_LIMITS];
    qw_sample_limits(limits, s);
    return qw_work_limit_s(work, limits, NULL) * s->run_count / s->run.value;
}

bool qw_sample_is_clean(const qw_sample *s, qw_limit_set kinds, const qw_slice_rule *rule)
{
    if (!qw_slice_is_clean(&s->run, rule)) return false;
    for (int side = 0; side < 2; side++)
        for (int k = 0; k < QW_N_LIMITS; k++)
            if ((kinds & 1u << k) && !qw_slice_is_clean(&s->limits[side][k], rule)) return false;
    return true;
}
