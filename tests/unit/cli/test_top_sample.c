// Numbers of `qwench top`: what is read of a server, percentiles of deltas, rates by request.

#include "test_util.h"

#include <math.h>

#include "base/mem.h"
#include "cli/top_view.h"
#include "format/json.h"

static void test_quantile(void **state)
{
    (void)state;
    qw_top_histogram h = {.n = 4, .bounds = {0.1, 0.2, 0.4, (double)INFINITY}};
    assert_true(isnan(qw_top_histogram_quantile(&h, 0.5)));
    memcpy(h.counts, (double[]){10, 30, 30, 40}, 4 * sizeof(double));
    // As Prometheus: linear in the bucket that holds the share.
    assert_float_equal(qw_top_histogram_quantile(&h, 0.125), 0.05, 1e-12);
    assert_float_equal(qw_top_histogram_quantile(&h, 0.25), 0.1, 1e-12);
    assert_float_equal(qw_top_histogram_quantile(&h, 0.5), 0.15, 1e-12);
    assert_float_equal(qw_top_histogram_quantile(&h, 0.75), 0.2, 1e-12);
    assert_float_equal(qw_top_histogram_quantile(&h, 0.99), 0.4, 1e-12); // above all finite bounds
    assert_float_equal(qw_top_histogram_quantile(&h, 0), 0, 1e-12);
    qw_top_histogram before = h, grown;
    h.counts[1] += 4, h.counts[2] += 4, h.counts[3] += 4;
    grown = qw_top_histogram_grown(&h, &before);
    assert_float_equal(qw_top_histogram_count(&grown), 4, 0);
    assert_float_equal(qw_top_histogram_quantile(&grown, 0.5), 0.15, 1e-12);
    // A server that began anew: all of it is new.
    grown = qw_top_histogram_grown(&before, &h);
    assert_float_equal(qw_top_histogram_count(&grown), 40, 0);
    assert_float_equal(qw_top_grown(3, 10), 3, 0);
    assert_float_equal(qw_top_grown(10, 3), 7, 0);
}

static const char metrics[] =
    "vllm:num_requests_running{engine=\"0\",model_name=\"m\\u001b\xc3\xa9\"} 2\n"
    "vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 3\n"
    "vllm:generation_tokens_total{engine=\"0\"} 100\n"
    "vllm:request_success_total{finished_reason=\"stop\"} 5\n"
    "vllm:request_success_total{finished_reason=\"length\"} 2\n"
    "vllm:request_success_total{finished_reason=\"abort\"} 1\n"
    "vllm:request_success_total{finished_reason=\"error\"} 4\n"
    "vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"+Inf\"} 8\n"
    "vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"0.5\"} 4\n"
    "vllm:time_to_first_token_seconds_bucket{engine=\"1\",le=\"0.5\"} 4\n"
    "vllm:time_to_first_token_seconds_bucket{engine=\"1\",le=\"+Inf\"} 8\n"
    "vllm:kv_cache_usage_perc NaN\n";

static void test_metrics(void **state)
{
    (void)state;
    qw_top_sample s = {0};
    qw_top_sample_metrics(&s, qw_str_of(metrics));
    assert_true(s.has_metrics);
    assert_string_equal(s.model, "mu001b?"); // nothing that a terminal would obey
    assert_float_equal(s.n_running, 5, 0);
    assert_float_equal(s.n_answered, 7, 0);
    assert_float_equal(s.n_aborted, 1, 0);
    assert_float_equal(s.n_failed, 4, 0);
    assert_float_equal(s.kv_usage, 0, 0);
    assert_int_equal(s.first_token.n, 2);
    assert_float_equal(s.first_token.counts[0], 8, 0);
    assert_float_equal(qw_top_histogram_quantile(&s.first_token, 0.25), 0.25, 1e-12);
    qw_top_sample none = {0};
    qw_top_sample_metrics(&none, QW_STR("nothing\n"));
    assert_false(none.has_metrics);
}

static void add_look(qw_top_view *v, int64_t time_s, const char *requests, const char *numbers)
{
    qw_error err;
    qw_top_sample s = {.time_ns = time_s * 1000000000};
    qw_top_sample_metrics(&s, qw_str_of(numbers));
    assert_ok(qw_top_sample_requests(&s, requests, strlen(requests), &err));
    qw_top_view_add(v, &s);
}

static void test_view(void **state)
{
    (void)state;
    qw_top_view *v = qw_mem_calloc(1, sizeof *v);
    v->url = "http://x";
    add_look(v, 10,
             "{\"data\":[{\"id\":\"old\",\"state\":\"decode\",\"generated_tokens\":10},"
             "{\"id\":\"gone\",\"state\":\"decode\",\"generated_tokens\":3}]}",
             metrics);
    add_look(v, 14,
             "{\"kv_blocks\":8,\"kv_blocks_used\":3,\"data\":[{\"id\":\"new\\u001b[2J\",\"state\":"
             "\"prefill\",\"age_seconds\":1,\"kv_blocks\":2},{\"id\":\"old\",\"state\":\"decode\","
             "\"generated_tokens\":20,\"age_seconds\":9,\"kv_blocks\":1},{\"id\":null}]}",
             "vllm:generation_tokens_total{engine=\"0\"} 120\n");
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    qw_top_view_write(v, 0, 0, &out);
    assert_non_null(strstr(out.data, "generated 5.0,"));
    assert_non_null(strstr(out.data, "3 of 8 blocks"));
    assert_null(strchr(out.data, '\x1b'));
    const char *old = strstr(out.data, "  old\n"), *new = strstr(out.data, "  new?[2J\n");
    assert_true(old && new &&old < new); // by age
    assert_non_null(strstr(out.data, "2.5       1  old"));
    v->sort = QW_TOP_SORT_BLOCKS;
    qw_buf_clear(&out);
    qw_top_view_write(v, 60, 12, &out);
    int n_lines = 0;
    for (const char *p = out.data; *p; p += strcspn(p, "\n") + 1, n_lines++)
        assert_true(strcspn(p, "\n") <= 61);
    assert_int_equal(n_lines, 12);
    assert_non_null(strstr(out.data, "sort: blocks"));
    // The window moves on.
    for (int i = 0; i < 2 * QW_TOP_N_LOOKS; i++) add_look(v, 20 + i, "{\"data\":[]}", metrics);
    assert_int_equal(v->n_looks, QW_TOP_N_LOOKS);
    qw_buf_clear(&out);
    qw_top_view_write(v, 0, 0, &out);
    assert_non_null(strstr(out.data, "no requests"));
    qw_buf_release(&out);
    qw_top_view_release(v);
    qw_mem_free(v);
}

static void test_bad_lists(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{", "[]", "{}", "{\"data\":3}", "null"};
    for (size_t i = 0; i < QW_ARRAY_LEN(bad); i++) {
        qw_error err;
        qw_top_sample s = {0};
        assert_int_equal(qw_top_sample_requests(&s, bad[i], strlen(bad[i]), &err), QW_ERR_FORMAT);
        assert_false(s.has_requests);
    }
    qw_error err;
    qw_top_sample s = {0};
    const char *one = "{\"data\":[{\"id\":\"a\"}]}";
    qw_mem_fail_at(1);
    assert_int_not_equal(qw_top_sample_requests(&s, one, strlen(one), &err), QW_OK);
    qw_mem_fail_at(0);
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantile),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_bad_lists),
    };
    size_t before = qw_mem_live();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed || qw_mem_live() != before;
}
