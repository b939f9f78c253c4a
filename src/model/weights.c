#include "model/weights.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "format/dummy_checkpoint.h"
#include "model/stored_linear.h"

void qw_weight_list_init(qw_weight_list *list)
{
    *list = (qw_weight_list){0};
    qw_arena_init(&list->names, 16384);
}

void qw_weight_list_release(qw_weight_list *list)
{
    qw_arena_release(&list->names);
    qw_mem_free(list->specs);
    *list = (qw_weight_list){0};
}

static void format_name(char out[256], const char *pattern, int layer)
{
    if (layer < 0) {
        snprintf(out, 256, "%s", pattern);
        return;
    }
    const char *hole = strstr(pattern, "%d");
    QW_ASSERT(hole);
    snprintf(out, 256, "%.*s%d%s", (int)(hole - pattern), pattern, layer, hole + 2);
}

char *qw_weight_name(qw_arena *arena, const char *pattern, int layer)
{
    char name[256];
    format_name(name, pattern, layer);
    return qw_arena_strndup(arena, name, strlen(name));
}

qw_status qw_weight_list_add(qw_weight_list *list, const char *pattern, int layer, int64_t rows,
                             int64_t cols, qw_error *err)
{
    if (list->n_specs == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64;
        qw_weight_spec *specs = qw_mem_realloc(list->specs, cap * sizeof *specs);
        if (!specs) return qw_fail_memory(err, cap * sizeof *specs, "the list of tensors");
        list->specs = specs;
        list->cap = cap;
    }
    const char *name = qw_weight_name(&list->names, pattern, layer);
    if (!name) return qw_fail_memory(err, strlen(pattern), "a tensor name");
    list->specs[list->n_specs++] = (qw_weight_spec){name, rows, cols};
    return QW_OK;
}

static qw_status check_tensor(const qw_weight_spec *spec, const qw_stored_tensor *t, qw_error *err)
{
    int rank = spec->cols ? 2 : 1;
    if (t->rank != (size_t)rank || t->shape[0] != (size_t)spec->rows ||
        (rank == 2 && t->shape[1] != (size_t)spec->cols)) {
        char have[128] = "";
        for (size_t i = 0, n = 0; i < t->rank && n < sizeof have - 24; i++)
            n += (size_t)snprintf(have + n, sizeof have - n, "%s%zu", i ? ", " : "", t->shape[i]);
        char want[64];
        if (rank == 2)
            snprintf(want, sizeof want, "%" PRId64 ", %" PRId64, spec->rows, spec->cols);
        else
            snprintf(want, sizeof want, "%" PRId64, spec->rows);
        return qw_fail(err, QW_ERR_FORMAT,
                       "tensor '%s' has shape [%s], but config.json asks for [%s]", spec->name,
                       have, want);
    }
    if (t->dtype != QW_DTYPE_BF16 && t->dtype != QW_DTYPE_F16 && t->dtype != QW_DTYPE_F32)
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "tensor '%s' has dtype %s; BF16, F16 and F32 weights can be run", spec->name,
                       qw_dtype_name(t->dtype));
    return QW_OK;
}

// True for a matrix that an ascend checkpoint may hold in any of its formats.
static bool is_linear(const qw_checkpoint *ck, const qw_weight_spec *spec)
{
    qw_str embedding = QW_STR("embed_tokens.weight");
    return ck->quant && spec->cols > 0 && !qw_str_ends_with(qw_str_of(spec->name), embedding);
}

static qw_status check_spec(const qw_weight_spec *spec, const qw_stored_tensor *t,
                            const qw_checkpoint *ck, qw_weight_check check, qw_error *err)
{
    if (!is_linear(ck, spec)) return check_tensor(spec, t, err);
    qw_stored_linear linear;
    qw_arena converted;
    qw_arena_init(&converted, 1 << 16);
    qw_value_check values = check == QW_CHECK_VALUES ? QW_VALUES_CHECKED : QW_VALUES_UNSEEN;
    qw_status st = qw_stored_linear_read(&linear, &converted, ck, spec->name, spec->rows,
                                         spec->cols, values, err);
    qw_arena_release(&converted);
    return st;
}

