// The small endpoints: models, version, load, tokenize, detokenize (http-api.md 1.9, 1.10).

#include "test_util.h"

#include "server/api_models.h"
#include "server/api_tokenize.h"
#include "unit/server/api_test.h"

typedef qw_status endpoint(qw_buf *out, const qw_api_config *cfg, const qw_api_call *call,
                           qw_api_error *err);

static void assert_answer(endpoint *fn, const char *body, const char *want)
{
    qw_api_error refusal;
    qw_buf out;
    qw_api_call call = call_of(body);
    qw_buf_init(&out, 1 << 20);
    assert_served(fn(&out, &config, &call, &refusal));
    assert_string_equal(out.data, want);
    qw_buf_release(&out);
}

static void assert_refused(endpoint *fn, const char *body, qw_api_fault fault, const char *part)
{
    qw_api_error refusal;
    qw_buf out;
    qw_api_call call = call_of(body);
    size_t live = qw_mem_live();
    qw_buf_init(&out, 1 << 20);
    if (fn(&out, &config, &call, &refusal) == QW_OK) fail_msg("accepted: %s", body);
    assert_int_equal(out.len, 0);
    assert_int_equal(refusal.fault, fault);
    if (!strstr(refusal.text, part)) fail_msg("'%s' not in '%s'", part, refusal.text);
    qw_buf_release(&out);
    assert_int_equal(qw_mem_live(), live);
}

#define CARD(id)                                                                                   \
    "{\"id\":\"" id "\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"vllm\","        \
    "\"root\":\"" QW_SOURCE_DIR "/models/tiny\",\"parent\":null,\"max_model_len\":64,"             \
    "\"permission\":[{\"id\":\"modelperm-ab\",\"object\":\"model_permission\","                    \
    "\"created\":1700000000,\"allow_create_engine\":false,\"allow_sampling\":true,"                \
    "\"allow_logprobs\":true,\"allow_search_indices\":false,\"allow_view\":true,"                  \
    "\"allow_fine_tuning\":false,\"organization\":\"*\",\"group\":null,\"is_blocking\":false}]}"

static void test_models(void **state)
{
    (void)state;
    qw_api_error refusal;
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    qw_api_models_write(&out, &config, "ab");
    assert_string_equal(out.data,
                        "{\"object\":\"list\",\"data\":[" CARD("qwen3") "," CARD("second") "]}");
    qw_buf_clear(&out);
    assert_served(qw_api_model_write(&out, &config, QW_STR("second"), "ab", &refusal));
    assert_string_equal(out.data, CARD("second"));
    assert_int_not_equal(qw_api_model_write(&out, &config, QW_STR("tiny"), "ab", &refusal), QW_OK);
    assert_int_equal(refusal.fault, QW_FAULT_NOT_FOUND);
    qw_buf_clear(&out);
    qw_api_version_write(&out, "0.22.1+qwench.0.6");
    assert_string_equal(out.data, "{\"version\":\"0.22.1+qwench.0.6\"}");
    qw_buf_clear(&out);
    qw_api_load_write(&out, 3);
    assert_string_equal(out.data, "{\"server_load\":3}");
    qw_buf_release(&out);
}

static void test_tokenize(void **state)
{
    (void)state;
    char want[512];
    snprintf(want, sizeof want,
             "{\"count\":3,\"max_model_len\":64,\"tokens\":[%d,%d,%d],\"token_strs\":null}",
             id_of("a"), id_of("<think>"), id_of("\n"));
    assert_answer(qw_api_tokenize, "{\"prompt\":\"a<think>\\n\"}", want);
    snprintf(want, sizeof want,
             "{\"count\":3,\"max_model_len\":64,\"tokens\":[%d,%d,%d],"
             "\"token_strs\":[\"\\\"\",\"<think>\",\"\xC4\x8A\"]}",
             id_of("\""), id_of("<think>"), id_of("\n"));
    assert_answer(qw_api_tokenize,
                  "{\"model\":\"second\",\"prompt\":\"\\\"<think>\\n\",\"return_token_strs\":true}",
                  want);
    assert_answer(qw_api_tokenize, "{\"prompt\":\"\"}",
                  "{\"count\":0,\"max_model_len\":64,\"tokens\":[],\"token_strs\":null}");
    qw_api_error refusal;
    qw_buf out;
    qw_api_call call =
        call_of("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                "\"add_generation_prompt\":false,\"return_token_strs\":true,"
                "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}");
    qw_buf_init(&out, 1 << 20);
    assert_served(qw_api_tokenize(&out, &config, &call, &refusal));
    assert_non_null(strstr(out.data, "\"<|im_start|>\""));
    assert_non_null(strstr(out.data, "\"<|im_end|>\",\"\xC4\x8A\"]}"));
    qw_buf_release(&out);
}

