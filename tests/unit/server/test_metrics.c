// /metrics and the periodic line (http-api.md 6, cli-and-bench.md 4).

#include "test_util.h"

#include "base/mem.h"
#include "server/metrics.h"

static const qw_metrics_label cache[] = {{"block_size", "16"}, {"cache_dtype", "au\"to"}};

static qw_metrics *new_metrics(void)
{
    qw_error err;
    qw_metrics *m;
    assert_ok(qw_metrics_new(&m, "my\"model", 64, cache, 2, 1700000000, &err));
    return m;
}

static qw_buf text_of(const qw_metrics *m)
{
    qw_buf b;
    qw_buf_init(&b, 1 << 24);
    qw_metrics_write(m, &b);
    assert_int_equal(b.failed, QW_OK);
    return b;
}

static void assert_has(const qw_buf *b, const char *line)
{
    if (!strstr(b->data, line)) fail_msg("missing: %s", line);
}

#define L "{engine=\"0\",model_name=\"my\\\"model\"}"
#define LX(label) "{engine=\"0\",model_name=\"my\\\"model\"," label "}"
#define XL(label) "{engine=\"0\"," label ",model_name=\"my\\\"model\"}"

static void test_all_there_from_the_start(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "# HELP vllm:num_requests_running Number of requests in model execution batches.\n"
        "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running" L " 0.0\n",
        "vllm:num_requests_waiting" L " 0.0\n",
        "# TYPE vllm:num_requests_waiting_by_reason gauge\n"
        "vllm:num_requests_waiting_by_reason" LX(
            "reason=\"capacity\"") " 0.0\n"
                                   "vllm:num_requests_waiting_by_reason" LX(
                                       "reason=\"deferred\"") " 0.0\n",
        "vllm:kv_cache_usage_perc" L " 0.0\n",
        "vllm:engine_sleep_state" LX("sleep_state=\"awake\"") " 1.0\n",
        "vllm:engine_sleep_state" LX("sleep_state=\"weights_offloaded\"") " 0.0\n",
        "vllm:engine_sleep_state" LX("sleep_state=\"discard_all\"") " 0.0\n",
        "# TYPE vllm:prefix_cache_queries_total counter\nvllm:prefix_cache_queries_total" L
        " 0.0\n",
        "# TYPE vllm:prefix_cache_queries_created gauge\nvllm:prefix_cache_queries_created" L
        " 1700000000.0\n",
        "vllm:prefix_cache_hits_total" L " 0.0\n",
        "vllm:external_prefix_cache_queries_total" L " 0.0\n",
        "vllm:external_prefix_cache_hits_total" L " 0.0\n",
        "vllm:mm_cache_queries_total" L " 0.0\n",
        "vllm:mm_cache_hits_total" L " 0.0\n",
        "vllm:num_preemptions_total" L " 0.0\n",
        "vllm:prompt_tokens_total" L " 0.0\n",
        "vllm:generation_tokens_total" L " 0.0\n",
        "vllm:prompt_tokens_cached_total" L " 0.0\n",
        "vllm:prompt_tokens_by_source_total" LX(
            "source=\"local_compute\"") " 0.0\n"
                                        "vllm:prompt_tokens_by_source_total" LX(
                                            "source=\"local_cache_hit\"") " 0.0\n"
                                                                          "vllm:prompt_tokens_by_"
                                                                          "source_total" LX(
                                                                              "source=\"external_"
                                                                              "kv_transfer\"") " 0."
                                                                                               "0"
                                                                                               "\n",
        "vllm:request_success_total" XL("finished_reason=\"stop\"") " 0.0\n",
        "vllm:request_success_total" XL("finished_reason=\"length\"") " 0.0\n",
        "vllm:request_success_total" XL("finished_reason=\"abort\"") " 0.0\n",
        "vllm:request_success_total" XL("finished_reason=\"error\"") " 0.0\n",
        "vllm:request_success_total" XL("finished_reason=\"repetition\"") " 0.0\n",
        "# TYPE vllm:request_prompt_tokens histogram\n"
        "vllm:request_prompt_tokens_bucket" XL("le=\"1.0\"") " 0.0\n",
        "vllm:request_prompt_tokens_bucket" XL(
            "le=\"50.0\"") " 0.0\n"
                           "vllm:request_prompt_tokens_bucket" XL(
                               "le=\"+Inf\"") " 0.0\n"
                                              "vllm:request_prompt_tokens_count" L
                                              " 0.0\nvllm:request_prompt_tokens_sum" L " 0.0\n",
        "vllm:request_generation_tokens_count" L " 0.0\n",
        "vllm:request_max_num_generation_tokens_count" L " 0.0\n",
        "vllm:request_params_max_tokens_count" L " 0.0\n",
        "vllm:request_prefill_kv_computed_tokens_count" L " 0.0\n",
        "vllm:request_params_n_bucket" XL("le=\"20.0\"") " 0.0\n",
        "vllm:iteration_tokens_total_bucket" XL("le=\"16384.0\"") " 0.0\n",
        "vllm:time_to_first_token_seconds_bucket" XL("le=\"0.001\"") " 0.0\n",
        "vllm:time_to_first_token_seconds_bucket" XL("le=\"2560.0\"") " 0.0\n",
        "vllm:inter_token_latency_seconds_bucket" XL("le=\"0.025\"") " 0.0\n",
        "vllm:request_time_per_output_token_seconds_bucket" XL("le=\"80.0\"") " 0.0\n",
        "vllm:e2e_request_latency_seconds_bucket" XL("le=\"0.3\"") " 0.0\n",
        "vllm:request_queue_time_seconds_bucket" XL("le=\"7680.0\"") " 0.0\n",
        "vllm:request_inference_time_seconds_sum" L " 0.0\n",
        "vllm:request_prefill_time_seconds_sum" L " 0.0\n",
        "vllm:request_decode_time_seconds_created" L " 1700000000.0\n",
        "vllm:cache_config_info{engine=\"0\",block_size=\"16\",cache_dtype=\"au\\\"to\"} 1.0\n",
    };
    qw_metrics *m = new_metrics();
    qw_buf text = text_of(m);
    for (size_t i = 0; i < QW_ARRAY_LEN(lines); i++) assert_has(&text, lines[i]);
    qw_buf_release(&text);
    qw_metrics_free(m);
}

