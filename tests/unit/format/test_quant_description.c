// The quantization description: names in all their spellings, types, what belongs to the whole
// model.
#include "test_util.h"

#include "base/mem.h"
#include "format/json.h"
#include "format/quant_description.h"

static qw_status parse(qw_quant_description *d, const char *text, qw_error *err)
{
    return qw_quant_description_parse(d, text, strlen(text), err);
}

static void names_in_all_spellings(void **state)
{
    (void)state;
    qw_error err;
    qw_quant_description d;
    assert_ok(parse(&d,
                    "{\"version\": \"1.0.0\", \"group_size\": 64, \"kv_quant_type\": \"C8\","
                    " \"a.weight\": \"W8A8\", \"thinker.b.weight\": \"FLOAT\","
                    " \"c.weight_packed\": \"W4A8_DYNAMIC\", \"d.weight\": \"NF4\","
                    " \"language_model.lm_head.weight\": \"W8A16\", \"metadata\": {}}",
                    &err));
    static const struct {
        const char *name;
        qw_quant_type type;
    } cases[] = {{"a.weight", QW_QUANT_W8A8},         {"thinker.a.weight", QW_QUANT_W8A8},
                 {"b.weight", QW_QUANT_FLOAT},        {"thinker.b.weight", QW_QUANT_FLOAT},
                 {"c.weight", QW_QUANT_W4A8_DYNAMIC}, {"c.weight_packed", QW_QUANT_W4A8_DYNAMIC},
                 {"d.weight", QW_QUANT_OTHER},        {"lm_head.weight", QW_QUANT_W8A16}};
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        const qw_quant_entry *e = qw_quant_description_entry(&d, cases[i].name);
        assert_non_null(e);
        assert_int_equal(e->type, cases[i].type);
    }
    assert_string_equal(qw_quant_description_entry(&d, "d.weight")->text, "NF4");
    assert_null(qw_quant_description_entry(&d, "e.weight"));
    assert_null(qw_quant_description_entry(&d, "metadata"));
    assert_string_equal(d.version, "1.0.0");
    assert_int_equal(d.group_size, 64);
    assert_true(d.has_kv_scales);
    qw_quant_description_release(&d);
}

static void global_keys_under_thinker(void **state)
{
    (void)state;
    qw_error err;
    qw_quant_description d;
    assert_ok(parse(&d, "{\"thinker.version\": \"1.0.0\", \"thinker.group_size\": 0}", &err));
    assert_string_equal(d.version, "1.0.0");
    assert_int_equal(d.group_size, 0);
    qw_quant_description_release(&d);
    assert_ok(parse(&d, "{\"version\": null}", &err));
    assert_null(d.version);
    assert_int_equal(d.group_size, -1);
    assert_false(d.has_kv_scales);
    qw_quant_description_release(&d);
}

static void bad_ones_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {{"[]", "object"},
                 {"{\"a.weight\": 1}", "a.weight"},
                 {"{\"group_size\": -1}", "group_size"},
                 {"{\"version\": 1}", "version"},
                 {"{\"a.weight\": \"FLOAT\", \"thinker.a.weight\": \"W8A8\"}", "twice"}};
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_error err;
        qw_quant_description d;
        assert_fails(parse(&d, cases[i].text, &err), QW_ERR_FORMAT, cases[i].part);
    }
}

static void shortages_leave_nothing(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    for (uint64_t n = 1; n < 200; n++) {
        qw_error err;
        qw_quant_description d;
        qw_mem_fail_at(n);
        qw_status st = parse(&d, "{\"a.weight\": \"W8A8\", \"b.weight\": \"X\"}", &err);
        bool failed = qw_mem_fail_at(0) == 0;
        if (st == QW_OK) qw_quant_description_release(&d);
        assert_int_equal(qw_mem_live(), live);
        if (!failed) {
            assert_ok(st);
            return;
        }
    }
    fail_msg("allocations without end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_in_all_spellings),
        cmocka_unit_test(global_keys_under_thinker),
        cmocka_unit_test(bad_ones_are_refused),
        cmocka_unit_test(shortages_leave_nothing),
    };
    qw_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
