// Answers, byte for byte: whole and streamed, chat and completions (http-api.md 1.6 to 1.8).

#include "test_util.h"

#include "unit/server/api_test.h"
#include <math.h>

#include "base/clock.h"

// One request on its way: prompts made, an answer open.
typedef struct trip {
    qw_api_request req;
    qw_api_prompt prompts[4];
    qw_api_response *response;
    qw_buf out;
} trip;

static void start(trip *t, qw_api_kind kind, const char *body)
{
    qw_api_error refusal;
    *t = (trip){0};
    qw_buf_init(&t->out, 1 << 24);
    assert_served(parse(&t->req, kind, body, &refusal));
    assert_true(t->req.n_prompts <= 4);
    for (size_t i = 0; i < t->req.n_prompts; i++)
        assert_served(qw_api_request_prompt(&t->prompts[i], &t->req, i, &config, &refusal));
    assert_served(
        qw_api_response_new(&t->response, &config, &t->req, t->prompts, 1782714240, &refusal));
}

static void finish(trip *t)
{
    qw_api_response_free(t->response);
    for (size_t i = 0; i < t->req.n_prompts; i++) qw_api_prompt_release(&t->prompts[i]);
    qw_api_request_release(&t->req);
    qw_buf_release(&t->out);
}

// One token of a child of prompt 0, with `n` candidates; true if it is to be withdrawn.
static bool push_full(trip *t, size_t i_prompt, qw_token_event event)
{
    qw_api_error refusal;
    bool withdraw;
    assert_served(qw_api_response_push(t->response, i_prompt, &event, &withdraw, &refusal));
    return withdraw;
}

static bool push(trip *t, int child, const char *token, qw_finish_reason how)
{
    return push_full(
        t, 0, (qw_token_event){.child = child, .id = id_of(token), .finish = how, .stop_id = -1});
}

static void flush(trip *t)
{
    qw_api_error refusal;
    assert_served(qw_api_response_flush(t->response, &t->out, &refusal));
}

static void step(trip *t, int child, const char *token, qw_finish_reason how)
{
    (void)push(t, child, token, how);
    flush(t);
}

#define assert_sent(t, want) assert_string_equal((t)->out.data ? (t)->out.data : "", want)

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

#define MESSAGE(content, reasoning)                                                                \
    "{\"role\":\"assistant\",\"content\":" content ",\"refusal\":null,\"annotations\":null,"       \
    "\"audio\":null,\"function_call\":null,\"tool_calls\":[],\"reasoning\":" reasoning             \
    ",\"reasoning_content\":" reasoning "}"

static void test_chat_whole(void **state)
{
    (void)state;
    trip t;
    use_parser("none");
    start(&t, QW_API_CHAT, "{\"model\":\"qwen3\"," HI "}");
    size_t n = t.prompts[0].ids.len;
    step(&t, 0, "a", QW_FINISH_NONE);
    assert_int_equal(t.out.len, 0);
    assert_false(qw_api_response_is_done(t.response));
    step(&t, 0, "\"", QW_FINISH_NONE);
    step(&t, 0, "<|im_end|>", QW_FINISH_STOP);
    assert_true(qw_api_response_is_done(t.response));
    char want[2048];
    snprintf(
        want, sizeof want,
        "{\"id\":\"chatcmpl-00112233445566778899aabbccddeeff\",\"object\":\"chat.completion\","
        "\"created\":1782714240,\"model\":\"qwen3\",\"choices\":[{\"index\":0,"
        "\"message\":" MESSAGE(
            "\"a\\\"\"",
            "null") ",\"logprobs\":null,\"finish_reason\":\"stop\","
                    "\"stop_reason\":null,\"token_ids\":null,\"routed_experts\":null}],\"service_"
                    "tier\":null,"
                    "\"system_fingerprint\":\"vllm-0.22.1-1a2b3c4d\",\"usage\":{\"prompt_tokens\":%"
                    "zu,"
                    "\"total_tokens\":%zu,\"completion_tokens\":3,\"prompt_tokens_details\":null,"
                    "\"completion_tokens_details\":null},\"prompt_logprobs\":null,\"prompt_token_"
                    "ids\":null,"
                    "\"prompt_text\":null,\"kv_transfer_params\":null}",
        n, n + 3);
    assert_sent(&t, want);
    flush(&t); // once only
    assert_sent(&t, want);
    finish(&t);
}

