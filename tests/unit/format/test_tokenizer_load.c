// tokenizer.json and tokenizer_config.json: what is read, what is refused, and how.
#include "test_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "format/tokenizer_internal.h"
#include "unit/format/tokenizer_test.h"

static int init_json(void **state)
{
    (void)state;
    qw_json_init();
    return 0;
}

static qw_status load_texts(qw_tokenizer **out, const char *json, size_t len, const char *config,
                            qw_error *err)
{
    void *image;
    size_t size;
    qw_str text = {json, len}, config_text = qw_str_of(config ? config : "");
    qw_status st = qw_tokenizer_compile(&image, &size, &text, config ? &config_text : NULL, err);
    return st == QW_OK ? qw_tokenizer_from_image(out, image, size, err) : st;
}

// The synthetic file with one change must be refused, in one sentence.
static void refuse(const char *old, const char *new, qw_status want, const char *part)
{
    qw_error err;
    size_t len, live = qw_mem_live();
    char *json = replaced(synthetic_json(&len), &len, old, new);
    qw_tokenizer *t = NULL;
    assert_fails(load_texts(&t, json, len, NULL, &err), want, part);
    assert_null(t);
    assert_null(strchr(err.text, '\n'));
    qw_mem_free(json);
    assert_int_equal(qw_mem_live(), live);
}

static void refuse_config(const char *config, qw_status want, const char *part)
{
    qw_error err;
    size_t len;
    char *json = synthetic_json(&len);
    qw_tokenizer *t = NULL;
    assert_fails(load_texts(&t, json, len, config, &err), want, part);
    assert_null(t);
    qw_mem_free(json);
}

static void pipelines_that_are_not_implemented(void **state)
{
    (void)state;
    const qw_status no = QW_ERR_UNSUPPORTED;
    refuse("\"BPE\"", "\"Unigram\"", no, "model type 'Unigram' is not supported");
    refuse("\"NFC\"", "\"NFKC\"", no, "normalizer 'NFKC' is not supported");
    refuse("\"Sequence\"", "\"Metaspace\"", no, "pre-tokenizer 'Metaspace' is not supported");
    refuse("\"Split\"", "\"Digits\"", no, "pre-tokenizer 'Digits' at place 1 is not supported");
    refuse("\"Isolated\"", "\"Removed\"", no, "behavior 'Removed' is not supported");
    refuse("\"invert\": false", "\"invert\": true", no, "with 'invert' is not supported");
    refuse("\"Regex\"", "\"String\"", no, "without a regular expression");
    refuse("\"use_regex\": false", "\"use_regex\": true", no, "'use_regex' is not supported");
    refuse("\"add_prefix_space\": false", "\"add_prefix_space\": true", no, "'add_prefix_space'");
    refuse("\"post_processor\": {\"type\": \"ByteLevel\"}",
           "\"post_processor\": {\"type\": \"TemplateProcessing\"}", no,
           "post-processor 'TemplateProcessing' is not supported");
    refuse("\"decoder\": {\"type\": \"ByteLevel\"}", "\"decoder\": {\"type\": \"Metaspace\"}", no,
           "decoder 'Metaspace' is not supported");
    refuse("\"dropout\": null", "\"dropout\": 0.1", no, "'dropout' 0.1 is not supported");
    refuse("\"end_of_word_suffix\": \"\"", "\"end_of_word_suffix\": \"</w>\"", no,
           "'end_of_word_suffix'");
    refuse("\\\\p{L}+|", "[a&&b]|", no, "'&&' in a character class");
}

