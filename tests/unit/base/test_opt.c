#include "test_util.h"

#include "base/opt.h"

typedef struct opts {
    const char *model, *host;
    const char *const *served_model_name;
    size_t n_served_model_name;
    const char *const *stop;
    size_t n_stop;
    const int64_t *ids;
    size_t n_ids;
    int64_t port, max_model_len, optimization_level, random_input_len, random_output_len, tp;
    double rate;
    bool stream, prefix_caching, disable_log_requests, disable_log_stats, food;
    int dtype;
    qw_opt_json config;
} opts;

static const char *const dtypes[] = {"auto", "half", "bfloat16", "float32", NULL};

static const qw_opt rows[] = {
    {"model", QW_OPT_STR, offsetof(opts, model), .positional = true, .metavar = "MODEL",
     .def = "Qwen/Qwen3-0.6B", .help = "model directory"},
    {"host", QW_OPT_STR, offsetof(opts, host), .group = "Server", .help = "address to listen on"},
    {"port", QW_OPT_INT, offsetof(opts, port), .def = "8000", .min = 1, .max = 65535,
     .group = "Server", .help = "TCP port"},
    {"served-model-name", QW_OPT_STRS, offsetof(opts, served_model_name),
     offsetof(opts, n_served_model_name), .group = "Server", .help = "names of the model"},
    {"stop", QW_OPT_STRS, offsetof(opts, stop), offsetof(opts, n_stop), .append = true},
    {"cuda-graph-sizes", QW_OPT_INTS, offsetof(opts, ids), offsetof(opts, n_ids), .min = 1,
     .max = QW_OPT_NO_MAX},
    {"max_model_len", QW_OPT_INT, offsetof(opts, max_model_len), .def = "-1", .human = true,
     .word = "auto", .word_value = -1},
    {"optimization-level", QW_OPT_INT, offsetof(opts, optimization_level), .shorts = "O"},
    {"tensor-parallel-size", QW_OPT_INT, offsetof(opts, tp), .shorts = "tp", .def = "1"},
    {"random-input-len", QW_OPT_INT, offsetof(opts, random_input_len), .def = "1024"},
    {"random-output-len", QW_OPT_INT, offsetof(opts, random_output_len), .def = "128"},
    {"request-rate", QW_OPT_FLOAT, offsetof(opts, rate), .def = "1.5", .min = 0, .max = 1000},
    {"stream", QW_OPT_FLAG, offsetof(opts, stream), .help = "send tokens one by one"},
    {"enable-prefix-caching", QW_OPT_BOOL, offsetof(opts, prefix_caching), .def = "true"},
    {"disable-log-requests", QW_OPT_FLAG, offsetof(opts, disable_log_requests), .hidden = true,
     .warning = "has no effect; request logging is off by default"},
    {"disable-log-stats", QW_OPT_FLAG, offsetof(opts, disable_log_stats), .help = "no statistics"},
    {"food", QW_OPT_FLAG, offsetof(opts, food), .env = "VLLM_FOOD"},
    {"dtype", QW_OPT_CHOICE, offsetof(opts, dtype), .def = "auto", .choices = dtypes},
    {"compilation-config", QW_OPT_JSON, offsetof(opts, config), .shorts = "cc"},
};

static opts got;
static qw_opts state;
static qw_error err;

static qw_status start(void)
{
    qw_opt_table table = {rows, QW_ARRAY_LEN(rows), &got};
    got = (opts){.n_stop = 77, .optimization_level = 55};
    return qw_opts_init(&state, "qwench serve", "Answer requests.", &table, 1, &err);
}

static qw_status parse_argv(char *const *argv)
{
    int argc = 0;
    while (argv[argc]) argc++;
    qw_status st = qw_opts_parse(&state, argc, argv, &err);
    return st == QW_OK && !state.wants_help ? qw_opts_finish(&state, &err) : st;
}

// Parse a command line; what it gave is in `got` and `state`.
#define PARSE(...)                                                                                 \
    (start() == QW_OK ? parse_argv((char *[]){"serve", __VA_ARGS__, NULL}) : err.code)