static void test_observations(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "vllm:num_requests_running" L " 2.0\n",
        "vllm:num_requests_waiting" L " 3.0\n",
        "reason=\"capacity\"} 2.0\n",
        "reason=\"deferred\"} 1.0\n",
        "vllm:kv_cache_usage_perc" L " 0.25\n",
        "vllm:prompt_tokens_total" L " 20.0\n",
        "vllm:generation_tokens_total" L " 4.0\n",
        "source=\"local_compute\"} 20.0\n",
        "source=\"local_cache_hit\"} 32.0\n",
        "vllm:prompt_tokens_cached_total" L " 32.0\n",
        "vllm:prefix_cache_queries_total" L " 52.0\n",
        "vllm:num_preemptions_total" L " 1.0\n",
        "vllm:iteration_tokens_total_bucket" XL("le=\"8.0\"") " 0.0\n",
        "vllm:iteration_tokens_total_bucket" XL("le=\"16.0\"") " 2.0\n",
        "vllm:iteration_tokens_total_bucket" XL("le=\"+Inf\"") " 2.0\n",
        "vllm:iteration_tokens_total_sum" L " 24.0\n",
        "vllm:time_to_first_token_seconds_bucket" XL("le=\"0.08\"") " 0.0\n",
        "vllm:time_to_first_token_seconds_bucket" XL("le=\"0.1\"") " 1.0\n",
        "vllm:inter_token_latency_seconds_count" L " 2.0\n",
        "vllm:inter_token_latency_seconds_sum" L " 0.75\n",
        "finished_reason=\"length\","
        "model_name=\"my\\\"model\"} 1.0\n",
        "vllm:request_prompt_tokens_bucket" XL("le=\"50.0\"") " 0.0\n",
        "vllm:request_prompt_tokens_bucket" XL("le=\"+Inf\"") " 1.0\n",
        "vllm:request_prompt_tokens_sum" L " 52.0\n",
        "vllm:request_prefill_kv_computed_tokens_sum" L " 20.0\n",
        "vllm:request_params_n_bucket" XL("le=\"2.0\"") " 1.0\n",
        "vllm:request_params_max_tokens_count" L " 0.0\n",
        "vllm:request_inference_time_seconds_sum" L " 2.5\n",
        "vllm:request_time_per_output_token_seconds_sum" L " 0.5\n",
    };
    qw_metrics *m = new_metrics();
    const qw_metrics_step steps[] = {
        {.n_prompt_tokens = 12, .n_prefix_queries = 52, .n_prefix_hits = 32, .n_preemptions = 1},
        {.n_prompt_tokens = 8,
         .n_generated_tokens = 4,
         .n_running = 2,
         .n_waiting = 3,
         .n_deferred = 1,
         .kv_usage = 0.25},
    };
    for (size_t i = 0; i < 2; i++) qw_metrics_observe_step(m, &steps[i]);
    qw_metrics_observe_token(m, true, 0.1);
    qw_metrics_observe_token(m, false, 0.25);
    qw_metrics_observe_token(m, false, 0.5);
    const qw_metrics_request r = {.reason = QW_METRICS_LENGTH,
                                  .prompt_tokens = 52,
                                  .cached_tokens = 32,
                                  .generation_tokens = 5,
                                  .max_tokens = -1,
                                  .n = 2,
                                  .queue_s = 0.125,
                                  .prefill_s = 0.5,
                                  .decode_s = 2,
                                  .e2e_s = 2.625};
    qw_metrics_observe_request(m, &r);
    qw_buf text = text_of(m);
    for (size_t i = 0; i < QW_ARRAY_LEN(lines); i++) assert_has(&text, lines[i]);
    qw_buf_release(&text);
    qw_metrics_free(m);
}

