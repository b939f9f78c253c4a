#include "quant/calibration.h"

#include <math.h>

enum { STEP_ROWS = 256, ROWS_PER_POINT = 128 };

void qw_calibration_release(qw_calibration *c)
{
    qw_arena_release(&c->arena);
    *c = (qw_calibration){0};
}

static size_t width_of(const qw_model_config *c, int point)
{
    if (point == QW_TAP_O) return (size_t)c->num_attention_heads * (size_t)c->head_dim;
    return (size_t)(point == QW_TAP_DOWN ? c->intermediate_size : c->hidden_size);
}

// Rows are kept where FlatQuant transforms: in front of q, k, v and of gate, up.
static bool keeps_rows(int point)
{
    return point == QW_TAP_QKV || point == QW_TAP_GATE_UP;
}

static qw_status alloc_ranges(qw_calibration *c, const qw_model_config *config, size_t n_rows,
                              qw_error *err)
{
    c->n_layers = config->num_hidden_layers;
    size_t n = (size_t)c->n_layers * QW_N_TAP_POINTS;
    qw_arena_init(&c->arena, (size_t)1 << 20);
    c->ranges = qw_arena_array(&c->arena, n, sizeof *c->ranges);
    bool ok = c->ranges != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        qw_input_range *r = &c->ranges[i];
        int point = (int)(i % QW_N_TAP_POINTS);
        r->n = width_of(config, point);
        r->min = qw_arena_array(&c->arena, r->n, sizeof *r->min);
        r->max = qw_arena_array(&c->arena, r->n, sizeof *r->max);
        ok = r->min && r->max;
        if (ok && n_rows > 0 && keeps_rows(point)) {
            r->rows = qw_arena_array(&c->arena, n_rows * r->n, sizeof *r->rows);
            ok = r->rows != NULL;
        }
    }
    if (ok) return QW_OK;
    qw_calibration_release(c);
    return qw_fail_memory(err, n * sizeof *c->ranges, "calibration");
}

// Running

typedef struct listener {
    qw_calibration *c;
    size_t n_keep;   /* rows kept at a point */
    size_t n_tokens; /* of all samples */
    size_t seen;     /* tokens of the steps before this one */
    bool is_bad;     /* an input was not finite */
} listener;

static void widen_range(qw_input_range *r, const float *x)
{
    for (size_t k = 0; k < r->n; k++) {
        r->min[k] = x[k] < r->min[k] ? x[k] : r->min[k];
        r->max[k] = x[k] > r->max[k] ? x[k] : r->max[k];
    }
}

static void listen(void *ctx, int i_layer, qw_tap_point point, const float *x, size_t stride,
                   int n_rows)
{
    listener *l = ctx;
    if (point >= QW_N_TAP_POINTS) return; // not a product's input
    qw_input_range *r = &l->c->ranges[(size_t)i_layer * QW_N_TAP_POINTS + point];
    for (size_t i = 0; i < (size_t)n_rows; i++) {
        const float *row = x + i * stride;
        float sum = 0;
        for (size_t k = 0; k < r->n; k++) sum += row[k] * 0; // NaN if one is not finite
        l->is_bad |= sum != 0;
        widen_range(r, row);
        // Token t is kept if it is the first of its n_tokens / n_keep.
        size_t t = l->seen + i, slot = t * l->n_keep / l->n_tokens;
        if (r->rows && slot == r->n_rows && r->n_rows < l->n_keep)
            memcpy(r->rows + r->n_rows++ * r->n, row, r->n * sizeof *row);
    }
}

// Pages for one sequence of up to n_tokens.
typedef struct pages {
    qw_kv_layout layout;
    uint8_t *memory, **layers;
    int32_t *blocks;
    size_t size;
} pages;

static void free_pages(pages *p)
{
    qw_mem_unmap(p->memory, p->size);
    qw_mem_free(p->layers);
    qw_mem_free(p->blocks);
}

