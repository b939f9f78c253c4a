#include "test_util.h"

#include <math.h>

#include "base/file.h"
#include "base/mem.h"
#include "format/config_json.h"
#include "format/generation_config.h"
#include "format/hf_overrides.h"
#include "format/json.h"
#include "format/model_config.h"

static qw_error err;

#define TINY QW_TEST_DATA "/tiny-models/"

// A config with every key that is required, and `extra` members ("," in front, or "").
#define BASE                                                                                       \
    "\"architectures\":[\"Qwen3ForCausalLM\"],\"hidden_size\":64,\"intermediate_size\":96,"        \
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2"
#define THETA ",\"rope_theta\":1000000"
#define CONFIG(extra) "{" BASE extra "}"

static qw_status parse(qw_model_config *c, const char *text, const char *overrides)
{
    return qw_model_config_parse(c, text, strlen(text), overrides, &err);
}

static void expect_error(const char *text, qw_status want, const char *part)
{
    qw_model_config c;
    size_t live = qw_mem_live();
    assert_fails(parse(&c, text, NULL), want, part);
    assert_int_equal(qw_mem_live(), live);
}

static void expect_near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fabs(want))) fail_msg("got %.12g, expected %.12g", got, want);
}

static void assert_same_rope(const qw_rope_config *a, const qw_rope_config *b)
{
    assert_int_equal(a->rope_type, b->rope_type);
    assert_true(a->rope_theta == b->rope_theta);
    assert_true(a->factor == b->factor);
    assert_int_equal(a->original_max_position_embeddings, b->original_max_position_embeddings);
    assert_true(a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow);
    assert_int_equal(a->truncate, b->truncate);
}

// ---- published files ----

// qwen3-dense 1.1, spelled as the published files are.
static void published_sizes(void **state)
{
    (void)state;
    static const struct {
        int32_t h, i, l, nh;
        bool tied;
    } sizes[] = {
        {1024, 3072, 28, 16, true},   {2048, 6144, 28, 16, true},   {2560, 9728, 36, 32, true},
        {4096, 12288, 36, 32, false}, {5120, 17408, 40, 40, false}, {5120, 25600, 64, 64, false},
    };
    for (size_t k = 0; k < QW_ARRAY_LEN(sizes); k++) {
        char text[2000];
        snprintf(text, sizeof text,
                 "{\"architectures\":[\"Qwen3ForCausalLM\"],\"attention_bias\":false,"
                 "\"attention_dropout\":0.0,\"bos_token_id\":151643,\"eos_token_id\":151645,"
                 "\"head_dim\":128,\"hidden_act\":\"silu\",\"hidden_size\":%d,"
                 "\"initializer_range\":0.02,\"intermediate_size\":%d,"
                 "\"max_position_embeddings\":40960,\"max_window_layers\":%d,"
                 "\"model_type\":\"qwen3\",\"num_attention_heads\":%d,\"num_hidden_layers\":%d,"
                 "\"num_key_value_heads\":8,\"rms_norm_eps\":1e-06,\"rope_scaling\":null,"
                 "\"rope_theta\":1000000,\"sliding_window\":null,\"tie_word_embeddings\":%s,"
                 "\"torch_dtype\":\"bfloat16\",\"transformers_version\":\"4.51.0\","
                 "\"use_cache\":true,\"use_sliding_window\":false,\"vocab_size\":151936}",
                 sizes[k].h, sizes[k].i, sizes[k].l, sizes[k].nh, sizes[k].l,
                 sizes[k].tied ? "true" : "false");
        qw_model_config c;
        assert_ok(parse(&c, text, NULL));
        assert_string_equal(c.architecture, "Qwen3ForCausalLM");
        assert_int_equal(c.hidden_size, sizes[k].h);
        assert_int_equal(c.intermediate_size, sizes[k].i);
        assert_int_equal(c.num_hidden_layers, sizes[k].l);
        assert_int_equal(c.num_attention_heads, sizes[k].nh);
        assert_int_equal(c.num_key_value_heads, 8);
        assert_int_equal(c.head_dim, 128);
        assert_int_equal(c.vocab_size, 151936);
        assert_int_equal(c.max_position_embeddings, 40960);
        assert_true(c.rms_norm_eps == 1e-6);
        assert_int_equal(c.tie_word_embeddings, sizes[k].tied);
        assert_false(c.attention_bias);
        assert_true(c.has_torch_dtype);
        assert_int_equal(c.torch_dtype, QW_DTYPE_BF16);
        assert_int_equal(c.rope.rope_type, QW_ROPE_DEFAULT);
        assert_true(c.rope.rope_theta == 1e6 && c.rope.factor == 1);
        assert_int_equal(c.n_eos_token_ids, 1);
        assert_int_equal(c.eos_token_ids[0], 151645);
        assert_string_equal(c.warnings, "");
        assert_int_equal(qw_model_config_max_len(&c), 40960);
        assert_true(qw_model_config_attention_factor(&c) == 1);
        qw_model_config_release(&c);
    }
}

