#include "format/tokenizer.h"

#include "base/map.h"
#include "base/mem.h"
#include "format/json.h"
#include "format/nfc.h"
#include "format/tokenizer_internal.h"
#include "format/tokenizer_settings.h"

// tokenizer.json spells bytes as characters: 33..126, 161..172 and 174..255 stand for themselves,
// the other 68 bytes, in increasing order, are U+0100 and on (qwen3-dense 5.2). Here every token
// becomes its raw bytes, once, so that encoding and decoding never see that alphabet.
enum { ALPHABET_SIZE = 256 + 68 };

typedef struct alphabet {
    int32_t char_of[256];
    int16_t byte_of[ALPHABET_SIZE]; // -1: stands for no byte
} alphabet;

// Everything that is gathered for the image. Texts are borrowed from the JSON values.
typedef struct loader {
    json_t *root, *config;
    alphabet alphabet;
    qw_tokenizer_pipeline pipeline;
    qw_added_list added;
    qw_map vocab; // text as in the file -> id
    size_t n_ids;
    qw_str *texts;     // [n_ids], of vocabulary or added token; ptr NULL: no entry
    uint8_t *id_flags; // [n_ids], QW_ID_...
    uint32_t *offsets; // [n_ids + 1]
    qw_buf bytes;
    qw_bpe_pair *pairs;
    size_t n_pairs; // slots
    int32_t byte_ids[256];
    int32_t *lookup;
    size_t n_lookup; // slots
    qw_added_token *added_tokens;
    qw_buf text; // the text section
} loader;

static void loader_release(loader *l)
{
    qw_buf_release(&l->text);
    qw_mem_free(l->added_tokens);
    qw_mem_free(l->lookup);
    qw_mem_free(l->pairs);
    qw_buf_release(&l->bytes);
    qw_mem_free(l->offsets);
    qw_mem_free(l->id_flags);
    qw_mem_free(l->texts);
    qw_map_release(&l->vocab);
    qw_mem_free(l->added.items);
    json_decref(l->config);
    json_decref(l->root);
}

static void alphabet_init(alphabet *a)
{
    int32_t next = 256;
    memset(a->byte_of, -1, sizeof a->byte_of);
    for (int byte = 0; byte < 256; byte++) {
        bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        a->char_of[byte] = itself ? byte : next++;
        a->byte_of[a->char_of[byte]] = (int16_t)byte;
    }
}

// Append the bytes that a vocabulary entry spells. One with a character outside of the alphabet
// stands for its own UTF-8, as the reference's decoder has it.
static void append_spelled(const alphabet *a, qw_buf *out, qw_str text)
{
    size_t begin = out->len;
    for (size_t pos = 0; pos < text.len && !out->failed;) {
        int32_t cp = qw_utf8_next(text, &pos);
        if (cp < 0 || cp >= ALPHABET_SIZE || a->byte_of[cp] < 0) {
            out->len = begin;
            qw_buf_append(out, text.ptr, text.len);
            return;
        }
        qw_buf_putc(out, (char)a->byte_of[cp]);
    }
}

// The id of a vocabulary entry must be an integer in range.
static qw_status entry_id(size_t *id, const json_t *v, const char *key, qw_error *err)
{
    json_int_t value = json_integer_value(v);
    if (!json_is_integer(v) || value < 0 || value > QW_TOKENIZER_MAX_ID)
        return qw_fail(err, QW_ERR_FORMAT,
                       "the id of '%.60s' in 'model.vocab' must be an integer from 0 to %d", key,
                       QW_TOKENIZER_MAX_ID);
    *id = (size_t)value;
    return QW_OK;
}

static qw_status allocate_ids(loader *l, qw_error *err)
{
    l->texts = qw_mem_calloc(l->n_ids, sizeof *l->texts);
    l->id_flags = qw_mem_calloc(l->n_ids, sizeof *l->id_flags);
    l->offsets = qw_mem_calloc(l->n_ids + 1, sizeof *l->offsets);
    if (!l->texts || !l->id_flags || !l->offsets)
        return qw_fail_memory(err, l->n_ids * sizeof *l->texts, "a vocabulary");
    return QW_OK;
}