#define HEAD                                                                                       \
    "data: {\"id\":\"chatcmpl-00112233445566778899aabbccddeeff\","                                 \
    "\"object\":\"chat.completion.chunk\",\"created\":1782714240,\"model\":\"qwen3\",\"choices\":" \
    "["
#define ROLE(i)                                                                                    \
    HEAD "{\"index\":" i ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null," \
         "\"finish_reason\":null}],\"prompt_token_ids\":null,\"prompt_text\":null}\n\n"
#define DELTA(i, delta)                                                                            \
    HEAD "{\"index\":" i ",\"delta\":{" delta "},\"logprobs\":null,\"finish_reason\":null,"        \
         "\"token_ids\":null}]}\n\n"
#define LAST(i, delta, why, reason, more)                                                          \
    HEAD "{\"index\":" i ",\"delta\":{" delta "},\"logprobs\":null,\"finish_reason\":\"" why       \
         "\",\"stop_reason\":" reason ",\"token_ids\":null}]" more "}\n\n"
#define PRINT ",\"system_fingerprint\":\"vllm-0.22.1-1a2b3c4d\""
#define DONE "data: [DONE]\n\n"

static void test_chat_stream(void **state)
{
    (void)state;
    trip t;
    use_parser("none");
    start(&t, QW_API_CHAT, "{\"stream\":true," HI "}");
    flush(&t);
    assert_int_equal(t.out.len, 0); // nothing before the first token
    assert_false(qw_api_response_has_started(t.response));
    step(&t, 0, "a", QW_FINISH_NONE);
    assert_sent(&t, ROLE("0") DELTA("0", "\"content\":\"a\""));
    qw_buf_clear(&t.out);
    (void)push(&t, 0, "b", QW_FINISH_NONE); // two tokens that arrive together share a chunk
    step(&t, 0, "c", QW_FINISH_NONE);
    assert_sent(&t, DELTA("0", "\"content\":\"bc\""));
    qw_buf_clear(&t.out);
    step(&t, 0, "<|im_end|>", QW_FINISH_STOP);
    assert_sent(&t, LAST("0", "\"content\":\"\"", "stop", "null", PRINT) DONE);
    finish(&t);
}

static void test_chat_stream_usage(void **state)
{
    (void)state;
    trip t;
    char want[2048];
    use_parser("none");
    start(&t, QW_API_CHAT,
          "{\"stream\":true,\"n\":2,\"stream_options\":{\"include_usage\":true}," HI "}");
    size_t n = t.prompts[0].ids.len;
    step(&t, 1, "a", QW_FINISH_NONE);
    assert_sent(&t, ROLE("0") ROLE("1") DELTA("1", "\"content\":\"a\""));
    qw_buf_clear(&t.out);
    step(&t, 1, "b", QW_FINISH_LENGTH);
    assert_sent(&t, LAST("1", "\"content\":\"b\"", "length", "null", ""));
    qw_buf_clear(&t.out);
    // The id of a stop token is told, unless it is the tokenizer's own end.
    (void)push_full(
        &t, 0,
        (qw_token_event){.id = id_of("<|endoftext|>"), .finish = QW_FINISH_STOP, .stop_id = 3840});
    flush(&t);
    snprintf(
        want, sizeof want,
        LAST("0", "\"content\":\"\"", "stop", "3840", "") HEAD
        "],\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu,\"completion_tokens\":3}" PRINT
        "}\n\n" DONE,
        n, n + 3);
    assert_sent(&t, want);
    finish(&t);
}