static void tiny_models(void **state)
{
    (void)state;
    qw_model_config c;
    assert_ok(qw_model_config_load(&c, TINY "untied-sharded", NULL, &err));
    assert_int_equal(c.num_attention_heads, 5);
    assert_int_equal(c.num_key_value_heads, 1);
    assert_int_equal(c.head_dim, 64);
    assert_false(c.tie_word_embeddings);
    qw_model_config_release(&c);
    assert_ok(qw_model_config_load(&c, QW_SOURCE_DIR "/models/tiny", NULL, &err));
    assert_string_equal(c.warnings, ""); // layer_types, "dtype" and a null rope_scaling
    assert_true(c.has_torch_dtype);
    qw_model_config_release(&c);
    assert_fails(qw_model_config_load(&c, TINY "nowhere", NULL, &err), QW_ERR_IO,
                 "nowhere/config.json'");
}

static void defaults(void **state)
{
    (void)state;
    qw_model_config c;
    assert_ok(parse(&c, CONFIG(THETA), NULL));
    assert_int_equal(c.head_dim, 128);
    assert_int_equal(c.vocab_size, 151936);
    assert_int_equal(c.max_position_embeddings, 32768);
    assert_true(c.rms_norm_eps == 1e-6);
    assert_false(c.tie_word_embeddings);
    assert_false(c.attention_bias);
    assert_false(c.has_torch_dtype);
    assert_int_equal(c.n_eos_token_ids, 0);
    assert_string_equal(c.warnings, "");
    qw_model_config_release(&c);

    assert_ok(parse(&c, CONFIG(""), NULL));
    assert_true(c.rope.rope_theta == 10000);
    assert_non_null(strstr(c.warnings, "rope_theta is missing; using 10000"));
    qw_model_config_release(&c);

    // num_key_value_heads: null means as many as query heads, absent means the class default 32.
    static const char nulls[] = "{\"architectures\":[\"Qwen3ForCausalLM\"],\"hidden_size\":64,"
                                "\"intermediate_size\":96,\"num_hidden_layers\":2,"
                                "\"num_attention_heads\":64,\"rope_theta\":1e6,\"head_dim\":null,"
                                "\"attention_bias\":true,\"eos_token_id\":[7,9]%s}";
    char text[500];
    snprintf(text, sizeof text, nulls, ",\"num_key_value_heads\":null");
    assert_ok(parse(&c, text, NULL));
    assert_int_equal(c.num_key_value_heads, 64);
    assert_int_equal(c.head_dim, 128);
    assert_true(c.attention_bias);
    assert_int_equal(c.n_eos_token_ids, 2);
    assert_int_equal(c.eos_token_ids[1], 9);
    qw_model_config_release(&c);
    snprintf(text, sizeof text, nulls, "");
    assert_ok(parse(&c, text, NULL));
    assert_int_equal(c.num_key_value_heads, 32);
    qw_model_config_release(&c);
}

// ---- rope ----

static void yarn_spellings_agree(void **state)
{
    (void)state;
    qw_model_config v4, v5;
    qw_buf text;
    qw_buf_init(&text, 1 << 16);
    assert_ok(qw_file_read(&text, TINY "yarn/config.v5.json", &err));
    assert_ok(qw_model_config_load(&v4, TINY "yarn", NULL, &err));
    assert_ok(parse(&v5, text.data, NULL));
    assert_int_equal(v4.rope.rope_type, QW_ROPE_YARN);
    assert_true(v4.rope.factor == 4 && v4.rope.rope_theta == 1e6);
    assert_int_equal(v4.rope.original_max_position_embeddings, 64);
    assert_true(v4.rope.beta_fast == 32 && v4.rope.beta_slow == 1 && v4.rope.truncate);
    assert_same_rope(&v4.rope, &v5.rope);
    assert_int_equal(qw_model_config_max_len(&v4), 256); // O * factor, not 80
    expect_near(qw_model_config_attention_factor(&v4), 1.1386294361119891);
    assert_int_equal(v5.torch_dtype, QW_DTYPE_BF16);
    assert_string_equal(v4.warnings, "");
    assert_string_equal(v5.warnings, "");
    qw_model_config_release(&v4);
    qw_model_config_release(&v5);
    qw_buf_release(&text);
}

#define YARN(members) ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4" members "}"

