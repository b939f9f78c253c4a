// The command line of serve: vLLM's grammar (cli-and-bench.md 1.2), typed values, what each option
// does, and the order of sources.
#include "test_util.h"

#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/serve_options.h"
#include "cli/serve_rows.h"

static qw_error err;
static qw_serve_options o;

static qw_status parse(const char *first, ...)
{
    char *argv[64] = {"serve"};
    int argc = 1;
    va_list args;
    va_start(args, first);
    for (const char *word = first; word; word = va_arg(args, const char *))
        argv[argc++] = (char *)(uintptr_t)word;
    va_end(args);
    return qw_serve_options_parse(&o, "vllm serve", argc, argv, &err);
}

#define PARSE(...) parse(__VA_ARGS__, NULL)

static const qw_explain_record *record(const char *name)
{
    for (size_t i = 0; i < o.records.n_records; i++)
        if (strcmp(o.records.records[i].name, name) == 0) return &o.records.records[i];
    fail_msg("no record of %s", name);
    return NULL;
}

static void has_effect(const char *name, qw_opt_effect effect, const char *why)
{
    const qw_explain_record *r = record(name);
    assert_int_equal(r->effect, effect);
    if (!strstr(r->why, why)) fail_msg("'%s' not in '%s'", why, r->why);
}

static bool warns(const char *text)
{
    for (size_t i = 0; i < o.records.n_warnings; i++)
        if (strstr(o.records.warnings[i], text)) return true;
    return false;
}

static void done(void)
{
    qw_serve_options_release(&o);
}

// Fails, releases.
#define REFUSED(part, ...)                                                                         \
    do {                                                                                           \
        assert_fails(PARSE(__VA_ARGS__), QW_ERR_USAGE, part);                                      \
        done();                                                                                    \
    } while (0)

static void test_defaults(void **unused)
{
    (void)unused;
    assert_ok(parse("m", NULL));
    assert_string_equal(o.model.model, "m");
    assert_null(o.host);
    assert_int_equal(o.port, 8000);
    assert_true(o.enable_prefix_caching);
    assert_true(o.enable_chunked_prefill);
    assert_true(o.async_scheduling);
    assert_true(o.scheduler_reserve_full_isl);
    assert_int_equal(o.scheduling_policy, QW_SCHEDULING_FCFS);
    assert_int_equal(o.cudagraph_mode, QW_CUDAGRAPH_FULL_AND_PIECEWISE);
    assert_null(o.cudagraph_capture_sizes);
    assert_int_equal(o.max_logprobs, 20);
    assert_true(o.shutdown_timeout_s == 30);
    assert_int_equal(o.timeout_keep_alive_s, 75);
    assert_int_equal(o.max_n_sequences, 16384);
    assert_string_equal(o.reasoning_parser, "auto");
    assert_string_equal(o.response_role, "assistant");
    assert_string_equal(o.allowed_origins[0], "*");
    assert_null(o.allowed_origins[1]);
    assert_int_equal(o.n_api_keys, 0);
    assert_string_equal(o.non_default_args, "{'model_tag': 'm'}");
    assert_int_equal(o.records.n_warnings, 0);
    done();
}

static void test_names(void **unused)
{
    (void)unused;
    // '_' and '-' are the same; --opt value and --opt=value; short names of several letters.
    assert_ok(PARSE("m", "--distributed_executor_backend", "mp", "--max_model_len=5500", "-tp", "4",
                    "-dp", "2", "-pp", "2", "-ep", "-asc", "2", "-n", "1", "-r", "0"));
    assert_int_equal(o.model.max_model_len, 5500);
    assert_int_equal(o.parallel.tensor_parallel_size, 4);
    assert_int_equal(o.parallel.data_parallel_size, 2);
    assert_true(o.parallel.enable_expert_parallel);
    has_effect("--tensor-parallel-size", QW_OPT_ADJUSTED, "1 rank");
    has_effect("--pipeline-parallel-size", QW_OPT_ADJUSTED, "1 rank");
    has_effect("--data-parallel-size", QW_OPT_ADJUSTED, "1 rank");
    has_effect("--enable-expert-parallel", QW_OPT_ADJUSTED, "1 rank");
    has_effect("--distributed-executor-backend", QW_OPT_INERT, "process");
    done();
    assert_ok(PARSE("m", "-tp", "1"));
    has_effect("--tensor-parallel-size", QW_OPT_ACTIVE, "");
    done();

    // Abbreviations: the seed's, and those that fit several options.
    assert_ok(PARSE("m", "--disable-log-request", "--disable-log-stats"));
    has_effect("--disable-log-requests", QW_OPT_WARNED, "removed");
    assert_true(o.disable_log_stats);
    done();
    REFUSED("ambiguous option: --max-num could match --max-num-seqs, --max-num-batched-tokens", "m",
            "--max-num", "4");
    REFUSED("unrecognized arguments: --max-num-sequences", "m", "--max-num-sequences", "4");
    REFUSED("unrecognized arguments: --foo", "m", "--foo");
    REFUSED("did you mean '--port'?", "m", "--prot", "80");
    REFUSED("unrecognized arguments: second", "m", "second");
}

