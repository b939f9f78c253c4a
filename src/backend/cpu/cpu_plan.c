// Step plans on CPU: the jobs of a list of operations, each with its kernels, pointers and cuts
// resolved, and the walk over them that the threads of the pool go on together.

#include "backend/cpu/cpu_device.h"
#include "base/mem.h"

// One block of memory: the plan, its phases, its jobs.
typedef struct cpu_plan {
    qw_plan base;
    cpu_device *device;
    cpu_extent extent;           /* of the run */
    cpu_attention_shape shape;   /* of the run */
    qw_attention_args attention; /* one of the calls, for the shape; seqs NULL: there is none */
    size_t n_phases;
    qw_thread_phase *phases;
    uint8_t *jobs;
} cpu_plan;

// A backend that writes down; the first time around it only counts.
struct cpu_recorder {
    cpu_backend base;
    cpu_plan *plan;
    bool is_counting;
    size_t n_phases, jobs_size; /* so far */
};

static cpu_plan *plan_of(qw_plan *plan)
{
    return (cpu_plan *)plan; // base is the first member
}

// Recording

const cpu_extent *qw_cpu_extent(const cpu_backend *cpu, cpu_extent *own, int n_rows, int n_seqs)
{
    if (!cpu->recorder) {
        *own = (cpu_extent){(size_t)n_rows, (size_t)n_seqs};
        return own;
    }
    QW_ASSERT(n_rows == cpu->recorder->plan->base.max_rows);
    return &cpu->recorder->plan->extent;
}

const cpu_attention_shape *qw_cpu_shape(const cpu_backend *cpu, cpu_attention_shape *own,
                                        const qw_attention_args *args)
{
    if (!cpu->recorder) {
        *own = qw_cpu_attention_shape(cpu->device, args);
        return own;
    }
    cpu_plan *plan = cpu->recorder->plan;
    const qw_attention_args *first = &plan->attention;
    QW_ASSERT(!first->seqs || (first->seqs == args->seqs && first->layout == args->layout &&
                               first->n_heads == args->n_heads));
    plan->attention = *args;
    return &plan->shape;
}

static void record(cpu_recorder *r, qw_range_fn *fn, const void *job, size_t job_size,
                   const size_t *n_items, size_t grain)
{
    if (!r->is_counting) {
        uint8_t *copy = r->plan->jobs + r->jobs_size;
        memcpy(copy, job, job_size);
        uintptr_t offset = (uintptr_t)n_items - (uintptr_t)job;
        if (offset < job_size) n_items = (const size_t *)(const void *)(copy + offset);
        r->plan->phases[r->n_phases] = (qw_thread_phase){fn, copy, n_items, grain};
    }
    r->n_phases++;
    r->jobs_size += (job_size + 15) / 16 * 16;
}

void qw_cpu_submit(const cpu_backend *cpu, qw_range_fn *fn, void *job, size_t job_size,
                   const size_t *n_items, size_t grain)
{
    if (cpu->recorder)
        record(cpu->recorder, fn, job, job_size, n_items, grain);
    else
        qw_thread_pool_for(cpu->device->pool, *n_items, grain, fn, job);
}

static void run_calls(cpu_recorder *r, const cpu_backend *cpu, cpu_plan *plan, qw_plan_calls *calls,
                      void *ctx)
{
    r->base = *cpu;
    r->base.recorder = r;
    r->plan = plan;
    r->n_phases = r->jobs_size = 0;
    calls(ctx, &r->base.base);
}

qw_status qw_cpu_plan_make(qw_backend *be, qw_plan **out, int max_rows, qw_plan_calls *calls,
                           void *ctx, qw_error *err)
{
    const cpu_backend *cpu = cpu_self(be);
    QW_ASSERT(max_rows >= 1 && !cpu->recorder);
    cpu_plan head = {.base = {.max_rows = max_rows}, .device = cpu->device};
    cpu_recorder counter = {.is_counting = true}, recorder = {.is_counting = false};
    run_calls(&counter, cpu, &head, calls, ctx);
    head.n_phases = counter.n_phases;

    size_t phases_at = (sizeof head + 15) / 16 * 16, jobs_at;
    // Small numbers: so many calls were just made.
    jobs_at = phases_at + (head.n_phases * sizeof(qw_thread_phase) + 15) / 16 * 16;
    head.base.size = jobs_at + counter.jobs_size;
    uint8_t *block = qw_mem_alloc(head.base.size); // until qw_cpu_plan_free
    if (!block) return qw_fail_memory(err, head.base.size, "a step plan");
    cpu_plan *plan = (cpu_plan *)(void *)block;
    head.attention.seqs = NULL;
    *plan = head;
    plan->phases = (qw_thread_phase *)(void *)(block + phases_at);
    plan->jobs = block + jobs_at;
    run_calls(&recorder, cpu, plan, calls, ctx);
    QW_ASSERT(recorder.n_phases == counter.n_phases && recorder.jobs_size == counter.jobs_size);
    *out = &plan->base;
    return QW_OK;
}

void qw_cpu_plan_run(qw_backend *be, qw_plan *p, int n_rows, int n_seqs)
{
    (void)be;
    cpu_plan *plan = plan_of(p);
    QW_ASSERT(n_rows >= 1 && n_rows <= p->max_rows && n_seqs <= n_rows);
    plan->extent = (cpu_extent){(size_t)n_rows, (size_t)n_seqs};
    if (plan->attention.seqs) {
        plan->attention.n_seqs = n_seqs;
        plan->shape = qw_cpu_attention_shape(plan->device, &plan->attention);
    }
    qw_thread_pool_walk(plan->device->pool, plan->phases, plan->n_phases);
}

void qw_cpu_plan_free(qw_backend *be, qw_plan *plan)
{
    (void)be;
    qw_mem_free(plan);
}
