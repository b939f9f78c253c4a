#include "grammar/vocab_trie.h"

#include "base/mem.h"

enum { MAX_TOKEN_BYTES = 4096, MAX_DIGITS = 257 };

// Tokens of a range, sorted by the bytes from `depth` on: by that byte, then each group in turn.
typedef struct sort_range {
    size_t begin, end;
    uint32_t depth;
} sort_range;

static int digit_of(const qw_vocab_token *t, size_t depth)
{
    return depth < t->bytes.len ? 1 + (uint8_t)t->bytes.ptr[depth] : 0;
}

static bool is_after(const qw_vocab_token *a, const qw_vocab_token *b, size_t depth)
{
    size_t n = a->bytes.len < b->bytes.len ? a->bytes.len : b->bytes.len;
    int order = n > depth ? memcmp(a->bytes.ptr + depth, b->bytes.ptr + depth, n - depth) : 0;
    if (order) return order > 0;
    if (a->bytes.len != b->bytes.len) return a->bytes.len > b->bytes.len;
    return a->id > b->id;
}

static void insertion_sort(qw_vocab_token *t, size_t n, size_t depth)
{
    for (size_t i = 1; i < n; i++) {
        qw_vocab_token token = t[i];
        size_t j = i;
        for (; j > 0 && is_after(&t[j - 1], &token, depth); j--) t[j] = t[j - 1];
        t[j] = token;
    }
}

// Radix sort from the first byte on. `stack` has room for every group that can be open: a group of
// more than 16 tokens at each depth, so n / 16 + 1 of them beside each other at most.
static void sort_tokens(qw_vocab_token *tokens, qw_vocab_token *spare, size_t n, sort_range *stack)
{
    size_t n_open = 0;
    stack[n_open++] = (sort_range){0, n, 0};
    while (n_open > 0) {
        sort_range r = stack[--n_open];
        size_t len = r.end - r.begin;
        if (len <= 16) {
            insertion_sort(tokens + r.begin, len, r.depth);
            continue;
        }
        size_t start[MAX_DIGITS + 1] = {0};
        for (size_t i = r.begin; i < r.end; i++) start[digit_of(&tokens[i], r.depth) + 1]++;
        for (int d = 0; d < MAX_DIGITS; d++) start[d + 1] += start[d];
        size_t place[MAX_DIGITS];
        memcpy(place, start, sizeof place);
        for (size_t i = r.begin; i < r.end; i++)
            spare[place[digit_of(&tokens[i], r.depth)]++] = tokens[i];
        memcpy(tokens + r.begin, spare, len * sizeof *tokens);
        for (int d = 1; d < MAX_DIGITS; d++)
            if (start[d + 1] - start[d] > 1)
                stack[n_open++] =
                    (sort_range){r.begin + start[d], r.begin + start[d + 1], r.depth + 1};
    }
}

// Nodes that the sorted tokens need, the root included.
static size_t count_nodes(const qw_vocab_token *tokens, size_t n)
{
    size_t n_nodes = 1;
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;
        qw_str s = tokens[i].bytes, before = i ? tokens[i - 1].bytes : (qw_str){NULL, 0};
        while (same < s.len && same < before.len && s.ptr[same] == before.ptr[same]) same++;
        n_nodes += s.len - same;
    }
    return n_nodes;
}

