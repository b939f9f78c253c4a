// Answers with tool calls: the wire format of whole answers and of streams, reasoning in front, and
// that a stream puts together to the whole answer however its tokens arrive.

#include "test_util.h"

#include "grammar/matcher.h"
#include "unit/server/api_test.h"

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get\",\"parameters\":{\"type\":"   \
    "\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"}}}}" \
    "},"                                                                                           \
    "{\"type\":\"function\",\"function\":{\"name\":\"now\"}}]"

typedef struct trip {
    qw_api_request req;
    qw_api_prompt prompt;
    qw_api_response *response;
    qw_buf out;
    qw_ids ids;
} trip;

static void start(trip *t, const char *body, const char *says)
{
    qw_error err;
    qw_api_error refusal;
    *t = (trip){0};
    qw_buf_init(&t->out, 1 << 24);
    assert_served(parse(&t->req, QW_API_CHAT, body, &refusal));
    assert_served(qw_api_request_prompt(&t->prompt, &t->req, 0, &config, &refusal));
    assert_served(qw_api_response_new(&t->response, &config, &t->req, &t->prompt, 1, &refusal));
    assert_ok(qw_tokenizer_encode(frontend.tokenizer, qw_str_of(says), 0, &t->ids, &err));
}

static void finish(trip *t)
{
    qw_api_response_free(t->response);
    qw_api_prompt_release(&t->prompt);
    qw_api_request_release(&t->req);
    qw_ids_release(&t->ids);
    qw_buf_release(&t->out);
}

// Let the model say its text and end; flush after every `step` tokens.
static void say(trip *t, size_t step, qw_finish_reason how)
{
    qw_api_error refusal;
    bool withdraw;
    for (size_t i = 0; i <= t->ids.len; i++) {
        bool last = i == t->ids.len;
        qw_token_event e = {.id = last ? id_of("<|im_end|>") : t->ids.data[i],
                            .finish = last ? how : QW_FINISH_NONE,
                            .stop_id = -1};
        assert_served(qw_api_response_push(t->response, 0, &e, &withdraw, &refusal));
        if (last || i % step == step - 1)
            assert_served(qw_api_response_flush(t->response, &t->out, &refusal));
    }
    assert_true(qw_api_response_is_done(t->response));
}

static json_t *parse_json(const char *text, size_t len)
{
    qw_error err;
    json_t *v = NULL;
    assert_ok(qw_json_parse(&v, text, len, "answer", &err));
    return v;
}

// ---- put a stream together as OpenAI's clients do

static void add_text(json_t *to, const char *key, const json_t *piece)
{
    const json_t *old = json_object_get(to, key);
    if (!json_is_string(piece)) return;
    json_object_set_new(to, key,
                        json_sprintf("%s%s", json_is_string(old) ? json_string_value(old) : "",
                                     json_string_value(piece)));
}

static void add_calls(json_t *calls, const json_t *news)
{
    for (size_t k = 0; k < json_array_size(news); k++) {
        const json_t *d = json_array_get(news, k), *f = json_object_get(d, "function");
        size_t i = (size_t)json_integer_value(json_object_get(d, "index"));
        assert_true(i <= json_array_size(calls));
        if (i == json_array_size(calls)) {
            assert_true(json_is_string(json_object_get(d, "id")));
            assert_string_equal(json_string_value(json_object_get(d, "type")), "function");
            json_array_append_new(calls, json_object());
        } else {
            assert_null(json_object_get(d, "id"));
            assert_null(json_object_get(f, "name"));
        }
        add_text(json_array_get(calls, i), "name", json_object_get(f, "name"));
        add_text(json_array_get(calls, i), "arguments", json_object_get(f, "arguments"));
    }
}

// {"content", "reasoning", "calls", "finish"} of a stream.
static json_t *gather_stream(const qw_buf *out)
{
    json_t *m = json_object(), *calls = json_array();
    qw_str all = {out->data, out->len};
    json_object_set_new(m, "calls", calls);
    for (size_t at = 0; at < all.len;) {
        size_t end = qw_str_find(all, QW_STR("\n\n"), at);
        if (memcmp(all.ptr + at, "data: [DONE]", 12) == 0) break;
        json_t *e = parse_json(all.ptr + at + 6, end - at - 6);
        const json_t *choice = json_array_get(json_object_get(e, "choices"), 0);
        const json_t *delta = json_object_get(choice, "delta");
        assert_true(json_is_object(delta));
        add_text(m, "content", json_object_get(delta, "content"));
        add_text(m, "reasoning", json_object_get(delta, "reasoning"));
        add_calls(calls, json_object_get(delta, "tool_calls"));
        if (json_is_string(json_object_get(choice, "finish_reason")))
            json_object_set(m, "finish", json_object_get(choice, "finish_reason"));
        json_decref(e);
        at = end + 2;
    }
    return m;
}

static json_t *gather_whole(const qw_buf *out)
{
    json_t *m = json_object(), *calls = json_array(), *e = parse_json(out->data, out->len);
    const json_t *choice = json_array_get(json_object_get(e, "choices"), 0);
    const json_t *message = json_object_get(choice, "message");
    const json_t *given = json_object_get(message, "tool_calls");
    json_object_set_new(m, "calls", calls);
    add_text(m, "content", json_object_get(message, "content"));
    add_text(m, "reasoning", json_object_get(message, "reasoning"));
    json_object_set(m, "finish", json_object_get(choice, "finish_reason"));
    for (size_t i = 0; i < json_array_size(given); i++) {
        json_t *call = json_array_get(given, i), *f = json_object_get(call, "function");
        assert_true(json_is_string(json_object_get(call, "id")));
        json_object_del(call, "id");
        json_array_append(calls, f);
    }
    json_decref(e);
    return m;
}

// Arguments as values: the spelling of white space may differ.
static void read_arguments(json_t *m)
{
    json_t *calls = json_object_get(m, "calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        json_t *call = json_array_get(calls, i);
        const json_t *text = json_object_get(call, "arguments");
        assert_true(json_is_string(text));
        json_object_set_new(call, "arguments",
                            parse_json(json_string_value(text), json_string_length(text)));
    }
}

static const char *const texts[] = {
    "<think>\nhm\n</think>\n\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": "
    "\"Paris\"}}\n"
    "</tool_call>",
    "<think>\nhm\n</think>\n\nI look.\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": "
    "\"\xE4\xBD\xA0 {}\", \"days\": 12}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", "
    "\"arguments\": "
    "{}}\n</tool_call>",
    "<think>\nhm, a <tool_call>{\"name\":\"now\"}</tool_call>", // thinking that ends in a call
    "<tool_call>{\"name\":\"now\"}",
    "No call.",
    "<think>only",
    "",
};

static void test_stream_is_whole(void **state)
{
    (void)state;
    config.max_model_len = 2048;
    config.enable_auto_tool_choice = true;
    config.tool_form = QW_TOOL_FORM_HERMES;
    use_parser("auto");
    for (size_t i = 0; i < QW_ARRAY_LEN(texts); i++) {
        trip t;
        start(&t, "{" TOOLS "," HI "}", texts[i]);
        say(&t, 1, QW_FINISH_STOP);
        json_t *want = gather_whole(&t.out);
        read_arguments(want);
        finish(&t);
        for (size_t step = 1; step <= 40; step += step < 8 ? 1 : 8) {
            start(&t, "{\"stream\":true," TOOLS "," HI "}", texts[i]);
            say(&t, step, QW_FINISH_STOP);
            json_t *got = gather_stream(&t.out);
            read_arguments(got);
            // The role chunk's empty text is no content.
            if (!json_object_get(want, "content") &&
                json_string_length(json_object_get(got, "content")) == 0)
                json_object_del(got, "content");
            if (!json_equal(got, want))
                fail_msg("'%s', %zu tokens a step:\n%s\n%s", texts[i], step,
                         json_dumps(got, JSON_COMPACT), json_dumps(want, JSON_COMPACT));
            json_decref(got);
            finish(&t);
        }
        json_decref(want);
    }
}

static void assert_part(const trip *t, const char *part)
{
    if (!strstr(t->out.data, part)) fail_msg("no %s in\n%s", part, t->out.data);
}

static void test_wire_format(void **state)
{
    (void)state;
    trip t;
    static const char call[] =
        "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": \"A\"}}\n</tool_call>";
    use_parser("none");
    start(&t, "{" TOOLS "," HI "}", call);
    say(&t, 1, QW_FINISH_STOP);
    assert_part(&t, "\"content\":null,");
    assert_part(&t, "\"tool_calls\":[{\"id\":\"chatcmpl-tool-");
    assert_part(&t, "\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":"
                    "\"{\\\"city\\\": \\\"A\\\"}\"}}]");
    assert_part(&t, "\"finish_reason\":\"tool_calls\",\"stop_reason\":null");
    finish(&t);
    start(&t, "{\"stream\":true," TOOLS "," HI "}", call);
    say(&t, 1, QW_FINISH_STOP);
    assert_part(&t, "\"delta\":{\"content\":null,\"tool_calls\":[{\"id\":\"chatcmpl-tool-");
    assert_part(&t, "\",\"type\":\"function\",\"index\":0,\"function\":{\"name\":\"get\"}}]}");
    assert_part(&t, "\"delta\":{\"content\":null,\"tool_calls\":[{\"index\":0,\"function\":{"
                    "\"arguments\":\"");
    assert_part(&t, "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"tool_calls\"");
    finish(&t);
    start(&t, "{\"stream\":true," TOOLS "," HI "}", "Hello");
    say(&t, 100, QW_FINISH_STOP);
    assert_part(&t, "\"delta\":{\"content\":\"Hello\",\"tool_calls\":[]}");
    assert_part(&t, "\"finish_reason\":\"stop\"");
    finish(&t);
    config.tool_form = QW_TOOL_FORM_QWEN3_CODER;
    start(&t, "{\"stream\":true," TOOLS "," HI "}",
          "<tool_call>\n<function=get>\n<parameter=days>\n3\n</parameter>\n</function>\n</"
          "tool_call>");
    say(&t, 1, QW_FINISH_STOP);
    assert_part(&t, "\"delta\":{\"tool_calls\":[{\"id\":\"call_");
    assert_part(&t, "\"index\":0,\"function\":{\"name\":\"get\",\"arguments\":\"\"}}]}");
    // A value is known to end when the next tag is there, so the brace comes with it.
    assert_part(
        &t, "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"days\\\": 3}\"}}]}");
    finish(&t);
    config.tool_form = QW_TOOL_FORM_HERMES;
}

// Malformed calls: a whole answer is text, as in vLLM; one cut by a limit says so.
static void test_malformed(void **state)
{
    (void)state;
    trip t;
    static const char half[] = "a<tool_call>{\"name\":\"get\",\"arguments\":{\"city\":\"B";
    use_parser("none");
    start(&t, "{" TOOLS "," HI "}", half);
    say(&t, 1, QW_FINISH_LENGTH);
    assert_part(&t, "\"tool_calls\":[],");
    assert_part(&t, "\"content\":\"a<tool_call>{");
    assert_part(&t, "\"finish_reason\":\"length\"");
    finish(&t);
    start(&t, "{\"stream\":true," TOOLS "," HI "}", half);
    say(&t, 1, QW_FINISH_LENGTH);
    assert_part(&t, "\"finish_reason\":\"length\"");
    finish(&t);
}

static void test_choices(void **state)
{
    (void)state;
    trip t;
    static const char two[] =
        "<tool_call>{\"name\":\"get\"}</tool_call><tool_call>{\"name\":\"now\"}"
        "</tool_call>";
    use_parser("none");
    start(&t, "{\"parallel_tool_calls\":false," TOOLS "," HI "}", two);
    say(&t, 1, QW_FINISH_STOP);
    assert_part(&t, "\"name\":\"get\"");
    assert_null(strstr(t.out.data, "\"name\":\"now\""));
    finish(&t);
    start(&t, "{\"tool_choice\":\"none\"," TOOLS "," HI "}", two);
    say(&t, 1, QW_FINISH_STOP);
    assert_part(&t, "\"content\":\"<tool_call>{");
    assert_part(&t, "\"tool_calls\":[],");
    assert_part(&t, "\"finish_reason\":\"stop\"");
    finish(&t);
}

// ---- choices that are forced

#define TAG(name, schema)                                                                          \
    "{\"type\":\"tag\",\"begin\":\"<tool_call>\\n{\\\"name\\\": \\\"" name                         \
    "\\\", \\\"arguments\\\": \",\"content\":{\"type\":\"json_schema\",\"json_schema\":" schema    \
    "},\"end\":\"}\\n</tool_call>\"}"
#define GET                                                                                        \
    TAG("get", "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{"    \
               "\"type\":\"integer\"}}}")
#define NOW TAG("now", "{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}")
#define FORCED(tags, one)                                                                          \
    "{\"type\":\"sequence\",\"elements\":[{\"type\":\"regex\",\"pattern\":\"\\\\n{0,2}\"},{"       \
    "\"type\":"                                                                                    \
    "\"tags_with_separator\",\"tags\":[" tags                                                      \
    "],\"separator\":\"\\n\",\"at_least_one\":true,\"stop_after_first\":" one "}]}"

static void check_grammar(const char *body, const char *want)
{
    qw_api_error refusal;
    qw_api_request r;
    assert_served(parse(&r, QW_API_CHAT, body, &refusal));
    json_t *v = want ? parse_json(want, strlen(want)) : NULL;
    if (want ? !json_equal(r.tool_grammar, v) : r.tool_grammar != NULL)
        fail_msg("%s:\n%s", body, json_dumps(r.tool_grammar, JSON_COMPACT));
    json_decref(v);
    qw_api_request_release(&r);
}

// What holds the calls to their schemas.
static void test_grammars(void **state)
{
    (void)state;
    check_grammar("{" TOOLS "," HI "}", NULL);
    check_grammar("{\"tool_choice\":\"none\"," TOOLS "," HI "}", NULL);
    check_grammar("{\"tool_choice\":\"required\"," TOOLS "," HI "}", FORCED(GET "," NOW, "false"));
    check_grammar("{\"tool_choice\":\"required\",\"parallel_tool_calls\":false," TOOLS "," HI "}",
                  FORCED(GET "," NOW, "true"));
    check_grammar("{\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"now\"}}," TOOLS
                  "," HI "}",
                  FORCED(NOW, "true"));
    // Only calls of the strict one are held to more than being objects.
    check_grammar(
        "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"now\",\"strict\":true}},"
        "{\"type\":\"function\",\"function\":{\"name\":\"get\"}}]," HI "}",
        "{\"type\":\"triggered_tags\",\"triggers\":[\"<tool_call>\"],\"tags\":[" NOW
        "," TAG("get", "{\"type\":\"object\"}") "],\"at_least_one\":false,"
                                                "\"stop_after_first\":false}");
    config.tool_form = QW_TOOL_FORM_QWEN3_CODER;
    check_grammar(
        "{\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"now\"}}," TOOLS "," HI
        "}",
        FORCED("{\"type\":\"tag\",\"begin\":\"<tool_call>\\n<function=now>\",\"content\":{"
               "\"type\":\"qwen_xml_parameter\",\"json_schema\":{\"type\":\"object\","
               "\"properties\":{},\"additionalProperties\":false}},\"end\":"
               "\"\\n</function>\\n</tool_call>\"}",
               "true"));
    config.tool_form = QW_TOOL_FORM_HERMES;
}

// True if the grammar of this request takes the whole text as an answer.
static bool takes(qw_grammar_cache *cache, const char *body, const char *text)
{
    qw_error err;
    qw_api_error refusal;
    qw_api_request r;
    qw_grammar *g;
    qw_matcher *m;
    assert_served(parse(&r, QW_API_CHAT, body, &refusal));
    const qw_grammar_spec spec = {
        .kind = QW_GRAMMAR_STRUCTURAL_TAG, .json = r.tool_grammar, .compact = true};
    assert_ok(qw_grammar_cache_get(cache, &g, &spec, &err));
    assert_ok(qw_matcher_new(&m, g, &err));
    bool ok = qw_matcher_accept_bytes(m, qw_str_of(text), &err) == QW_OK && qw_matcher_may_end(m);
    qw_matcher_free(m);
    qw_grammar_unref(g);
    qw_api_request_release(&r);
    return ok;
}

// Calls as the model writes them are taken, others are not.
static void test_grammars_hold(void **state)
{
    (void)state;
    qw_error err;
    qw_grammar_cache *cache;
    assert_ok(qw_grammar_cache_new(&cache, frontend.tokenizer, &err));
    static const char required[] = "{\"tool_choice\":\"required\"," TOOLS "," HI "}";
    static const char strict[] = "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
                                 "\"get\",\"strict\":true,\"parameters\":{"
                                 "\"type\":\"object\",\"properties\":{\"days\":{\"type\":"
                                 "\"integer\"}},\"required\":[\"days\"],"
                                 "\"additionalProperties\":false}}}]," HI "}";
#define CALL(name, arguments)                                                                      \
    "<tool_call>\n{\"name\": \"" name "\", \"arguments\": " arguments "}\n</tool_call>"
    assert_true(takes(cache, required, CALL("get", "{\"city\": \"Paris\", \"days\": 3}")));
    assert_true(takes(cache, required, "\n\n" CALL("now", "{}") "\n" CALL("get", "{}")));
    assert_false(takes(cache, required, ""));
    assert_false(takes(cache, required, "Well: " CALL("now", "{}")));
    assert_false(takes(cache, required, CALL("other", "{}")));
    assert_false(takes(cache, required, CALL("get", "{\"days\": \"x\"}")));
    assert_true(takes(cache, strict, "No call, 1 < 2."));
    assert_true(takes(cache, strict, "I look.\n" CALL("get", "{\"days\": 3}")));
    assert_false(takes(cache, strict, "I look.\n" CALL("get", "{\"days\": 3.5}")));
    config.tool_form = QW_TOOL_FORM_QWEN3_CODER;
    assert_true(takes(cache, required,
                      "<tool_call>\n<function=get>\n<parameter=city>\nA\n</parameter>\n"
                      "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"));
    assert_false(
        takes(cache, required,
              "<tool_call>\n<function=get>\n<parameter=days>\nx\n</parameter>\n</function>\n"
              "</tool_call>"));
    config.tool_form = QW_TOOL_FORM_HERMES;
    qw_grammar_cache_free(cache);
}

static void test_forced(void **state)
{
    (void)state;
    trip t;
    static const char call[] = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
    use_parser("none");
    start(&t, "{\"tool_choice\":\"required\"," TOOLS "," HI "}", call);
    say(&t, 1, QW_FINISH_STOP);
    assert_part(&t, "\"content\":\"\",");
    assert_part(&t, "\"finish_reason\":\"tool_calls\"");
    finish(&t);
    start(&t,
          "{\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"now\"}}," TOOLS "," HI
          "}",
          call);
    say(&t, 1, QW_FINISH_STOP);
    assert_part(&t, "\"function\":{\"name\":\"now\",\"arguments\":\"{}\"}");
    assert_part(&t, "\"finish_reason\":\"stop\"");
    finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_is_whole), cmocka_unit_test(test_wire_format),
        cmocka_unit_test(test_malformed),       cmocka_unit_test(test_choices),
        cmocka_unit_test(test_grammars),        cmocka_unit_test(test_grammars_hold),
        cmocka_unit_test(test_forced),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