static qw_status read_vocab(loader *l, qw_error *err)
{
    json_t *vocab = json_object_get(json_object_get(l->root, "model"), "vocab");
    if (!json_is_object(vocab) || json_object_size(vocab) == 0)
        return qw_fail(err, QW_ERR_FORMAT, "'model.vocab' must be an object with entries, got %s",
                       qw_json_type_name(vocab));
    const char *key;
    size_t key_len, id = 0;
    json_t *v;
    json_object_keylen_foreach(vocab, key, key_len, v)
    {
        qw_status st = entry_id(&id, v, key, err);
        if (st != QW_OK) return st;
        if (id + 1 > l->n_ids) l->n_ids = id + 1;
    }
    for (size_t i = 0; i < l->added.n; i++)
        if ((size_t)l->added.items[i].id + 1 > l->n_ids)
            l->n_ids = (size_t)l->added.items[i].id + 1;
    qw_status st = allocate_ids(l, err);
    if (st == QW_OK) st = qw_map_reserve(&l->vocab, json_object_size(vocab), err);
    if (st != QW_OK) return st;
    json_object_keylen_foreach(vocab, key, key_len, v)
    {
        st = entry_id(&id, v, key, err);
        if (st == QW_OK && l->texts[id].ptr)
            st = qw_fail(err, QW_ERR_FORMAT, "'model.vocab' has id %zu twice", id);
        if (st == QW_OK)
            st = qw_map_put(&l->vocab, (qw_str){key, key_len}, (uint32_t)id, NULL, err);
        if (st != QW_OK) return st;
        l->texts[id] = (qw_str){key, key_len};
        l->id_flags[id] = QW_ID_PRESENT;
    }
    return QW_OK;
}

// Enter the added tokens. One that is in the vocabulary too must have the same id there.
static qw_status place_added(loader *l, qw_error *err)
{
    for (size_t i = 0; i < l->added.n; i++) {
        const qw_added_entry *a = &l->added.items[i];
        uint32_t in_vocab;
        if (qw_map_get(&l->vocab, a->text, &in_vocab) && in_vocab != (uint32_t)a->id)
            return qw_fail(err, QW_ERR_FORMAT,
                           "added token %" PRId32 " is in 'model.vocab' with id %" PRIu32, a->id,
                           in_vocab);
        if (l->texts[a->id].ptr && !qw_str_eq(l->texts[a->id], a->text))
            return qw_fail(err, QW_ERR_FORMAT, "id %" PRId32 " belongs to two different tokens",
                           a->id);
        l->texts[a->id] = a->text;
        l->id_flags[a->id] = QW_ID_PRESENT | QW_ID_ADDED;
        if (a->flags & QW_ADDED_SPECIAL) l->id_flags[a->id] |= QW_ID_SPECIAL;
    }
    return QW_OK;
}

static qw_status spell_bytes(loader *l, qw_error *err)
{
    for (size_t id = 0; id < l->n_ids; id++) {
        l->offsets[id] = (uint32_t)l->bytes.len;
        if (l->id_flags[id] & QW_ID_ADDED)
            qw_buf_append(&l->bytes, l->texts[id].ptr, l->texts[id].len);
        else
            append_spelled(&l->alphabet, &l->bytes, l->texts[id]);
    }
    l->offsets[l->n_ids] = (uint32_t)l->bytes.len;
    return qw_buf_check(&l->bytes, "a vocabulary", err);
}

static qw_status find_byte_ids(loader *l, qw_error *err)
{
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        size_t len = (size_t)qw_utf8_put(text, l->alphabet.char_of[byte]);
        uint32_t id;
        if (!qw_map_get(&l->vocab, (qw_str){text, len}, &id))
            return qw_fail(err, QW_ERR_FORMAT,
                           "'model.vocab' has no entry for byte 0x%02X; it is no byte-level "
                           "vocabulary",
                           byte);
        l->byte_ids[byte] = (int32_t)id;
    }
    return QW_OK;
}

// The two parts of a merge: ["A", "B"], or "A B" with one space in files of older libraries.
static bool split_merge(const json_t *merge, qw_str *left, qw_str *right)
{
    if (json_is_array(merge) && json_array_size(merge) == 2 &&
        json_is_string(json_array_get(merge, 0)) && json_is_string(json_array_get(merge, 1))) {
        *left = qw_json_str(json_array_get(merge, 0));
        *right = qw_json_str(json_array_get(merge, 1));
        return true;
    }
    if (!json_is_string(merge)) return false;
    qw_str all = qw_json_str(merge);
    size_t space = qw_str_find(all, QW_STR(" "), 0);
    if (space == SIZE_MAX || qw_str_find(all, QW_STR(" "), space + 1) != SIZE_MAX) return false;
    *left = (qw_str){all.ptr, space};
    *right = (qw_str){all.ptr + space + 1, all.len - space - 1};
    return true;
}

