#include "quant/quant_unit.h"

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

qw_status qw_quant_work_init(qw_quant_work *w, const qw_quant_plan *plan, qw_error *err)
{
    *w = (qw_quant_work){.plan = plan, .alpha = -1};
    if (!plan->is_rotated) return QW_OK;
    const qw_model_config *c = plan->config;
    qw_status st = qw_rotation_init(&w->residual, (size_t)c->hidden_size, QW_ROTATION_SEED, err);
    if (st == QW_OK) st = qw_rotation_init(&w->value, (size_t)c->head_dim, 0, err);
    if (st != QW_OK) qw_quant_work_release(w);
    return st;
}

void qw_quant_work_release(qw_quant_work *w)
{
    qw_rotation_release(&w->residual);
    qw_rotation_release(&w->value);
}

void qw_static_range(float *scale, int *offset, float min, float max)
{
    min = min < 0 ? min : 0;
    max = max > 0 ? max : 0;
    float s = (max - min) / 255.0f;
    if (s < QW_MIN_SCALE) s = QW_MIN_SCALE;
    float z = rintf(-min / s) - 128.0f;
    *scale = s;
    *offset = (int)(z < -128 ? -128 : z > 127 ? 127 : z);
}

int32_t qw_static_bias(int64_t row_sum, int offset, float bias, float deq_scale)
{
    double v = rint((double)bias / (double)deq_scale - (double)(row_sum * offset));
    return (int32_t)(v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : v);
}

// What the items of a unit share.
typedef struct unit {
    qw_quant_work *w;
    const qw_input_range *ranges; /* of the layer, or NULL */
    qw_layer_factors f;
    float *head;                 /* rotated: the final norm's weight, which lm_head takes over */
    float clip[QW_N_TAP_POINTS]; /* 0: not yet found */
} unit;

// Weight and job

static qw_status set_norm_columns(const qw_quant_plan *p, size_t u, qw_role role, float **out,
                                  qw_error *err)
{
    for (size_t i = p->unit_first[u]; i < p->unit_first[u + 1]; i++) {
        const qw_quant_item *it = &p->items[i];
        if (it->role != role) continue;
        float *weight = qw_mem_array(it->in, sizeof *weight);
        if (!weight) return qw_fail_memory(err, it->in * sizeof *weight, "a norm's weight");
        qw_tensor_widen(weight, it->source, 0, it->in);
        *out = weight;
    }
    return QW_OK;
}

static qw_status find_factors(unit *t, size_t u, qw_error *err)
{
    qw_quant_work *w = t->w;
    const qw_quant_plan *p = w->plan;
    bool is_layer = u > 0 && u + 1 < p->n_units;
    if (is_layer && w->calibration) t->ranges = w->calibration->ranges + (u - 1) * QW_N_TAP_POINTS;
    if (!p->is_rotated) {
        if (!is_layer || !w->smooth || !t->ranges) return QW_OK;
        return qw_smooth_layer(&t->f, p, (int)u - 1, w->calibration, w->alpha, w->pool, err);
    }
    if (!is_layer) return set_norm_columns(p, u, QW_ROLE_FINAL_NORM, &t->head, err);
    qw_status st = set_norm_columns(p, u, QW_ROLE_INPUT_NORM, &t->f.columns[QW_TAP_QKV], err);
    if (st == QW_OK)
        st = set_norm_columns(p, u, QW_ROLE_POST_NORM, &t->f.columns[QW_TAP_GATE_UP], err);
    return st;
}

// Rotations of a rotated plan (quantization.md 7.5, steps 2 and 3).
static void set_rotations(const unit *t, qw_role role, qw_linear_job *j)
{
    const qw_rotation *r = &t->w->residual, *v = &t->w->value;
    switch (role) {
    case QW_ROLE_V:
        j->in_rotation = r;
        j->out_rotation = v;
        break;
    case QW_ROLE_O:
        j->in_rotation = v;
        j->out_rotation = r;
        break;
    case QW_ROLE_DOWN: j->out_rotation = r; break;
    case QW_ROLE_EMBED:
    case QW_ROLE_LM_HEAD:
    case QW_ROLE_Q:
    case QW_ROLE_K:
    case QW_ROLE_GATE:
    case QW_ROLE_UP:
    case QW_ROLE_ROUTER: j->in_rotation = r; break;
    default: break;
    }
}