static void test_booleans(void **unused)
{
    (void)unused;
    assert_ok(PARSE("m", "--no-enable-prefix-caching", "--no-async-scheduling",
                    "--no-enable-chunked-prefill", "--max-model-len", "2048"));
    assert_false(o.enable_prefix_caching);
    assert_false(o.async_scheduling);
    assert_false(o.enable_chunked_prefill);
    has_effect("--no-enable-prefix-caching", QW_OPT_ACTIVE, "");
    done();
    REFUSED("takes no value", "m", "--enable-prefix-caching=true");
}

static void test_last_wins(void **unused)
{
    (void)unused;
    assert_ok(
        PARSE("m", "--port", "1", "--port", "2", "--async-scheduling", "--no-async-scheduling"));
    assert_int_equal(o.port, 2);
    assert_false(o.async_scheduling);
    assert_true(warns("Found duplicate keys --port"));
    done();
}

static void test_numbers_and_lists(void **unused)
{
    (void)unused;
    assert_ok(PARSE("m", "--max-model-len", "1K", "--max-num-batched-tokens", "25.6k",
                    "--kv-cache-memory-bytes", "2G", "--served-model-name", "a", "b", "--api-key",
                    "k1", "k2", "--allowed-origins", "[\"http://a\", \"http://b\"]",
                    "--disable-access-log-for-endpoints", "/health, /metrics,"));
    assert_int_equal(o.model.max_model_len, 1024);
    assert_int_equal(o.model.max_num_batched_tokens, 25600);
    assert_int_equal(o.model.kv_cache_memory_bytes, INT64_C(2) << 30);
    assert_int_equal(o.n_served_model_names, 2);
    assert_string_equal(o.served_model_names[1], "b");
    assert_int_equal(o.n_api_keys, 2);
    assert_string_equal(o.api_keys[1], "k2");
    assert_null(o.api_keys[2]);
    assert_int_equal(o.n_allowed_origins, 2);
    assert_string_equal(o.allowed_origins[1], "http://b");
    assert_int_equal(o.n_access_log_excluded, 2);
    assert_string_equal(o.access_log_excluded[1], "/metrics");
    // Keys are told to nobody.
    assert_string_equal(record("--api-key")->value, "***");
    assert_non_null(strstr(o.non_default_args, "'api_key': '***'"));
    assert_null(strstr(o.non_default_args, "k1"));
    done();
    for (int i = 0; i < 2; i++) {
        assert_ok(PARSE("m", "--max-model-len", i ? "-1" : "auto"));
        assert_int_equal(o.model.max_model_len, -1);
        done();
    }
    REFUSED("invalid value '65536'", "m", "--port", "65536");
    REFUSED("expected a JSON list", "m", "--allowed-methods", "GET");
    REFUSED("expected a JSON list", "m", "--allowed-methods", "[1]");
    REFUSED("invalid value '1.5'", "m", "--gpu-memory-utilization", "1.5");
    REFUSED("multiple of 16", "m", "--block-size", "24");
    REFUSED("invalid value 'fp8'", "m", "--kv-cache-dtype", "fp8");
}

