// The figures, the table and the file of `bench serve`, from logs of runs, against a second
// implementation (scripts/golden/bench_serve.py).
#include "test_util.h"

#include <math.h>

#include "base/file.h"
#include "base/mem.h"
#include "bench/load_plot.h"
#include "bench/load_report.h"

typedef struct recorded_run {
    json_t *data;
    qw_load_report report;
    qw_load_outcome outcomes[256];
    int64_t input_lens[256], output_lens[256];
    double percentiles[QW_LOAD_MAX_PERCENTILES];
} recorded_run;

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void read_outcomes(recorded_run *run, const json_t *list)
{
    qw_error err;
    size_t i;
    const json_t *o;
    run->report.n = json_array_size(list);
    assert_in_range(run->report.n, 1, 256);
    json_array_foreach(list, i, o)
    {
        qw_load_outcome *out = &run->outcomes[i];
        out->is_ok = json_is_true(json_object_get(o, "ok"));
        out->start_s = number_of(o, "start");
        out->ttft_s = number_of(o, "ttft");
        out->latency_s = number_of(o, "latency");
        const json_t *gaps = json_object_get(o, "itls"), *gap;
        size_t j;
        json_array_foreach(gaps, j, gap)
            assert_ok(qw_load_outcome_add_gap(out, json_number_value(gap), &err));
        if (!out->is_ok) qw_load_outcome_fail(out, json_string_value(json_object_get(o, "error")));
        run->input_lens[i] = json_integer_value(json_object_get(o, "input_len"));
        run->output_lens[i] = json_integer_value(json_object_get(o, "output_len"));
    }
}

static void read_options(recorded_run *run, const json_t *log)
{
    qw_load_report *r = &run->report;
    const json_t *rate = json_object_get(log, "request_rate"), *v;
    const json_t *goodput = json_object_get(log, "goodput");
    size_t i;
    r->arrivals.request_rate = json_is_string(rate) ? INFINITY : json_number_value(rate);
    r->arrivals.burstiness = number_of(log, "burstiness");
    r->max_concurrency = json_integer_value(json_object_get(log, "max_concurrency"));
    json_array_foreach(json_object_get(log, "percentiles"), i, v)
        run->percentiles[r->options.n_percentiles++] = json_number_value(v);
    r->options.percentiles = run->percentiles;
    json_array_foreach(json_object_get(log, "selected"), i, v)
    {
        qw_load_metric k;
        assert_true(qw_load_metric_find(&k, json_string_value(v), json_string_length(v)));
        r->selected[k] = true;
    }
    for (int k = 0; k < QW_LOAD_N_METRICS; k++) {
        v = json_object_get(goodput, qw_load_metric_names[k]);
        r->options.goodput.limits_ms[k] = v ? json_number_value(v) : NAN;
        if (v) r->options.goodput.is_on = true;
    }
}

static void read_spec(recorded_run *run, const json_t *log)
{
    qw_load_spec_counters before, after;
    qw_str text = qw_json_str(json_object_get(log, "spec_before"));
    qw_load_spec_parse(&before, text.ptr ? text : QW_STR(""));
    text = qw_json_str(json_object_get(log, "spec_after"));
    qw_load_spec_parse(&after, text.ptr ? text : QW_STR(""));
    run->report.has_spec = qw_load_spec_make(&run->report.spec, &before, &after);
}

static void open_run(recorded_run *run, const char *name)
{
    qw_error err;
    char path[512];
    *run = (recorded_run){0};
    snprintf(path, sizeof path, QW_TEST_DATA "/bench-serve/%s.json", name);
    assert_ok(qw_json_load(&run->data, path, (size_t)64 << 20, &err));
    const json_t *log = json_object_get(run->data, "log");
    read_outcomes(run, json_object_get(log, "outcomes"));
    read_options(run, log);
    read_spec(run, log);
    qw_load_report *r = &run->report;
    r->outcomes = run->outcomes;
    r->input_lens = run->input_lens;
    r->output_lens = run->output_lens;
    r->counts_tokens = true;
    r->date = "20260607-120000";
    r->backend = "openai";
    r->model_id = "m";
    r->tokenizer_id = "t";
    r->num_prompts = (int64_t)r->n;
    assert_ok(qw_load_metrics_make(&r->metrics, run->outcomes, run->input_lens, run->output_lens,
                                   r->n, number_of(log, "duration"), &r->options, &err));
}