static void test_continuous_usage(void **state)
{
    (void)state;
    trip t;
    char want[4096];
    use_parser("none");
    config.enable_prompt_tokens_details = true;
    start(&t, QW_API_CHAT,
          "{\"stream\":true,\"return_token_ids\":true,\"stream_options\":{\"include_usage\":true,"
          "\"continuous_usage_stats\":true},\"return_prompt_text\":true," HI "}");
    qw_api_response_set_cached(t.response, 0, 5);
    int n = (int)t.prompts[0].ids.len;
    qw_buf ids, text;
    qw_buf_init(&ids, 1 << 20);
    qw_buf_init(&text, 1 << 20);
    for (int i = 0; i < n; i++) qw_buf_printf(&ids, "%s%d", i ? "," : "", t.prompts[0].ids.data[i]);
    qw_json_write_string(&text, (qw_str){t.prompts[0].text.data, t.prompts[0].text.len});
    step(&t, 0, "a", QW_FINISH_LENGTH);
    snprintf(want, sizeof want,
             HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                  "\"logprobs\":null,\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":%d,"
                  "\"total_tokens\":%d,\"completion_tokens\":0},\"prompt_token_ids\":[%s],"
                  "\"prompt_text\":%s}\n\n" HEAD
                  "{\"index\":0,\"delta\":{\"content\":\"a\"},\"logprobs\":null,"
                  "\"finish_reason\":\"length\",\"stop_reason\":null,\"token_ids\":[%d]}],"
                  "\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d,\"completion_tokens\":1,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\n" HEAD
                  "],\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d,\"completion_tokens\":1,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":5}}" PRINT "}\n\n" DONE,
             n, n, ids.data, text.data, id_of("a"), n, n + 1, n, n + 1);
    assert_sent(&t, want);
    qw_buf_release(&ids);
    qw_buf_release(&text);
    finish(&t);
    config.enable_prompt_tokens_details = false;
}

static void test_stream_interval(void **state)
{
    (void)state;
    trip t;
    use_parser("none");
    config.stream_interval = 3;
    start(&t, QW_API_CHAT, "{\"stream\":true," HI "}");
    step(&t, 0, "a", QW_FINISH_NONE); // the first at once
    qw_buf_clear(&t.out);
    step(&t, 0, "b", QW_FINISH_NONE);
    step(&t, 0, "c", QW_FINISH_NONE);
    assert_int_equal(t.out.len, 0);
    step(&t, 0, "d", QW_FINISH_NONE);
    assert_sent(&t, DELTA("0", "\"content\":\"bcd\""));
    qw_buf_clear(&t.out);
    step(&t, 0, "e", QW_FINISH_LENGTH);
    assert_sent(&t, LAST("0", "\"content\":\"e\"", "length", "null", PRINT) DONE);
    finish(&t);
    config.stream_interval = 1;
}

static void test_stop_string(void **state)
{
    (void)state;
    trip t;
    use_parser("none");
    start(&t, QW_API_CHAT, "{\"stream\":true,\"stop\":[\"bc\"]," HI "}");
    step(&t, 0, "a", QW_FINISH_NONE);
    assert_sent(&t, ROLE("0") DELTA("0", "\"content\":\"\"")); // held back
    qw_buf_clear(&t.out);
    step(&t, 0, "b", QW_FINISH_NONE);
    assert_sent(&t, DELTA("0", "\"content\":\"a\""));
    qw_buf_clear(&t.out);
    assert_true(push(&t, 0, "c", QW_FINISH_NONE));  // the engine must be told
    assert_false(push(&t, 0, "d", QW_FINISH_NONE)); // surplus
    flush(&t);
    assert_sent(&t, LAST("0", "\"content\":\"\"", "stop", "\"bc\"", PRINT) DONE);
    assert_int_equal(qw_api_response_usage(t.response).completion_tokens, 3);
    finish(&t);
}

