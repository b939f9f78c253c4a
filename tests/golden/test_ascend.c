// Ascend checkpoints against double precision: those that msModelSlim wrote, and one of every
// layout by scripts/golden/make_ascend.py. Linears by themselves first, then the logits of whole
// models.
#include "test_util.h"

#include <math.h>

#include "model/qwen3_internal.h"
#include "model_fixture.h"

#define MSMODELSLIM QW_TEST_DATA "/msmodelslim-"
#define OURS QW_TEST_DATA "/ascend/"

typedef struct golden {
    json_t *expected;
    qw_safetensors tensors;
} golden;

static void open_golden(golden *g, const char *dir)
{
    char path[512];
    qw_error err;
    snprintf(path, sizeof path, "%s/expected.json", dir);
    g->expected = fixture_json(path);
    snprintf(path, sizeof path, "%s/expected.safetensors", dir);
    assert_ok(qw_safetensors_open(&g->tensors, path, &err));
}

static void close_golden(golden *g)
{
    json_decref(g->expected);
    qw_safetensors_close(&g->tensors);
}

static qw_host_matrix tensor(const golden *g, const char *name, const char *suffix)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    const qw_stored_tensor *t = qw_safetensors_find(&g->tensors, full);
    assert_non_null(t);
    return (qw_host_matrix){.data = t->data,
                            .dtype = t->dtype,
                            .rows = t->rank == 2 ? (int)t->shape[0] : 1,
                            .cols = (int)t->shape[t->rank - 1]};
}

// y = x * w^T for one Linear as the model packs it; within 1e-6 of the largest value of each row,
// but for rounding ties, of which a row may have one: half a step of one input.
static void check_linear(const golden *g, fixture *f, const char *name, const json_t *about)
{
    char weight[256];
    qw_error err;
    snprintf(weight, sizeof weight, "%s.weight", name);
    int64_t in = json_integer_value(json_object_get(about, "in"));
    int64_t out = json_integer_value(json_object_get(about, "out"));
    const char *type = json_string_value(json_object_get(about, "type"));
    qw_arena arena;
    qw_arena_init(&arena, 1 << 16);
    qw_stored_linear stored;
    assert_ok(qw_stored_linear_read(&stored, &arena, &f->checkpoint, weight, out, in,
                                    QW_VALUES_CHECKED, &err));
    assert_string_equal(qw_quant_type_name(stored.type), type);
    qw_product product = {.name = name};
    qw_product_add_tensor(&product, &stored);
    qw_quant_source quant;
    qw_linear_source source = qw_product_source(&product, &quant);
    qw_linear w;
    assert_ok(f->be->linear_pack(f->be, &w, &source, &err));
    qw_host_matrix x = tensor(g, name, ".x"), want = tensor(g, name, ".y");
    assert_ok(f->be->linear_reserve(f->be, &w, x.rows, &err));
    size_t x_stride = qw_row_stride((size_t)in), y_stride = qw_row_stride((size_t)out);
    float *input = qw_mem_calloc((size_t)x.rows * x_stride, sizeof *input);
    float *y = qw_mem_calloc((size_t)x.rows * y_stride, sizeof *y);
    for (int r = 0; r < x.rows; r++)
        for (int k = 0; k < x.cols; k++)
            input[(size_t)r * x_stride + (size_t)k] = qw_host_matrix_at(&x, (size_t)r, (size_t)k);
    f->be->ops->linear(f->be, y, y_stride, input, x_stride, &w, x.rows, QW_EPILOGUE_STORE, false);
    for (int r = 0; r < want.rows; r++) {
        double worst = 0, largest = 0;
        for (int o = 0; o < want.cols; o++) {
            double v = (double)qw_host_matrix_at(&want, (size_t)r, (size_t)o);
            double d = fabs((double)y[(size_t)r * y_stride + (size_t)o] - v);
            if (!(d <= worst)) worst = d;
            if (fabs(v) > largest) largest = fabs(v);
        }
        if (!(worst <= 1e-6 * largest))
            print_message("%s row %d: %g of %g\n", name, r, worst, largest);
        assert_true(worst <= 1e-6 * largest);
    }
    qw_mem_free(input);
    qw_mem_free(y);
    f->be->linear_release(f->be, &w);
    qw_arena_release(&arena);
}

