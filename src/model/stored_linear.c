#include "model/stored_linear.h"

#include <math.h>

#include "base/log.h"
#include "base/str.h"
#include "model/weights.h"

typedef struct reader {
    const qw_checkpoint *ck;
    qw_arena *arena;
    char base[224]; /* the Linear's name, to which ".weight" and the others are added */
    const qw_stored_tensor *weight;
    int rows, cols;
    qw_value_check values;
    qw_stored_linear *out;
    qw_error *err;
} reader;

// ---- names ----

// `name` without its last ".weight", with `suffix` instead.
static bool other_name(char out[256], const char *name, const char *suffix)
{
    qw_str s = qw_str_of(name), weight = QW_STR(".weight"), packed = QW_STR("_packed");
    if (qw_str_ends_with(s, packed)) s.len -= packed.len;
    if (qw_str_ends_with(s, weight)) s.len -= weight.len;
    return snprintf(out, 256, "%.*s%s", (int)s.len, s.ptr, suffix) < 256;
}

const qw_stored_tensor *qw_stored_linear_weight(const qw_checkpoint *ck, const char *name)
{
    static const char *const spellings[] = {".weight", ".weight_packed", ".linear.weight"};
    const qw_stored_tensor *t = NULL;
    for (size_t i = 0; i < QW_ARRAY_LEN(spellings) && !t; i++) {
        char spelt[256];
        if (i > 0 && !ck->quant) break;
        if (other_name(spelt, name, spellings[i])) t = qw_checkpoint_find(ck, spelt);
    }
    return t;
}

void qw_stored_linear_shape(int64_t *rows, int64_t *cols, const qw_checkpoint *ck,
                            const qw_stored_tensor *weight)
{
    *rows = weight->rank > 0 ? (int64_t)weight->shape[0] : 0;
    *cols = weight->rank > 1 ? (int64_t)weight->shape[1] : 0;
    if (!ck->quant || weight->dtype != QW_DTYPE_I8) return;
    const qw_quant_entry *e = qw_quant_description_entry(ck->quant, weight->name);
    char name[256];
    if (!e || e->type != QW_QUANT_W4A8_DYNAMIC || !other_name(name, weight->name, ".weight_scale"))
        return;
    const qw_stored_tensor *t = qw_checkpoint_find(ck, name);
    if (t && t->rank > 0 && t->shape[0] == 2 * weight->shape[0]) *rows *= 2;
}

static const qw_stored_tensor *find(const reader *r, const char *suffix)
{
    char name[256];
    snprintf(name, sizeof name, "%s%s", r->base, suffix);
    return qw_checkpoint_find(r->ck, name);
}

// ---- shapes ----

static void print_shape(char out[96], const qw_stored_tensor *t)
{
    size_t n = (size_t)snprintf(out, 96, "[");
    for (size_t i = 0; i < t->rank && n < 64; i++)
        n += (size_t)snprintf(out + n, 96 - n, "%s%zu", i ? ", " : "", t->shape[i]);
    snprintf(out + n, 96 - n, "]");
}

static qw_status fail_shape(const reader *r, const qw_stored_tensor *t, const char *want)
{
    char have[96];
    print_shape(have, t);
    return qw_fail(r->err, QW_ERR_FORMAT, "tensor '%.200s' has shape %s, but %s needs %s", t->name,
                   have, qw_quant_type_name(r->out->type), want);
}

static qw_status fail_dtype(const reader *r, const qw_stored_tensor *t, const char *want)
{
    return qw_fail(r->err, QW_ERR_FORMAT, "tensor '%.200s' has dtype %s, but %s needs %s", t->name,
                   qw_dtype_name(t->dtype), qw_quant_type_name(r->out->type), want);
}

static qw_status fail_missing(const reader *r, const char *suffix)
{
    return qw_fail(r->err, QW_ERR_FORMAT,
                   "tensor '%.200s%s' is missing; '%.200s' is stored as %s, which needs it",
                   r->base, suffix, r->weight->name, qw_quant_type_name(r->out->type));
}

static bool is_float(qw_dtype t)
{
    return t == QW_DTYPE_F32 || t == QW_DTYPE_F16 || t == QW_DTYPE_BF16;
}

static qw_host_matrix view(const qw_stored_tensor *t, int rows, int cols)
{
    return (qw_host_matrix){.data = t->data, .dtype = t->dtype, .rows = rows, .cols = cols};
}

