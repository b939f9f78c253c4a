#include "server/api_write.h"

#include <math.h>

enum { MAX_LIST = 1 << 30 };

void qw_api_write_int(qw_buf *b, int64_t value)
{
    char text[24], *p = text + sizeof text;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) *--p = '-';
    qw_buf_append(b, p, (size_t)(text + sizeof text - p));
}

void qw_api_write_logprob(qw_buf *b, float logprob)
{
    // Written so that a NaN is hidden too: JSON has no word for it.
    qw_json_write_f64(b, logprob > -9999.0f ? (double)logprob : -9999.0);
}

void qw_api_write_text(qw_buf *b, qw_str text)
{
    if (text.ptr)
        qw_json_write_string(b, text);
    else
        QW_PUT(b, "null");
}

void qw_api_write_ids(qw_buf *b, const int32_t *ids, size_t n)
{
    qw_buf_putc(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i) qw_buf_putc(b, ',');
        qw_api_write_int(b, ids[i]);
    }
    qw_buf_putc(b, ']');
}

static qw_str token_bytes(const qw_tokenizer *tokenizer, int32_t id)
{
    qw_str bytes = tokenizer ? qw_tokenizer_token_bytes(tokenizer, id) : (qw_str){NULL, 0};
    return bytes.ptr ? bytes : (qw_str){"", 0};
}

size_t qw_api_write_token(qw_buf *b, const qw_tokenizer *tokenizer, int32_t id, bool as_id)
{
    size_t n_chars = 0;
    if (as_id) {
        size_t before = b->len;
        QW_PUT(b, "\"token_id:");
        qw_api_write_int(b, id);
        QW_PUT(b, "\"");
        return b->len - before - 2;
    }
    qw_str bytes = token_bytes(tokenizer, id);
    bool is_valid = true;
    for (size_t pos = 0; pos < bytes.len; n_chars++)
        if (qw_utf8_next(bytes, &pos) < 0) is_valid = false;
    if (is_valid) {
        qw_json_write_string(b, bytes);
        return n_chars;
    }
    // It holds a part of a character: piece by piece.
    qw_buf_putc(b, '"');
    for (size_t pos = 0; pos < bytes.len;) {
        size_t start = pos;
        if (qw_utf8_next(bytes, &pos) < 0) {
            QW_PUT(b, "\xEF\xBF\xBD");
            continue;
        }
        size_t at = b->len;
        qw_json_write_string(b, (qw_str){bytes.ptr + start, pos - start});
        if (b->failed) return n_chars;
        memmove(b->data + at, b->data + at + 1, b->len - at - 2); // without its quotes
        b->len -= 2;
    }
    qw_buf_putc(b, '"');
    return n_chars;
}

// ---- chat

// The bytes behind a token; as an id, those of its spelling.
static void write_bytes(qw_buf *b, const qw_logprobs_style *style, int32_t id)
{
    char spelled[24];
    qw_str bytes = token_bytes(style->tokenizer, id);
    if (style->as_ids) {
        int n = snprintf(spelled, sizeof spelled, "token_id:%" PRId32, id);
        bytes = (qw_str){spelled, (size_t)n};
    }
    qw_buf_putc(b, '[');
    for (size_t i = 0; i < bytes.len; i++) {
        if (i) qw_buf_putc(b, ',');
        qw_api_write_int(b, (unsigned char)bytes.ptr[i]);
    }
    qw_buf_putc(b, ']');
}

static void write_candidate(qw_buf *b, const qw_logprobs_style *style, const qw_logprob *e)
{
    QW_PUT(b, "{\"token\":");
    (void)qw_api_write_token(b, style->tokenizer, e->id, style->as_ids);
    QW_PUT(b, ",\"logprob\":");
    qw_api_write_logprob(b, e->logprob);
    QW_PUT(b, ",\"bytes\":");
    write_bytes(b, style, e->id);
}

void qw_api_write_chat_logprob(qw_buf *b, const qw_logprobs_style *style, const qw_logprob *entries,
                               size_t n)
{
    int64_t n_left = style->n_top < 0 ? INT64_MAX : style->n_top;
    write_candidate(b, style, &entries[0]);
    QW_PUT(b, ",\"top_logprobs\":[");
    for (size_t i = 0; i < n && n_left > 0; i++) {
        if (i > 0 && entries[i].id == entries[0].id) continue;
        if (i > 0) qw_buf_putc(b, ',');
        write_candidate(b, style, &entries[i]);
        qw_buf_putc(b, '}');
        n_left--;
    }
    QW_PUT(b, "]}");
}

void qw_api_write_prompt_logprob(qw_buf *b, const qw_tokenizer *tokenizer,
                                 const qw_logprob *entries, size_t n)
{
    qw_buf_putc(b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && entries[i].id == entries[0].id) continue;
        if (i > 0) qw_buf_putc(b, ',');
        qw_buf_putc(b, '"');
        qw_api_write_int(b, entries[i].id);
        QW_PUT(b, "\":{\"logprob\":");
        qw_api_write_logprob(b, entries[i].logprob);
        QW_PUT(b, ",\"rank\":");
        qw_api_write_int(b, entries[i].rank);
        QW_PUT(b, ",\"decoded_token\":");
        (void)qw_api_write_token(b, tokenizer, entries[i].id, false);
        qw_buf_putc(b, '}');
    }
    qw_buf_putc(b, '}');
}

// ---- completions