// All expected tensors, or a sentence with the first ten that are missing.
static qw_status check_expected(const qw_weight_list *list, const qw_checkpoint *checkpoint,
                                qw_weight_check check, qw_error *err)
{
    size_t n_missing = 0;
    qw_buf missing;
    qw_buf_init(&missing, 4096);
    qw_status st = QW_OK;
    for (size_t i = 0; i < list->n_specs && st == QW_OK; i++) {
        const qw_weight_spec *spec = &list->specs[i];
        const qw_stored_tensor *t = is_linear(checkpoint, spec)
                                        ? qw_stored_linear_weight(checkpoint, spec->name)
                                        : qw_checkpoint_find(checkpoint, spec->name);
        if (t)
            st = check_spec(spec, t, checkpoint, check, err);
        else if (n_missing++ < 10)
            qw_buf_printf(&missing, "%s'%s'", n_missing > 1 ? ", " : "", spec->name);
    }
    if (st == QW_OK) st = qw_buf_check(&missing, "the list of missing tensors", err);
    if (st == QW_OK && n_missing > 0)
        st = qw_fail(err, QW_ERR_FORMAT,
                     "%zu of %zu tensors are missing: %s%s; is this the whole "
                     "checkpoint, and is config.json its own?",
                     n_missing, list->n_specs, missing.data, n_missing > 10 ? ", ..." : "");
    qw_buf_release(&missing);
    return st;
}

// True if the tensor that `name` would be with `suffix` ("....weight") for its last part, or for
// its last two, is expected.
static bool is_owner_expected(const qw_map *expected, const char *name, const char *suffix,
                              int n_parts)
{
    size_t len = strlen(name);
    for (; n_parts > 0; n_parts--) {
        while (len > 0 && name[len - 1] != '.') len--;
        if (len == 0) return false;
        len--;
    }
    char owner[256];
    int n = snprintf(owner, sizeof owner, "%.*s%s", (int)len, name, suffix);
    return n < (int)sizeof owner && qw_map_get(expected, qw_str_of(owner), NULL);
}

// What may stand beside the weight of a Linear or of a norm. qw_stored_linear_read has looked at
// those that its type has.
static bool has_owner(const qw_map *expected, const char *name)
{
    static const char *const suffixes[] = {
        ".bias",       ".weight_scale",   ".weight_offset",        ".weight_scale_second",
        ".scale_bias", ".input_scale",    ".weight_offset_second", ".input_offset",
        ".quant_bias", ".deq_scale",      ".left_trans",           ".right_trans",
        ".clip_ratio", ".kv_cache_scale", ".kv_cache_offset",      ".weight_packed",
    };
    const char *last = strrchr(name, '.');
    for (size_t i = 0; last && i < QW_ARRAY_LEN(suffixes); i++)
        if (strcmp(last, suffixes[i]) == 0) return is_owner_expected(expected, name, ".weight", 1);
    // Old writers keep a norm twice: NORM.weight and NORM.module.weight.
    qw_str s = qw_str_of(name);
    return (qw_str_ends_with(s, QW_STR(".module.weight")) ||
            qw_str_ends_with(s, QW_STR(".module.bias"))) &&
           is_owner_expected(expected, name, ".weight", 2);
}

static qw_status refuse_online(const char *name, qw_error *err)
{
    static const char *const suffixes[] = {".heads_rotation", ".kronecker_rotation_m",
                                           ".kronecker_rotation_n"};
    for (size_t i = 0; i < QW_ARRAY_LEN(suffixes); i++)
        if (qw_str_ends_with(qw_str_of(name), qw_str_of(suffixes[i])))
            return qw_fail(err, QW_ERR_UNSUPPORTED,
                           "tensor '%.200s': online rotation is not supported", name);
    if (qw_str_ends_with(qw_str_of(name), QW_STR(".div.mul_scale")))
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "tensor '%.200s': smoothing that is not folded into the layer before is not "
                       "supported",
                       name);
    return QW_OK;
}

// A tensor that no rule of the model asks for.
static qw_status check_other(const char *name, const qw_map *expected, const qw_checkpoint *ck,
                             qw_weight_check check, qw_error *err)
{
    if (ck->quant) {
        qw_status st = refuse_online(name, err);
        if (st != QW_OK || has_owner(expected, name)) return st;
        if (!qw_str_ends_with(qw_str_of(name), QW_STR(".weight"))) {
            if (check == QW_CHECK_VALUES)
                QW_LOG(QW_LOG_WARN, "weights", "tensor '%s' is not used", name);
            return QW_OK;
        }
    }
    return qw_fail(err, QW_ERR_UNSUPPORTED,
                   "tensor '%s' has no place in this model; a weight that is left out would "
                   "change the answers",
                   name);
}

