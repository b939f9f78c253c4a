#include "test_util.h"

#include <pthread.h>

#include "base/clock.h"
#include "format/nfc.h"
#include "format/tokenizer_internal.h"
#include "unit/format/tokenizer_test.h"

static qw_tokenizer *real, *tiny, *small;

static qw_tokenizer *from_text(const char *json, size_t len)
{
    qw_error err;
    void *image;
    size_t size;
    qw_tokenizer *t;
    qw_str text = {json, len};
    assert_ok(qw_tokenizer_compile(&image, &size, &text, NULL, &err));
    assert_ok(qw_tokenizer_from_image(&t, image, size, &err));
    return t;
}

static int open_all(void **state)
{
    (void)state;
    qw_error err;
    qw_json_init();
    assert_ok(qw_tokenizer_open(&real, REAL_DIR, NULL, &err));
    assert_ok(qw_tokenizer_open(&tiny, TINY_DIR, NULL, &err));
    size_t len;
    char *json = synthetic_json(&len);
    small = from_text(json, len);
    qw_mem_free(json);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    qw_tokenizer_close(real);
    qw_tokenizer_close(tiny);
    qw_tokenizer_close(small);
    return 0;
}

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

// Text of the kinds that matter: letters, marks, digits, blanks, newlines, CJK, Hangul, symbols.
static void random_text(qw_buf *b, uint64_t *seed, int n)
{
    static const int32_t starts[] = {'a',    'A',    '0',     ' ',     ' ',     '\n',   '\r',
                                     '!',    0,      0xC0,    0x300,   0x391,   0x4E00, 0xAC00,
                                     0x1100, 0x1161, 0x11A8,  0x1F600, 0x653,   0x94D,  0x1D15E,
                                     0xF900, 0x2000, 0x31350, 0x11935, 0x11930, 0x105D2};
    qw_buf_clear(b);
    for (int i = 0; i < n; i++) {
        int32_t cp =
            starts[next_random(seed) % QW_ARRAY_LEN(starts)] + (int32_t)(next_random(seed) % 12);
        char utf8[4];
        qw_buf_append(b, utf8, (size_t)qw_utf8_put(utf8, cp));
    }
}

static void added_tokens_with_flags(void **state)
{
    (void)state;
    const qw_tokenizer *t = small; // 262 <s>, 263 <s><t>, 264 lr, 265 WORD, 266 e'te'
    assert_ids(t, "<s>", 262);
    assert_ids(t, "<s><s><t><s", 262, 263, '<', 's');
    assert_ids(t, "a \n lr \t b", 'a', 264, 'b');
    assert_ids(t, "lrlr lr", 264, 264, 264);
    assert_ids(t, "WORD", 265);
    assert_ids(t, "(WORD)", '(', 265, ')');
    assert_ids(t, "WORDx", 'W', 'O', 'R', 'D', 'x');
    assert_ids(t, "\u00e4WORD", 0xC3, 0xA4, 'W', 'O', 'R', 'D');
    assert_ids(t, "WORD_", 'W', 'O', 'R', 'D', '_');
    // Normalized tokens are found in any spelling, also in a text that needs no normalization.
    assert_ids(t, "\u00e9t\u00e9", 266);
    assert_ids(t, "x e\u0301te\u0301.", 'x', ' ', 266, '.');
    // The token whose text is U+4F60 spells itself; it can only be decoded.
    assert_ids(t, "\u4f60", 0xE4, 0xBD, 0xA0);
    assert_true(qw_str_is(qw_tokenizer_token_bytes(t, 261), "\u4f60"));
    assert_ids(t, "abcaaaaa", 258, 260, 'a');
}

static void special_tokens_spelled_out(void **state)
{
    (void)state;
    qw_error err;
    qw_ids got = {0};
    static const int32_t want[] = {'<', 's', '>', 263};
    const qw_ids wanted = {(int32_t *)(uintptr_t)want, 4, 4};
    assert_ok(qw_tokenizer_encode(small, QW_STR("<s><s><t>"), QW_ENCODE_SPLIT_SPECIAL, &got, &err));
    assert_ids_equal(&got, &wanted, QW_STR("<s><s><t>"));
    qw_ids_release(&got);
}

