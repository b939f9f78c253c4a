#include "test_util.h"

#include "base/mem.h"
#include "engine/sampling_params.h"

static qw_error err;
static qw_sampling_params p;

static json_t *json_of(const char *text)
{
    json_t *v = NULL;
    assert_ok(qw_json_parse(&v, text, strlen(text), "test", &err));
    return v;
}

static qw_status apply_with(const char *text, const char **param)
{
    json_t *v = json_of(text);
    qw_status st = qw_sampling_params_apply_request(&p, v, param, &err);
    json_decref(v);
    return st;
}

static qw_status apply(const char *text)
{
    return apply_with(text, NULL);
}

// Neutral parameters plus a request.
static void read_request(const char *text)
{
    qw_sampling_params_init(&p);
    assert_ok(apply(text));
}

static void refuse(const char *text, qw_status want, const char *want_param, const char *part)
{
    const char *param = "none";
    qw_sampling_params_init(&p);
    p.top_k = 41; // an untouched struct keeps it
    assert_fails(apply_with(text, &param), want, part);
    assert_non_null(param);
    assert_string_equal(param, want_param);
    assert_int_equal(p.top_k, 41);
    assert_null(p.stop);
    assert_null(p.logit_bias);
}

static void test_neutral(void **unused)
{
    (void)unused;
    read_request("{\"model\":\"m\",\"messages\":[],\"temperature\":null,\"stop\":null,\"n\":null,"
                 "\"max_tokens\":null,\"logprobs\":null,\"top_logprobs\":null,\"seed\":null}");
    assert_true(p.temperature == 1.0 && p.top_p == 1.0 && p.min_p == 0.0);
    assert_true(p.repetition_penalty == 1.0);
    assert_true(p.frequency_penalty == 0.0 && p.presence_penalty == 0.0);
    assert_int_equal(p.top_k, 0);
    assert_false(p.has_seed);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.max_tokens, -1);
    assert_int_equal(p.min_tokens, 0);
    assert_false(p.ignore_eos);
    assert_int_equal(p.logprobs, QW_LOGPROBS_OFF);
    assert_int_equal(p.prompt_logprobs, QW_LOGPROBS_OFF);
    assert_true(p.skip_special_tokens && p.spaces_between_special_tokens);
    assert_false(p.include_stop_str_in_output);
    assert_int_equal(p.n_stop + p.n_stop_token_ids + p.n_logit_bias + p.n_allowed_token_ids +
                         p.n_bad_words + p.n_bad_word_ids,
                     0);
    qw_sampling_params_release(&p);
}

static void test_numbers(void **unused)
{
    (void)unused;
    read_request("{\"temperature\":0.5,\"top_p\":\"0.9\",\"top_k\":20.0,\"min_p\":1,"
                 "\"repetition_penalty\":1.1,\"frequency_penalty\":-2,\"presence_penalty\":2,"
                 "\"seed\":7,\"n\":2,\"max_tokens\":10,\"min_tokens\":10,\"ignore_eos\":1,"
                 "\"skip_special_tokens\":\"false\",\"spaces_between_special_tokens\":false,"
                 "\"include_stop_str_in_output\":true,\"prompt_logprobs\":-1}");
    assert_true(p.temperature == 0.5 && p.top_p == 0.9 && p.min_p == 1.0);
    assert_true(p.repetition_penalty == 1.1);
    assert_true(p.frequency_penalty == -2.0 && p.presence_penalty == 2.0);
    assert_int_equal(p.top_k, 20);
    assert_true(p.has_seed);
    assert_int_equal(p.seed, 7);
    assert_int_equal(p.n, 2);
    assert_int_equal(p.max_tokens, 10);
    assert_int_equal(p.min_tokens, 10);
    assert_true(p.ignore_eos);
    assert_false(p.skip_special_tokens || p.spaces_between_special_tokens);
    assert_true(p.include_stop_str_in_output);
    assert_int_equal(p.prompt_logprobs, QW_LOGPROBS_ALL);
    // null keeps, -1 takes the seed away.
    assert_ok(apply("{\"temperature\":null,\"seed\":-1,\"top_k\":-1}"));
    assert_true(p.temperature == 0.5);
    assert_false(p.has_seed);
    assert_int_equal(p.top_k, -1);
    qw_sampling_params_release(&p);
}

