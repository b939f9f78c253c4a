#include "cli/eval_texts.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/json_lines.h"

enum { MAX_FILE = 256 << 20, SHORTEST = 2 };

typedef struct reader {
    qw_eval_texts *texts;
    const qw_tokenizer *tokenizer;
    size_t max_len;
} reader;

void qw_eval_texts_release(qw_eval_texts *t)
{
    for (size_t i = 0; i < t->n; i++) qw_ids_release(&t->texts[i]);
    qw_mem_free(t->texts);
    *t = (qw_eval_texts){0};
}

static qw_status add(qw_eval_texts *t, const int32_t *ids, size_t n, qw_error *err)
{
    if (n < SHORTEST) return QW_OK;
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        qw_ids *more = qw_mem_realloc(t->texts, cap * sizeof *more);
        if (!more) return qw_fail_memory(err, cap * sizeof *more, "the texts");
        t->texts = more;
        t->cap = cap;
    }
    t->texts[t->n] = (qw_ids){0};
    qw_status st = qw_ids_append(&t->texts[t->n], ids, n, err);
    if (st == QW_OK)
        t->n++;
    else
        qw_ids_release(&t->texts[t->n]);
    return st;
}

static qw_status add_line(void *ctx, json_t *line, qw_error *err)
{
    const reader *r = ctx;
    const json_t *text = json_object_get(line, "text");
    if (!text) text = json_object_get(line, "inputs_pretokenized");
    if (!json_is_string(text))
        return qw_fail(err, QW_ERR_FORMAT,
                       "no text: it needs 'text' or 'inputs_pretokenized' (a string)");
    qw_ids ids = {0};
    qw_status st = qw_tokenizer_encode(r->tokenizer, qw_json_str(text), 0, &ids, err);
    if (st == QW_OK) st = add(r->texts, ids.data, ids.len < r->max_len ? ids.len : r->max_len, err);
    qw_ids_release(&ids);
    return st;
}

static qw_status read_plain(reader *r, const char *path, qw_error *err)
{
    qw_buf text;
    qw_ids ids = {0};
    qw_buf_init(&text, MAX_FILE);
    qw_status st = qw_file_read(&text, path, err);
    const qw_str all = {text.data ? text.data : "", text.len};
    if (st == QW_OK && !qw_utf8_is_valid(all))
        st = qw_fail(err, QW_ERR_FORMAT, "'%s' is no valid UTF-8 text", path);
    if (st == QW_OK) st = qw_tokenizer_encode(r->tokenizer, all, 0, &ids, err);
    for (size_t first = 0; first < ids.len && st == QW_OK; first += r->max_len) {
        size_t left = ids.len - first;
        st = add(r->texts, ids.data + first, left < r->max_len ? left : r->max_len, err);
    }
    qw_ids_release(&ids);
    qw_buf_release(&text);
    return st;
}

qw_status qw_eval_texts_read(qw_eval_texts *out, const char *path, const qw_tokenizer *tokenizer,
                             size_t max_len, qw_error *err)
{
    qw_eval_texts t = {0};
    reader r = {&t, tokenizer, max_len};
    qw_status st = qw_str_ends_with(qw_str_of(path), QW_STR(".jsonl"))
                       ? qw_json_lines_read(path, add_line, &r, err)
                       : read_plain(&r, path, err);
    if (st == QW_OK && t.n == 0)
        st = qw_fail(err, QW_ERR_FORMAT, "'%s' holds no text of two tokens", path);
    if (st == QW_OK)
        *out = t;
    else
        qw_eval_texts_release(&t);
    return st;
}

qw_status qw_eval_texts_compare(const qw_eval_texts *a, const qw_eval_texts *b, qw_error *err)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        const qw_ids *x = &a->texts[i], *y = &b->texts[i];
        if (x->len == y->len && memcmp(x->data, y->data, x->len * sizeof *x->data) == 0) continue;
        return qw_fail(err, QW_ERR_USAGE,
                       "its tokenizer is not that of --kl: text %zu is other tokens", i + 1);
    }
    if (a->n == b->n) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE, "its tokenizer is not that of --kl: %zu texts, not %zu", b->n,
                   a->n);
}
