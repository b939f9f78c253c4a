#include "format/tokenizer.h"

#include "base/mem.h"
#include "format/bpe.h"
#include "format/nfc.h"
#include "format/tokenizer_internal.h"
#include "format/utf8_repair.h"

enum { MAX_TEXT = 1 << 30 }; // bytes of text in one call; positions within a piece are 32 bits wide

static void fill_info(qw_tokenizer *t)
{
    const qw_tokenizer_header *h = t->view.header;
    t->info = (qw_tokenizer_info){
        .n_ids = (int32_t)t->view.n_ids,
        .bos_id = h->string_ids[QW_STRING_BOS],
        .eos_id = h->string_ids[QW_STRING_EOS],
        .pad_id = h->string_ids[QW_STRING_PAD],
        .bos = qw_tokenizer_view_string(&t->view, QW_STRING_BOS),
        .eos = qw_tokenizer_view_string(&t->view, QW_STRING_EOS),
        .pad = qw_tokenizer_view_string(&t->view, QW_STRING_PAD),
        .model_max_length = h->model_max_length,
        .cache_note = t->note.text,
    };
}

// Everything of a tokenizer that is not in its image.
static qw_status attach(qw_tokenizer **out, const void *image, size_t size, qw_error *err)
{
    qw_tokenizer_view view;
    qw_status st = qw_tokenizer_image_view(&view, image, size, err);
    if (st != QW_OK) return st;
    qw_tokenizer *t = qw_mem_calloc(1, sizeof *t);
    if (!t) return qw_fail_memory(err, sizeof *t, "a tokenizer");
    t->view = view;
    st = qw_pretokenizer_new(&t->pretokenizer, qw_tokenizer_view_string(&view, QW_STRING_PATTERN),
                             true, err);
    if (st != QW_OK) {
        qw_mem_free(t);
        return st;
    }
    size_t n_raw = view.header->n_added_raw;
    qw_added_index_init(&t->added_raw, view.added, n_raw, view.text);
    qw_added_index_init(&t->added_normalized, view.added + n_raw, view.n_added - n_raw, view.text);
    fill_info(t);
    *out = t;
    return QW_OK;
}

qw_status qw_tokenizer_from_image(qw_tokenizer **out, void *image, size_t size, qw_error *err)
{
    qw_status st = attach(out, image, size, err);
    if (st == QW_OK)
        (*out)->image = image;
    else
        qw_mem_free(image);
    return st;
}

qw_status qw_tokenizer_from_cache(qw_tokenizer **out, const qw_file *cache, qw_error *err)
{
    qw_status st = attach(out, cache->data, (size_t)cache->size, err);
    if (st != QW_OK) return st;
    (*out)->cache = *cache;
    (*out)->info.from_cache = true;
    return QW_OK;
}

void qw_tokenizer_close(qw_tokenizer *t)
{
    if (!t) return;
    qw_pretokenizer_free(t->pretokenizer);
    qw_file_close(&t->cache);
    qw_mem_free(t->image);
    qw_mem_free(t);
}

const qw_tokenizer_info *qw_tokenizer_get_info(const qw_tokenizer *t)
{
    return &t->info;
}

static uint8_t id_flags(const qw_tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->view.n_ids ? t->view.id_flags[id] : 0;
}

bool qw_tokenizer_is_added(const qw_tokenizer *t, int32_t id)
{
    return id_flags(t, id) & QW_ID_ADDED;
}

bool qw_tokenizer_is_special(const qw_tokenizer *t, int32_t id)
{
    return id_flags(t, id) & QW_ID_SPECIAL;
}

qw_str qw_tokenizer_token_bytes(const qw_tokenizer *t, int32_t id)
{
    if (!(id_flags(t, id) & QW_ID_PRESENT)) return (qw_str){NULL, 0};
    return qw_tokenizer_view_bytes(&t->view, (size_t)id);
}

bool qw_tokenizer_id_of(const qw_tokenizer *t, qw_str bytes, int32_t *id)
{
    const qw_tokenizer_view *v = &t->view;
    size_t i = qw_tokenizer_lookup_slot(v->n_lookup, bytes);
    for (; v->lookup[i] >= 0; i = (i + 1) & (v->n_lookup - 1)) {
        if (!qw_str_eq(qw_tokenizer_view_bytes(v, (size_t)v->lookup[i]), bytes)) continue;
        *id = v->lookup[i];
        return true;
    }
    return false;
}