static void test_temperature(void **unused)
{
    (void)unused;
    read_request("{\"temperature\":0.001}");
    assert_true(p.temperature == 0.01);
    read_request("{\"temperature\":0.000001}");
    assert_true(qw_sampling_params_is_greedy(&p));
    read_request("{\"temperature\":0}");
    assert_true(qw_sampling_params_is_greedy(&p));
    read_request("{\"temperature\":100}"); // no upper bound
    assert_true(p.temperature == 100);
}

static void test_ranges(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *param, *part;
    } cases[] = {
        {"{\"temperature\":-1}", "temperature", "temperature must be non-negative, got -1.0."},
        {"{\"top_p\":0}", "top_p", "top_p must be in (0, 1], got 0.0."},
        {"{\"top_p\":1.01}", "top_p", "top_p must be in (0, 1], got 1.01."},
        {"{\"top_k\":-2}", "top_k", "top_k must be 0 (disable), or at least 1, got -2."},
        {"{\"min_p\":-0.1}", "min_p", "min_p must be in [0, 1], got -0.1."},
        {"{\"presence_penalty\":2.5}", "presence_penalty",
         "presence_penalty must be in [-2, 2], got 2.5."},
        {"{\"frequency_penalty\":-3}", "frequency_penalty",
         "frequency_penalty must be in [-2, 2], got -3.0."},
        {"{\"repetition_penalty\":0}", "repetition_penalty",
         "repetition_penalty must be greater than zero, got 0.0."},
        {"{\"max_tokens\":0}", "max_tokens", "max_tokens must be at least 1, got 0."},
        {"{\"max_tokens\":-1}", "max_tokens", "max_tokens must be at least 1, got -1."},
        {"{\"max_completion_tokens\":0,\"max_tokens\":5}", "max_completion_tokens",
         "max_tokens must be at least 1, got 0."},
        {"{\"min_tokens\":-1}", "min_tokens",
         "min_tokens must be greater than or equal to 0, got -1."},
        {"{\"min_tokens\":6,\"max_tokens\":5}", "min_tokens",
         "min_tokens must be less than or equal to max_tokens=5, got 6."},
        {"{\"n\":0}", "n", "n must be at least 1, got 0."},
        {"{\"n\":2,\"temperature\":0}", "n", "n must be 1 when using greedy sampling, got 2."},
        {"{\"logprobs\":-2}", "logprobs", "logprobs must be non-negative or -1, got -2."},
        {"{\"prompt_logprobs\":-2}", "prompt_logprobs",
         "prompt_logprobs must be non-negative or -1, got -2."},
        {"{\"stop\":[\"a\",\"\"]}", "stop", "stop cannot contain an empty string."},
        {"{\"stop\":\"\"}", "stop", "stop cannot contain an empty string."},
        {"{\"stop\":\"a\\u0000b\"}", "stop", "stop cannot contain a NUL character."},
        {"{\"bad_words\":[\"\"]}", "bad_words", "bad_words cannot contain an empty string."},
        {"{\"allowed_token_ids\":[]}", "allowed_token_ids",
         "allowed_token_ids is not None and empty!"},
        {"{\"allowed_token_ids\":[-1]}", "allowed_token_ids", "out-of-vocab token id -1"},
        {"{\"stop_token_ids\":[2147483648]}", "stop_token_ids", "out-of-vocab"},
        {"{\"logit_bias\":{\"-1\":1}}", "logit_bias", "token_id(s) [-1] in logit_bias"},
        {"{\"top_logprobs\":3}", "top_logprobs",
         "when using top_logprobs, logprobs must be set to true."},
        {"{\"top_logprobs\":-1,\"logprobs\":false}", "top_logprobs", "when using top_logprobs"},
        {"{\"top_logprobs\":3,\"logprobs\":0}", "top_logprobs", "when using top_logprobs"},
        {"{\"top_logprobs\":-2,\"logprobs\":true}", "top_logprobs",
         "top_logprobs must be a positive value or -1."},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++)
        refuse(cases[i].text, QW_ERR_USAGE, cases[i].param, cases[i].part);
}

