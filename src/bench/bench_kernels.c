#include "bench/bench_kernels.h"

#include <sched.h>

#include "base/mem.h"
#include "bench/bench_group.h"

enum {
    LIMIT_SLICES = 5,
    FEW_STREAMS = 4,
    MAX_STREAMS = 64, /* up to here tokens are streams that decode; more are a prompt */
};

typedef struct format {
    const char *name;
    qw_dtype dtype;
    int group;
    const char *scheme; /* of whole steps */
} format;

static const format formats[] = {{"bf16", QW_DTYPE_BF16, 0, "none"},
                                 {"f16", QW_DTYPE_F16, 0, NULL},
                                 {"f32", QW_DTYPE_F32, 0, NULL},
                                 {"w8a8", QW_DTYPE_I8, 0, "w8a8-dynamic"},
                                 {"w4a8", QW_DTYPE_I4, 0, "w4a8"},
                                 {"w4a8-g128", QW_DTYPE_I4, 128, "w4a8-g128"},
                                 {"w4a8-g256", QW_DTYPE_I4, 256, "w4a8-g256"}};

static const format *find_format(const char *name)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(formats); i++)
        if (strcmp(formats[i].name, name) == 0) return &formats[i];
    return NULL;
}

/** A group that has run, kept until the best clock of the whole run is known. */
typedef struct part {
    qw_bench_group group;
    int i_threads;
} part;

/** What is known of the machine with one number of threads. */
typedef struct thread_block {
    int n; /* threads */
    double best_spin;
    double limits[QW_N_LIMITS]; /* medians of the first block */
    double barrier_ns;
} thread_block;

typedef struct bench_run {
    const qw_bench_options *o;
    qw_bench_report *report;
    qw_bench_buffer buffer;
    qw_model_config *configs; /* [n_models] */
    size_t n_configs;
    thread_block *blocks; /* [o->n_threads] */
    part *parts;
    size_t n_parts;
} bench_run;

// The first block: limits

static qw_status add_limits(bench_run *r, qw_limit_meter *meter, thread_block *b, qw_error *err)
{
    qw_bench_report *report = r->report;
    double slices[LIMIT_SLICES], handovers[LIMIT_SLICES];
    qw_status st = QW_OK;
    for (int k = 0; k < QW_N_LIMITS && st == QW_OK; k++) {
        if (!qw_limit_meter_has(meter, k)) continue;
        for (int i = 0; i < LIMIT_SLICES; i++) {
            qw_probe p = qw_limit_meter_probe(meter);
            if (p.spin > b->best_spin) b->best_spin = p.spin;
            handovers[i] = p.handover_ns;
            slices[i] = qw_limit_meter_measure(meter, k);
        }
        b->limits[k] = qw_stats_median(slices, LIMIT_SLICES);
        st = qw_bench_report_add_limit(report, qw_limit_name(k), b->n, b->limits[k] / 1e9,
                                       k == QW_LIMIT_READ  ? "GB/s"
                                       : k < QW_LIMIT_INT8 ? "GFLOP/s"
                                                           : "GOP/s",
                                       err);
    }
    for (int level = 1; level <= 3 && st == QW_OK; level++) {
        size_t size = report->machine.cache_size[level];
        if (size == 0) continue;
        // Half of a cache, so that it surely fits; the last one is shared by the threads.
        if (level == 3) size /= (size_t)b->n;
        for (int i = 0; i < LIMIT_SLICES; i++)
            slices[i] = qw_limit_meter_read_cached(meter, size / 2);
        char name[8];
        snprintf(name, sizeof name, "L%d", level);
        st = qw_bench_report_add_limit(report, name, b->n,
                                       qw_stats_median(slices, LIMIT_SLICES) / 1e9, "GB/s", err);
    }
    if (st == QW_OK && b->n > 1)
        st = qw_bench_report_add_limit(report, "handover", b->n,
                                       qw_stats_median(handovers, LIMIT_SLICES), "ns", err);
    for (int i = 0; i < LIMIT_SLICES; i++) slices[i] = qw_limit_meter_barrier_ns(meter);
    b->barrier_ns = qw_stats_median(slices, LIMIT_SLICES);
    if (st == QW_OK)
        st = qw_bench_report_add_limit(report, "barrier", b->n, b->barrier_ns, "ns", err);
    if (st == QW_OK)
        st = qw_bench_report_add_limit(report, "spin", b->n, b->best_spin, "nop/ns", err);
    return st;
}