#define END() qw_opts_release(&state)

#define REJECTS(part, ...)                                                                         \
    do {                                                                                           \
        assert_fails(PARSE(__VA_ARGS__), QW_ERR_USAGE, part);                                      \
        END();                                                                                     \
    } while (0)

static void test_defaults(void **unused)
{
    (void)unused;
    assert_ok(start());
    assert_ok(parse_argv((char *[]){"serve", NULL}));
    assert_string_equal(got.model, "Qwen/Qwen3-0.6B");
    assert_int_equal(got.port, 8000);
    assert_int_equal(got.max_model_len, -1);
    assert_true(got.rate == 1.5);
    assert_true(got.prefix_caching);
    assert_int_equal(got.dtype, 0);
    assert_null(got.host);
    // Without a default a field keeps what it held.
    assert_int_equal(got.n_stop, 77);
    assert_int_equal(got.optimization_level, 55);
    assert_int_equal(qw_opts_get(&state, "port")->source, QW_OPT_FROM_DEFAULT);
    assert_int_equal(qw_opts_get(&state, "host")->source, QW_OPT_UNSET);
    assert_null(qw_opts_get(&state, "nothing"));
    assert_int_equal(state.n_warnings, 0);
    END();
}

static void test_forms(void **unused)
{
    (void)unused;
    assert_ok(PARSE("--port", "81", "--host=h=1", "--max_model_len=5500", "--request_rate", "-0",
                    "--dtype", "float32", "--stream", "--no-enable-prefix-caching", "-tp", "4"));
    assert_int_equal(got.port, 81);
    assert_string_equal(got.host, "h=1");
    assert_int_equal(got.max_model_len, 5500);
    assert_true(got.rate == 0);
    assert_int_equal(got.dtype, 3);
    assert_true(got.stream);
    assert_false(got.prefix_caching);
    assert_int_equal(got.tp, 4);
    assert_int_equal(qw_opts_get(&state, "max-model-len")->source, QW_OPT_FROM_FLAG);
    END();
    assert_ok(PARSE("-O3", "-tp=8", "--no_enable_prefix_caching", "--enable-prefix-caching"));
    assert_int_equal(got.optimization_level, 3);
    assert_int_equal(got.tp, 8);
    assert_true(got.prefix_caching);
    END();
    REJECTS("argument --port: expected one argument", "--port");
    REJECTS("argument --port: expected one argument", "--port", "--stream");
    REJECTS("argument --host: expected one argument; a value that begins with '-'", "--host", "-x");
    REJECTS("argument --stream: takes no value, got 'true'", "--stream=true");
    REJECTS("argument --no-enable-prefix-caching: takes no value", "--no-enable-prefix-caching=1");
    REJECTS("unrecognized arguments: --no-stream", "--no-stream");
    REJECTS("unrecognized arguments: -tp4", "-tp4");
    REJECTS("unrecognized arguments: -Ox", "-Ox");
    REJECTS("argument --port: takes no dotted keys", "--port.a", "3");
    REJECTS("unrecognized arguments: --=3", "--=3");
}

static void test_prefixes(void **unused)
{
    (void)unused;
    // The two abbreviations that the seed documents use.
    assert_ok(PARSE("--random-input", "200", "--disable-log-request"));
    assert_int_equal(got.random_input_len, 200);
    assert_true(got.disable_log_requests);
    assert_false(got.disable_log_stats);
    assert_int_equal(state.n_warnings, 1);
    assert_string_equal(state.warnings[0], "--disable-log-requests: has no effect; request "
                                           "logging is off by default");
    END();
    assert_ok(PARSE("--random_i=7", "--no-en", "--comp.mode", "3"));
    assert_int_equal(got.random_input_len, 7);
    assert_false(got.prefix_caching);
    assert_int_equal(got.config.n_assigns, 1);
    END();
    REJECTS("ambiguous option: --random could match --random-input-len, --random-output-len",
            "--random", "7");
    REJECTS("ambiguous option: --disable-log could match --disable-log-requests, "
            "--disable-log-stats",
            "--disable-log");
}