static void test_types(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *param, *part;
    } cases[] = {
        {"{\"temperature\":\"hot\"}", "temperature",
         "'temperature' must be a number, got the string 'hot'"},
        {"{\"temperature\":[]}", "temperature", "'temperature' must be a number, got array"},
        {"{\"top_k\":1.5}", "top_k", "'top_k' must be a 64-bit integer, got 1.5"},
        {"{\"max_completion_tokens\":\"x\"}", "max_completion_tokens", "'max_completion_tokens'"},
        {"{\"ignore_eos\":2}", "ignore_eos", "'ignore_eos' must be true or false, got 2"},
        {"{\"stop\":5}", "stop", "'stop' must be a string or a list of strings, got integer"},
        {"{\"stop\":[\"a\",5]}", "stop", "'stop[1]' must be a string, got integer"},
        {"{\"stop_token_ids\":5}", "stop_token_ids", "must be a list of integers, got integer"},
        {"{\"stop_token_ids\":[1,\"x\"]}", "stop_token_ids",
         "'stop_token_ids[1]' must be a 64-bit integer, got the string 'x'"},
        {"{\"logit_bias\":[]}", "logit_bias", "'logit_bias' must be an object, got array"},
        {"{\"logit_bias\":{\"a\":1}}", "logit_bias", "must map token ids to numbers, got 'a'"},
        {"{\"logit_bias\":{\"5\":\"x\"}}", "logit_bias", "'logit_bias.5' must be a number"},
        {"{\"logprobs\":\"x\"}", "logprobs", "'logprobs' must be an integer or a boolean"},
        {"{\"logprobs\":true,\"top_logprobs\":\"x\"}", "top_logprobs", "'top_logprobs' must be"},
        {"{\"stop\":[\"a\"],\"logit_bias\":{\"1\":2},\"n\":\"x\"}", "n", "'n' must be"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++)
        refuse(cases[i].text, QW_ERR_FORMAT, cases[i].param, cases[i].part);
    json_t *list = json_array();
    assert_fails(qw_sampling_params_apply_json(&p, list, &err), QW_ERR_FORMAT,
                 "a request must be a JSON object, got array");
    json_decref(list);
}

static void test_lists(void **unused)
{
    (void)unused;
    read_request("{\"stop\":\"one\",\"bad_words\":[\"x\",\"\xc3\xa9\"],"
                 "\"stop_token_ids\":[5,\"3\",5],\"allowed_token_ids\":[9,1,9,4]}");
    assert_int_equal(p.n_stop, 1);
    assert_string_equal(p.stop[0], "one");
    assert_int_equal(p.n_bad_words, 2);
    assert_string_equal(p.bad_words[1], "\xc3\xa9");
    assert_int_equal(p.n_stop_token_ids, 3);
    assert_int_equal(p.stop_token_ids[1], 3);
    assert_int_equal(p.n_allowed_token_ids, 3);
    assert_int_equal(p.allowed_token_ids[0], 1);
    assert_int_equal(p.allowed_token_ids[1], 4);
    assert_int_equal(p.allowed_token_ids[2], 9);
    // A later list replaces the earlier one.
    assert_ok(apply("{\"stop\":[\"a\",\"b\"],\"stop_token_ids\":[]}"));
    assert_int_equal(p.n_stop, 2);
    assert_int_equal(p.n_stop_token_ids, 0);
    assert_int_equal(p.n_bad_words, 2);
    qw_sampling_params_release(&p);
}

static void test_logit_bias(void **unused)
{
    (void)unused;
    read_request("{\"logit_bias\":{\"50\":1.5,\"7\":-1000,\"9\":\"200\",\"07\":3,\"+50\":-1}}");
    assert_int_equal(p.n_logit_bias, 3);
    assert_int_equal(p.logit_bias[0].id, 7);
    assert_true(p.logit_bias[0].bias == 3.0f); // of two spellings the last counts
    assert_int_equal(p.logit_bias[1].id, 9);
    assert_true(p.logit_bias[1].bias == 100.0f);
    assert_int_equal(p.logit_bias[2].id, 50);
    assert_true(p.logit_bias[2].bias == -1.0f);
    assert_ok(apply("{\"logit_bias\":{\"1\":-101}}"));
    assert_int_equal(p.n_logit_bias, 1);
    assert_true(p.logit_bias[0].bias == -100.0f);
    assert_ok(apply("{\"logit_bias\":{}}"));
    assert_int_equal(p.n_logit_bias, 0);
    qw_sampling_params_release(&p);
}