// Rows

static qw_status add_case(qw_bench_group *g, qw_status st, qw_bench_case *c, qw_error *err)
{
    return st == QW_OK ? qw_bench_group_add(g, c, err) : st;
}

static qw_status add_products(qw_bench_group *g, const qw_bench_env *env, const qw_bench_options *o,
                              qw_error *err)
{
    static const char *const products[] = {"qkv", "o", "gate_up", "down"};
    const qw_model_config *config = env->config;
    int n_sparse = qw_model_config_n_sparse(config);
    size_t n_products = n_sparse < config->num_hidden_layers ? QW_ARRAY_LEN(products) : 2;
    qw_status st = QW_OK;
    for (size_t i = 0; i < o->n_m && st == QW_OK; i++) {
        int m = (int)o->m[i];
        qw_bench_case c;
        for (size_t p = 0; p < n_products && st == QW_OK && o->ops & QW_BENCH_LINEAR; p++) {
            st = qw_bench_linear_case(&c, env, products[p], m, err);
            st = add_case(g, st, &c, err);
        }
        if (st == QW_OK && o->ops & QW_BENCH_MOE && n_sparse > 0) {
            st = qw_bench_moe_case(&c, env, m, err);
            st = add_case(g, st, &c, err);
        }
        // A prompt's head is computed for its last token only.
        if (st == QW_OK && o->ops & QW_BENCH_HEAD && m <= MAX_STREAMS) {
            st = qw_bench_head_case(&c, env, m, err);
            st = add_case(g, st, &c, err);
        }
    }
    return st;
}

static qw_status add_attention(qw_bench_group *g, const qw_bench_env *env, qw_dtype kv_dtype,
                               const qw_bench_options *o, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < o->n_m && st == QW_OK; i++) {
        for (size_t j = 0; j < o->n_contexts && st == QW_OK; j++) {
            int m = (int)o->m[i], context = (int)o->contexts[j];
            qw_bench_case c;
            bool is_decode = m <= MAX_STREAMS;
            if (!is_decode && m > context) continue;
            st = is_decode ? qw_bench_decode_attention_case(&c, env, kv_dtype, m, context, err)
                           : qw_bench_prefill_attention_case(&c, env, kv_dtype, m, context, err);
            st = add_case(g, st, &c, err);
        }
    }
    return st;
}

static qw_status add_norms(qw_bench_group *g, const qw_bench_env *env, const qw_bench_options *o,
                           qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < o->n_m && st == QW_OK; i++) {
        qw_bench_case c;
        st = qw_bench_norm_case(&c, env, (int)o->m[i], err);
        st = add_case(g, st, &c, err);
        if (st != QW_OK) break;
        st = qw_bench_rope_case(&c, env, (int)o->m[i], err);
        st = add_case(g, st, &c, err);
    }
    return st;
}

// Whole steps at the first context: its KV is counted, but should not be what is measured.
static qw_status add_steps(qw_bench_group *g, const qw_bench_env *env, const qw_bench_options *o,
                           qw_error *err)
{
    qw_bench_step_model *model;
    int max_tokens = 1;
    for (size_t i = 0; i < o->n_m; i++)
        if (o->m[i] > max_tokens) max_tokens = (int)o->m[i];
    qw_status st = qw_bench_step_model_new(&model, env, max_tokens, err);
    if (st != QW_OK) return st;
    for (size_t i = 0; i < o->n_m && st == QW_OK; i++) {
        int m = (int)o->m[i];
        qw_bench_case c;
        if (m > MAX_STREAMS) {
            st = qw_bench_prefill_step_case(&c, model, m, err);
            st = add_case(g, st, &c, err);
            continue;
        }
        // What a plan is worth shows where steps are short; many streams take gigabytes of KV.
        int n_ways = m <= FEW_STREAMS ? 2 : 1;
        for (int way = 0; way < n_ways && st == QW_OK; way++) {
            st = qw_bench_decode_step_case(&c, model, m, (int)o->contexts[0], way == 0, err);
            st = add_case(g, st, &c, err);
        }
    }
    qw_bench_step_model_drop(model);
    return st;
}

