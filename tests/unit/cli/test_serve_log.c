// The lines of a server, to the character.
#include "test_util.h"

#include <fcntl.h>
#include <regex.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "cli/serve_start.h"

static qw_error err;
static qw_buf out;
static char path[256];
static int saved_stderr;

static void begin(const qw_serve_log_options *options)
{
    qw_serve_log_init(options);
    saved_stderr = dup(STDERR_FILENO);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
}

static void end(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    qw_log_set_sink(NULL);
    qw_buf_clear(&out);
    assert_ok(qw_file_read(&out, path, &err));
}

// All that was written, as an extended regular expression; @ stands for the process.
static void is(const char *pattern)
{
    qw_buf full;
    qw_buf_init(&full, 1 << 16);
    qw_buf_putc(&full, '^');
    for (const char *p = pattern; *p; p++) {
        if (*p == '@')
            qw_buf_printf(&full, "\\(APIServer pid=%d\\)", (int)getpid());
        else
            qw_buf_putc(&full, *p);
    }
    qw_buf_putc(&full, '$');
    regex_t re;
    assert_int_equal(regcomp(&re, full.data, REG_EXTENDED), 0);
    if (regexec(&re, out.data ? out.data : "", 0, NULL, 0) != 0)
        fail_msg("%s\nis not\n%s", out.data, full.data);
    regfree(&re);
    qw_buf_release(&full);
}

#define STAMP "[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"

static const qw_serve_log_options plain = {.level = QW_SERVE_LOG_INFO,
                                           .http_level = QW_HTTP_LOG_INFO,
                                           .color = QW_LOG_COLOR_NEVER,
                                           .process = "APIServer"};

static void test_forms(void **unused)
{
    (void)unused;
    begin(&plain);
    qw_serve_log_write(QW_SERVE_LOG_INFO, "/src/cli/a.c", 12, "two\nlines %d", 7);
    qw_serve_log_write(QW_SERVE_LOG_DEBUG, "a.c", 12, "not shown");
    qw_serve_log_http(QW_HTTP_LOG_INFO, "Application startup complete.");
    qw_serve_log_http(QW_HTTP_LOG_WARNING, "hm");
    qw_serve_log_http(QW_HTTP_LOG_DEBUG, "not shown");
    qw_serve_log_access("127.0.0.1:53412", "POST", "/v1/chat/completions", "HTTP/1.1", 200);
    qw_log_write(QW_LOG_WARN, "kv_cache", "n=%d", 3);
    end();
    is("@ INFO " STAMP " \\[a.c:12\\] two\n"
       "@ INFO " STAMP " \\[a.c:12\\] lines 7\n"
       "@ INFO:     Application startup complete.\n"
       "@ WARNING:  hm\n"
       "@ INFO:     127.0.0.1:53412 - \"POST /v1/chat/completions HTTP/1.1\" 200 OK\n"
       "@ WARNING " STAMP " \\[qwench:0\\] kv_cache: n=3\n");
}

static void test_color_and_prefix(void **unused)
{
    (void)unused;
    qw_serve_log_options o = plain;
    o.color = QW_LOG_COLOR_ALWAYS;
    o.prefix = "[p] ";
    begin(&o);
    qw_serve_log_write(QW_SERVE_LOG_ERROR, "a.c", 1, "x");
    end();
    is("\033\\[36m@\033\\[0m \\[p\\] \033\\[31mERROR\033\\[0m " STAMP " \\[a.c:1\\] x\n");
}

static void test_json(void **unused)
{
    (void)unused;
    qw_serve_log_options o = plain;
    o.json = true;
    begin(&o);
    qw_serve_log_write(QW_SERVE_LOG_INFO, "a.c", 1, "say \"hi\"\n%s", "there");
    qw_serve_log_http(QW_HTTP_LOG_INFO, "up");
    end();
    const char *newline = strchr(out.data, '\n');
    json_t *first, *second;
    assert_ok(qw_json_parse(&first, out.data, (size_t)(newline - out.data), "line", &err));
    assert_string_equal(json_string_value(json_object_get(first, "message")), "say \"hi\"\nthere");
    assert_string_equal(json_string_value(json_object_get(first, "level")), "INFO");
    assert_int_equal(json_integer_value(json_object_get(first, "pid")), getpid());
    assert_int_equal(json_integer_value(json_object_get(first, "line")), 1);
    assert_ok(qw_json_parse(&second, newline + 1, strlen(newline + 1), "line", &err));
    assert_string_equal(json_string_value(json_object_get(second, "logger")), "http");
    json_decref(first);
    json_decref(second);
}

// Longer than any fixed buffer, and with no memory for it.
static void test_long_line(void **unused)
{
    (void)unused;
    char *text = qw_mem_alloc(5001);
    memset(text, 'x', 5000);
    text[5000] = '\0';
    begin(&plain);
    qw_serve_log_http(QW_HTTP_LOG_INFO, "%s", text);
    end();
    assert_true(out.len > 5000);
    qw_mem_free(text);
}

static void test_access_choice(void **unused)
{
    (void)unused;
    static const char *const excluded[] = {"/health", "/metrics", NULL};
    qw_serve_options o = {.uvicorn_log_level = QW_HTTP_LOG_INFO,
                          .access_log_excluded = excluded,
                          .n_access_log_excluded = 2};
    assert_true(qw_serve_log_wants_access(&o, "/v1/models"));
    assert_false(qw_serve_log_wants_access(&o, "/health?x=1"));
    assert_true(qw_serve_log_wants_access(&o, "/healthy"));
    o.uvicorn_log_level = QW_HTTP_LOG_WARNING;
    assert_false(qw_serve_log_wants_access(&o, "/v1/models"));
}