static void merges_are_not_skipped_unless_the_file_says_so(void **state)
{
    (void)state;
    size_t len;
    // Without the merge of "a" and "bc", "abc" is in the vocabulary but out of reach.
    char *json = replaced(synthetic_json(&len), &len, "[\"a\", \"bc\"], ", "");
    qw_tokenizer *t = from_text(json, len);
    assert_ids(t, "abc", 'a', 257);
    qw_tokenizer_close(t);
    json = replaced(json, &len, "\"ignore_merges\": false", "\"ignore_merges\": true");
    t = from_text(json, len);
    assert_ids(t, "abc", 258);
    assert_ids(t, "abcd", 'a', 257, 'd');
    qw_tokenizer_close(t);
    qw_mem_free(json);
}

// U+180E is no white space, U+31350 and U+1E4D0 are letters, U+1E4F0 is a number: pieces of the
// reference (tokenizers 0.23.3).
static void characters_newer_than_the_libraries(void **state)
{
    (void)state;
    qw_error err;
    static const struct {
        const char *text, *pieces[6];
    } cases[] = {
        {"a \u180eb", {"a", " \u180e", "b"}},
        {"\u180e\u180e \n", {"\u180e\u180e", " \n"}},
        {"x \U00031350y!", {"x", " \U00031350y", "!"}},
        {"!\U0001E4D0\U0001E4D1-", {"!\U0001E4D0\U0001E4D1", "-"}},
        {"a\U0001E4F0\U0001E4F1b", {"a", "\U0001E4F0", "\U0001E4F1", "b"}},
        {"  \u180e", {" ", " \u180e"}},
    };
    for (int jit = 0; jit <= 1; jit++) {
        qw_pretokenizer *p;
        qw_piece_walk walk;
        qw_str pattern = qw_tokenizer_view_string(&real->view, QW_STRING_PATTERN);
        assert_ok(qw_pretokenizer_new(&p, pattern, jit, &err));
        assert_ok(qw_piece_walk_init(&walk, p, &err));
        for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
            qw_str text = qw_str_of(cases[i].text), piece;
            qw_piece_walk_start(&walk, text);
            for (size_t k = 0; cases[i].pieces[k]; k++) {
                assert_ok(qw_piece_walk_next(&walk, &piece, &err));
                assert_str_equal(piece, qw_str_of(cases[i].pieces[k]), text);
            }
            assert_ok(qw_piece_walk_next(&walk, &piece, &err));
            assert_int_equal(piece.len, 0);
        }
        qw_piece_walk_release(&walk);
        qw_pretokenizer_free(p);
    }
}

static void normalize(qw_str text, const char *want)
{
    qw_error err;
    qw_buf b;
    qw_buf_init(&b, 1 << 26);
    assert_ok(qw_nfc_append(&b, text, &err));
    assert_str_equal((qw_str){b.data ? b.data : "", b.len}, qw_str_of(want), text);
    qw_buf_release(&b);
}

static void normalization(void **state)
{
    (void)state;
    normalize(QW_STR(""), "");
    normalize(QW_STR("e\u0301"), "\u00e9");
    normalize(QW_STR("\u0301e\u0301\u0323x\u0301"), "\u0301\u1eb9\u0301x\u0301");
    normalize(QW_STR("\u212b\u2126\uf900\u0344\u0958"),
              "\u00c5\u03a9\u8c48\u0308\u0301\u0915\u093c");
    normalize(QW_STR("\ufb01\uff21\u2460"), "\ufb01\uff21\u2460");
    normalize(QW_STR("\uac00\u11a8\u1100\u1161"), "\uac01\uac00");
    // Newer than the reference's tables: neither composed, nor reordered, nor a bridge.
    normalize(QW_STR("\U00011935\U00011930"), "\U00011935\U00011930");
    normalize(QW_STR("q\u0c3c\u0301"), "q\u0c3c\u0301");
    normalize(QW_STR("e\u0c3c\u0301"), "e\u0c3c\u0301");
    normalize(QW_STR("q\u0301\u0c3c\u0323"), "q\u0301\u0c3c\u0323");
    normalize(QW_STR("\U000105D2\u0307"), "\U000105D2\u0307");
}

