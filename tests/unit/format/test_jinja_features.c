// The 148 small templates of the golden data, rendered with Jinja2 itself.

#include "unit/format/template_cases.h"

static json_t *context;
static int n_rendered, n_errors;

static void check_feature(const json_t *line, size_t i)
{
    if (i == 0) {
        context = json_incref(json_object_get(line, "context"));
        return;
    }
    qw_error err = {0};
    struct tm now = golden_time();
    qw_chat_template_options options = qw_chat_template_defaults;
    options.now = &now;
    qw_str text = qw_json_str(json_object_get(line, "template"));
    const json_t *rendered = json_object_get(line, "rendered");
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    qw_chat_template *t = NULL;
    qw_status st = qw_chat_template_parse(&t, text.ptr, text.len, "feature", &err);
    if (st == QW_OK) st = qw_chat_template_render(t, context, &out, &options, &err);
    qw_chat_template_free(t);
    if (rendered) {
        qw_str want = qw_json_str(rendered);
        if (st != QW_OK) fail_msg("%.*s: %s", (int)text.len, text.ptr, err.text);
        if (!qw_str_eq((qw_str){out.data, out.len}, want))
            fail_msg("%.*s\n got: %.*s\nwant: %.*s", (int)text.len, text.ptr, (int)out.len,
                     out.data, (int)want.len, want.ptr);
        n_rendered++;
    } else {
        if (st == QW_OK)
            fail_msg("%.*s: rendered '%.*s' instead of failing", (int)text.len, text.ptr,
                     (int)out.len, out.data);
        assert_int_equal(out.len, 0);
        const char *message = json_string_value(json_object_get(line, "message"));
        if (strstr(text.ptr, "raise_exception") && !strstr(err.text, message))
            fail_msg("'%s' not in '%s'", message, err.text);
        n_errors++;
    }
    qw_buf_release(&out);
}

static void test_all_features(void **state)
{
    (void)state;
    size_t n = each_json_line(QW_TEST_DATA "/chat-template/jinja_features.jsonl", check_feature);
    json_decref(context);
    print_message("%d features rendered, %d failed as they must\n", n_rendered, n_errors);
    assert_int_equal(n, 149);
    assert_int_equal(n_rendered + n_errors, 148);
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_features)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