// What one call of encode needs besides the tokenizer.
typedef struct encoder {
    const qw_tokenizer *t;
    bool split_special;
    qw_piece_walk walk;
    qw_bpe_scratch scratch;
    qw_buf normalized;
    qw_ids *out;
} encoder;

static qw_status encode_piece(encoder *e, qw_str piece, qw_error *err)
{
    const qw_tokenizer_view *v = &e->t->view;
    int32_t id;
    if (v->header->ignore_merges && qw_tokenizer_id_of(e->t, piece, &id) &&
        !qw_tokenizer_is_added(e->t, id))
        return qw_ids_push(e->out, id, err);
    return qw_bpe_encode(&v->bpe, piece, &e->scratch, e->out, err);
}

// Normalized text without any added token.
static qw_status encode_plain(encoder *e, qw_str text, qw_error *err)
{
    qw_piece_walk_start(&e->walk, text);
    for (;;) {
        qw_str piece;
        qw_status st = qw_piece_walk_next(&e->walk, &piece, err);
        if (st != QW_OK || piece.len == 0) return st;
        st = encode_piece(e, piece, err);
        if (st != QW_OK) return st;
    }
}

// Text between two added tokens: normalize it by itself, then look for the tokens that are defined
// on normalized text.
static qw_status encode_between(encoder *e, qw_str text, qw_error *err)
{
    if (e->t->view.header->has_nfc && !qw_nfc_is_plain(text)) {
        qw_buf_clear(&e->normalized);
        qw_status st = qw_nfc_append(&e->normalized, text, err);
        if (st != QW_OK) return st;
        text = (qw_str){e->normalized.data, e->normalized.len};
    }
    qw_added_scan scan;
    qw_added_span span;
    qw_added_scan_init(&scan, &e->t->added_normalized, text, e->split_special);
    while (qw_added_scan_next(&scan, &span)) {
        qw_status st =
            span.id >= 0 ? qw_ids_push(e->out, span.id, err) : encode_plain(e, span.text, err);
        if (st != QW_OK) return st;
    }
    return QW_OK;
}

static qw_status encode_valid(encoder *e, qw_str text, qw_error *err)
{
    qw_status st = qw_piece_walk_init(&e->walk, e->t->pretokenizer, err);
    if (st != QW_OK) return st;
    qw_buf_init(&e->normalized, (size_t)3 * MAX_TEXT); // NFC at most triples the length in UTF-8
    qw_added_scan scan;
    qw_added_span span;
    qw_added_scan_init(&scan, &e->t->added_raw, text, e->split_special);
    while (st == QW_OK && qw_added_scan_next(&scan, &span)) {
        st = span.id >= 0 ? qw_ids_push(e->out, span.id, err) : encode_between(e, span.text, err);
    }
    qw_piece_walk_release(&e->walk);
    qw_bpe_scratch_release(&e->scratch);
    qw_buf_release(&e->normalized);
    return st;
}

qw_status qw_tokenizer_encode(const qw_tokenizer *t, qw_str text, unsigned flags, qw_ids *out,
                              qw_error *err)
{
    if (text.len > MAX_TEXT)
        return qw_fail(err, QW_ERR_USAGE,
                       "a text of %zu bytes is too long to tokenize; the limit "
                       "is %d",
                       text.len, MAX_TEXT);
    if (text.len == 0) return QW_OK;
    encoder e = {.t = t, .split_special = flags & QW_ENCODE_SPLIT_SPECIAL, .out = out};
    size_t old_len = out->len;
    qw_status st = QW_OK;
    qw_buf repaired;
    qw_buf_init(&repaired, (size_t)3 * MAX_TEXT); // U+FFFD has three bytes
    if (!qw_utf8_is_valid(text)) {
        qw_utf8_repair repair = {0};
        qw_utf8_repair_push(&repair, &repaired, text);
        qw_utf8_repair_end(&repair, &repaired);
        st = qw_buf_check(&repaired, "repaired text", err);
        text = (qw_str){repaired.data, repaired.len};
    }
    if (st == QW_OK) st = encode_valid(&e, text, err);
    if (st != QW_OK) out->len = old_len;
    qw_buf_release(&repaired);
    return st;
}

void qw_tokenizer_decode(const qw_tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                         qw_buf *out)
{
    qw_utf8_repair repair = {0};
    for (size_t i = 0; i < n; i++) {
        if (skip_special && qw_tokenizer_is_special(t, ids[i])) continue;
        qw_str bytes = qw_tokenizer_token_bytes(t, ids[i]);
        if (bytes.len) qw_utf8_repair_push(&repair, out, bytes);
    }
    qw_utf8_repair_end(&repair, out);
}