static qw_linear_job make_job(const unit *t, const qw_quant_item *it)
{
    const qw_quant_plan *p = t->w->plan;
    qw_linear_job j = {.weight = it->source,
                       .out = it->out,
                       .in = it->in,
                       .target = it->target,
                       .float_dtype = it->source->dtype,
                       .method = it->method,
                       .n_slices = 1};
    qw_tap_point point = qw_role_point(it->role);
    if (point < QW_N_TAP_POINTS) j.col_factor = t->f.columns[point];
    if (it->role == QW_ROLE_LM_HEAD) j.col_factor = t->head;
    if (it->role == QW_ROLE_V) j.row_factor = t->f.v_rows;
    if (it->role == QW_ROLE_UP) j.row_factor = t->f.up_rows;
    if (it->target == QW_TARGET_W4A8) {
        const qw_out_tensor *o = &p->outputs[qw_quant_plan_output(it, QW_OUT_SCALE_BIAS)];
        j.group = p->group_size;
        j.n_slices = o->shape[1];
    }
    if (p->is_rotated) set_rotations(t, it->role, &j);
    return j;
}

// Floats

typedef struct sink_target {
    qw_quant_output *output;
    size_t i_output;
} sink_target;

static qw_status write_weight(void *ctx, size_t offset, const void *data, size_t size,
                              qw_error *err)
{
    const sink_target *s = ctx;
    return qw_quant_output_write(s->output, s->i_output, offset, data, size, err);
}

static qw_status write_floats(unit *t, size_t i_output, const float *x, size_t n, qw_error *err)
{
    const qw_out_tensor *o = &t->w->plan->outputs[i_output];
    void *bytes = qw_mem_alloc(n * sizeof *x);
    if (!bytes) return qw_fail_memory(err, n * sizeof *x, o->t.name);
    qw_tensor_narrow(bytes, o->t.dtype, x, n);
    qw_status st = qw_quant_output_write(t->w->output, i_output, 0, bytes, o->t.size, err);
    qw_mem_free(bytes);
    return st;
}

static qw_status write_ones(unit *t, const qw_quant_item *it, qw_error *err)
{
    float *ones = qw_mem_array(it->in, sizeof *ones);
    if (!ones) return qw_fail_memory(err, it->in * sizeof *ones, "a norm's weight");
    for (size_t k = 0; k < it->in; k++) ones[k] = 1.0f;
    qw_status st = write_floats(t, it->first, ones, it->in, err);
    qw_mem_free(ones);
    return st;
}

static bool is_norm(qw_role r)
{
    return r == QW_ROLE_INPUT_NORM || r == QW_ROLE_POST_NORM || r == QW_ROLE_FINAL_NORM;
}

// A Linear's bias after the factors and rotations of its rows; NULL and QW_OK: it has none.
static qw_status make_bias(const qw_quant_item *it, const qw_linear_job *j, float **out,
                           qw_error *err)
{
    *out = NULL;
    if (!it->bias) return QW_OK;
    float *b = qw_mem_array(3 * it->out, sizeof *b); // and scratch
    if (!b) return qw_fail_memory(err, it->out * sizeof *b, "a bias");
    qw_tensor_widen(b, it->bias, 0, it->out);
    for (size_t r = 0; j->row_factor && r < it->out; r++) b[r] *= j->row_factor[r];
    for (size_t r = 0; j->out_rotation && r < it->out; r += j->out_rotation->n)
        qw_rotation_apply(j->out_rotation, b + r, b + it->out);
    *out = b;
    return QW_OK;
}

static qw_status run_float(unit *t, const qw_quant_item *it, qw_error *err)
{
    qw_quant_work *w = t->w;
    size_t weight = it->first;
    if (w->plan->is_rotated && is_norm(it->role)) return write_ones(t, it, err);
    if (it->role == QW_ROLE_INPUT_NORM && t->f.norms[0])
        return write_floats(t, weight, t->f.norms[0], it->in, err);
    if (it->role == QW_ROLE_POST_NORM && t->f.norms[1])
        return write_floats(t, weight, t->f.norms[1], it->in, err);
    qw_linear_job j = make_job(t, it);
    float *bias;
    qw_status st = make_bias(it, &j, &bias, err);
    if (st == QW_OK && bias)
        st = write_floats(t, qw_quant_plan_output(it, QW_OUT_BIAS), bias, it->out, err);
    qw_mem_free(bias);
    if (st != QW_OK) return st;
    if (!j.col_factor && !j.row_factor && !j.in_rotation && !j.out_rotation)
        return qw_quant_output_write(w->output, weight, 0, it->source->data, it->source->size, err);
    sink_target sink = {w->output, weight};
    return qw_linear_job_run(&j, w->pool, NULL, write_weight, &sink, err);
}

// FlatQuant

// Squared error of four-bit activations clipped to `clip` of their range, over the rows kept.
static double clip_error(const float *x, size_t n_rows, size_t n, float clip, int8_t *q)
{
    double total = 0;
    for (size_t r = 0; r < n_rows; r++) {
        const float *row = x + r * n;
        float scale = qw_row_amax(row, n) * clip / 7.0f;
        if (!(scale > 0)) continue;
        qw_row_round(q, row, n, scale, 4);
        for (size_t k = 0; k < n; k++) {
            double d = (double)(row[k] - scale * (float)q[k]);
            total += d * d;
        }
    }
    return total;
}

