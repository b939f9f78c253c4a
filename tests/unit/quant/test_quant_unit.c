// Smoothing, rotation and static ranges: the worked vectors of quantization.md 10.2, and that the
// float model computes the same before and after.
#include "test_util.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "model_fixture.h"
#include "quant/quant_unit.h"
#include "quant/quantize.h"

static const char tiny[] = QW_SOURCE_DIR "/models/tiny";
static const char work[] = QW_TEST_TMP "/quant_unit";

enum { N_IDS = 24 };

static void some_ids(int32_t *ids, int seed)
{
    for (int i = 0; i < N_IDS; i++) ids[i] = (i * i * 31 + i * 7 + seed * 101) % 3800;
}

// Vectors

static void test_static_range_t2b(void **state)
{
    (void)state;
    static const struct {
        float min, max, scale;
        int offset;
    } rows[] = {{-0.9f, 3.3f, 0.0164705882f, -73},
                {0.4f, 2.0f, 0.00784313725f, -128},
                {-1, 1.02f, 0.00792157f, -2},
                {-2, -1, 2 / 255.0f, 127},
                {0, 0, QW_MIN_SCALE, -128}};
    for (size_t i = 0; i < QW_ARRAY_LEN(rows); i++) {
        float s;
        int z;
        qw_static_range(&s, &z, rows[i].min, rows[i].max);
        assert_float_equal(s, rows[i].scale, 1e-8f);
        assert_int_equal(z, rows[i].offset);
    }
    // T2: the bias and the offset's share, folded
    assert_int_equal(qw_static_bias(-52, -32, 0.1f, 1.5625e-4f), -1024);
    assert_int_equal(qw_static_bias(147, -32, -0.02f, 7.8125e-6f), 2144);
    assert_int_equal(qw_static_bias(10, 3, 0, 1), -30);
}

static void test_smooth_t9(void **state)
{
    (void)state;
    const float amax[] = {10, 1, 0.1f, 0}, weights[] = {0.2f, 0.5f, 0.1f, 0.3f};
    float s[4];
    qw_smooth_scales(s, amax, weights, 4, 0.5);
    const float half[] = {7.0710678f, 1.4142136f, 1, 1};
    for (int k = 0; k < 4; k++) assert_float_equal(s[k], half[k], 1e-6f);
    qw_smooth_scales(s, amax, weights, 4, 0.9);
    const float most[] = {9.3303299f, 1.0717735f, 0.1584893f, 1};
    for (int k = 0; k < 4; k++) assert_float_equal(s[k], most[k], 1e-6f);
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool fits;
    } rows[] = {
        {"*", "", true},
        {"*", "a.b", true},
        {"model.layers.{1,12}.mlp.*", "model.layers.12.mlp.up_proj", true},
        {"model.layers.{1,12}.mlp.*", "model.layers.2.mlp.up_proj", false},
        {"*.q_proj", "model.layers.0.self_attn.q_proj", true},
        {"*.q_proj", "model.layers.0.self_attn.q_proj.bias", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"{a,ab}c", "abc", true},
        {"**b*", "abc", true},
        {"{open", "{open", true},
        {"x", "", false},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(rows); i++)
        if (qw_quant_pattern_fits(rows[i].pattern, rows[i].name) != rows[i].fits)
            fail_msg("'%s' and '%s'", rows[i].pattern, rows[i].name);
}

// The same model in fp32, so that folding does not round

static char *path_of(const char *dir, const char *name)
{
    char *path = qw_file_join(dir, name);
    assert_non_null(path);
    return path;
}

static void copy_config(const char *dir)
{
    qw_error err;
    qw_file f;
    char *from = path_of(tiny, "config.json"), *to = path_of(dir, "config.json");
    assert_ok(qw_file_open(&f, from, &err));
    assert_ok(qw_file_write_atomic(to, f.data, (size_t)f.size, &err));
    qw_file_close(&f);
    qw_mem_free(from);
    qw_mem_free(to);
}

static void write_model(const char *dir, const qw_stored_tensor *tensors, size_t n)
{
    qw_error err;
    assert_ok(qw_file_make_dirs(dir, &err));
    char *path = path_of(dir, "model.safetensors");
    assert_ok(qw_safetensors_write(path, tensors, n, NULL, 0, &err));
    qw_mem_free(path);
    copy_config(dir);
}

static void logits_of(const char *dir, float **out, size_t *n)
{
    fixture f;
    fixture_options o = fixture_defaults(dir, QW_COMPUTE_F32);
    fixture_open(&f, &o);
    int32_t ids[N_IDS];
    some_ids(ids, 0);
    *n = (size_t)N_IDS * (size_t)f.config.vocab_size;
    *out = qw_mem_array(*n, sizeof **out);
    fixture_logits(&f, *out, ids, N_IDS, N_IDS);
    fixture_close(&f);
}