static qw_status make_pages(pages *p, const qw_model_config *c, size_t n_tokens, qw_error *err)
{
    enum { BLOCK = 16 };
    size_t n_layers = (size_t)c->num_hidden_layers, n = (n_tokens + BLOCK - 1) / BLOCK, layer = 0;
    *p = (pages){.layout =
                     qw_kv_layout_make(QW_DTYPE_F32, BLOCK, c->num_key_value_heads, c->head_dim)};
    p->layers = qw_mem_array(n_layers, sizeof *p->layers);
    p->blocks = qw_mem_array(n, sizeof *p->blocks);
    if (p->layers && p->blocks && qw_mul_size(&layer, n, p->layout.block_bytes) &&
        qw_mul_size(&p->size, layer, n_layers))
        p->memory = qw_mem_map(p->size, 4096);
    if (!p->memory) {
        free_pages(p);
        return qw_fail_memory(err, p->size, "the KV cache of calibration");
    }
    for (size_t i = 0; i < n_layers; i++) p->layers[i] = p->memory + i * layer;
    for (size_t i = 0; i < n; i++) p->blocks[i] = (int32_t)i;
    return QW_OK;
}

static void run_sample(qw_model *m, const pages *p, const qw_ids *ids, listener *l,
                       const qw_calibration_args *args)
{
    int32_t positions[STEP_ROWS];
    for (size_t first = 0; first < ids->len; first += STEP_ROWS) {
        int n = (int)(ids->len - first < STEP_ROWS ? ids->len - first : STEP_ROWS);
        for (int i = 0; i < n; i++) positions[i] = (int32_t)first + i;
        qw_seq_range seq = {.n_rows = n, .first_pos = (int)first, .block_table = p->blocks};
        qw_model_step step = {n, ids->data + first, positions, &seq, 1, p->layers, &p->layout};
        qw_model_forward(m, &step);
        l->seen += (size_t)n;
        if (args->progress) args->progress(args->progress_ctx, l->seen, l->n_tokens);
    }
}

static qw_status run_samples(qw_calibration *out, qw_model *m, const qw_model_config *config,
                             const qw_calibration_samples *samples, const qw_calibration_args *args,
                             qw_error *err)
{
    size_t longest = 0;
    listener l = {.c = out};
    for (size_t i = 0; i < samples->n; i++) {
        l.n_tokens += samples->samples[i].len;
        if (samples->samples[i].len > longest) longest = samples->samples[i].len;
    }
    l.n_keep = l.n_tokens < ROWS_PER_POINT ? l.n_tokens : ROWS_PER_POINT;
    pages p;
    qw_status st = make_pages(&p, config, longest, err);
    if (st != QW_OK) return st;
    st = alloc_ranges(out, config, args->keep_rows ? l.n_keep : 0, err);
    if (st == QW_OK) {
        qw_model_set_tap(m, listen, &l);
        for (size_t i = 0; i < samples->n; i++) run_sample(m, &p, &samples->samples[i], &l, args);
        if (l.is_bad) {
            qw_calibration_release(out);
            st = qw_fail(err, QW_ERR_FORMAT, "the model computes NaN or infinity on these texts");
        }
    }
    free_pages(&p);
    return st;
}

qw_status qw_calibration_run(qw_calibration *out, const qw_model_config *config,
                             const qw_checkpoint *checkpoint, const qw_calibration_samples *samples,
                             const qw_calibration_args *args, qw_error *err)
{
    qw_backend *be;
    const qw_cpu_options cpu = {.n_threads = args->n_threads, .isa = args->isa};
    qw_status st = qw_backend_open_cpu(&be, &cpu, err);
    if (st != QW_OK) return st;
    const qw_model_load_args load = {
        .compute = QW_COMPUTE_F32,
        .limits = {.max_tokens = STEP_ROWS, .max_logit_rows = 1},
        .cache = {.dir = args->cache_dir, .model_dir = args->model_dir},
    };
    qw_model *m;
    st = qw_model_load(&m, be, config, checkpoint, &load, err);
    if (st == QW_OK) {
        st = run_samples(out, m, config, samples, args, err);
        qw_model_free(m);
    }
    qw_backend_close(be);
    return st;
}