static void test_unknown(void **unused)
{
    (void)unused;
    REJECTS("unrecognized arguments: --fod (did you mean '--food'?)", "--fod");
    REJECTS("unrecognized arguments: --prot=1 (did you mean '--port'?)", "--prot=1");
    REJECTS("unrecognized arguments: --no-enable-prefix-cachin1 (did you mean "
            "'--no-enable-prefix-caching'?)",
            "--no-enable-prefix-cachin1");
    assert_fails(PARSE("--zzzzzz"), QW_ERR_USAGE, "unrecognized arguments: --zzzzzz");
    assert_null(strstr(err.text, "did you mean"));
    END();
    assert_fails(PARSE("--disable-log-requestsx"), QW_ERR_USAGE, "unrecognized arguments");
    assert_null(strstr(err.text, "'--disable-log-requests'")); // hidden rows are not suggested
    END();
    REJECTS("unrecognized arguments: -z", "-z");
    REJECTS("unrecognized arguments: extra", "m", "extra");
}

static void test_last_wins(void **unused)
{
    (void)unused;
    assert_ok(PARSE("--port", "1", "--port=2", "--port", "3", "--stop", "a", "--stop", "b c",
                    "--served-model-name", "x", "y", "--served-model-name", "z"));
    assert_int_equal(got.port, 3);
    assert_int_equal(got.n_stop, 2);
    assert_string_equal(got.stop[0], "a");
    assert_string_equal(got.stop[1], "b c");
    assert_int_equal(got.n_served_model_name, 1);
    assert_string_equal(got.served_model_name[0], "z");
    assert_int_equal(state.n_warnings, 2);
    assert_string_equal(state.warnings[0], "Found duplicate keys --port");
    assert_string_equal(state.warnings[1], "Found duplicate keys --served-model-name");
    END();
}

static void test_values(void **unused)
{
    (void)unused;
    assert_ok(PARSE("--served-model-name", "a", "-7", "b c", "-", "--cuda-graph-sizes", "1", "2",
                    "4", "--host", "- a b"));
    assert_int_equal(got.n_served_model_name, 4);
    assert_string_equal(got.served_model_name[1], "-7");
    assert_string_equal(got.served_model_name[3], "-");
    assert_int_equal(got.n_ids, 3);
    assert_int_equal(got.ids[2], 4);
    assert_string_equal(got.host, "- a b");
    END();
    assert_ok(PARSE("--max-model-len", "-1"));
    assert_int_equal(got.max_model_len, -1);
    END();
    assert_ok(PARSE("--max-model-len", "auto", "--host="));
    assert_int_equal(got.max_model_len, -1);
    assert_string_equal(got.host, "");
    END();
    assert_ok(PARSE("--port", "65535", "--request-rate", "1000"));
    assert_int_equal(got.port, 65535);
    END();
    assert_ok(PARSE("--port", "1"));
    assert_int_equal(got.port, 1);
    END();
    REJECTS("argument --port: invalid value '0': expected an integer from 1 to 65535", "--port",
            "0");
    REJECTS("argument --port: invalid value '65536'", "--port", "65536");
    REJECTS("argument --port: invalid value '1k'", "--port", "1k"); // not marked human
    REJECTS("argument --port: invalid value 'auto'", "--port", "auto");
    REJECTS("argument --request-rate: invalid value 'fast': expected a number from 0 to 1000",
            "--request-rate", "fast");
    REJECTS("argument --request-rate: invalid value 'nan'", "--request-rate", "nan");
    REJECTS("argument --request-rate: invalid value '1001'", "--request-rate", "1001");
    REJECTS("argument --cuda-graph-sizes: invalid value '0': expected an integer of at least 1",
            "--cuda-graph-sizes", "1", "0");
    REJECTS("argument --served-model-name: expected at least one argument", "--served-model-name");
    REJECTS("argument --dtype: invalid value 'bfloat1': expected auto, half, bfloat16, float32 "
            "(did you mean 'bfloat16'?)",
            "--dtype", "bfloat1");
    REJECTS("argument --max-model-len: invalid value '1x': expected an integer (k, M, ... suffixes "
            "allowed), or 'auto'",
            "--max-model-len", "1x");
    // A failure changes no target, not even those that were fine.
    assert_fails(PARSE("--host", "h", "--port", "x"), QW_ERR_USAGE, "--port");
    assert_null(got.host);
    assert_int_equal(got.n_stop, 77);
    END();
}