// Every line is a comment or NAME{LABELS} VALUE, and every series has one HELP and TYPE before it.
static void test_syntax(void **state)
{
    (void)state;
    qw_metrics *m = new_metrics();
    qw_buf text = text_of(m);
    size_t n_lines = 0;
    for (char *line = text.data, *end; *line; line = end + 1, n_lines++) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (*line == '#') continue;
        char *brace = strchr(line, '{'), *close = strrchr(line, '}');
        assert_true(brace && close && close[1] == ' ');
        assert_true(strncmp(line, "vllm:", 5) == 0);
        char *rest;
        (void)strtod(close + 2, &rest);
        assert_true(*rest == '\0' && rest > close + 2);
    }
    assert_true(n_lines > 250);
    qw_buf_release(&text);
    qw_metrics_free(m);
}

static void test_stats_line(void **state)
{
    (void)state;
    const int64_t s = 1000000000;
    char line[512];
    qw_metrics *m = new_metrics();
    qw_metrics_interval last = {0};
    assert_false(qw_metrics_stats_line(m, &last, 5 * s, line, sizeof line)); // only begins
    qw_metrics_step step = {.n_prompt_tokens = 123,
                            .n_generated_tokens = 456,
                            .n_running = 2,
                            .kv_usage = 0.012,
                            .n_prefix_queries = 200,
                            .n_prefix_hits = 50};
    qw_metrics_observe_step(m, &step);
    assert_true(qw_metrics_stats_line(m, &last, 15 * s, line, sizeof line));
    assert_string_equal(line, "Engine 000: Avg prompt throughput: 12.3 tokens/s, Avg generation "
                              "throughput: 45.6 tokens/s, Running: 2 reqs, Waiting: 0 reqs, GPU KV "
                              "cache usage: 1.2%, Prefix cache hit rate: 25.0%");
    step = (qw_metrics_step){.n_waiting = 4, .n_deferred = 1, .n_preemptions = 3};
    qw_metrics_observe_step(m, &step);
    assert_true(qw_metrics_stats_line(m, &last, 25 * s, line, sizeof line)); // idle once: told
    assert_string_equal(line, "Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation "
                              "throughput: 0.0 tokens/s, Running: 0 reqs, Waiting: 3 reqs, "
                              "Deferred: 1 reqs, Preemptions: 3, GPU KV cache usage: 0.0%, Prefix "
                              "cache hit rate: 25.0%");
    assert_false(qw_metrics_stats_line(m, &last, 35 * s, line, sizeof line)); // idle twice
    step = (qw_metrics_step){.n_generated_tokens = 1};
    qw_metrics_observe_step(m, &step);
    assert_true(qw_metrics_stats_line(m, &last, 45 * s, line, sizeof line));
    qw_metrics_free(m);
}

static void test_memory(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    for (uint64_t n = 1; st != QW_OK; n++) {
        qw_error err;
        qw_metrics *m = NULL;
        qw_mem_fail_at(n);
        st = qw_metrics_new(&m, "m", 64, cache, 2, 0, &err);
        qw_mem_fail_at(0);
        assert_true(st == QW_OK || st == QW_ERR_NO_MEMORY);
        qw_metrics_free(m);
        assert_int_equal(qw_mem_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_there_from_the_start),
        cmocka_unit_test(test_observations),
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_stats_line),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
