#include "test_util.h"

#include "base/nearest.h"

static const char *nearest(const char *word)
{
    static const char *const names[] = {"port", "host", "stop-token-ids", "max-tokens",
                                        "min-tokens"};
    qw_nearest n;
    qw_nearest_init(&n, qw_str_of(word));
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) qw_nearest_offer(&n, names[i]);
    return n.name;
}

static void test_edits(void **unused)
{
    (void)unused;
    assert_string_equal(nearest("prt"), "port");   // left out
    assert_string_equal(nearest("poort"), "port"); // inserted
    assert_string_equal(nearest("pord"), "port");  // replaced
    assert_string_equal(nearest("prot"), "port");  // swapped
    assert_string_equal(nearest("stop_token_id"), "stop-token-ids");
    assert_string_equal(nearest("max-tokns"), "max-tokens"); // nearer than min-tokens
    assert_string_equal(nearest("mx-toknes"), "max-tokens");
}

static void test_far(void **unused)
{
    (void)unused;
    assert_null(nearest("prto1")); // two edits at five letters
    assert_null(nearest(""));
    assert_null(nearest("xyz"));
    char word[80];
    memset(word, 'a', sizeof word);
    word[79] = '\0';
    assert_null(nearest(word));
    qw_nearest n;
    qw_nearest_init(&n, QW_STR("abc"));
    qw_nearest_offer(&n, word);
    assert_null(n.name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_edits), cmocka_unit_test(test_far)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
