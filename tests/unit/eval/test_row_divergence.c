// Divergence and signal to noise; the numbers are scripts/golden/eval_stats.py's.
#include "test_util.h"

#include "base/rng.h"
#include "eval/row_divergence.h"
#include "unit/bench/bench_test.h"

enum { MAX = 1000 };

// Multiples of 1/8 between -8 and 8.
static void make_logits(float *out, size_t n, uint32_t seed)
{
    const uint32_t key[2] = {seed, 0};
    uint32_t words[4];
    for (size_t i = 0; i < n; i++) {
        const uint32_t counter[4] = {(uint32_t)(i / 4), 0, 0, 0};
        if (i % 4 == 0) qw_philox4x32(words, counter, key);
        out[i] = (float)((int)(words[i % 4] % 129) - 64) / 8;
    }
}

static void test_divergence(void **unused)
{
    (void)unused;
    static const struct {
        size_t n;
        uint32_t reference, other;
        double kl, nll_other;
        int top;
    } cases[] = {
        {7, 1, 2, 1.7517119176814, 9.67666364010369, 0},
        {1000, 3, 4, 6.97600896140914, 12.5161803723091, 88},
        {1000, 5, 5, 0, 6.1283307386975, 18},
    };
    float p[MAX], q[MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qw_row_divergence got;
        make_logits(p, cases[i].n, cases[i].reference);
        make_logits(q, cases[i].n, cases[i].other);
        qw_row_divergence_compute(&got, p, q, cases[i].n, 3);
        assert_near(got.kl, cases[i].kl, cases[i].kl > 0 ? 1e-12 : 0);
        assert_near(got.nll_other, cases[i].nll_other, 1e-12);
        assert_int_equal(got.top_reference, cases[i].top);
        qw_row_divergence back;
        qw_row_divergence_compute(&back, q, p, cases[i].n, 3);
        assert_near(back.nll_reference, cases[i].nll_other, 1e-12);
        assert_int_equal(back.top_other, cases[i].top);
    }
}

// A shift of all logits changes nothing; what is not finite does not pass for a small number.
static void test_edges(void **unused)
{
    (void)unused;
    float p[] = {1, 2, 3, 2}, q[] = {1001, 1002, 1003, 1002};
    qw_row_divergence got;
    qw_row_divergence_compute(&got, p, q, 4, 0);
    assert_near(got.kl, 0, 1e-12);
    assert_int_equal(got.top_reference, got.top_other);
    q[1] = NAN;
    qw_row_divergence_compute(&got, p, q, 4, 0);
    assert_true(isnan(got.kl));
    p[2] = INFINITY;
    q[1] = 2;
    qw_row_divergence_compute(&got, p, q, 4, 0);
    assert_false(isfinite(got.kl));
}

static void test_signal(void **unused)
{
    (void)unused;
    float x[512], y[512];
    make_logits(x, 512, 6);
    make_logits(y, 512, 7);
    for (int i = 0; i < 512; i++) y[i] = x[i] + y[i] / 64;
    qw_signal s = {0};
    qw_signal_add(&s, x, y, 200);
    qw_signal_add(&s, x + 200, y + 200, 312);
    assert_near(qw_signal_db(&s), 36.6311658810592, 1e-10);
    s = (qw_signal){0};
    qw_signal_add(&s, x, x, 512);
    assert_true(isinf(qw_signal_db(&s)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