// Marks in the worst order: with exchanges of neighbours this takes hours.
static void a_million_marks(void **state)
{
    (void)state;
    qw_error err;
    qw_buf text, got;
    qw_buf_init(&text, 1 << 22);
    qw_buf_init(&got, 1 << 22);
    qw_buf_putc(&text, 'q');
    for (int i = 0; i < 250000; i++) qw_buf_puts(&text, "\u0301");
    for (int i = 0; i < 250000; i++) qw_buf_puts(&text, "\u0323");
    assert_ok(qw_nfc_append(&got, (qw_str){text.data, text.len}, &err));
    assert_int_equal(got.len, text.len);
    assert_memory_equal(got.data + 1, "\u0323", 2);
    assert_memory_equal(got.data + got.len - 2, "\u0301", 2);
    qw_buf_release(&got);
    qw_buf_release(&text);
}

// decode(encode(x)) = NFC(x), and encode(a + token + b) = encode(a) + token + encode(b).
static void round_trip(void **state)
{
    (void)state;
    qw_error err;
    uint64_t seed = 7;
    qw_buf x, nfc, back;
    qw_buf_init(&x, 1 << 20);
    qw_buf_init(&nfc, 1 << 20);
    qw_buf_init(&back, 1 << 20);
    const qw_tokenizer *both[] = {real, tiny};
    for (int run = 0; run < 2000; run++) {
        const qw_tokenizer *t = both[run & 1];
        random_text(&x, &seed, 1 + run % 60);
        qw_str text = {x.data, x.len};
        qw_buf_clear(&nfc);
        qw_buf_clear(&back);
        qw_ids a = {0}, whole = {0};
        assert_ok(qw_nfc_append(&nfc, text, &err));
        assert_ok(qw_tokenizer_encode(t, text, 0, &a, &err));
        qw_tokenizer_decode(t, a.data, a.len, run & 2, &back);
        assert_str_equal((qw_str){back.data, back.len}, (qw_str){nfc.data, nfc.len}, text);

        int32_t eos = qw_tokenizer_get_info(t)->eos_id;
        qw_str eos_text = qw_tokenizer_token_bytes(t, eos);
        qw_buf_append(&x, eos_text.ptr, eos_text.len);
        qw_buf_puts(&x, "\u0301 tail");
        assert_ok(qw_tokenizer_encode(t, (qw_str){x.data, x.len}, 0, &whole, &err));
        assert_ok(qw_ids_push(&a, eos, &err));
        assert_ok(qw_tokenizer_encode(t, QW_STR("\u0301 tail"), 0, &a, &err));
        assert_ids_equal(&whole, &a, (qw_str){x.data, x.len});
        qw_ids_release(&a);
        qw_ids_release(&whole);
    }
    qw_buf_release(&back);
    qw_buf_release(&nfc);
    qw_buf_release(&x);
}

