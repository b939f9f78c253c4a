// Packing through a sink, from computed rows and into memory: all give the same bytes.
#include "test_util.h"

#include <stdatomic.h>

#include "backend/backend.h"
#include "base/mem.h"
#include "base/rng.h"

enum { K = 1000 };

typedef struct fixture {
    qw_backend *be;
    uint8_t *data[3];
    qw_host_matrix segments[3], biases[3];
    float bias[700];
} fixture;

static const int rows_of[3] = {650, 650, 33};

static void fill(fixture *f, qw_dtype dtype)
{
    size_t size = (size_t)qw_dtype_bits(dtype) / 8;
    for (int s = 0; s < 3; s++) {
        size_t bytes = (size_t)rows_of[s] * K * size;
        f->data[s] = qw_mem_alloc(bytes);
        for (size_t i = 0; i < bytes; i++) f->data[s][i] = (uint8_t)(i * 31 + i / 253 + (size_t)s);
        f->segments[s] =
            (qw_host_matrix){.data = f->data[s], .dtype = dtype, .rows = rows_of[s], .cols = K};
    }
    for (int i = 0; i < 700; i++) f->bias[i] = (float)i;
    f->biases[0] =
        (qw_host_matrix){.data = f->bias, .dtype = QW_DTYPE_F32, .rows = 1, .cols = rows_of[0]};
}

static void open_fixture(fixture *f, int n_threads, qw_dtype dtype)
{
    qw_error err;
    *f = (fixture){0};
    assert_ok(qw_backend_open_cpu(&f->be, &(qw_cpu_options){.n_threads = n_threads}, &err));
    fill(f, dtype);
}

static void close_fixture(fixture *f)
{
    for (int s = 0; s < 3; s++) qw_mem_free(f->data[s]);
    qw_backend_close(f->be);
}

// Collects what the backend hands out; each byte must come exactly once.
typedef struct collector {
    uint8_t *panels, *times;
    float *bias;
    atomic_int countdown; /* calls left before ENOSPC; negative: never */
} collector;

static int collect(void *ctx, qw_linear_part part, size_t offset, const void *data, size_t size)
{
    collector *c = ctx;
    if (atomic_load(&c->countdown) >= 0 && atomic_fetch_sub(&c->countdown, 1) <= 0) return 28;
    if (part == QW_LINEAR_BIAS) {
        memcpy((uint8_t *)c->bias + offset, data, size);
        return 0;
    }
    memcpy(c->panels + offset, data, size);
    for (size_t i = 0; i < size; i += 64) c->times[(offset + i) / 64]++;
    return 0;
}

static void sink_gives_the_same(void **state)
{
    (void)state;
    static const qw_dtype dtypes[] = {QW_DTYPE_BF16, QW_DTYPE_F32};
    for (int i = 0; i < 8; i++) {
        fixture f;
        qw_error err;
        open_fixture(&f, 1 + i % 2, dtypes[i / 4]);
        bool interleave = i / 2 % 2;
        qw_linear_source source = {.segments = f.segments,
                                   .biases = f.biases,
                                   .n_segments = interleave ? 2 : 3,
                                   .concat = interleave ? QW_CONCAT_INTERLEAVE : QW_CONCAT_STACK};
        qw_linear whole, planned;
        assert_ok(f.be->linear_pack(f.be, &whole, &source, &err));
        assert_ok(qw_linear_plan(&planned, &source, &err));
        assert_int_equal(planned.size, whole.size);
        assert_int_equal(planned.bias_size, whole.bias_size);
        collector c = {.countdown = -1};
        c.panels = qw_mem_alloc(planned.size);
        c.times = qw_mem_calloc(planned.size / 64, 1);
        c.bias = qw_mem_alloc(planned.bias_size);
        assert_ok(f.be->linear_write(f.be, &planned, &source, collect, &c, &err));
        assert_memory_equal(c.panels, whole.panels, whole.size);
        assert_memory_equal(c.bias, whole.bias, whole.bias_size);
        for (size_t k = 0; k < planned.size / 64; k++) assert_int_equal(c.times[k], 1);
        // The element in row 17, k 5 of segment 0, by the layout's formula.
        size_t size = (size_t)qw_dtype_bits(dtypes[i / 4]) / 8, per_word = 4 / size;
        size_t panel = interleave ? 2 : 1;
        const uint8_t *e = (const uint8_t *)whole.panels + panel * whole.panel_size +
                           5 / per_word * 64 + 1 * 4 + 5 % per_word * size;
        assert_memory_equal(e, f.data[0] + (17 * K + 5) * size, size);
        assert_true(whole.bias[interleave ? 32 : 16] == 16.0f);
        qw_mem_free(c.panels);
        qw_mem_free(c.times);
        qw_mem_free(c.bias);
        f.be->linear_release(f.be, &whole);
        close_fixture(&f);
    }
}

