#ifndef QW_TESTS_UNIT_GRAMMAR_GRAMMAR_FIXTURE_H
#define QW_TESTS_UNIT_GRAMMAR_GRAMMAR_FIXTURE_H

// Include after test_util.h. A vocabulary of every byte and some longer tokens, and what a grammar
// says to whole texts: byte by byte, and token by token through masks, which must agree.

#include <time.h>

#include "base/mem.h"
#include "grammar/matcher.h"
#include "grammar/vocab_trie.h"

enum { GF_N_WORDS = 32, GF_N_IDS = 256 + GF_N_WORDS };

static qw_vocab_trie *gf_trie;

// Milliseconds of this process: other programs on the machine do not count.
static inline int64_t gf_cpu_ms(void)
{
    return (int64_t)clock() / (CLOCKS_PER_SEC / 1000);
}

static inline int gf_set_up(void **state)
{
    (void)state;
    static char bytes[256];
    static const char *const words[GF_N_WORDS] = {
        "ab",           "abc",      "true", "false",  "null", "\": ", "\",",  "\"}",
        "{\"",          "[{\"",     "}]",   "},",     "  ",   "    ", "\n",   "a\"",
        "12",           "123",      "0.",   "-1",     "\\u",  "\\n",  "name", "e\"",
        "\xE4\xBD\xA0", "\xE4\xBD", "\xA0", "\"a\":", "]]",   ", ",   "\"\"", "xyz"};
    qw_error err;
    qw_vocab_token tokens[GF_N_IDS];
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (qw_vocab_token){.bytes = {&bytes[i], 1}, .id = i};
    }
    for (int i = 0; i < GF_N_WORDS; i++)
        tokens[256 + i] = (qw_vocab_token){.bytes = qw_str_of(words[i]), .id = 256 + i};
    qw_json_init();
    assert_ok(qw_vocab_trie_build(&gf_trie, tokens, GF_N_IDS, GF_N_IDS, &err));
    return 0;
}

static inline int gf_tear_down(void **state)
{
    (void)state;
    qw_vocab_trie_free(gf_trie);
    gf_trie = NULL;
    return 0;
}

static inline bool gf_bit(const uint32_t *mask, int32_t id)
{
    return mask[id / 32] >> (id % 32) & 1;
}

// At each position the mask allows exactly the tokens whose bytes the automaton can read.
static inline void gf_check_mask(qw_matcher *m)
{
    qw_error err;
    uint32_t mask[GF_N_IDS / 32];
    size_t n_allowed, n = 0;
    qw_matcher *probe;
    assert_ok(qw_matcher_mask(m, mask, GF_N_IDS, &n_allowed, &err));
    // A matcher of the same grammar to try the tokens with: the grammar is the caller's.
    extern qw_grammar *gf_grammar;
    assert_ok(qw_matcher_new(&probe, gf_grammar, &err));
    for (int32_t id = 0; id < GF_N_IDS; id++) {
        qw_matcher_set(probe, m);
        bool ok = qw_matcher_accept(probe, id, &err) == QW_OK;
        n += ok;
        if (ok != gf_bit(mask, id))
            fail_msg("token %d: the mask says %d, the automaton %d", id, gf_bit(mask, id), ok);
    }
    assert_int_equal(n, n_allowed);
    qw_matcher_free(probe);
}

qw_grammar *gf_grammar; // the one that is tested

// True if the grammar accepts all of `text`; with `masks` also check every mask on the way.
static inline bool gf_accepts(qw_grammar *g, qw_str text, bool masks)
{
    qw_error err;
    qw_matcher *m;
    gf_grammar = g;
    assert_ok(qw_matcher_new(&m, g, &err));
    bool ok = true;
    for (size_t i = 0; i < text.len && ok; i++) {
        if (masks) gf_check_mask(m);
        ok = qw_matcher_accept_bytes(m, (qw_str){text.ptr + i, 1}, &err) == QW_OK;
    }
    if (masks) gf_check_mask(m);
    ok = ok && qw_matcher_may_end(m);
    qw_matcher_free(m);
    return ok;
}

#endif