qw_status qw_weight_list_check(const qw_weight_list *list, const qw_checkpoint *checkpoint,
                               bool (*may_skip)(const char *name, const void *ctx), const void *ctx,
                               qw_weight_check check, qw_error *err)
{
    qw_status st = check_expected(list, checkpoint, check, err);
    if (st != QW_OK) return st;
    qw_map expected;
    qw_map_init(&expected);
    for (size_t i = 0; i < list->n_specs && st == QW_OK; i++)
        st = qw_map_put(&expected, qw_str_of(list->specs[i].name), 0, NULL, err);
    for (size_t i = 0; i < checkpoint->n_tensors && st == QW_OK; i++) {
        const qw_stored_tensor *t = checkpoint->tensors[i];
        if (!qw_map_get(&expected, qw_str_of(t->name), NULL) && !may_skip(t->name, ctx))
            st = check_other(t->name, &expected, checkpoint, check, err);
    }
    qw_map_release(&expected);
    return st;
}

qw_status qw_weight_list_make_up(const qw_weight_list *list, qw_checkpoint *out,
                                 const qw_dummy_scheme *scheme, uint64_t seed, qw_error *err)
{
    qw_status st = QW_OK;
    qw_dummy_shape *shapes = qw_mem_array(list->n_specs, sizeof *shapes);
    if (!shapes) return qw_fail_memory(err, list->n_specs * sizeof *shapes, "the list of tensors");
    for (size_t i = 0; i < list->n_specs && st == QW_OK; i++) {
        const qw_weight_spec *s = &list->specs[i];
        shapes[i] = (qw_dummy_shape){.name = s->name,
                                     .rows = (size_t)s->rows,
                                     .cols = (size_t)s->cols,
                                     .type = qw_dummy_scheme_type(scheme, s->name)};
        if (shapes[i].type == QW_QUANT_FLOAT || scheme->group == 0) continue;
        shapes[i].group = scheme->group;
        if (s->cols % scheme->group != 0)
            st = qw_fail(err, QW_ERR_UNSUPPORTED,
                         "%s: groups of %d inputs do not divide the %" PRId64 " of '%.200s'",
                         scheme->name, scheme->group, s->cols, s->name);
    }
    if (st == QW_OK) st = qw_dummy_checkpoint_open(out, shapes, list->n_specs, seed, err);
    qw_mem_free(shapes);
    return st;
}

static const qw_stored_tensor *find(const qw_checkpoint *checkpoint, const char *pattern, int layer)
{
    char name[256];
    format_name(name, pattern, layer);
    const qw_stored_tensor *t = qw_checkpoint_find(checkpoint, name);
    QW_ASSERT(t); // qw_weight_list_check has seen it
    return t;
}

const qw_stored_tensor *qw_weight_sibling(char name[256], const qw_checkpoint *checkpoint,
                                          const char *pattern, int layer, const char *last)
{
    char own[256];
    format_name(own, pattern, layer);
    char *dot = strrchr(own, '.');
    QW_ASSERT(dot);
    *dot = '\0';
    if (snprintf(name, 256, "%s.%s", own, last) >= 256) return NULL;
    return qw_checkpoint_find(checkpoint, name);
}

bool qw_weight_is_zero(const qw_stored_tensor *t)
{
    bool floats = t->dtype == QW_DTYPE_F32 || t->dtype == QW_DTYPE_F16 || t->dtype == QW_DTYPE_BF16;
    size_t step = (size_t)qw_dtype_bits(t->dtype) / 8;
    for (size_t i = 0; i < t->size; i++) {
        uint8_t byte = t->data[i];
        if (floats && i % step == step - 1) byte &= 0x7F; // the sign of -0
        if (byte != 0) return false;
    }
    return true;
}

static void dummy_row(const void *ctx, void *out, size_t row, size_t first_col, size_t n_cols)
{
    qw_dummy_tensor_row(ctx, out, row, first_col, n_cols);
}

qw_host_matrix qw_weight_matrix(const qw_checkpoint *checkpoint, const qw_stored_tensor *t)
{
    const qw_dummy_tensor *dummy = qw_dummy_tensor_of(checkpoint, t);
    bool vector = t->rank == 1;
    return (qw_host_matrix){.data = t->data,
                            .dtype = t->dtype,
                            .rows = vector ? 1 : (int)t->shape[0],
                            .cols = (int)t->shape[vector ? 0 : 1],
                            .is_file = dummy == NULL,
                            .row = dummy ? dummy_row : NULL,
                            .row_ctx = dummy};
}

qw_host_matrix qw_weight_view(const qw_checkpoint *checkpoint, const char *pattern, int layer)
{
    return qw_weight_matrix(checkpoint, find(checkpoint, pattern, layer));
}

void qw_weight_widen(float *out, const qw_checkpoint *checkpoint, const char *pattern, int layer)
{
    qw_host_matrix m = qw_weight_view(checkpoint, pattern, layer);
    for (int i = 0; i < m.cols; i++) out[i] = qw_host_matrix_at(&m, 0, (size_t)i);
}