static void test_reasoning(void **state)
{
    (void)state;
    static const char *const tokens[] = {"<think>", "a", "b", "</think>", "c"};
    trip t;
    use_parser("auto");
    start(&t, QW_API_CHAT, "{" HI "}");
    for (int i = 0; i < 5; i++) step(&t, 0, tokens[i], i == 4 ? QW_FINISH_LENGTH : QW_FINISH_NONE);
    assert_non_null(strstr(t.out.data, MESSAGE("\"c\"", "\"ab\"")));
    assert_non_null(strstr(t.out.data, "\"completion_tokens_details\":{\"reasoning_tokens\":2}"));
    finish(&t);

    start(&t, QW_API_CHAT, "{\"stream\":true," HI "}");
    (void)push(&t, 0, "<think>", QW_FINISH_NONE);
    flush(&t);
    assert_sent(&t, ROLE("0")); // nothing to show
    qw_buf_clear(&t.out);
    step(&t, 0, "a", QW_FINISH_NONE);
    assert_sent(&t, DELTA("0", "\"reasoning\":\"a\",\"reasoning_content\":\"a\""));
    qw_buf_clear(&t.out);
    (void)push(&t, 0, "b", QW_FINISH_NONE);
    (void)push(&t, 0, "</think>", QW_FINISH_NONE);
    step(&t, 0, "c", QW_FINISH_NONE);
    assert_sent(&t,
                DELTA("0", "\"content\":\"c\",\"reasoning\":\"b\",\"reasoning_content\":\"b\""));
    qw_buf_clear(&t.out);
    step(&t, 0, "<|im_end|>", QW_FINISH_STOP);
    assert_sent(&t, LAST("0", "", "stop", "null", PRINT) DONE);
    finish(&t);

    start(&t, QW_API_CHAT, "{\"stream\":true,\"include_reasoning\":false," HI "}");
    for (int i = 0; i < 5; i++) step(&t, 0, tokens[i], i == 4 ? QW_FINISH_LENGTH : QW_FINISH_NONE);
    assert_sent(&t, ROLE("0") LAST("0", "\"content\":\"c\"", "length", "null", PRINT) DONE);
    finish(&t);

    // Cut off while thinking: no content at all.
    start(&t, QW_API_CHAT, "{" HI "}");
    for (int i = 0; i < 2; i++) step(&t, 0, tokens[i], i == 1 ? QW_FINISH_LENGTH : QW_FINISH_NONE);
    assert_non_null(strstr(t.out.data, MESSAGE("null", "\"a\"")));
    finish(&t);
}

static void test_chat_echo(void **state)
{
    (void)state;
    trip t;
    use_parser("none");
    static const char body[] =
        "{\"stream\":%s,\"echo\":true,\"continue_final_message\":true,\"messages\":[{\"role\":"
        "\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"so\"}]}";
    char text[512];
    snprintf(text, sizeof text, body, "false");
    start(&t, QW_API_CHAT, text);
    step(&t, 0, "a", QW_FINISH_LENGTH);
    assert_non_null(strstr(t.out.data, MESSAGE("\"soa\"", "null")));
    finish(&t);
    snprintf(text, sizeof text, body, "true");
    start(&t, QW_API_CHAT, text);
    step(&t, 0, "a", QW_FINISH_LENGTH);
    assert_sent(&t, ROLE("0") HEAD "{\"index\":0,\"delta\":{\"content\":\"so\"},"
                                   "\"finish_reason\":null}]}\n\n" LAST(
                                       "0", "\"content\":\"a\"", "length", "null", PRINT) DONE);
    finish(&t);
}

// ---- logprobs

static qw_token_event with_logprobs(const qw_logprob *entries, size_t n, qw_finish_reason how)
{
    return (qw_token_event){
        .id = entries[0].id, .logprobs = entries, .n_logprobs = n, .finish = how, .stop_id = -1};
}