static qw_status add_rows(qw_bench_group *g, const qw_bench_env *env, const qw_bench_options *o,
                          bool is_first_model, qw_error *err)
{
    qw_bench_case c;
    qw_status st = add_products(g, env, o, err);
    if (st == QW_OK && o->ops & QW_BENCH_ATTENTION)
        st = add_attention(g, env, env->kv_dtype, o, err);
    if (st == QW_OK && o->ops & QW_BENCH_ATTENTION && env->kv_dtype == QW_DTYPE_BF16)
        st = add_attention(g, env, QW_DTYPE_I8, o, err);
    if (st == QW_OK && o->ops & QW_BENCH_NORM) st = add_norms(g, env, o, err);
    if (st == QW_OK && o->ops & QW_BENCH_SAMPLE && is_first_model) {
        st = qw_bench_sample_case(&c, env, err);
        st = add_case(g, st, &c, err);
    }
    if (st == QW_OK && o->ops & QW_BENCH_STEP && env->scheme) st = add_steps(g, env, o, err);
    return st;
}

static qw_limit_kind product_peak(const qw_backend *be, qw_dtype dtype)
{
    if (dtype == QW_DTYPE_I8) return QW_LIMIT_INT8;
    if (dtype == QW_DTYPE_I4) return QW_LIMIT_INT4;
    bool is_bf16 = dtype == QW_DTYPE_BF16 && strcmp(be->isa, "avx512bf16") == 0;
    return is_bf16 ? QW_LIMIT_BF16 : QW_LIMIT_FMA;
}

static qw_status run_group(bench_run *r, size_t i_threads, qw_backend *be, qw_limit_meter *meter,
                           size_t i_model, size_t i_format, qw_error *err)
{
    const qw_bench_options *o = r->o;
    thread_block *b = &r->blocks[i_threads];
    qw_bench_env env = {.be = be,
                        .config = &r->configs[i_model],
                        .model = o->models[i_model].name,
                        .format = o->formats[i_format],
                        .barrier_ns = b->barrier_ns,
                        .buffer = &r->buffer};
    const format *f = find_format(env.format);
    QW_ASSERT(f);
    env.dtype = f->dtype;
    env.group = f->group;
    env.scheme = f->scheme;
    env.kv_dtype = env.dtype == QW_DTYPE_F32 ? QW_DTYPE_F32 : QW_DTYPE_BF16;
    env.round = env.dtype != QW_DTYPE_F16 && env.dtype != QW_DTYPE_F32;
    env.peak = product_peak(be, env.dtype);
    part *p = &r->parts[r->n_parts++];
    p->i_threads = (int)i_threads;
    qw_status st = add_rows(&p->group, &env, o, i_model == 0 && i_format == 0, err);
    if (st != QW_OK || p->group.n_cases == 0) return st;
    if (o->progress) {
        char what[96];
        snprintf(what, sizeof what, "%s %s, %d threads", env.model, env.format, b->n);
        o->progress(o->progress_ctx, what, p->group.n_cases);
    }
    return qw_bench_group_run(&p->group, meter, b->limits, o->rounds, &b->best_spin, err);
}

static qw_status run_threads(bench_run *r, size_t i_threads, qw_error *err)
{
    const qw_bench_options *o = r->o;
    thread_block *b = &r->blocks[i_threads];
    qw_backend *be = NULL;
    qw_limit_meter *meter = NULL;
    qw_cpu_options cpu = {.n_threads = (int)o->threads[i_threads], .isa = o->isa};
    qw_status st = qw_backend_open_cpu(&be, &cpu, err);
    if (st != QW_OK) return st;
    b->n = be->n_threads;
    snprintf(r->report->isa, sizeof r->report->isa, "%s", be->isa);
    st = qw_limit_meter_new(&meter, be->isa, b->n, &r->buffer, err);
    cpu_set_t affinity;
    bool is_pinned = sched_getaffinity(0, sizeof affinity, &affinity) == 0;
    if (st == QW_OK && is_pinned) qw_limit_meter_pin_caller(meter);
    if (st == QW_OK) st = add_limits(r, meter, b, err);
    for (size_t m = 0; m < o->n_models && st == QW_OK; m++)
        for (size_t f = 0; f < o->n_formats && st == QW_OK; f++)
            st = run_group(r, i_threads, be, meter, m, f, err);
    // Later pools look at the mask of this thread to see how many cores there are.
    if (is_pinned) (void)sched_setaffinity(0, sizeof affinity, &affinity);
    for (size_t i = 0; i < r->n_parts; i++)
        for (size_t j = 0; j < r->parts[i].group.n_cases; j++)
            qw_bench_case_release(&r->parts[i].group.cases[j]); // before the backend goes
    qw_limit_meter_free(meter);
    qw_backend_close(be);
    return st;
}