static void test_json(void **unused)
{
    (void)unused;
    assert_ok(PARSE("m", "--compilation-config", "{\"cudagraph_mode\": \"FULL_DECODE_ONLY\"}",
                    "--compilation-config.cudagraph_capture_sizes+", "64,8",
                    "--compilation-config.cudagraph_capture_sizes+", "8",
                    "--default-chat-template-kwargs.enable_thinking", "false",
                    "--hf-overrides.rope_parameters.factor", "4"));
    assert_int_equal(o.cudagraph_mode, QW_CUDAGRAPH_FULL_DECODE_ONLY);
    assert_int_equal(o.n_cudagraph_capture_sizes, 2);
    assert_int_equal(o.cudagraph_capture_sizes[0], 8);
    assert_int_equal(o.cudagraph_capture_sizes[1], 64);
    assert_true(json_is_false(json_object_get(o.default_chat_template_kwargs, "enable_thinking")));
    has_effect("--compilation-config.cudagraph_mode", QW_OPT_ACTIVE, "plans");
    assert_string_equal(record("--compilation-config.cudagraph_mode")->value,
                        "\"FULL_DECODE_ONLY\"");
    done();

    // -cc, -O and -O.key; the eager option wins.
    assert_ok(PARSE("m", "-cc.cudagraph_mode=NONE", "-cc.max_cudagraph_capture_size", "16",
                    "--cudagraph-capture-sizes", "4", "32", "4"));
    assert_int_equal(o.cudagraph_mode, QW_CUDAGRAPH_NONE);
    assert_int_equal(o.max_cudagraph_capture_size, 16);
    assert_int_equal(o.n_cudagraph_capture_sizes, 1);
    done();
    assert_ok(PARSE("m", "-O.cudagraph_mode=PIECEWISE"));
    assert_int_equal(o.cudagraph_mode, QW_CUDAGRAPH_PIECEWISE);
    done();
    assert_ok(PARSE("m", "-O0"));
    assert_int_equal(o.cudagraph_mode, QW_CUDAGRAPH_NONE);
    has_effect("--optimization-level", QW_OPT_ACTIVE, "no step plans");
    done();
    assert_ok(PARSE("m", "-O3"));
    assert_int_equal(o.cudagraph_mode, QW_CUDAGRAPH_FULL_AND_PIECEWISE);
    has_effect("--optimization-level", QW_OPT_ADJUSTED, "one");
    done();
    assert_ok(PARSE("m", "-cc.cudagraph_mode=FULL", "--enforce-eager"));
    assert_int_equal(o.cudagraph_mode, QW_CUDAGRAPH_NONE);
    done();

    REFUSED("expected NONE, PIECEWISE, FULL", "m", "-cc.cudagraph_mode", "FAST");
    REFUSED("cudagraph_mode: expected a string, got integer", "m", "-cc.cudagraph_mode", "3");
    REFUSED("expected a list of integers", "m", "-cc", "{\"cudagraph_capture_sizes\": [1, \"2\"]}");
    REFUSED("invalid batch size 0", "m", "-cc", "{\"cudagraph_capture_sizes\": [1, 0]}");
    REFUSED("invalid batch size -4", "m", "--cudagraph-capture-sizes", "-4");
    REFUSED("from 0 to 3", "m", "-cc", "{\"mode\": 4}");
    REFUSED("argument --additional-config", "m", "--additional-config", "{\"enable_flashcomm1\"");
    REFUSED("expected a JSON object, got array", "m", "--additional-config", "[]");
    REFUSED("enable_flashcomm1: expected true or false", "m", "--additional-config",
            "{\"enable_flashcomm1\": \"yes\"}");
}

static void test_json_keys(void **unused)
{
    (void)unused;
    assert_ok(PARSE("m", "--additional-config",
                    "{\"enable_flashcomm1\": true, \"weight_nz_mod\": 2, \"mine\": 1}"));
    has_effect("--additional-config.enable_flashcomm1", QW_OPT_INERT, "1 rank");
    assert_true(warns("unknown key 'weight_nz_mod' (did you mean 'weight_nz_mode'?)"));
    assert_true(warns("unknown key 'mine'"));
    done();
    assert_ok(PARSE("m", "-sc",
                    "{\"method\": \"eagle3\", \"model\": \"d\", \"num_speculative_tokens\": 3, "
                    "\"enforce_eager\": true}"));
    has_effect("--speculative-config.method", QW_OPT_WARNED, "not built yet");
    for (size_t i = 0; i < o.records.n_records; i++)
        if (strstr(o.records.records[i].name, "speculative"))
            assert_int_not_equal(o.records.records[i].effect, QW_OPT_ACTIVE);
    assert_true(warns("--speculative-config.method has no effect"));
    done();
    REFUSED("at least 1, got 0", "m", "-sc",
            "{\"method\": \"ngram\", \"num_speculative_tokens\": 0}");
    REFUSED("unknown method 'eagle4' (did you mean 'eagle3'?)", "m", "-sc",
            "{\"method\": \"eagle4\"}");
    REFUSED("method 'eagle3' needs 'model'", "m", "-sc", "{\"method\": \"eagle3\"}");
    REFUSED("give a method", "m", "-sc", "{}");
}

