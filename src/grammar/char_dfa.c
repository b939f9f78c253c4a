#include "grammar/char_dfa.h"

#include <stdlib.h>

// ---- building: states and edges grow in the arena

typedef struct builder {
    qw_gram *g;
    qw_dfa_state *states;
    qw_dfa_edge *edges;
    size_t n_states, cap_states, n_edges, cap_edges;
} builder;

static int32_t add_state(builder *b)
{
    if (b->n_states == QW_DFA_MAX_STATES)
        qw_pda_fail(b->g->pda, QW_ERR_USAGE,
                    "a pattern is too complex: its automaton has more than %d states",
                    QW_DFA_MAX_STATES);
    if (!qw_pda_spend(b->g->pda, 1)) return -1;
    qw_dfa_state *grown = qw_gram_grow(b->g, b->states, b->n_states, &b->cap_states, sizeof *grown);
    if (!grown) return -1;
    b->states = grown;
    b->states[b->n_states] = (qw_dfa_state){.first = (int32_t)b->n_edges};
    return (int32_t)b->n_states++;
}

// Edges of a state are added right after each other; neighbours with one target are merged.
static void add_edge(builder *b, int32_t from, int32_t lo, int32_t hi, int32_t to)
{
    qw_dfa_state *s = &b->states[from];
    if (s->n > 0) {
        qw_dfa_edge *last = &b->edges[s->first + s->n - 1];
        if (last->to == to && last->hi + 1 == lo) {
            last->hi = hi;
            return;
        }
    }
    if (!qw_pda_spend(b->g->pda, 1)) return;
    qw_dfa_edge *grown = qw_gram_grow(b->g, b->edges, b->n_edges, &b->cap_edges, sizeof *grown);
    if (!grown) return;
    b->edges = grown;
    if (s->n == 0) s->first = (int32_t)b->n_edges;
    b->edges[b->n_edges++] = (qw_dfa_edge){lo, hi, to};
    s->n++;
}

// Only states that can reach an accepting one, in order.
static qw_char_dfa trim(builder *b)
{
    qw_gram *g = b->g;
    qw_char_dfa empty = {0}, out = {0};
    int32_t n = (int32_t)b->n_states;
    if (!qw_pda_ok(g->pda) || n == 0) return empty;
    // Sources of each state, as lists in arrays.
    int32_t *first = qw_gram_alloc(g, (size_t)n, sizeof *first);
    int32_t *next = qw_gram_alloc(g, b->n_edges, sizeof *next);
    int32_t *source = qw_gram_alloc(g, b->n_edges, sizeof *source);
    int32_t *number = qw_gram_alloc(g, (size_t)n, sizeof *number);
    int32_t *queue = qw_gram_alloc(g, (size_t)n, sizeof *queue);
    if (!first || !next || !source || !number || !queue) return empty;
    for (int32_t i = 0; i < n; i++) first[i] = -1;
    for (int32_t i = 0; i < n; i++)
        for (int32_t e = b->states[i].first; e < b->states[i].first + b->states[i].n; e++) {
            source[e] = i;
            next[e] = first[b->edges[e].to];
            first[b->edges[e].to] = e;
        }
    int32_t n_queue = 0;
    for (int32_t i = 0; i < n; i++) {
        number[i] = b->states[i].accepts ? 0 : -1;
        if (b->states[i].accepts) queue[n_queue++] = i;
    }
    for (int32_t done = 0; done < n_queue; done++)
        for (int32_t e = first[queue[done]]; e >= 0; e = next[e])
            if (number[source[e]] < 0) {
                number[source[e]] = 0;
                queue[n_queue++] = source[e];
            }
    if (number[0] < 0) return empty;
    for (int32_t i = 0; i < n; i++)
        if (number[i] >= 0) number[i] = out.n_states++;
    out.states = qw_gram_alloc(g, (size_t)out.n_states, sizeof *out.states);
    out.edges = qw_gram_alloc(g, b->n_edges, sizeof *out.edges);
    if (!out.states || !out.edges) return empty;
    for (int32_t i = 0; i < n; i++) {
        if (number[i] < 0) continue;
        const qw_dfa_state *s = &b->states[i];
        qw_dfa_state *to = &out.states[number[i]];
        *to = (qw_dfa_state){.first = out.n_edges, .accepts = s->accepts};
        for (int32_t e = s->first; e < s->first + s->n; e++) {
            qw_dfa_edge edge = b->edges[e];
            if (number[edge.to] < 0) continue;
            edge.to = number[edge.to];
            out.edges[out.n_edges++] = edge;
            to->n++;
        }
    }
    (void)qw_pda_spend(g->pda, b->n_edges + b->n_states);
    return out;
}

