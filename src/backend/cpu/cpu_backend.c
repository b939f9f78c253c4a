// The CPU device: its memory, its threads, its table of operations.

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/cpu_features.h"
#include "backend/cpu/linear_pack.h"
#include "backend/cpu/pack.h"
#include "backend/cpu/probe.h"
#include "base/mem.h"

enum {
    MAX_HEAD_DIM = 1024,
    PARTIALS_PER_THREAD = 1 << 19, /* floats: 500 segments of 8 heads of 128 */
};

static cpu_device *device_of(qw_backend *be)
{
    return cpu_self(be)->device;
}

// Packing

static qw_status pack(cpu_device *d, const qw_linear *w, const qw_linear_source *source,
                      qw_linear_sink *sink, void *sink_ctx, qw_error *err)
{
    return qw_linear_pack_run(d->pool, &d->kernels, w, source, sink, sink_ctx, err);
}

static qw_status cpu_linear_pack(qw_backend *be, qw_linear *out, const qw_linear_source *source,
                                 qw_error *err)
{
    qw_linear w;
    qw_status st = qw_linear_plan(&w, source, err);
    if (st != QW_OK) return st;
    for (int i = 0; i < QW_N_LINEAR_PARTS && st == QW_OK; i++) {
        size_t size = qw_linear_part_size(&w, (qw_linear_part)i);
        if (size == 0) continue;
        void *array = qw_mem_map(size, 4096); // model lifetime
        qw_linear_part_set(&w, (qw_linear_part)i, array);
        if (!array) st = qw_fail_memory(err, size, "packed weights");
    }
    if (st == QW_OK) st = pack(device_of(be), &w, source, NULL, NULL, err);
    if (st == QW_OK)
        *out = w;
    else
        be->linear_release(be, &w);
    return st;
}

static qw_status cpu_linear_write(qw_backend *be, const qw_linear *w,
                                  const qw_linear_source *source, qw_linear_sink *sink,
                                  void *sink_ctx, qw_error *err)
{
    return pack(device_of(be), w, source, sink, sink_ctx, err);
}

static qw_status cpu_linear_reserve(qw_backend *be, const qw_linear *w, int max_rows, qw_error *err)
{
    cpu_device *d = device_of(be);
    size_t size = qw_linear_reserve_size(w, max_rows);
    if (size <= d->quantized_size) return QW_OK;
    void *memory = qw_mem_map(size, 4096); // until close, or until more is needed
    if (!memory) return qw_fail_memory(err, size, "quantized activations");
    qw_mem_unmap(d->quantized, d->quantized_size);
    d->quantized = memory;
    d->quantized_size = size;
    return QW_OK;
}

static void cpu_linear_release(qw_backend *be, qw_linear *w)
{
    (void)be;
    for (int i = 0; i < QW_N_LINEAR_PARTS && !w->borrowed; i++)
        qw_mem_unmap(qw_linear_part_data(w, (qw_linear_part)i),
                     qw_linear_part_size(w, (qw_linear_part)i));
    *w = (qw_linear){0};
}

static void cpu_fill_rows(qw_backend *be, void *out, const qw_host_matrix *m)
{
    qw_linear_pack_rows(device_of(be)->pool, out, m);
}

// Life

static const qw_ops cpu_ops = {
    .embed = qw_cpu_embed,
    .rms_norm = qw_cpu_rms_norm,
    .linear = qw_cpu_linear,
    .made_linear = qw_cpu_made_linear,
    .norm_rope_store = qw_cpu_norm_rope_store,
    .attention = qw_cpu_attention,
    .gather_rows = qw_cpu_gather_rows,
    .add_vector = qw_cpu_add_vector,
    .silu_mul = qw_cpu_silu_mul,
    .route = qw_cpu_route,
    .expert_linear = qw_cpu_expert_linear,
    .combine = qw_cpu_combine,
};

// The device and its backend, one block.
typedef struct cpu_instance {
    cpu_backend backend;
    cpu_device device;
} cpu_instance;

static void cpu_close(qw_backend *be)
{
    cpu_device *d = device_of(be);
    qw_mem_unmap(d->scratch, d->scratch_size);
    qw_mem_unmap(d->partials, d->partials_len * sizeof(float));
    qw_mem_unmap(d->quantized, d->quantized_size);
    qw_thread_pool_free(d->pool);
    qw_mem_free(be);
}

static qw_status open_device(cpu_device *d, int n_threads, qw_error *err)
{
    qw_status st = qw_thread_pool_new(&d->pool, n_threads, err);
    if (st != QW_OK) return st;
    n_threads = qw_thread_pool_size(d->pool);
    size_t need = QW_ATTN_SCRATCH(MAX_HEAD_DIM), tile = CPU_MAX_ROWS * 16 * CPU_GROUP_PANELS;
    // A row, what FlatQuant makes of it in two steps, and its integers.
    size_t rows = 3 * (CPU_MAX_K + 64) + CPU_MAX_K / sizeof(float);
    if (need < tile) need = tile;
    d->scratch_stride = qw_row_stride(need > rows ? need : rows);
    d->scratch_size = d->scratch_stride * sizeof(float) * (size_t)n_threads;
    d->scratch = qw_mem_map(d->scratch_size, 4096); // committed on touch
    if (!d->scratch) return qw_fail_memory(err, d->scratch_size, "kernel scratch");
    d->partials_len = (size_t)n_threads * PARTIALS_PER_THREAD;
    d->partials = qw_mem_map(d->partials_len * sizeof(float), 4096);
    if (!d->partials)
        return qw_fail_memory(err, d->partials_len * sizeof(float), "partial sums of attention");
    return QW_OK;
}

qw_status qw_backend_open_cpu(qw_backend **out, const qw_cpu_options *options, qw_error *err)
{
    unsigned levels;
    qw_status st = qw_cpu_isa_parse(&levels, options->isa ? options->isa : "auto", err);
    if (st != QW_OK) return st;
    cpu_instance *cpu = qw_mem_calloc(1, sizeof *cpu);
    if (!cpu) return qw_fail_memory(err, sizeof *cpu, "the CPU backend");
    cpu_backend *be = &cpu->backend;
    be->device = &cpu->device;
    qw_kernels_init(&cpu->device.kernels, qw_probe_levels(levels));
    st = open_device(&cpu->device, options->n_threads, err);
    if (st != QW_OK) {
        cpu_close(&be->base);
        return st;
    }
    be->base = (qw_backend){.ops = &cpu_ops,
                            .isa = cpu->device.kernels.isa,
                            .n_threads = qw_thread_pool_size(cpu->device.pool),
                            .linear_pack = cpu_linear_pack,
                            .linear_write = cpu_linear_write,
                            .fill_rows = cpu_fill_rows,
                            .linear_reserve = cpu_linear_reserve,
                            .linear_release = cpu_linear_release,
                            .plan_make = qw_cpu_plan_make,
                            .plan_run = qw_cpu_plan_run,
                            .plan_free = qw_cpu_plan_free,
                            .close = cpu_close};
    *out = &be->base;
    return QW_OK;
}
