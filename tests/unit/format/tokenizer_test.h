#ifndef QW_TESTS_TOKENIZER_TEST_H
#define QW_TESTS_TOKENIZER_TEST_H

// Shared by the tokenizer's tests. Include behind test_util.h.

#include "base/file.h"
#include "base/mem.h"
#include "format/json.h"
#include "format/tokenizer.h"

#define REAL_DIR QW_SOURCE_DIR "/share/tokenizer"
#define TINY_DIR QW_SOURCE_DIR "/models/tiny"

/** Call `fn` for every line of a golden file; returns the number of lines. */
static inline int for_each_case(const char *name, void (*fn)(const json_t *c, void *arg), void *arg)
{
    qw_error err;
    qw_buf text;
    char path[512];
    int n = 0;
    snprintf(path, sizeof path, "%s/tokenizer/%s", QW_TEST_DATA, name);
    qw_buf_init(&text, 1 << 26);
    assert_ok(qw_file_read(&text, path, &err));
    qw_str all = {text.data, text.len};
    for (size_t begin = 0; begin < all.len;) {
        size_t end = qw_str_find(all, QW_STR("\n"), begin);
        if (end == SIZE_MAX) end = all.len;
        json_t *c = NULL;
        assert_ok(qw_json_parse(&c, all.ptr + begin, end - begin, path, &err));
        fn(c, arg);
        json_decref(c);
        n++;
        begin = end + 1;
    }
    qw_buf_release(&text);
    return n;
}

static inline qw_str case_str(const json_t *c, const char *key)
{
    const json_t *v = json_object_get(c, key);
    assert_true(json_is_string(v));
    return qw_json_str(v);
}

static inline qw_ids case_ids(const json_t *c)
{
    qw_error err;
    qw_ids ids = {0};
    const json_t *v = json_object_get(c, "ids");
    assert_true(json_is_array(v));
    for (size_t i = 0; i < json_array_size(v); i++)
        assert_ok(qw_ids_push(&ids, (int32_t)json_integer_value(json_array_get(v, i)), &err));
    return ids;
}

static inline void assert_str_equal(qw_str got, qw_str want, qw_str what)
{
    if (qw_str_eq(got, want)) return;
    fail_msg("'%.*s': got '%.*s', want '%.*s'", (int)what.len, what.ptr, (int)got.len,
             got.ptr ? got.ptr : "", (int)want.len, want.ptr);
}

static inline void assert_ids_equal(const qw_ids *got, const qw_ids *want, qw_str text)
{
    bool same = got->len == want->len;
    for (size_t i = 0; same && i < got->len; i++) same = got->data[i] == want->data[i];
    if (same) return;
    fprintf(stderr, "text '%.*s'\n got", (int)(text.len < 300 ? text.len : 300), text.ptr);
    for (size_t i = 0; i < got->len && i < 60; i++) fprintf(stderr, " %d", got->data[i]);
    fprintf(stderr, "\nwant");
    for (size_t i = 0; i < want->len && i < 60; i++) fprintf(stderr, " %d", want->data[i]);
    fprintf(stderr, "\n");
    fail_msg("%zu ids where %zu are right", got->len, want->len);
}

static inline void assert_encodes(const qw_tokenizer *t, qw_str text, const int32_t *want, size_t n)
{
    qw_error err;
    qw_ids got = {0};
    assert_ok(qw_tokenizer_encode(t, text, 0, &got, &err));
    const qw_ids wanted = {(int32_t *)(uintptr_t)want, n, n};
    assert_ids_equal(&got, &wanted, text);
    qw_ids_release(&got);
}

/** assert_encodes with the ids as a list. */
#define assert_ids(t, text, ...)                                                                   \
    do {                                                                                           \
        static const int32_t want_[] = {__VA_ARGS__};                                              \
        assert_encodes(t, QW_STR(text), want_, QW_ARRAY_LEN(want_));                               \
    } while (0)

/** A fresh directory below QW_TEST_TMP. */
static inline const char *temp_dir(char path[256])
{
    snprintf(path, 256, "%s/tokenizer-XXXXXX", QW_TEST_TMP);
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void write_file(const char *dir, const char *name, const char *text, size_t len)
{
    qw_error err;
    char *path = qw_file_join(dir, name);
    assert_ok(qw_file_write_atomic(path, text, len, &err));
    qw_mem_free(path);
}

/**
 * A small tokenizer.json: the 256 bytes (ids 0 to 255), a few merges over a, b, c, an entry that
 * spells itself (261), added tokens with every flag. Caller frees with qw_mem_free.
 */
static inline char *synthetic_json(size_t *len)
{
    qw_buf b;
    qw_buf_init(&b, 1 << 20);
    qw_buf_puts(
        &b,
        "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n"
        "\"added_tokens\": [\n"
        " {\"id\": 262, \"content\": \"<s>\", \"special\": true},\n"
        " {\"id\": 263, \"content\": \"<s><t>\", \"special\": false},\n"
        " {\"id\": 264, \"content\": \"lr\", \"lstrip\": true, \"rstrip\": true},\n"
        " {\"id\": 265, \"content\": \"WORD\", \"single_word\": true},\n"
        " {\"id\": 266, \"content\": \"e\\u0301t\\u00e9\", \"normalized\": true}],\n"
        "\"normalizer\": {\"type\": \"NFC\"},\n"
        "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n"
        " {\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\p{L}+|\\\\s+|[^\\\\s\\\\p{L}]+\"},"
        " \"behavior\": \"Isolated\", \"invert\": false},\n"
        " {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false,"
        " \"use_regex\": false}]},\n"
        "\"post_processor\": {\"type\": \"ByteLevel\"}, \"decoder\": {\"type\": \"ByteLevel\"},\n"
        "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null,"
        " \"continuing_subword_prefix\": \"\", \"end_of_word_suffix\": \"\","
        " \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": false,\n"
        "\"vocab\": {");
    for (int byte = 0, next = 256; byte < 256; byte++) {
        bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        qw_buf_printf(&b, "\"\\u%04x\": %d, ", itself ? byte : next++, byte);
    }
    qw_buf_puts(&b, "\"ab\": 256, \"bc\": 257, \"abc\": 258, \"aa\": 259, \"aaaa\": 260,"
                    " \"\\u4f60\": 261},\n"
                    "\"merges\": [[\"b\", \"c\"], \"a b\", [\"a\", \"bc\"], \"a a\", \"aa aa\"]}}");
    return qw_buf_take(&b, len);
}

/** `text` with the first `old` replaced; frees `text`. */
static inline char *replaced(char *text, size_t *len, const char *old, const char *new)
{
    qw_buf b;
    size_t at = qw_str_find((qw_str){text, *len}, qw_str_of(old), 0);
    if (at == SIZE_MAX) fail_msg("'%s' is not in the text", old);
    qw_buf_init(&b, 1 << 20);
    qw_buf_append(&b, text, at);
    qw_buf_puts(&b, new);
    qw_buf_append(&b, text + at + strlen(old), *len - at - strlen(old));
    qw_mem_free(text);
    return qw_buf_take(&b, len);
}

#endif