static void broken_utf8_is_replaced(void **state)
{
    (void)state;
    qw_error err;
    static const struct {
        const char *broken, *same_as;
    } cases[] = {
        {"\xff", "\uFFFD"},
        {"a\xe4\xbd", "a\uFFFD"},
        {"\xf0\x9f"
         "A",
         "\uFFFDA"},
        {"\xc0\x80", "\uFFFD\uFFFD"},
        {"\xed\xa0\x80x", "\uFFFD\uFFFD\uFFFDx"},
        {"<|im_end|>\x80<|im_end|>", "<|im_end|>\uFFFD<|im_end|>"},
        {"\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_ids got = {0}, want = {0};
        assert_ok(qw_tokenizer_encode(real, qw_str_of(cases[i].broken), 0, &got, &err));
        assert_ok(qw_tokenizer_encode(real, qw_str_of(cases[i].same_as), 0, &want, &err));
        assert_ids_equal(&got, &want, qw_str_of(cases[i].same_as));
        qw_ids_release(&got);
        qw_ids_release(&want);
    }
}

// The priority queue against the rule as it is written.
static void queue_equals_plain_merging(void **state)
{
    (void)state;
    qw_error err;
    uint64_t seed = 3;
    qw_buf x;
    qw_buf_init(&x, 1 << 20);
    qw_bpe_scratch scratch = {0};
    const qw_tokenizer *all[] = {real, tiny, small};
    for (int run = 0; run < 3000; run++) {
        const qw_bpe_table *t = &all[run % 3]->view.bpe;
        qw_buf_clear(&x);
        int n = 1 + (int)(next_random(&seed) % 200);
        for (int i = 0; i < n; i++) {
            static const char letters[] = "aaabc etionrs\xe4\xbd\xa0\xe5";
            qw_buf_putc(&x, letters[next_random(&seed) % (sizeof letters - 1)]);
        }
        qw_str piece = {x.data, x.len};
        int32_t ids[512], ranks[512];
        const qw_ids plain = {ids, qw_bpe_merge_plain(t, piece, ids, ranks), 512};
        qw_ids queued = {0};
        assert_ok(qw_bpe_merge_queue(t, piece, &scratch, &queued, &err));
        assert_ids_equal(&queued, &plain, piece);
        qw_ids_release(&queued);
    }
    qw_bpe_scratch_release(&scratch);
    qw_buf_release(&x);
}

#if QW_TEST_SANITIZED
enum { TIMED_SIZE = 100000, TIMED = 0 };
#else
enum { TIMED_SIZE = 1000000, TIMED = !QW_TEST_EMULATED };
#endif

static void encode_timed(const char *what, qw_str text, const qw_tokenizer *t)
{
    qw_error err;
    qw_ids ids = {0};
    int64_t start = qw_clock_ns();
    assert_ok(qw_tokenizer_encode(t, text, 0, &ids, &err));
    double s = (double)(qw_clock_ns() - start) / 1e9;
    print_message("%zu bytes of %s: %zu ids in %.3f s\n", text.len, what, ids.len, s);
    if (TIMED) assert_true(s < 5);
    qw_ids_release(&ids);
}

static void long_texts(void **state)
{
    (void)state;
    uint64_t seed = 11;
    qw_buf b;
    qw_buf_init(&b, 1 << 22);
    static const char *const repeated[] = {"a",          "\U0001F600",  " ",      "\n",
                                           "\u0301",     "ab ",         "1",      "'s",
                                           "<|im_end|>", "<|im_start|", "e\u0301"};
    for (size_t i = 0; i < QW_ARRAY_LEN(repeated); i++) {
        qw_buf_clear(&b);
        while (b.len < TIMED_SIZE) qw_buf_puts(&b, repeated[i]);
        encode_timed(repeated[i], (qw_str){b.data, b.len}, real);
    }
    qw_buf_clear(&b);
    while (b.len < TIMED_SIZE) {
        static const char letters[] =
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
        qw_buf_putc(&b, letters[next_random(&seed) % 64]);
    }
    encode_timed("base64", (qw_str){b.data, b.len}, real);
    qw_buf_clear(&b);
    while (b.len < TIMED_SIZE) {
        char utf8[4];
        qw_buf_append(&b, utf8,
                      (size_t)qw_utf8_put(utf8, 0x4E00 + (int32_t)(next_random(&seed) % 3000)));
    }
    encode_timed("Chinese", (qw_str){b.data, b.len}, real);
    qw_buf_clear(&b);
    while (b.len < TIMED_SIZE) {
        for (uint32_t n = 1 + next_random(&seed) % 9; n > 0; n--)
            qw_buf_putc(&b, "etaoinshrdlucmfw"[next_random(&seed) % 16]);
        qw_buf_putc(&b, ' ');
    }
    encode_timed("words", (qw_str){b.data, b.len}, real);
    qw_buf_release(&b);
}

// One piece of a megabyte through the interpreter: its limits must allow it.
static void long_pieces_without_jit(void **state)
{
    (void)state;
    qw_error err;
    qw_buf b;
    qw_pretokenizer *p;
    qw_piece_walk walk;
    qw_buf_init(&b, 1 << 22);
    assert_ok(qw_pretokenizer_new(&p, qw_tokenizer_view_string(&real->view, QW_STRING_PATTERN),
                                  false, &err));
    assert_ok(qw_piece_walk_init(&walk, p, &err));
    static const char *const repeated[] = {"a", "\U0001F600", " ", "\n", "!"};
    for (size_t i = 0; i < QW_ARRAY_LEN(repeated); i++) {
        qw_buf_clear(&b);
        while (b.len < TIMED_SIZE) qw_buf_puts(&b, repeated[i]);
        qw_str piece;
        qw_piece_walk_start(&walk, (qw_str){b.data, b.len});
        assert_ok(qw_piece_walk_next(&walk, &piece, &err));
        assert_int_equal(piece.len, b.len);
    }
    qw_piece_walk_release(&walk);
    qw_pretokenizer_free(p);
    qw_buf_release(&b);
}

static void cut(const char *pattern, const char *text, const char *want)
{
    qw_error err;
    qw_pretokenizer *p;
    qw_piece_walk walk;
    qw_buf got;
    qw_buf_init(&got, 1 << 12);
    assert_ok(qw_pretokenizer_new(&p, qw_str_of(pattern), true, &err));
    assert_ok(qw_piece_walk_init(&walk, p, &err));
    qw_piece_walk_start(&walk, qw_str_of(text));
    for (qw_str piece;;) {
        assert_ok(qw_piece_walk_next(&walk, &piece, &err));
        if (piece.len == 0) break;
        qw_buf_putc(&got, '[');
        qw_buf_append(&got, piece.ptr, piece.len);
        qw_buf_putc(&got, ']');
    }
    assert_str_equal((qw_str){got.data ? got.data : "", got.len}, qw_str_of(want),
                     qw_str_of(pattern));
    qw_buf_release(&got);
    qw_piece_walk_release(&walk);
    qw_pretokenizer_free(p);
}

static void other_patterns(void **state)
{
    (void)state;
    cut("\\d+", "a12bc3", "[a][12][bc][3]");
    cut("(?=[A-Z])", "fooBarBaz", "[foo][Bar][Baz]"); // empty matches only cut
    cut("x*", "axxb", "[a][xx][b]");
    cut("", "\u00e4b", "[\u00e4][b]");
    cut("[^\\S]", "a \u180eb", "[a][ ][\u180eb]");
    cut("[]a]+|[^]]", "]a]b", "[]a]][b]");
    cut("\\P{L}+", "a12b", "[a][12][b]");
    cut("\\\\s", "a\\sb", "[a][\\s][b]");
    cut("^b", "a\nb", "[a\n][b]");
    qw_error err;
    qw_pretokenizer *p = NULL;
    assert_fails(qw_pretokenizer_new(&p, QW_STR("a("), true, &err), QW_ERR_FORMAT, "broken");
    assert_fails(qw_pretokenizer_new(&p, QW_STR("a\\"), true, &err), QW_ERR_FORMAT, "broken");
    assert_fails(qw_pretokenizer_new(&p, QW_STR("[a&&b]"), true, &err), QW_ERR_UNSUPPORTED, "&&");
    assert_fails(qw_pretokenizer_new(&p, QW_STR("[a[b]]"), true, &err), QW_ERR_UNSUPPORTED, "'['");
    assert_fails(qw_pretokenizer_new(&p, QW_STR("[\\P{L}]"), true, &err), QW_ERR_UNSUPPORTED,
                 "\\P{L}");
    assert_null(p);
}

static void endless_backtracking_is_an_error(void **state)
{
    (void)state;
    qw_error err;
    for (int jit = 0; jit <= 1; jit++) {
        qw_pretokenizer *p;
        qw_piece_walk walk;
        qw_str piece;
        assert_ok(qw_pretokenizer_new(&p, QW_STR("(a+a+)+[bd]"), jit, &err));
        assert_ok(qw_piece_walk_init(&walk, p, &err));
        qw_piece_walk_start(&walk, QW_STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"));
        assert_fails(qw_piece_walk_next(&walk, &piece, &err), QW_ERR_FORMAT, "cannot be matched");
        qw_piece_walk_release(&walk);
        qw_pretokenizer_free(p);
    }
}

// A pattern that needs more stack than compiled code has goes on in the interpreter.
static void deep_backtracking(void **state)
{
    (void)state;
    qw_error err;
    qw_buf b;
    qw_buf_init(&b, 1 << 20);
    for (int i = 0; i < 20000; i++) qw_buf_puts(&b, "ab");
    qw_pretokenizer *p;
    qw_piece_walk walk;
    qw_str piece;
    assert_ok(qw_pretokenizer_new(&p, QW_STR("(?:a|ab|b)+"), true, &err));
    assert_ok(qw_piece_walk_init(&walk, p, &err));
    qw_piece_walk_start(&walk, (qw_str){b.data, b.len});
    assert_ok(qw_piece_walk_next(&walk, &piece, &err));
    assert_int_equal(piece.len, b.len);
    qw_piece_walk_release(&walk);
    qw_pretokenizer_free(p);
    qw_buf_release(&b);
}

static void *encode_again_and_again(void *arg)
{
    const qw_ids *want = arg;
    for (int i = 0; i < 20; i++) {
        qw_ids got = {0};
        qw_error err;
        if (qw_tokenizer_encode(tiny, QW_STR("The caf\u00e9's na\u00efve <think>\n 1234"), 0, &got,
                                &err) != QW_OK ||
            got.len != want->len || memcmp(got.data, want->data, got.len * sizeof *got.data) != 0)
            return "differs";
        qw_ids_release(&got);
    }
    return NULL;
}

static void several_threads_at_once(void **state)
{
    (void)state;
    qw_error err;
    qw_ids want = {0};
    assert_ok(qw_tokenizer_encode(tiny, QW_STR("The caf\u00e9's na\u00efve <think>\n 1234"), 0,
                                  &want, &err));
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_again_and_again, &want), 0);
    for (int i = 0; i < 4; i++) {
        void *failure;
        pthread_join(threads[i], &failure);
        assert_null(failure);
    }
    qw_ids_release(&want);
}

