#include "test_util.h"

#include "base/mem.h"
#include "bench/bench_group.h"
#include "bench/machine.h"
#include "unit/bench/bench_test.h"

// Every kind of row on the reference kernels and a model of a few kilobytes: it is made, runs, and
// gives everything back, also when memory runs out half-way; and its costs are right.

static qw_error err;
static qw_model_config config, expert_config;
static qw_bench_buffer buffer;
static qw_bench_env env;
static qw_bench_step_model *model;

static qw_status make_int4_gate_up(qw_bench_case *out)
{
    static qw_bench_env int4;
    int4 = env;
    int4.format = "w4a8-g8";
    int4.dtype = QW_DTYPE_I4;
    int4.group = 8;
    int4.peak = QW_LIMIT_INT4;
    return qw_bench_linear_case(out, &int4, "gate_up", 3, &err);
}

static qw_status make_moe(qw_bench_case *out, bool is_integer)
{
    static qw_bench_env moe;
    moe = env;
    moe.config = &expert_config;
    if (is_integer) {
        moe.format = "w8a8";
        moe.dtype = QW_DTYPE_I8;
        moe.peak = QW_LIMIT_INT8;
    }
    return qw_bench_moe_case(out, &moe, 3, &err);
}

static qw_status make_experts(qw_bench_case *out)
{
    return make_moe(out, false);
}

static qw_status make_int8_experts(qw_bench_case *out)
{
    return make_moe(out, true);
}

static int set_up(void **unused)
{
    (void)unused;
    const qw_cpu_options cpu = {.n_threads = 1, .isa = "ref"};
    assert_ok(qw_model_config_load(&config, QW_TEST_DATA "/tiny-models/tied", NULL, &err));
    assert_ok(qw_model_config_load(&expert_config, QW_TEST_DATA "/qwen3-moe/tied", NULL, &err));
    assert_ok(qw_bench_buffer_init(&buffer, (size_t)2 << 20, &err));
    env = (qw_bench_env){.config = &config,
                         .model = "tiny",
                         .format = "bf16",
                         .scheme = "none",
                         .dtype = QW_DTYPE_BF16,
                         .kv_dtype = QW_DTYPE_BF16,
                         .round = true,
                         .peak = QW_LIMIT_FMA,
                         .buffer = &buffer};
    assert_ok(qw_backend_open_cpu(&env.be, &cpu, &err));
    // What a product needs for quantized rows stays with the backend.
    qw_bench_case c;
    assert_ok(make_int4_gate_up(&c));
    qw_bench_case_release(&c);
    assert_ok(make_int8_experts(&c));
    qw_bench_case_release(&c);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    qw_backend_close(env.be);
    qw_bench_buffer_release(&buffer);
    qw_model_config_release(&config);
    qw_model_config_release(&expert_config);
    return 0;
}

typedef qw_status maker(qw_bench_case *out);

static qw_status make_gate_up(qw_bench_case *out)
{
    return qw_bench_linear_case(out, &env, "gate_up", 3, &err);
}

static qw_status make_head(qw_bench_case *out)
{
    return qw_bench_head_case(out, &env, 2, &err);
}

static qw_status make_decode_attention(qw_bench_case *out)
{
    return qw_bench_decode_attention_case(out, &env, env.kv_dtype, 3, 100, &err);
}

static qw_status make_int8_attention(qw_bench_case *out)
{
    return qw_bench_decode_attention_case(out, &env, QW_DTYPE_I8, 3, 100, &err);
}

static qw_status make_prefill_attention(qw_bench_case *out)
{
    return qw_bench_prefill_attention_case(out, &env, env.kv_dtype, 20, 33, &err);
}

static qw_status make_norm(qw_bench_case *out)
{
    return qw_bench_norm_case(out, &env, 2, &err);
}

static qw_status make_rope(qw_bench_case *out)
{
    return qw_bench_rope_case(out, &env, 17, &err);
}

static qw_status make_sample(qw_bench_case *out)
{
    return qw_bench_sample_case(out, &env, &err);
}

