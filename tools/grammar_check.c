// Asks the grammar compiler about texts, for scripts. Reads a JSON object per line:
//
//   {"spec": {the inside of structured_outputs}, "texts": ["...", ...], "samples": 3, "seed": 1}
//
// and writes {"accepted": [true, ...], "samples": ["...", ...]}, or {"error": "...", "status":
// "usage" or "unsupported"}. Without a tokenizer directory as its argument tokens are bytes; with
// one, texts are also read through token masks, and samples are made of tokens.

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "grammar/grammar_request.h"
#include "grammar/matcher.h"
#include "grammar/vocab_trie.h"

enum { MAX_LINE = 64 << 20, LONG_SAMPLE = 160, MAX_SAMPLE = 4000 };

static qw_vocab_trie *trie;
static qw_tokenizer *tokenizer;

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static qw_status open_vocabulary(const char *dir, qw_error *err)
{
    static char bytes[256];
    if (dir) {
        qw_status st = qw_tokenizer_open(&tokenizer, dir, NULL, err);
        return st == QW_OK ? qw_vocab_trie_new(&trie, tokenizer, err) : st;
    }
    qw_vocab_token tokens[256];
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (qw_vocab_token){.bytes = {&bytes[i], 1}, .id = i};
    }
    return qw_vocab_trie_build(&trie, tokens, 256, 256, err);
}

// Byte by byte, and through the masks of the tokens it is encoded as.
static bool accepts(qw_grammar *g, qw_str text)
{
    qw_error err;
    qw_matcher *m, *t;
    if (qw_matcher_new(&m, g, &err) != QW_OK) return false;
    bool ok = qw_matcher_accept_bytes(m, text, &err) == QW_OK && qw_matcher_may_end(m);
    qw_matcher_free(m);
    if (!tokenizer || qw_matcher_new(&t, g, &err) != QW_OK) return ok;
    qw_ids ids = {0};
    uint32_t *mask = calloc(qw_mask_words((size_t)trie->n_ids), sizeof *mask);
    bool by_tokens =
        mask && qw_tokenizer_encode(tokenizer, text, QW_ENCODE_SPLIT_SPECIAL, &ids, &err) == QW_OK;
    for (size_t i = 0; i < ids.len && by_tokens; i++) {
        int32_t id = ids.data[i];
        by_tokens = qw_matcher_mask(t, mask, (size_t)trie->n_ids, NULL, &err) == QW_OK &&
                    (mask[id / 32] >> (id % 32) & 1) && qw_matcher_accept(t, id, &err) == QW_OK;
    }
    by_tokens = by_tokens && qw_matcher_may_end(t);
    free(mask);
    qw_ids_release(&ids);
    qw_matcher_free(t);
    if (ok != by_tokens) fprintf(stderr, "bytes and masks disagree about: %s\n", text.ptr);
    return ok && by_tokens;
}

// A random byte that may follow; late in a sample one that brings it to an end, if there is one.
static int pick_byte(const bool next[256], size_t len)
{
    static const char closing[] = "\"}]>1ae:,0";
    int allowed[256], n = 0;
    for (int b = 0; b < 256; b++)
        if (next[b]) allowed[n++] = b;
    if (n == 0) return -1;
    if (len > LONG_SAMPLE && random_below(8) > 0)
        for (const char *c = closing; *c; c++)
            if (next[(uint8_t)*c]) return (uint8_t)*c;
    // White space and escapes are a small part of what people write.
    int b = allowed[random_below((uint32_t)n)];
    bool is_dull = b == ' ' || b == '\n' || b == '\t' || b == '\r' || b >= 0x80;
    return is_dull && random_below(4) ? allowed[random_below((uint32_t)n)] : b;
}

static bool sample(qw_grammar *g, qw_buf *out)
{
    qw_error err;
    qw_matcher *m;
    bool next[256];
    if (qw_matcher_new(&m, g, &err) != QW_OK) return false;
    bool ok = true;
    while (ok && out->len < MAX_SAMPLE) {
        if (qw_matcher_may_end(m) && (out->len > LONG_SAMPLE || random_below(4) == 0)) break;
        ok = qw_matcher_next_bytes(m, next, &err) == QW_OK;
        int b = ok ? pick_byte(next, out->len) : -1;
        if (b < 0) {
            ok = ok && qw_matcher_may_end(m);
            if (!ok) fprintf(stderr, "a dead end after: %s\n", out->data ? out->data : "");
            break;
        }
        char c = (char)b;
        ok = qw_matcher_accept_bytes(m, (qw_str){&c, 1}, &err) == QW_OK;
        qw_buf_putc(out, c);
    }
    ok = ok && qw_matcher_may_end(m);
    qw_matcher_free(m);
    return ok;
}

static void write_texts(const json_t *texts, qw_grammar *g)
{
    for (size_t i = 0; i < json_array_size(texts); i++)
        printf("%s%s", i ? ", " : "",
               accepts(g, qw_json_str(json_array_get(texts, i))) ? "true" : "false");
}

static void write_samples(json_int_t n, qw_grammar *g)
{
    bool first = true;
    for (json_int_t i = 0; i < n; i++) {
        qw_buf text, json;
        qw_buf_init(&text, MAX_SAMPLE + 16);
        qw_buf_init(&json, 8 * MAX_SAMPLE);
        if (sample(g, &text) && qw_utf8_is_valid((qw_str){text.data, text.len})) {
            qw_json_write_string(&json, (qw_str){text.data, text.len});
            printf("%s%s", first ? "" : ", ", json.data);
            first = false;
        }
        qw_buf_release(&text);
        qw_buf_release(&json);
    }
}

static void answer(const json_t *question)
{
    qw_error err;
    qw_grammar_request r;
    qw_grammar *g = NULL;
    qw_status st = qw_grammar_request_read_outputs(&r, json_object_get(question, "spec"), &err);
    if (st == QW_OK) st = qw_grammar_compile(&g, trie, &r.spec, &err);
    if (st != QW_OK) {
        qw_buf text;
        qw_buf_init(&text, 8192);
        qw_json_write_string(&text, qw_str_of(err.text));
        printf("{\"error\": %s, \"status\": \"%s\"}\n", text.data,
               st == QW_ERR_UNSUPPORTED ? "unsupported" : "usage");
        qw_buf_release(&text);
    } else {
        random_state = (uint64_t)json_integer_value(json_object_get(question, "seed"));
        printf("{\"accepted\": [");
        write_texts(json_object_get(question, "texts"), g);
        printf("], \"samples\": [");
        write_samples(json_integer_value(json_object_get(question, "samples")), g);
        printf("]}\n");
    }
    fflush(stdout);
    qw_grammar_unref(g);
    qw_grammar_request_release(&r);
}

int main(int argc, char **argv)
{
    qw_error err;
    char *line = NULL;
    size_t cap = 0;
    qw_json_init();
    if (open_vocabulary(argc > 1 ? argv[1] : NULL, &err) != QW_OK) {
        fprintf(stderr, "grammar_check: %s\n", err.text);
        return 1;
    }
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
        json_t *question;
        if (qw_json_parse_digits(&question, line, (size_t)n, "a line", &err) != QW_OK) {
            fprintf(stderr, "grammar_check: %s\n", err.text);
            return 1;
        }
        answer(question);
        json_decref(question);
    }
    free(line);
    qw_vocab_trie_free(trie);
    qw_tokenizer_close(tokenizer);
    return 0;
}