// All of it

static qw_status make_rows(bench_run *r, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < r->n_parts && st == QW_OK; i++) {
        const part *p = &r->parts[i];
        const thread_block *b = &r->blocks[p->i_threads];
        qw_slice_rule rule = {.best_spin = b->best_spin,
                              .n_threads = b->n,
                              .ticks_per_s = r->report->machine.ticks_per_s};
        for (size_t j = 0; j < p->group.n_cases && st == QW_OK; j++) {
            qw_bench_record record = qw_bench_group_record(&p->group, j);
            record.isa = r->report->isa;
            record.threads = b->n;
            qw_bench_row row;
            st = qw_bench_row_make(&row, &record, &rule, err);
            if (st == QW_OK) st = qw_bench_report_add_row(r->report, &row, err);
        }
    }
    return st;
}

static qw_status check_formats(const qw_bench_options *o, qw_error *err)
{
    for (size_t i = 0; i < o->n_formats; i++)
        if (!find_format(o->formats[i]))
            return qw_fail(err, QW_ERR_USAGE,
                           "--format '%s' is unknown; choose bf16, f16, f32, w8a8, w4a8, w4a8-g128 "
                           "or w4a8-g256",
                           o->formats[i]);
    return QW_OK;
}

static qw_status measure_all(bench_run *r, qw_error *err)
{
    const qw_bench_options *o = r->o;
    qw_bench_report *report = r->report;
    report->rounds = o->rounds;
    qw_machine_detect(&report->machine);
    r->configs = qw_mem_calloc(o->n_models + 1, sizeof *r->configs);
    r->blocks = qw_mem_calloc(o->n_threads + 1, sizeof *r->blocks);
    r->parts = qw_mem_calloc(o->n_threads * o->n_models * o->n_formats + 1, sizeof *r->parts);
    if (!r->configs || !r->blocks || !r->parts) return qw_fail_memory(err, 0, "the benchmark");
    qw_status st = check_formats(o, err);
    for (; r->n_configs < o->n_models && st == QW_OK; r->n_configs += st == QW_OK)
        st =
            qw_model_config_load(&r->configs[r->n_configs], o->models[r->n_configs].dir, NULL, err);
    size_t size = qw_bench_buffer_size(report->machine.last_cache, report->machine.memory);
    if (st == QW_OK) st = qw_bench_buffer_init(&r->buffer, size, err);
    for (size_t i = 0; i < o->n_threads && st == QW_OK; i++) st = run_threads(r, i, err);
    if (st == QW_OK) st = make_rows(r, err);
    return st == QW_OK ? qw_bench_report_judge(report, err) : st;
}

qw_status qw_bench_kernels(qw_bench_report *out, const qw_bench_options *options, qw_error *err)
{
    qw_bench_report report = {0};
    bench_run r = {.o = options, .report = &report};
    qw_status st = measure_all(&r, err);
    for (size_t i = 0; i < r.n_parts; i++) qw_bench_group_release(&r.parts[i].group);
    for (size_t i = 0; i < r.n_configs; i++) qw_model_config_release(&r.configs[i]);
    qw_mem_free(r.parts);
    qw_mem_free(r.blocks);
    qw_mem_free(r.configs);
    qw_bench_buffer_release(&r.buffer);
    if (st != QW_OK) {
        qw_bench_report_release(&report);
        return st;
    }
    *out = report;
    return QW_OK;
}