static void rope_members(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        qw_rope_type type;
        double theta, factor;
        int32_t original, max_len;
        double m;
        const char *warning;
    } cases[] = {
        {CONFIG(THETA YARN("")), QW_ROPE_YARN, 1e6, 4, 32768, 131072, 1.1386294361119891, ""},
        {CONFIG(THETA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}"), QW_ROPE_LINEAR,
         1e6, 2.5, 32768, 81920, 1, ""},
        // both keys: rope_type wins; both spellings: rope_parameters wins
        {CONFIG(THETA ",\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"default\"}"),
         QW_ROPE_DEFAULT, 1e6, 1, 32768, 32768, 1, ""},
        {CONFIG(THETA YARN("") ",\"rope_parameters\":{\"rope_theta\":5e6}"), QW_ROPE_DEFAULT, 5e6,
         1, 32768, 32768, 1, ""},
        // keyed by layer type
        {CONFIG(",\"rope_parameters\":{\"sliding_attention\":{\"rope_theta\":1e4},"
                "\"full_attention\":{\"rope_type\":\"linear\",\"factor\":2,\"rope_theta\":5e6}}"),
         QW_ROPE_LINEAR, 5e6, 2, 32768, 65536, 1, ""},
        {CONFIG(THETA YARN(",\"attention_factor\":1.25,\"attn_factor\":3")), QW_ROPE_YARN, 1e6, 4,
         32768, 131072, 1.25, ""},
        {CONFIG(THETA YARN(",\"attn_factor\":3")), QW_ROPE_YARN, 1e6, 4, 32768, 131072,
         3 * 1.1386294361119891, ""},
        {CONFIG(THETA YARN(",\"mscale\":2,\"mscale_all_dim\":0.5")), QW_ROPE_YARN, 1e6, 4, 32768,
         131072, 1.2772588722239782 / 1.0693147180559945, ""},
        {CONFIG(THETA YARN(",\"mscale\":2,\"attention_factor\":null")), QW_ROPE_YARN, 1e6, 4, 32768,
         131072, 1.1386294361119891, ""},
        {CONFIG(THETA ",\"rope_scaling\":{\"factor\":4}"), QW_ROPE_DEFAULT, 1e6, 1, 32768, 32768, 1,
         "a factor but no rope_type"},
        {CONFIG(THETA ",\"rope_scaling\":{\"rope_type\":\"yarn\","
                      "\"original_max_position_embeddings\":8192}"),
         QW_ROPE_YARN, 1e6, 4, 8192, 32768, 1.1386294361119891, "have no factor"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_model_config c;
        assert_ok(parse(&c, cases[i].text, NULL));
        assert_int_equal(c.rope.rope_type, cases[i].type);
        expect_near(c.rope.rope_theta, cases[i].theta);
        expect_near(c.rope.factor, cases[i].factor);
        assert_int_equal(c.rope.original_max_position_embeddings, cases[i].original);
        assert_int_equal(qw_model_config_max_len(&c), cases[i].max_len);
        expect_near(qw_model_config_attention_factor(&c), cases[i].m);
        if (*cases[i].warning)
            assert_non_null(strstr(c.warnings, cases[i].warning));
        else
            assert_string_equal(c.warnings, "");
        qw_model_config_release(&c);
    }
    qw_model_config c;
    assert_ok(parse(&c,
                    CONFIG(THETA YARN(",\"beta_fast\":16,\"beta_slow\":2,\"truncate\":false,"
                                      "\"extrapolation_factor\":0.5")),
                    NULL));
    assert_true(c.rope.beta_fast == 16 && c.rope.beta_slow == 2 && !c.rope.truncate);
    assert_true(c.rope.extrapolation_factor == 0.5);
    qw_model_config_release(&c);
}

static void rope_errors(void **state)
{
    (void)state;
    static const char *const unsupported[] = {"dynamic", "longrope", "llama3", "su", "mrope", ""};
    for (size_t i = 0; i < QW_ARRAY_LEN(unsupported); i++) {
        char text[500], want[100];
        snprintf(text, sizeof text, CONFIG(THETA ",\"rope_scaling\":{\"rope_type\":\"%s\"}"),
                 unsupported[i]);
        snprintf(want, sizeof want, "'rope_scaling': rope_type '%s' is not supported",
                 unsupported[i]);
        expect_error(text, QW_ERR_UNSUPPORTED, want);
    }
    expect_error(CONFIG(THETA ",\"rope_parameters\":{\"rope_type\":\"linear\"}"), QW_ERR_FORMAT,
                 "'rope_parameters': 'factor' is missing");
    expect_error(CONFIG(THETA ",\"rope_parameters\":{\"rope_type\":\"yarn\"}"), QW_ERR_FORMAT,
                 "'factor' is missing");
    expect_error(CONFIG(THETA ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":0.5}"),
                 QW_ERR_FORMAT, "'rope_scaling': 'factor' must be from 1 to 1e+06, got 0.5");
    expect_error(CONFIG(THETA ",\"rope_scaling\":[4]"), QW_ERR_FORMAT,
                 "'rope_scaling' must be an object, got array");
    expect_error(CONFIG(THETA YARN(",\"beta_fast\":0")), QW_ERR_FORMAT, "'beta_fast' must be from");
    expect_error(CONFIG(THETA YARN(",\"beta_slow\":33")), QW_ERR_FORMAT,
                 "'beta_fast' (32) is less than 'beta_slow' (33)");
    expect_error(CONFIG(THETA YARN(",\"original_max_position_embeddings\":0")), QW_ERR_FORMAT,
                 "'original_max_position_embeddings' must be from 1");
    expect_error(CONFIG(THETA YARN(",\"original_max_position_embeddings\":2147483647")),
                 QW_ERR_FORMAT, "more than the largest position");
    expect_error(CONFIG(THETA ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":\"4\"}"),
                 QW_ERR_FORMAT, "'factor' must be a number, got string");
    expect_error(CONFIG(",\"rope_theta\":0"), QW_ERR_FORMAT, "'rope_theta' must be from 2");
    expect_error(CONFIG(",\"rope_theta\":-1e6"), QW_ERR_FORMAT, "'rope_theta' must be from 2");
}