// The model goes with the last of its rows.
static qw_status make_step(qw_bench_case *out, int m, bool planned)
{
    qw_status st = qw_bench_step_model_new(&model, &env, 20, &err);
    if (st != QW_OK) return st;
    st = m > 3 ? qw_bench_prefill_step_case(out, model, m, &err)
               : qw_bench_decode_step_case(out, model, m, 33, planned, &err);
    qw_bench_step_model_drop(model);
    return st;
}

static qw_status make_decode_step(qw_bench_case *out)
{
    return make_step(out, 3, false);
}

static qw_status make_planned_step(qw_bench_case *out)
{
    return make_step(out, 3, true);
}

static qw_status make_prefill_step(qw_bench_case *out)
{
    return make_step(out, 20, false);
}

static qw_status make_int8_step(qw_bench_case *out)
{
    static qw_bench_env int8;
    int8 = env;
    int8.format = "w8a8";
    int8.scheme = "w8a8-dynamic";
    int8.dtype = QW_DTYPE_I8;
    int8.peak = QW_LIMIT_INT8;
    qw_status st = qw_bench_step_model_new(&model, &int8, 20, &err);
    if (st != QW_OK) return st;
    st = qw_bench_decode_step_case(out, model, 3, 33, false, &err);
    qw_bench_step_model_drop(model);
    return st;
}

static maker *const makers[] = {
    make_int4_gate_up,     make_int8_attention,    make_gate_up,      make_head,
    make_decode_attention, make_prefill_attention, make_norm,         make_rope,
    make_sample,           make_decode_step,       make_planned_step, make_prefill_step,
    make_int8_step,        make_experts,           make_int8_experts,
};

static void test_run(void **unused)
{
    (void)unused;
    const size_t live = qw_mem_live();
    for (size_t i = 0; i < QW_ARRAY_LEN(makers); i++) {
        qw_bench_case c;
        assert_ok(makers[i](&c));
        for (int run = 0; run < 40; run++) c.run(c.ctx); // the weights go round in the buffer
        char parts[160] = "";
        if (c.describe_parts) {
            c.describe_parts(c.ctx, parts, sizeof parts);
            assert_non_null(strstr(parts, makers[i] == make_planned_step ? "plan " : "products "));
        }
        qw_bench_case_release(&c);
        qw_bench_case_release(&c);
        assert_int_equal(qw_mem_live(), live);
    }
}

static void test_memory(void **unused)
{
    (void)unused;
    const size_t live = qw_mem_live();
    for (size_t i = 0; i < QW_ARRAY_LEN(makers); i++) {
        qw_status st = QW_ERR_NO_MEMORY;
        for (uint64_t n = 1; st != QW_OK; n++) {
            qw_bench_case c;
            qw_mem_fail_at(n);
            st = makers[i](&c);
            qw_mem_fail_at(0);
            if (st == QW_OK)
                qw_bench_case_release(&c);
            else
                assert_int_equal(st, QW_ERR_NO_MEMORY);
            assert_int_equal(qw_mem_live(), live);
        }
    }
}

