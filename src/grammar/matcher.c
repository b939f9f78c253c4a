#include "grammar/matcher.h"

#include "grammar/grammar_internal.h"

// How a mask is made. Tokens are tried by walking down the vocabulary's prefix tree with the
// automaton beside it; a branch ends where the automaton does. That takes a millisecond or two for
// a state in which almost everything may follow, as in a string, and such states are the same for
// all strings of a schema but for what comes after them. So the walk is made once for each node,
// as if nothing were known of the stack below it; it notes where the rule was left. The mask of a
// config is that of its nodes, and, for each place where a rule was left, a short walk of what
// remains of the tree, now with the real stack. Both are kept.

enum {
    FEW_TOKENS = 512,                   /* kept as a list */
    MAX_STATE_BYTES = 96 * 1024 * 1024, /* of the tables, before they are made anew */
    MAX_MASK_BYTES = 96 * 1024 * 1024,  /* of masks, before they are dropped */
    BUDGET = 4 * 1000 * 1000,           /* items looked at for one mask or token */
};

static qw_status fail_memory(qw_error *err)
{
    return qw_fail(err, QW_ERR_NO_MEMORY, "cannot allocate memory for the masks of a grammar");
}

static size_t mask_words(const qw_grammar *g)
{
    return qw_mask_words((size_t)g->trie->n_ids);
}

static void set_bits(uint32_t *bits, const qw_vocab_trie *trie, const qw_trie_node *node)
{
    for (int32_t i = 0; i < node->n_tokens; i++) {
        uint32_t id = (uint32_t)trie->tokens[node->first_token + i];
        bits[id / 32] |= 1u << (id % 32);
    }
}

static bool add_leaf(qw_grammar *g, int32_t node)
{
    if (g->n_leaves == g->cap_leaves) {
        size_t want = g->cap_leaves ? g->cap_leaves * 2 : 256;
        int32_t *grown = qw_mem_realloc(g->leaves, want * sizeof *grown);
        if (!grown) {
            (void)fail_memory(&g->states.error);
            return false;
        }
        g->leaves = grown;
        g->cap_leaves = want;
    }
    g->leaves[g->n_leaves++] = node;
    return true;
}

// Set the bits of all tokens below node `top` that the automaton can read, starting there in
// `config`. With `leaves` also note where it may leave its rule. False: it failed.
static bool walk(qw_grammar *g, int32_t top, int32_t config, uint32_t *bits, bool leaves)
{
    const qw_trie_node *nodes = g->trie->nodes;
    qw_states *s = &g->states;
    int32_t *path = g->path;
    path[nodes[top].depth] = config;
    for (int32_t i = top + 1, end = nodes[top].next; i < end;) {
        const qw_trie_node *node = &nodes[i];
        int32_t to = qw_states_step(s, path[node->depth - 1], node->byte);
        if (to <= QW_CONFIG_DEAD) {
            if (to == QW_CONFIG_FAILED) return false;
            i = node->next;
            continue;
        }
        path[node->depth] = to;
        if (node->n_tokens) set_bits(bits, g->trie, node);
        const qw_state_config *c = &s->configs[to];
        if (leaves && c->may_end && node->next > i + 1 && !add_leaf(g, i)) return false;
        i = c->n > 0 ? i + 1 : node->next;
    }
    return true;
}

static void free_set(qw_token_set *t)
{
    qw_mem_free(t->ids);
    qw_mem_free(t->bits);
}

static int32_t count_bits(const uint32_t *bits, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += __builtin_popcount(bits[i]);
    return sum;
}

// A set of the tokens in `bits`; false when memory is short.
static bool make_set(qw_grammar *g, qw_token_set *out, const uint32_t *bits)
{
    size_t n_words = mask_words(g);
    qw_token_set t = {.n = count_bits(bits, n_words)};
    if (t.n <= FEW_TOKENS) {
        t.ids = qw_mem_array((size_t)t.n + 1, sizeof *t.ids);
        if (!t.ids) return false;
        int32_t n = 0;
        for (size_t i = 0; i < n_words; i++)
            for (uint32_t w = bits[i]; w; w &= w - 1)
                t.ids[n++] = (int32_t)i * 32 + __builtin_ctz(w);
        g->mask_bytes += (size_t)t.n * sizeof *t.ids;
    } else {
        t.bits = qw_mem_array(n_words, sizeof *t.bits);
        if (!t.bits) return false;
        memcpy(t.bits, bits, n_words * sizeof *bits);
        g->mask_bytes += n_words * sizeof *bits;
    }
    *out = t;
    return true;
}

