#include "test_util.h"

#include "unit/server/http_fixture.h"

// Send a request and return the value of a header of the reply ("-" if absent); status is checked.
static const char *header_of(client *c, const char *request, int status, const char *name)
{
    client_puts(c, request);
    char method[16];
    snprintf(method, sizeof method, "%.*s", (int)strcspn(request, " "), request);
    reply r = read_reply(c, method);
    if (r.status != status) fail_msg("status %d, not %d: %s", r.status, status, r.body);
    const char *value = find_header(&r, name);
    reply_release(&r);
    return value ? value : "-";
}

#define GET_FROM(origin) "GET /info HTTP/1.1\r\nHost: x\r\nOrigin: " origin "\r\n\r\n"
#define PREFLIGHT(origin, method, more)                                                            \
    "OPTIONS /v1/info HTTP/1.1\r\nHost: x\r\nOrigin: " origin                                      \
    "\r\nAccess-Control-Request-Method: " method "\r\n" more "\r\n"

static void any_origin_by_default(void **state)
{
    (void)state;
    const char *allow = "Access-Control-Allow-Origin";
    fixture f;
    fixture_open(&f, &(qw_http_options){0});
    client c = client_open(&f);
    assert_string_equal(header_of(&c, GET_FROM("http://a.example"), 200, allow), "*");
    assert_string_equal(header_of(&c, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, allow), "-");
    // errors, streams and refusals too
    assert_string_equal(
        header_of(&c, "GET /nowhere HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n\r\n", 404, allow),
        "*");
    assert_string_equal(
        header_of(&c, "GET /events HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n\r\n", 200, allow),
        "*");
    // a request with cookies is told its own origin
    const char *cookies =
        "GET /info HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\nCookie: b=c\r\n\r\n";
    assert_string_equal(header_of(&c, cookies, 200, allow), "http://a");
    assert_string_equal(header_of(&c, cookies, 200, "Vary"), "Origin");

    const char *preflight =
        PREFLIGHT("http://a", "POST", "Access-Control-Request-Headers: x-a, b\r\n");
    expect_reply(&c, PREFLIGHT("http://a", "POST", "Access-Control-Request-Headers: \r\n"), 200,
                 "OK");
    expect_reply(&c, PREFLIGHT("", "POST", "Access-Control-Request-Headers: a\tb\r\n"), 200, "OK");
    int before = get(&f, &f.n_begin);
    expect_reply(&c, preflight, 200, "OK");
    assert_string_equal(header_of(&c, preflight, 200, allow), "*");
    assert_string_equal(header_of(&c, preflight, 200, "Access-Control-Max-Age"), "600");
    assert_string_equal(header_of(&c, preflight, 200, "Access-Control-Allow-Methods"),
                        "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
    assert_string_equal(header_of(&c, preflight, 200, "Access-Control-Allow-Headers"), "x-a, b");
    assert_int_equal(get(&f, &f.n_begin), before); // the handler is not bothered
    // OPTIONS that is no preflight is the handler's
    expect_reply(&c, "OPTIONS /info HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL);
    assert_int_equal(get(&f, &f.n_begin), before + 1);
    client_close(&c);
    fixture_close(&f, false);
}

static void listed_origins(void **state)
{
    (void)state;
    static const char *const origins[] = {"http://a", "http://b", NULL},
                             *const methods[] = {"GET", "POST", NULL},
                             *const headers[] = {"X-Key", NULL};
    const char *allow = "Access-Control-Allow-Origin";
    fixture f;
    fixture_open(&f, &(qw_http_options){.allowed_origins = origins,
                                        .allowed_methods = methods,
                                        .allowed_headers = headers,
                                        .allow_credentials = true});
    client c = client_open(&f);
    assert_string_equal(header_of(&c, GET_FROM("http://b"), 200, allow), "http://b");
    assert_string_equal(header_of(&c, GET_FROM("http://b"), 200, "Vary"), "Origin");
    assert_string_equal(
        header_of(&c, GET_FROM("http://b"), 200, "Access-Control-Allow-Credentials"), "true");
    assert_string_equal(header_of(&c, GET_FROM("http://c"), 200, allow), "-");
    expect_reply(
        &c, PREFLIGHT("http://a", "POST", "Access-Control-Request-Headers: content-type,x-key\r\n"),
        200, "OK");
    assert_string_equal(
        header_of(&c, PREFLIGHT("http://a", "GET", ""), 200, "Access-Control-Allow-Headers"),
        "Accept, Accept-Language, Content-Language, Content-Type, X-Key");
    assert_string_equal(header_of(&c, PREFLIGHT("http://a", "GET", ""), 200, allow), "http://a");
    assert_string_equal(
        header_of(&c, PREFLIGHT("http://a", "GET", ""), 200, "Access-Control-Allow-Methods"),
        "GET, POST");
    expect_reply(&c, PREFLIGHT("http://c", "GET", ""), 400, "Disallowed CORS origin");
    expect_reply(&c, PREFLIGHT("http://a", "PUT", ""), 400, "Disallowed CORS method");
    expect_reply(&c, PREFLIGHT("http://c", "PUT", "Access-Control-Request-Headers: x-other\r\n"),
                 400, "Disallowed CORS origin, method, headers");
    client_close(&c);
    fixture_close(&f, false);

    static const char *const none[] = {NULL};
    fixture_open(&f, &(qw_http_options){.allowed_origins = none});
    c = client_open(&f);
    assert_string_equal(header_of(&c, GET_FROM("http://a"), 200, allow), "-");
    expect_reply(&c, PREFLIGHT("http://a", "GET", ""), 400, "Disallowed CORS origin");
    client_close(&c);
    fixture_close(&f, false);
}

static void keys_guard_the_api(void **state)
{
    (void)state;
    static const char *const keys[] = {"first", "second key", NULL};
    const char *refused = "{\"error\":\"Unauthorized\"}";
    fixture f;
    fixture_open(&f, &(qw_http_options){.api_keys = keys, .root_path = "/proxy/"});
    client c = client_open(&f);
    static const char *const wrong[] = {"",
                                        "Authorization: first\r\n",
                                        "Authorization: Bearer\r\n",
                                        "Authorization: Bearer firs\r\n",
                                        "Authorization: Bearer first2\r\n",
                                        "Authorization: Basic first\r\n",
                                        "Authorization: Bearer first second\r\n"};
    char request[256];
    for (size_t i = 0; i < QW_ARRAY_LEN(wrong); i++) {
        snprintf(request, sizeof request, "GET /v1/info HTTP/1.1\r\nHost: x\r\n%s\r\n", wrong[i]);
        expect_reply(&c, request, 401, refused);
    }
    static const char *const right[] = {"Authorization: Bearer first\r\n",
                                        "authorization: bearer second key\r\n",
                                        "Authorization: BEARER first\r\n"};
    for (size_t i = 0; i < QW_ARRAY_LEN(right); i++) {
        snprintf(request, sizeof request, "GET /v1/info HTTP/1.1\r\nHost: x\r\n%s\r\n", right[i]);
        expect_reply(&c, request, 200, NULL);
    }
    static const char *const guarded[] = {"/v1/models",       "/v2/x",
                                          "/inference",       "/inference/v1",
                                          "/proxy/v1/models", "/qwench/requests"};
    for (size_t i = 0; i < QW_ARRAY_LEN(guarded); i++) {
        snprintf(request, sizeof request,
                 "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", guarded[i]);
        expect_reply(&c, request, 401, refused);
    }
    assert_int_equal(get(&f, &f.n_begin), 3);
    static const char *const open[] = {"GET /info", "GET /proxy/info", "OPTIONS /v1/info"};
    for (size_t i = 0; i < QW_ARRAY_LEN(open); i++) {
        snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: x\r\n\r\n", open[i]);
        expect_reply(&c, request, 200, NULL);
    }
    expect_reply(&c, "GET /proxy/info?q=1 HTTP/1.1\r\nHost: x\r\n\r\n", 200,
                 "GET|/info|/proxy/info?q=1|1.1|1|0");
    expect_reply(&c, "GET /proxyinfo HTTP/1.1\r\nHost: x\r\n\r\n", 404, NULL);
    client_close(&c);
    fixture_close(&f, false);
}

static void request_ids_are_returned(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &(qw_http_options){.request_id_headers = true});
    client c = client_open(&f);
    assert_string_equal(header_of(&c, "GET /info HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n",
                                  200, "X-Request-Id"),
                        "mine");
    const char *made =
        header_of(&c, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n", 200, "X-Request-Id");
    assert_int_equal(strlen(made), 32);
    assert_int_equal(strspn(made, "0123456789abcdef"), 32);
    client_close(&c);
    fixture_close(&f, false);
}

static void error_objects(void **state)
{
    (void)state;
    qw_buf b;
    qw_buf_init(&b, 1000);
    qw_http_error_json(&b, 404, "NotFoundError", "model",
                       QW_STR("The model `x\"` does not exist."));
    assert_string_equal(b.data, "{\"error\":{\"message\":\"The model `x\\\"` does not exist.\","
                                "\"type\":\"NotFoundError\",\"param\":\"model\",\"code\":404}}");
    qw_buf_clear(&b);
    qw_http_error_json(&b, 500, "InternalServerError", NULL, QW_STR("Internal server error"));
    assert_string_equal(b.data, "{\"error\":{\"message\":\"Internal server error\","
                                "\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}");
    qw_buf_release(&b);
    assert_string_equal(qw_http_status_text(200), "OK");
    assert_string_equal(qw_http_status_text(404), "Not Found");
    assert_string_equal(qw_http_status_text(999), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_origin_by_default), cmocka_unit_test(listed_origins),
        cmocka_unit_test(keys_guard_the_api),    cmocka_unit_test(request_ids_are_returned),
        cmocka_unit_test(error_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
