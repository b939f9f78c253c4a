#include "test_util.h"

#include "base/status.h"
#include "base/str.h"

static void fail_and_context(void **state)
{
    (void)state;
    qw_error err;
    assert_int_equal(qw_fail(&err, QW_ERR_FORMAT, "tensor '%s': %d bytes", "x", 7), QW_ERR_FORMAT);
    assert_int_equal(err.code, QW_ERR_FORMAT);
    assert_string_equal(err.text, "tensor 'x': 7 bytes");
    assert_int_equal(qw_context(&err, QW_ERR_FORMAT, "shard %d of %d", 3, 15), QW_ERR_FORMAT);
    assert_int_equal(qw_context(&err, QW_ERR_IO, "opening"), QW_ERR_IO);
    assert_int_equal(err.code, QW_ERR_IO);
    assert_string_equal(err.text, "opening: shard 3 of 15: tensor 'x': 7 bytes");
    assert_int_equal(qw_fail_memory(&err, 99, "a map"), QW_ERR_NO_MEMORY);
    assert_string_equal(err.text, "cannot allocate 99 bytes for a map");
    // Nobody has to ask for the text.
    assert_int_equal(qw_fail(NULL, QW_ERR_BUSY, "x"), QW_ERR_BUSY);
    assert_int_equal(qw_context(NULL, QW_ERR_BUSY, "x"), QW_ERR_BUSY);
    assert_int_equal(qw_fail_memory(NULL, 1, "x"), QW_ERR_NO_MEMORY);
}

// Long texts are cut, but never inside a character.
static void cut_texts(void **state)
{
    (void)state;
    qw_error err;
    char text[700];
    for (size_t n_ascii = 500; n_ascii < 516; n_ascii++) {
        memset(text, 'a', n_ascii);
        for (int i = 0; i < 8; i++) memcpy(text + n_ascii + 4 * i, "\xF0\x9F\x98\x80", 4);
        text[n_ascii + 32] = '\0';
        (void)qw_fail(&err, QW_ERR_FORMAT, "%s", text);
        assert_true(qw_utf8_is_valid(qw_str_of(err.text)));
        assert_true(strlen(err.text) >= 504);
        assert_memory_equal(err.text, text, strlen(err.text));
        (void)qw_context(&err, QW_ERR_FORMAT, "context");
        assert_true(qw_utf8_is_valid(qw_str_of(err.text)));
        assert_memory_equal(err.text, "context: aaaa", 13);
        (void)qw_fail(&err, QW_ERR_FORMAT, "below");
        (void)qw_context(&err, QW_ERR_FORMAT, "%s", text); // the context alone fills it
        assert_true(qw_utf8_is_valid(qw_str_of(err.text)));
        assert_memory_equal(err.text, text, strlen(err.text));
    }
}

static void exit_codes(void **state)
{
    (void)state;
    assert_int_equal(qw_status_exit_code(QW_OK), 0);
    assert_int_equal(qw_status_exit_code(QW_ERR_USAGE), 2);
    for (int code = QW_ERR_FORMAT; code <= QW_ERR_DEVICE; code++)
        assert_int_equal(qw_status_exit_code((qw_status)code), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_and_context),
        cmocka_unit_test(cut_texts),
        cmocka_unit_test(exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