static void test_chat_logprobs(void **state)
{
    (void)state;
    trip t;
    const qw_logprob chosen[] = {{id_of("b"), 2, -1.5f},
                                 {id_of("a"), 1, -0.5f},
                                 {id_of("b"), 2, -1.5f},
                                 {id_of("c"), 3, -2.0f}};
    const qw_logprob never[] = {{id_of("a"), 1, -INFINITY}};
    use_parser("none");
    start(&t, QW_API_CHAT, "{\"logprobs\":true,\"top_logprobs\":2," HI "}");
    (void)push_full(&t, 0, with_logprobs(chosen, 4, QW_FINISH_NONE));
    (void)push_full(&t, 0, with_logprobs(never, 1, QW_FINISH_LENGTH));
    flush(&t);
    assert_non_null(strstr(
        t.out.data,
        "\"logprobs\":{\"content\":[{\"token\":\"b\",\"logprob\":-1.5,\"bytes\":[98],"
        "\"top_logprobs\":[{\"token\":\"b\",\"logprob\":-1.5,\"bytes\":[98]},"
        "{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":[97]}]},{\"token\":\"a\",\"logprob\":-9999.0,"
        "\"bytes\":[97],\"top_logprobs\":[{\"token\":\"a\",\"logprob\":-9999.0,\"bytes\":[97]}]}]"
        "}"));
    finish(&t);

    start(&t, QW_API_CHAT,
          "{\"stream\":true,\"logprobs\":true,\"return_tokens_as_token_ids\":true," HI "}");
    (void)push_full(&t, 0, with_logprobs(chosen, 1, QW_FINISH_NONE));
    flush(&t);
    char want[256];
    snprintf(
        want, sizeof want,
        "\"logprobs\":{\"content\":[{\"token\":\"token_id:%d\",\"logprob\":-1.5,\"bytes\":[116,"
        "111,107,101,110,95,105,100,58,",
        id_of("b"));
    assert_non_null(strstr(t.out.data, want));
    assert_non_null(strstr(t.out.data, "],\"top_logprobs\":[]}]}"));
    finish(&t);
}

#define USAGE(p, c, t)                                                                             \
    "\"usage\":{\"prompt_tokens\":" p ",\"total_tokens\":" t ",\"completion_tokens\":" c           \
    ",\"prompt_tokens_details\":null,\"completion_tokens_details\":null}"

static void test_completion_whole(void **state)
{
    (void)state;
    trip t;
    // Two prompts, two choices each: index = prompt * n + child.
    start(&t, QW_API_COMPLETION,
          "{\"prompt\":[[1,2],[3]],\"n\":2,\"return_token_ids\":true,\"request_id\":\"me\"}");
    for (int p = 0; p < 2; p++)
        for (int c = 0; c < 2; c++)
            (void)push_full(&t, (size_t)p,
                            (qw_token_event){.child = c,
                                             .id = id_of(p   ? c ? "d" : "c"
                                                         : c ? "b"
                                                             : "a"),
                                             .finish = QW_FINISH_LENGTH,
                                             .stop_id = -1});
    flush(&t);
    char want[4096];
#define CHOICE                                                                                     \
    "{\"index\":%d,\"text\":\"%s\",\"logprobs\":null,\"finish_reason\":\"length\","                \
    "\"stop_reason\":null,\"token_ids\":[%d],\"prompt_logprobs\":null,\"prompt_token_ids\":[%s],"  \
    "\"routed_experts\":null}"
    snprintf(want, sizeof want,
             "{\"id\":\"cmpl-me\",\"object\":\"text_completion\",\"created\":1782714240,"
             "\"model\":\"qwen3\",\"choices\":[" CHOICE "," CHOICE "," CHOICE "," CHOICE
             "],\"service_tier\":null,\"system_fingerprint\":\"vllm-0.22.1-1a2b3c4d\"," USAGE(
                 "3", "4", "7") ",\"kv_transfer_params\":null}",
             0, "a", id_of("a"), "1,2", 1, "b", id_of("b"), "1,2", 2, "c", id_of("c"), "3", 3, "d",
             id_of("d"), "3");
    assert_sent(&t, want);
    finish(&t);
}

