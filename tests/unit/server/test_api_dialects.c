// Responses and Messages: what their bodies mean as a chat, and that a stream of events tells the
// same answer as a whole one.

#include "test_util.h"

#include "unit/server/api_test.h"

static json_t *parse_json(const char *text, size_t len)
{
    qw_error err;
    json_t *v = NULL;
    assert_ok(qw_json_parse(&v, text, len, text, &err));
    return v;
}

static qw_status read_body(qw_api_request *r, qw_api_dialect d, const char *body,
                           qw_api_error *refusal)
{
    qw_api_call call = call_of(body);
    return qw_api_request_parse_dialect(r, d, &config, &call, refusal);
}

#define RESPONSES QW_DIALECT_RESPONSES
#define MESSAGES QW_DIALECT_MESSAGES

// ---- bodies

static const struct {
    qw_api_dialect dialect;
    const char *body, *messages;
} meanings[] = {
    {RESPONSES, "{\"input\":\"hi\"}", "[{\"role\":\"user\",\"content\":\"hi\"}]"},
    {RESPONSES,
     "{\"instructions\":\"Be brief.\",\"input\":[{\"role\":\"developer\",\"content\":\"d\"},"
     "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":"
     "\"hi\"}]}]}",
     "[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"system\",\"content\":\"d\"},"
     "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"hi\"}]}]"},
    // A turn that thought, said something and called twice is one message.
    {RESPONSES,
     "{\"input\":[{\"role\":\"user\",\"content\":\"w?\"},{\"type\":\"reasoning\",\"id\":\"rs_1\","
     "\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"hm\"}]},"
     "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":"
     "\"I look\"}]},{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":"
     "\"{\\\"a\\\":1}\"},{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"g\","
     "\"arguments\":"
     "\"\"},{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"20\"}]}",
     "[{\"role\":\"user\",\"content\":\"w?\"},{\"role\":\"assistant\",\"content\":[{\"type\":"
     "\"output_text\",\"text\":\"I look\"}],\"reasoning\":\"hm\",\"tool_calls\":[{\"id\":\"c1\","
     "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":"
     "\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},"
     "{\"role\":\"tool\",\"content\":\"20\",\"tool_call_id\":\"c1\"}]"},
    {MESSAGES,
     "{\"model\":\"qwen3\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
     "[{\"role\":\"user\",\"content\":\"hi\"}]"},
    {MESSAGES,
     "{\"model\":\"qwen3\",\"max_tokens\":9,\"system\":[{\"type\":\"text\",\"text\":"
     "\"x-anthropic-billing-header: 1\"},{\"type\":\"text\",\"text\":\"Be "
     "brief.\",\"cache_control\":"
     "{\"type\":\"ephemeral\"}}],\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
     "\"text\":\"w?\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":"
     "\"hm\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"I look\"},{\"type\":\"tool_use\","
     "\"id\":\"t1\",\"name\":\"f\",\"input\":{\"a\":1}}]},{\"role\":\"user\",\"content\":[{"
     "\"type\":"
     "\"tool_result\",\"tool_use_id\":\"t1\",\"content\":[{\"type\":\"text\",\"text\":\"20\"},"
     "{\"type\":\"text\",\"text\":\"C\"}]},{\"type\":\"text\",\"text\":\"so?\"}]}]}",
     "[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"w?\"},"
     "{\"role\":\"assistant\",\"content\":\"I look\",\"tool_calls\":[{\"id\":\"t1\",\"type\":"
     "\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}],\"reasoning\":\"hm\"},"
     "{\"role\":\"tool\",\"content\":\"20\\nC\",\"tool_call_id\":\"t1\"},"
     "{\"role\":\"user\",\"content\":\"so?\"}]"},
    // Only a result
    {MESSAGES,
     "{\"model\":\"qwen3\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{"
     "\"type\":"
     "\"tool_result\",\"tool_use_id\":\"t1\",\"content\":\"x\"}]}]}",
     "[{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":\"t1\"}]"},
};