// ---- overrides ----

#define V4_YARN                                                                                    \
    CONFIG(THETA ",\"max_position_embeddings\":40960,\"rope_scaling\":{\"rope_type\":\"yarn\","    \
                 "\"factor\":2,\"original_max_position_embeddings\":32768}")
#define V5_YARN                                                                                    \
    CONFIG(",\"max_position_embeddings\":40960,\"rope_parameters\":{\"rope_type\":\"yarn\","       \
           "\"factor\":2,\"original_max_position_embeddings\":32768,\"rope_theta\":1000000}")
#define PLAIN CONFIG(THETA ",\"max_position_embeddings\":40960,\"rope_scaling\":null")

static void rope_overrides(void **state)
{
    (void)state;
    static const char kept[] = "--hf-overrides gives no rope_theta; keeping that of config.json, ";
    static const char recipe[] = // vLLM-Ascend, long context
        "{\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":1000000,\"factor\":4,"
        "\"original_max_position_embeddings\":131072}}";
    static const char model_card[] = // no theta, old spelling
        "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,"
        "\"original_max_position_embeddings\":32768}}";
    static const struct {
        const char *text, *overrides;
        qw_rope_type type;
        double theta, factor;
        int32_t original, max_len;
        const char *warning;
    } cases[] = {
        {PLAIN, recipe, QW_ROPE_YARN, 1e6, 4, 131072, 524288, ""},
        {V4_YARN, recipe, QW_ROPE_YARN, 1e6, 4, 131072, 524288, ""},
        {V5_YARN, recipe, QW_ROPE_YARN, 1e6, 4, 131072, 524288, ""},
        {PLAIN, model_card, QW_ROPE_YARN, 1e6, 4, 32768, 131072, kept},
        {V4_YARN, model_card, QW_ROPE_YARN, 1e6, 4, 32768, 131072, kept},
        {V5_YARN, model_card, QW_ROPE_YARN, 1e6, 4, 32768, 131072, kept},
        // a nightly test's factor; strings where numbers are meant
        {V5_YARN,
         "{\"rope_parameters\":{\"type\":\"yarn\",\"factor\":\"4.3\","
         "\"original_max_position_embeddings\":\"32768\",\"rope_theta\":\"5e6\"}}",
         QW_ROPE_YARN, 5e6, 4.3, 32768, 140902, ""},
        // theta beside the object, and alone over each spelling
        {V5_YARN, "{\"rope_theta\":5000000,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}",
         QW_ROPE_LINEAR, 5e6, 2, 40960, 81920, ""},
        {V4_YARN, "{\"rope_theta\":5000000}", QW_ROPE_YARN, 5e6, 2, 32768, 65536, ""},
        {V5_YARN, "{\"rope_theta\":\"5000000\"}", QW_ROPE_YARN, 5e6, 2, 32768, 65536, ""},
        {V5_YARN, "{\"rope_theta\":null}", QW_ROPE_YARN, 1e6, 2, 32768, 65536, ""},
        // off
        {V4_YARN, "{\"rope_scaling\":null}", QW_ROPE_DEFAULT, 1e6, 1, 40960, 40960, ""},
        {V5_YARN, "{\"rope_scaling\":null}", QW_ROPE_DEFAULT, 1e6, 1, 40960, 40960, ""},
        {V5_YARN, "{\"rope_parameters\":null}", QW_ROPE_DEFAULT, 1e6, 1, 40960, 40960, ""},
        // by layer type: theta goes inside
        {V5_YARN,
         "{\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":2}}}",
         QW_ROPE_LINEAR, 1e6, 2, 40960, 81920, kept},
        // no theta anywhere
        {CONFIG(""), model_card, QW_ROPE_YARN, 1e4, 4, 32768, 131072, "rope_theta is missing"},
        // a partial object replaces the old one
        {V5_YARN, "{\"rope_parameters\":{\"factor\":4}}", QW_ROPE_DEFAULT, 1e6, 1, 40960, 40960,
         "a factor but no rope_type"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_model_config c;
        assert_ok(parse(&c, cases[i].text, cases[i].overrides));
        if (c.rope.rope_type != cases[i].type || c.rope.rope_theta != cases[i].theta ||
            c.rope.factor != cases[i].factor ||
            c.rope.original_max_position_embeddings != cases[i].original)
            fail_msg("case %zu: type %d, theta %g, factor %g, O %d", i, (int)c.rope.rope_type,
                     c.rope.rope_theta, c.rope.factor, c.rope.original_max_position_embeddings);
        assert_int_equal(qw_model_config_max_len(&c), cases[i].max_len);
        if (*cases[i].warning ? !strstr(c.warnings, cases[i].warning) : *c.warnings != '\0')
            fail_msg("case %zu: warnings '%s'", i, c.warnings);
        qw_model_config_release(&c);
    }
}

