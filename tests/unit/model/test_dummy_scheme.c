// Made-up models in every quantized format, and heads that become int8 at loading: the plan to the
// byte, the same bits in every way of computing them, and what an int8 head does to logits.
#include "test_util.h"

#include <math.h>
#include <stdlib.h>

#include "model_fixture.h"

#define TIED QW_TEST_DATA "/tiny-models/tied"
#define UNTIED QW_TEST_DATA "/tiny-models/untied-sharded"

static const char *const schemes[] = {"w8a8", "w8a8-dynamic", "w8a16",
                                      "w4a8", "w4a4",         "w4a4-flatquant"};

enum { N_TOKENS = 40 };

static void fill_ids(int32_t *ids, int n, int vocab_size)
{
    for (int i = 0; i < n; i++) ids[i] = (i * 37 + 5) % vocab_size;
}

// Logits of all tokens, computed `chunk` at a time. Caller frees.
static float *logits_of(const fixture_options *o, int chunk)
{
    fixture f;
    int32_t ids[N_TOKENS];
    fixture_open(&f, o);
    size_t n = (size_t)N_TOKENS * (size_t)f.config.vocab_size;
    float *logits = qw_mem_array(n, sizeof *logits);
    fill_ids(ids, N_TOKENS, f.config.vocab_size);
    fixture_logits(&f, logits, ids, N_TOKENS, chunk);
    for (size_t i = 0; i < n; i++) assert_true(isfinite(logits[i]));
    fixture_close(&f);
    return logits;
}

static size_t logits_size(const char *dir)
{
    qw_model_config c;
    qw_error err;
    assert_ok(qw_model_config_load(&c, dir, NULL, &err));
    size_t size = (size_t)N_TOKENS * (size_t)c.vocab_size * sizeof(float);
    qw_model_config_release(&c);
    return size;
}

static void same_bits(void **state)
{
    (void)state;
    size_t size = logits_size(TIED);
    for (size_t i = 0; i < QW_ARRAY_LEN(schemes); i++) {
        fixture_options o = fixture_defaults(TIED, QW_COMPUTE_BF16);
        o.scheme = schemes[i];
        o.isa = "ref";
        float *want = logits_of(&o, N_TOKENS);
        bool is_constant = true;
        for (size_t k = 1; k < size / sizeof *want; k++) is_constant &= want[k] == want[0];
        assert_false(is_constant);
        static const int chunks[] = {1, 7, N_TOKENS};
        for (int c = 0; c < 3; c++) {
            o.isa = "auto";
            o.n_threads = 1 + c % 2;
            float *got = logits_of(&o, chunks[c]);
            if (memcmp(got, want, size) != 0)
                fail_msg("%s: other bits in chunks of %d", schemes[i], chunks[c]);
            qw_mem_free(got);
        }
        qw_mem_free(want);
    }
}

static void count_rows(void *ctx, int i_layer, qw_tap_point point, const float *x, size_t stride,
                       int n_rows)
{
    (void)i_layer, (void)point, (void)x, (void)stride;
    *(int *)ctx += n_rows;
}

// Who listens to a model's products makes it keep their inputs: norm, SiLU and quantization are
// then steps of their own, to the same bits as in one pass over each row.
static void rows_made_on_the_way(void **state)
{
    (void)state;
    const char *const mixed = QW_TEST_DATA "/ascend/mixed/model"; // gate and up apart
    for (size_t i = 0; i <= QW_ARRAY_LEN(schemes); i++) {
        for (int compute = 0; compute < 2; compute++) {
            bool is_mixed = i == QW_ARRAY_LEN(schemes);
            fixture_options o = fixture_defaults(is_mixed ? mixed : TIED,
                                                 compute ? QW_COMPUTE_F32 : QW_COMPUTE_BF16);
            o.scheme = is_mixed ? NULL : schemes[i];
            fixture f;
            int32_t ids[N_TOKENS];
            float *logits[2];
            fixture_open(&f, &o);
            fill_ids(ids, N_TOKENS, f.config.vocab_size);
            size_t n = (size_t)N_TOKENS * (size_t)f.config.vocab_size;
            for (int tapped = 0; tapped < 2; tapped++) {
                int n_rows = 0;
                logits[tapped] = qw_mem_array(n, sizeof *logits[tapped]);
                qw_model_set_tap(f.model, tapped ? count_rows : NULL, &n_rows);
                fixture_logits(&f, logits[tapped], ids, N_TOKENS, 9);
                assert_int_equal(n_rows, tapped * f.config.num_hidden_layers *
                                             (QW_N_TAP_POINTS + 1) * N_TOKENS);
            }
            assert_memory_equal(logits[0], logits[1], n * sizeof *logits[0]);
            qw_mem_free(logits[0]);
            qw_mem_free(logits[1]);
            fixture_close(&f);
        }
    }
}

