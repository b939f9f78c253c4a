#ifndef QW_TESTS_MODEL_FIXTURE_H
#define QW_TESTS_MODEL_FIXTURE_H

// A loaded checkpoint and the means to run one sequence through it in any chunking, without the
// engine: what the golden tests of the model need. Include after test_util.h.

#include "base/mem.h"
#include "format/json.h"
#include "model/model.h"

typedef struct fixture {
    qw_backend *be;
    qw_model_config config;
    qw_checkpoint checkpoint;
    qw_model *model;
    qw_kv_layout layout;
    uint8_t *pages;
    uint8_t **layers;
    size_t pages_size;
    int32_t *blocks;
    int n_blocks;
} fixture;

typedef struct fixture_options {
    const char *dir, *overrides, *isa;
    const char *scheme; /* of made-up weights; NULL: the directory's */
    const char *cache_dir;
    qw_head_dtype head;
    qw_compute compute;
    qw_dtype kv_dtype;
    int block_size, n_threads, max_tokens;
} fixture_options;

static inline fixture_options fixture_defaults(const char *dir, qw_compute compute)
{
    return (fixture_options){.dir = dir,
                             .compute = compute,
                             .kv_dtype = compute == QW_COMPUTE_F32 ? QW_DTYPE_F32 : QW_DTYPE_BF16,
                             .block_size = 16,
                             .n_threads = 1,
                             .max_tokens = 256};
}

static inline void fixture_open(fixture *f, const fixture_options *o)
{
    qw_error err;
    *f = (fixture){0};
    assert_ok(qw_model_config_load(&f->config, o->dir, o->overrides, &err));
    if (o->scheme)
        assert_ok(qw_model_dummy_checkpoint(&f->checkpoint, &f->config,
                                            qw_dummy_scheme_find(o->scheme), 11, &err));
    else
        assert_ok(qw_checkpoint_open(&f->checkpoint, o->dir, &err));
    qw_cpu_options cpu = {.n_threads = o->n_threads,
                          .isa = o->isa ? o->isa : getenv("QWENCH_CPU_ISA")};
    assert_ok(qw_backend_open_cpu(&f->be, &cpu, &err));
    qw_model_limits limits = {
        .max_tokens = o->max_tokens, .max_logit_rows = o->max_tokens, .head = o->head};
    qw_model_load_args args = {.compute = o->compute,
                               .limits = limits,
                               .cache = {.dir = o->cache_dir, .model_dir = o->dir}};
    assert_ok(qw_model_load(&f->model, f->be, &f->config, &f->checkpoint, &args, &err));
    f->layout = qw_kv_layout_make(o->kv_dtype, o->block_size, f->config.num_key_value_heads,
                                  f->config.head_dim);
    f->n_blocks = 2048 / o->block_size;
    size_t layer = (size_t)f->n_blocks * f->layout.block_bytes;
    f->pages_size = layer * (size_t)f->config.num_hidden_layers;
    f->pages = qw_mem_map(f->pages_size, 4096);
    // Slots that were never written must not matter: NaN everywhere.
    memset(f->pages, 0xFF, f->pages_size);
    f->layers = qw_mem_array((size_t)f->config.num_hidden_layers, sizeof *f->layers);
    for (int i = 0; i < f->config.num_hidden_layers; i++)
        f->layers[i] = f->pages + (size_t)i * layer;
    // Blocks in no particular order.
    f->blocks = qw_mem_array((size_t)f->n_blocks, sizeof *f->blocks);
    for (int i = 0; i < f->n_blocks; i++) f->blocks[i] = (i * 7 + 3) % f->n_blocks;
}

static inline void fixture_close(fixture *f)
{
    qw_model_free(f->model);
    qw_backend_close(f->be);
    qw_checkpoint_close(&f->checkpoint);
    qw_model_config_release(&f->config);
    qw_mem_unmap(f->pages, f->pages_size);
    qw_mem_free(f->layers);
    qw_mem_free(f->blocks);
}

static inline void fixture_step(fixture *f, const int32_t *ids, int first, int n, int n_layers)
{
    int32_t *positions = qw_mem_array((size_t)n, sizeof *positions);
    for (int i = 0; i < n; i++) positions[i] = first + i;
    qw_seq_range seq = {.first_row = 0, .n_rows = n, .first_pos = first, .block_table = f->blocks};
    qw_model_step step = {n, ids + first, positions, &seq, 1, f->layers, &f->layout};
    qw_model_forward_layers(f->model, &step, n_layers);
    qw_mem_free(positions);
}

/** Logits of positions 0 .. n-1 into out[n][vocab_size], computed in steps of at most `chunk`. */
static inline void fixture_logits(fixture *f, float *out, const int32_t *ids, int n, int chunk)
{
    size_t v = (size_t)f->config.vocab_size, stride;
    for (int first = 0; first < n; first += chunk) {
        int m = n - first < chunk ? n - first : chunk;
        fixture_step(f, ids, first, m, f->config.num_hidden_layers);
        int32_t rows[256];
        for (int i = 0; i < m; i++) rows[i] = i;
        const float *logits = qw_model_logits(f->model, rows, m, &stride);
        for (int i = 0; i < m; i++)
            memcpy(out + (size_t)(first + i) * v, logits + (size_t)i * stride, v * sizeof(float));
    }
}

/** Ids of a JSON array. Returns the count. */
static inline int fixture_ids(int32_t *out, int max, const json_t *array)
{
    int n = (int)json_array_size(array);
    assert_true(n <= max);
    for (int i = 0; i < n; i++)
        out[i] = (int32_t)json_integer_value(json_array_get(array, (size_t)i));
    return n;
}

static inline int fixture_argmax(const float *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static inline json_t *fixture_json(const char *path)
{
    qw_error err;
    json_t *v = NULL;
    assert_ok(qw_json_load(&v, path, (size_t)64 << 20, &err));
    return v;
}

#endif