static void other_overrides(void **state)
{
    (void)state;
    qw_model_config c;
    assert_ok(qw_model_config_load(&c, TINY "tied",
                                   "{\"max_position_embeddings\":\"1024\",\"head_dim\":64,"
                                   "\"tie_word_embeddings\":false,\"rms_norm_eps\":\"1e-5\","
                                   "\"eos_token_id\":[5,\"6\"],\"hidden_acct\":1,"
                                   "\"text_config\":{\"x\":1}}",
                                   &err));
    assert_int_equal(c.max_position_embeddings, 1024);
    assert_int_equal(c.head_dim, 64);
    assert_false(c.tie_word_embeddings);
    assert_true(c.rms_norm_eps == 1e-5);
    assert_int_equal(c.n_eos_token_ids, 2);
    assert_int_equal(c.eos_token_ids[1], 6);
    assert_non_null(strstr(c.warnings, "--hf-overrides sets \"hidden_acct\", which config.json "
                                       "does not have"));
    qw_model_config_release(&c);

    // A null removes.
    assert_ok(parse(&c, CONFIG(THETA ",\"quantization_config\":{\"quant_method\":\"fp8\"}"),
                    "{\"quantization_config\":null}"));
    qw_model_config_release(&c);

    assert_fails(parse(&c, PLAIN, "[]"), QW_ERR_USAGE, "--hf-overrides must be a JSON object");
    assert_fails(parse(&c, PLAIN, "{"), QW_ERR_USAGE, "--hf-overrides: no valid JSON");
    assert_fails(parse(&c, PLAIN, "{\"rope_parameters\":4}"), QW_ERR_FORMAT,
                 "'rope_parameters' must be an object, got integer");
    assert_fails(qw_model_config_load(&c, TINY "tied", "{\"head_dim\":\"many\"}", &err),
                 QW_ERR_FORMAT, "/config.json' with --hf-overrides: 'head_dim' must be an integer");
}

// Nested configs merge, rope settings inside them too; other objects replace.
static void nested_overrides(void **state)
{
    (void)state;
    static const char text[] = "{\"a_config\":{\"x\":1,\"y\":{\"p\":1},\"b_config\":{\"u\":1},"
                               "\"rope_parameters\":{\"rope_theta\":5}},\"s\":1,"
                               "\"quantization_config\":{\"bits\":4}}";
    static const char overrides[] =
        "{\"a_config\":{\"y\":{\"q\":\"2\"},\"b_config\":{\"v\":2},"
        "\"rope_parameters\":{\"factor\":2}},\"s\":{\"t\":1},\"c_config\":{\"z\":1},"
        "\"quantization_config\":{\"mode\":1}}";
    json_t *config, *o;
    assert_ok(qw_json_parse(&config, text, sizeof text - 1, "config", &err));
    assert_ok(qw_config_parse_overrides(&o, overrides, "--hf-overrides", &err));
    qw_buf warnings, got;
    qw_buf_init(&warnings, 1000);
    qw_buf_init(&got, 1000);
    assert_ok(qw_hf_overrides_apply(config, o, &warnings, &err));
    qw_json_write(&got, config, true);
    assert_string_equal(got.data,
                        "{\"a_config\":{\"x\":1,\"y\":{\"q\":2},\"b_config\":{\"u\":1,\"v\":2},"
                        "\"rope_parameters\":{\"factor\":2,\"rope_theta\":5}},\"s\":{\"t\":1},"
                        "\"quantization_config\":{\"mode\":1},\"c_config\":{\"z\":1}}");
    assert_non_null(strstr(warnings.data, "keeping that of config.json, 5\n"));
    qw_buf_release(&got);
    qw_buf_release(&warnings);
    json_decref(o);
    json_decref(config);
}

// ---- refusals ----

