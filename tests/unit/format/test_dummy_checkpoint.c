// Made-up weights: the formula of the header, element by element, and that nothing else matters.
#include "test_util.h"

#include <math.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/rng.h"
#include "format/dummy_checkpoint.h"

static const qw_dummy_shape shapes[] = {
    {"model.embed_tokens.weight", .rows = 70, .cols = 257},
    {"model.norm.weight", .rows = 300},
    {"model.layers.0.self_attn.q_proj.bias", .rows = 300},
    {"model.layers.0.self_attn.q_norm.weight", .rows = 128},
    {"model.layers.0.mlp.up_proj.weight", .rows = 512, .cols = 1024},
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

static const qw_dummy_shape integer_shapes[] = {
    {"model.embed_tokens.weight", .rows = 70, .cols = 64, .type = QW_QUANT_FLOAT},
    {"a.q_proj.weight", .rows = 40, .cols = 256, .type = QW_QUANT_W8A8},
    {"a.k_proj.weight", .rows = 50, .cols = 300, .type = QW_QUANT_W8A8_DYNAMIC},
    {"a.v_proj.weight", .rows = 60, .cols = 96, .type = QW_QUANT_W4A4_FLATQUANT_DYNAMIC},
    {"a.o_proj.weight", .rows = 80, .cols = 512, .type = QW_QUANT_W4A8_DYNAMIC, .group = 128},
};

static float float_at(const qw_checkpoint *c, const char *name, size_t i)
{
    float x;
    const qw_stored_tensor *t = qw_checkpoint_find(c, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, QW_DTYPE_F32);
    assert_true(t->size >= 4 * (i + 1));
    memcpy(&x, t->data + 4 * i, sizeof x);
    return x;
}

// Integers by the header's formula, over their whole range; scales that give a std of 0.02 again.
static void integers(void **state)
{
    (void)state;
    qw_error err;
    qw_checkpoint c;
    assert_ok(qw_dummy_checkpoint_open(&c, integer_shapes, QW_ARRAY_LEN(integer_shapes), 3, &err));
    assert_non_null(c.quant);
    assert_int_equal(c.quant->n_entries, 4);
    assert_null(qw_quant_description_entry(c.quant, "model.embed_tokens.weight"));
    for (size_t i = 1; i < QW_ARRAY_LEN(integer_shapes); i++) {
        const qw_dummy_shape *s = &integer_shapes[i];
        const qw_quant_entry *e = qw_quant_description_entry(c.quant, s->name);
        assert_non_null(e);
        assert_int_equal(e->type, s->type);
        const qw_stored_tensor *t = qw_checkpoint_find(&c, s->name);
        assert_int_equal(t->dtype, QW_DTYPE_I8);
        int low = i > 2 ? -8 : -127, high = i > 2 ? 7 : 127, least = 0, most = 0;
        double squares = 0;
        for (size_t r = 0; r < s->rows; r++) {
            int8_t row[512];
            qw_dummy_tensor_row(qw_dummy_tensor_of(&c, t), row, r, 1, s->cols - 1);
            double scale = i == 1 ? (double)float_at(&c, "a.q_proj.deq_scale", r) /
                                        (double)float_at(&c, "a.q_proj.input_scale", 0)
                           : i == 2 ? (double)float_at(&c, "a.k_proj.weight_scale", r)
                           : i == 3 ? (double)float_at(&c, "a.v_proj.weight_scale", r)
                                    : (double)float_at(&c, "a.o_proj.weight_scale", r);
            for (size_t k = 1; k < s->cols; k++) {
                uint64_t h = XXH3_64bits_withSeed(s->name, strlen(s->name), 3);
                const uint32_t key[2] = {(uint32_t)h, (uint32_t)(h >> 32)};
                const uint32_t counter[4] = {(uint32_t)(k / 4), (uint32_t)r, 0, 0x64756D6D};
                uint32_t block[4];
                qw_philox4x32(block, counter, key);
                uint32_t w = block[k % 4];
                int sum = (int)((w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24));
                int q = (int)floor((sum - 510) * (i > 2 ? 1153 : 16850) / 65536.0 + 0.5);
                q = q < low ? low : q > high ? high : q;
                assert_int_equal(row[k - 1], q);
                least = q < least ? q : least;
                most = q > most ? q : most;
                double x = q * scale;
                if (i == 4)
                    x *= (double)float_at(&c, "a.o_proj.weight_scale_second",
                                          r * (s->cols / 128) + k / 128);
                squares += x * x;
            }
        }
        assert_true(i > 2 ? most == high && least == low : most > 100 && least < -100);
        double std = sqrt(squares / (double)(s->rows * (s->cols - 1)));
        assert_true(std > 0.017 && std < 0.023);
    }
    // 96 = 8 x 12, and the transforms are orthogonal.
    for (size_t i = 0; i < 12; i++)
        for (size_t j = 0; j < 12; j++) {
            double dot = 0;
            for (size_t k = 0; k < 12; k++)
                dot += (double)float_at(&c, "a.v_proj.right_trans", i * 12 + k) *
                       (double)float_at(&c, "a.v_proj.right_trans", j * 12 + k);
            assert_true(fabs(dot - (i == j)) < 1e-6);
        }
    assert_int_equal(qw_checkpoint_find(&c, "a.v_proj.left_trans")->size, 8 * 8 * 4);
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

static void check_shortage(const qw_dummy_shape *list, size_t n_shapes)
{
    qw_error err;
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    for (uint64_t n = 1; st != QW_OK; n++) {
        qw_checkpoint c;
        qw_mem_fail_at(n);
        st = qw_dummy_checkpoint_open(&c, list, n_shapes, 1, &err);
        qw_mem_fail_at(0);
        if (st == QW_OK)
            qw_checkpoint_close(&c);
        else
            assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_int_equal(qw_mem_live(), live);
        assert_true(n < 100);
    }
}

static void short_of_memory(void **state)
{
    (void)state;
    check_shortage(shapes, QW_ARRAY_LEN(shapes));
    check_shortage(integer_shapes, QW_ARRAY_LEN(integer_shapes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formula),         cmocka_unit_test(integers),
        cmocka_unit_test(distribution),    cmocka_unit_test(seeds_and_names_differ),
        cmocka_unit_test(short_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
