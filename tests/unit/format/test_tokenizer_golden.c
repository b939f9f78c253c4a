// The reference implementation's own results (qwen3-dense 5): every case, with the tokenizer parsed
// from tokenizer.json and with the same one mapped from the cache.
#include "test_util.h"

#include "format/nfc.h"
#include "format/tokenizer_internal.h"
#include "unit/format/tokenizer_test.h"

static qw_tokenizer *parsed, *cached;

static int open_both(void **state)
{
    (void)state;
    qw_error err;
    char dir[256];
    qw_json_init();
    temp_dir(dir);
    assert_ok(qw_tokenizer_open(&parsed, REAL_DIR, dir, &err));
    assert_false(qw_tokenizer_get_info(parsed)->from_cache);
    assert_string_equal(qw_tokenizer_get_info(parsed)->cache_note, "");
    assert_ok(qw_tokenizer_open(&cached, REAL_DIR, dir, &err));
    assert_true(qw_tokenizer_get_info(cached)->from_cache);
    return 0;
}

static int close_both(void **state)
{
    (void)state;
    qw_tokenizer_close(parsed);
    qw_tokenizer_close(cached);
    return 0;
}

// Run a file of cases with both tokenizers.
static void run_cases(const char *name, void (*fn)(const json_t *c, void *t), int want)
{
    int n = for_each_case(name, fn, parsed);
    assert_int_equal(for_each_case(name, fn, cached), n);
    print_message("%s: %d cases, parsed and cached\n", name, n);
    assert_int_equal(n, want);
}

static void check_encode(const json_t *c, void *t)
{
    qw_error err;
    bool split = false;
    assert_ok(qw_json_get_bool(&split, c, "split_special_tokens", &err));
    qw_str text = case_str(c, "text");
    qw_ids want = case_ids(c), got = {0};
    assert_ok(qw_tokenizer_encode(t, text, split ? QW_ENCODE_SPLIT_SPECIAL : 0, &got, &err));
    assert_ids_equal(&got, &want, text);
    qw_ids_release(&got);
    qw_ids_release(&want);
}

static void encoding(void **state)
{
    (void)state;
    run_cases("cases.jsonl", check_encode, 313);
    run_cases("split_special_cases.jsonl", check_encode, 8);
}

static void encoding_of_random_mixtures(void **state)
{
    (void)state;
    run_cases("fuzz.jsonl", check_encode, 2000);
}

static void check_pieces_with(const json_t *c, const qw_pretokenizer *p)
{
    qw_error err;
    qw_str text = case_str(c, "text"), nfc = case_str(c, "nfc");
    qw_buf b;
    qw_buf_init(&b, 1 << 20);
    assert_ok(qw_nfc_append(&b, text, &err));
    qw_str got = {b.data ? b.data : "", b.len};
    assert_str_equal(got, nfc, text);
    if (qw_nfc_is_plain(text)) assert_true(qw_str_eq(text, nfc));
    qw_piece_walk walk;
    assert_ok(qw_piece_walk_init(&walk, p, &err));
    qw_piece_walk_start(&walk, got);
    const json_t *pieces = json_object_get(c, "pieces");
    for (size_t i = 0; i <= json_array_size(pieces); i++) {
        qw_str piece;
        assert_ok(qw_piece_walk_next(&walk, &piece, &err));
        qw_str want = {"", 0};
        if (i < json_array_size(pieces)) want = qw_json_str(json_array_get(pieces, i));
        assert_str_equal(piece, want, text);
    }
    qw_piece_walk_release(&walk);
    qw_buf_release(&b);
}

static void check_pieces(const json_t *c, void *t)
{
    check_pieces_with(c, ((const qw_tokenizer *)t)->pretokenizer);
}

static void check_pieces_interpreted(const json_t *c, void *p)
{
    check_pieces_with(c, p);
}

static void normalizing_and_cutting(void **state)
{
    (void)state;
    run_cases("pretok_cases.jsonl", check_pieces, 268);
    qw_error err;
    qw_pretokenizer *p;
    qw_str pattern = qw_tokenizer_view_string(&parsed->view, QW_STRING_PATTERN);
    assert_ok(qw_pretokenizer_new(&p, pattern, false, &err));
    assert_int_equal(for_each_case("pretok_cases.jsonl", check_pieces_interpreted, p), 268);
    qw_pretokenizer_free(p);
}

static void check_decode(const json_t *c, void *t)
{
    qw_error err;
    qw_ids ids = case_ids(c);
    for (int skip = 0; skip <= 1; skip++) {
        qw_buf out;
        qw_buf_init(&out, 1 << 20);
        qw_tokenizer_decode(t, ids.data, ids.len, skip, &out);
        assert_ok(qw_buf_check(&out, "text", &err));
        assert_str_equal((qw_str){out.data ? out.data : "", out.len},
                         case_str(c, skip ? "text_skip_special" : "text"), case_str(c, "note"));
        qw_buf_release(&out);
    }
    qw_ids_release(&ids);
}

static void decoding(void **state)
{
    (void)state;
    run_cases("decode_cases.jsonl", check_decode, 26);
}