static void refused_models(void **state)
{
    (void)state;
    expect_error("{\"architectures\":[\"Qwen3ForSequenceClassification\"]}", QW_ERR_UNSUPPORTED,
                 "model class 'Qwen3ForSequenceClassification' is not supported; "
                 "Qwen3ForCausalLM and Qwen3MoeForCausalLM are");
    expect_error("{\"architectures\":[7]}", QW_ERR_UNSUPPORTED, "model class 'integer'");
    expect_error("{}", QW_ERR_FORMAT, "'architectures' must be a list");
    expect_error("{\"architectures\":[]}", QW_ERR_FORMAT, "'architectures' must be a list");
    expect_error(CONFIG(THETA ",\"hidden_act\":\"gelu\""), QW_ERR_UNSUPPORTED,
                 "hidden_act 'gelu' is not supported");
    expect_error(CONFIG(THETA ",\"quantization_config\":{\"quant_method\":\"fp8\"}"),
                 QW_ERR_UNSUPPORTED, "quantized with 'fp8'");
    static const char sliding[] = "sliding-window attention is not supported: layer 1 attends only "
                                  "to the last 4096 positions";
    expect_error(CONFIG(THETA ",\"use_sliding_window\":true,\"max_window_layers\":1"),
                 QW_ERR_UNSUPPORTED, sliding);
    expect_error(CONFIG(THETA ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]"),
                 QW_ERR_UNSUPPORTED, sliding);
    expect_error(CONFIG(THETA ",\"layer_types\":[\"full_attention\",\"linear_attention\"]"),
                 QW_ERR_UNSUPPORTED, "layer type 'linear_attention' of layer 1");
    expect_error(CONFIG(THETA ",\"layer_types\":[\"full_attention\"]"), QW_ERR_FORMAT,
                 "'layer_types' must be a list of at least 2 items");
    // Switched on, but no layer is reached; or no window; or the explicit list says otherwise.
    static const char *const fine[] = {
        CONFIG(THETA ",\"use_sliding_window\":true,\"max_window_layers\":2"),
        CONFIG(THETA
               ",\"use_sliding_window\":true,\"max_window_layers\":0,\"sliding_window\":null"),
        CONFIG(THETA ",\"use_sliding_window\":true,\"max_window_layers\":0,"
                     "\"layer_types\":[\"full_attention\",\"full_attention\"]"),
        CONFIG(THETA ",\"use_sliding_window\":false,\"max_window_layers\":0,\"sliding_window\":9"),
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(fine); i++) {
        qw_model_config c;
        assert_ok(parse(&c, fine[i], NULL));
        qw_model_config_release(&c);
    }
}