static void test_positional(void **unused)
{
    (void)unused;
    assert_ok(PARSE("--stream", "m1", "--port", "5"));
    assert_string_equal(got.model, "m1");
    assert_int_equal(got.port, 5);
    END();
    assert_ok(PARSE("--port", "5", "--", "--weird"));
    assert_string_equal(got.model, "--weird");
    END();
    assert_ok(PARSE("--model", "m2"));
    assert_string_equal(got.model, "m2");
    END();
    REJECTS("unrecognized arguments: --port", "--", "m", "--port");
}

static void test_required_and_rest(void **unused)
{
    (void)unused;
    struct {
        const char *in;
        const char *const *files;
        size_t n_files;
    } t = {0};
    const qw_opt two[] = {
        {"in", QW_OPT_STR, 0, .positional = true, .required = true},
        {"files", QW_OPT_STRS, offsetof(__typeof__(t), files), offsetof(__typeof__(t), n_files),
         .positional = true, .append = true},
    };
    qw_opt_table table = {two, 2, &t};
    qw_opts o;
    assert_ok(qw_opts_init(&o, "p", NULL, &table, 1, &err));
    assert_ok(qw_opts_parse(&o, 5, (char *[]){"p", "a", "b", "c", "d", NULL}, &err));
    assert_ok(qw_opts_finish(&o, &err));
    assert_string_equal(t.in, "a");
    assert_int_equal(t.n_files, 3);
    assert_string_equal(t.files[2], "d");
    assert_int_equal(o.n_warnings, 0);
    qw_opts_release(&o);
    assert_ok(qw_opts_init(&o, "p", NULL, &table, 1, &err));
    assert_ok(qw_opts_parse(&o, 1, (char *[]){"p", NULL}, &err));
    assert_fails(qw_opts_finish(&o, &err), QW_ERR_USAGE,
                 "the following arguments are required: in");
    qw_opts_release(&o);
}

static void test_json(void **unused)
{
    (void)unused;
    assert_ok(PARSE("--compilation-config", "{\"mode\":3}", "--compilation_config.cudagraph_mode",
                    "FULL", "-cc.sizes+=1,2", "--compilation-config.a.b", "4",
                    "--compilation-config.a.b=5"));
    assert_string_equal(got.config.text, "{\"mode\":3}");
    assert_int_equal(got.config.n_assigns, 4);
    // '_' behind the first dot is the user's own.
    assert_string_equal(got.config.assigns[0].path, "cudagraph_mode");
    assert_string_equal(got.config.assigns[0].value, "FULL");
    assert_string_equal(got.config.assigns[1].path, "sizes");
    assert_string_equal(got.config.assigns[1].value, "1,2");
    assert_true(got.config.assigns[1].append);
    assert_string_equal(got.config.assigns[3].value, "5");
    assert_false(got.config.assigns[3].append);
    assert_int_equal(state.n_warnings, 1);
    assert_string_equal(state.warnings[0], "Found duplicate keys --compilation-config.a.b");
    END();
    assert_ok(PARSE("--compilation-config.mode", "-1"));
    assert_null(got.config.text);
    assert_string_equal(got.config.assigns[0].value, "-1");
    END();
    REJECTS("argument --compilation-config: expected one argument", "--compilation-config.mode");
}