// What qw_model_measure says before anything is loaded is what the arrays then take.
static void measured(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(schemes); i++) {
        fixture f;
        fixture_options o = fixture_defaults(TIED, QW_COMPUTE_BF16);
        o.scheme = schemes[i];
        fixture_open(&f, &o);
        qw_error err;
        qw_model_limits limits = {.max_tokens = 64, .max_logit_rows = 16};
        qw_model_footprint before, wider;
        assert_ok(qw_model_measure(&before, &f.config, &f.checkpoint, &limits, &f.layout, &err));
        // The head as float takes one byte more for each weight and none for scales.
        size_t vocab = (size_t)f.config.vocab_size, hidden = (size_t)f.config.hidden_size;
        limits.head = QW_HEAD_FLOAT;
        assert_ok(qw_model_measure(&wider, &f.config, &f.checkpoint, &limits, &f.layout, &err));
        assert_int_equal(wider.weights - before.weights,
                         vocab * hidden - vocab * sizeof(float)); // both are multiples of 64
        // A row more costs its buffers and, where inputs are quantized, the widest row of them:
        // 16-bit codes, a gap, sum and scale.
        limits.head = QW_HEAD_AUTO;
        limits.max_tokens = 65;
        assert_ok(qw_model_measure(&wider, &f.config, &f.checkpoint, &limits, &f.layout, &err));
        size_t q = (size_t)f.config.num_attention_heads * (size_t)f.config.head_dim;
        size_t kv = (size_t)f.config.num_key_value_heads * (size_t)f.config.head_dim;
        size_t row = 2 * qw_row_stride(hidden) + qw_row_stride(q + 2 * kv) + qw_row_stride(q) +
                     qw_row_stride((size_t)f.config.intermediate_size) + (size_t)f.config.head_dim;
        bool is_float = strcmp(schemes[i], "w8a16") == 0;
        size_t codes = is_float ? 0 : 2 * q + 64 + 4 + 4; // the input of o is the widest
        assert_int_equal(wider.activations - before.activations, row * sizeof(float) + codes);
        fixture_close(&f);
    }
}

static void bad_schemes(void **state)
{
    (void)state;
    qw_error err;
    qw_model_config config;
    qw_checkpoint c;
    assert_null(qw_dummy_scheme_find("w2a2"));
    assert_ok(qw_model_config_load(&config, TIED, NULL, &err));
    assert_fails(qw_model_dummy_checkpoint(&c, &config, qw_dummy_scheme_find("w4a8-g128"), 1, &err),
                 QW_ERR_UNSUPPORTED,
                 "w4a8-g128: groups of 128 inputs do not divide the 64 of "
                 "'model.layers.0.self_attn.q_proj.weight'");
    qw_model_config_release(&config);
}

static double cosine(const float *a, const float *b, size_t n)
{
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < n; i++) {
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        ab += (double)a[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

// A float checkpoint's head in int8: near the float logits, but others; from memory, written to the
// cache and mapped from it, in any chunks and at any level, the same bits.
static void int8_head(void **state)
{
    (void)state;
    static const char *const dirs[] = {TIED, UNTIED};
    for (size_t d = 0; d < QW_ARRAY_LEN(dirs); d++) {
        char cache[] = QW_TEST_TMP "/int8_head_XXXXXX";
        assert_non_null(mkdtemp(cache));
        size_t size = logits_size(dirs[d]);
        fixture_options o = fixture_defaults(dirs[d], QW_COMPUTE_F32);
        float *exact = logits_of(&o, N_TOKENS);
        o.head = QW_HEAD_INT8;
        float *want = logits_of(&o, N_TOKENS);
        assert_memory_not_equal(want, exact, size);
        double c = cosine(want, exact, size / sizeof *want);
        print_message("%s: cosine %.6f\n", dirs[d], c);
        assert_true(c > 0.999);
        o.isa = "ref";
        for (int i = 0; i < 3; i++) {
            if (i > 0) o.cache_dir = cache;
            float *got = logits_of(&o, i == 0 ? 1 : N_TOKENS);
            assert_memory_equal(got, want, size);
            qw_mem_free(got);
            o.isa = "auto";
        }
        // The same directory's float head is another file.
        o.head = QW_HEAD_AUTO;
        float *again = logits_of(&o, N_TOKENS);
        assert_memory_equal(again, exact, size);
        qw_mem_free(again);
        qw_mem_free(exact);
        qw_mem_free(want);
    }
}

// Without a word about the head in the description it is int8; with one it is as stored.
static void count_head(void *ctx, const qw_linear_info *l)
{
    if (l->layer < 0) *(qw_dtype *)ctx = l->dtype;
}

static qw_dtype head_of(const char *dir, const char *scheme, qw_head_dtype choice)
{
    fixture f;
    qw_error err;
    fixture_options o = fixture_defaults(dir, QW_COMPUTE_F32);
    o.scheme = scheme;
    fixture_open(&f, &o);
    qw_dtype head = QW_DTYPE_I64;
    assert_ok(qw_model_describe(&f.config, &f.checkpoint, choice, count_head, &head, &err));
    fixture_close(&f);
    return head;
}

static void head_choice(void **state)
{
    (void)state;
    const char *ascend = QW_TEST_DATA "/ascend/w8a8/model";
    assert_int_equal(head_of(TIED, NULL, QW_HEAD_AUTO), QW_DTYPE_BF16);
    assert_int_equal(head_of(TIED, "none", QW_HEAD_AUTO), QW_DTYPE_BF16);
    assert_int_equal(head_of(TIED, "w4a8", QW_HEAD_AUTO), QW_DTYPE_I8);
    assert_int_equal(head_of(TIED, "w4a8", QW_HEAD_FLOAT), QW_DTYPE_BF16);
    assert_int_not_equal(head_of(ascend, NULL, QW_HEAD_AUTO), QW_DTYPE_I8);
    assert_int_equal(head_of(ascend, NULL, QW_HEAD_INT8), QW_DTYPE_I8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits), cmocka_unit_test(rows_made_on_the_way),
        cmocka_unit_test(measured),  cmocka_unit_test(bad_schemes),
        cmocka_unit_test(int8_head), cmocka_unit_test(head_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