static void close_run(recorded_run *run)
{
    qw_load_metrics_release(&run->report.metrics);
    for (size_t i = 0; i < run->report.n; i++) qw_load_outcome_release(&run->outcomes[i]);
    json_decref(run->data);
}

static const char *const names[] = {"recorded", "mixed", "speculative", "failed", "one"};

static void test_table(void **unused)
{
    (void)unused;
    qw_error err;
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) {
        recorded_run run;
        open_run(&run, names[i]);
        qw_buf got, want;
        char path[512];
        qw_buf_init(&got, 1 << 20);
        qw_buf_init(&want, 1 << 20);
        snprintf(path, sizeof path, QW_TEST_DATA "/bench-serve/%s.txt", names[i]);
        assert_ok(qw_file_read(&want, path, &err));
        qw_load_report_print(&run.report, &got);
        assert_ok(qw_buf_check(&got, "the table", &err));
        assert_string_equal(got.data, want.data);
        qw_buf_release(&got);
        qw_buf_release(&want);
        close_run(&run);
    }
}

static void check_value(const char *run, const char *key, const json_t *got, const json_t *want)
{
    if (json_is_array(want)) {
        assert_int_equal(json_array_size(got), json_array_size(want));
        for (size_t i = 0; i < json_array_size(want); i++)
            check_value(run, key, json_array_get(got, i), json_array_get(want, i));
        return;
    }
    if (!json_is_number(want)) {
        assert_true(json_equal(got, want));
        return;
    }
    double a = json_number_value(got), b = json_number_value(want);
    if (!json_is_number(got) || !(fabs(a - b) <= 1e-10 * fabs(b) + 1e-10))
        fail_msg("%s: %s is %.17g, not %.17g", run, key, a, b);
}

static void test_figures(void **unused)
{
    (void)unused;
    qw_error err;
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) {
        recorded_run run;
        open_run(&run, names[i]);
        qw_buf text;
        qw_buf_init(&text, 1 << 20);
        qw_load_report_write(&run.report, false, &text);
        json_t *got;
        assert_ok(qw_buf_check(&text, "the result", &err));
        assert_ok(qw_json_parse(&got, text.data, text.len, "the result", &err));
        const char *key;
        const json_t *want;
        json_t *figures = json_object_get(run.data, "figures");
        json_object_foreach(figures, key, want)
        {
            const json_t *value = json_object_get(got, key);
            if (!value) fail_msg("%s: no %s", names[i], key);
            check_value(names[i], key, value, want);
        }
        // What is not a figure: what was asked for, the 10 members in front of them.
        assert_int_equal(json_object_size(got), json_object_size(figures) + 10);
        json_decref(got);
        qw_buf_release(&text);
        close_run(&run);
    }
}