static bool has_elements(const qw_stored_tensor *t, int64_t n)
{
    size_t have = 1;
    for (size_t i = 0; i < t->rank; i++)
        if (!qw_mul_size(&have, have, t->shape[i])) return false;
    return have == (size_t)n;
}

static bool is_shape(const qw_stored_tensor *t, int64_t rows, int64_t cols)
{
    return t->rank == 2 && t->shape[0] == (size_t)rows && t->shape[1] == (size_t)cols;
}

// A float vector of n elements, whatever ones stand in its shape. Unset when it is not there.
static qw_status read_vector(const reader *r, qw_host_matrix *out, const char *suffix, int n)
{
    const qw_stored_tensor *t = find(r, suffix);
    *out = (qw_host_matrix){0};
    if (!t) return QW_OK;
    if (!is_float(t->dtype)) return fail_dtype(r, t, "BF16, F16 or F32");
    if (!has_elements(t, n)) {
        char want[48];
        snprintf(want, sizeof want, "%d element%s", n, n == 1 ? "" : "s");
        return fail_shape(r, t, want);
    }
    *out = view(t, 1, n);
    return QW_OK;
}

static qw_status need_vector(const reader *r, qw_host_matrix *out, const char *suffix, int n)
{
    qw_status st = read_vector(r, out, suffix, n);
    return st == QW_OK && !qw_host_matrix_is_set(out) ? fail_missing(r, suffix) : st;
}

// ---- values ----

static qw_status check_positive(const reader *r, const qw_host_matrix *m, const char *suffix)
{
    for (int i = 0; i < m->rows; i++) {
        for (int k = 0; k < m->cols; k++) {
            float x = qw_host_matrix_at(m, (size_t)i, (size_t)k);
            if (isfinite(x) && x > 0) continue;
            return qw_fail(
                r->err, QW_ERR_FORMAT,
                "tensor '%.200s%s' holds %g in row %d; scales must be finite and above 0", r->base,
                suffix, (double)x, m->rows == 1 ? k : i);
        }
    }
    return QW_OK;
}

// All weights are symmetric; integer kernels never look at an offset (quantization.md 3.8).
static qw_status check_offset(const reader *r, const char *suffix)
{
    const qw_stored_tensor *t = find(r, suffix);
    if (!t || r->values == QW_VALUES_UNSEEN || qw_weight_is_zero(t)) return QW_OK;
    return qw_fail(r->err, QW_ERR_UNSUPPORTED,
                   "tensor '%.200s%s' is not all 0; asymmetric weights are not supported", r->base,
                   suffix);
}

// ---- the weight ----

static qw_status read_type(reader *r)
{
    const qw_quant_entry *e = qw_quant_description_entry(r->ck->quant, r->weight->name);
    if (!e) {
        if (is_float(r->weight->dtype)) return QW_OK;
        return qw_fail(r->err, QW_ERR_FORMAT,
                       "the quantization description has no entry for tensor '%.200s', whose dtype "
                       "is %s",
                       r->weight->name, qw_dtype_name(r->weight->dtype));
    }
    r->out->type = e->type;
    if (e->type == QW_QUANT_OTHER || e->type == QW_QUANT_C8 || e->type == QW_QUANT_W4A16)
        return qw_fail(r->err, QW_ERR_UNSUPPORTED,
                       "tensor '%.200s' is stored as '%.60s', which is not supported; FLOAT, W8A8, "
                       "W8A8_DYNAMIC, W8A8_MIX, W8A16, W4A8_DYNAMIC, W4A4_DYNAMIC and "
                       "W4A4_FLATQUANT_DYNAMIC are",
                       r->weight->name, e->text);
    return QW_OK;
}

static bool has_4_bits(qw_quant_type t)
{
    return t == QW_QUANT_W4A8_DYNAMIC || t == QW_QUANT_W4A4_DYNAMIC ||
           t == QW_QUANT_W4A4_FLATQUANT_DYNAMIC;
}