static void test_meanings(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(meanings); i++) {
        qw_api_error refusal;
        qw_api_request r;
        assert_served(read_body(&r, meanings[i].dialect, meanings[i].body, &refusal));
        json_t *want = parse_json(meanings[i].messages, strlen(meanings[i].messages));
        if (!json_equal(r.messages, want))
            fail_msg("%s:\n%s", meanings[i].body, json_dumps(r.messages, JSON_COMPACT));
        json_decref(want);
        qw_api_request_release(&r);
    }
}

#define M(more)                                                                                    \
    "{\"model\":\"qwen3\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}"   \
    "]" more "}"

static void test_members(void **state)
{
    (void)state;
    qw_api_error refusal;
    qw_api_request r;
    config.enable_auto_tool_choice = true;
    config.tool_form = QW_TOOL_FORM_HERMES;
    assert_served(
        read_body(&r, MESSAGES,
                  M(",\"temperature\":0.5,\"top_k\":3,\"stop_sequences\":[\"x\"],\"stream\":true,"
                    "\"thinking\":{\"type\":\"disabled\"},\"tool_choice\":{\"type\":\"auto\","
                    "\"disable_parallel_tool_use\":true},\"tools\":[{\"name\":\"f\","
                    "\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}}]"),
                  &refusal));
    assert_true(r.params.temperature == 0.5 && r.params.top_k == 3 && r.params.n_stop == 1);
    assert_true(r.stream && r.thinking == QW_THINKING_OFF && r.max_tool_calls == 1);
    assert_int_equal(r.params.max_tokens, 9);
    assert_int_equal(r.tool_form, QW_TOOL_FORM_HERMES);
    assert_int_equal(strncmp(r.id, "msg_", 4), 0);
    const json_t *f = json_object_get(json_array_get(r.tools, 0), "function");
    assert_string_equal(json_string_value(json_object_get(f, "name")), "f");
    assert_true(json_is_object(json_object_get(f, "parameters")));
    qw_api_request_release(&r);
    assert_served(
        read_body(&r, RESPONSES,
                  "{\"input\":\"hi\",\"max_output_tokens\":7,\"top_p\":0.3,\"reasoning\":{"
                  "\"effort\":\"none\"},\"truncation\":\"auto\",\"tool_choice\":\"auto\","
                  "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{},"
                  "\"strict\":false}],\"text\":{\"format\":{\"type\":\"text\"}}}",
                  &refusal));
    assert_true(r.params.top_p == 0.3 && r.params.max_tokens == 7);
    assert_true(r.thinking == QW_THINKING_OFF && r.truncate_prompt_tokens == -1);
    assert_int_equal(r.tool_form, QW_TOOL_FORM_HERMES);
    assert_int_equal(strncmp(r.id, "resp_", 5), 0);
    qw_api_request_release(&r);
    // No tools, no choice between them
    assert_served(read_body(&r, RESPONSES,
                            "{\"input\":\"hi\",\"tools\":[],\"tool_choice\":\"auto\"}", &refusal));
    assert_int_equal(r.tool_form, QW_TOOL_FORM_NONE);
    qw_api_request_release(&r);
}