static void test_start(void **unused)
{
    (void)unused;
    static const qw_program program = {"vllm", "0.2", "abc", "0.2"};
    static const qw_route_name routes[] = {{"/health", "GET"}, {"/v1/models", "GET"}};
    qw_serve_options o = {.model_name = "m",
                          .model = {.model = "/m", .max_num_batched_tokens = 2048},
                          .enable_chunked_prefill = true,
                          .non_default_args = "{'port': 1}",
                          .thread_why = "--cpu-threads"};
    qw_explain_init(&o.records);
    assert_ok(qw_explain_warn(&o.records, &err, "mind this"));
    assert_ok(qw_explain_add(&o.records, &err, "--x", "1", QW_OPT_FROM_FLAG, QW_OPT_INERT, "no"));
    assert_ok(qw_explain_add(&o.records, &err, "--y", "", QW_OPT_FROM_FLAG, QW_OPT_ACTIVE, "yes"));
    const qw_memory_plan plan = {
        .in = {.weights = (size_t)1 << 30, .block_size = 16, .kv_per_block = 16},
        .max_model_len = 32768,
        .n_blocks = 14776};
    const qw_engine_facts facts = {.plan = &plan,
                                   .load_s = 1.5,
                                   .init_s = 2,
                                   .isa = "avx2",
                                   .dtype = "bfloat16",
                                   .n_threads = 2,
                                   .sampling_defaults = "{'top_k': 20}"};
    begin(&plain);
    qw_serve_start_options(&o, &program);
    qw_serve_start_engine(&o, &facts);
    qw_serve_start_listen("http://0.0.0.0:8000", routes, 2);
    end();
#define LINE "@ INFO " STAMP " \\[serve_start.c:[0-9]+\\] "
    is(LINE
       "vLLM API server version 0.2, serving model m\n"
       "@ WARNING " STAMP " \\[serve_start.c:[0-9]+\\] mind this\n" LINE
       "non-default args: \\{'port': 1\\}\n" LINE "Resolved model to '/m'\n" LINE
       "Chunked prefill is enabled with max_num_batched_tokens=2048.\n" LINE
       "Using max model len 32768\n" LINE "Loading weights took 1.50 seconds\n" LINE
       "Model loading took 1.00 GiB memory and 1.500000 seconds\n" LINE
       "GPU KV cache size: 236,416 tokens\n" LINE
       "Maximum concurrency for 32,768 tokens per request: 7.21x\n" LINE
       "init engine \\(profile, create kv cache, warmup model\\) took 2.00 s\n" LINE
       "Supported tasks: \\['generate'\\]\n"
       "@ WARNING " STAMP " \\[serve_start.c:[0-9]+\\] Default vLLM sampling parameters have been "
       "overridden by the model's `generation_config.json`: `\\{'top_k': 20\\}`. If this is not "
       "intended, please relaunch vLLM instance with `--generation-config vllm`.\n" LINE
       "Starting vLLM server on http://0.0.0.0:8000\n" LINE "Available routes are:\n" LINE
       "Route: /health, Methods: GET\n" LINE "Route: /v1/models, Methods: GET\n"
       "@ INFO:     Started server process \\[[0-9]+\\]\n"
       "@ INFO:     Waiting for application startup.\n");
    begin(&plain);
    qw_serve_start_complete(&o, &facts, "http://0.0.0.0:8000");
    end();
    assert_non_null(strstr(out.data, ") INFO:     Application startup complete.\n"));
    assert_non_null(strstr(out.data, "Uvicorn running on http://0.0.0.0:8000"));
    assert_non_null(strstr(out.data, "] --x 1: inert: no\n"));
    assert_null(strstr(out.data, "--y"));
    assert_non_null(strstr(out.data, "236,416 tokens"));
    qw_explain_release(&o.records);
}

static void test_texts(void **unused)
{
    (void)unused;
    char text[32];
    static const struct {
        int64_t n;
        const char *text;
    } cases[] = {{0, "0"},
                 {999, "999"},
                 {1000, "1,000"},
                 {236416, "236,416"},
                 {1234567, "1,234,567"},
                 {-1000, "-1,000"},
                 {-100, "-100"}};
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_serve_group_digits(text, cases[i].n);
        assert_string_equal(text, cases[i].text);
    }
    const qw_sampling_defaults d = {.has_temperature = true,
                                    .temperature = 0.6,
                                    .has_top_k = true,
                                    .top_k = 20,
                                    .has_max_new_tokens = true,
                                    .max_new_tokens = 9};
    qw_buf_clear(&out);
    qw_serve_start_sampling(&d, &out);
    assert_string_equal(out.data, "{'temperature': 0.6, 'top_k': 20, 'max_tokens': 9}");
    qw_buf_clear(&out);
    qw_serve_start_sampling(&(qw_sampling_defaults){0}, &out);
    assert_int_equal(out.len, 0);
}

static int setup(void **unused)
{
    (void)unused;
    qw_json_init();
    qw_buf_init(&out, 1 << 20);
    snprintf(path, sizeof path, "%s/serve-log-XXXXXX", QW_TEST_TMP);
    int fd = mkstemp(path);
    return fd >= 0 && close(fd) == 0 ? 0 : -1;
}

static int teardown(void **unused)
{
    (void)unused;
    qw_buf_release(&out);
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),         cmocka_unit_test(test_color_and_prefix),
        cmocka_unit_test(test_json),          cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_access_choice), cmocka_unit_test(test_start),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
