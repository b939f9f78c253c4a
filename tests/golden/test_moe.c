// Layers with experts against the reference: hidden states, choices and weights of the router, and
// logits of random Qwen3-MoE checkpoints (qwen3-moe/, from transformers); the same bits in every
// way of computing them.
#include "test_util.h"

#include <math.h>

#include "model/qwen3_internal.h"
#include "model_fixture.h"

#define MOE QW_TEST_DATA "/qwen3-moe/"

enum { MAX = 64 };

typedef struct golden {
    json_t *prompts;
    qw_safetensors tensors;
} golden;

static void open_golden(golden *g, const char *dir)
{
    char path[512];
    qw_error err;
    snprintf(path, sizeof path, "%s/prompts.json", dir);
    g->prompts = fixture_json(path);
    assert_true(json_array_size(g->prompts) >= 3);
    snprintf(path, sizeof path, "%s/expected.safetensors", dir);
    assert_ok(qw_safetensors_open(&g->tensors, path, &err));
}

static void close_golden(golden *g)
{
    json_decref(g->prompts);
    qw_safetensors_close(&g->tensors);
}

static const void *data_of(const golden *g, size_t i_prompt, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "p%zu.%s", i_prompt, what);
    const qw_stored_tensor *t = qw_safetensors_find(&g->tensors, name);
    return t ? t->data : NULL;
}

static double far(float got, float want)
{
    double d = fabs((double)got - (double)want) / (1 + fabs((double)want));
    return d >= 0 ? d : 1e30; // a NaN is far away
}

// What the last layer that was run has chosen: [n][top_k] from row `first` of the expected arrays.
static void check_routing(const golden *g, const fixture *f, size_t i_prompt, size_t i_sparse,
                          int n)
{
    const qw_routing *r = &f->model->routing;
    size_t k = (size_t)r->top_k, e = (size_t)r->n_experts, rows = (size_t)n;
    const int32_t *ids = data_of(g, i_prompt, "router_ids");
    const float *weights = data_of(g, i_prompt, "router_weights");
    const float *logits = data_of(g, i_prompt, "router_logits");
    assert_true(ids && weights && logits);
    ids += i_sparse * rows * k;
    weights += i_sparse * rows * k;
    logits += i_sparse * rows * e;
    double worst = 0;
    for (size_t i = 0; i < rows; i++) {
        assert_memory_equal(r->experts + i * k, ids + i * k, k * sizeof *ids);
        for (size_t j = 0; j < k; j++)
            worst = fmax(worst, far(r->weights[i * k + j], weights[i * k + j]));
        for (size_t j = 0; j < e; j++)
            worst = fmax(worst,
                         far(f->model->router[i * f->model->router_stride + j], logits[i * e + j]));
    }
    assert_true(worst <= 1e-4);
}

// fp32: after every layer; the same experts everywhere.
static void check_layers(const golden *g, fixture *f, size_t i_prompt, const int32_t *ids, int n)
{
    const qw_model_config *c = &f->config;
    size_t h = (size_t)c->hidden_size, i_sparse = 0;
    const float *hidden = data_of(g, i_prompt, "hidden");
    assert_non_null(hidden);
    double worst = 0;
    for (int l = 0; l < c->num_hidden_layers; l++) {
        fixture_step(f, ids, 0, n, l + 1);
        for (int i = 0; i < n; i++) {
            const float *got = qw_model_hidden(f->model, i);
            for (size_t d = 0; d < h; d++)
                worst =
                    fmax(worst, far(got[d], hidden[((size_t)l * (size_t)n + (size_t)i) * h + d]));
        }
        if (qw_model_config_is_sparse(c, l)) check_routing(g, f, i_prompt, i_sparse++, n);
    }
    print_message("  %d tokens: hidden states within %.2g\n", n, worst);
    assert_true(worst <= 1e-4);
    assert_int_equal(i_sparse, qw_model_config_n_sparse(c));
}

static void check_logits(const golden *g, fixture *f, size_t i_prompt, const int32_t *ids, int n)
{
    int v = f->config.vocab_size;
    const float *want = data_of(g, i_prompt, "logits");
    const json_t *greedy = json_object_get(json_array_get(g->prompts, i_prompt), "greedy");
    if (!want) return;
    int32_t all[MAX];
    memcpy(all, ids, (size_t)n * sizeof *ids);
    int n_greedy = fixture_ids(all + n, MAX - n, greedy);
    float *logits = qw_mem_calloc((size_t)MAX * (size_t)v, sizeof *logits);
    fixture_logits(f, logits, all, n + n_greedy, MAX);
    double worst = 0;
    for (size_t i = 0; i < (size_t)n * (size_t)v; i++) worst = fmax(worst, far(logits[i], want[i]));
    print_message("  %d tokens: logits within %.2g\n", n, worst);
    assert_true(worst <= 1e-4);
    for (int i = 0; i < n_greedy; i++)
        assert_int_equal(fixture_argmax(logits + (size_t)(n - 1 + i) * (size_t)v, v), all[n + i]);
    qw_mem_free(logits);
}

static void check_model(const char *name)
{
    char dir[512];
    snprintf(dir, sizeof dir, MOE "%s", name);
    golden g;
    open_golden(&g, dir);
    fixture f;
    fixture_options o = fixture_defaults(dir, QW_COMPUTE_F32);
    fixture_open(&f, &o);
    print_message("%s\n", name);
    for (size_t i = 0; i < json_array_size(g.prompts); i++) {
        int32_t ids[MAX];
        int n = fixture_ids(ids, MAX, json_object_get(json_array_get(g.prompts, i), "ids"));
        check_layers(&g, &f, i, ids, n);
        check_logits(&g, &f, i, ids, n);
    }
    fixture_close(&f);
    close_golden(&g);
}