static void test_refused(void **unused)
{
    (void)unused;
    REFUSED("--enable-lora: not supported: LoRA", "m", "--enable-lora");
    REFUSED("--kv-transfer-config", "m", "--kv-transfer-config", "{\"kv_connector\": \"x\"}");
    REFUSED("--runner 'pooling': not supported", "m", "--runner", "pooling");
    REFUSED("--nnodes '2': not supported", "m", "--nnodes", "2");
    REFUSED("--tool-parser-plugin", "m", "--tool-parser-plugin", "x.py");
    REFUSED("--enable-auto-tool-choice requires --tool-call-parser", "m",
            "--enable-auto-tool-choice");
    REFUSED("expected hermes", "m", "--tool-call-parser", "hermse");
    REFUSED("expected auto, none, qwen3", "m", "--reasoning-parser", "qwen4");
    REFUSED("--enable-log-outputs requires --enable-log-requests", "m", "--enable-log-outputs");
    REFUSED("need each other", "m", "--ssl-keyfile", "k");
    REFUSED("requires --fingerprint-value", "m", "--fingerprint-mode", "custom");
    REFUSED("must be greater than or equal to max_num_seqs (64)", "m", "--max-num-seqs", "64",
            "--max-num-batched-tokens", "32");
    REFUSED("is smaller than max_model_len (4096)", "m", "--no-enable-chunked-prefill",
            "--max-num-batched-tokens", "2048", "--max-model-len", "4096");
    assert_ok(PARSE("m", "--no-enable-lora", "--no-numa-bind"));
    has_effect("--no-enable-lora", QW_OPT_INERT, "off");
    assert_int_equal(o.records.n_warnings, 0);
    done();
}

static void test_removed(void **unused)
{
    (void)unused;
    assert_ok(PARSE("m", "--swap-space", "16", "--enable-reasoning", "--device", "npu",
                    "--use-v2-block-manager", "--num-scheduler-steps", "8",
                    "--guided-decoding-backend", "xgrammar", "--rope-scaling",
                    "{\"rope_type\":\"yarn\",\"factor\":4.0}", "--rope-theta", "1000000",
                    "--disable-frontend-multiprocessing", "--cuda-graph-sizes", "8", "4",
                    "--max-seq-len-to-capture", "8192", "--preemption-mode", "swap",
                    "--tokenizer-pool-size", "2"));
    assert_int_equal(o.records.n_warnings, 13); // one each
    assert_int_equal(o.n_cudagraph_capture_sizes, 2);
    assert_int_equal(o.model.hf_overrides.n_assigns, 2);
    assert_string_equal(o.model.hf_overrides.assigns[0].path, "rope_scaling");
    assert_string_equal(o.model.hf_overrides.assigns[1].value, "1000000");
    done();
}

static void test_model_words(void **unused)
{
    (void)unused;
    assert_ok(PARSE("--model", "m", "--port", "1"));
    assert_string_equal(o.model.model, "m");
    assert_true(warns("With `vllm serve`, you should provide the model as a positional argument"));
    done();
    assert_ok(PARSE("--model=m", "--served-model-name", "x"));
    assert_string_equal(o.model.model, "m");
    done();
    REFUSED("`model` should be provided as the first positional argument", "--served-model-name",
            "x");
    // The list takes the model too: vLLM's message is about just that.
    REFUSED("`model` should be provided", "--served-model-name", "x", "m");
    assert_ok(parse("--port", "1", NULL));
    assert_null(o.model.model);
    done();
}

static char dir[256];

static void write_config(char path[300], const char *name, const char *text)
{
    snprintf(path, 300, "%s/%s", dir, name);
    assert_ok(qw_file_write_atomic(path, text, strlen(text), &err));
}