static void test_completion_stream(void **state)
{
    (void)state;
    trip t;
    start(&t, QW_API_COMPLETION,
          "{\"prompt\":[1,2],\"stream\":true,\"return_token_ids\":true,\"stream_options\":"
          "{\"include_usage\":true}}");
#define CHEAD                                                                                      \
    "data: {\"id\":\"cmpl-00112233445566778899aabbccddeeff\",\"object\":\"text_completion\","      \
    "\"created\":1782714240,\"model\":\"qwen3\",\"choices\":["
    char want[2048];
    step(&t, 0, "a", QW_FINISH_NONE);
    step(&t, 0, "b", QW_FINISH_LENGTH);
    snprintf(want, sizeof want,
             CHEAD
             "{\"index\":0,\"text\":\"a\",\"logprobs\":null,\"finish_reason\":null,"
             "\"stop_reason\":null,\"prompt_token_ids\":[1,2],\"token_ids\":[%d]}]}\n\n" CHEAD
             "{\"index\":0,\"text\":\"b\",\"logprobs\":null,\"finish_reason\":\"length\","
             "\"stop_reason\":null,\"prompt_token_ids\":null,\"token_ids\":[%d]}]}\n\n" CHEAD
             "],\"usage\":{\"prompt_tokens\":2,\"total_tokens\":4,\"completion_tokens\":2}" PRINT
             "}\n\n" DONE,
             id_of("a"), id_of("b"));
    assert_sent(&t, want);
    finish(&t);
}

// What lm_eval asks for: lists over prompt and answer, the first entries null.
static void check_scoring(bool stream)
{
    trip t;
    char body[256];
    qw_api_error refusal;
    snprintf(body, sizeof body,
             "{\"prompt\":[%d,%d],\"max_tokens\":1,\"logprobs\":1,\"echo\":true,\"temperature\":0,"
             "\"stream\":%s}",
             id_of("a"), id_of("b"), stream ? "true" : "false");
    start(&t, QW_API_COMPLETION, body);
    assert_int_equal(t.req.params.prompt_logprobs, 1);
    const qw_logprob prompt[] = {{id_of("b"), 2, -1.0f}, {id_of("z"), 1, -0.25f}};
    const qw_logprob token[] = {{id_of("c"), 1, -0.5f}, {id_of("c"), 1, -0.5f}};
    assert_served(qw_api_response_prompt_logprobs(t.response, 0, 1, prompt, 2, &refusal));
    (void)push_full(&t, 0, with_logprobs(token, 2, QW_FINISH_LENGTH));
    flush(&t);
    assert_non_null(
        strstr(t.out.data,
               "\"text\":\"abc\",\"logprobs\":{\"text_offset\":[0,1,2],\"token_logprobs\":[null,-1."
               "0,-0.5],"
               "\"tokens\":[\"a\",\"b\",\"c\"],\"top_logprobs\":[null,{\"b\":-1.0,\"z\":-0.25},"
               "{\"c\":-0.5}]},\"finish_reason\":\"length\""));
    finish(&t);
}

static void test_scoring(void **state)
{
    (void)state;
    check_scoring(false);
    check_scoring(true);
}

static void test_prompt_only(void **state)
{
    (void)state;
    trip t;
    start(&t, QW_API_COMPLETION, "{\"prompt\":\"ab\",\"max_tokens\":0,\"echo\":true}");
    assert_int_equal(t.prompts[0].max_tokens, 1);
    step(&t, 0, "c", QW_FINISH_LENGTH);
    assert_non_null(strstr(t.out.data, "\"text\":\"ab\",\"logprobs\":null,"
                                       "\"finish_reason\":\"length\""));
    assert_non_null(strstr(t.out.data, "\"completion_tokens\":0"));
    finish(&t);
}