static const struct {
    qw_api_dialect dialect;
    qw_api_fault fault;
    const char *body, *part;
} refusals[] = {
    {RESPONSES, QW_FAULT_SCHEMA, "{}", "'input'"},
    {RESPONSES, QW_FAULT_SCHEMA, "{\"input\":5}", "'input'"},
    {RESPONSES, QW_FAULT_SCHEMA, "{\"input\":[5]}", "input[0]"},
    {RESPONSES, QW_FAULT_SCHEMA, "{\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}",
     "item_reference"},
    {RESPONSES, QW_FAULT_REQUEST, "{\"input\":[]}", "messages must not be empty"},
    {RESPONSES, QW_FAULT_NOT_FOUND, "{\"input\":\"a\",\"previous_response_id\":\"resp_1\"}",
     "Response with id 'resp_1' not found."},
    {RESPONSES, QW_FAULT_REQUEST, "{\"input\":\"a\",\"background\":true}", "background"},
    {RESPONSES, QW_FAULT_REQUEST, "{\"input\":\"a\",\"prompt\":{\"id\":\"x\"}}", "prompt template"},
    {RESPONSES, QW_FAULT_SCHEMA, "{\"input\":\"a\",\"tools\":[{\"type\":\"web_search\"}]}",
     "web_search"},
    {RESPONSES, QW_FAULT_NOT_FOUND, "{\"input\":\"a\",\"model\":\"gpt\"}", "`gpt`"},
    {RESPONSES, QW_FAULT_REQUEST, "{\"input\":\"a\",\"temperature\":-1}", "temperature"},
    {MESSAGES, QW_FAULT_SCHEMA, "{}", "'model'"},
    {MESSAGES, QW_FAULT_SCHEMA, "{\"model\":\"qwen3\",\"max_tokens\":0,\"messages\":[]}",
     "'max_tokens'"},
    {MESSAGES, QW_FAULT_SCHEMA,
     "{\"model\":\"qwen3\",\"max_tokens\":5,\"messages\":[{\"role\":\"x\","
     "\"content\":\"\"}]}",
     "'messages', 0, 'role'"},
    {MESSAGES, QW_FAULT_SCHEMA,
     "{\"model\":\"qwen3\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\"}]}",
     "'messages', 0, 'content'"},
    {MESSAGES, QW_FAULT_SCHEMA, M(",\"tools\":[{\"name\":\"f\"}]"), "'tools', 0, 'input_schema'"},
    {MESSAGES, QW_FAULT_SCHEMA, M(",\"system\":7"), "'system'"},
    {MESSAGES, QW_FAULT_SCHEMA,
     M(",\"tools\":[{\"name\":\"f\",\"input_schema\":{}}],\"tool_choice\":{\"type\":\"tool\"}"),
     "tool_choice.name is required"},
    {MESSAGES, QW_FAULT_REQUEST,
     "{\"model\":\"qwen3\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{"
     "\"type\":"
     "\"image\",\"source\":{}}]}]}",
     "At most 0 image(s)"},
    {MESSAGES, QW_FAULT_SCHEMA,
     "{\"model\":\"qwen3\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{"
     "\"type\":"
     "\"tool_use\",\"name\":\"f\"}]}]}",
     "'tool_use' cannot stand"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(refusals); i++) {
        qw_api_error refusal;
        qw_api_request r;
        if (read_body(&r, refusals[i].dialect, refusals[i].body, &refusal) == QW_OK)
            fail_msg("served: %s", refusals[i].body);
        if (refusal.fault != refusals[i].fault || !strstr(refusal.text, refusals[i].part))
            fail_msg("%s: %d '%s'", refusals[i].body, (int)refusal.fault, refusal.text);
        qw_buf out;
        qw_buf_init(&out, 1 << 16);
        qw_api_error_write_dialect(&out, &refusal, refusals[i].dialect);
        json_t *e = parse_json(out.data, out.len);
        const json_t *error = json_object_get(e, "error");
        assert_true(json_is_string(json_object_get(error, "message")));
        if (refusals[i].dialect == MESSAGES)
            assert_string_equal(json_string_value(json_object_get(e, "type")), "error");
        json_decref(e);
        qw_buf_release(&out);
    }
}

// ---- answers

typedef struct trip {
    qw_api_request req;
    qw_api_prompt prompt;
    qw_api_response *response;
    qw_buf out;
    qw_ids ids;
} trip;