static void add_set(uint32_t *bits, const qw_token_set *t, size_t n_words)
{
    if (t->bits)
        for (size_t i = 0; i < n_words; i++) bits[i] |= t->bits[i];
    else
        for (int32_t i = 0; i < t->n; i++) bits[t->ids[i] / 32] |= 1u << (t->ids[i] % 32);
}

static qw_status fail_states(const qw_grammar *g, qw_error *err)
{
    if (err) *err = g->states.error;
    return g->states.error.code;
}

static qw_status make_node_mask(qw_grammar *g, int32_t node, qw_node_mask **out, qw_error *err)
{
    size_t n_words = mask_words(g);
    g->n_leaves = 0;
    int32_t config = qw_states_enter(&g->states, node, QW_STACK_BOTTOM);
    memset(g->bits, 0, n_words * sizeof *g->bits);
    if (config == QW_CONFIG_FAILED || !walk(g, 0, config, g->bits, true))
        return fail_states(g, err);
    qw_node_mask *m = qw_mem_calloc(1, sizeof *m);
    if (!m) return fail_memory(err);
    m->leaves = qw_mem_array(g->n_leaves + 1, sizeof *m->leaves);
    if (!m->leaves || !make_set(g, &m->tokens, g->bits)) {
        qw_mem_free(m->leaves);
        qw_mem_free(m);
        return fail_memory(err);
    }
    if (g->n_leaves) memcpy(m->leaves, g->leaves, g->n_leaves * sizeof *m->leaves);
    m->n_leaves = (int32_t)g->n_leaves;
    g->mask_bytes += sizeof *m + g->n_leaves * sizeof *m->leaves;
    *out = g->node_masks[node] = m;
    return QW_OK;
}

// All tokens of a config into `bits`.
static qw_status fill_bits(qw_grammar *g, int32_t config, uint32_t *bits, qw_error *err)
{
    qw_states *s = &g->states;
    size_t n_words = mask_words(g);
    memset(bits, 0, n_words * sizeof *bits);
    for (int32_t i = 0; i < s->configs[config].n; i++) {
        qw_state_item item = s->items[s->configs[config].first + i];
        int32_t node = g->pda.nodes[item.node].alias;
        qw_node_mask *m = g->node_masks[node];
        qw_status st = m ? QW_OK : make_node_mask(g, node, &m, err);
        if (st != QW_OK) return st;
        add_set(bits, &m->tokens, n_words);
        if (item.stack == QW_STACK_BOTTOM || m->n_leaves == 0) continue;
        int32_t returned = qw_states_return(s, item.stack);
        if (returned == QW_CONFIG_FAILED) return fail_states(g, err);
        for (int32_t k = 0; k < m->n_leaves; k++)
            if (!walk(g, m->leaves[k], returned, bits, false)) return fail_states(g, err);
    }
    return QW_OK;
}

static qw_status make_config_mask(qw_grammar *g, int32_t config, qw_token_set **out, qw_error *err)
{
    if ((size_t)config >= g->cap_config_masks) {
        size_t want = g->states.n_configs * 2, bytes;
        void *grown = qw_mul_size(&bytes, want, sizeof *g->config_masks)
                          ? qw_mem_realloc(g->config_masks, bytes)
                          : NULL;
        if (!grown) return fail_memory(err);
        g->config_masks = grown;
        for (size_t i = g->cap_config_masks; i < want; i++) g->config_masks[i] = NULL;
        g->cap_config_masks = want;
    }
    uint32_t *bits = qw_mem_array(mask_words(g) + 1, sizeof *bits);
    qw_token_set *t = qw_mem_calloc(1, sizeof *t);
    qw_status st = bits && t ? fill_bits(g, config, bits, err) : fail_memory(err);
    if (st == QW_OK && !make_set(g, t, bits)) st = fail_memory(err);
    qw_mem_free(bits);
    if (st != QW_OK) {
        qw_mem_free(t);
        return st;
    }
    g->mask_bytes += sizeof *t;
    *out = g->config_masks[config] = t;
    return QW_OK;
}

// ---- limits: what can be made again is dropped

static void drop_config_masks(qw_grammar *g)
{
    for (size_t i = 0; i < g->cap_config_masks; i++) {
        if (!g->config_masks[i]) continue;
        free_set(g->config_masks[i]);
        qw_mem_free(g->config_masks[i]);
        g->config_masks[i] = NULL;
    }
}