static void broken_files(void **state)
{
    (void)state;
    const qw_status bad = QW_ERR_FORMAT;
    refuse("\"version\"", "version", bad, "tokenizer.json: no valid JSON");
    refuse("{\"version\": ", "[", bad, "no valid JSON");
    refuse("\"vocab\": {", "\"vocab\": [], \"v\": {", bad, "'model.vocab' must be an object");
    refuse("\"model\": {", "\"model\": 5, \"m\": {", bad, "'model' must be an object, got integer");
    refuse("\"decoder\": {\"type\": \"ByteLevel\"}", "\"d\": 0", bad,
           "'decoder' must be an object");
    refuse("\"ab\": 256", "\"ab\": \"x\"", bad,
           "the id of 'ab' in 'model.vocab' must be an integer");
    refuse("\"ab\": 256", "\"ab\": -1", bad, "the id of 'ab' in 'model.vocab' must be");
    refuse("\"ab\": 256", "\"ab\": 99999999", bad, "the id of 'ab' in 'model.vocab' must be");
    refuse("\"ab\": 256", "\"ab\": 257", bad, "'model.vocab' has id 257 twice");
    refuse("\"\\u0041\": 65, ", "", bad, "no entry for byte 0x41");
    refuse("\"merges\": [", "\"merges\": 1, \"m\": [", bad, "'model.merges' must be an array");
    refuse("[\"b\", \"c\"]", "[\"b\"]", bad, "merge 0 in 'model.merges' must be two strings");
    refuse("\"a b\"", "\"a  b\"", bad, "merge 1 in 'model.merges' must be two strings");
    refuse("\"a b\"", "7", bad, "merge 1 in 'model.merges' must be two strings");
    refuse("[\"b\", \"c\"]", "[\"xx\", \"c\"]", bad, "the first part of merge 0");
    refuse("\"a b\"", "\"a xx\"", bad, "the second part of merge 1");
    refuse("\"a b\"", "\"a z\"", bad, "the result of merge 1");
    refuse("\"id\": 262", "\"id\": -3", bad, "added token at place 1: 'id' must be from 0");
    refuse("\"id\": 262, ", "", bad, "added token at place 1: 'id' is missing");
    refuse("\"content\": \"<s>\"", "\"content\": 1", bad, "added token 262 has no content");
    refuse("\"special\": true", "\"special\": 1", bad, "added token 262: 'special' must be true");
    refuse("\"content\": \"<s>\"", "\"content\": \"abc\"", bad,
           "added token 262 is in 'model.vocab' with id 258");
    refuse("\"id\": 262", "\"id\": 258", bad, "id 258 belongs to two different tokens");
    refuse("\"content\": \"lr\"", "\"content\": \"<s>\"", bad, "'<s>' has two ids, 262 and 264");
    refuse("\\\\p{L}+|", "(", bad, "the pre-tokenizer's pattern is broken");
}

static void broken_config(void **state)
{
    (void)state;
    const qw_status bad = QW_ERR_FORMAT;
    refuse_config("[]", bad, "tokenizer_config.json must hold an object");
    refuse_config("{", bad, "tokenizer_config.json: no valid JSON");
    refuse_config("{\"eos_token\": 5}", bad, "'eos_token' must be a string");
    refuse_config("{\"model_max_length\": \"x\"}", bad, "'model_max_length' must be a number");
    refuse_config("{\"added_tokens_decoder\": []}", bad,
                  "'added_tokens_decoder' must be an object");
    refuse_config("{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}", bad,
                  "'x' in 'added_tokens_decoder' must be an id");
    refuse_config("{\"added_tokens_decoder\": {\"300\": {}}}", bad,
                  "added token 300 has no content");
    refuse_config("{\"added_tokens_decoder\": {\"300\": {\"content\": \"<s>\"}}}", bad,
                  "'<s>' has two ids, 262 and 300");
}

static void both_files_count(void **state)
{
    (void)state;
    qw_error err;
    size_t len;
    char *json = synthetic_json(&len);
    qw_tokenizer *t;
    assert_ok(load_texts(
        &t, json, len,
        "{\"added_tokens_decoder\": {\"262\": {\"content\": \"<s>\", \"special\": false},"
        " \"270\": {\"content\": \"<new>\", \"special\": true}}, \"eos_token\": \"<new>\","
        " \"bos_token\": {\"content\": \"ab\"}, \"pad_token\": \"not a token\","
        " \"model_max_length\": 1000000000000000019884624838656}",
        &err));
    const qw_tokenizer_info *info = qw_tokenizer_get_info(t);
    assert_int_equal(info->n_ids, 271);
    assert_int_equal(info->eos_id, 270);
    assert_int_equal(info->bos_id, 256);
    assert_int_equal(info->pad_id, -1);
    assert_true(qw_str_is(info->pad, "not a token"));
    assert_int_equal(info->model_max_length, 0);
    assert_true(qw_tokenizer_is_added(t, 262) && !qw_tokenizer_is_special(t, 262));
    assert_true(qw_tokenizer_is_special(t, 270));
    assert_null(qw_tokenizer_token_bytes(t, 269).ptr);
    assert_ids(t, "<s><new>a", 262, 270, 'a');
    qw_tokenizer_close(t);
    // Without a configuration nothing is known about special tokens.
    assert_ok(load_texts(&t, json, len, NULL, &err));
    assert_int_equal(qw_tokenizer_get_info(t)->eos_id, -1);
    assert_null(qw_tokenizer_get_info(t)->eos.ptr);
    qw_tokenizer_close(t);
    qw_mem_free(json);
}

