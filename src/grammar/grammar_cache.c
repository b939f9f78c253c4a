#include "grammar/grammar.h"

#include <pthread.h>

#include "base/mem.h"
#include "grammar/vocab_trie.h"

// Grammars in a list, the last used one in front. There are few, so a look-up compares keys one by
// one after their hashes; compiling costs a thousand times more.

enum { MAX_GRAMMARS = 64, MAX_BYTES = 512 * 1024 * 1024, MAX_KEY = 8 * 1024 * 1024 };

typedef struct entry {
    char *key;
    size_t key_len;
    qw_grammar *grammar;
    struct entry *next;
} entry;

struct qw_grammar_cache {
    const qw_tokenizer *tokenizer;
    pthread_mutex_t mu; /* guards the list */
    entry *first;
    pthread_mutex_t trie_mu; /* guards the trie while it is made */
    qw_vocab_trie *trie;
};

qw_status qw_grammar_cache_new(qw_grammar_cache **out, const qw_tokenizer *tokenizer, qw_error *err)
{
    qw_grammar_cache *c = qw_mem_calloc(1, sizeof *c);
    if (!c) return qw_fail_memory(err, sizeof *c, "the cache of grammars");
    c->tokenizer = tokenizer;
    pthread_mutex_init(&c->mu, NULL);
    pthread_mutex_init(&c->trie_mu, NULL);
    *out = c;
    return QW_OK;
}

static void free_entry(entry *e)
{
    qw_grammar_unref(e->grammar);
    qw_mem_free(e->key);
    qw_mem_free(e);
}

void qw_grammar_cache_free(qw_grammar_cache *c)
{
    if (!c) return;
    while (c->first) {
        entry *e = c->first;
        c->first = e->next;
        free_entry(e);
    }
    qw_vocab_trie_free(c->trie);
    pthread_mutex_destroy(&c->mu);
    pthread_mutex_destroy(&c->trie_mu);
    qw_mem_free(c);
}

qw_status qw_grammar_cache_warm(qw_grammar_cache *c, qw_error *err)
{
    pthread_mutex_lock(&c->trie_mu);
    qw_status st = c->trie ? QW_OK : qw_vocab_trie_new(&c->trie, c->tokenizer, err);
    pthread_mutex_unlock(&c->trie_mu);
    return st;
}

static void write_key(qw_buf *b, const qw_grammar_spec *spec)
{
    qw_buf_printf(b, "%d%d%d", (int)spec->kind, spec->compact, spec->closed);
    if (spec->whitespace.ptr) {
        qw_buf_printf(b, "w%zu:", spec->whitespace.len);
        qw_buf_append(b, spec->whitespace.ptr, spec->whitespace.len);
    }
    qw_buf_putc(b, '=');
    if (spec->json)
        qw_json_write(b, spec->json, true);
    else
        qw_buf_append(b, spec->text.ptr, spec->text.len);
}

// A reference to the grammar of a key, which moves to the front; NULL: there is none.
static qw_grammar *find(qw_grammar_cache *c, const qw_buf *key)
{
    for (entry **at = &c->first; *at; at = &(*at)->next) {
        entry *e = *at;
        if (e->key_len != key->len || memcmp(e->key, key->data, key->len) != 0) continue;
        *at = e->next;
        e->next = c->first;
        c->first = e;
        return qw_grammar_ref(e->grammar);
    }
    return NULL;
}

// Keep the most recently used ones that fit.
static void evict(qw_grammar_cache *c)
{
    size_t n = 0, bytes = 0;
    for (entry **at = &c->first; *at;) {
        entry *e = *at;
        bytes += e->key_len + qw_grammar_size(e->grammar);
        if (++n == 1 || (n <= MAX_GRAMMARS && bytes <= MAX_BYTES)) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        free_entry(e);
    }
}

// Put a grammar in front; one that another thread put there meanwhile is used instead.
static qw_status put(qw_grammar_cache *c, qw_buf *key, qw_grammar **grammar, qw_error *err)
{
    entry *e = qw_mem_calloc(1, sizeof *e);
    if (!e) return qw_fail_memory(err, sizeof *e, "the cache of grammars");
    pthread_mutex_lock(&c->mu);
    qw_grammar *other = find(c, key);
    if (other) {
        qw_grammar_unref(*grammar);
        *grammar = other;
        qw_mem_free(e);
    } else {
        e->key = qw_buf_take(key, &e->key_len);
        e->grammar = qw_grammar_ref(*grammar);
        e->next = c->first;
        c->first = e;
        evict(c);
    }
    pthread_mutex_unlock(&c->mu);
    return QW_OK;
}

qw_status qw_grammar_cache_get(qw_grammar_cache *c, qw_grammar **out, const qw_grammar_spec *spec,
                               qw_error *err)
{
    qw_status st = qw_grammar_cache_warm(c, err);
    if (st != QW_OK) return st;
    qw_buf key;
    qw_buf_init(&key, MAX_KEY);
    write_key(&key, spec);
    st = qw_buf_check(&key, "a grammar", err);
    qw_grammar *g = NULL;
    if (st == QW_OK) {
        pthread_mutex_lock(&c->mu);
        g = find(c, &key);
        pthread_mutex_unlock(&c->mu);
        if (!g) {
            st = qw_grammar_compile(&g, c->trie, spec, err);
            if (st == QW_OK) st = put(c, &key, &g, err);
            if (st != QW_OK) {
                qw_grammar_unref(g);
                g = NULL;
            }
        }
    }
    qw_buf_release(&key);
    if (st == QW_OK) *out = g;
    return st;
}