static void test_precedence(void **unused)
{
    (void)unused;
    const char *const file_port[] = {"1"};
    setenv("QWENCH_PORT", "2", 1);
    assert_ok(start());
    assert_ok(qw_opts_apply_config(&state, "port", file_port, 1, &err));
    assert_ok(parse_argv((char *[]){"serve", "--port", "3", NULL}));
    assert_int_equal(got.port, 3);
    assert_int_equal(qw_opts_get(&state, "port")->source, QW_OPT_FROM_FLAG);
    assert_int_equal(state.n_warnings, 0); // sources do not count as duplicates of each other
    END();
    assert_ok(start());
    assert_ok(qw_opts_apply_config(&state, "port", file_port, 1, &err));
    assert_ok(parse_argv((char *[]){"serve", NULL}));
    assert_int_equal(got.port, 2);
    assert_int_equal(qw_opts_get(&state, "port")->source, QW_OPT_FROM_ENV);
    END();
    setenv("QWENCH_PORT", "", 1); // empty is unset
    assert_ok(start());
    assert_ok(qw_opts_apply_config(&state, "port", file_port, 1, &err));
    assert_ok(parse_argv((char *[]){"serve", NULL}));
    assert_int_equal(got.port, 1);
    assert_string_equal(qw_opt_source_name(qw_opts_get(&state, "port")->source), "config file");
    END();
    // The file may also come after the command line was read; it still loses.
    assert_ok(start());
    assert_ok(qw_opts_parse(&state, 3, (char *[]){"serve", "--port", "3", NULL}, &err));
    assert_ok(qw_opts_apply_config(&state, "port", file_port, 1, &err));
    assert_ok(qw_opts_finish(&state, &err));
    assert_int_equal(got.port, 3);
    END();
    unsetenv("QWENCH_PORT");
}

static void test_environment(void **unused)
{
    (void)unused;
    setenv("QWENCH_SERVED_MODEL_NAME", " a  b", 1);
    setenv("QWENCH_STOP", "one string", 1);
    setenv("QWENCH_ENABLE_PREFIX_CACHING", "Off", 1);
    setenv("VLLM_FOOD", "1", 1);
    setenv("QWENCH_STREAM", "yes", 1);
    assert_ok(PARSE("m"));
    assert_int_equal(got.n_served_model_name, 2);
    assert_string_equal(got.served_model_name[1], "b");
    assert_int_equal(got.n_stop, 1);
    assert_string_equal(got.stop[0], "one string");
    assert_false(got.prefix_caching);
    assert_true(got.food);
    assert_true(got.stream);
    END();
    setenv("QWENCH_STREAM", "maybe", 1);
    REJECTS("environment variable QWENCH_STREAM: invalid value 'maybe': expected true or false",
            "m");
    unsetenv("QWENCH_STREAM");
    setenv("VLLM_FOOD", "", 1);
    setenv("QWENCH_FOOD", "1", 1); // vLLM's name replaces ours
    assert_ok(PARSE("m"));
    assert_false(got.food);
    END();
    unsetenv("QWENCH_FOOD");
    unsetenv("VLLM_FOOD");
    unsetenv("QWENCH_ENABLE_PREFIX_CACHING");
    unsetenv("QWENCH_STOP");
    unsetenv("QWENCH_SERVED_MODEL_NAME");
}