// ---- simple sets

qw_char_dfa qw_dfa_of_length(qw_gram *g, int64_t min, int64_t max)
{
    builder b = {.g = g};
    int64_t n = max >= 0 ? max : min;
    if (n >= QW_DFA_MAX_STATES) {
        qw_pda_fail(g->pda, QW_ERR_USAGE,
                    "a length of %" PRId64 " is too much for a grammar; the most is %d", n,
                    QW_DFA_MAX_STATES - 1);
        return (qw_char_dfa){0};
    }
    for (int64_t i = 0; i <= n && qw_pda_ok(g->pda); i++) {
        int32_t s = add_state(&b);
        if (s < 0) break;
        b.states[s].accepts = i >= min;
        if (i < n || max < 0) add_edge(&b, s, 0, QW_CHAR_MAX, i < n ? s + 1 : s);
    }
    return trim(&b);
}

static int compare_texts(const void *a, const void *b)
{
    const qw_str *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = n ? memcmp(x->ptr, y->ptr, n) : 0;
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

// One level of the tree of texts: those from `begin` to `end` agree up to their byte `depth`.
typedef struct text_range {
    size_t begin, end, depth;
    int32_t state;
} text_range;

qw_char_dfa qw_dfa_of_texts(qw_gram *g, qw_str *texts, size_t n)
{
    builder b = {.g = g};
    if (n == 0) return (qw_char_dfa){0};
    qsort(texts, n, sizeof *texts, compare_texts); // the order of UTF-8 is that of code points
    text_range *queue = NULL;
    size_t n_queue = 0, cap = 0;
    queue = qw_gram_grow(g, queue, 0, &cap, sizeof *queue);
    if (!queue) return (qw_char_dfa){0};
    queue[n_queue++] = (text_range){0, n, 0, add_state(&b)};
    for (size_t done = 0; done < n_queue && qw_pda_ok(g->pda); done++) {
        text_range r = queue[done];
        size_t i = r.begin;
        for (; i < r.end && texts[i].len == r.depth; i++) b.states[r.state].accepts = true;
        while (i < r.end && qw_pda_spend(g->pda, 1)) {
            size_t at = r.depth, begin = i;
            int32_t c = qw_utf8_next(texts[i], &at), other;
            do {
                size_t pos = r.depth;
                i++;
                other = i < r.end ? qw_utf8_next(texts[i], &pos) : -2;
                (void)qw_pda_spend(g->pda, 1);
            } while (other == c);
            int32_t to = add_state(&b);
            if (to < 0) break;
            add_edge(&b, r.state, c, c, to);
            queue = qw_gram_grow(g, queue, n_queue, &cap, sizeof *queue);
            if (!queue) return (qw_char_dfa){0};
            queue[n_queue++] = (text_range){begin, i, at, to};
        }
    }
    return trim(&b);
}

// ---- numbering pairs and sets of states

typedef struct numbering {
    qw_gram *g;
    int32_t *heads; /* [n_heads], a power of two */
    size_t n_heads;
    int32_t **keys; /* [n] each with its length in front */
    int32_t *next;
    size_t n, cap_keys, cap_next;
} numbering;

static uint32_t hash_key(const int32_t *key, int32_t n)
{
    uint32_t h = (uint32_t)n;
    for (int32_t i = 0; i < n; i++) h = (h ^ (uint32_t)key[i]) * 0x9E3779B1u, h ^= h >> 15;
    return h;
}

static bool numbering_init(numbering *m, qw_gram *g)
{
    *m = (numbering){.g = g, .n_heads = 8192};
    m->heads = qw_gram_alloc(g, m->n_heads, sizeof *m->heads);
    for (size_t i = 0; m->heads && i < m->n_heads; i++) m->heads[i] = -1;
    return m->heads != NULL;
}

// The number of a key; *is_new tells that it is the next one. -1: failure.
static int32_t number_of(numbering *m, const int32_t *key, int32_t n, bool *is_new)
{
    uint32_t h = hash_key(key, n) & (uint32_t)(m->n_heads - 1);
    *is_new = false;
    if (!qw_pda_spend(m->g->pda, (size_t)n + 1)) return -1;
    for (int32_t i = m->heads[h]; i >= 0; i = m->next[i])
        if (m->keys[i][0] == n && memcmp(m->keys[i] + 1, key, (size_t)n * sizeof *key) == 0)
            return i;
    int32_t **keys = qw_gram_grow(m->g, m->keys, m->n, &m->cap_keys, sizeof *keys);
    int32_t *next = qw_gram_grow(m->g, m->next, m->n, &m->cap_next, sizeof *next);
    int32_t *copy = qw_gram_alloc(m->g, (size_t)n + 1, sizeof *copy);
    if (!keys || !next || !copy) return -1;
    m->keys = keys;
    m->next = next;
    copy[0] = n;
    if (n) memcpy(copy + 1, key, (size_t)n * sizeof *key);
    m->keys[m->n] = copy;
    m->next[m->n] = m->heads[h];
    m->heads[h] = (int32_t)m->n;
    *is_new = true;
    return (int32_t)m->n++;
}

// ---- two sets joined: the product of their automata

// State after a code point, or -1. *until: the last code point with the same answer.
static int32_t step(const qw_char_dfa *d, int32_t state, int32_t c, int32_t *until)
{
    *until = QW_CHAR_MAX;
    if (state < 0) return -1;
    const qw_dfa_state *s = &d->states[state];
    int32_t lo = s->first, hi = s->first + s->n; // first edge with hi >= c
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (d->edges[mid].hi < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == s->first + s->n) return -1;
    const qw_dfa_edge *e = &d->edges[lo];
    if (e->lo > c) {
        *until = e->lo - 1;
        return -1;
    }
    *until = e->hi;
    return e->to;
}

static bool join_accepts(const qw_char_dfa *a, const qw_char_dfa *b, const int32_t *pair,
                         qw_dfa_join join)
{
    bool in_a = pair[0] >= 0 && a->states[pair[0]].accepts;
    bool in_b = pair[1] >= 0 && b->states[pair[1]].accepts;
    if (join == QW_DFA_AND) return in_a && in_b;
    return join == QW_DFA_OR ? in_a || in_b : in_a && !in_b;
}

qw_char_dfa qw_dfa_join_of(qw_gram *g, const qw_char_dfa *a, const qw_char_dfa *b, qw_dfa_join join)
{
    builder out = {.g = g};
    numbering pairs;
    bool is_new;
    int32_t start[2] = {a->n_states ? 0 : -1, b->n_states ? 0 : -1};
    if (!qw_pda_ok(g->pda) || !numbering_init(&pairs, g)) return (qw_char_dfa){0};
    if (number_of(&pairs, start, 2, &is_new) < 0) return (qw_char_dfa){0};
    for (size_t i = 0; i < pairs.n && qw_pda_ok(g->pda); i++) {
        int32_t pair[2] = {pairs.keys[i][1], pairs.keys[i][2]};
        int32_t from = add_state(&out);
        if (from < 0) break;
        out.states[from].accepts = join_accepts(a, b, pair, join);
        for (int32_t c = 0; c <= QW_CHAR_MAX && qw_pda_spend(g->pda, 1);) {
            int32_t until[2];
            int32_t to[2] = {step(a, pair[0], c, &until[0]), step(b, pair[1], c, &until[1])};
            int32_t last = until[0] < until[1] ? until[0] : until[1];
            bool is_dead = join == QW_DFA_OR    ? to[0] < 0 && to[1] < 0
                           : join == QW_DFA_AND ? to[0] < 0 || to[1] < 0
                                                : to[0] < 0;
            if (!is_dead) {
                int32_t n = number_of(&pairs, to, 2, &is_new);
                if (n < 0) break;
                add_edge(&out, from, c, last, n);
            }
            c = last + 1;
        }
    }
    return trim(&out);
}

bool qw_dfa_matches(const qw_char_dfa *d, qw_str text)
{
    int32_t state = d->n_states ? 0 : -1, until;
    for (size_t pos = 0; pos < text.len && state >= 0;)
        state = step(d, state, qw_utf8_next(text, &pos), &until);
    return state >= 0 && d->states[state].accepts;
}

// ---- from a regular expression: an automaton with choices, then sets of its states

enum { MAX_NFA_NODES = 400000, MAX_SUBSETS = 25000 };
enum { NFA_EMPTY, NFA_SET, NFA_BEGIN, NFA_END };

typedef struct nfa_edge {
    int kind;
    int32_t to, next;
    const qw_char_set *set;
} nfa_edge;

typedef struct nfa {
    qw_gram *g;
    int32_t *first; /* [n] edge */
    nfa_edge *edges;
    size_t n, cap, n_edges, cap_edges;
    int32_t final;
} nfa;

static int32_t nfa_node(nfa *a)
{
    if (a->n == MAX_NFA_NODES)
        qw_pda_fail(a->g->pda, QW_ERR_USAGE,
                    "a pattern is too complex: it repeats too much too often");
    if (!qw_pda_spend(a->g->pda, 1)) return 0;
    int32_t *grown = qw_gram_grow(a->g, a->first, a->n, &a->cap, sizeof *grown);
    if (!grown) return 0;
    a->first = grown;
    a->first[a->n] = -1;
    return (int32_t)a->n++;
}

static void nfa_edge_add(nfa *a, int32_t from, int kind, const qw_char_set *set, int32_t to)
{
    if (!qw_pda_spend(a->g->pda, 1)) return;
    nfa_edge *grown = qw_gram_grow(a->g, a->edges, a->n_edges, &a->cap_edges, sizeof *grown);
    if (!grown) return;
    a->edges = grown;
    a->edges[a->n_edges] = (nfa_edge){.kind = kind, .to = to, .set = set, .next = a->first[from]};
    a->first[from] = (int32_t)a->n_edges++;
}

// Depth is bounded by the parser: only groups and quantifiers recurse, the right sides loop.
static void nfa_build(nfa *a, const qw_regex *r, int32_t from, int32_t to)
{
    while (qw_pda_ok(a->g->pda)) {
        switch (r->kind) {
        case QW_REGEX_EMPTY: nfa_edge_add(a, from, NFA_EMPTY, NULL, to); return;
        case QW_REGEX_SET: nfa_edge_add(a, from, NFA_SET, &r->set, to); return;
        case QW_REGEX_BEGIN: nfa_edge_add(a, from, NFA_BEGIN, NULL, to); return;
        case QW_REGEX_END: nfa_edge_add(a, from, NFA_END, NULL, to); return;
        case QW_REGEX_CAT: {
            int32_t mid = nfa_node(a);
            nfa_build(a, r->a, from, mid);
            from = mid;
            r = r->b;
            break;
        }
        case QW_REGEX_ALT:
            nfa_build(a, r->a, from, to);
            r = r->b;
            break;
        case QW_REGEX_REPEAT:
            for (int32_t i = 0; i < r->min && qw_pda_ok(a->g->pda); i++) {
                int32_t next = nfa_node(a);
                nfa_build(a, r->a, from, next);
                from = next;
            }
            if (r->max < 0) {
                int32_t loop = nfa_node(a), back = nfa_node(a);
                nfa_edge_add(a, from, NFA_EMPTY, NULL, loop);
                nfa_build(a, r->a, loop, back);
                nfa_edge_add(a, back, NFA_EMPTY, NULL, loop);
                from = loop;
            }
            for (int32_t i = r->min; i < r->max && qw_pda_ok(a->g->pda); i++) {
                int32_t next = nfa_node(a);
                nfa_edge_add(a, from, NFA_EMPTY, NULL, to);
                nfa_build(a, r->a, from, next);
                from = next;
            }
            nfa_edge_add(a, from, NFA_EMPTY, NULL, to);
            return;
        }
    }
}

typedef struct cut {
    int32_t at;   /* from this code point on */
    int32_t node; /* is reached, or no longer */
    bool ends;
} cut;

typedef struct subset {
    nfa *a;
    uint32_t *stamp; /* [a->n] */
    uint32_t now;
    int32_t *nodes; /* [a->n] the closure being made */
    int32_t n;
    cut *cuts; /* scratch of find_edges, kept from state to state */
    int32_t *open;
    size_t cap_cuts, cap_open;
} subset;

static void subset_add(subset *s, int32_t node)
{
    if (s->stamp[node] == s->now) return;
    s->stamp[node] = s->now;
    s->nodes[s->n++] = node;
}

static void close_subset(subset *s, bool at_begin, bool at_end)
{
    for (int32_t i = 0; i < s->n && qw_pda_spend(s->a->g->pda, 1); i++)
        for (int32_t e = s->a->first[s->nodes[i]]; e >= 0; e = s->a->edges[e].next) {
            const nfa_edge *edge = &s->a->edges[e];
            (void)qw_pda_spend(s->a->g->pda, 1);
            if (edge->kind == NFA_EMPTY || (edge->kind == NFA_BEGIN && at_begin) ||
                (edge->kind == NFA_END && at_end))
                subset_add(s, edge->to);
        }
}

static int compare_ints(const void *a, const void *b)
{
    const int32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// What tells two subsets apart: nodes that read something, assert the end, or are final.
static void keep_important(subset *s)
{
    int32_t n = 0;
    for (int32_t i = 0; i < s->n; i++) {
        bool keep = s->nodes[i] == s->a->final;
        for (int32_t e = s->a->first[s->nodes[i]]; e >= 0 && !keep; e = s->a->edges[e].next)
            keep = s->a->edges[e].kind == NFA_SET || s->a->edges[e].kind == NFA_END;
        if (keep) s->nodes[n++] = s->nodes[i];
    }
    s->n = n;
    if (n > 1) qsort(s->nodes, (size_t)n, sizeof *s->nodes, compare_ints);
}

static int compare_cuts(const void *a, const void *b)
{
    const cut *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

// Where the code points lead from a subset: between two cuts they all lead to one subset.
static cut *cuts_of(subset *s, const int32_t *nodes, int32_t n, size_t *n_cuts)
{
    const nfa *a = s->a;
    cut *cuts = s->cuts;
    *n_cuts = 0;
    for (int32_t i = 0; i < n; i++)
        for (int32_t e = a->first[nodes[i]]; e >= 0; e = a->edges[e].next) {
            const nfa_edge *edge = &a->edges[e];
            for (size_t k = 0; edge->kind == NFA_SET && k < edge->set->n; k++)
                for (int side = 0; side < 2; side++) {
                    cuts = qw_gram_grow(a->g, cuts, *n_cuts, &s->cap_cuts, sizeof *cuts);
                    if (!cuts || !qw_pda_spend(a->g->pda, 1)) return NULL;
                    const qw_char_range *r = &edge->set->ranges[k];
                    cuts[(*n_cuts)++] = (cut){side ? r->hi + 1 : r->lo, edge->to, side == 1};
                }
        }
    s->cuts = cuts;
    if (*n_cuts > 1) qsort(cuts, *n_cuts, sizeof *cuts, compare_cuts);
    return cuts;
}

// Nodes of a subset; the key of the start (0) has a mark behind them, see determinize.
static int32_t n_nodes_of(const numbering *sets, int32_t i)
{
    return sets->keys[i][0] - (i == 0);
}

static void find_edges(builder *out, numbering *sets, subset *s, int32_t from, int32_t *reached)
{
    nfa *a = s->a;
    qw_gram *g = a->g;
    size_t n_cuts;
    cut *cuts = cuts_of(s, sets->keys[from] + 1, n_nodes_of(sets, from), &n_cuts);
    if (!cuts) return;
    // reached[node]: how many open ranges lead there; `open` lists the nodes, some at 0.
    if (n_cuts > s->cap_open) {
        s->open = qw_gram_alloc(g, n_cuts * 2, sizeof *s->open);
        s->cap_open = n_cuts * 2;
    }
    int32_t *open = s->open;
    int32_t n_open = 0;
    for (size_t i = 0; open && i < n_cuts && qw_pda_ok(g->pda);) {
        int32_t at = cuts[i].at;
        for (; i < n_cuts && cuts[i].at == at; i++) {
            if (!cuts[i].ends && reached[cuts[i].node] == 0) open[n_open++] = cuts[i].node;
            reached[cuts[i].node] += cuts[i].ends ? -1 : 1;
        }
        int32_t n = 0;
        s->n = 0;
        s->now++;
        for (int32_t k = 0; k < n_open; k++) {
            if (reached[open[k]] == 0 || s->stamp[open[k]] == s->now) continue;
            subset_add(s, open[k]);
            open[n++] = open[k];
        }
        n_open = n;
        if (n == 0 || i == n_cuts) continue;
        close_subset(s, false, false);
        keep_important(s);
        bool is_new;
        int32_t to = number_of(sets, s->nodes, s->n, &is_new);
        if (to >= 0) add_edge(out, from, at, cuts[i].at - 1, to);
    }
}

static bool accepts(subset *s, const int32_t *nodes, int32_t n, bool at_begin)
{
    s->n = 0;
    s->now++;
    for (int32_t i = 0; i < n; i++) subset_add(s, nodes[i]);
    close_subset(s, at_begin, true);
    return s->stamp[s->a->final] == s->now;
}

static qw_char_dfa determinize(nfa *a, int32_t start)
{
    qw_gram *g = a->g;
    builder out = {.g = g};
    numbering sets;
    subset s = {.a = a};
    if (!qw_pda_ok(g->pda) || !numbering_init(&sets, g)) return (qw_char_dfa){0};
    s.stamp = qw_gram_alloc(g, a->n, sizeof *s.stamp);
    s.nodes = qw_gram_alloc(g, a->n, sizeof *s.nodes);
    int32_t *reached = qw_gram_alloc(g, a->n, sizeof *reached);
    if (!s.stamp || !s.nodes || !reached) return (qw_char_dfa){0};
    s.now = 1;
    subset_add(&s, start);
    close_subset(&s, true, false);
    keep_important(&s);
    // The start is no other subset, even if it looks the same: only there is ^ true.
    int32_t *first = qw_gram_alloc(g, (size_t)s.n + 1, sizeof *first);
    bool is_new;
    if (!first) return (qw_char_dfa){0};
    memcpy(first, s.nodes, (size_t)s.n * sizeof *first);
    first[s.n] = -1;
    if (number_of(&sets, first, s.n + 1, &is_new) < 0) return (qw_char_dfa){0};
    for (size_t i = 0; i < sets.n && qw_pda_ok(g->pda); i++) {
        int32_t from = add_state(&out);
        if (from < 0) break;
        if (i == MAX_SUBSETS)
            qw_pda_fail(g->pda, QW_ERR_USAGE,
                        "a pattern is too complex: its automaton has more than %d states",
                        MAX_SUBSETS);
        out.states[from].accepts = accepts(&s, sets.keys[i] + 1, n_nodes_of(&sets, from), i == 0);
        find_edges(&out, &sets, &s, from, reached);
    }
    return trim(&out);
}

qw_char_dfa qw_dfa_of_regex(qw_gram *g, const qw_regex *r, bool search)
{
    static qw_char_range all[] = {{0, QW_CHAR_MAX}};
    static const qw_char_set any = {.ranges = all, .n = 1};
    nfa a = {.g = g};
    int32_t start = nfa_node(&a), begin = nfa_node(&a), end = nfa_node(&a);
    a.final = nfa_node(&a);
    if (!qw_pda_ok(g->pda) || !r) return (qw_char_dfa){0};
    nfa_edge_add(&a, start, NFA_EMPTY, NULL, begin);
    nfa_edge_add(&a, end, NFA_EMPTY, NULL, a.final);
    if (search) {
        nfa_edge_add(&a, start, NFA_SET, &any, start);
        nfa_edge_add(&a, a.final, NFA_SET, &any, a.final);
    }
    nfa_build(&a, r, begin, end);
    return determinize(&a, start);
}
