// The model against the reference: random checkpoints with exact logits (tiny-models) and hidden
// states of the built-in model after every layer (tiny-chat/layers.safetensors).

#include "test_util.h"

#include <math.h>

#include "model_fixture.h"

#define TINY QW_TEST_DATA "/tiny-models/"

static double max_abs_diff(const float *x, const json_t *want, int n)
{
    double worst = 0;
    assert_int_equal((int)json_array_size(want), n);
    for (int i = 0; i < n; i++) {
        double d = fabs(x[i] - json_number_value(json_array_get(want, (size_t)i)));
        if (!(d <= worst)) worst = d; // a NaN sticks
    }
    return worst;
}

// One case: the prompt's logits, then the stored greedy continuation fed token by token.
static void check_case(fixture *f, const json_t *c, bool exact, double tolerance)
{
    enum { MAX = 256 };
    int32_t ids[MAX];
    int v = f->config.vocab_size;
    int n = fixture_ids(ids, MAX, json_object_get(c, "prompt"));
    const json_t *greedy = json_object_get(c, "greedy");
    const json_t *margins = json_object_get(c, "greedy_margin");
    int n_greedy = fixture_ids(ids + n, MAX - n, greedy);
    float *logits = qw_mem_calloc((size_t)(n + n_greedy) * (size_t)v, sizeof *logits);
    fixture_logits(f, logits, ids, n + n_greedy, MAX);

    double worst =
        max_abs_diff(logits + (size_t)(n - 1) * (size_t)v, json_object_get(c, "last_logits"), v);
    print_message("  %d prompt tokens: last logits within %.2g\n", n, worst);
    assert_true(worst <= tolerance);
    int n_checked = 0;
    for (int i = 0; i < n_greedy; i++) {
        double margin = json_number_value(json_array_get(margins, (size_t)i));
        if (!exact && margin <= 0.3) continue;
        assert_int_equal(fixture_argmax(logits + (size_t)(n - 1 + i) * (size_t)v, v), ids[n + i]);
        n_checked++;
    }
    assert_true(!exact || n_checked == n_greedy);
    const json_t *argmax = json_object_get(c, "argmax_each_position");
    const json_t *logprobs = json_object_get(c, "prompt_logprobs");
    for (int i = 0; i < n && exact; i++) {
        const float *row = logits + (size_t)i * (size_t)v;
        assert_int_equal(fixture_argmax(row, v),
                         json_integer_value(json_array_get(argmax, (size_t)i)));
        if (i + 1 == n) break;
        double sum = 0, top = row[fixture_argmax(row, v)];
        for (int t = 0; t < v; t++) sum += exp(row[t] - top);
        // cppcheck-suppress invalidFunctionArg ; one of the terms is exp(0)
        double lp = row[ids[i + 1]] - top - log(sum);
        double want = json_number_value(json_array_get(logprobs, (size_t)i + 1));
        assert_true(fabs(lp - want) <= 2 * tolerance);
    }
    qw_mem_free(logits);
}

static void check_model(const char *name, const char *overrides, const char *cases_key)
{
    char dir[512], path[512];
    snprintf(dir, sizeof dir, TINY "%s", name);
    snprintf(path, sizeof path, TINY "%s/expected.json", name);
    json_t *expected = fixture_json(path);
    const json_t *cases = cases_key ? json_object_get(expected, cases_key) : expected;
    assert_true(json_array_size(cases) > 0);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        fixture f;
        fixture_options o = fixture_defaults(dir, bf16 ? QW_COMPUTE_BF16 : QW_COMPUTE_F32);
        o.overrides = overrides;
        fixture_open(&f, &o);
        print_message("%s %s\n", name, bf16 ? "bfloat16" : "float32");
        for (size_t i = 0; i < json_array_size(cases); i++)
            check_case(&f, json_array_get(cases, i), !bf16, bf16 ? 0.3 : 1e-4);
        fixture_close(&f);
    }
    json_decref(expected);
}

static void test_tied(void **state)
{
    (void)state;
    check_model("tied", NULL, NULL);
}

static void test_untied_sharded(void **state)
{
    (void)state;
    check_model("untied-sharded", NULL, NULL);
}

static void test_yarn(void **state)
{
    (void)state;
    check_model("yarn", NULL, "cases");
}