static void test_config_file(void **unused)
{
    (void)unused;
    char path[300];
    write_config(path, "a.yaml",
                 "# comment\n"
                 "model: m\n"
                 "port: 12323\n"
                 "tensor_parallel_size: 4\n"
                 "served-model-name: [a, 'b c']\n"
                 "enable-prefix-caching: false\n"
                 "disable-log-stats: true\n"
                 "no-async-scheduling: true\n"
                 "max-model-len: 1k\n"
                 "compilation-config:\n"
                 "  cudagraph_mode: NONE\n"
                 "  cudagraph_capture_sizes: [1, 2]\n");
    assert_ok(PARSE("--config", path, "-tp", "2"));
    assert_string_equal(o.model.model, "m");
    assert_int_equal(o.port, 12323);
    assert_int_equal(o.parallel.tensor_parallel_size, 2); // the command line wins
    assert_int_equal(o.n_served_model_names, 2);
    assert_string_equal(o.served_model_names[1], "b c");
    assert_true(o.enable_prefix_caching); // false is dropped
    assert_true(o.disable_log_stats);
    assert_false(o.async_scheduling);
    assert_int_equal(o.model.max_model_len, 1000);
    assert_int_equal(o.cudagraph_mode, QW_CUDAGRAPH_NONE);
    assert_int_equal(o.n_cudagraph_capture_sizes, 2);
    assert_int_equal(record("--port")->source, QW_OPT_FROM_FILE);
    done();
    REFUSED("More than one config file", "m", "--config", path, "--config", path);
    REFUSED("Config file must be of a yaml/yml type. json supplied", "m", "--config", "x.json");
    assert_fails(PARSE("m", "--config", "/nowhere/x.yaml"), QW_ERR_IO, "--config");
    done();
    write_config(path, "b.yml", "port: 1\nprot: 2\n");
    REFUSED("line 2: unrecognized arguments: --prot (did you mean '--port'?)", "m", "--config",
            path);
    write_config(path, "c.yml", "port: [1\n");
    REFUSED("c.yml' line", "m", "--config", path);
}