static qw_status find_clip(unit *t, qw_tap_point point, const qw_rotation *rotation, qw_error *err)
{
    t->clip[point] = 1.0f;
    const qw_input_range *in = t->ranges ? &t->ranges[point] : NULL;
    if (!in || !in->rows) return QW_OK;
    const float *columns = t->f.columns[point];
    float *x = qw_mem_array((in->n_rows + 2) * in->n, sizeof *x); // and scratch
    int8_t *q = qw_mem_alloc(in->n);
    qw_status st = QW_OK;
    if (!x || !q) st = qw_fail_memory(err, in->n_rows * in->n * sizeof *x, "clip ratios");
    for (size_t r = 0; st == QW_OK && r < in->n_rows; r++) {
        float *row = x + r * in->n;
        memcpy(row, in->rows + r * in->n, in->n * sizeof *row);
        for (size_t k = 0; columns && k < in->n; k++) row[k] /= columns[k];
        qw_rotation_apply(rotation, row, x + in->n_rows * in->n);
    }
    double least = (double)INFINITY;
    for (int percent = 100; st == QW_OK && percent >= 50; percent -= 5) {
        double e = clip_error(x, in->n_rows, in->n, (float)percent / 100.0f, q);
        if (e >= least) continue;
        least = e;
        t->clip[point] = (float)percent / 100.0f;
    }
    qw_mem_free(q);
    qw_mem_free(x);
    return st;
}

static qw_status write_transform(unit *t, const qw_quant_item *it, const qw_hadamard *h,
                                 qw_out_kind kind, qw_error *err)
{
    float *m = qw_mem_array(h->n * h->n, sizeof *m);
    if (!m) return qw_fail_memory(err, h->n * h->n * sizeof *m, "a transform");
    qw_hadamard_fill(h, m);
    qw_status st = write_floats(t, qw_quant_plan_output(it, kind), m, h->n * h->n, err);
    qw_mem_free(m);
    return st;
}

static qw_status begin_flatquant(unit *t, const qw_quant_item *it, qw_rotation *r, qw_error *err)
{
    size_t left = 0, right = 0;
    qw_tap_point point = qw_role_point(it->role);
    if (!qw_kronecker_split(it->in, &left, &right))
        return qw_fail(err, QW_ERR_UNSUPPORTED, "'%s': %zu columns", it->name, it->in);
    qw_status st = qw_rotation_init_kronecker(r, left, right, err);
    if (st == QW_OK && t->clip[point] <= 0) st = find_clip(t, point, r, err);
    if (st == QW_OK) st = write_transform(t, it, &r->left, QW_OUT_LEFT, err);
    if (st == QW_OK) st = write_transform(t, it, &r->right, QW_OUT_RIGHT, err);
    if (st == QW_OK)
        st = write_floats(t, qw_quant_plan_output(it, QW_OUT_CLIP), &t->clip[point], 1, err);
    return st;
}

// Integers

static qw_status alloc_rows(const qw_linear_job *j, qw_linear_rows *rows, qw_error *err)
{
    size_t n_groups = j->group ? j->in / j->group : 0;
    rows->scale = qw_mem_array(j->out, sizeof *rows->scale);
    rows->sum = qw_mem_array(j->out, sizeof *rows->sum);
    rows->second = qw_mem_array(j->out * n_groups, sizeof *rows->second);
    rows->scale_bias = qw_mem_array(j->out * j->n_slices, sizeof *rows->scale_bias);
    if (!rows->scale || !rows->sum || !rows->second || !rows->scale_bias)
        return qw_fail_memory(err, j->out * (n_groups + 8) * sizeof(float), "scales");
    return QW_OK;
}

static void free_rows(qw_linear_rows *rows)
{
    qw_mem_free(rows->scale);
    qw_mem_free(rows->sum);
    qw_mem_free(rows->second);
    qw_mem_free(rows->scale_bias);
}