static void test_prompt_logprobs(void **state)
{
    (void)state;
    trip t;
    qw_api_error refusal;
    start(&t, QW_API_CHAT, "{\"prompt_logprobs\":1," HI "}");
    const qw_logprob at1[] = {{id_of("b"), 7, -3.0f}, {id_of("a"), 1, -0.5f}};
    const qw_logprob at2[] = {{id_of("a"), 1, -0.5f}, {id_of("a"), 1, -0.5f}};
    assert_served(qw_api_response_prompt_logprobs(t.response, 0, 1, at1, 2, &refusal));
    assert_served(qw_api_response_prompt_logprobs(t.response, 0, 2, at2, 2, &refusal));
    step(&t, 0, "a", QW_FINISH_LENGTH);
    char want[512];
    snprintf(
        want, sizeof want,
        "\"prompt_logprobs\":[null,{\"%d\":{\"logprob\":-3.0,\"rank\":7,\"decoded_token\":\"b\"},"
        "\"%d\":{\"logprob\":-0.5,\"rank\":1,\"decoded_token\":\"a\"}},{\"%d\":{\"logprob\":-0.5,"
        "\"rank\":1,\"decoded_token\":\"a\"}}]",
        id_of("b"), id_of("a"), id_of("a"));
    assert_non_null(strstr(t.out.data, want));
    finish(&t);
}

// ---- failures

static void test_engine_failure(void **state)
{
    (void)state;
    trip t;
    qw_api_error refusal;
    bool withdraw;
    const qw_error nan = {QW_ERR_DEVICE, "logits are NaN"};
    const qw_token_event event = {
        .id = -1, .finish = QW_FINISH_ABORT, .error = &nan, .stop_id = -1};
    use_parser("none");
    start(&t, QW_API_CHAT, "{\"stream\":true," HI "}");
    step(&t, 0, "a", QW_FINISH_NONE);
    qw_buf_clear(&t.out);
    assert_int_not_equal(qw_api_response_push(t.response, 0, &event, &withdraw, &refusal), QW_OK);
    assert_int_equal(qw_api_fault_status(refusal.fault), 500);
    qw_api_response_fail(t.response, &refusal, &t.out);
    assert_sent(&t, "data: {\"error\": {\"message\": \"Internal server error\", \"type\": "
                    "\"InternalServerError\", \"param\": null, \"code\": 500}}\n\n" DONE);
    flush(&t); // nothing after the end
    qw_api_response_fail(t.response, &refusal, &t.out);
    assert_int_equal(strlen(t.out.data), t.out.len);
    assert_null(strstr(strstr(t.out.data, "[DONE]") + 1, "[DONE]"));
    finish(&t);
}

static bool run_with_little_memory(const char *body, qw_api_kind kind)
{
    qw_api_error refusal = {0};
    qw_api_request req;
    qw_api_prompt prompts[2];
    qw_api_response *response = NULL;
    qw_buf out;
    const qw_logprob entries[] = {{id_of("a"), 1, -0.5f}, {id_of("b"), 2, -1.5f}};
    size_t n_made = 0;
    qw_buf_init(&out, 1 << 20);
    qw_status st = parse(&req, kind, body, &refusal);
    bool parsed = st == QW_OK;
    for (; st == QW_OK && n_made < req.n_prompts; n_made += st == QW_OK)
        st = qw_api_request_prompt(&prompts[n_made], &req, n_made, &config, &refusal);
    if (st == QW_OK) st = qw_api_response_new(&response, &config, &req, prompts, 1, &refusal);
    for (size_t i = 0; st == QW_OK && i < req.n_prompts; i++)
        st = qw_api_response_prompt_logprobs(response, i, 1, entries, 2, &refusal);
    for (size_t i = 0; st == QW_OK && i < 4 * req.n_prompts; i++) {
        bool withdraw;
        const qw_token_event event = {.id = i == 0 ? id_of("<think>") : id_of("a"),
                                      .logprobs = entries,
                                      .n_logprobs = 2,
                                      .finish = i / req.n_prompts == 3 ? QW_FINISH_LENGTH
                                                                       : QW_FINISH_NONE,
                                      .stop_id = -1};
        st = qw_api_response_push(response, i % req.n_prompts, &event, &withdraw, &refusal);
        if (st == QW_OK) st = qw_api_response_flush(response, &out, &refusal);
    }
    if (st == QW_OK) assert_true(qw_api_response_is_done(response));
    if (st != QW_OK && refusal.fault != QW_FAULT_UNAVAILABLE)
        fail_msg("without memory: %s", refusal.text);
    qw_api_response_free(response);
    for (size_t i = 0; i < n_made; i++) qw_api_prompt_release(&prompts[i]);
    if (parsed) qw_api_request_release(&req);
    qw_buf_release(&out);
    return st == QW_OK;
}