// Files: tensors "LAYER.POINT.min", "...max" and "...rows"

static const char *const array_names[] = {"min", "max", "rows"};
enum { N_ARRAYS = 3 };

enum { ARRAY_NAME = 64 };

static void name_array(char out[ARRAY_NAME], size_t i, int array)
{
    snprintf(out, ARRAY_NAME, "%zu.%zu.%s", i / QW_N_TAP_POINTS, i % QW_N_TAP_POINTS,
             array_names[array]);
}

qw_status qw_calibration_save(const qw_calibration *c, const char *path, qw_error *err)
{
    size_t n = (size_t)c->n_layers * QW_N_TAP_POINTS * N_ARRAYS, n_used = 0;
    qw_arena arena;
    qw_arena_init(&arena, 1 << 16);
    qw_stored_tensor *tensors = qw_arena_array(&arena, n, sizeof *tensors);
    size_t *shapes = qw_arena_array(&arena, n, 2 * sizeof *shapes);
    char *names = qw_arena_array(&arena, n, ARRAY_NAME);
    qw_status st = QW_OK;
    if (!tensors || !shapes || !names) st = qw_fail_memory(err, n * ARRAY_NAME, "calibration");
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        const qw_input_range *r = &c->ranges[i / N_ARRAYS];
        int array = (int)(i % N_ARRAYS);
        const float *const data[N_ARRAYS] = {r->min, r->max, r->rows};
        if (!data[array] || (array == 2 && r->n_rows == 0)) continue;
        size_t rows = array == 2 ? r->n_rows : 1, *shape = shapes + 2 * n_used;
        char *name = names + ARRAY_NAME * n_used;
        name_array(name, i / N_ARRAYS, array);
        shape[0] = rows;
        shape[1] = r->n;
        tensors[n_used++] = (qw_stored_tensor){.name = name,
                                               .dtype = QW_DTYPE_F32,
                                               .rank = 2,
                                               .shape = shape,
                                               .data = (const uint8_t *)data[array],
                                               .size = rows * r->n * sizeof(float)};
    }
    if (st == QW_OK) st = qw_safetensors_write(path, tensors, n_used, NULL, 0, err);
    qw_arena_release(&arena);
    return st;
}

static qw_status take_array(qw_calibration *c, const qw_safetensors *file, size_t i, int array,
                            qw_error *err)
{
    qw_input_range *r = &c->ranges[i];
    char name[ARRAY_NAME];
    name_array(name, i, array);
    const qw_stored_tensor *t = qw_safetensors_find(file, name);
    if (!t && array == 2) return QW_OK;
    if (!t || t->dtype != QW_DTYPE_F32 || t->rank != 2 || t->shape[1] != r->n)
        return qw_fail(err, QW_ERR_FORMAT, "the calibration that was kept has no fitting '%s'",
                       name);
    float *data = array == 0 ? r->min : r->max;
    if (array == 2) {
        data = r->rows = qw_arena_alloc(&c->arena, t->size);
        if (!data) return qw_fail_memory(err, t->size, "calibration");
        r->n_rows = t->shape[0];
    } else if (t->shape[0] != 1) {
        return qw_fail(err, QW_ERR_FORMAT, "the calibration that was kept has a bad '%s'", name);
    }
    memcpy(data, t->data, t->size);
    return QW_OK;
}

qw_status qw_calibration_load(qw_calibration *out, const qw_model_config *config, const char *path,
                              qw_error *err)
{
    qw_safetensors file;
    qw_calibration c = {0};
    qw_status st = qw_safetensors_open(&file, path, err);
    if (st != QW_OK) return st;
    st = alloc_ranges(&c, config, 0, err);
    size_t n = (size_t)config->num_hidden_layers * QW_N_TAP_POINTS;
    for (size_t i = 0; i < n * N_ARRAYS && st == QW_OK; i++)
        st = take_array(&c, &file, i / N_ARRAYS, (int)(i % N_ARRAYS), err);
    qw_safetensors_close(&file);
    if (st == QW_OK)
        *out = c;
    else
        qw_calibration_release(&c);
    return st;
}