static void drop_masks(qw_grammar *g)
{
    drop_config_masks(g);
    for (int32_t i = 0; i < g->pda.n_nodes && g->node_masks; i++) {
        if (!g->node_masks[i]) continue;
        free_set(&g->node_masks[i]->tokens);
        qw_mem_free(g->node_masks[i]->leaves);
        qw_mem_free(g->node_masks[i]);
        g->node_masks[i] = NULL;
    }
    g->mask_bytes = 0;
}

// New tables with only what the living matchers are in.
static qw_status flush_states(qw_grammar *g, qw_error *err)
{
    qw_states fresh;
    qw_status st = qw_states_init(&fresh, &g->pda, err);
    if (st != QW_OK) return st;
    int32_t *map = qw_mem_array(g->states.n_stacks, sizeof *map);
    int32_t *configs = qw_mem_array(g->states.n_configs, sizeof *configs);
    if (!map || !configs) st = fail_memory(err);
    for (size_t i = 0; map && i < g->states.n_stacks; i++) map[i] = i ? -1 : QW_STACK_BOTTOM;
    for (size_t i = 0; configs && i < g->states.n_configs; i++) configs[i] = -1;
    for (qw_matcher *m = g->matchers; m && st == QW_OK; m = m->next) {
        int32_t *to = &configs[m->config];
        if (*to < 0) *to = qw_states_import(&fresh, &g->states, m->config, map);
        if (*to < 0) st = fail_memory(err);
    }
    if (st == QW_OK) {
        for (qw_matcher *m = g->matchers; m; m = m->next) m->config = configs[m->config];
        drop_config_masks(g);
        qw_states old = g->states;
        g->states = fresh;
        fresh = old;
    }
    qw_states_release(&fresh);
    qw_mem_free(map);
    qw_mem_free(configs);
    return st;
}

static qw_status begin(qw_grammar *g, qw_error *err)
{
    g->states.budget = BUDGET;
    if (g->mask_bytes > MAX_MASK_BYTES) drop_masks(g);
    return qw_states_size(&g->states) > MAX_STATE_BYTES ? flush_states(g, err) : QW_OK;
}

void qw_grammar_unref(qw_grammar *g)
{
    if (!g || atomic_fetch_sub(&g->n_owners, 1) > 1) return;
    drop_masks(g);
    qw_mem_free(g->node_masks);
    qw_mem_free(g->config_masks);
    qw_mem_free(g->path);
    qw_mem_free(g->leaves);
    qw_mem_free(g->bits);
    qw_states_release(&g->states);
    qw_pda_release(&g->pda);
    pthread_mutex_destroy(&g->mu);
    qw_mem_free(g);
}

size_t qw_grammar_size(qw_grammar *g)
{
    pthread_mutex_lock(&g->mu);
    size_t size = sizeof *g + (size_t)g->pda.n_nodes * (sizeof *g->pda.nodes + sizeof(void *)) +
                  (size_t)g->pda.n_edges * sizeof *g->pda.edges + qw_states_size(&g->states) +
                  g->mask_bytes + g->cap_leaves * sizeof *g->leaves;
    pthread_mutex_unlock(&g->mu);
    return size;
}

// ---- matchers

qw_status qw_matcher_new(qw_matcher **out, qw_grammar *g, qw_error *err)
{
    qw_matcher *m = qw_mem_calloc(1, sizeof *m);
    if (!m) return qw_fail_memory(err, sizeof *m, "a grammar's matcher");
    pthread_mutex_lock(&g->mu);
    qw_status st = begin(g, err);
    if (st == QW_OK) {
        m->config = qw_states_enter(&g->states, g->start, QW_STACK_BOTTOM);
        if (m->config == QW_CONFIG_FAILED) st = fail_states(g, err);
    }
    if (st == QW_OK) {
        m->grammar = qw_grammar_ref(g);
        m->next = g->matchers;
        if (m->next) m->next->prev = m;
        g->matchers = m;
    }
    pthread_mutex_unlock(&g->mu);
    if (st != QW_OK) {
        qw_mem_free(m);
        return st;
    }
    *out = m;
    return QW_OK;
}

void qw_matcher_free(qw_matcher *m)
{
    if (!m) return;
    qw_grammar *g = m->grammar;
    pthread_mutex_lock(&g->mu);
    if (m->prev)
        m->prev->next = m->next;
    else
        g->matchers = m->next;
    if (m->next) m->next->prev = m->prev;
    pthread_mutex_unlock(&g->mu);
    qw_grammar_unref(g);
    qw_mem_free(m);
}