static void test_max_tokens_and_logprobs(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"{}", QW_LOGPROBS_OFF},
        {"{\"logprobs\":false}", QW_LOGPROBS_OFF},
        {"{\"logprobs\":true}", 0},
        {"{\"logprobs\":\"true\"}", 0},
        {"{\"logprobs\":true,\"top_logprobs\":0}", 0},
        {"{\"logprobs\":true,\"top_logprobs\":5}", 5},
        {"{\"logprobs\":true,\"top_logprobs\":-1}", QW_LOGPROBS_ALL},
        {"{\"logprobs\":false,\"top_logprobs\":0}", QW_LOGPROBS_OFF},
        {"{\"top_logprobs\":0}", QW_LOGPROBS_OFF},
        {"{\"logprobs\":0}", 0},
        {"{\"logprobs\":3}", 3},
        {"{\"logprobs\":\"3\"}", 3},
        {"{\"logprobs\":-1}", QW_LOGPROBS_ALL},
        {"{\"logprobs\":1,\"top_logprobs\":5}", 5},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        read_request(cases[i].text);
        assert_int_equal(p.logprobs, cases[i].want);
    }
    assert_ok(apply("{\"logprobs\":false}"));
    assert_int_equal(p.logprobs, QW_LOGPROBS_OFF);
    read_request("{\"max_tokens\":5,\"max_completion_tokens\":9}");
    assert_int_equal(p.max_tokens, 9);
    read_request("{\"max_completion_tokens\":null,\"max_tokens\":5}");
    assert_int_equal(p.max_tokens, 5);
}

static void test_defaults_of_the_model(void **unused)
{
    (void)unused;
    qw_sampling_defaults d = {.has_temperature = true,
                              .temperature = 0.6,
                              .has_top_k = true,
                              .top_k = 20,
                              .has_top_p = true,
                              .top_p = 0.95,
                              .has_max_new_tokens = true,
                              .max_new_tokens = 100,
                              .min_p = 0.5 /* not set: has_min_p is false */};
    qw_sampling_params_init(&p);
    assert_ok(qw_sampling_params_set_defaults(&p, &d, &err));
    assert_ok(apply("{\"top_k\":0,\"temperature\":null}"));
    assert_true(p.temperature == 0.6);
    assert_true(p.top_p == 0.95);
    assert_true(p.min_p == 0.0);
    assert_int_equal(p.top_k, 0);
    assert_int_equal(p.max_tokens, 100);
    d.has_repetition_penalty = d.has_min_p = true;
    d.repetition_penalty = 1.05;
    assert_ok(qw_sampling_params_set_defaults(&p, &d, &err));
    assert_true(p.repetition_penalty == 1.05 && p.min_p == 0.5);
    d.top_p = 2;
    assert_fails(qw_sampling_params_set_defaults(&p, &d, &err), QW_ERR_USAGE,
                 "top_p must be in (0, 1], got 2.0.");
    assert_true(p.top_p == 0.95);
    d.top_p = 1;
    d.max_new_tokens = -1;
    assert_fails(qw_sampling_params_set_defaults(&p, &d, &err), QW_ERR_USAGE, "max_tokens must be");
}