static qw_status read_weight(reader *r)
{
    qw_stored_linear *o = r->out;
    const qw_stored_tensor *t = r->weight;
    char want[64];
    if (o->type != QW_QUANT_FLOAT && t->dtype != QW_DTYPE_I8)
        return qw_fail(r->err, QW_ERR_FORMAT,
                       "tensor '%.200s' is %s in the quantization description, but its dtype is %s "
                       "and not I8",
                       t->name, qw_quant_type_name(o->type), qw_dtype_name(t->dtype));
    if (o->type == QW_QUANT_FLOAT && !is_float(t->dtype))
        return fail_dtype(r, t, "BF16, F16 or F32");
    o->weight = qw_weight_matrix(r->ck, t);
    o->weight.rows = r->rows;
    o->weight.cols = r->cols;
    o->narrow = has_4_bits(o->type);
    if (is_shape(t, r->rows, r->cols)) return QW_OK;
    if (o->type == QW_QUANT_W4A8_DYNAMIC && r->rows % 2 == 0 &&
        is_shape(t, r->rows / 2, r->cols)) { // two rows a byte
        o->weight.dtype = QW_DTYPE_I4;
        o->narrow = false;
        return QW_OK;
    }
    snprintf(want, sizeof want, "[%d, %d]%s", r->rows, r->cols,
             o->type == QW_QUANT_W4A8_DYNAMIC ? ", or half the rows" : "");
    return fail_shape(r, t, want);
}

// ---- scales ----

// A matrix of scales with one row for each output: its groups.
static qw_status read_group_scales(const reader *r, const char *suffix)
{
    const qw_stored_tensor *t = find(r, suffix);
    if (!t) return fail_missing(r, suffix);
    if (!is_float(t->dtype)) return fail_dtype(r, t, "BF16, F16 or F32");
    size_t n = t->rank == 2 ? t->shape[1] : 0;
    if (t->rank != 2 || t->shape[0] != (size_t)r->rows || n == 0 || (size_t)r->cols % n != 0) {
        char want[96];
        snprintf(want, sizeof want, "[%d, G] with G groups that divide %d", r->rows, r->cols);
        return fail_shape(r, t, want);
    }
    qw_stored_linear *o = r->out;
    o->group = (int)((size_t)r->cols / n);
    o->group_scales = view(t, r->rows, (int)n);
    int64_t described = r->ck->quant->group_size;
    if (described > 0 && described != o->group)
        return qw_fail(
            r->err, QW_ERR_FORMAT,
            "tensor '%.200s%s' has groups of %d inputs, but the quantization description "
            "says group_size %" PRId64,
            r->base, suffix, o->group, described);
    if (o->group % 8 != 0)
        return qw_fail(r->err, QW_ERR_UNSUPPORTED,
                       "tensor '%.200s%s' has groups of %d inputs; multiples of 8 are supported",
                       r->base, suffix, o->group);
    if (r->values == QW_VALUES_UNSEEN) return QW_OK;
    return check_positive(r, &o->group_scales, suffix);
}

// weight_scale, a scale for each output or for each group of its inputs, and weight_scale_second.
static qw_status read_weight_scales(const reader *r)
{
    qw_stored_linear *o = r->out;
    const qw_stored_tensor *t = find(r, ".weight_scale");
    if (!t) return fail_missing(r, ".weight_scale");
    qw_status st;
    if (has_elements(t, r->rows)) {
        st = need_vector(r, &o->scales, ".weight_scale", r->rows);
        if (st == QW_OK && r->values != QW_VALUES_UNSEEN)
            st = check_positive(r, &o->scales, ".weight_scale");
        if (st == QW_OK && o->type == QW_QUANT_W4A8_DYNAMIC && find(r, ".weight_scale_second"))
            st = read_group_scales(r, ".weight_scale_second");
    } else {
        st = read_group_scales(r, ".weight_scale");
    }
    if (st == QW_OK) st = check_offset(r, ".weight_offset");
    return st == QW_OK ? check_offset(r, ".weight_offset_second") : st;
}

static qw_status read_scalar(const reader *r, float *out, const char *suffix)
{
    qw_host_matrix m;
    const qw_stored_tensor *t = find(r, suffix);
    if (t && t->dtype == QW_DTYPE_I8 && has_elements(t, 1)) { // an input_offset
        *out = (float)(int8_t)t->data[0];
        return QW_OK;
    }
    qw_status st = need_vector(r, &m, suffix, 1);
    if (st == QW_OK) *out = qw_host_matrix_at(&m, 0, 0);
    return st;
}

static qw_status read_input_scale(const reader *r)
{
    qw_input_scheme *in = &r->out->input;
    qw_status st = read_scalar(r, &in->scale, ".input_scale");
    if (st == QW_OK) st = read_scalar(r, &in->offset, ".input_offset");
    if (st != QW_OK) return st;
    if (!isfinite(in->scale) || in->scale <= 0)
        return qw_fail(r->err, QW_ERR_FORMAT,
                       "tensor '%.200s.input_scale' holds %g; scales must be finite and above 0",
                       r->base, (double)in->scale);
    if (!(in->offset >= -128 && in->offset <= 127) || in->offset != rintf(in->offset))
        return qw_fail(r->err, QW_ERR_FORMAT,
                       "tensor '%.200s.input_offset' holds %g; a whole number from -128 to 127 is "
                       "needed",
                       r->base, (double)in->offset);
    in->kind = QW_INPUT_STATIC8;
    return QW_OK;
}