static void test_config(void **unused)
{
    (void)unused;
    const char *const names[] = {"a", "b"}, *const yes[] = {"true"}, *const no[] = {"false"};
    const char *const json[] = {"{\"mode\":1}"}, *const bad[] = {"x"};
    assert_ok(start());
    assert_ok(qw_opts_apply_config(&state, "served_model_name", names, 2, &err));
    assert_ok(qw_opts_apply_config(&state, "stream", yes, 1, &err));
    assert_ok(qw_opts_apply_config(&state, "enable-prefix-caching", no, 1, &err)); // dropped
    assert_ok(qw_opts_apply_config(&state, "compilation-config", json, 1, &err));
    assert_ok(qw_opts_apply_config(&state, "compilation-config.level", yes, 1, &err));
    assert_ok(parse_argv((char *[]){"serve", NULL}));
    assert_int_equal(got.n_served_model_name, 2);
    assert_true(got.stream);
    assert_true(got.prefix_caching);
    assert_string_equal(got.config.text, "{\"mode\":1}");
    assert_string_equal(got.config.assigns[0].path, "level");
    END();
    assert_ok(start());
    assert_ok(qw_opts_apply_config(&state, "no-enable-prefix-caching", yes, 1, &err));
    assert_fails(qw_opts_apply_config(&state, "prot", bad, 1, &err), QW_ERR_USAGE,
                 "unrecognized arguments: --prot (did you mean '--port'?)");
    assert_fails(qw_opts_apply_config(&state, "--port", bad, 1, &err), QW_ERR_USAGE,
                 "unrecognized");
    assert_fails(qw_opts_apply_config(&state, "help", yes, 1, &err), QW_ERR_USAGE, "unrecognized");
    assert_fails(qw_opts_apply_config(&state, "port", names, 2, &err), QW_ERR_USAGE,
                 "config file key 'port': expected one value, got 2 values");
    assert_fails(qw_opts_apply_config(&state, "stream", bad, 1, &err), QW_ERR_USAGE,
                 "config file key 'stream': invalid value 'x'");
    assert_fails(qw_opts_apply_config(&state, "port.a", bad, 1, &err), QW_ERR_USAGE, "dotted");
    assert_ok(qw_opts_apply_config(&state, "port", bad, 1, &err));
    assert_fails(parse_argv((char *[]){"serve", NULL}), QW_ERR_USAGE,
                 "config file key 'port': invalid value 'x'");
    END();
}

static void test_human_int(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"-12", -12},
        {"1k", 1000},
        {"1K", 1024},
        {"25.6k", 25600},
        {"1.001k", 1001},
        {"2m", 2000000},
        {"2M", 2 << 20},
        {"3g", 3000000000},
        {"1G", 1 << 30},
        {"1t", 1000000000000},
        {"1T", (int64_t)1 << 40},
        {"0.0005k", 0},
        {"9223372036854775807", INT64_MAX},
    };
    static const char *const bad[] = {"",
                                      "k",
                                      "1.5K",
                                      "1.5",
                                      ".5k",
                                      "5.k",
                                      "-1k",
                                      "+1K",
                                      "1kk",
                                      "1e3",
                                      "1x",
                                      "1 k",
                                      "9223372036854775808",
                                      "9999999999g",
                                      "9999999999G",
                                      "1..2k",
                                      "1.2.3k"};
    for (size_t i = 0; i < QW_ARRAY_LEN(good); i++) {
        int64_t value = 99;
        assert_true(qw_opt_human_int(qw_str_of(good[i].text), &value));
        assert_int_equal(value, good[i].value);
    }
    for (size_t i = 0; i < QW_ARRAY_LEN(bad); i++) {
        int64_t value = 99;
        if (qw_opt_human_int(qw_str_of(bad[i]), &value)) fail_msg("'%s' was accepted", bad[i]);
        assert_int_equal(value, 99);
    }
    assert_ok(PARSE("--max-model-len", "25.6k"));
    assert_int_equal(got.max_model_len, 25600);
    END();
}

static void assert_narrow(const char *text)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        if (len > 80) fail_msg("%zu columns: %.*s", len, (int)len, line);
        line += len + (line[len] == '\n');
    }
}