static void test_limits(void **unused)
{
    (void)unused;
    qw_sampling_limits limits = {.max_n = 4, .max_logprobs = 20, .vocab_size = 1000};
    static const struct {
        const char *good, *bad, *param, *part;
    } cases[] = {
        {"{\"n\":4}", "{\"n\":5}", "n", "n must be at most 4, got 5."},
        {"{\"logprobs\":20}", "{\"logprobs\":21}", "logprobs",
         "Requested sample logprobs of 21, which is greater than max allowed: 20"},
        {"{\"logprobs\":true}", "{\"logprobs\":-1}", "logprobs",
         "Requested sample logprobs of 1000, which is greater than max allowed: 20"},
        {"{\"prompt_logprobs\":20}", "{\"prompt_logprobs\":21}", "prompt_logprobs",
         "Requested prompt logprobs of 21, which is greater than max allowed: 20"},
        {"{\"logit_bias\":{\"999\":1}}", "{\"logit_bias\":{\"1000\":1,\"3\":1}}", "logit_bias",
         "token_id(s) [1000] in logit_bias contain out-of-vocab token ids. Vocabulary size: 1000"},
        {"{\"allowed_token_ids\":[999]}", "{\"allowed_token_ids\":[1000,0]}", "allowed_token_ids",
         "allowed_token_ids contains out-of-vocab token id!"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        const char *param = "none";
        read_request(cases[i].good);
        assert_ok(qw_sampling_params_validate(&p, &limits, &param, &err));
        qw_sampling_params_release(&p);
        read_request(cases[i].bad);
        assert_ok(qw_sampling_params_validate(&p, NULL, &param, &err));
        assert_fails(qw_sampling_params_validate(&p, &limits, &param, &err), QW_ERR_USAGE,
                     cases[i].part);
        assert_string_equal(param, cases[i].param);
        assert_int_equal(qw_sampling_params_validate(&p, &limits, NULL, NULL), QW_ERR_USAGE);
        qw_sampling_params_release(&p);
    }
    limits.vocab_size = 0;
    read_request("{\"logprobs\":-1}");
    assert_fails(qw_sampling_params_validate(&p, &limits, NULL, &err), QW_ERR_USAGE,
                 "the whole vocabulary");
    limits.max_logprobs = -1;
    assert_ok(qw_sampling_params_validate(&p, &limits, NULL, &err));
    p.top_p = __builtin_nan("");
    assert_fails(qw_sampling_params_validate(&p, NULL, NULL, &err), QW_ERR_USAGE, "top_p");
}

static void test_copy(void **unused)
{
    (void)unused;
    read_request("{\"stop\":[\"a\",\"b\"],\"bad_words\":[\"c\"],\"stop_token_ids\":[1],"
                 "\"logit_bias\":{\"2\":3},\"allowed_token_ids\":[4,5],\"top_k\":6}");
    p.bad_word_ids = qw_mem_calloc(2, sizeof *p.bad_word_ids);
    p.n_bad_word_ids = 2;
    p.bad_word_ids[1].ids = qw_mem_array(2, sizeof(int32_t));
    p.bad_word_ids[1].ids[0] = 7;
    p.bad_word_ids[1].ids[1] = 8;
    p.bad_word_ids[1].len = 2;
    qw_sampling_params copy;
    assert_ok(qw_sampling_params_copy(&copy, &p, &err));
    assert_ok(apply("{\"bad_words\":[\"new\"]}"));
    assert_int_equal(p.n_bad_word_ids, 0); // they belonged to the old words
    qw_sampling_params_release(&p);
    assert_int_equal(copy.n_stop, 2);
    assert_string_equal(copy.stop[1], "b");
    assert_string_equal(copy.bad_words[0], "c");
    assert_int_equal(copy.stop_token_ids[0], 1);
    assert_true(copy.logit_bias[0].bias == 3.0f);
    assert_int_equal(copy.allowed_token_ids[1], 5);
    assert_int_equal(copy.n_bad_word_ids, 2);
    assert_int_equal(copy.bad_word_ids[0].len, 0);
    assert_int_equal(copy.bad_word_ids[1].ids[1], 8);
    assert_int_equal(copy.top_k, 6);
    qw_sampling_params_release(&copy);
    assert_null(copy.stop);
}

static qw_opts opts;

static qw_status apply_flags(char *const *argv)
{
    int argc = 0;
    while (argv[argc]) argc++;
    qw_opt_table table = {.target = NULL};
    table.rows = qw_sampling_params_options(&table.n_rows);
    qw_status st = qw_opts_init(&opts, "qwench generate", NULL, &table, 1, &err);
    if (st != QW_OK) return st;
    st = qw_opts_parse(&opts, argc, argv, &err);
    if (st == QW_OK) st = qw_opts_finish(&opts, &err);
    if (st == QW_OK) st = qw_sampling_params_apply_options(&p, &opts, &err);
    qw_opts_release(&opts);
    return st;
}
#define FLAGS(...) apply_flags((char *[]){"generate", __VA_ARGS__, NULL})

static bool same_strings(char **a, size_t n_a, char **b, size_t n_b)
{
    if (n_a != n_b) return false;
    for (size_t i = 0; i < n_a; i++)
        if (strcmp(a[i], b[i]) != 0) return false;
    return true;
}

// Every field by its flag gives what it gives in JSON.
static void test_flags_equal_json(void **unused)
{
    (void)unused;
    qw_sampling_params_init(&p);
    assert_ok(FLAGS(
        "--temperature", "0.5", "--top-p", "0.9", "--top-k", "-1", "--min-p", "0.1",
        "--repetition-penalty", "1.1", "--frequency-penalty", "-0.5", "--presence-penalty=0.25",
        "--seed", "7", "--n", "3", "--max-tokens", "10", "--min-tokens", "2", "--ignore-eos",
        "--logprobs", "4", "--prompt-logprobs", "5", "--no-skip-special-tokens",
        "--no-spaces-between-special-tokens", "--include-stop-str-in-output", "--stop", "a b",
        "--stop", "c", "--stop-token-ids", "3", "1", "--logit-bias", "{\"5\":1}", "--logit-bias.6",
        "-200", "--allowed-token-ids", "9", "8", "--bad-words", "x", "--bad-words", "y"));
    qw_sampling_params flags = p;
    read_request("{\"temperature\":0.5,\"top_p\":0.9,\"top_k\":-1,\"min_p\":0.1,"
                 "\"repetition_penalty\":1.1,\"frequency_penalty\":-0.5,\"presence_penalty\":0.25,"
                 "\"seed\":7,\"n\":3,\"max_tokens\":10,\"min_tokens\":2,\"ignore_eos\":true,"
                 "\"logprobs\":4,\"prompt_logprobs\":5,\"skip_special_tokens\":false,"
                 "\"spaces_between_special_tokens\":false,\"include_stop_str_in_output\":true,"
                 "\"stop\":[\"a b\",\"c\"],\"stop_token_ids\":[3,1],"
                 "\"logit_bias\":{\"5\":1,\"6\":-200},\"allowed_token_ids\":[9,8],"
                 "\"bad_words\":[\"x\",\"y\"]}");
    assert_true(same_strings(flags.stop, flags.n_stop, p.stop, p.n_stop));
    assert_true(same_strings(flags.bad_words, flags.n_bad_words, p.bad_words, p.n_bad_words));
    assert_int_equal(flags.n_stop_token_ids, 2);
    assert_memory_equal(flags.stop_token_ids, p.stop_token_ids, 2 * sizeof(int32_t));
    assert_int_equal(flags.n_allowed_token_ids, 2);
    assert_memory_equal(flags.allowed_token_ids, p.allowed_token_ids, 2 * sizeof(int32_t));
    assert_int_equal(flags.n_logit_bias, 2);
    assert_memory_equal(flags.logit_bias, p.logit_bias, 2 * sizeof(qw_logit_bias));
    // What is left has no pointers: compare the plain fields.
    assert_true(flags.temperature == p.temperature && flags.top_p == p.top_p &&
                flags.min_p == p.min_p && flags.repetition_penalty == p.repetition_penalty &&
                flags.frequency_penalty == p.frequency_penalty &&
                flags.presence_penalty == p.presence_penalty);
    assert_true(flags.top_k == p.top_k && flags.seed == p.seed && flags.has_seed && p.has_seed &&
                flags.n == p.n && flags.max_tokens == p.max_tokens &&
                flags.min_tokens == p.min_tokens && flags.logprobs == p.logprobs &&
                flags.prompt_logprobs == p.prompt_logprobs);
    assert_true(flags.ignore_eos && !flags.skip_special_tokens &&
                !flags.spaces_between_special_tokens && flags.include_stop_str_in_output);
    qw_sampling_params_release(&flags);
    qw_sampling_params_release(&p);
}

static void test_flags(void **unused)
{
    (void)unused;
    qw_sampling_defaults d = {
        .has_temperature = true, .temperature = 0.6, .has_top_k = true, .top_k = 20};
    qw_sampling_params_init(&p);
    assert_ok(qw_sampling_params_set_defaults(&p, &d, &err));
    assert_ok(FLAGS("--top_k", "5", "--temp=1", "--seed", "-1"));
    assert_true(p.temperature == 1.0);
    assert_int_equal(p.top_k, 5);
    assert_true(p.top_p == 1.0);
    assert_false(p.has_seed);
    setenv("QWENCH_TOP_P", "0.5", 1);
    assert_ok(FLAGS("--min-p=0"));
    assert_true(p.top_p == 0.5);
    assert_int_equal(p.top_k, 5); // not given this time: kept
    unsetenv("QWENCH_TOP_P");

    assert_fails(FLAGS("--temperature", "-1"), QW_ERR_USAGE,
                 "temperature must be non-negative, got -1.0.");
    assert_fails(FLAGS("--temperature", "hot"), QW_ERR_USAGE,
                 "argument --temperature: invalid value 'hot': expected a number, at least 0");
    assert_fails(FLAGS("--max-tokens", "-1"), QW_ERR_USAGE, "max_tokens must be at least 1");
    assert_fails(FLAGS("--stop", ""), QW_ERR_USAGE, "stop cannot contain an empty string.");
    assert_fails(FLAGS("--stop", "\xff"), QW_ERR_USAGE, "argument --stop: the text is not valid");
    assert_fails(FLAGS("--logit-bias", "5"), QW_ERR_USAGE, "expected a JSON object, got integer");
    assert_fails(FLAGS("--logit-bias", "{\"a\":1}"), QW_ERR_FORMAT, "'logit_bias' must map");
    assert_fails(FLAGS("--n", "2", "--temperature", "0"), QW_ERR_USAGE, "greedy");
    assert_fails(FLAGS("--max-new-tokens", "2"), QW_ERR_USAGE, "unrecognized arguments");
    assert_int_equal(p.top_k, 5);
}

static void test_help_width(void **unused)
{
    (void)unused;
    qw_opt_table table = {.target = NULL};
    table.rows = qw_sampling_params_options(&table.n_rows);
    qw_buf out;
    qw_buf_init(&out, 1 << 16);
    assert_ok(qw_opts_init(&opts, "qwench generate", NULL, &table, 1, &err));
    assert_ok(qw_opts_help(&opts, "all", &out, &err));
    for (const char *line = out.data; *line;) {
        size_t len = strcspn(line, "\n");
        if (len > 80) fail_msg("%zu columns: %.*s", len, (int)len, line);
        line += len + (line[len] == '\n');
    }
    assert_non_null(strstr(out.data, "\nSampling:\n"));
    for (size_t i = 0; i < table.n_rows; i++) assert_non_null(table.rows[i].help);
    qw_buf_release(&out);
    qw_opts_release(&opts);
}

static void test_memory(void **unused)
{
    (void)unused;
    json_t *request = json_of("{\"stop\":[\"a\",\"b\"],\"bad_words\":[\"c\"],\"top_k\":5,"
                              "\"stop_token_ids\":[1],\"logit_bias\":{\"2\":3},"
                              "\"allowed_token_ids\":[4,5]}");
    qw_sampling_params_init(&p);
    size_t live = qw_mem_live();
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        assert_true(n < 1000);
        // Twice, so that old lists are there to be copied and replaced.
        qw_mem_fail_at(n);
        qw_status st = qw_sampling_params_apply_json(&p, request, &err);
        if (st == QW_OK) st = qw_sampling_params_apply_json(&p, request, &err);
        if (st == QW_OK)
            st = FLAGS("--stop", "z", "--logit-bias.5", "1", "--allowed-token-ids", "1", "2",
                       "--seed", "3", "--top-p", "0.5", "--ignore-eos");
        qw_mem_fail_at(0);
        done = st == QW_OK;
        if (!done) assert_int_equal(st, QW_ERR_NO_MEMORY);
        if (done) {
            assert_int_equal(p.n_allowed_token_ids, 2);
            assert_string_equal(p.stop[0], "z");
            assert_true(p.top_p == 0.5);
        }
        qw_sampling_params_release(&p);
        assert_int_equal(qw_mem_live(), live);
    }
    json_decref(request);
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_neutral),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_temperature),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_logit_bias),
        cmocka_unit_test(test_max_tokens_and_logprobs),
        cmocka_unit_test(test_defaults_of_the_model),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_flags_equal_json),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_help_width),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