static void limits_and_empty_text(void **state)
{
    (void)state;
    qw_error err;
    qw_ids ids = {0};
    assert_ok(qw_tokenizer_encode(real, (qw_str){NULL, 0}, 0, &ids, &err));
    assert_int_equal(ids.len, 0);
    qw_str huge = {"x", (size_t)2 << 30};
    assert_fails(qw_tokenizer_encode(real, huge, 0, &ids, &err), QW_ERR_USAGE, "too long");
    qw_ids_release(&ids);
}

static void memory_shortage(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    // Broken UTF-8, normalization, a long piece, added tokens: every allocation there is.
    qw_buf text;
    qw_buf_init(&text, 1 << 16);
    qw_buf_puts(&text, "\xff"
                       "<s> e\u0301 lr \u00e9t\u00e9 ");
    for (int i = 0; i < 500; i++) qw_buf_putc(&text, "abc"[i % 3]);
    qw_ids ids = {0};
    qw_error err;
    assert_ok(qw_ids_push(&ids, 99, &err));
    for (uint64_t n = 1;; n++) {
        qw_mem_fail_at(n);
        qw_status st = qw_tokenizer_encode(small, (qw_str){text.data, text.len}, 0, &ids, &err);
        qw_mem_fail_at(0);
        if (st == QW_OK) break;
        assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_int_equal(ids.len, 1);
        assert_true(n < 1000);
    }
    assert_true(ids.len > 1 && ids.data[0] == 99);
    qw_ids_release(&ids);
    qw_buf_release(&text);
    assert_int_equal(qw_mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(added_tokens_with_flags),
        cmocka_unit_test(special_tokens_spelled_out),
        cmocka_unit_test(merges_are_not_skipped_unless_the_file_says_so),
        cmocka_unit_test(characters_newer_than_the_libraries),
        cmocka_unit_test(normalization),
        cmocka_unit_test(a_million_marks),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(broken_utf8_is_replaced),
        cmocka_unit_test(queue_equals_plain_merging),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(long_pieces_without_jit),
        cmocka_unit_test(other_patterns),
        cmocka_unit_test(endless_backtracking_is_an_error),
        cmocka_unit_test(deep_backtracking),
        cmocka_unit_test(several_threads_at_once),
        cmocka_unit_test(limits_and_empty_text),
        cmocka_unit_test(memory_shortage),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