static qw_status read_merge(loader *l, size_t rank, const json_t *merge, qw_buf *joined,
                            qw_error *err)
{
    qw_str left, right;
    if (!split_merge(merge, &left, &right))
        return qw_fail(err, QW_ERR_FORMAT,
                       "merge %zu in 'model.merges' must be two strings, or one with a space "
                       "between its two parts",
                       rank);
    qw_buf_clear(joined);
    qw_buf_append(joined, left.ptr, left.len);
    qw_buf_append(joined, right.ptr, right.len);
    qw_status st = qw_buf_check(joined, "a merge", err);
    if (st != QW_OK) return st;
    uint32_t ids[3];
    const qw_str parts[3] = {left, right, {joined->data, joined->len}};
    static const char *const names[3] = {"first part", "second part", "result"};
    for (int i = 0; i < 3; i++)
        if (!qw_map_get(&l->vocab, parts[i], &ids[i]))
            return qw_fail(err, QW_ERR_FORMAT,
                           "the %s of merge %zu in 'model.merges' is not in 'model.vocab'",
                           names[i], rank);
    qw_bpe_pair pair = {(int32_t)ids[0], (int32_t)ids[1], (int32_t)rank, (int32_t)ids[2]};
    qw_bpe_table_put(l->pairs, l->n_pairs, pair);
    return QW_OK;
}

static qw_status read_merges(loader *l, qw_error *err)
{
    const json_t *merges = json_object_get(json_object_get(l->root, "model"), "merges");
    if (!json_is_array(merges))
        return qw_fail(err, QW_ERR_FORMAT, "'model.merges' must be an array, got %s",
                       qw_json_type_name(merges));
    size_t n = json_array_size(merges);
    if (n > INT32_MAX / 2)
        return qw_fail(err, QW_ERR_FORMAT, "%zu merges are more than can be ranked", n);
    l->n_pairs = qw_bpe_table_slots(n);
    l->pairs = qw_mem_array(l->n_pairs, sizeof *l->pairs);
    if (!l->pairs) return qw_fail_memory(err, l->n_pairs * sizeof *l->pairs, "merges");
    for (size_t i = 0; i < l->n_pairs; i++) l->pairs[i] = (qw_bpe_pair){-1, -1, -1, -1};
    qw_buf joined;
    qw_buf_init(&joined, SIZE_MAX / 2);
    qw_status st = QW_OK;
    for (size_t i = 0; st == QW_OK && i < n; i++)
        st = read_merge(l, i, json_array_get(merges, i), &joined, err);
    qw_buf_release(&joined);
    return st;
}

static qw_str bytes_of(const loader *l, size_t id)
{
    return (qw_str){l->bytes.data + l->offsets[id], l->offsets[id + 1] - l->offsets[id]};
}

static void index_id(loader *l, size_t id)
{
    qw_str bytes = bytes_of(l, id);
    size_t i = qw_tokenizer_lookup_slot(l->n_lookup, bytes);
    for (; l->lookup[i] >= 0; i = (i + 1) & (l->n_lookup - 1))
        if (qw_str_eq(bytes_of(l, (size_t)l->lookup[i]), bytes)) return; // the first one stays
    l->lookup[i] = (int32_t)id;
}

static qw_status build_lookup(loader *l, qw_error *err)
{
    l->n_lookup = qw_tokenizer_lookup_slots(l->n_ids);
    l->lookup = qw_mem_array(l->n_lookup, sizeof *l->lookup);
    if (!l->lookup) return qw_fail_memory(err, l->n_lookup * sizeof *l->lookup, "a vocabulary");
    memset(l->lookup, -1, l->n_lookup * sizeof *l->lookup);
    for (size_t id = 0; id < l->n_ids; id++)
        if (l->id_flags[id] & QW_ID_ADDED) index_id(l, id);
    for (size_t id = 0; id < l->n_ids; id++)
        if (l->id_flags[id] == QW_ID_PRESENT) index_id(l, id);
    return QW_OK;
}