// deq_scale: fp32, or its 32 bits in an int64 (quantization.md 3.2).
static qw_status read_deq_scale(const reader *r)
{
    qw_host_matrix *m = &r->out->scales;
    const qw_stored_tensor *t = find(r, ".deq_scale");
    if (!t || t->dtype != QW_DTYPE_I64) {
        qw_status st = need_vector(r, m, ".deq_scale", r->rows);
        if (st != QW_OK) return st;
    } else {
        if (!has_elements(t, r->rows)) {
            char want[48];
            snprintf(want, sizeof want, "%d elements", r->rows);
            return fail_shape(r, t, want);
        }
        float *scales = qw_arena_array(r->arena, (size_t)r->rows, sizeof *scales);
        if (!scales) return qw_fail_memory(r->err, (size_t)r->rows * sizeof *scales, "scales");
        for (size_t i = 0; i < (size_t)r->rows; i++) memcpy(&scales[i], t->data + 8 * i, 4);
        *m = (qw_host_matrix){.data = scales, .dtype = QW_DTYPE_F32, .rows = 1, .cols = r->rows};
    }
    return r->values == QW_VALUES_UNSEEN ? QW_OK : check_positive(r, m, ".deq_scale");
}

// deq_scale is what counts; where the factors are there too, they should make it up.
static void compare_deq_scale(const reader *r)
{
    const qw_stored_linear *o = r->out;
    const qw_stored_tensor *t = find(r, ".weight_scale");
    if (r->values == QW_VALUES_UNSEEN || !t || !is_float(t->dtype) || !has_elements(t, r->rows))
        return;
    qw_host_matrix ws = view(t, 1, r->rows);
    for (size_t i = 0; i < (size_t)r->rows; i++) {
        float product = o->input.scale * qw_host_matrix_at(&ws, 0, i);
        float deq = qw_host_matrix_at(&o->scales, 0, i);
        if (fabsf(deq - product) <= deq / 64) continue;
        QW_LOG(QW_LOG_WARN, "weights",
               "tensor '%s.deq_scale' holds %g in row %zu, but input_scale times weight_scale is "
               "%g; deq_scale counts",
               r->base, (double)deq, i, (double)product);
        return;
    }
}

static qw_status read_static(const reader *r)
{
    qw_stored_linear *o = r->out;
    qw_status st = read_input_scale(r);
    if (st == QW_OK) st = read_deq_scale(r);
    if (st == QW_OK) st = check_offset(r, ".weight_offset");
    if (st != QW_OK) return st;
    const qw_stored_tensor *t = find(r, ".quant_bias");
    if (!t) return fail_missing(r, ".quant_bias");
    if (t->dtype != QW_DTYPE_I32) return fail_dtype(r, t, "I32");
    if (!has_elements(t, r->rows)) {
        char want[48];
        snprintf(want, sizeof want, "%d elements", r->rows);
        return fail_shape(r, t, want);
    }
    o->static_bias = view(t, 1, r->rows);
    compare_deq_scale(r);
    return QW_OK;
}

// ---- FlatQuant ----

static qw_status read_transform(const reader *r, qw_host_matrix *out, const char *suffix)
{
    const qw_stored_tensor *t = find(r, suffix);
    if (!t) return QW_OK;
    if (!is_float(t->dtype)) return fail_dtype(r, t, "BF16, F16 or F32");
    if (t->rank != 2 || t->shape[0] != t->shape[1] || t->shape[0] < 1 ||
        t->shape[0] > (size_t)r->cols)
        return fail_shape(r, t, "a square matrix");
    int n = (int)t->shape[0];
    *out = view(t, n, n);
    for (int i = 0; i < n && r->values != QW_VALUES_UNSEEN; i++) {
        bool is_zero = true;
        for (int k = 0; k < n; k++) {
            float x = qw_host_matrix_at(out, (size_t)i, (size_t)k);
            if (!isfinite(x))
                return qw_fail(r->err, QW_ERR_FORMAT, "tensor '%.200s%s' holds %g in row %d",
                               r->base, suffix, (double)x, i);
            if (x != 0) is_zero = false;
        }
        if (is_zero)
            return qw_fail(r->err, QW_ERR_FORMAT,
                           "tensor '%.200s%s' is all 0 in row %d; a transform must be invertible",
                           r->base, suffix, i);
    }
    return QW_OK;
}