static void absurd_values(void **state)
{
    (void)state;
#define WITH(members) "{\"architectures\":[\"Qwen3ForCausalLM\"],\"rope_theta\":1e6," members "}"
    static const struct {
        const char *text, *part;
    } cases[] = {
        {WITH("\"hidden_size\":64"), "'intermediate_size' is missing"},
        {WITH("\"hidden_size\":null"), "'hidden_size' is missing"},
        {WITH("\"hidden_size\":-64"), "'hidden_size' must be from 1 to 2147483647, got -64"},
        {WITH("\"hidden_size\":64.5"), "'hidden_size' must be an integer"},
        {WITH("\"hidden_size\":\"64\""), "'hidden_size' must be an integer, got string"},
        {WITH("\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":1000000000000"),
         "'num_hidden_layers' must be from 1 to 2147483647, got 1000000000000"},
        {WITH("\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"
              "\"num_attention_heads\":0"),
         "'num_attention_heads' must be from 1"},
        {WITH("\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"
              "\"num_attention_heads\":4,\"num_key_value_heads\":0"),
         "'num_key_value_heads' must be from 1"},
        {WITH("\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"
              "\"num_attention_heads\":4,\"num_key_value_heads\":3"),
         "'num_key_value_heads' (3) must divide 'num_attention_heads' (4)"},
        {WITH("\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"
              "\"num_attention_heads\":4"),
         "'num_key_value_heads' (32) must divide"},
        {WITH("\"hidden_size\":2147483647,\"intermediate_size\":2147483647,"
              "\"num_hidden_layers\":2147483647,\"num_attention_heads\":32"),
         "make more weights than can be counted"},
        {CONFIG(THETA ",\"head_dim\":127"), "'head_dim' must be even, got 127"},
        {CONFIG(THETA ",\"head_dim\":2147483646"), "times 'head_dim' (2147483646) is too large"},
        {CONFIG(THETA ",\"vocab_size\":0"), "'vocab_size' must be from 1"},
        {CONFIG(THETA ",\"rms_norm_eps\":0"), "'rms_norm_eps' must be from"},
        {CONFIG(THETA ",\"rms_norm_eps\":-1e-6"), "'rms_norm_eps' must be from"},
        {CONFIG(THETA ",\"rms_norm_eps\":NaN"), "no valid JSON"},
        {CONFIG(THETA ",\"rms_norm_eps\":1e999"), "no valid JSON"},
        {CONFIG(THETA ",\"tie_word_embeddings\":1"), "'tie_word_embeddings' must be true or false"},
        {CONFIG(THETA ",\"eos_token_id\":-1"), "'eos_token_id' must be a token id"},
        {CONFIG(THETA ",\"eos_token_id\":[1,2.0]"), "'eos_token_id' must be a token id"},
        {CONFIG(THETA ",\"eos_token_id\":[[1]]"), "'eos_token_id' must be a token id"},
        {CONFIG(THETA ",\"hidden_size\":64"), "duplicate object key 'hidden_size'"},
        {"[]", "content must be a JSON object, got array"},
        {"", "no valid JSON"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++)
        expect_error(cases[i].text, QW_ERR_FORMAT, cases[i].part);
}

// ---- experts ----

#define MOE                                                                                        \
    "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"hidden_size\":64,\"intermediate_size\":96,"    \
    "\"num_hidden_layers\":6,\"num_attention_heads\":4,\"num_key_value_heads\":2" THETA
#define SOME MOE ",\"num_experts\":8,\"num_experts_per_tok\":2,\"moe_intermediate_size\":32"

static void expect_sparse(const char *text, const char *layers)
{
    qw_model_config c;
    assert_ok(parse(&c, text, NULL));
    assert_string_equal(c.architecture, "Qwen3MoeForCausalLM");
    int n = 0;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(qw_model_config_is_sparse(&c, i), layers[i] == 'x');
        n += layers[i] == 'x';
    }
    assert_int_equal(qw_model_config_n_sparse(&c), n);
    double all = 6 * 64 * (2 * 512 + 2 * 256) + (6 - n) * 3 * 64 * 96;
    assert_true(qw_model_config_layer_weights(&c, 2) ==
                all + n * (2 * 3 * 64 * 32 + 64 * c.num_experts));
    qw_model_config_release(&c);
}

static void expert_layers(void **state)
{
    (void)state;
    expect_sparse(SOME "}", "xxxxxx");
    expect_sparse(SOME ",\"decoder_sparse_step\":2,\"mlp_only_layers\":[3,77]}", "-x---x");
    expect_sparse(SOME ",\"mlp_only_layers\":[0,0,5]}", "-xxxx-");
    expect_sparse(SOME ",\"mlp_only_layers\":null,\"decoder_sparse_step\":7}", "------");
    qw_model_config c;
    assert_ok(parse(&c, MOE ",\"num_experts\":0}", NULL));
    assert_int_equal(qw_model_config_n_sparse(&c), 0);
    qw_model_config_release(&c);
    assert_ok(parse(&c, MOE "}", NULL)); // class defaults
    assert_int_equal(c.num_experts, 128);
    assert_int_equal(c.num_experts_per_tok, 8);
    assert_int_equal(c.moe_intermediate_size, 768);
    assert_false(c.norm_topk_prob);
    qw_model_config_release(&c);
    assert_ok(parse(&c, SOME ",\"norm_topk_prob\":true}", "{\"num_experts\":4}"));
    assert_int_equal(c.num_experts, 4);
    assert_true(c.norm_topk_prob);
    expect_near(qw_model_config_touched_experts(&c, 1), 2);
    expect_near(qw_model_config_touched_experts(&c, 2), 3);
    qw_model_config_release(&c);
    // A dense class does not read them.
    assert_ok(parse(&c, CONFIG(THETA ",\"num_experts\":8"), NULL));
    assert_int_equal(c.num_experts, 0);
    qw_model_config_release(&c);
}

static void expert_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {SOME ",\"mlp_only_layers\":7}", "'mlp_only_layers' must be a list of layers, got integer"},
        {SOME ",\"mlp_only_layers\":[1,-1]}",
         "'mlp_only_layers' must hold numbers of layers; item 1"},
        {SOME ",\"mlp_only_layers\":[1.5]}", "item 0 is none"},
        {SOME ",\"decoder_sparse_step\":0}", "'decoder_sparse_step' must be from 1"},
        {SOME ",\"norm_topk_prob\":1}", "'norm_topk_prob' must be true or false"},
        {MOE ",\"num_experts\":-1}", "'num_experts' must be from 0 to 1024, got -1"},
        {MOE ",\"num_experts\":1025}", "'num_experts' must be from 0 to 1024, got 1025"},
        {MOE ",\"num_experts_per_tok\":0}", "'num_experts_per_tok' must be from 1"},
        {MOE ",\"moe_intermediate_size\":0}", "'moe_intermediate_size' must be from 1"},
        {MOE ",\"num_experts\":4,\"num_experts_per_tok\":5}",
         "'num_experts_per_tok' (5) must be at most 'num_experts' (4)"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++)
        expect_error(cases[i].text, QW_ERR_FORMAT, cases[i].part);
    qw_model_config c;
    assert_fails(parse(&c, MOE ",\"moe_intermediate_size\":2147483647}",
                       "{\"num_hidden_layers\":2147483647,\"num_experts\":1024}"),
                 QW_ERR_FORMAT, "'num_experts' 1024 and 'vocab_size' 151936 make more weights");
}

// ---- generation_config.json ----