void qw_logprob_lists_init(qw_logprob_lists *l)
{
    *l = (qw_logprob_lists){0};
    qw_buf_init(&l->offsets, MAX_LIST);
    qw_buf_init(&l->logprobs, MAX_LIST);
    qw_buf_init(&l->tokens, MAX_LIST);
    qw_buf_init(&l->tops, MAX_LIST);
}

void qw_logprob_lists_release(qw_logprob_lists *l)
{
    qw_buf_release(&l->offsets);
    qw_buf_release(&l->logprobs);
    qw_buf_release(&l->tokens);
    qw_buf_release(&l->tops);
}

void qw_logprob_lists_clear(qw_logprob_lists *l)
{
    qw_buf_clear(&l->offsets);
    qw_buf_clear(&l->logprobs);
    qw_buf_clear(&l->tokens);
    qw_buf_clear(&l->tops);
    l->n = 0;
}

qw_status qw_logprob_lists_check(const qw_logprob_lists *l, qw_error *err)
{
    const qw_buf *all[] = {&l->offsets, &l->logprobs, &l->tokens, &l->tops};
    for (size_t i = 0; i < QW_ARRAY_LEN(all); i++) {
        qw_status st = qw_buf_check(all[i], "the log-probabilities", err);
        if (st != QW_OK) return st;
    }
    return QW_OK;
}

static bool is_broken(const qw_logprobs_style *style, int32_t id)
{
    return !qw_utf8_is_valid(token_bytes(style->tokenizer, id));
}

// True if two tokens print alike. Only parts of characters do, which all show as U+FFFD.
static bool are_alike(const qw_logprobs_style *style, int32_t a, int32_t b)
{
    if (style->as_ids || !is_broken(style, a) || !is_broken(style, b)) return false;
    qw_buf x, y;
    qw_buf_init(&x, MAX_LIST);
    qw_buf_init(&y, MAX_LIST);
    (void)qw_api_write_token(&x, style->tokenizer, a, false);
    (void)qw_api_write_token(&y, style->tokenizer, b, false);
    bool alike = x.data && y.data && qw_str_eq(qw_buf_text(&x), qw_buf_text(&y));
    qw_buf_release(&x);
    qw_buf_release(&y);
    return alike;
}

// A map has each name once. Of tokens that print alike the likeliest counts, so that a client sees
// rightly whether the chosen one was the best.
static void write_top_map(qw_buf *b, const qw_logprobs_style *style, const qw_logprob *entries,
                          size_t n)
{
    int64_t n_left = style->n_top < 0 ? INT64_MAX : style->n_top + 1;
    qw_buf_putc(b, '{');
    for (size_t i = 0; i < n && n_left > 0; i++) {
        if (i > 0 && entries[i].id == entries[0].id) continue;
        n_left--;
        float best = entries[i].logprob;
        bool is_new = true;
        for (size_t k = 0; k < i && is_new; k++)
            is_new = !are_alike(style, entries[k].id, entries[i].id);
        if (!is_new) continue;
        // Behind the first, candidates come by falling probability.
        if (i == 0 && n > 1 && entries[1].logprob > best &&
            are_alike(style, entries[0].id, entries[1].id))
            best = entries[1].logprob;
        if (i > 0) qw_buf_putc(b, ',');
        (void)qw_api_write_token(b, style->tokenizer, entries[i].id, style->as_ids);
        qw_buf_putc(b, ':');
        qw_api_write_logprob(b, best);
    }
    qw_buf_putc(b, '}');
}

void qw_logprob_lists_add(qw_logprob_lists *l, const qw_logprobs_style *style, int32_t id,
                          const qw_logprob *entries, size_t n)
{
    if (l->n++ > 0) {
        qw_buf_putc(&l->offsets, ',');
        qw_buf_putc(&l->logprobs, ',');
        qw_buf_putc(&l->tokens, ',');
        qw_buf_putc(&l->tops, ',');
    }
    qw_api_write_int(&l->offsets, (int64_t)l->offset);
    l->offset += qw_api_write_token(&l->tokens, style->tokenizer, id, style->as_ids);
    if (n == 0) {
        QW_PUT(&l->logprobs, "null");
        QW_PUT(&l->tops, "null");
        return;
    }
    qw_api_write_logprob(&l->logprobs, entries[0].logprob);
    write_top_map(&l->tops, style, entries, n);
}

void qw_logprob_lists_begin_with(qw_logprob_lists *l, const qw_logprob_lists *from)
{
    qw_buf_append(&l->offsets, from->offsets.data, from->offsets.len);
    qw_buf_append(&l->logprobs, from->logprobs.data, from->logprobs.len);
    qw_buf_append(&l->tokens, from->tokens.data, from->tokens.len);
    qw_buf_append(&l->tops, from->tops.data, from->tops.len);
    l->n = from->n;
    l->offset = from->offset;
}

static void write_items(qw_buf *b, const char *name, const qw_buf *items)
{
    qw_buf_puts(b, name);
    qw_buf_append(b, items->data, items->len);
}

void qw_logprob_lists_write(qw_buf *b, const qw_logprob_lists *l)
{
    write_items(b, "{\"text_offset\":[", &l->offsets);
    write_items(b, "],\"token_logprobs\":[", &l->logprobs);
    write_items(b, "],\"tokens\":[", &l->tokens);
    write_items(b, "],\"top_logprobs\":[", &l->tops);
    QW_PUT(b, "]}");
}