static void assert_same_logits(const char *dir, const char *other)
{
    float *a, *b;
    size_t n, m;
    logits_of(dir, &a, &n);
    logits_of(other, &b, &m);
    assert_int_equal(n, m);
    double far = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        far = fmax(far, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)a[i]));
    }
    if (!(far <= 2e-4 * size)) fail_msg("logits of up to %g are %g apart", size, far);
    qw_mem_free(a);
    qw_mem_free(b);
}

// models/tiny widened: QW_TEST_TMP/quant_unit/f32
static char *make_f32(void)
{
    qw_error err;
    qw_checkpoint c;
    assert_ok(qw_checkpoint_open(&c, tiny, &err));
    qw_stored_tensor *tensors = qw_mem_array(c.n_tensors, sizeof *tensors);
    for (size_t i = 0; i < c.n_tensors; i++) {
        tensors[i] = *c.tensors[i];
        size_t n = tensors[i].size / 2;
        float *x = qw_mem_array(n, sizeof *x);
        qw_tensor_widen(x, c.tensors[i], 0, n);
        // Norms that differ, so that forgetting to fold one shows.
        if (tensors[i].rank == 1)
            for (size_t k = 0; k < n; k++) x[k] *= 1 + 0.25f * (float)(k % 5);
        tensors[i].dtype = QW_DTYPE_F32;
        tensors[i].data = (const uint8_t *)x;
        tensors[i].size = n * sizeof *x;
    }
    char *dir = path_of(work, "f32");
    write_model(dir, tensors, c.n_tensors);
    for (size_t i = 0; i < c.n_tensors; i++) qw_mem_free((void *)(uintptr_t)tensors[i].data);
    qw_mem_free(tensors);
    qw_checkpoint_close(&c);
    return dir;
}

static void remove_dir_of(const char *dir, const char *const *names)
{
    for (; *names; names++) {
        char *path = path_of(dir, *names);
        unlink(path);
        qw_mem_free(path);
    }
    rmdir(dir);
}

// Rotated and then stored as floats, the model is what it was.
static void test_rotation_keeps_logits(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "model.safetensors",
                                        "quant_model_description.json",
                                        "quant_model_weights.safetensors.index.json", NULL};
    qw_error err;
    char *f32 = make_f32(), *dir = path_of(work, "rotated");
    remove_dir_of(dir, names);
    const qw_quant_rule all = {.pattern = "*", .target = QW_TARGET_FLOAT};
    const qw_quantize_options o = {.src = f32,
                                   .dst = dir,
                                   .choices = {.scheme = QW_SCHEME_W4A4_LAOS,
                                               .rules = &all,
                                               .n_rules = 1,
                                               .recipe = "test",
                                               .group_size = -1,
                                               .part_size = (uint64_t)1 << 32},
                                   .n_threads = 1};
    qw_quantize_result r;
    assert_ok(qw_quantize(&r, &o, &err));
    assert_int_equal(r.n_linears[QW_TARGET_FLOAT], 28);
    // As a float checkpoint: the weights under their usual name, no description.
    char *from = path_of(dir, "quant_model_weights-00001-of-00001.safetensors");
    char *to = path_of(dir, "model.safetensors");
    assert_int_equal(rename(from, to), 0);
    remove_dir_of(dir, names + 2);
    assert_same_logits(f32, dir);
    qw_mem_free(from);
    qw_mem_free(to);
    qw_mem_free(dir);
    qw_mem_free(f32);
}

static qw_status keep(void *ctx, size_t offset, const void *data, size_t size, qw_error *err)
{
    (void)err;
    memcpy((uint8_t *)ctx + offset, data, size);
    return QW_OK;
}

// An item's weight in fp32 after the factors of its layer.
static float *smoothed(const qw_quant_item *it, const qw_layer_factors *f, qw_thread_pool *pool)
{
    qw_error err;
    float *x = qw_mem_array(it->out * it->in, sizeof *x);
    const float *norm = it->role == QW_ROLE_INPUT_NORM  ? f->norms[0]
                        : it->role == QW_ROLE_POST_NORM ? f->norms[1]
                                                        : NULL;
    if (norm) return memcpy(x, norm, it->in * sizeof *x);
    qw_linear_job j = {.weight = it->source,
                       .out = it->out,
                       .in = it->in,
                       .target = QW_TARGET_FLOAT,
                       .float_dtype = QW_DTYPE_F32};
    qw_tap_point point = qw_role_point(it->role);
    if (point < QW_N_TAP_POINTS) j.col_factor = f->columns[point];
    if (it->role == QW_ROLE_V) j.row_factor = f->v_rows;
    if (it->role == QW_ROLE_UP) j.row_factor = f->up_rows;
    assert_ok(qw_linear_job_run(&j, pool, NULL, keep, x, &err));
    return x;
}