static qw_status read_flat(const reader *r)
{
    qw_stored_linear *o = r->out;
    qw_input_scheme *in = &o->input;
    qw_status st = read_transform(r, &o->left, ".left_trans");
    if (st == QW_OK) st = read_transform(r, &o->right, ".right_trans");
    if (st == QW_OK && !qw_host_matrix_is_set(&o->left)) st = fail_missing(r, ".left_trans");
    if (st == QW_OK) st = read_scalar(r, &in->clip_ratio, ".clip_ratio");
    if (st != QW_OK) return st;
    in->kind = QW_INPUT_FLAT4;
    in->has_right = qw_host_matrix_is_set(&o->right);
    in->left = o->left.rows;
    in->right = in->has_right ? o->right.rows : r->cols / in->left;
    if ((int64_t)in->left * in->right != r->cols)
        return qw_fail(r->err, QW_ERR_FORMAT,
                       "the transforms of '%.200s' are %d x %d and %d x %d, whose product is not "
                       "its %d inputs",
                       r->base, in->left, in->left, in->right, in->right, r->cols);
    if (!(in->clip_ratio > 0 && in->clip_ratio <= 1))
        return qw_fail(r->err, QW_ERR_FORMAT,
                       "tensor '%.200s.clip_ratio' holds %g; it must be above 0 and at most 1",
                       r->base, (double)in->clip_ratio);
    return QW_OK;
}

// ---- scale_bias, a checksum ----

static int int4_at(const reader *r, size_t row, size_t col)
{
    bool packed = r->out->weight.dtype == QW_DTYPE_I4;
    uint8_t byte = r->weight->data[(packed ? row / 2 : row) * (size_t)r->cols + col];
    if (!packed) return (int8_t)byte;
    int nibble = row % 2 ? byte >> 4 : byte & 15;
    return nibble < 8 ? nibble : nibble - 16;
}

// 8 times the sum of the weights (quantization.md 3.5), of the first two rows: another order of
// nibbles or rows is off by orders of magnitude. Sums of columns differ only in where they are cut.
static qw_status check_scale_bias(const reader *r)
{
    const qw_stored_linear *o = r->out;
    const qw_stored_tensor *t = find(r, ".scale_bias");
    if (!t || r->values == QW_VALUES_UNSEEN || !qw_host_matrix_is_set(&o->scales)) return QW_OK;
    if (!is_float(t->dtype)) return fail_dtype(r, t, "BF16, F16 or F32");
    size_t width = t->rank == 2 ? t->shape[1] : 1;
    if ((t->rank != 1 && t->rank != 2) || t->shape[0] != (size_t)r->rows || width == 0)
        return fail_shape(r, t, "a row for each output");
    qw_host_matrix stored = view(t, r->rows, (int)width);
    for (size_t i = 0; i < 2 && i < (size_t)r->rows; i++) {
        double sum = 0, magnitude = 0, have = 0, s1 = (double)qw_host_matrix_at(&o->scales, 0, i);
        for (size_t k = 0; k < (size_t)r->cols; k++) {
            double s2 = o->group > 0
                            ? (double)qw_host_matrix_at(&o->group_scales, i, k / (size_t)o->group)
                            : 1;
            double w = 8 * s1 * s2 * int4_at(r, i, k);
            sum += w;
            magnitude += fabs(w);
        }
        for (size_t k = 0; k < width; k++) have += (double)qw_host_matrix_at(&stored, i, k);
        if (fabs(have - sum) <= magnitude / 64) continue;
        return qw_fail(r->err, QW_ERR_FORMAT,
                       "tensor '%.150s.scale_bias' adds up to %g in row %zu, but the row's weights "
                       "to %g: their nibbles or rows are in another order, or the files do not "
                       "belong together",
                       r->base, have, i, sum);
    }
    return QW_OK;
}

// ---- the whole ----

static qw_status read_dynamic(const reader *r, qw_input_kind kind)
{
    r->out->input.kind = kind;
    return read_weight_scales(r);
}