// Dense layer 0, 6 experts of which 3, one kv head, tied.
static void test_tied(void **state)
{
    (void)state;
    check_model("tied");
}

// Experts in every second layer, weights that are not renormalized; the first two layers.
static void test_mixed(void **state)
{
    (void)state;
    check_model("mixed");
}

// bfloat16, where a choice may flip: the prompt whose margins are wide.
static void test_bfloat16(void **state)
{
    (void)state;
    golden g;
    open_golden(&g, MOE "tied");
    fixture f;
    fixture_options o = fixture_defaults(MOE "tied", QW_COMPUTE_BF16);
    fixture_open(&f, &o);
    int32_t ids[MAX];
    int n = fixture_ids(ids, MAX, json_object_get(json_array_get(g.prompts, 0), "ids"));
    int v = f.config.vocab_size;
    float *logits = qw_mem_calloc((size_t)n * (size_t)v, sizeof *logits);
    fixture_logits(&f, logits, ids, n, MAX);
    const float *want = data_of(&g, 0, "logits");
    assert_non_null(want);
    double error = 0, size = 0;
    for (size_t i = 0; i < (size_t)n * (size_t)v; i++) {
        double d = (double)logits[i] - (double)want[i];
        error += d * d;
        size += (double)want[i] * (double)want[i];
    }
    print_message("  logits off by %.2g of their length\n", sqrt(error / size));
    assert_true(sqrt(error / size) <= 0.03);
    qw_mem_free(logits);
    fixture_close(&f);
    close_golden(&g);
}

// The same sequence in other chunks, pages, thread counts and kernel levels: the same bits.
static void check_same_bits(const char *dir)
{
    enum { N = 60 };
    int32_t ids[N];
    for (int compute = 0; compute < 2; compute++) {
        fixture_options o = fixture_defaults(dir, compute ? QW_COMPUTE_BF16 : QW_COMPUTE_F32);
        fixture f;
        fixture_open(&f, &o);
        for (int i = 0; i < N; i++) ids[i] = (i * 37 + i * i * 11) % f.config.vocab_size;
        size_t n = N * (size_t)f.config.vocab_size;
        float *want = qw_mem_array(n, sizeof *want), *got = qw_mem_array(n, sizeof *got);
        fixture_logits(&f, want, ids, N, N);
        fixture_close(&f);
        const struct {
            int threads, chunk;
            const char *isa;
        } ways[] = {{1, 1, NULL}, {2, 7, NULL}, {3, N, NULL}, {2, N, "ref"}};
        for (size_t w = 0; w < QW_ARRAY_LEN(ways); w++) {
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

static void test_same_bits(void **state)
{
    (void)state;
    check_same_bits(MOE "tied");
    check_same_bits(MOE "mixed");
    check_same_bits(QW_TEST_DATA "/ascend/moe-w8a8/model");
    check_same_bits(QW_TEST_DATA "/ascend/moe-w4a8/model");
    check_same_bits(QW_TEST_DATA "/ascend/moe-other/model");
}

// What is measured before loading is what is allocated then: all arrays of all experts.
static void test_measure(void **state)
{
    (void)state;
    qw_error err;
    fixture f;
    fixture_options o = fixture_defaults(MOE "mixed", QW_COMPUTE_BF16);
    fixture_open(&f, &o);
    qw_model_footprint p;
    qw_model_limits limits = {.max_tokens = o.max_tokens, .max_logit_rows = o.max_tokens};
    assert_ok(qw_model_measure(&p, &f.config, &f.checkpoint, &limits, &f.layout, &err));
    assert_int_equal(p.activations, f.model->scratch_size); // floats: nothing is quantized
    size_t weights = 0, norms = (2 * 64 + 2 * 32) * sizeof(float) * 2;
    for (int i = 0; i < f.model->n_layers; i++) {
        const qw_layer *l = &f.model->layers[i];
        assert_int_equal(l->moe != NULL, qw_model_config_is_sparse(&f.config, i));
        weights += qw_linear_total_size(&l->qkv.parts[0]) + qw_linear_total_size(&l->o.parts[0]);
        if (!l->moe)
            weights += qw_linear_total_size(&l->gate_up.parts[0]) +
                       qw_linear_total_size(&l->down.parts[0]);
        else
            weights += qw_linear_total_size(&l->moe->router.parts[0]);
        for (int e = 0; l->moe && e < f.config.num_experts; e++)
            weights +=
                qw_linear_total_size(&l->moe->gate_up[e]) + qw_linear_total_size(&l->moe->down[e]);
    }
    weights += qw_linear_total_size(&f.model->lm_head.parts[0]);
    assert_int_equal(p.weights, weights + norms);
    fixture_close(&f);
}

// Loading with every allocation failing in turn: an error, and nothing left behind.
static void test_shortages(void **state)
{
    (void)state;
    qw_error err;
    qw_model_config config;
    qw_checkpoint ck;
    qw_backend *be;
    assert_ok(qw_model_config_load(&config, MOE "tied", NULL, &err));
    assert_ok(qw_checkpoint_open(&ck, MOE "tied", &err));
    assert_ok(qw_backend_open_cpu(&be, &(qw_cpu_options){.n_threads = 1}, &err));
    qw_model_load_args args = {.compute = QW_COMPUTE_F32,
                               .limits = {.max_tokens = 8, .max_logit_rows = 8}};
    qw_model *m = NULL;
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    for (uint64_t n = 1; st != QW_OK && n < 5000; n += 3) {
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
        cmocka_unit_test(test_tied),     cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_bfloat16), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_measure),  cmocka_unit_test(test_shortages),
    };
    qw_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