static int compare_added(const void *a, const void *b, void *text)
{
    const qw_added_token *x = a, *y = b;
    return qw_added_compare((qw_str){(char *)text + x->text_offset, x->text_len},
                            (qw_str){(char *)text + y->text_offset, y->text_len});
}

// The added tokens as the image has them: raw ones, then normalized ones, each ordered by text. A
// normalized token is looked for in normalized text, so its own text is normalized.
static qw_status build_added(loader *l, size_t *n_raw, size_t *n_tokens, qw_error *err)
{
    l->added_tokens = qw_mem_array(l->added.n, sizeof *l->added_tokens);
    if (!l->added_tokens) return qw_fail_memory(err, l->added.n * 16, "added tokens");
    size_t n = 0;
    for (int normalized = 0; normalized <= 1; normalized++) {
        size_t first = n;
        for (size_t i = 0; i < l->added.n; i++) {
            const qw_added_entry *a = &l->added.items[i];
            if (!!(a->flags & QW_ADDED_NORMALIZED) != normalized || a->text.len == 0) continue;
            size_t offset = l->text.len;
            if (normalized && l->pipeline.nfc) {
                qw_status st = qw_nfc_append(&l->text, a->text, err);
                if (st != QW_OK) return st;
            } else {
                qw_buf_append(&l->text, a->text.ptr, a->text.len);
            }
            l->added_tokens[n++] = (qw_added_token){a->id, a->flags, (uint32_t)offset,
                                                    (uint32_t)(l->text.len - offset)};
        }
        qw_status st = qw_buf_check(&l->text, "the text of added tokens", err);
        if (st != QW_OK) return st;
        if (n - first > 1)
            qsort_r(l->added_tokens + first, n - first, sizeof *l->added_tokens, compare_added,
                    l->text.data);
        for (size_t i = first + 1; i < n; i++)
            if (compare_added(&l->added_tokens[i - 1], &l->added_tokens[i], l->text.data) == 0)
                return qw_fail(err, QW_ERR_FORMAT,
                               "added tokens %" PRId32 " and %" PRId32
                               " have the same text after normalization",
                               l->added_tokens[i - 1].id, l->added_tokens[i].id);
        if (!normalized) *n_raw = n;
    }
    *n_tokens = n;
    return QW_OK;
}

// Put a string of the header into the text section, and find the token that it names.
static void place_string(loader *l, qw_tokenizer_header *h, qw_tokenizer_string which, qw_str text)
{
    h->strings[which].offset = UINT32_MAX;
    h->string_ids[which] = -1;
    if (!text.ptr) return;
    h->strings[which].offset = (uint32_t)l->text.len;
    h->strings[which].len = (uint32_t)text.len;
    qw_buf_append(&l->text, text.ptr, text.len);
    if (which == QW_STRING_PATTERN) return;
    uint32_t id;
    for (size_t i = 0; i < l->added.n; i++)
        if (qw_str_eq(l->added.items[i].text, text)) h->string_ids[which] = l->added.items[i].id;
    if (h->string_ids[which] < 0 && qw_map_get(&l->vocab, text, &id))
        h->string_ids[which] = (int32_t)id;
}

static qw_status fill_header(loader *l, qw_tokenizer_header *h, qw_error *err)
{
    static const struct {
        const char *key;
        qw_tokenizer_string which;
    } specials[] = {
        {"bos_token", QW_STRING_BOS}, {"eos_token", QW_STRING_EOS}, {"pad_token", QW_STRING_PAD}};
    h->has_nfc = l->pipeline.nfc;
    h->ignore_merges = l->pipeline.ignore_merges;
    place_string(l, h, QW_STRING_PATTERN, l->pipeline.pattern);
    for (size_t i = 0; i < QW_ARRAY_LEN(specials); i++) {
        qw_str text;
        qw_status st = qw_tokenizer_special_read(&text, l->config, specials[i].key, err);
        if (st != QW_OK) return st;
        place_string(l, h, specials[i].which, text);
    }
    qw_status st = qw_tokenizer_max_length_read(&h->model_max_length, l->config, err);
    return st == QW_OK ? qw_buf_check(&l->text, "the text of a tokenizer", err) : st;
}

