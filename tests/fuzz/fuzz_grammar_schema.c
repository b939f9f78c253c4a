// A JSON schema, or a structural tag: any JSON compiles or is refused, and a walk over what
// compiled comes to no state without a way on.

#include "base/mem.h"
#include "fuzz/fuzz.h"
#include "grammar/matcher.h"
#include "grammar/vocab_trie.h"

static qw_vocab_trie *trie;

static void make_trie(void)
{
    static char bytes[256];
    qw_error err;
    qw_vocab_token tokens[256];
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (qw_vocab_token){.bytes = {&bytes[i], 1}, .id = i};
    }
    qw_json_init();
    QW_ASSERT(qw_vocab_trie_build(&trie, tokens, 256, 256, &err) == QW_OK);
}

static void walk(qw_grammar *g, const uint8_t *data, size_t size)
{
    qw_error err;
    qw_matcher *m;
    bool next[256];
    if (qw_matcher_new(&m, g, &err) != QW_OK) return;
    for (size_t i = 0; i < size && i < 200; i++) {
        if (qw_matcher_next_bytes(m, next, &err) != QW_OK) break;
        int b = data[i], tried = 0;
        while (tried < 256 && !next[b]) b = (b + 1) % 256, tried++;
        QW_ASSERT(tried < 256 || qw_matcher_is_complete(m));
        if (tried == 256) break;
        char c = (char)b;
        if (qw_matcher_accept_bytes(m, (qw_str){&c, 1}, &err) != QW_OK) break;
    }
    qw_matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qw_error err;
    json_t *json;
    qw_grammar *g = NULL;
    if (!trie) make_trie();
    if (size < 2 || size > 4096 ||
        qw_json_parse_digits(&json, (const char *)data + 1, size - 1, "fuzz", &err) != QW_OK)
        return 0;
    bool is_tag = data[0] & 1;
    qw_grammar_spec spec = {.kind = is_tag ? QW_GRAMMAR_STRUCTURAL_TAG : QW_GRAMMAR_JSON_SCHEMA,
                            .json = json,
                            .compact = data[0] & 2,
                            .closed = data[0] & 4};
    if (qw_grammar_compile(&g, trie, &spec, &err) == QW_OK) walk(g, data, size);
    qw_grammar_unref(g);
    json_decref(json);
    return 0;
}