static qw_status read_scheme(const reader *r)
{
    qw_status st;
    switch (r->out->type) {
    case QW_QUANT_FLOAT: return QW_OK;
    case QW_QUANT_W8A8: return read_static(r);
    case QW_QUANT_W8A16: return read_dynamic(r, QW_INPUT_FLOAT);
    case QW_QUANT_W4A8_DYNAMIC:
        st = read_dynamic(r, QW_INPUT_TOKEN8);
        return st == QW_OK ? check_scale_bias(r) : st;
    case QW_QUANT_W4A4_DYNAMIC: return read_dynamic(r, QW_INPUT_TOKEN4);
    case QW_QUANT_W4A4_FLATQUANT_DYNAMIC:
        st = read_flat(r);
        return st == QW_OK ? read_weight_scales(r) : st;
    default: return read_dynamic(r, QW_INPUT_TOKEN8); // W8A8_DYNAMIC, and W8A8_MIX as vLLM has it
    }
}

// Matrices that change what comes out and that the type does not have.
static qw_status refuse_others(const reader *r)
{
    static const struct {
        const char *suffix;
        qw_quant_type type;
    } owners[] = {{".left_trans", QW_QUANT_W4A4_FLATQUANT_DYNAMIC},
                  {".right_trans", QW_QUANT_W4A4_FLATQUANT_DYNAMIC},
                  {".weight_scale_second", QW_QUANT_W4A8_DYNAMIC}};
    for (size_t i = 0; i < QW_ARRAY_LEN(owners); i++) {
        if (r->out->type == owners[i].type || !find(r, owners[i].suffix)) continue;
        return qw_fail(r->err, QW_ERR_UNSUPPORTED,
                       "tensor '%.200s%s' belongs to %s, but '%.150s' is %s in the quantization "
                       "description",
                       r->base, owners[i].suffix, qw_quant_type_name(owners[i].type),
                       r->weight->name, qw_quant_type_name(r->out->type));
    }
    return QW_OK;
}

static qw_status read_quantized(reader *r)
{
    qw_stored_linear *o = r->out;
    qw_status st = read_type(r);
    if (st == QW_OK) st = read_weight(r);
    if (st == QW_OK) st = refuse_others(r);
    if (st == QW_OK) st = read_scheme(r);
    // A static Linear's bias is inside of quant_bias already.
    if (st == QW_OK && o->type != QW_QUANT_W8A8) st = read_vector(r, &o->bias, ".bias", r->rows);
    return st;
}

qw_status qw_stored_linear_read(qw_stored_linear *out, qw_arena *arena, const qw_checkpoint *ck,
                                const char *name, int64_t rows, int64_t cols, qw_value_check values,
                                qw_error *err)
{
    *out = (qw_stored_linear){.rows = (int)rows, .cols = (int)cols};
    reader r = {.ck = ck,
                .arena = arena,
                .weight = qw_stored_linear_weight(ck, name),
                .rows = (int)rows,
                .cols = (int)cols,
                .values = values,
                .out = out,
                .err = err};
    QW_ASSERT(r.weight);
    if (!ck->quant) {
        out->weight = qw_weight_view(ck, name, -1);
        return QW_OK;
    }
    qw_str base = qw_str_of(r.weight->name), packed = QW_STR("_packed"), weight = QW_STR(".weight");
    if (qw_str_ends_with(base, packed)) base.len -= packed.len;
    base.len -= weight.len;
    snprintf(r.base, sizeof r.base, "%.*s", (int)base.len, base.ptr);
    return read_quantized(&r);
}

static bool same_bytes(const qw_host_matrix *a, const qw_host_matrix *b)
{
    if (a->rows != b->rows || a->cols != b->cols || a->dtype != b->dtype) return false;
    size_t size = (size_t)a->rows * (size_t)a->cols * (size_t)qw_dtype_bits(a->dtype) / 8;
    return size == 0 || memcmp(a->data, b->data, size) == 0;
}

bool qw_stored_linear_fits(const qw_stored_linear *a, const qw_stored_linear *b)
{
    const qw_input_scheme *x = &a->input, *y = &b->input;
    bool a_float = a->type == QW_QUANT_FLOAT, b_float = b->type == QW_QUANT_FLOAT;
    if (a_float || b_float) return a_float && b_float;
    return a->weight.dtype == b->weight.dtype && a->narrow == b->narrow && a->group == b->group &&
           x->kind == y->kind && x->scale == y->scale && x->offset == y->offset &&
           x->clip_ratio == y->clip_ratio && same_bytes(&a->left, &b->left) &&
           same_bytes(&a->right, &b->right);
}
