#include "test_util.h"

#include "format/detokenizer.h"
#include "unit/format/tokenizer_test.h"

static qw_tokenizer *real;

static int open_real(void **state)
{
    (void)state;
    qw_error err;
    qw_json_init();
    assert_ok(qw_tokenizer_open(&real, REAL_DIR, NULL, &err));
    return 0;
}

static int close_real(void **state)
{
    (void)state;
    qw_tokenizer_close(real);
    return 0;
}

// One token through a detokenizer; the text is compared and thrown away.
static void push(qw_detokenizer *d, int32_t id, qw_str want, qw_str what)
{
    qw_error err;
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    assert_ok(qw_detokenizer_push(d, id, &out, &err));
    assert_str_equal((qw_str){out.data ? out.data : "", out.len}, want, what);
    qw_buf_release(&out);
}

static void check_stream(const json_t *c, void *arg)
{
    (void)arg;
    qw_error err;
    qw_ids ids = case_ids(c);
    bool skip = false;
    assert_ok(qw_json_get_bool(&skip, c, "skip_special_tokens", &err));
    qw_detokenizer d;
    assert_ok(qw_detokenizer_init(&d, real, skip, NULL, 0, &err));
    const json_t *chunks = json_object_get(c, "chunks");
    assert_int_equal(json_array_size(chunks), ids.len);
    for (size_t i = 0; i < ids.len; i++)
        push(&d, ids.data[i], qw_json_str(json_array_get(chunks, i)), case_str(c, "note"));
    qw_detokenizer_release(&d);
    qw_ids_release(&ids);
}

static void streams_of_the_reference(void **state)
{
    (void)state;
    int n = for_each_case("stream_cases.jsonl", check_stream, NULL);
    print_message("stream_cases.jsonl: %d cases\n", n);
    assert_int_equal(n, 32);
}

// The rule of qwen3-dense 5.8 word for word, decoding again and again.
typedef struct plain_stream {
    bool skip;
    qw_ids ids;
    size_t prefix, read;
} plain_stream;

static size_t n_chars(const qw_buf *b)
{
    size_t n = 0;
    for (size_t pos = 0; pos < b->len; n++) (void)qw_utf8_next((qw_str){b->data, b->len}, &pos);
    return n;
}

static void plain_init(plain_stream *s, bool skip, const int32_t *prompt, size_t n)
{
    qw_error err;
    *s = (plain_stream){.skip = skip};
    for (size_t i = n > 7 ? n - 7 : 0; i < n; i++)
        if (!skip || !qw_tokenizer_is_special(real, prompt[i]))
            assert_ok(qw_ids_push(&s->ids, prompt[i], &err));
    s->read = s->ids.len;
    s->prefix = s->read > 5 ? s->read - 5 : 0;
}

static void plain_push(plain_stream *s, int32_t id, qw_buf *out)
{
    qw_error err;
    assert_ok(qw_ids_push(&s->ids, id, &err));
    qw_buf a, b;
    qw_buf_init(&a, 1 << 20);
    qw_buf_init(&b, 1 << 20);
    qw_tokenizer_decode(real, s->ids.data + s->prefix, s->read - s->prefix, s->skip, &a);
    qw_tokenizer_decode(real, s->ids.data + s->prefix, s->ids.len - s->prefix, s->skip, &b);
    qw_str text = {b.data ? b.data : "", b.len};
    size_t n = n_chars(&a);
    if (n_chars(&b) > n && !qw_str_ends_with(text, QW_STR("\uFFFD"))) {
        size_t pos = 0;
        while (n-- > 0) (void)qw_utf8_next(text, &pos);
        qw_buf_append(out, text.ptr + pos, text.len - pos);
        s->prefix = s->read;
        s->read = s->ids.len;
    }
    qw_buf_release(&a);
    qw_buf_release(&b);
}

