// The bodies of refusals (http-api.md 1.3).

#include "test_util.h"

#include "server/api_error.h"

static const char *written(const qw_api_error *e, bool event)
{
    static char text[8192];
    qw_buf b;
    qw_buf_init(&b, sizeof text - 1);
    if (event)
        qw_api_error_write_event(&b, e);
    else
        qw_api_error_write(&b, e);
    assert_int_equal(b.failed, QW_OK);
    memcpy(text, b.data, b.len + 1);
    qw_buf_release(&b);
    return text;
}

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        qw_api_fault fault;
        const char *want;
    } cases[] = {
        {QW_FAULT_SCHEMA, "{\"error\":{\"message\":\"m\",\"type\":\"Bad Request\",\"param\":null,"
                          "\"code\":400}}"},
        {QW_FAULT_REQUEST,
         "{\"error\":{\"message\":\"m\",\"type\":\"BadRequestError\",\"param\":null,"
         "\"code\":400}}"},
        {QW_FAULT_AUTH, "{\"error\":\"Unauthorized\"}"},
        {QW_FAULT_NOT_FOUND, "{\"error\":{\"message\":\"m\",\"type\":\"NotFoundError\","
                             "\"param\":null,\"code\":404}}"},
        {QW_FAULT_PATH, "{\"detail\":\"Not Found\"}"},
        {QW_FAULT_METHOD, "{\"detail\":\"Method Not Allowed\"}"},
        {QW_FAULT_TOO_LARGE, "{\"error\":{\"message\":\"m\",\"type\":\"BadRequestError\","
                             "\"param\":null,\"code\":413}}"},
        {QW_FAULT_BUSY, "{\"error\":{\"message\":\"m\",\"type\":\"rate_limit_error\","
                        "\"param\":null,\"code\":429}}"},
        {QW_FAULT_INTERNAL, "{\"error\":{\"message\":\"m\",\"type\":\"InternalServerError\","
                            "\"param\":null,\"code\":500}}"},
        {QW_FAULT_UNSUPPORTED, "{\"error\":{\"message\":\"m\",\"type\":\"NotImplementedError\","
                               "\"param\":null,\"code\":501}}"},
        {QW_FAULT_UNAVAILABLE, "{\"error\":{\"message\":\"m\",\"type\":\"ServiceUnavailableError\","
                               "\"param\":null,\"code\":503}}"},
    };
    static const int statuses[] = {400, 400, 401, 404, 404, 405, 413, 429, 500, 501, 503};
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_api_error e;
        assert_int_not_equal(qw_api_fail(&e, cases[i].fault, NULL, "m"), QW_OK);
        assert_string_equal(written(&e, false), cases[i].want);
        assert_int_equal(qw_api_fault_status(cases[i].fault), statuses[i]);
    }
}

static void test_texts(void **state)
{
    (void)state;
    qw_api_error e;
    (void)qw_api_fail(&e, QW_FAULT_REQUEST, "top_p",
                      "say \"\xE4\xBD\xA0\"\n\xF0\x9F\x98\x80 at 0x7f12aB> at 0xq");
    assert_string_equal(written(&e, false),
                        "{\"error\":{\"message\":\"say \\\"\xE4\xBD\xA0\\\"\\n\xF0\x9F\x98\x80> at "
                        "0xq\",\"type\":\"BadRequestError\",\"param\":\"top_p\",\"code\":400}}");
    assert_string_equal(
        written(&e, true),
        "data: {\"error\": {\"message\": \"say \\\"\\u4f60\\\"\\n\\ud83d\\ude00> at "
        "0xq\", \"type\": \"BadRequestError\", \"param\": \"top_p\", \"code\": "
        "400}}\n\n");
    (void)qw_api_fail(&e, QW_FAULT_REQUEST, NULL, "bytes \xff\xfe!");
    assert_non_null(strstr(written(&e, false), "\"bytes \\ufffd\\ufffd!\""));
}

// Whatever is cut off at the end, what is written is whole.
static void test_long_text(void **state)
{
    (void)state;
    char text[2200];
    qw_api_error e;
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4) memcpy(text + i, "\xF0\x9F\x98\x80", 4);
        text[shift + 2180] = '\0';
        (void)qw_api_fail(&e, QW_FAULT_REQUEST, text, "%s", text);
        assert_null(strstr(written(&e, false), "\\ufffd"));
        assert_true(strlen(e.text) > 1900 && strlen(e.param) > 50);
    }
}

static void test_layers_below(void **state)
{
    (void)state;
    static const struct {
        qw_status st;
        int status;
        const char *text;
    } cases[] = {{QW_ERR_USAGE, 400, "why"},
                 {QW_ERR_FORMAT, 400, "why"},
                 {QW_ERR_UNSUPPORTED, 400, "why"},
                 {QW_ERR_NO_MEMORY, 503, "why"},
                 {QW_ERR_BUSY, 429, "why"},
                 {QW_ERR_IO, 500, "Internal server error"},
                 {QW_ERR_DEVICE, 500, "Internal server error"}};
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        const qw_error why = {cases[i].st, "why"};
        qw_api_error e;
        assert_int_not_equal(qw_api_fail_with(&e, cases[i].st, &why, NULL), QW_OK);
        assert_int_equal(qw_api_fault_status(e.fault), cases[i].status);
        assert_string_equal(e.text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_layers_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