static void start(trip *t, qw_api_dialect d, const char *body, const char *says)
{
    qw_error err;
    qw_api_error refusal;
    *t = (trip){0};
    qw_buf_init(&t->out, 1 << 24);
    assert_served(read_body(&t->req, d, body, &refusal));
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

static void say(trip *t, size_t step, qw_finish_reason how)
{
    qw_api_error refusal;
    bool withdraw, stopped = false;
    for (size_t i = 0; i <= t->ids.len && !stopped; i++) {
        bool last = i == t->ids.len;
        qw_token_event e = {.id = last ? id_of("<|im_end|>") : t->ids.data[i],
                            .finish = last ? how : QW_FINISH_NONE,
                            .stop_id = -1};
        assert_served(qw_api_response_push(t->response, 0, &e, &withdraw, &refusal));
        stopped = withdraw;
        if (last || stopped || i % step == step - 1)
            assert_served(qw_api_response_flush(t->response, &t->out, &refusal));
    }
    assert_true(qw_api_response_is_done(t->response));
}

static const char *type_of(const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    return type ? type : "";
}

static bool is_type(const json_t *v, const char *type)
{
    return strcmp(type_of(v), type) == 0;
}

static void append_text(json_t *to, const char *key, const json_t *piece)
{
    const json_t *old = json_object_get(to, key);
    assert_true(json_is_string(piece));
    json_object_set_new(to, key,
                        json_sprintf("%s%s", json_is_string(old) ? json_string_value(old) : "",
                                     json_string_value(piece)));
}

// Events of a stream as a list; each one's name is its type.
static json_t *events_of(const qw_buf *out)
{
    json_t *list = json_array();
    qw_str all = {out->data, out->len};
    for (size_t at = 0; at < all.len;) {
        size_t end = qw_str_find(all, QW_STR("\n\n"), at),
               line = qw_str_find(all, QW_STR("\n"), at);
        assert_true(end != SIZE_MAX && line < end);
        assert_int_equal(memcmp(all.ptr + at, "event: ", 7), 0);
        assert_int_equal(memcmp(all.ptr + line, "\ndata: ", 7), 0);
        json_t *e = parse_json(all.ptr + line + 7, end - line - 7);
        assert_int_equal(strlen(type_of(e)), line - at - 7);
        assert_int_equal(memcmp(type_of(e), all.ptr + at + 7, line - at - 7), 0);
        json_array_append_new(list, e);
        at = end + 2;
    }
    return list;
}

// As Anthropic's client does it: the message that a stream makes.
static json_t *gather_messages(const json_t *events)
{
    json_t *message = NULL, *block = NULL;
    size_t n = json_array_size(events);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(events, i), *delta = json_object_get(e, "delta");
        json_t *blocks = json_object_get(message, "content");
        size_t index = (size_t)json_integer_value(json_object_get(e, "index"));
        if (is_type(e, "message_start")) {
            assert_int_equal(i, 0);
            message = json_deep_copy(json_object_get(e, "message"));
        } else if (is_type(e, "content_block_start")) {
            assert_null(block);
            assert_int_equal(index, json_array_size(blocks));
            block = json_deep_copy(json_object_get(e, "content_block"));
            json_array_append_new(blocks, block);
        } else if (is_type(e, "content_block_delta")) {
            assert_int_equal(index + 1, json_array_size(blocks));
            if (is_type(delta, "text_delta"))
                append_text(block, "text", json_object_get(delta, "text"));
            else if (is_type(delta, "thinking_delta"))
                append_text(block, "thinking", json_object_get(delta, "thinking"));
            else if (is_type(delta, "input_json_delta"))
                append_text(block, "json", json_object_get(delta, "partial_json"));
            else
                assert_true(is_type(delta, "signature_delta") && is_type(block, "thinking"));
        } else if (is_type(e, "content_block_stop")) {
            const json_t *json = json_object_get(block, "json");
            if (json) {
                json_object_set_new(block, "input",
                                    parse_json(json_string_value(json), json_string_length(json)));
                json_object_del(block, "json");
            }
            block = NULL;
        } else if (is_type(e, "message_delta")) {
            assert_int_equal(i, n - 2);
            json_object_update(message, (json_t *)(uintptr_t)delta);
            json_object_update(json_object_get(message, "usage"), json_object_get(e, "usage"));
        } else {
            assert_true(is_type(e, "message_stop") && i == n - 1);
        }
    }
    return message;
}