// The table of qwen3-dense 5.6, written down again here.
static void strings_that_break_naive_implementations(void **state)
{
    (void)state;
    qw_tokenizer *both[] = {parsed, cached};
    for (int i = 0; i < 2; i++) {
        const qw_tokenizer *t = both[i];
        assert_ids(t, "Hello, world!", 9707, 11, 1879, 0);
        assert_ids(t, "  hello", 220, 23811);
        assert_ids(t, "hello  ", 14990, 256);
        assert_ids(t, "foo  \n", 7975, 2303);
        assert_ids(t, "\n ", 198, 220);
        assert_ids(t, "a\r\n b", 64, 319, 293);
        assert_ids(t, "a.\r\n\r\nb", 64, 17825, 65);
        assert_ids(t, "Hello. \n\nWorld", 9707, 13, 4710, 10134);
        assert_ids(t, "foo\u00a0", 7975, 4102);
        assert_ids(t, "foo \u00a0bar", 7975, 220, 4102, 2257);
        assert_ids(t, "1234567890", 16, 17, 18, 19, 20, 21, 22, 23, 24, 15);
        assert_ids(t, "  42", 220, 220, 19, 17);
        assert_ids(t, "\u0661\u0662\u0663", 149, 94, 149, 95, 149, 96);
        assert_ids(t, "\u00bd\u00b2\u2163\u3248", 26062, 29456, 70467, 96, 124054, 230);
        assert_ids(t, "'ll'LL'lL", 3278, 6, 4086, 63866, 43);
        assert_ids(t, "it'\u017f", 275, 6, 144815);
        assert_ids(t, " 's", 364, 82);
        assert_ids(t, "cafe\u0301", 924, 58858);
        assert_ids(t, "a\u0308\u0323", 20229, 136, 230);
        assert_ids(t, "a\u0323\u0308", 20229, 136, 230);
        assert_ids(t, "\u1112\u1161\u11ab\u1100\u1173\u11af", 23573, 83291);
        assert_ids(t, "\u0301abc", 53839, 13683);
        assert_ids(t, "\u4f60\u597d\uff0c\u4e16\u754c", 108386, 3837, 99489);
        assert_ids(t, "a\U0001F600b", 64, 141334, 65);
        assert_ids(t, "\U0001F468\u200d\U0001F469\u200d\U0001F467\u200d\U0001F466", 145367, 378,
                   235, 145233, 378, 235, 145665, 378, 235, 145988);
        assert_ids(t, "a\0b", 64, 188, 65);
        assert_ids(t, "\ufeffBOM", 3225, 33, 1898);
        assert_ids(t,
                   "a\xc2\x85"
                   "b",
                   64, 126, 227, 65);
        assert_ids(t, "<|im_end|>", 151645);
        assert_ids(t, "<|IM_START|>", 27, 91, 1791, 13044, 91, 29);
        assert_ids(t, "<<think>>", 27, 151667, 29);
        assert_ids(t, "<|<|im_end|>|>", 27, 91, 151645, 91, 29);
        assert_ids(t, "e<|im_end|>\u0301", 68, 151645, 53839);
        assert_ids(t, "<think>\n\n</think>\n\n", 151667, 271, 151668, 271);
        assert_ids(t, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 69440,
                   69440, 69440, 69440, 69440, 69440, 69440, 69440);
    }
}

static void what_it_tells_about_itself(void **state)
{
    (void)state;
    const qw_tokenizer_info *a = qw_tokenizer_get_info(parsed), *b = qw_tokenizer_get_info(cached);
    assert_int_equal(a->n_ids, 151669);
    assert_int_equal(a->eos_id, 151645);
    assert_int_equal(a->pad_id, 151643);
    assert_int_equal(a->bos_id, -1);
    assert_null(a->bos.ptr);
    assert_true(qw_str_is(a->eos, "<|im_end|>") && qw_str_is(a->pad, "<|endoftext|>"));
    assert_int_equal(a->model_max_length, 131072);
    assert_true(a->n_ids == b->n_ids && a->eos_id == b->eos_id && a->pad_id == b->pad_id &&
                a->model_max_length == b->model_max_length && qw_str_eq(a->eos, b->eos));
    int n_added = 0, n_special = 0;
    for (int32_t id = -1; id <= a->n_ids; id++) {
        qw_str bytes = qw_tokenizer_token_bytes(parsed, id);
        assert_true(qw_str_eq(bytes, qw_tokenizer_token_bytes(cached, id)));
        assert_int_equal(bytes.ptr != NULL, id >= 0 && id < a->n_ids);
        int32_t found = -1;
        if (bytes.ptr) {
            assert_true(qw_tokenizer_id_of(cached, bytes, &found));
            assert_int_equal(found, id);
        }
        n_added += qw_tokenizer_is_added(parsed, id);
        n_special += qw_tokenizer_is_special(cached, id);
    }
    assert_int_equal(n_added, 26);
    assert_int_equal(n_special, 14);
    int32_t unused;
    assert_false(qw_tokenizer_id_of(parsed, QW_STR("no such token"), &unused));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoding),
        cmocka_unit_test(encoding_of_random_mixtures),
        cmocka_unit_test(normalizing_and_cutting),
        cmocka_unit_test(decoding),
        cmocka_unit_test(strings_that_break_naive_implementations),
        cmocka_unit_test(what_it_tells_about_itself),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