static void generation_configs(void **state)
{
    (void)state;
    qw_model_config c;
    qw_generation_config g;
    assert_ok(qw_model_config_load(&c, TINY "tied", NULL, &err)); // eos_token_id 2
    assert_ok(qw_generation_config_load(&g, TINY "tied", NULL, &c, &err));
    assert_true(g.has_do_sample && g.do_sample);
    assert_true(g.has_temperature && g.temperature == 0.6);
    assert_true(g.has_top_k && g.top_k == 20);
    assert_true(g.has_top_p && g.top_p == 0.95);
    assert_false(g.has_min_p || g.has_repetition_penalty || g.has_max_new_tokens);
    assert_int_equal(g.n_eos_token_ids, 2);
    assert_true(qw_generation_config_is_eos(&g, 2) && qw_generation_config_is_eos(&g, 1));
    assert_false(qw_generation_config_is_eos(&g, 3));
    qw_generation_config_release(&g);

    // No file: nothing is set, and config.json names the end.
    assert_ok(qw_generation_config_load(&g, TINY "yarn", NULL, &c, &err));
    assert_false(g.has_do_sample || g.has_temperature || g.has_top_k || g.has_top_p);
    assert_int_equal(g.n_eos_token_ids, 1);
    assert_true(qw_generation_config_is_eos(&g, 2));
    qw_generation_config_release(&g);

    // Overrides on top of a file, or of none.
    assert_ok(qw_generation_config_load(&g, TINY "tied",
                                        "{\"temperature\":\"1.5\",\"max_new_tokens\":7,"
                                        "\"top_k\":null,\"min_p\":0.1}",
                                        &c, &err));
    assert_true(g.temperature == 1.5 && g.top_p == 0.95 && g.has_min_p && g.min_p == 0.1);
    assert_false(g.has_top_k);
    assert_true(g.has_max_new_tokens && g.max_new_tokens_overridden);
    assert_int_equal(g.max_new_tokens, 7);
    qw_generation_config_release(&g);

    static const char base[] = "{\"do_sample\":false,\"eos_token_id\":9,\"max_new_tokens\":2048,"
                               "\"repetition_penalty\":1.05,\"transformers_version\":\"4.51.0\"}";
    assert_ok(qw_generation_config_parse(&g, base, sizeof base - 1, NULL, &c, &err));
    assert_true(g.has_do_sample && !g.do_sample);
    assert_true(g.has_max_new_tokens && !g.max_new_tokens_overridden);
    assert_true(g.repetition_penalty == 1.05);
    assert_int_equal(g.n_eos_token_ids, 1);
    assert_int_equal(g.eos_token_ids[0], 9);
    qw_generation_config_release(&g);
    assert_ok(qw_generation_config_parse(&g, "{\"eos_token_id\":[]}", 19, NULL, &c, &err));
    assert_int_equal(g.eos_token_ids[0], 2);
    qw_generation_config_release(&g);
    qw_model_config_release(&c);
}

static void generation_config_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{\"temperature\":-1}", "'temperature' must be from 0"},
        {"{\"temperature\":\"hot\"}", "'temperature' must be a number"},
        {"{\"top_p\":0}", "'top_p' must be above 0"},
        {"{\"top_p\":1.5}", "'top_p' must be from 0 to 1"},
        {"{\"top_k\":-2}", "'top_k' must be from -1"},
        {"{\"min_p\":2}", "'min_p' must be from 0 to 1"},
        {"{\"repetition_penalty\":0}", "'repetition_penalty' must be above 0"},
        {"{\"max_new_tokens\":0}", "'max_new_tokens' must be from 1"},
        {"{\"do_sample\":1}", "'do_sample' must be true or false"},
        {"{\"eos_token_id\":\"x\"}", "'eos_token_id' must be a token id"},
        {"3", "content must be a JSON object"},
    };
    qw_model_config c = {0};
    qw_generation_config g;
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++)
        assert_fails(
            qw_generation_config_parse(&g, cases[i].text, strlen(cases[i].text), NULL, &c, &err),
            QW_ERR_FORMAT, cases[i].part);
    assert_fails(qw_generation_config_parse(&g, "{}", 2, "7", &c, &err), QW_ERR_USAGE,
                 "--override-generation-config must be a JSON object");
    assert_fails(qw_generation_config_load(&g, TINY "tied", "{\"top_p\":2}", &c, &err),
                 QW_ERR_FORMAT,
                 "/generation_config.json' with --override-generation-config: 'top_p'");
}

static void out_of_memory(void **state)
{
    (void)state;
    static const char overrides[] =
        "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":\"4\"},\"eos_token_id\":[1,2],"
        "\"nothing\":{\"a\":[\"1\"]},\"rope_theta\":null}";
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    int n_failures = -1;
    for (uint64_t n = 1; st != QW_OK; n++, n_failures++) {
        qw_model_config c = {0};
        qw_generation_config g;
        qw_mem_fail_at(n);
        st = qw_model_config_load(&c, TINY "yarn", overrides, &err);
        if (st == QW_OK)
            st = qw_generation_config_load(&g, TINY "tied", "{\"temperature\":1}", &c, &err);
        qw_mem_fail_at(0);
        if (st == QW_OK) {
            assert_non_null(strstr(c.warnings, "keeping that of config.json, 1000000\n"));
            qw_generation_config_release(&g);
        } else {
            assert_int_equal(st, QW_ERR_NO_MEMORY);
        }
        qw_model_config_release(&c);
        assert_int_equal(qw_mem_live(), live);
    }
    assert_true(n_failures > 50);
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_sizes),
        cmocka_unit_test(tiny_models),
        cmocka_unit_test(defaults),
        cmocka_unit_test(yarn_spellings_agree),
        cmocka_unit_test(rope_members),
        cmocka_unit_test(rope_errors),
        cmocka_unit_test(rope_overrides),
        cmocka_unit_test(other_overrides),
        cmocka_unit_test(nested_overrides),
        cmocka_unit_test(refused_models),
        cmocka_unit_test(absurd_values),
        cmocka_unit_test(expert_layers),
        cmocka_unit_test(expert_errors),
        cmocka_unit_test(generation_configs),
        cmocka_unit_test(generation_config_errors),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