// The other spelling of the same scaling, given as an override, and the model without it.
static void test_yarn_overrides(void **state)
{
    (void)state;
    json_t *v5 = fixture_json(TINY "yarn/config.v5.json");
    json_t *overrides =
        json_pack("{s:O}", "rope_parameters", json_object_get(v5, "rope_parameters"));
    char *rope = json_dumps(overrides, 0);
    check_model("yarn", rope, "cases");
    free(rope);
    json_decref(overrides);
    json_decref(v5);

    json_t *expected = fixture_json(TINY "yarn/expected.json");
    const json_t *plain = json_array_get(json_object_get(expected, "without_scaling"), 0);
    const json_t *scaled = json_array_get(json_object_get(expected, "cases"), 0);
    fixture f;
    fixture_options o = fixture_defaults(TINY "yarn", QW_COMPUTE_F32);
    o.overrides = "{\"rope_scaling\": null}";
    fixture_open(&f, &o);
    int32_t ids[128];
    int n = fixture_ids(ids, 128, json_object_get(scaled, "prompt")), v = f.config.vocab_size;
    float *logits = qw_mem_array((size_t)n * (size_t)v, sizeof *logits);
    fixture_logits(&f, logits, ids, n, 128);
    assert_true(max_abs_diff(logits + (size_t)(n - 1) * (size_t)v,
                             json_object_get(plain, "last_logits"), v) <= 1e-4);
    qw_mem_free(logits);
    fixture_close(&f);
    json_decref(expected);
}

// tiny-chat: hidden states after the embedding, after each layer, after the final norm, and logits
// of the last four positions.
static void check_rows(const float *(*row_of)(const qw_model *, int), const qw_model *m, int first,
                       const qw_stored_tensor *want, int width, double tolerance)
{
    assert_non_null(want);
    double worst = 0;
    for (int r = 0; r < 4; r++) {
        const float *row = row_of(m, first + r);
        for (int i = 0; i < width; i++) {
            float w;
            memcpy(&w, want->data + 4 * ((size_t)r * (size_t)width + (size_t)i), 4);
            double d = fabs(row[i] - w) / (1 + fabs(w));
            if (!(d <= worst)) worst = d;
        }
    }
    print_message("  %s within %.2g\n", want->name, worst);
    assert_true(worst <= tolerance);
}

static void test_tiny_chat_layers(void **state)
{
    (void)state;
    qw_error err;
    qw_safetensors st;
    assert_ok(qw_safetensors_open(&st, QW_TEST_DATA "/tiny-chat/layers.safetensors", &err));
    fixture f;
    fixture_options o = fixture_defaults(QW_SOURCE_DIR "/models/tiny", QW_COMPUTE_F32);
    fixture_open(&f, &o);
    for (int p = 0; p < 2; p++) {
        char name[64];
        int32_t ids[64];
        snprintf(name, sizeof name, "p%d.ids", p);
        const qw_stored_tensor *t = qw_safetensors_find(&st, name);
        assert_non_null(t);
        int n = (int)t->shape[0], h = f.config.hidden_size, v = f.config.vocab_size;
        for (int i = 0; i < n; i++) {
            int64_t id;
            memcpy(&id, t->data + 8 * (size_t)i, 8);
            ids[i] = (int32_t)id;
        }
        for (int l = 0; l < f.config.num_hidden_layers; l++) {
            snprintf(name, sizeof name, "p%d.hidden.%d", p, l);
            fixture_step(&f, ids, 0, n, l);
            check_rows(qw_model_hidden, f.model, n - 4, qw_safetensors_find(&st, name), h, 1e-4);
        }
        fixture_step(&f, ids, 0, n, f.config.num_hidden_layers);
        int32_t rows[4] = {n - 4, n - 3, n - 2, n - 1};
        size_t stride;
        const float *logits = qw_model_logits(f.model, rows, 4, &stride);
        snprintf(name, sizeof name, "p%d.hidden.%d", p, f.config.num_hidden_layers);
        check_rows(qw_model_normed, f.model, 0, qw_safetensors_find(&st, name), h, 1e-4);
        snprintf(name, sizeof name, "p%d.logits", p);
        const qw_stored_tensor *want = qw_safetensors_find(&st, name);
        for (int r = 0; r < 4; r++)
            for (int i = 0; i < v; i++) {
                float w;
                memcpy(&w, want->data + 4 * ((size_t)r * (size_t)v + (size_t)i), 4);
                assert_true(fabsf(logits[(size_t)r * stride + (size_t)i] - w) <= 1e-4f);
            }
    }
    fixture_close(&f);
    qw_safetensors_close(&st);
}