// No limit of length: longer than the context, and than any prompt of it could be.
static void test_tokenize_long(void **state)
{
    (void)state;
    size_t len = (size_t)config.longest_token * 64 + 1000;
    char *body = qw_mem_alloc(len + 32);
    qw_api_error refusal;
    qw_buf out;
    int head = snprintf(body, 32, "{\"prompt\":\"");
    memset(body + head, 'a', len);
    memcpy(body + head + len, "\"}", 3);
    qw_api_call call = call_of(body);
    qw_buf_init(&out, 1 << 20);
    assert_served(qw_api_tokenize(&out, &config, &call, &refusal));
    qw_buf_release(&out);
    qw_mem_free(body);
}

static void test_detokenize(void **state)
{
    (void)state;
    char body[128];
    snprintf(body, sizeof body, "{\"tokens\":[%d,%d,%d]}", id_of("a"), id_of("<|im_end|>"),
             id_of("\""));
    assert_answer(qw_api_detokenize, body, "{\"prompt\":\"a<|im_end|>\\\"\"}");
    assert_answer(qw_api_detokenize, "{\"tokens\":[]}", "{\"prompt\":\"\"}");
    assert_answer(qw_api_detokenize, "{\"tokens\":[3967]}", "{\"prompt\":\"\"}"); // a hole
}

static void test_refusals(void **state)
{
    (void)state;
    assert_refused(qw_api_tokenize, "{}", QW_FAULT_SCHEMA, "'prompt'), 'msg': \"Field required");
    assert_refused(qw_api_tokenize, "{\"prompt\":5}", QW_FAULT_SCHEMA, "'prompt'");
    assert_refused(qw_api_tokenize, "{\"prompt\":null}", QW_FAULT_SCHEMA, "'prompt'");
    assert_refused(qw_api_tokenize, "{\"prompt\":\"a\",\"return_token_strs\":5}", QW_FAULT_SCHEMA,
                   "'return_token_strs'");
    assert_refused(qw_api_tokenize, "{\"prompt\":\"a\",\"model\":\"x\"}", QW_FAULT_NOT_FOUND,
                   "`x`");
    assert_refused(qw_api_tokenize, "{\"messages\":5}", QW_FAULT_SCHEMA, "'messages'");
    assert_refused(qw_api_tokenize, "{\"messages\":[]}", QW_FAULT_REQUEST, "must not be empty");
    assert_refused(qw_api_tokenize,
                   "{\"messages\":[{\"role\":\"user\"}],\"chat_template\":\"{{ x }}\"}",
                   QW_FAULT_REQUEST, "--trust-request-chat-template");
    assert_refused(qw_api_tokenize, "x", QW_FAULT_SCHEMA, "JSON decode error");
    assert_refused(qw_api_detokenize, "{}", QW_FAULT_SCHEMA, "'tokens'");
    assert_refused(qw_api_detokenize, "{\"tokens\":\"a\"}", QW_FAULT_SCHEMA, "'tokens'");
    assert_refused(qw_api_detokenize, "{\"tokens\":[-1]}", QW_FAULT_SCHEMA, "tokens[0]");
    assert_refused(qw_api_detokenize, "{\"tokens\":[\"a\"]}", QW_FAULT_SCHEMA, "'tokens', 0");
    assert_refused(qw_api_detokenize, "{\"tokens\":[1],\"model\":\"x\"}", QW_FAULT_NOT_FOUND,
                   "`x`");
}

static void test_info(void **state)
{
    (void)state;
    qw_api_error refusal;
    qw_error err;
    qw_buf out;
    json_t *v = NULL;
    qw_buf_init(&out, 1 << 20);
    assert_served(qw_api_tokenizer_info(&out, &config, &refusal));
    assert_ok(qw_json_parse(&v, out.data, out.len, "info", &err));
    assert_true(qw_str_is(qw_json_str(json_object_get(v, "tokenizer_class")), "Qwen2Tokenizer"));
    assert_true(qw_str_is(qw_json_str(json_object_get(v, "eos_token")), "<|im_end|>"));
    assert_true(json_string_length(json_object_get(v, "chat_template")) > 1000);
    json_decref(v);
    qw_buf_release(&out);
}

static void test_memory(void **state)
{
    (void)state;
    static const struct {
        endpoint *fn;
        const char *body;
    } cases[] = {
        {qw_api_tokenize, "{\"prompt\":\"a b\",\"return_token_strs\":true}"},
        {qw_api_tokenize, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"},
        {qw_api_detokenize, "{\"tokens\":[1,2,3]}"},
    };
    size_t live = qw_mem_live();
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_status st = QW_ERR_NO_MEMORY;
        for (uint64_t n = 1; st != QW_OK; n++) {
            qw_api_error refusal;
            qw_buf out;
            qw_api_call call = call_of(cases[i].body);
            qw_buf_init(&out, 1 << 20);
            qw_mem_fail_at(n);
            st = cases[i].fn(&out, &config, &call, &refusal);
            qw_mem_fail_at(0);
            if (st != QW_OK) assert_int_equal(refusal.fault, QW_FAULT_UNAVAILABLE);
            qw_buf_release(&out);
            assert_int_equal(qw_mem_live(), live);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),        cmocka_unit_test(test_tokenize),
        cmocka_unit_test(test_tokenize_long), cmocka_unit_test(test_detokenize),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_info),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