static void without_normalizer_and_model_type(void **state)
{
    (void)state;
    qw_error err;
    size_t len;
    char *json = replaced(synthetic_json(&len), &len, "{\"type\": \"NFC\"}", "null");
    json = replaced(json, &len, "\"type\": \"BPE\", ", "");
    json = replaced(json, &len, "\"post_processor\": {\"type\": \"ByteLevel\"}, ", "");
    qw_tokenizer *t;
    assert_ok(load_texts(&t, json, len, NULL, &err));
    assert_ids(t, "e\u0301", 'e', 0xCC, 0x81);
    qw_tokenizer_close(t);
    qw_mem_free(json);
}

static void tiny_tokenizer(void **state)
{
    (void)state;
    qw_error err;
    qw_tokenizer *t;
    assert_ok(
        qw_tokenizer_load(&t, TINY_DIR "/tokenizer.json", TINY_DIR "/tokenizer_config.json", &err));
    const qw_tokenizer_info *info = qw_tokenizer_get_info(t);
    assert_int_equal(info->n_ids, 3866);
    assert_int_equal(info->eos_id, 3842);
    int32_t think;
    assert_true(qw_tokenizer_id_of(t, QW_STR("<think>"), &think));
    qw_ids ids = {0};
    assert_ok(qw_tokenizer_encode(t, QW_STR("<think>\n"), 0, &ids, &err));
    assert_int_equal(ids.len, 2);
    assert_int_equal(ids.data[0], think);
    qw_ids_release(&ids);
    qw_tokenizer_close(t);
}

static void missing_files(void **state)
{
    (void)state;
    qw_error err;
    qw_tokenizer *t = NULL;
    char dir[256];
    temp_dir(dir);
    assert_fails(qw_tokenizer_open(&t, dir, NULL, &err), QW_ERR_IO,
                 "tokenizer.json is missing; use --prompt-ids");
    assert_fails(qw_tokenizer_open(&t, "/no/such/dir", NULL, &err), QW_ERR_IO,
                 "no tokenizer in '/no/such/dir'");
    assert_fails(qw_tokenizer_load(&t, "/no/such/file", NULL, &err), QW_ERR_IO, "/no/such/file");
    write_file(dir, "tokenizer.json", "", 0);
    assert_fails(qw_tokenizer_open(&t, dir, NULL, &err), QW_ERR_FORMAT, "no valid JSON");
    assert_null(t);
}

static void remove_files(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.') assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
    closedir(d);
}

static void memory_shortage(void **state)
{
    (void)state;
    size_t len, live;
    char *json = synthetic_json(&len);
    char dir[256], cache[300];
    temp_dir(dir);
    write_file(dir, "tokenizer.json", json, len);
    write_file(dir, "tokenizer_config.json", "{\"eos_token\": \"<s>\"}", 20);
    snprintf(cache, sizeof cache, "%s/cache", dir);
    qw_mem_free(json);
    live = qw_mem_live();
    // First without a cache, then with one that is built, then from the cache.
    for (int round = 0; round < 3; round++) {
        for (uint64_t n = 1;; n++) {
            qw_error err;
            qw_tokenizer *t = NULL;
            if (round == 1) remove_files(cache);
            qw_mem_fail_at(n);
            qw_status st = qw_tokenizer_open(&t, dir, round ? cache : NULL, &err);
            qw_mem_fail_at(0);
            if (st == QW_OK && round == 2 && !qw_tokenizer_get_info(t)->from_cache)
                assert_string_not_equal(qw_tokenizer_get_info(t)->cache_note, "");
            bool untroubled = st == QW_OK && !qw_tokenizer_get_info(t)->cache_note[0];
            if (st != QW_OK && st != QW_ERR_NO_MEMORY)
                fail_msg("allocation %d: %s", (int)n, err.text);
            if (st != QW_OK) assert_null(t);
            qw_tokenizer_close(t);
            assert_int_equal(qw_mem_live(), live);
            if (untroubled) break;
            assert_true(n < 20000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelines_that_are_not_implemented),
        cmocka_unit_test(broken_files),
        cmocka_unit_test(broken_config),
        cmocka_unit_test(both_files_count),
        cmocka_unit_test(without_normalizer_and_model_type),
        cmocka_unit_test(tiny_tokenizer),
        cmocka_unit_test(missing_files),
        cmocka_unit_test(memory_shortage),
    };
    return cmocka_run_group_tests(tests, init_json, NULL);
}