// The answer in the last event; the deltas of each item are what its item says.
static json_t *gather_responses(const json_t *events)
{
    json_t *texts = json_array(), *answer = NULL;
    size_t n = json_array_size(events);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(events, i);
        assert_int_equal(json_integer_value(json_object_get(e, "sequence_number")), i);
        size_t index = (size_t)json_integer_value(json_object_get(e, "output_index"));
        const char *type = type_of(e);
        if (i < 2) assert_string_equal(type, i ? "response.in_progress" : "response.created");
        if (is_type(e, "response.output_item.added")) {
            assert_int_equal(index, json_array_size(texts));
            json_array_append_new(texts, json_object());
        }
        json_t *text = json_array_get(texts, index);
        if (strstr(type, ".delta")) append_text(text, "text", json_object_get(e, "delta"));
        if (strstr(type, "_text.done"))
            assert_true(json_equal(json_object_get(e, "text"), json_object_get(text, "text")));
        if (strstr(type, "arguments.done"))
            assert_true(json_equal(json_object_get(e, "arguments"), json_object_get(text, "text")));
        if (is_type(e, "response.completed")) {
            assert_int_equal(i, n - 1);
            answer = json_deep_copy(json_object_get(e, "response"));
        }
    }
    assert_int_equal(json_array_size(json_object_get(answer, "output")), json_array_size(texts));
    json_decref(texts);
    return answer;
}

// Random names differ from answer to answer.
static void drop_ids(json_t *items)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        json_object_del(item, "id");
        json_object_del(item, "call_id");
        json_object_del(item, "signature");
    }
}

static const char *const texts[] = {
    "<think>\nhm\n</think>\n\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": "
    "\"Paris\"}}\n"
    "</tool_call>",
    "<think>\nhm\n</think>\n\nI look.\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": "
    "\"\xE4\xBD\xA0 {}\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": "
    "{}}\n</tool_call>",
    "<tool_call>{\"name\":\"now\"}",
    "Plain \xF0\x9F\x98\x80 text.",
    "<think>only",
    "",
};

#define R_TOOLS                                                                                    \
    ",\"tools\":[{\"type\":\"function\",\"name\":\"get\"},{\"type\":\"function\",\"name\":"        \
    "\"now\"}]"
#define M_TOOLS                                                                                    \
    ",\"tools\":[{\"name\":\"get\",\"input_schema\":{}},{\"name\":\"now\",\"input_schema\":{}}]"

static void check_dialect(qw_api_dialect d, const char *whole_body, const char *stream_body)
{
    const char *key = d == MESSAGES ? "content" : "output";
    for (size_t i = 0; i < QW_ARRAY_LEN(texts); i++) {
        trip t;
        start(&t, d, whole_body, texts[i]);
        say(&t, 1, QW_FINISH_STOP);
        json_t *want = parse_json(t.out.data, t.out.len);
        drop_ids(json_object_get(want, key));
        finish(&t);
        for (size_t step = 1; step < 40; step += step < 5 ? 1 : 11) {
            start(&t, d, stream_body, texts[i]);
            say(&t, step, QW_FINISH_STOP);
            json_t *events = events_of(&t.out);
            json_t *got = d == MESSAGES ? gather_messages(events) : gather_responses(events);
            drop_ids(json_object_get(got, key));
            if (!json_equal(got, want))
                fail_msg("'%s', %zu:\n%s\n%s", texts[i], step, json_dumps(got, JSON_COMPACT),
                         json_dumps(want, JSON_COMPACT));
            json_decref(got);
            json_decref(events);
            finish(&t);
        }
        json_decref(want);
    }
}

