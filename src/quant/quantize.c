#include "quant/quantize.h"

#include <dirent.h>
#include <xxhash.h>

#include "format/fingerprint.h"
#include "quant/quant_unit.h"

/** One run. */
typedef struct run {
    const qw_quantize_options *o;
    qw_model_config config;
    qw_checkpoint checkpoint;
    qw_quant_plan plan;
    qw_calibration calibration;
    qw_quant_output output;
    qw_thread_pool *pool;
} run;

// The source

// A file that only quantized checkpoints have.
static qw_status refuse_quantized(const char *src, qw_error *err)
{
    DIR *dir = opendir(src);
    if (!dir) return QW_OK; // whoever reads config.json says so
    char name[256] = "";
    for (const struct dirent *e; (e = readdir(dir));)
        if (qw_str_starts_with(qw_str_of(e->d_name), QW_STR("quant_model_description")))
            snprintf(name, sizeof name, "%s", e->d_name);
    closedir(dir);
    if (!*name) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE,
                   "'%s' is quantized already (it has '%s'); quantize the float checkpoint it was "
                   "made from",
                   src, name);
}

static qw_status check_float(const qw_checkpoint *c, const char *src, qw_error *err)
{
    for (size_t i = 0; i < c->n_tensors; i++) {
        const qw_stored_tensor *t = c->tensors[i];
        if (t->dtype != QW_DTYPE_BF16 && t->dtype != QW_DTYPE_F16 && t->dtype != QW_DTYPE_F32)
            return qw_fail(err, QW_ERR_UNSUPPORTED,
                           "'%s': tensor '%s' is %s; only BF16, F16 and F32 can be quantized, so "
                           "this checkpoint may be quantized already",
                           src, t->name, qw_dtype_name(t->dtype));
    }
    return QW_OK;
}

// Every tensor is there with its shape: what a model says that is about to be loaded.
static qw_status check_shapes(run *r, qw_error *err)
{
    qw_model_footprint footprint;
    const qw_model_limits limits = {.max_tokens = 1, .max_logit_rows = 1};
    qw_kv_layout layout =
        qw_kv_layout_make(QW_DTYPE_F32, 16, r->config.num_key_value_heads, r->config.head_dim);
    return qw_model_measure(&footprint, &r->config, &r->checkpoint, &limits, &layout, err);
}

static qw_status open_source(run *r, qw_error *err)
{
    const char *src = r->o->src;
    qw_status st = refuse_quantized(src, err);
    if (st == QW_OK) st = qw_model_config_load(&r->config, src, NULL, err);
    if (st == QW_OK) st = qw_checkpoint_open(&r->checkpoint, src, err);
    if (st == QW_OK) st = check_float(&r->checkpoint, src, err);
    return st == QW_OK ? check_shapes(r, err) : st;
}

// What the bytes depend on, as a line: a run is resumed only with the same.
static qw_status make_fingerprint(const run *r, qw_buf *out, qw_error *err)
{
    const qw_quantize_options *o = r->o;
    const qw_quant_choices *c = &o->choices;
    qw_fingerprint f = qw_fingerprint_of(&r->checkpoint);
    qw_buf rest;
    qw_buf_init(&rest, (size_t)1 << 30);
    for (size_t i = 0; i < c->n_rules; i++)
        qw_buf_printf(&rest, "%s %d %d\n", c->rules[i].pattern, (int)c->rules[i].target,
                      (int)c->rules[i].method);
    for (size_t i = 0; o->samples && i < o->samples->n; i++) {
        const qw_ids *ids = &o->samples->samples[i];
        qw_buf_append(&rest, &ids->len, sizeof ids->len);
        qw_buf_append(&rest, ids->data, ids->len * sizeof *ids->data);
    }
    qw_status st = qw_buf_check(&rest, "the recipe and the samples", err);
    if (st == QW_OK) {
        uint64_t hash = XXH3_64bits(rest.data ? rest.data : "", rest.len);
        qw_buf_printf(out,
                      "qwench quantize 1 %016" PRIx64 "%016" PRIx64 " %s method=%d group=%" PRId64
                      " part=%" PRIu64 " samples=%d smooth=%d alpha=%.17g %016" PRIx64,
                      f.high, f.low, qw_scheme_names[c->scheme], (int)c->method, c->group_size,
                      c->part_size, o->samples != NULL, (int)o->smooth, o->alpha, hash);
        st = qw_buf_check(out, "the fingerprint", err);
    }
    qw_buf_release(&rest);
    return st;
}

// Calibration

static void token_progress(void *ctx, size_t done, size_t total)
{
    const qw_quantize_options *o = ctx;
    o->progress(o->progress_ctx, "calibrating", done, total);
}

static bool uses_flatquant(const qw_quant_plan *p)
{
    for (size_t i = 0; i < p->n_items; i++)
        if (p->items[i].target == QW_TARGET_FLATQUANT) return true;
    return false;
}

