#include "quant/smoothing.h"

#include <math.h>

#include "base/mem.h"

void qw_smooth_scales(float *s, const float *amax, const float *weight_amax, size_t n, double alpha)
{
    for (size_t k = 0; k < n; k++) {
        double m = weight_amax[k] > 1e-5f ? (double)weight_amax[k] : 1e-5;
        double v = pow((double)amax[k], alpha) / pow(m, 1 - alpha);
        s[k] = amax[k] > 0 ? (float)(v > 1e-5 ? v : 1e-5) : 1.0f;
    }
}

qw_tap_point qw_role_point(qw_role role)
{
    switch (role) {
    case QW_ROLE_Q:
    case QW_ROLE_K:
    case QW_ROLE_V: return QW_TAP_QKV;
    case QW_ROLE_O: return QW_TAP_O;
    case QW_ROLE_GATE:
    case QW_ROLE_UP:
    case QW_ROLE_ROUTER: return QW_TAP_GATE_UP;
    case QW_ROLE_DOWN: return QW_TAP_DOWN;
    default: return QW_N_TAP_POINTS;
    }
}

// One layer's work

typedef struct smoother {
    const qw_quant_plan *p;
    const qw_quant_item *first, *end; /* of the layer */
    const qw_input_range *ranges;
    double alpha;
    qw_thread_pool *pool;
    qw_layer_factors f;
} smoother;

static const qw_quant_item *find(const smoother *s, qw_role role)
{
    for (const qw_quant_item *it = s->first; it < s->end; it++)
        if (it->role == role) return it;
    return NULL;
}

static const float *row_factor(const smoother *s, qw_role role)
{
    if (role == QW_ROLE_V) return s->f.v_rows;
    return role == QW_ROLE_UP ? s->f.up_rows : NULL;
}

// Bits of the weights that read at `point` with quantized activations; 0: there are none.
static int consumer_bits(const smoother *s, qw_tap_point point)
{
    for (const qw_quant_item *it = s->first; it < s->end; it++)
        if (qw_role_is_linear(it->role) && qw_role_point(it->role) == point &&
            it->target != QW_TARGET_FLOAT && it->target != QW_TARGET_W8A16)
            return qw_target_bits(it->target);
    return 0;
}

// The scales of all Linears that read at `point`; NULL and QW_OK: nothing to do there.
static qw_status find_scales(const smoother *s, qw_tap_point point, float **out, qw_error *err)
{
    const qw_input_range *range = &s->ranges[point];
    int bits = consumer_bits(s, point);
    *out = NULL;
    if (bits == 0 || !range->min) return QW_OK;
    float *scales = qw_mem_calloc(range->n, sizeof *scales);
    float *amax = qw_mem_array(range->n, sizeof *amax);
    if (!scales || !amax) {
        qw_mem_free(amax);
        qw_mem_free(scales);
        return qw_fail_memory(err, range->n * sizeof *amax, "smoothing");
    }
    for (const qw_quant_item *it = s->first; it < s->end; it++)
        if (qw_role_point(it->role) == point)
            qw_column_amax(scales, it->source, it->out, it->in, row_factor(s, it->role), s->pool);
    for (size_t k = 0; k < range->n; k++) amax[k] = fmaxf(-range->min[k], range->max[k]);
    double alpha = s->alpha >= 0 ? s->alpha : bits == 8 ? 0.9 : 0.5;
    qw_smooth_scales(scales, amax, scales, range->n, alpha);
    qw_mem_free(amax);
    *out = scales;
    return QW_OK;
}

static qw_status invert(float **out, const float *s, size_t n, qw_error *err)
{
    float *inverse = qw_mem_array(n, sizeof *inverse);
    if (!inverse) return qw_fail_memory(err, n * sizeof *inverse, "smoothing");
    for (size_t k = 0; k < n; k++) inverse[k] = 1.0f / s[k];
    *out = inverse;
    return QW_OK;
}

// up's rows are silu(gate) * up, down's input, channel by channel.
static qw_status smooth_down(smoother *s, qw_error *err)
{
    const qw_quant_item *up = find(s, QW_ROLE_UP);
    if (!up || up->is_expert) return QW_OK;
    float **columns = &s->f.columns[QW_TAP_DOWN];
    qw_status st = find_scales(s, QW_TAP_DOWN, columns, err);
    return st == QW_OK && *columns ? invert(&s->f.up_rows, *columns, up->out, err) : st;
}