static void calibrate(qw_calibration *c, const char *dir, const qw_model_config *config,
                      const qw_checkpoint *checkpoint)
{
    qw_error err;
    int32_t ids[2][N_IDS];
    qw_ids lists[2];
    for (int i = 0; i < 2; i++) {
        some_ids(ids[i], i);
        lists[i] = (qw_ids){.data = ids[i], .len = N_IDS};
    }
    const qw_calibration_samples samples = {lists, 2};
    const qw_calibration_args args = {.model_dir = dir, .n_threads = 1, .keep_rows = true};
    assert_ok(qw_calibration_run(c, config, checkpoint, &samples, &args, &err));
}

static void test_smoothing_keeps_logits(void **state)
{
    (void)state;
    qw_error err;
    char *f32 = make_f32(), *dir = path_of(work, "smoothed");
    qw_model_config config;
    qw_checkpoint checkpoint;
    qw_quant_plan plan;
    qw_calibration calibration;
    qw_thread_pool *pool;
    assert_ok(qw_model_config_load(&config, f32, NULL, &err));
    assert_ok(qw_checkpoint_open(&checkpoint, f32, &err));
    const qw_quant_choices choices = {.scheme = QW_SCHEME_W8A8, .part_size = 1};
    assert_ok(qw_quant_plan_make(&plan, &config, &checkpoint, &choices, &err));
    calibrate(&calibration, f32, &config, &checkpoint);
    assert_ok(qw_thread_pool_new(&pool, 1, &err));
    qw_stored_tensor *tensors = qw_mem_array(plan.n_items, sizeof *tensors);
    for (size_t u = 0; u < plan.n_units; u++) {
        qw_layer_factors f = {0};
        bool is_layer = u > 0 && u + 1 < plan.n_units;
        if (is_layer) {
            assert_ok(qw_smooth_layer(&f, &plan, (int)u - 1, &calibration, -1, pool, &err));
            assert_non_null(f.v_rows);
            assert_non_null(f.up_rows);
            for (int i = 0; i < QW_N_TAP_POINTS; i++) assert_non_null(f.columns[i]);
        }
        for (size_t i = plan.unit_first[u]; i < plan.unit_first[u + 1]; i++) {
            tensors[i] = *plan.items[i].source;
            tensors[i].data = (const uint8_t *)smoothed(&plan.items[i], &f, pool);
        }
        qw_layer_factors_release(&f);
    }
    write_model(dir, tensors, plan.n_items);
    assert_same_logits(f32, dir);
    for (size_t i = 0; i < plan.n_items; i++) qw_mem_free((void *)(uintptr_t)tensors[i].data);
    qw_mem_free(tensors);
    qw_thread_pool_free(pool);
    qw_calibration_release(&calibration);
    qw_quant_plan_release(&plan);
    qw_checkpoint_close(&checkpoint);
    qw_model_config_release(&config);
    qw_mem_free(dir);
    qw_mem_free(f32);
}

static void test_calibration_is_kept(void **state)
{
    (void)state;
    qw_error err;
    qw_model_config config;
    qw_checkpoint checkpoint;
    qw_calibration a, b;
    assert_ok(qw_model_config_load(&config, tiny, NULL, &err));
    assert_ok(qw_checkpoint_open(&checkpoint, tiny, &err));
    calibrate(&a, tiny, &config, &checkpoint);
    char *path = path_of(work, "calibration.safetensors");
    assert_ok(qw_calibration_save(&a, path, &err));
    assert_ok(qw_calibration_load(&b, &config, path, &err));
    bool any = false;
    for (int i = 0; i < a.n_layers * QW_N_TAP_POINTS; i++) {
        const qw_input_range *x = &a.ranges[i], *y = &b.ranges[i];
        assert_int_equal(x->n, y->n);
        assert_memory_equal(x->min, y->min, x->n * sizeof(float));
        assert_memory_equal(x->max, y->max, x->n * sizeof(float));
        assert_int_equal(x->n_rows, y->n_rows);
        if (x->n_rows) assert_memory_equal(x->rows, y->rows, x->n_rows * x->n * sizeof(float));
        for (size_t k = 0; k < x->n; k++) {
            assert_true(x->min[k] <= 0 && x->max[k] >= 0);
            any |= x->max[k] > 0;
        }
        int point = i % QW_N_TAP_POINTS;
        bool has_rows = point == QW_TAP_QKV || point == QW_TAP_GATE_UP;
        assert_int_equal(x->n_rows, has_rows ? 2 * N_IDS : 0);
    }
    assert_true(any);
    qw_calibration_release(&a);
    qw_calibration_release(&b);
    qw_checkpoint_close(&checkpoint);
    qw_model_config_release(&config);
    qw_mem_free(path);
}

int main(void)
{
    qw_json_init();
    qw_error err;
    if (qw_file_make_dirs(work, &err) != QW_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_static_range_t2b),
        cmocka_unit_test(test_smooth_t9),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_rotation_keeps_logits),
        cmocka_unit_test(test_smoothing_keeps_logits),
        cmocka_unit_test(test_calibration_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