static double cosine(const float *a, const qw_host_matrix *b)
{
    double aa = 0, bb = 0, ab = 0;
    for (int i = 0; i < b->cols; i++) {
        double x = (double)a[i], y = (double)qw_host_matrix_at(b, 0, (size_t)i);
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    return ab / sqrt(aa * bb);
}

static void check_prompt(const golden *g, fixture *f, size_t i)
{
    enum { MAX = 64 };
    const json_t *p = json_array_get(json_object_get(g->expected, "prompts"), i);
    int32_t ids[MAX];
    int n = fixture_ids(ids, MAX, json_object_get(p, "ids")), v = f->config.vocab_size;
    float *logits = qw_mem_calloc((size_t)n * (size_t)v, sizeof *logits);
    fixture_logits(f, logits, ids, n, MAX);
    char name[32];
    snprintf(name, sizeof name, "p%zu", i);
    qw_host_matrix want = tensor(g, name, ".logits");
    const float *last = logits + (size_t)(n - 1) * (size_t)v;
    double c = cosine(last, &want);
    print_message("  %d prompt tokens: cosine %.7f\n", n, c);
    assert_true(c > 0.999);
    const json_t *argmax = json_object_get(p, "argmax");
    assert_int_equal(fixture_argmax(last, v),
                     json_integer_value(json_array_get(argmax, (size_t)n - 1)));
    qw_mem_free(logits);
}

static void check_checkpoint(const char *dir, const char *expected_dir)
{
    golden g;
    open_golden(&g, expected_dir);
    fixture f;
    fixture_options o = fixture_defaults(dir, QW_COMPUTE_F32);
    fixture_open(&f, &o);
    assert_non_null(f.checkpoint.quant);
    print_message("%s\n", dir);
    const char *name;
    json_t *about;
    assert_true(json_object_size(json_object_get(g.expected, "linears")) > 0);
    json_object_foreach(json_object_get(g.expected, "linears"), name, about)
        check_linear(&g, &f, name, about);
    size_t n_prompts = json_array_size(json_object_get(g.expected, "prompts"));
    assert_true(n_prompts > 0);
    for (size_t i = 0; i < n_prompts; i++) check_prompt(&g, &f, i);
    fixture_close(&f);
    close_golden(&g);
}

static void test_msmodelslim_w8a8(void **state)
{
    (void)state;
    check_checkpoint(MSMODELSLIM "w8a8", MSMODELSLIM "w8a8");
}

static void test_msmodelslim_w4a8(void **state)
{
    (void)state;
    check_checkpoint(MSMODELSLIM "w4a8", MSMODELSLIM "w4a8");
}

static void test_w8a8(void **state)
{
    (void)state;
    check_checkpoint(OURS "w8a8/model", OURS "w8a8");
}

static void test_w8a8_v0(void **state)
{
    (void)state;
    check_checkpoint(OURS "w8a8-v0/model", OURS "w8a8-v0");
}

static void test_w8a16_mix(void **state)
{
    (void)state;
    check_checkpoint(OURS "w8a16-mix/model", OURS "w8a16-mix");
}

static void test_w4a8(void **state)
{
    (void)state;
    check_checkpoint(OURS "w4a8/model", OURS "w4a8");
}

static void test_w4a8_old(void **state)
{
    (void)state;
    check_checkpoint(OURS "w4a8-old/model", OURS "w4a8-old");
}

static void test_w4a4(void **state)
{
    (void)state;
    check_checkpoint(OURS "w4a4/model", OURS "w4a4");
}

static void test_mixed(void **state)
{
    (void)state;
    check_checkpoint(OURS "mixed/model", OURS "mixed");
}

// Experts: 8 bits beside static attention, 4 bits packed and in groups, inputs that are quantized
// differently for each expert.
static void test_moe(void **state)
{
    (void)state;
    check_checkpoint(OURS "moe-w8a8/model", OURS "moe-w8a8");
    check_checkpoint(OURS "moe-w4a8/model", OURS "moe-w4a8");
    check_checkpoint(OURS "moe-other/model", OURS "moe-other");
}

// Loading with every allocation failing in turn: an error, and nothing left behind.
static void test_shortages(void **state)
{
    (void)state;
    qw_error err;
    qw_model_config config;
    qw_checkpoint ck;
    qw_backend *be;
    const char *dir = OURS "mixed/model";
    assert_ok(qw_model_config_load(&config, dir, NULL, &err));
    assert_ok(qw_checkpoint_open(&ck, dir, &err));
    assert_ok(qw_backend_open_cpu(&be, &(qw_cpu_options){.n_threads = 1}, &err));
    qw_model_load_args args = {.compute = QW_COMPUTE_F32,
                               .limits = {.max_tokens = 8, .max_logit_rows = 8}};
    qw_model *m = NULL;
    assert_ok(qw_model_load(&m, be, &config, &ck, &args, &err)); // what the device keeps
    qw_model_free(m);
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    for (uint64_t n = 1; st != QW_OK && n < 5000; n++) {
        qw_mem_fail_at(n);
        st = qw_model_load(&m, be, &config, &ck, &args, &err);
        qw_mem_fail_at(0);
        if (st == QW_OK)
            qw_model_free(m);
        else
            assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_int_equal(qw_mem_live(), live);
    }
    assert_ok(st);
    qw_backend_close(be);
    qw_checkpoint_close(&ck);
    qw_model_config_release(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_msmodelslim_w8a8),
        cmocka_unit_test(test_msmodelslim_w4a8),
        cmocka_unit_test(test_w8a8),
        cmocka_unit_test(test_w8a8_v0),
        cmocka_unit_test(test_w8a16_mix),
        cmocka_unit_test(test_w4a8),
        cmocka_unit_test(test_w4a8_old),
        cmocka_unit_test(test_w4a4),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_moe),
        cmocka_unit_test(test_shortages),
    };
    qw_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