static void copy_mask(uint32_t *mask, size_t n_ids, const qw_token_set *t, size_t n_known)
{
    size_t n_words = qw_mask_words(n_ids), n = n_words < n_known ? n_words : n_known;
    if (t->bits) {
        memcpy(mask, t->bits, n * sizeof *mask);
        memset(mask + n, 0, (n_words - n) * sizeof *mask);
        if (n_ids % 32) mask[n_words - 1] &= (1u << (n_ids % 32)) - 1;
        return;
    }
    memset(mask, 0, n_words * sizeof *mask);
    for (int32_t i = 0; i < t->n; i++)
        if ((size_t)t->ids[i] < n_ids) mask[t->ids[i] / 32] |= 1u << (t->ids[i] % 32);
}

qw_status qw_matcher_mask(qw_matcher *m, uint32_t *mask, size_t n_ids, size_t *n_allowed,
                          qw_error *err)
{
    qw_grammar *g = m->grammar;
    pthread_mutex_lock(&g->mu);
    qw_status st = begin(g, err);
    if (st == QW_OK) {
        qw_token_set *t =
            (size_t)m->config < g->cap_config_masks ? g->config_masks[m->config] : NULL;
        if (!t) st = make_config_mask(g, m->config, &t, err);
        if (st == QW_OK) {
            if (mask) copy_mask(mask, n_ids, t, mask_words(g));
            if (n_allowed) *n_allowed = (size_t)t->n;
        }
    }
    pthread_mutex_unlock(&g->mu);
    return st;
}

bool qw_matcher_may_end(const qw_matcher *m)
{
    qw_grammar *g = m->grammar;
    pthread_mutex_lock(&g->mu);
    bool may_end = g->states.configs[m->config].may_end;
    pthread_mutex_unlock(&g->mu);
    return may_end;
}

bool qw_matcher_is_complete(const qw_matcher *m)
{
    qw_grammar *g = m->grammar;
    pthread_mutex_lock(&g->mu);
    const qw_state_config *c = &g->states.configs[m->config];
    bool is_complete = c->n == 0;
    pthread_mutex_unlock(&g->mu);
    return is_complete;
}

qw_status qw_matcher_accept_bytes(qw_matcher *m, qw_str bytes, qw_error *err)
{
    qw_grammar *g = m->grammar;
    pthread_mutex_lock(&g->mu);
    qw_status st = begin(g, err);
    int32_t config = m->config;
    for (size_t i = 0; i < bytes.len && st == QW_OK; i++) {
        config = qw_states_step(&g->states, config, (uint8_t)bytes.ptr[i]);
        if (config == QW_CONFIG_FAILED) st = fail_states(g, err);
        if (config == QW_CONFIG_DEAD)
            st = qw_fail(err, QW_ERR_USAGE, "byte 0x%02x may not come here by the grammar",
                         (uint8_t)bytes.ptr[i]);
    }
    if (st == QW_OK) m->config = config;
    pthread_mutex_unlock(&g->mu);
    return st;
}

qw_status qw_matcher_accept(qw_matcher *m, int32_t id, qw_error *err)
{
    const qw_vocab_trie *trie = m->grammar->trie;
    if (id < 0 || id >= trie->n_ids || !trie->bytes[id].ptr)
        return qw_fail(err, QW_ERR_USAGE, "token %d may not come here by the grammar", id);
    return qw_matcher_accept_bytes(m, trie->bytes[id], err);
}

qw_status qw_matcher_next_bytes(qw_matcher *m, bool next[256], qw_error *err)
{
    qw_grammar *g = m->grammar;
    pthread_mutex_lock(&g->mu);
    qw_status st = begin(g, err);
    for (int b = 0; b < 256 && st == QW_OK; b++) {
        int32_t to = qw_states_step(&g->states, m->config, (uint8_t)b);
        if (to == QW_CONFIG_FAILED) st = fail_states(g, err);
        next[b] = to > QW_CONFIG_DEAD;
    }
    pthread_mutex_unlock(&g->mu);
    return st;
}

void qw_matcher_set(qw_matcher *to, const qw_matcher *from)
{
    QW_ASSERT(to->grammar == from->grammar);
    pthread_mutex_lock(&to->grammar->mu);
    to->config = from->config;
    pthread_mutex_unlock(&to->grammar->mu);
}