// A few kinds of tokens, so that broken characters meet in every way.
static int32_t random_token(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    uint32_t r = (uint32_t)(*seed >> 33);
    switch (r % 6) {
    case 0: return (int32_t)(r / 6 % 151800);      // anything, holes too
    case 1: return 94 + (int32_t)(r / 6 % 162);    // single bytes from 0x80 on (and blanks)
    case 2: return 151643 + (int32_t)(r / 6 % 26); // added tokens
    case 3: return 5691;                           // U+FFFD itself
    case 4: return 94 + (int32_t)(r / 6 % 128);
    default: return (int32_t)(r / 6 % 256);
    }
}

static void same_as_decoding_again(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int run = 0; run < 3000; run++) {
        int32_t prompt[12];
        size_t n = (size_t)run % 13;
        for (size_t i = 0; i < n; i++) prompt[i] = random_token(&seed);
        bool skip = run & 1;
        plain_stream plain;
        qw_detokenizer d;
        qw_error err;
        plain_init(&plain, skip, prompt, n);
        assert_ok(qw_detokenizer_init(&d, real, skip, prompt, n, &err));
        for (int i = 0; i < 12; i++) {
            int32_t id = random_token(&seed);
            qw_buf want;
            char what[64];
            qw_buf_init(&want, 1 << 20);
            plain_push(&plain, id, &want);
            snprintf(what, sizeof what, "run %d, token %d", run, i);
            push(&d, id, (qw_str){want.data ? want.data : "", want.len}, qw_str_of(what));
            qw_buf_release(&want);
        }
        qw_detokenizer_release(&d);
        qw_ids_release(&plain.ids);
    }
}

static void a_character_that_the_prompt_began(void **state)
{
    (void)state;
    qw_error err;
    qw_ids ids = {0};
    // U+9F98 has two tokens and no merge between them.
    assert_ok(qw_tokenizer_encode(real, QW_STR("x\u9f98"), 0, &ids, &err));
    assert_int_equal(ids.len, 3);
    qw_detokenizer d;
    assert_ok(qw_detokenizer_init(&d, real, true, ids.data, 2, &err));
    push(&d, ids.data[2], QW_STR(""), QW_STR("its end is not longer than its beginning"));
    push(&d, 64, QW_STR("a"), QW_STR("next"));
    push(&d, 65, QW_STR("b"), QW_STR("next but one"));
    qw_detokenizer_release(&d);
    qw_ids_release(&ids);
}

// A million broken bytes are all held back; doing it in quadratic time would take hours.
static void a_long_hold(void **state)
{
    (void)state;
    qw_error err;
    qw_buf out;
    qw_detokenizer d;
    int32_t id;
    qw_buf_init(&out, 1 << 26);
    assert_true(qw_tokenizer_id_of(real, QW_STR("\x80"), &id));
    assert_ok(qw_detokenizer_init(&d, real, true, NULL, 0, &err));
    for (int i = 0; i < 1000000; i++) assert_ok(qw_detokenizer_push(&d, id, &out, &err));
    assert_int_equal(out.len, 0);
    assert_ok(qw_detokenizer_push(&d, 64, &out, &err));
    assert_int_equal(out.len, 3000001);
    qw_detokenizer_release(&d);
    qw_buf_release(&out);
}

static void memory_shortage(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    static const int32_t prompt[] = {9707, 11, 1879}, ids[] = {82912, 246, 64, 9707};
    for (uint64_t n = 1;; n++) {
        qw_error err;
        qw_detokenizer d;
        qw_buf out;
        qw_buf_init(&out, 1 << 20);
        qw_mem_fail_at(n);
        qw_status st = qw_detokenizer_init(&d, real, true, prompt, 3, &err);
        if (st == QW_OK) {
            for (size_t i = 0; st == QW_OK && i < QW_ARRAY_LEN(ids); i++)
                st = qw_detokenizer_push(&d, ids[i], &out, &err);
            qw_detokenizer_release(&d);
        }
        qw_mem_fail_at(0);
        qw_buf_release(&out);
        assert_int_equal(qw_mem_live(), live);
        if (st == QW_OK) break;
        assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_of_the_reference),
        cmocka_unit_test(same_as_decoding_again),
        cmocka_unit_test(a_character_that_the_prompt_began),
        cmocka_unit_test(a_long_hold),
        cmocka_unit_test(memory_shortage),
    };
    return cmocka_run_group_tests(tests, open_real, close_real);
}