static qw_status write_static(unit *t, const qw_quant_item *it, const qw_linear_rows *rows,
                              const float *bias, qw_error *err)
{
    const qw_quant_plan *p = t->w->plan;
    qw_tap_point point = qw_role_point(it->role);
    const qw_input_range *in = t->ranges ? &t->ranges[point] : NULL;
    if (!in || !in->min)
        return qw_fail(err, QW_ERR_USAGE, "'%s': nothing is known about its input", it->name);
    const float *columns = t->f.columns[point];
    float min = 0, max = 0, scale;
    for (size_t k = 0; k < in->n; k++) {
        float c = columns ? columns[k] : 1.0f, a = in->min[k] / c, b = in->max[k] / c;
        min = fminf(min, fminf(a, b));
        max = fmaxf(max, fmaxf(a, b));
    }
    int offset;
    qw_static_range(&scale, &offset, min, max);
    float *deq = qw_mem_array(it->out, sizeof *deq);
    int32_t *fold = qw_mem_array(it->out, sizeof *fold);
    int64_t *bits = qw_mem_array(it->out, sizeof *bits);
    qw_status st = QW_OK;
    if (!deq || !fold || !bits) st = qw_fail_memory(err, it->out * 16, "scales");
    for (size_t r = 0; r < it->out && st == QW_OK; r++) {
        deq[r] = scale * rows->scale[r];
        fold[r] = qw_static_bias(rows->sum[r], offset, bias ? bias[r] : 0.0f, deq[r]);
        bits[r] = (int64_t)qw_f32_bits(deq[r]);
    }
    float z = (float)offset;
    if (st == QW_OK)
        st = write_floats(t, qw_quant_plan_output(it, QW_OUT_INPUT_SCALE), &scale, 1, err);
    if (st == QW_OK)
        st = write_floats(t, qw_quant_plan_output(it, QW_OUT_INPUT_OFFSET), &z, 1, err);
    if (st == QW_OK) {
        size_t i = qw_quant_plan_output(it, QW_OUT_DEQ_SCALE);
        const void *data = p->outputs[i].t.dtype == QW_DTYPE_I64 ? (const void *)bits : deq;
        st = qw_quant_output_write(t->w->output, i, 0, data, p->outputs[i].t.size, err);
    }
    if (st == QW_OK)
        st = qw_quant_output_write(t->w->output, qw_quant_plan_output(it, QW_OUT_QUANT_BIAS), 0,
                                   fold, it->out * sizeof *fold, err);
    qw_mem_free(bits);
    qw_mem_free(fold);
    qw_mem_free(deq);
    return st;
}

static qw_status write_rows(unit *t, const qw_quant_item *it, const qw_linear_job *j,
                            const qw_linear_rows *rows, const float *bias, qw_error *err)
{
    const struct {
        qw_out_kind kind;
        const float *x;
        size_t n;
    } parts[] = {
        {QW_OUT_SCALE, rows->scale, it->out},
        {QW_OUT_SECOND, rows->second, j->group ? it->out * (it->in / j->group) : 0},
        {QW_OUT_SCALE_BIAS, rows->scale_bias, it->out * j->n_slices},
        {QW_OUT_BIAS, bias, it->out},
    };
    qw_status st = QW_OK;
    for (size_t i = 0; i < QW_ARRAY_LEN(parts) && st == QW_OK; i++)
        if (qw_quant_item_has(it, parts[i].kind))
            st = write_floats(t, qw_quant_plan_output(it, parts[i].kind), parts[i].x, parts[i].n,
                              err);
    if (st == QW_OK && qw_target_is_static(it->target)) st = write_static(t, it, rows, bias, err);
    return st;
}

static qw_status run_linear(unit *t, const qw_quant_item *it, qw_error *err)
{
    qw_quant_work *w = t->w;
    qw_linear_job j = make_job(t, it);
    qw_linear_rows rows = {0};
    qw_rotation flat = {0};
    float *bias = NULL;
    qw_status st = QW_OK;
    if (it->target == QW_TARGET_FLATQUANT) {
        st = begin_flatquant(t, it, &flat, err);
        j.in_rotation = &flat;
    }
    if (st == QW_OK) st = alloc_rows(&j, &rows, err);
    if (st == QW_OK) st = make_bias(it, &j, &bias, err);
    sink_target sink = {w->output, qw_quant_plan_output(it, QW_OUT_WEIGHT)};
    if (st == QW_OK) st = qw_linear_job_run(&j, w->pool, &rows, write_weight, &sink, err);
    if (st == QW_OK) st = write_rows(t, it, &j, &rows, bias, err);
    qw_mem_free(bias);
    free_rows(&rows);
    qw_rotation_release(&flat);
    return st;
}

// What was read of the mapped source is not needed again: it should not count as this program's.
static void let_go(const qw_stored_tensor *t)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)t->data;
    uintptr_t end = (begin + t->size) / page * page;
    begin = (begin + page - 1) / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

qw_status qw_quant_unit_run(qw_quant_work *w, size_t u, qw_error *err)
{
    const qw_quant_plan *p = w->plan;
    unit t = {.w = w};
    qw_status st = find_factors(&t, u, err);
    for (size_t i = p->unit_first[u]; i < p->unit_first[u + 1] && st == QW_OK; i++) {
        const qw_quant_item *it = &p->items[i];
        st = it->target == QW_TARGET_FLOAT ? run_float(&t, it, err) : run_linear(&t, it, err);
        let_go(it->source);
    }
    qw_mem_free(t.head);
    qw_layer_factors_release(&t.f);
    return st;
}
