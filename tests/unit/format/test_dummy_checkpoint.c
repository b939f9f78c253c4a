// Made-up weights: the formula of the header, element by element, and that nothing else matters.
#include "test_util.h"

#include <math.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/rng.h"
#include "format/dummy_checkpoint.h"

static const qw_dummy_shape shapes[] = {
    {"model.embed_tokens.weight", 70, 257},
    {"model.norm.weight", 300, 0},
    {"model.layers.0.self_attn.q_proj.bias", 300, 0},
    {"model.layers.0.self_attn.q_norm.weight", 128, 0},
    {"model.layers.0.mlp.up_proj.weight", 512, 1024},
};

// The header's text once more, the slow way.
static uint16_t expected(const char *name, uint64_t seed, bool is_norm, size_t n, size_t k)
{
    uint64_t h = XXH3_64bits_withSeed(name, strlen(name), seed);
    const uint32_t key[2] = {(uint32_t)h, (uint32_t)(h >> 32)};
    const uint32_t counter[4] = {(uint32_t)(k / 4), (uint32_t)n, 0, 0x64756D6D};
    uint32_t block[4];
    qw_philox4x32(block, counter, key);
    uint32_t w = block[k % 4];
    int s = (int)((w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24));
    float x = (float)(s - 510) * (0.02f / 147.8f);
    return qw_f32_to_bf16(is_norm ? 1.0f + x : x);
}

static const qw_dummy_tensor *tensor(const qw_checkpoint *c, size_t i)
{
    const qw_stored_tensor *t = qw_checkpoint_find(c, shapes[i].name);
    assert_non_null(t);
    return qw_dummy_tensor_of(c, t);
}

static void formula(void **state)
{
    (void)state;
    qw_error err;
    qw_checkpoint c;
    assert_ok(qw_dummy_checkpoint_open(&c, shapes, QW_ARRAY_LEN(shapes), 42, &err));
    assert_int_equal(c.n_tensors, QW_ARRAY_LEN(shapes));
    assert_int_equal(c.total_size, 2 * (70 * 257 + 300 + 300 + 128 + 512 * 1024));
    static const size_t parts[][2] = {{0, 128}, {1, 127}, {3, 1}, {4, 96}, {5, 64}, {31, 34}};
    for (size_t i = 0; i < QW_ARRAY_LEN(shapes); i++) {
        bool is_norm = i == 1 || i == 3;
        size_t rows = shapes[i].cols ? shapes[i].rows : 1;
        for (size_t n = 0; n < rows; n += 23)
            for (size_t p = 0; p < QW_ARRAY_LEN(parts); p++) {
                uint16_t row[128];
                qw_dummy_tensor_row(tensor(&c, i), row, n, parts[p][0], parts[p][1]);
                for (size_t j = 0; j < parts[p][1]; j++)
                    assert_int_equal(row[j],
                                     expected(shapes[i].name, 42, is_norm, n, parts[p][0] + j));
            }
    }
    qw_checkpoint_close(&c);
}

// Values of an ordinary size: the mean and the standard deviation that the header promises.
static void distribution(void **state)
{
    (void)state;
    qw_error err;
    qw_checkpoint c;
    assert_ok(qw_dummy_checkpoint_open(&c, shapes, QW_ARRAY_LEN(shapes), 7, &err));
    double sum = 0, squares = 0, n = 0, neighbours = 0;
    for (size_t r = 0; r < 512; r++) {
        uint16_t row[1024];
        qw_dummy_tensor_row(tensor(&c, 4), row, r, 0, 1024);
        for (int k = 0; k < 1024; k++) {
            double x = (double)qw_bf16_to_f32(row[k]);
            assert_true(fabs(x) < 0.07);
            sum += x;
            squares += x * x;
            if (k > 0) neighbours += x * (double)qw_bf16_to_f32(row[k - 1]);
            n++;
        }
    }
    assert_true(fabs(sum / n) < 0.02 * 4 / sqrt(n));
    assert_true(fabs(sqrt(squares / n) - 0.02) < 0.0001);
    assert_true(fabs(neighbours / n) < 0.0004 * 4 / sqrt(n));
    qw_checkpoint_close(&c);
}

static void seeds_and_names_differ(void **state)
{
    (void)state;
    qw_error err;
    qw_checkpoint a, b;
    assert_ok(qw_dummy_checkpoint_open(&a, shapes, QW_ARRAY_LEN(shapes), 1, &err));
    assert_ok(qw_dummy_checkpoint_open(&b, shapes, QW_ARRAY_LEN(shapes), 2, &err));
    uint16_t x[256], y[256], z[256];
    qw_dummy_tensor_row(tensor(&a, 0), x, 0, 0, 256);
    qw_dummy_tensor_row(tensor(&b, 0), y, 0, 0, 256);
    qw_dummy_tensor_row(tensor(&a, 4), z, 0, 0, 256);
    assert_memory_not_equal(x, y, sizeof x);
    assert_memory_not_equal(x, z, sizeof x);
    qw_dummy_tensor_row(tensor(&a, 0), y, 1, 0, 256);
    assert_memory_not_equal(x, y, sizeof x);
    qw_checkpoint_close(&a);
    qw_checkpoint_close(&b);
}

static void short_of_memory(void **state)
{
    (void)state;
    qw_error err;
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    for (uint64_t n = 1; st != QW_OK; n++) {
        qw_checkpoint c;
        qw_mem_fail_at(n);
        st = qw_dummy_checkpoint_open(&c, shapes, QW_ARRAY_LEN(shapes), 1, &err);
        qw_mem_fail_at(0);
        if (st == QW_OK)
            qw_checkpoint_close(&c);
        else
            assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_int_equal(qw_mem_live(), live);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formula),
        cmocka_unit_test(distribution),
        cmocka_unit_test(seeds_and_names_differ),
        cmocka_unit_test(short_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