static void fill(qw_vocab_trie *t, const qw_vocab_token *tokens, size_t n, int32_t *path)
{
    int32_t n_nodes = 1;
    size_t depth = 0; // of the node last made: path[0 .. depth] leads to it
    path[0] = 0;
    for (size_t i = 0; i < n; i++) {
        qw_str s = tokens[i].bytes, before = i ? tokens[i - 1].bytes : (qw_str){NULL, 0};
        size_t same = 0;
        while (same < s.len && same < before.len && s.ptr[same] == before.ptr[same]) same++;
        for (; depth > same; depth--) t->nodes[path[depth]].next = n_nodes;
        for (; depth < s.len; depth++) {
            path[depth + 1] = n_nodes;
            t->nodes[n_nodes++] = (qw_trie_node){.depth = (uint16_t)(depth + 1),
                                                 .byte = (uint8_t)s.ptr[depth],
                                                 .first_token = (int32_t)i};
        }
        if (t->nodes[path[depth]].n_tokens == 0) t->nodes[path[depth]].first_token = (int32_t)i;
        t->nodes[path[depth]].n_tokens++;
        t->tokens[i] = tokens[i].id;
        t->bytes[tokens[i].id] = s;
        if ((int32_t)s.len > t->max_depth) t->max_depth = (int32_t)s.len;
    }
    for (; depth > 0; depth--) t->nodes[path[depth]].next = n_nodes;
    t->nodes[0].next = t->n_nodes = n_nodes;
    t->n_tokens = (int32_t)n;
}

qw_status qw_vocab_trie_build(qw_vocab_trie **out, qw_vocab_token *tokens, size_t n, int32_t n_ids,
                              qw_error *err)
{
    qw_status st = QW_OK;
    qw_vocab_trie *t = qw_mem_calloc(1, sizeof *t);
    qw_vocab_token *spare = qw_mem_array(n + 1, sizeof *spare);
    sort_range *stack = qw_mem_array(n / 2 + MAX_DIGITS + 1, sizeof *stack);
    int32_t *path = qw_mem_array(MAX_TOKEN_BYTES + 2, sizeof *path);
    if (t) {
        t->n_ids = n_ids;
        t->tokens = qw_mem_array(n + 1, sizeof *t->tokens);
        t->bytes = qw_mem_calloc((size_t)n_ids + 1, sizeof *t->bytes);
    }
    if (!t || !spare || !stack || !path || !t->tokens || !t->bytes) {
        st = qw_fail_memory(err, n * sizeof *spare, "the vocabulary's prefix tree");
        goto out;
    }
    sort_tokens(tokens, spare, n, stack);
    size_t n_nodes = count_nodes(tokens, n);
    t->nodes = n_nodes < INT32_MAX ? qw_mem_calloc(n_nodes, sizeof *t->nodes) : NULL;
    if (!t->nodes) {
        st = qw_fail_memory(err, n_nodes * sizeof *t->nodes, "the vocabulary's prefix tree");
        goto out;
    }
    fill(t, tokens, n, path);
    *out = t;
    t = NULL;
out:
    qw_vocab_trie_free(t);
    qw_mem_free(spare);
    qw_mem_free(stack);
    qw_mem_free(path);
    return st;
}

qw_status qw_vocab_trie_new(qw_vocab_trie **out, const qw_tokenizer *tokenizer, qw_error *err)
{
    int32_t n_ids = qw_tokenizer_get_info(tokenizer)->n_ids;
    qw_vocab_token *tokens = qw_mem_array((size_t)n_ids + 1, sizeof *tokens);
    if (!tokens) return qw_fail_memory(err, (size_t)n_ids * sizeof *tokens, "the vocabulary");
    size_t n = 0;
    for (int32_t id = 0; id < n_ids; id++) {
        qw_str bytes = qw_tokenizer_token_bytes(tokenizer, id);
        if (!bytes.ptr || bytes.len == 0 || bytes.len > MAX_TOKEN_BYTES ||
            qw_tokenizer_is_special(tokenizer, id))
            continue;
        tokens[n++] = (qw_vocab_token){.bytes = bytes, .id = id};
    }
    qw_status st = qw_vocab_trie_build(out, tokens, n, n_ids, err);
    qw_mem_free(tokens);
    return st;
}

void qw_vocab_trie_free(qw_vocab_trie *t)
{
    if (!t) return;
    qw_mem_free(t->nodes);
    qw_mem_free(t->tokens);
    qw_mem_free(t->bytes);
    qw_mem_free(t);
}