// The same sequence in other chunks, pages, thread counts and kernel levels: the same bits.
static void test_same_bits(void **state)
{
    (void)state;
    enum { N = QW_TEST_EMULATED ? 70 : 130 };
    int32_t ids[N];
    for (int i = 0; i < N; i++) ids[i] = (i * 37 + i * i * 11) % 3000;
    static const struct {
        qw_compute compute;
        qw_dtype kv;
    } kinds[] = {{QW_COMPUTE_F32, QW_DTYPE_F32},
                 {QW_COMPUTE_BF16, QW_DTYPE_BF16},
                 {QW_COMPUTE_BF16, QW_DTYPE_I8}};
    for (size_t kind = 0; kind < QW_ARRAY_LEN(kinds); kind++) {
        fixture_options o = fixture_defaults(QW_SOURCE_DIR "/models/tiny", kinds[kind].compute);
        o.kv_dtype = kinds[kind].kv;
        fixture f;
        fixture_open(&f, &o);
        size_t n = N * (size_t)f.config.vocab_size;
        float *want = qw_mem_array(n, sizeof *want), *got = qw_mem_array(n, sizeof *got);
        fixture_logits(&f, want, ids, N, N);
        fixture_close(&f);
        const struct {
            int block_size, threads, chunk;
            const char *isa;
        } ways[] = {{16, 1, 1, NULL},  {16, 2, 7, NULL},   {128, 2, 64, NULL},
                    {48, 3, 16, NULL}, {128, 2, 33, NULL}, {16, 1, N, "ref"}};
        for (size_t w = QW_TEST_EMULATED ? 4 : 0; w < QW_ARRAY_LEN(ways); w++) {
            o.block_size = ways[w].block_size;
            o.n_threads = ways[w].threads;
            o.isa = ways[w].isa;
            fixture_open(&f, &o);
            fixture_logits(&f, got, ids, N, ways[w].chunk);
            assert_memory_equal(got, want, n * sizeof *want);
            fixture_close(&f);
        }
        qw_mem_free(want);
        qw_mem_free(got);
    }
}

// Eight bits for keys and values cost little: a model in fp32 with an int8 cache against the same
// with an fp32 cache.
static void test_int8_cache(void **state)
{
    (void)state;
    enum { N = 130 };
    int32_t ids[N];
    for (int i = 0; i < N; i++) ids[i] = (i * 37 + i * i * 11) % 3000;
    float *logits[2];
    size_t v = 0;
    for (int i = 0; i < 2; i++) {
        fixture_options o = fixture_defaults(QW_SOURCE_DIR "/models/tiny", QW_COMPUTE_F32);
        if (i == 1) o.kv_dtype = QW_DTYPE_I8;
        fixture f;
        fixture_open(&f, &o);
        v = (size_t)f.config.vocab_size;
        logits[i] = qw_mem_array(N * v, sizeof *logits[i]);
        fixture_logits(&f, logits[i], ids, N, N);
        fixture_close(&f);
    }
    int n_same = 0;
    double worst = 0;
    for (size_t r = 0; r < N; r++) {
        const float *a = logits[0] + r * v, *b = logits[1] + r * v;
        double dot = 0, aa = 0, bb = 0;
        for (size_t i = 0; i < v; i++) {
            dot += (double)a[i] * b[i];
            aa += (double)a[i] * a[i];
            bb += (double)b[i] * b[i];
        }
        double angle = 1 - dot / sqrt(aa * bb);
        if (!(angle <= worst)) worst = angle;
        n_same += fixture_argmax(a, (int)v) == fixture_argmax(b, (int)v);
    }
    print_message("  int8 cache: 1 - cosine at most %.2g, %d of %d choices the same\n", worst,
                  n_same, N);
    assert_true(worst > 0); // it is another cache
    assert_true(worst <= 5e-3);
    assert_true(n_same >= N * 95 / 100);
    for (int i = 0; i < 2; i++) qw_mem_free(logits[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tied),
        cmocka_unit_test(test_untied_sharded),
        cmocka_unit_test(test_yarn),
        cmocka_unit_test(test_yarn_overrides),
        cmocka_unit_test(test_tiny_chat_layers),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_int8_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