// A row of v feeds the same dimension of all query heads of its group: they share the mean.
static qw_status smooth_o(smoother *s, qw_error *err)
{
    const qw_model_config *c = s->p->config;
    size_t d = (size_t)c->head_dim, heads = (size_t)c->num_attention_heads;
    size_t kv_heads = (size_t)c->num_key_value_heads, group = heads / kv_heads;
    float **columns = &s->f.columns[QW_TAP_O];
    qw_status st = find_scales(s, QW_TAP_O, columns, err);
    if (st != QW_OK || !*columns) return st;
    float *o = *columns, *rows = qw_mem_array(kv_heads * d, sizeof *rows);
    if (!rows) return qw_fail_memory(err, kv_heads * d * sizeof *rows, "smoothing");
    for (size_t kv = 0; kv < kv_heads; kv++)
        for (size_t i = 0; i < d; i++) {
            float sum = 0;
            for (size_t g = 0; g < group; g++) sum += o[(kv * group + g) * d + i];
            float mean = sum / (float)group;
            for (size_t g = 0; g < group; g++) o[(kv * group + g) * d + i] = mean;
            rows[kv * d + i] = 1.0f / mean;
        }
    s->f.v_rows = rows;
    return QW_OK;
}

static float as_stored(float x, qw_dtype dtype)
{
    uint8_t bytes[4];
    qw_stored_tensor t = {.dtype = dtype, .data = bytes};
    qw_tensor_narrow(bytes, dtype, &x, 1);
    qw_tensor_widen(&x, &t, 0, 1);
    return x;
}

static qw_status smooth_norm(smoother *s, qw_tap_point point, qw_role role, float **norm,
                             qw_error *err)
{
    const qw_quant_item *it = find(s, role);
    float **columns = &s->f.columns[point];
    qw_status st = it ? find_scales(s, point, columns, err) : QW_OK;
    if (st != QW_OK || !it || !*columns) return st;
    float *weight = qw_mem_array(it->in, sizeof *weight);
    if (!weight) return qw_fail_memory(err, it->in * sizeof *weight, "smoothing");
    *norm = weight;
    qw_tensor_widen(weight, it->source, 0, it->in);
    for (size_t k = 0; k < it->in; k++) {
        float old = weight[k], new = as_stored(old / (*columns)[k], it->source->dtype);
        // Where the quotient cannot be stored the channel stays as it is.
        if (!isfinite(new) || (new == 0 && old != 0)) new = old;
        (*columns)[k] = new != 0 ? old / new : 1.0f;
        weight[k] = new;
    }
    return QW_OK;
}

qw_status qw_smooth_layer(qw_layer_factors *out, const qw_quant_plan *p, int layer,
                          const qw_calibration *calibration, double alpha, qw_thread_pool *pool,
                          qw_error *err)
{
    size_t unit = (size_t)layer + 1;
    smoother s = {.p = p,
                  .first = p->items + p->unit_first[unit],
                  .end = p->items + p->unit_first[unit + 1],
                  .ranges = calibration->ranges + (size_t)layer * QW_N_TAP_POINTS,
                  .alpha = alpha,
                  .pool = pool};
    qw_status st = smooth_down(&s, err);
    if (st == QW_OK) st = smooth_o(&s, err);
    if (st == QW_OK) st = smooth_norm(&s, QW_TAP_QKV, QW_ROLE_INPUT_NORM, &s.f.norms[0], err);
    if (st == QW_OK) st = smooth_norm(&s, QW_TAP_GATE_UP, QW_ROLE_POST_NORM, &s.f.norms[1], err);
    if (st == QW_OK)
        *out = s.f;
    else
        qw_layer_factors_release(&s.f);
    return st;
}

void qw_layer_factors_release(qw_layer_factors *f)
{
    for (int i = 0; i < QW_N_TAP_POINTS; i++) qw_mem_free(f->columns[i]);
    for (int i = 0; i < 2; i++) qw_mem_free(f->norms[i]);
    qw_mem_free(f->v_rows);
    qw_mem_free(f->up_rows);
    *f = (qw_layer_factors){0};
}