static qw_status build_image(loader *l, void **out, size_t *size, qw_tokenizer_header *h,
                             qw_error *err)
{
    size_t n_raw = 0, n_added = 0;
    qw_status st = build_added(l, &n_raw, &n_added, err);
    if (st == QW_OK) st = fill_header(l, h, err);
    if (st != QW_OK) return st;
    h->n_added_raw = (uint32_t)n_raw;
    const qw_tokenizer_part parts[QW_N_SECTIONS] = {
        [QW_SECTION_ID_OFFSETS] = {l->offsets, (l->n_ids + 1) * sizeof *l->offsets},
        [QW_SECTION_ID_BYTES] = {l->bytes.data, l->bytes.len},
        [QW_SECTION_ID_FLAGS] = {l->id_flags, l->n_ids * sizeof *l->id_flags},
        [QW_SECTION_PAIRS] = {l->pairs, l->n_pairs * sizeof *l->pairs},
        [QW_SECTION_BYTE_IDS] = {l->byte_ids, sizeof l->byte_ids},
        [QW_SECTION_LOOKUP] = {l->lookup, l->n_lookup * sizeof *l->lookup},
        [QW_SECTION_ADDED] = {l->added_tokens, n_added * sizeof *l->added_tokens},
        [QW_SECTION_TEXT] = {l->text.data, l->text.len},
    };
    return qw_tokenizer_image_build(out, size, h, parts, err);
}

static qw_status parse_files(loader *l, const qw_str *json, const qw_str *config, qw_error *err)
{
    qw_status st = qw_json_parse(&l->root, json->ptr, json->len, "tokenizer.json", err);
    if (st == QW_OK && config)
        st = qw_json_parse_wide(&l->config, config->ptr, config->len, "tokenizer_config.json", err);
    if (st == QW_OK && !json_is_object(l->root))
        st = qw_fail(err, QW_ERR_FORMAT, "tokenizer.json must hold an object, got %s",
                     qw_json_type_name(l->root));
    if (st == QW_OK && l->config && !json_is_object(l->config))
        st = qw_fail(err, QW_ERR_FORMAT, "tokenizer_config.json must hold an object, got %s",
                     qw_json_type_name(l->config));
    return st;
}

qw_status qw_tokenizer_compile(void **out, size_t *size, const qw_str *json, const qw_str *config,
                               qw_error *err)
{
    loader l = {0};
    qw_tokenizer_header h = {.json = qw_tokenizer_source_of(json),
                             .config = qw_tokenizer_source_of(config)};
    qw_buf_init(&l.bytes, UINT32_MAX / 2); // offsets have 32 bits
    qw_buf_init(&l.text, UINT32_MAX / 2);
    qw_map_init(&l.vocab);
    alphabet_init(&l.alphabet);
    qw_status st = parse_files(&l, json, config, err);
    if (st == QW_OK) st = qw_tokenizer_pipeline_read(&l.pipeline, l.root, err);
    if (st == QW_OK) st = qw_added_list_read(&l.added, l.root, l.config, err);
    if (st == QW_OK) st = read_vocab(&l, err);
    if (st == QW_OK) st = place_added(&l, err);
    if (st == QW_OK) st = spell_bytes(&l, err);
    if (st == QW_OK) st = find_byte_ids(&l, err);
    if (st == QW_OK) st = read_merges(&l, err);
    if (st == QW_OK) st = build_lookup(&l, err);
    if (st == QW_OK) st = build_image(&l, out, size, &h, err);
    loader_release(&l);
    return st;
}

static qw_str content_of(const qw_file *f)
{
    return (qw_str){f->data ? (const char *)f->data : "", (size_t)f->size};
}

qw_status qw_tokenizer_load(qw_tokenizer **out, const char *json_path, const char *config_path,
                            qw_error *err)
{
    qw_file json = {0}, config = {0};
    void *image = NULL;
    size_t size = 0;
    qw_status st = qw_file_open(&json, json_path, err);
    if (st == QW_OK && config_path) st = qw_file_open(&config, config_path, err);
    if (st == QW_OK) {
        qw_str json_text = content_of(&json), config_text = content_of(&config);
        st =
            qw_tokenizer_compile(&image, &size, &json_text, config_path ? &config_text : NULL, err);
        if (st == QW_OK) st = qw_tokenizer_from_image(out, image, size, err);
        if (st != QW_OK) st = qw_context(err, st, "reading tokenizer '%s'", json_path);
    }
    qw_file_close(&config);
    qw_file_close(&json);
    return st;
}