// What was worked out before is kept beside the parts until the end, for runs that are resumed.
static qw_status calibrate(run *r, qw_error *err)
{
    const qw_quantize_options *o = r->o;
    char *path = qw_quant_output_temporary(&r->output);
    if (!path) return qw_fail_memory(err, 0, "a path");
    qw_status st;
    if (qw_file_exists(path)) {
        st = qw_calibration_load(&r->calibration, &r->config, path, err);
    } else {
        const qw_calibration_args args = {
            .model_dir = o->src,
            .cache_dir = o->cache_dir,
            .n_threads = o->n_threads,
            .keep_rows = uses_flatquant(&r->plan),
            .progress = o->progress ? token_progress : NULL,
            .progress_ctx = (void *)(uintptr_t)o,
        };
        st =
            qw_calibration_run(&r->calibration, &r->config, &r->checkpoint, o->samples, &args, err);
        if (st == QW_OK) st = qw_calibration_save(&r->calibration, path, err);
    }
    qw_mem_free(path);
    return st;
}

// Work

static uint64_t unit_bytes(const qw_quant_plan *p, size_t u)
{
    uint64_t sum = 0;
    for (size_t i = p->unit_first[u]; i < p->unit_first[u + 1]; i++)
        sum += p->items[i].source->size;
    return sum;
}

static qw_status run_units(run *r, qw_error *err)
{
    const qw_quantize_options *o = r->o;
    const qw_quant_plan *p = &r->plan;
    qw_quant_work work;
    qw_status st = qw_quant_work_init(&work, p, err);
    if (st != QW_OK) return st;
    work.output = &r->output;
    work.pool = r->pool;
    work.calibration = r->calibration.ranges ? &r->calibration : NULL;
    work.smooth = o->smooth;
    work.alpha = o->alpha;
    uint64_t done = 0, total = 0;
    for (size_t u = 0; u < p->n_units; u++)
        if (!r->output.done[u]) total += unit_bytes(p, u);
    for (size_t u = 0; u < p->n_units && st == QW_OK; u++) {
        if (r->output.done[u]) continue;
        if (o->progress) o->progress(o->progress_ctx, "quantizing", done, total);
        st = qw_quant_unit_run(&work, u, err);
        if (st == QW_OK) st = qw_quant_output_unit_done(&r->output, u, err);
        done += unit_bytes(p, u);
    }
    if (o->progress && st == QW_OK) o->progress(o->progress_ctx, "quantizing", total, total);
    qw_quant_work_release(&work);
    return st;
}

static qw_status write_all(run *r, qw_error *err)
{
    qw_buf fingerprint;
    qw_buf_init(&fingerprint, 4096);
    qw_status st = make_fingerprint(r, &fingerprint, err);
    if (st == QW_OK)
        st = qw_quant_output_open(&r->output, r->o->dst, &r->plan, fingerprint.data, r->o->resume,
                                  err);
    qw_buf_release(&fingerprint);
    if (st != QW_OK) return st;
    if (r->o->samples) st = calibrate(r, err);
    if (st == QW_OK) st = run_units(r, err);
    if (st == QW_OK) return qw_quant_output_finish(&r->output, r->o->src, err);
    qw_quant_output_abort(&r->output);
    return st;
}

static qw_status check_samples(const run *r, qw_error *err)
{
    if (!r->plan.needs_ranges || r->o->samples) return QW_OK;
    return qw_fail(
        err, QW_ERR_USAGE,
        "static activations need texts to be calibrated with: give --calib FILE.jsonl, or "
        "take the scheme w8a8-dynamic");
}

qw_status qw_quantize(qw_quantize_result *out, const qw_quantize_options *options, qw_error *err)
{
    run r = {.o = options};
    qw_status st = open_source(&r, err);
    if (st == QW_OK)
        st = qw_quant_plan_make(&r.plan, &r.config, &r.checkpoint, &options->choices, err);
    if (st == QW_OK) st = check_samples(&r, err);
    if (st == QW_OK) st = qw_thread_pool_new(&r.pool, options->n_threads, err);
    if (st == QW_OK) st = write_all(&r, err);
    if (st == QW_OK) {
        *out = (qw_quantize_result){.source_bytes = r.checkpoint.total_size,
                                    .bytes = r.plan.total_size,
                                    .n_parts = r.plan.n_parts};
        for (size_t i = 0; i < r.plan.n_items; i++)
            if (qw_role_is_linear(r.plan.items[i].role)) out->n_linears[r.plan.items[i].target]++;
    }
    qw_thread_pool_free(r.pool);
    if (r.calibration.ranges) qw_calibration_release(&r.calibration);
    if (r.plan.items) qw_quant_plan_release(&r.plan);
    if (r.checkpoint.tensors) qw_checkpoint_close(&r.checkpoint);
    qw_model_config_release(&r.config);
    return st;
}