static void test_memory(void **state)
{
    (void)state;
    static const struct {
        qw_api_kind kind;
        const char *body;
    } cases[] = {
        {QW_API_CHAT, "{\"stream\":true,\"logprobs\":true,\"top_logprobs\":1,\"bad_words\":[\"x\"],"
                      "\"reasoning_effort\":\"low\",\"stop\":[\"q\"],\"return_token_ids\":true,"
                      "\"logit_bias\":{\"5\":1}," HI "}"},
        {QW_API_CHAT, "{\"prompt_logprobs\":1," HI "}"},
        {QW_API_COMPLETION,
         "{\"prompt\":[\"a\",\"b c\"],\"echo\":true,\"logprobs\":1,\"return_token_ids\":true}"},
    };
    use_parser("auto");
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        size_t live = qw_mem_live();
        bool done = false;
        for (uint64_t n = 1; !done; n++) {
            qw_mem_fail_at(n);
            done = run_with_little_memory(cases[i].body, cases[i].kind);
            qw_mem_fail_at(0);
            assert_int_equal(qw_mem_live(), live);
            assert_true(n < 10000);
        }
    }
}

// Not a test of speed, only a number to look at: what an event costs.
static void test_cost(void **state)
{
    (void)state;
    trip t;
    enum { N = 20000 };
    use_parser("auto");
    config.max_model_len = N + 100;
    start(&t, QW_API_CHAT, "{\"stream\":true," HI "}");
    int64_t before = qw_clock_ns();
    for (int i = 0; i < N; i++) {
        qw_api_error refusal;
        bool withdraw;
        const qw_token_event event = {.id = 300 + i % 64, .stop_id = -1};
        if (i % 100 == 0) qw_buf_clear(&t.out);
        assert_served(qw_api_response_push(t.response, 0, &event, &withdraw, &refusal));
        assert_served(qw_api_response_flush(t.response, &t.out, &refusal));
    }
    print_message("one event: %.2f us\n", (double)(qw_clock_ns() - before) / N / 1000);
    config.max_model_len = 64;
    finish(&t);
    enum { REQUESTS = 200 };
    before = qw_clock_ns();
    for (int i = 0; i < REQUESTS; i++) {
        start(&t, QW_API_CHAT,
              "{\"model\":\"qwen3\",\"stream\":true,\"temperature\":0.6,\"top_p\":0.95," HI "}");
        finish(&t);
    }
    print_message("one request: %.1f us\n", (double)(qw_clock_ns() - before) / REQUESTS / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat_whole),
        cmocka_unit_test(test_chat_stream),
        cmocka_unit_test(test_chat_stream_usage),
        cmocka_unit_test(test_continuous_usage),
        cmocka_unit_test(test_stream_interval),
        cmocka_unit_test(test_stop_string),
        cmocka_unit_test(test_reasoning),
        cmocka_unit_test(test_chat_echo),
        cmocka_unit_test(test_chat_logprobs),
        cmocka_unit_test(test_completion_whole),
        cmocka_unit_test(test_completion_stream),
        cmocka_unit_test(test_scoring),
        cmocka_unit_test(test_prompt_only),
        cmocka_unit_test(test_prompt_logprobs),
        cmocka_unit_test(test_engine_failure),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
