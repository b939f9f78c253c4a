#include "bench/serve_prompts.h"

#include "base/mem.h"
#include "base/rng.h"

enum { MIN_WORDS = 64, MAX_WORDS = 4096, MIN_LETTERS = 3 };

static bool is_word(qw_str bytes)
{
    if (bytes.len < MIN_LETTERS + 1 || bytes.ptr[0] != ' ') return false;
    for (size_t i = 1; i < bytes.len; i++)
        if (bytes.ptr[i] < 'a' || bytes.ptr[i] > 'z') return false;
    return true;
}

// A blank and a word are a piece of their own for the pre-tokenizer, so a word that is one token
// alone is one in every text of such words.
static qw_status add_if_word(qw_serve_prompts *p, int32_t id, qw_error *err)
{
    qw_str bytes = qw_tokenizer_token_bytes(p->tokenizer, id);
    if (!is_word(bytes)) return QW_OK;
    qw_ids ids = {0};
    qw_status st = qw_tokenizer_encode(p->tokenizer, bytes, 0, &ids, err);
    bool is_one = st == QW_OK && ids.len == 1 && ids.data[0] == id;
    qw_ids_release(&ids);
    return is_one ? qw_ids_push(&p->words, id, err) : st;
}

qw_status qw_serve_prompts_init(qw_serve_prompts *out, const qw_tokenizer *tokenizer, qw_error *err)
{
    qw_serve_prompts p = {.tokenizer = tokenizer};
    int32_t n_ids = qw_tokenizer_get_info(tokenizer)->n_ids;
    qw_status st = QW_OK;
    for (int32_t id = 0; id < n_ids && p.words.len < MAX_WORDS && st == QW_OK; id++)
        st = add_if_word(&p, id, err);
    if (st == QW_OK && p.words.len < MIN_WORDS)
        st = qw_fail(err, QW_ERR_UNSUPPORTED,
                     "the vocabulary has %zu plain words; prompts are made of %d or more",
                     p.words.len, MIN_WORDS);
    if (st == QW_OK)
        *out = p;
    else
        qw_serve_prompts_release(&p);
    return st;
}

void qw_serve_prompts_release(qw_serve_prompts *p)
{
    for (size_t i = 0; i < p->n; i++) {
        qw_mem_free(p->texts[i]);
        qw_mem_free((void *)(uintptr_t)p->prompts[i].ids);
    }
    qw_mem_free(p->texts);
    qw_mem_free(p->prompts);
    qw_ids_release(&p->words);
    *p = (qw_serve_prompts){0};
}

static qw_status reserve(qw_serve_prompts *p, size_t n_more, qw_error *err)
{
    size_t n = p->n + n_more;
    char **texts = qw_mem_realloc(p->texts, n * sizeof *texts);
    if (texts) p->texts = texts;
    qw_serve_prompt *prompts = qw_mem_realloc(p->prompts, n * sizeof *prompts);
    if (prompts) p->prompts = prompts;
    return texts && prompts ? QW_OK : qw_fail_memory(err, n * sizeof *prompts, "the prompts");
}

// n random words; every seed gives others.
static qw_status add_words(qw_ids *ids, const qw_serve_prompts *p, int n, uint64_t seed,
                           qw_error *err)
{
    qw_status st = QW_OK;
    for (int i = 0; i < n && st == QW_OK; i++) {
        uint64_t at = qw_rng_child_seed(seed, (uint64_t)i) % p->words.len;
        st = qw_ids_push(ids, p->words.data[at], err);
    }
    return st;
}

static qw_status add_one(qw_serve_prompts *p, int n_prefix, uint64_t prefix_seed, int n_tokens,
                         qw_error *err)
{
    qw_ids ids = {0};
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 24);
    qw_status st = add_words(&ids, p, n_prefix, prefix_seed, err);
    if (st == QW_OK) st = add_words(&ids, p, n_tokens, prefix_seed + 1 + p->n, err);
    if (st == QW_OK) {
        qw_tokenizer_decode(p->tokenizer, ids.data, ids.len, false, &text);
        st = qw_buf_check(&text, "a prompt", err);
    }
    if (st == QW_OK) {
        p->texts[p->n] = qw_buf_take(&text, NULL);
        p->prompts[p->n] = (qw_serve_prompt){ids.data, ids.len};
        p->n++;
        ids = (qw_ids){0};
    }
    qw_ids_release(&ids);
    qw_buf_release(&text);
    return st;
}

qw_status qw_serve_prompts_add(qw_serve_prompts *p, int n_prompts, int n_prefix, int n_tokens,
                               int *first, qw_error *err)
{
    uint64_t seed = (uint64_t)p->n << 20;
    int before = (int)p->n;
    qw_status st = reserve(p, (size_t)n_prompts, err);
    for (int i = 0; i < n_prompts && st == QW_OK; i++)
        st = add_one(p, n_prefix, seed, n_tokens, err);
    if (st == QW_OK) *first = before;
    return st;
}