// The costs of 1.3 for the tiny model, from its own numbers.
static void test_work(void **unused)
{
    (void)unused;
    const double h = config.hidden_size, f = config.intermediate_size, v = config.vocab_size;
    const double layers = config.num_hidden_layers, d = config.head_dim;
    const double nh = config.num_attention_heads, nkv = config.num_key_value_heads;
    qw_bench_case c;
    assert_ok(make_gate_up(&c));
    assert_near(c.work.bytes, 2 * f * h * 2, 0);
    assert_near(c.work.product_ops, 2 * 2 * f * h * 3, 0);
    assert_string_equal(c.shape, "tiny/gate_up");
    qw_bench_case_release(&c);
    assert_ok(make_int4_gate_up(&c)); // half a byte, and a scale for each 8
    assert_near(c.work.bytes, 2 * f * h * (0.5 + 4.0 / 8), 0);
    assert_string_equal(c.kernel, "gemm_i4");
    qw_bench_case_release(&c);
    assert_ok(make_experts(&c)); // 3 of 6 for each of 3 rows: 5.25 of them are read
    assert_near(c.work.bytes, 5.25 * 3 * 64 * 40 * 2, 1e-9);
    assert_near(c.work.product_ops, 2 * 3 * 3 * 3 * 64 * 40, 0);
    assert_string_equal(c.shape, "tiny/experts");
    qw_bench_case_release(&c);
    assert_ok(make_decode_attention(&c));
    assert_near(c.work.bytes, 3 * 100 * 2 * nkv * d * 2, 0);
    assert_near(c.work.attention_ops, 4 * 3 * 100 * nh * d * (1 + nkv / nh), 1e-6);
    qw_bench_case_release(&c);
    assert_ok(make_prefill_attention(&c)); // rows see 14, 15, ..., 33 positions: 470
    assert_near(c.work.attention_ops, 4 * 470 * nh * d, 1e-6);
    qw_bench_case_release(&c);
    assert_ok(make_prefill_step(&c));
    const double lin = layers * (h * (2 * nh + 2 * nkv) * d + 3 * h * f);
    assert_near(c.work.product_ops, 2 * lin * 20 + 2 * v * h, 1e-6);
    assert_near(c.work.attention_ops, 2 * 20 * 21 * layers * nh * d, 1e-6);
    qw_bench_case_release(&c);
    assert_ok(make_decode_step(&c));
    assert_near(c.work.bytes, 2 * (lin + v * h) + 3 * 33 * layers * 2 * nkv * d * 2, 1e-6);
    assert_near(c.work.product_ops, 2 * (lin + v * h) * 3, 1e-6);
    qw_bench_case_release(&c);
}

// A group runs its rounds and keeps a sample of each; afterwards the rows hold no memory.
static void test_group(void **unused)
{
    (void)unused;
    const size_t live = qw_mem_live();
    const double typical[QW_N_LIMITS] = {10e9, 10e9, 0};
    qw_limit_meter *meter;
    qw_bench_group g = {0};
    qw_bench_case c;
    assert_ok(qw_limit_meter_new(&meter, "ref", 1, &buffer, &err));
    assert_ok(make_norm(&c));
    assert_ok(qw_bench_group_add(&g, &c, &err));
    assert_ok(make_gate_up(&c));
    assert_ok(qw_bench_group_add(&g, &c, &err));
    double best_spin = 0;
    assert_ok(qw_bench_group_run(&g, meter, typical, 2, &best_spin, &err));
    assert_true(best_spin > 0);
    for (size_t i = 0; i < 2; i++) {
        qw_bench_record r = qw_bench_group_record(&g, i);
        assert_int_equal(r.n_samples, 2);
        assert_null(r.bench_case->ctx);
        for (size_t j = 0; j < 2; j++) {
            assert_true(r.samples[j].run.value > 0 && r.samples[j].run_count >= 1);
            assert_true(qw_sample_ratio(&r.samples[j], &r.bench_case->work) > 0);
            assert_true(r.samples[j].run.before.at_ns >= r.samples[j].limits[0][0].after.at_ns);
        }
    }
    qw_bench_group_release(&g);
    qw_limit_meter_free(meter);
    assert_int_equal(qw_mem_live(), live);
}

static void test_buffer(void **unused)
{
    (void)unused;
    // Eight times the cache, but no more than a quarter of the memory, in whole huge pages.
    assert_int_equal(qw_bench_buffer_size((size_t)32 << 20, (size_t)24 << 30), (size_t)256 << 20);
    assert_int_equal(qw_bench_buffer_size((size_t)1 << 30, (size_t)8 << 30), (size_t)2 << 30);
    assert_int_equal(qw_bench_buffer_size(0, (size_t)24 << 30), (size_t)128 << 20);
    // Ordinary numbers in every format: no zeros, denormals, infinities.
    const uint16_t *halves = (const uint16_t *)(const void *)buffer.data;
    for (size_t i = 0; i < buffer.size / 2; i++) {
        float x = qw_bf16_to_f32(halves[i]), y = qw_f16_to_f32(halves[i]);
        x = x < 0 ? -x : x;
        y = y < 0 ? -y : y;
        assert_true(x > 0.007f && x < 0.04f && y >= 1 && y < 1.3f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),   cmocka_unit_test(test_memory), cmocka_unit_test(test_work),
        cmocka_unit_test(test_group), cmocka_unit_test(test_buffer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
