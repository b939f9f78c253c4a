// The memory plan: pool sizes, and refusals that name values which then work.

#include "test_util.h"

#include "engine/memory_plan.h"

#define GIB ((size_t)1 << 30)

// Qwen3-8B in BF16 on a machine of 24 GiB.
static qw_plan_input input(void)
{
    return (qw_plan_input){.weights = 15 * GIB,
                           .activations = GIB / 2,
                           .mapped = 15 * GIB,
                           .kv_per_block = 147456 * 16,
                           .block_size = 16,
                           .derived_max_len = 40960,
                           .max_num_seqs = 256,
                           .memory_fraction = 0.92,
                           .memory_limit = 24 * GIB};
}

static void test_pool(void **state)
{
    (void)state;
    qw_error err;
    qw_memory_plan p;
    qw_plan_input in = input();
    assert_ok(qw_memory_plan_make(&p, &in, &err));
    assert_int_equal(p.max_model_len, 40960);
    // The budget's rest, in whole blocks.
    size_t rest = p.budget - in.weights - in.activations;
    assert_int_equal((size_t)p.n_blocks, rest / in.kv_per_block);
    assert_true(p.total <= p.budget);
    // Never more than all sequences can use.
    in.max_num_seqs = 1;
    in.max_model_len = 1000;
    assert_ok(qw_memory_plan_make(&p, &in, &err));
    assert_int_equal(p.n_blocks, 63);
    in.n_blocks_override = 70;
    assert_ok(qw_memory_plan_make(&p, &in, &err));
    assert_int_equal(p.n_blocks, 70);
    in.n_blocks_override = 0;
    in.max_num_seqs = 1000;
    in.kv_cache_bytes = (int64_t)GIB;
    assert_ok(qw_memory_plan_make(&p, &in, &err));
    assert_int_equal((size_t)p.n_blocks, GIB / in.kv_per_block);
}

// A number in an error text, behind `after`.
static double number_after(const char *text, const char *after)
{
    const char *p = strstr(text, after);
    if (!p) fail_msg("'%s' not in '%s'", after, text);
    return strtod(p + strlen(after), NULL);
}

static void test_refused_length_names_what_fits(void **state)
{
    (void)state;
    qw_error err;
    qw_memory_plan p;
    qw_plan_input in = input();
    in.memory_limit = 20 * GIB;
    assert_fails(qw_memory_plan_make(&p, &in, &err), QW_ERR_NO_MEMORY, "max seq len (40960)");
    qw_plan_input shorter = in;
    shorter.max_model_len = (int32_t)number_after(err.text, "--max-model-len ");
    assert_true(shorter.max_model_len > 1000);
    qw_error err2;
    assert_int_equal(qw_memory_plan_make(&p, &shorter, &err2), QW_OK);
    shorter.max_model_len++;
    shorter.max_model_len += 16;
    assert_int_equal(qw_memory_plan_make(&p, &shorter, &err2), QW_ERR_NO_MEMORY);
    qw_plan_input larger = in;
    larger.kv_cache_bytes = (int64_t)(2 * GIB);
    assert_fails(qw_memory_plan_make(&p, &larger, &err), QW_ERR_NO_MEMORY,
                 "--kv-cache-memory-bytes");
    larger.memory_limit = 24 * GIB;
    larger.kv_cache_bytes = (int64_t)number_after(err.text, "--kv-cache-memory-bytes ");
    assert_ok(qw_memory_plan_make(&p, &larger, &err));
    // "auto" takes what fits.
    in.max_model_len = -1;
    assert_ok(qw_memory_plan_make(&p, &in, &err));
    assert_true(p.max_model_len < 40960 && p.max_model_len % 16 == 0);
}

static void test_refused_weights(void **state)
{
    (void)state;
    qw_error err;
    qw_memory_plan p;
    qw_plan_input in = input();
    in.memory_fraction = 0.5;
    assert_fails(qw_memory_plan_make(&p, &in, &err), QW_ERR_NO_MEMORY, "15.00 GiB");
    in.memory_fraction = number_after(err.text, "--gpu-memory-utilization ");
    in.max_model_len = 16;
    assert_ok(qw_memory_plan_make(&p, &in, &err));
    in.weights = 61 * GIB; // 32B
    assert_fails(qw_memory_plan_make(&p, &in, &err), QW_ERR_NO_MEMORY, "61.50 GiB");
    assert_non_null(strstr(err.text, "num_hidden_layers"));
}

static void test_refused_context(void **state)
{
    (void)state;
    qw_error err;
    qw_memory_plan p;
    qw_plan_input in = input();
    in.max_model_len = 50000;
    in.memory_limit = 100 * GIB;
    assert_fails(qw_memory_plan_make(&p, &in, &err), QW_ERR_USAGE,
                 "VLLM_ALLOW_LONG_MAX_MODEL_LEN=1");
    in.allow_long = true;
    assert_ok(qw_memory_plan_make(&p, &in, &err));
    assert_int_equal(p.max_model_len, 50000);
}

static void test_table(void **state)
{
    (void)state;
    qw_error err;
    qw_memory_plan p;
    qw_plan_input in = input();
    assert_ok(qw_memory_plan_make(&p, &in, &err));
    qw_buf out;
    qw_buf_init(&out, 4096);
    qw_memory_plan_print(&p, &out);
    assert_ok(qw_buf_check(&out, "the table", &err));
    assert_non_null(strstr(out.data, "15.000 GiB"));
    assert_non_null(strstr(out.data, "147456 bytes a token in "));
    qw_buf_release(&out);
    assert_true(qw_memory_limit() > 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_refused_length_names_what_fits),
        cmocka_unit_test(test_refused_weights),
        cmocka_unit_test(test_refused_context),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