static void test_help(void **unused)
{
    (void)unused;
    qw_buf out;
    qw_buf_init(&out, 1 << 16);
    assert_ok(PARSE("--port", "1", "--help", "--unknown-behind-it"));
    assert_true(state.wants_help);
    assert_null(state.help_topic);
    assert_ok(qw_opts_help(&state, NULL, &out, &err));
    assert_narrow(out.data);
    assert_non_null(
        strstr(out.data, "usage: qwench serve [options] [MODEL]\n\nAnswer requests.\n"));
    assert_non_null(strstr(out.data, "\nServer:\n"));
    assert_non_null(strstr(out.data, "  --port N                TCP port (an integer from 1 to "
                                     "65535; default: 8000)\n"));
    assert_non_null(strstr(out.data, "--enable-prefix-caching, --no-enable-prefix-caching\n"));
    assert_non_null(strstr(out.data, "one of: auto, half, bfloat16, float32; default: auto"));
    assert_non_null(strstr(out.data, "-h, --help[=TOPIC]"));
    assert_null(strstr(out.data, "disable-log-requests"));
    END();

    qw_buf_clear(&out);
    assert_ok(PARSE("--help=server"));
    assert_string_equal(state.help_topic, "server");
    assert_ok(qw_opts_help(&state, state.help_topic, &out, &err));
    assert_non_null(strstr(out.data, "--host"));
    assert_null(strstr(out.data, "--dtype"));
    qw_buf_clear(&out);
    assert_ok(qw_opts_help(&state, "max_model_len", &out, &err));
    assert_non_null(strstr(out.data, "--max-model-len"));
    assert_non_null(strstr(out.data, "environment: QWENCH_MAX_MODEL_LEN\n"));
    assert_null(strstr(out.data, "--host"));
    qw_buf_clear(&out);
    assert_ok(qw_opts_help(&state, "random", &out, &err));
    assert_non_null(strstr(out.data, "--random-input-len"));
    assert_non_null(strstr(out.data, "--random-output-len"));
    qw_buf_clear(&out);
    assert_ok(qw_opts_help(&state, "all", &out, &err));
    assert_non_null(strstr(out.data, "--dtype"));
    qw_buf_clear(&out);
    assert_fails(qw_opts_help(&state, "nonsense", &out, &err), QW_ERR_USAGE,
                 "no option and no group of 'qwench serve' is called 'nonsense'");
    assert_int_equal(out.len, 0);
    END();
    assert_ok(PARSE("-h"));
    assert_true(state.wants_help);
    END();
    qw_buf_release(&out);
}

static void test_help_of_a_long_table(void **unused)
{
    (void)unused;
    static char names[QW_OPT_HELP_LONG + 1][32];
    static qw_opt many[QW_OPT_HELP_LONG + 1];
    for (int i = 0; i <= QW_OPT_HELP_LONG; i++) {
        snprintf(names[i], sizeof names[i], "option-%d", i);
        many[i] = (qw_opt){names[i], QW_OPT_STR, .group = i % 2 ? "Odd" : "Even"};
    }
    qw_opt_table table = {many, QW_ARRAY_LEN(many), NULL};
    qw_opts o;
    qw_buf out;
    qw_buf_init(&out, 1 << 16);
    assert_ok(qw_opts_init(&o, "p", NULL, &table, 1, &err));
    assert_ok(qw_opts_help(&o, NULL, &out, &err));
    assert_non_null(strstr(out.data, "  Odd\n"));
    assert_null(strstr(out.data, "--option-3"));
    assert_ok(qw_opts_help(&o, "all", &out, &err));
    assert_non_null(strstr(out.data, "--option-3"));
    qw_buf_release(&out);
    qw_opts_release(&o);
}

static void test_memory(void **unused)
{
    (void)unused;
    setenv("QWENCH_SERVED_MODEL_NAME", "a b c d", 1);
    size_t live = qw_mem_live();
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        assert_true(n < 1000);
        qw_buf out;
        qw_buf_init(&out, 1 << 16);
        qw_mem_fail_at(n);
        qw_status st = start();
        bool began = st == QW_OK;
        if (began)
            st = parse_argv((char *[]){"serve",
                                       "m",
                                       "--port",
                                       "1",
                                       "--port",
                                       "2",
                                       "--stop",
                                       "a",
                                       "--stop",
                                       "b",
                                       "--stop",
                                       "c",
                                       "-cc.a",
                                       "1",
                                       "-cc.a",
                                       "2",
                                       "--cuda-graph-sizes",
                                       "1",
                                       "2",
                                       "3",
                                       NULL});
        if (st == QW_OK) st = qw_opts_help(&state, "all", &out, &err);
        done = st == QW_OK;
        qw_mem_fail_at(0);
        if (!done) assert_int_equal(st, QW_ERR_NO_MEMORY);
        if (began) END();
        qw_buf_release(&out);
        assert_int_equal(qw_mem_live(), live);
    }
    unsetenv("QWENCH_SERVED_MODEL_NAME");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_last_wins),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_positional),
        cmocka_unit_test(test_required_and_rest),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_human_int),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_help_of_a_long_table),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
