#include "test_util.h"

#include <math.h>

#include "format/prometheus.h"

static void test_samples(void **state)
{
    (void)state;
    const char *text = "# HELP a b\n# TYPE a counter\n\na 1\n"
                       "b{x=\"1\",le=\"+Inf\"} +Inf\r\n"
                       "  c:d_9 { x = \"a}\\\"\\\\\\n{\" , } -2.5e-3 1700000000\n"
                       "no value\ne{x=\"1\" 2\nf{x=1} 2\n{x=\"1\"} 2\n1g 2\nh NaN\ni 1x\nj -Inf";
    qw_str s = qw_str_of(text);
    qw_prometheus_sample p;
    size_t pos = 0;
    char value[32];
    assert_true(qw_prometheus_next(&p, s, &pos));
    assert_true(qw_str_is(p.name, "a") && p.labels.len == 0 && p.value == 1);
    assert_false(qw_prometheus_label(value, sizeof value, p.labels, "x"));
    assert_true(qw_prometheus_next(&p, s, &pos));
    assert_true(qw_str_is(p.name, "b") && isinf(p.value) && p.value > 0);
    assert_true(qw_prometheus_label(value, sizeof value, p.labels, "le"));
    assert_string_equal(value, "+Inf");
    assert_true(qw_prometheus_next(&p, s, &pos));
    assert_true(qw_str_is(p.name, "c:d_9") && p.value == -2.5e-3);
    assert_true(qw_prometheus_label(value, sizeof value, p.labels, "x"));
    assert_string_equal(value, "a}\"\\\n{");
    assert_true(qw_prometheus_label(value, 4, p.labels, "x"));
    assert_string_equal(value, "a}\"");
    assert_false(qw_prometheus_label(value, sizeof value, p.labels, "y"));
    assert_string_equal(value, "");
    assert_true(qw_prometheus_next(&p, s, &pos));
    assert_true(qw_str_is(p.name, "h") && isnan(p.value));
    assert_true(qw_prometheus_next(&p, s, &pos));
    assert_true(qw_str_is(p.name, "j") && isinf(p.value) && p.value < 0);
    assert_false(qw_prometheus_next(&p, s, &pos));
    assert_int_equal(pos, s.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_samples)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