static void test_streams_are_whole(void **state)
{
    (void)state;
    config.max_model_len = 2048;
    config.enable_auto_tool_choice = true;
    config.tool_form = QW_TOOL_FORM_HERMES;
    use_parser("auto");
    check_dialect(MESSAGES, M(M_TOOLS), M(",\"stream\":true" M_TOOLS));
    check_dialect(RESPONSES, "{\"input\":\"hi\"" R_TOOLS "}",
                  "{\"stream\":true,\"input\":\"hi\"" R_TOOLS "}");
    check_dialect(MESSAGES, M(""), M(",\"stream\":true"));
    check_dialect(RESPONSES, "{\"input\":\"hi\"}", "{\"stream\":true,\"input\":\"hi\"}");
}

static void assert_part(const trip *t, const char *part)
{
    if (!strstr(t->out.data, part)) fail_msg("no %s in\n%s", part, t->out.data);
}

static void test_reasons(void **state)
{
    (void)state;
    trip t;
    use_parser("none");
    start(&t, MESSAGES, M(",\"stop_sequences\":[\"STOP\"]"), "abc STOP def");
    say(&t, 1, QW_FINISH_STOP);
    assert_part(&t, "\"content\":[{\"type\":\"text\",\"text\":\"abc \"}],\"model\":\"qwen3\"");
    assert_part(&t, "\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"STOP\"");
    finish(&t);
    start(&t, MESSAGES, M(""), "abc");
    say(&t, 1, QW_FINISH_LENGTH);
    assert_part(
        &t, "\"stop_reason\":\"max_tokens\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":");
    finish(&t);
    start(&t, MESSAGES, M(M_TOOLS), texts[2]);
    say(&t, 1, QW_FINISH_STOP);
    assert_part(&t, "\"name\":\"now\",\"input\":{}}]");
    assert_part(&t, "\"stop_reason\":\"tool_use\"");
    finish(&t);
    start(&t, RESPONSES, "{\"input\":\"hi\",\"metadata\":{\"a\":\"b\"}}", "abc");
    say(&t, 1, QW_FINISH_LENGTH);
    assert_part(&t, "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}");
    assert_part(&t, "\"metadata\":{\"a\":\"b\"}");
    assert_part(&t, "\"status\":\"incomplete\"");
    finish(&t);
}

// An engine that fails in the middle of a stream.
static void test_failures(void **state)
{
    (void)state;
    trip t;
    qw_api_error why;
    use_parser("none");
    (void)qw_api_fail(&why, QW_FAULT_INTERNAL, NULL, "Internal server error");
    for (int d = RESPONSES; d <= MESSAGES; d++) {
        start(&t, (qw_api_dialect)d,
              d == MESSAGES ? M(",\"stream\":true") : "{\"stream\":true,\"input\":\"a\"}", "abc");
        qw_api_response_fail(t.response, &why, &t.out);
        assert_part(&t, "event: error\ndata: {\"type\":\"error\"");
        assert_part(&t, "Internal server error");
        json_decref(events_of(&t.out));
        finish(&t);
    }
}

// With the n-th allocation failing: a refusal, no leak, no crash.
static void test_memory_shortage(void **state)
{
    (void)state;
    for (size_t i = 0; i < QW_ARRAY_LEN(meanings); i++)
        for (uint64_t n = 1;; n++) {
            qw_api_error refusal;
            qw_api_request r;
            size_t live = qw_mem_live();
            qw_mem_fail_at(n);
            qw_status st = read_body(&r, meanings[i].dialect, meanings[i].body, &refusal);
            bool all = qw_mem_fail_at(0) > 0;
            if (st == QW_OK)
                qw_api_request_release(&r);
            else
                assert_int_equal(refusal.fault, QW_FAULT_UNAVAILABLE);
            assert_int_equal(qw_mem_live(), live);
            if (all) break;
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meanings),        cmocka_unit_test(test_members),
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_streams_are_whole),
        cmocka_unit_test(test_reasons),         cmocka_unit_test(test_failures),
        cmocka_unit_test(test_memory_shortage),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