static void test_keys_in_order(void **unused)
{
    (void)unused;
    static const char want[] =
        "{\"date\": \"20260607-120000\", \"endpoint_type\": \"openai\", \"backend\": \"openai\", "
        "\"label\": null, \"model_id\": \"m\", \"tokenizer_id\": \"t\", \"num_prompts\": 1, "
        "\"k\": \"v=w\", \"burstiness\": 0.5, \"max_concurrency\": 16, "
        "\"ramp_up_strategy\": \"linear\", \"ramp_up_start_rps\": 1, \"ramp_up_end_rps\": 2, "
        "\"duration\": 1.5, \"completed\": 1, \"failed\": 0, ";
    static const char *const behind[] = {"\"total_token_throughput\"",
                                         "\"input_lens\"",
                                         "\"output_lens\"",
                                         "\"ttfts\"",
                                         "\"itls\"",
                                         "\"start_times\"",
                                         "\"generated_texts\"",
                                         "\"errors\"",
                                         "\"max_output_tokens_per_s\"",
                                         "\"max_concurrent_requests\"",
                                         "\"rtfx\"",
                                         "\"rps_change_events\"",
                                         "\"mean_ttft_ms\"",
                                         "\"p99.9_ttft_ms\"",
                                         "\"mean_tpot_ms\""};
    recorded_run run;
    open_run(&run, "one");
    const char *metadata[] = {"k=v=w"};
    qw_load_rps_change changes[] = {{1, "2026-06-07T12:00:00.000000"}};
    run.report.metadata = metadata;
    run.report.n_metadata = 1;
    run.report.arrivals = (qw_load_arrivals){INFINITY, 0.5, QW_RAMP_LINEAR, 1, 2};
    run.report.rps_changes = changes;
    run.report.n_rps_changes = 1;
    qw_buf text;
    qw_buf_init(&text, 1 << 20);
    qw_load_report_write(&run.report, true, &text);
    // The rate of a ramp is the string that vLLM writes for infinity.
    char *rate = strstr(text.data, "\"request_rate\": \"inf\", ");
    assert_non_null(rate);
    memmove(rate, rate + 23, strlen(rate + 23) + 1);
    assert_int_equal(strncmp(text.data, want, sizeof want - 1), 0);
    const char *at = text.data;
    for (size_t i = 0; i < QW_ARRAY_LEN(behind); i++) {
        at = strstr(at, behind[i]);
        if (!at) fail_msg("%s is missing or at a wrong place", behind[i]);
    }
    qw_buf_release(&text);
    close_run(&run);
}

static void test_plot(void **unused)
{
    (void)unused;
    qw_error err;
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) {
        recorded_run run;
        open_run(&run, names[i]);
        qw_buf text;
        qw_buf_init(&text, 1 << 24);
        qw_load_plot(&run.report, &text);
        assert_ok(qw_buf_check(&text, "the picture", &err));
        assert_null(strstr(text.data, "nan"));
        assert_null(strstr(text.data, "inf"));
        size_t n_bars = 0;
        for (const char *p = text.data; (p = strstr(p, "class=\"w\"")); p++) n_bars++;
        assert_int_equal(n_bars, run.report.metrics.completed);
        assert_non_null(strstr(text.data, "</svg>"));
        qw_buf_release(&text);
        close_run(&run);
    }
}

static void test_percentile_names(void **unused)
{
    (void)unused;
    char name[40];
    qw_load_percentile_name(name, 99);
    assert_string_equal(name, "P99");
    qw_load_percentile_name(name, 99.9);
    assert_string_equal(name, "P99.9");
    qw_load_percentile_name(name, 100);
    assert_string_equal(name, "P100");
}

static void test_spec_oddities(void **unused)
{
    (void)unused;
    qw_load_spec_counters c;
    qw_load_spec_parse(&c, QW_STR("vllm:other 1\n"));
    assert_false(c.is_there);
    qw_load_spec_parse(&c,
                       QW_STR("vllm:spec_decode_num_drafts_total{engine=\"0\"} 3\n"
                              "vllm:spec_decode_num_drafts_total{engine=\"1\"} 4\n"
                              "vllm:spec_decode_num_draft_tokens_total x\n"
                              "vllm:spec_decode_num_accepted_tokens_per_pos{position=\"99\"} 4\n"
                              "vllm:spec_decode_num_accepted_tokens_per_pos{position=\"-1\"} 4\n"
                              "vllm:spec_decode_num_draft_tokens_total 1e300\n"
                              "vllm:spec_decode_num_draft_tokens_total NaN"));
    assert_true(c.is_there);
    assert_int_equal(c.n_drafts, 7);
    assert_int_equal(c.n_draft_tokens, 0);
    assert_int_equal(c.n_positions, 0);
    qw_load_spec_stats s;
    assert_false(qw_load_spec_make(&s, &c, &c)); // nothing was drafted in between
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_keys_in_order),
        cmocka_unit_test(test_plot),
        cmocka_unit_test(test_percentile_names),
        cmocka_unit_test(test_spec_oddities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