static void test_environment(void **unused)
{
    (void)unused;
    setenv("QWENCH_PORT", "8123", 1);
    setenv("VLLM_API_KEY", "secret", 1);
    setenv("VLLM_USE_V1", "0", 1);
    setenv("VLLM_SERVER_DEV_MODE", "1", 1);
    setenv("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "7", 1);
    setenv("VLLM_LOGGING_LEVEL", "debug", 1);
    setenv("VLLM_CPU_KVCACHE_SPACE", "2", 1);
    setenv("VLLM_MAX_N_SEQUENCE", "3", 1);
    setenv("HCCL_BUFFSIZE", "1024", 1);
    assert_ok(parse("m", NULL));
    assert_int_equal(o.port, 8123);
    assert_int_equal(o.n_api_keys, 1);
    assert_string_equal(o.api_keys[0], "secret");
    assert_string_equal(record("VLLM_API_KEY")->value, "***");
    assert_true(o.server_dev_mode);
    assert_int_equal(o.timeout_keep_alive_s, 7);
    assert_int_equal(o.logging_level, QW_SERVE_LOG_DEBUG);
    assert_int_equal(o.model.kv_cache_memory_bytes, INT64_C(2) << 30);
    has_effect("VLLM_USE_V1", QW_OPT_INERT, "one engine");
    has_effect("HCCL_BUFFSIZE", QW_OPT_INERT, "1 rank");
    assert_true(warns("VLLM_USE_V1=0"));
    assert_true(warns("VLLM_MAX_N_SEQUENCE (did you mean VLLM_MAX_N_SEQUENCES?)"));
    done();
    assert_ok(PARSE("m", "--api-key", "mine", "--port", "1", "--kv-cache-memory-bytes", "1G"));
    assert_string_equal(o.api_keys[0], "mine");
    assert_int_equal(o.port, 1);
    assert_int_equal(o.model.kv_cache_memory_bytes, INT64_C(1) << 30);
    done();
    setenv("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "soon", 1);
    REFUSED("environment variable VLLM_HTTP_TIMEOUT_KEEP_ALIVE: invalid value 'soon'", "m");
    static const char *const names[] = {
        "QWENCH_PORT",          "VLLM_API_KEY",       "VLLM_USE_V1",
        "VLLM_SERVER_DEV_MODE", "VLLM_LOGGING_LEVEL", "VLLM_HTTP_TIMEOUT_KEEP_ALIVE",
        "VLLM_MAX_N_SEQUENCE",  "HCCL_BUFFSIZE",      "VLLM_CPU_KVCACHE_SPACE"};
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) unsetenv(names[i]);
}

static void test_non_default(void **unused)
{
    (void)unused;
    assert_ok(PARSE("it's", "--port", "8000", "--seed", "7", "--no-enable-prefix-caching",
                    "--served-model-name", "a", "b", "-cc.cudagraph_mode", "NONE",
                    "--gpu-memory-utilization", "0.9"));
    assert_string_equal(o.non_default_args,
                        "{'model_tag': \"it's\", 'gpu_memory_utilization': 0.9, "
                        "'served_model_name': ['a', 'b'], 'seed': 7, "
                        "'enable_prefix_caching': False, "
                        "'compilation_config': {\"cudagraph_mode\": \"NONE\"}}");
    done();
}

// Every row says what it does, and every rule is about an option that exists.
static void test_rows(void **unused)
{
    (void)unused;
    assert_ok(parse("m", NULL));
    for (size_t i = 0; i < o.opts.n_values; i++) {
        const qw_opt *row = o.opts.values[i].row;
        if (row->effect == QW_OPT_ACTIVE) {
            if (!row->help) fail_msg("--%s has no help", row->name);
        } else if (!row->why || !*row->why) {
            fail_msg("--%s does not say why", row->name);
        }
        for (size_t k = 0; k < i; k++)
            if (strcmp(o.opts.values[k].name, o.opts.values[i].name) == 0)
                fail_msg("--%s is there twice", row->name);
    }
    done();
    const qw_value_rule *r = qw_value_rule_find("tensor-parallel-size", "2");
    assert_non_null(r);
    assert_null(qw_value_rule_find("tensor-parallel-size", "1"));
    assert_null(qw_value_rule_find("runner", "auto"));
    assert_non_null(qw_value_rule_find("dtype", "half"));
}

static void test_resolve(void **unused)
{
    (void)unused;
    const char *tiny = QW_SOURCE_DIR "/models/tiny";
    assert_ok(PARSE(tiny, "--cudagraph-capture-sizes", "1", "8", "600"));
    assert_ok(qw_serve_options_resolve(&o, &err));
    assert_string_equal(o.model.model, tiny);
    assert_string_equal(o.served_model_names[0], tiny);
    assert_int_equal(o.model.max_num_seqs, 256);
    assert_int_equal(o.model.max_num_batched_tokens, 2048);
    assert_int_equal(o.n_cudagraph_capture_sizes, 2);
    assert_true(warns("1 of the cudagraph_capture_sizes are above max_num_seqs (256)"));
    assert_true(o.model.cpu_threads >= 1);
    done();
    assert_ok(PARSE(tiny, "--performance-mode", "throughput", "--max-model-len", "4"));
    assert_ok(qw_serve_options_resolve(&o, &err));
    assert_int_equal(o.model.max_num_seqs, 512);
    assert_int_equal(o.model.max_num_batched_tokens, 2048); // 512 sequences of 4
    done();
    assert_ok(PARSE(tiny, "--quantization", "ascend"));
    assert_fails(qw_serve_options_resolve(&o, &err), QW_ERR_UNSUPPORTED,
                 "holds no quant_model_description*.json");
    done();
    assert_ok(PARSE(tiny, "--quantization", "ascend", "--explain"));
    assert_ok(qw_serve_options_resolve(&o, &err));
    has_effect("--quantization", QW_OPT_REFUSED, "leave the option out");
    done();
    assert_ok(PARSE(tiny, "-sc", "{\"method\":\"eagle3\",\"model\":\"/no/draft\"}"));
    assert_fails(qw_serve_options_resolve(&o, &err), QW_ERR_IO, "/no/draft");
    done();
    assert_ok(PARSE("/no/model", "--port", "1"));
    assert_fails(qw_serve_options_resolve(&o, &err), QW_ERR_IO, "no model directory '/no/model'");
    done();
    assert_ok(PARSE(tiny, "--no-enable-chunked-prefill", "--max-num-batched-tokens", "512"));
    assert_fails(qw_serve_options_resolve(&o, &err), QW_ERR_USAGE,
                 "max_num_batched_tokens (512) is smaller than max_model_len (4096)");
    done();
}

static void test_memory_failures(void **unused)
{
    (void)unused;
    const char *tiny = QW_SOURCE_DIR "/models/tiny";
    size_t live = qw_mem_live();
    int n_whole = 0; // in a row: then no allocation is left to fail
    for (uint64_t n = 1; n_whole < 8; n++) {
        qw_mem_fail_at(n);
        qw_status st =
            PARSE(tiny, "-cc.cudagraph_mode", "NONE", "--api-key", "a", "--additional-config",
                  "{\"enable_flashcomm1\": true, \"x\": 1}", "--disable-log-request",
                  "--served-model-name", "n", "--cudagraph-capture-sizes", "4", "2",
                  "--default-chat-template-kwargs.a", "1", "-sc", "{\"method\": \"ngram\"}");
        if (st == QW_OK) st = qw_serve_options_resolve(&o, &err);
        qw_mem_fail_at(0);
        n_whole = st == QW_OK ? n_whole + 1 : 0;
        if (st != QW_OK) assert_int_equal(st, QW_ERR_NO_MEMORY);
        done();
        assert_int_equal(qw_mem_live(), live);
        assert_true(n < 5000);
    }
}

static void test_config_memory_failures(void **unused)
{
    (void)unused;
    char path[300];
    write_config(path, "a.yaml",
                 "model: m\nserved-model-name: [a, b]\nhf-overrides: {x: [1, {y: null}]}\n");
    size_t live = qw_mem_live();
    int n_whole = 0;
    for (uint64_t n = 1; n_whole < 8; n++) {
        qw_mem_fail_at(n);
        qw_status st = PARSE("--config", path);
        qw_mem_fail_at(0);
        n_whole = st == QW_OK ? n_whole + 1 : 0;
        if (st != QW_OK) assert_int_equal(st, QW_ERR_NO_MEMORY);
        done();
        assert_int_equal(qw_mem_live(), live);
        assert_true(n < 5000);
    }
}

// A named directory's sampling defaults replace the model's, and max_new_tokens is a cap there.
static void test_generation_dir(void **unused)
{
    (void)unused;
    char path[300];
    write_config(path, "generation_config.json", "{\"top_p\": 0.5, \"max_new_tokens\": 7}");
    assert_ok(PARSE(QW_SOURCE_DIR "/models/tiny", "--generation-config", dir,
                    "--override-generation-config.min_p", "0.25"));
    qw_engine_args args;
    assert_ok(qw_engine_args_make(&args, &o.model, &err));
    qw_model_config config;
    qw_generation_config g;
    assert_ok(qw_model_config_load(&config, args.model_dir, NULL, &err));
    assert_ok(
        qw_generation_config_load(&g, args.model_dir, args.generation_overrides, &config, &err));
    assert_false(g.has_temperature); // the model's file has one
    assert_true(g.has_top_p && g.top_p == 0.5);
    assert_true(g.has_min_p && g.min_p == 0.25);
    assert_true(g.max_new_tokens_overridden);
    qw_generation_config_release(&g);
    qw_model_config_release(&config);
    qw_engine_args_release(&args);
    done();
    unlink(path);
    assert_ok(PARSE("m", "--generation-config", dir));
    assert_fails(qw_serve_options_resolve(&o, &err), QW_ERR_IO, "no model directory 'm'");
    done();
}

static int make_dir(void **unused)
{
    (void)unused;
    qw_json_init();
    snprintf(dir, sizeof dir, "%s/serve-options-XXXXXX", QW_TEST_TMP);
    // The variables of whoever runs the tests are none of ours.
    static const char *const names[] = {"OMP_NUM_THREADS", "VLLM_NO_USAGE_STATS", "HF_HUB_OFFLINE"};
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) unsetenv(names[i]);
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **unused)
{
    (void)unused;
    static const char *const files[] = {"a.yaml", "b.yml", "c.yml"};
    for (size_t i = 0; i < QW_ARRAY_LEN(files); i++) {
        char *path = qw_file_join(dir, files[i]);
        unlink(path);
        qw_mem_free(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),          cmocka_unit_test(test_names),
        cmocka_unit_test(test_booleans),          cmocka_unit_test(test_last_wins),
        cmocka_unit_test(test_numbers_and_lists), cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_keys),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_removed),           cmocka_unit_test(test_model_words),
        cmocka_unit_test(test_config_file),       cmocka_unit_test(test_environment),
        cmocka_unit_test(test_non_default),       cmocka_unit_test(test_rows),
        cmocka_unit_test(test_resolve),           cmocka_unit_test(test_memory_failures),
        cmocka_unit_test(test_generation_dir),    cmocka_unit_test(test_config_memory_failures),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