static void sink_failure_ends_it(void **state)
{
    (void)state;
    fixture f;
    qw_error err;
    open_fixture(&f, 2, QW_DTYPE_BF16);
    qw_linear_source source = {.segments = f.segments, .biases = f.biases, .n_segments = 3};
    qw_linear w;
    assert_ok(qw_linear_plan(&w, &source, &err));
    for (int at = 0; at < 4; at++) {
        collector c = {.countdown = at};
        c.panels = qw_mem_alloc(w.size);
        c.times = qw_mem_calloc(w.size / 64, 1);
        c.bias = qw_mem_alloc(w.bias_size);
        assert_fails(f.be->linear_write(f.be, &w, &source, collect, &c, &err), QW_ERR_IO,
                     "No space left on device");
        qw_mem_free(c.panels);
        qw_mem_free(c.times);
        qw_mem_free(c.bias);
    }
    close_fixture(&f);
}

// A computed matrix: element [n][k] from its place.
static uint16_t computed(size_t n, size_t k)
{
    return (uint16_t)(n * 977 + k * 3 + 1);
}

static void compute_row(const void *ctx, void *out, size_t row, size_t first_col, size_t n_cols)
{
    (void)ctx;
    for (size_t i = 0; i < n_cols; i++) ((uint16_t *)out)[i] = computed(row, first_col + i);
}

static void computed_rows(void **state)
{
    (void)state;
    fixture f;
    qw_error err;
    open_fixture(&f, 2, QW_DTYPE_BF16);
    for (int s = 0; s < 3; s++)
        for (size_t n = 0; n < (size_t)rows_of[s]; n++)
            for (size_t k = 0; k < K; k++) ((uint16_t *)f.data[s])[n * K + k] = computed(n, k);
    qw_host_matrix made_up[3];
    for (int s = 0; s < 3; s++)
        made_up[s] = (qw_host_matrix){
            .dtype = QW_DTYPE_BF16, .rows = rows_of[s], .cols = K, .row = compute_row};
    qw_linear a, b;
    qw_linear_source stored = {.segments = f.segments, .n_segments = 3};
    qw_linear_source source = {.segments = made_up, .n_segments = 3};
    assert_ok(f.be->linear_pack(f.be, &a, &stored, &err));
    assert_ok(f.be->linear_pack(f.be, &b, &source, &err));
    assert_memory_equal(a.panels, b.panels, a.size);
    assert_null(b.bias);
    f.be->linear_release(f.be, &a);
    f.be->linear_release(f.be, &b);
    uint16_t *table = qw_mem_alloc(650 * K * 2);
    f.be->fill_rows(f.be, table, &made_up[0]);
    assert_memory_equal(table, f.data[0], 650 * K * 2);
    qw_mem_free(table);
    assert_true(qw_host_matrix_at(&made_up[1], 3, 9) == qw_host_matrix_at(&f.segments[1], 3, 9));
    close_fixture(&f);
}

static void short_of_memory(void **state)
{
    (void)state;
    fixture f;
    qw_error err;
    open_fixture(&f, 2, QW_DTYPE_BF16);
    f.segments[1] =
        (qw_host_matrix){.dtype = QW_DTYPE_BF16, .rows = rows_of[1], .cols = K, .row = compute_row};
    qw_linear_source source = {.segments = f.segments, .biases = f.biases, .n_segments = 3};
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    for (uint64_t n = 1; st != QW_OK; n++) {
        qw_linear w;
        qw_mem_fail_at(n);
        st = f.be->linear_pack(f.be, &w, &source, &err);
        qw_mem_fail_at(0);
        if (st == QW_OK)
            f.be->linear_release(f.be, &w);
        else
            assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_int_equal(qw_mem_live(), live);
    }
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sink_gives_the_same),
        cmocka_unit_test(sink_failure_ends_it),
        cmocka_unit_test(computed_rows),
        cmocka_unit_test(short_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
