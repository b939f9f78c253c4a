#include "grammar/grammar_pda.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void qw_pda_init(qw_pda *p)
{
    memset(p, 0, sizeof *p);
    p->failed = QW_OK;
}

void qw_pda_release(qw_pda *p)
{
    qw_mem_free(p->nodes);
    qw_mem_free(p->edges);
    qw_mem_free(p->rules);
    p->nodes = NULL;
    p->edges = NULL;
    p->rules = NULL;
}

qw_status qw_pda_fail(qw_pda *p, qw_status code, const char *fmt, ...)
{
    if (p->failed != QW_OK) return p->failed;
    p->failed = p->error.code = code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(p->error.text, sizeof p->error.text, fmt, args);
    va_end(args);
    return code;
}

qw_status qw_pda_fail_memory(qw_pda *p)
{
    return qw_pda_fail(p, QW_ERR_NO_MEMORY, "cannot allocate memory for a grammar");
}

bool qw_pda_spend(qw_pda *p, size_t n)
{
    if (p->failed != QW_OK) return false;
    p->work += n;
    if (p->work <= QW_PDA_MAX_WORK) return true;
    qw_pda_fail(p, QW_ERR_USAGE, "the grammar is too complex to compile");
    return false;
}

// Room for one more of `n` items; false, with the failure recorded, when there is none.
static bool grow(qw_pda *p, void **items, int32_t n, int32_t *cap, int32_t max, size_t size,
                 const char *what)
{
    if (p->failed != QW_OK) return false;
    if (n < *cap) return true;
    if (n >= max) {
        qw_pda_fail(p, QW_ERR_USAGE, "the grammar is too large: more than %d %s", max, what);
        return false;
    }
    int32_t want = *cap < 64 ? 64 : *cap > max / 2 ? max : *cap * 2;
    size_t bytes;
    void *grown = qw_mul_size(&bytes, (size_t)want, size) ? qw_mem_realloc(*items, bytes) : NULL;
    if (!grown) {
        qw_pda_fail_memory(p);
        return false;
    }
    *items = grown;
    *cap = want;
    return true;
}

int32_t qw_pda_node_new(qw_pda *p)
{
    void *items = p->nodes;
    if (!grow(p, &items, p->n_nodes, &p->cap_nodes, QW_PDA_MAX_NODES, sizeof *p->nodes, "nodes"))
        return 0;
    p->nodes = items;
    p->nodes[p->n_nodes] = (qw_pda_node){.first = -1, .alias = p->n_nodes};
    return p->n_nodes++;
}

int32_t qw_pda_rule_new(qw_pda *p)
{
    int32_t start = qw_pda_node_new(p), end = qw_pda_node_new(p);
    void *items = p->rules;
    if (!grow(p, &items, p->n_rules, &p->cap_rules, QW_PDA_MAX_NODES, sizeof *p->rules, "rules"))
        return 0;
    p->rules = items;
    p->nodes[end].is_end = true;
    p->rules[p->n_rules] = (qw_pda_rule){.start = start, .end = end};
    return p->n_rules++;
}

static void add_edge(qw_pda *p, int32_t from, qw_pda_edge edge)
{
    void *items = p->edges;
    if (!grow(p, &items, p->n_edges, &p->cap_edges, QW_PDA_MAX_EDGES, sizeof *p->edges, "edges"))
        return;
    p->edges = items;
    edge.next = p->nodes[from].first;
    p->edges[p->n_edges] = edge;
    p->nodes[from].first = p->n_edges++;
    p->nodes[from].n++;
}

void qw_pda_bytes(qw_pda *p, int32_t from, uint8_t lo, uint8_t hi, int32_t to)
{
    add_edge(p, from, (qw_pda_edge){.to = to, .rule = QW_EDGE_BYTES, .lo = lo, .hi = hi});
}

void qw_pda_empty(qw_pda *p, int32_t from, int32_t to)
{
    if (from != to) add_edge(p, from, (qw_pda_edge){.to = to, .rule = QW_EDGE_EMPTY});
}

void qw_pda_call(qw_pda *p, int32_t from, int32_t rule, int32_t to)
{
    add_edge(p, from, (qw_pda_edge){.to = to, .rule = rule});
}

void qw_pda_literal(qw_pda *p, int32_t from, qw_str bytes, int32_t to)
{
    if (bytes.len == 0) qw_pda_empty(p, from, to);
    for (size_t i = 0; i < bytes.len && qw_pda_ok(p); i++) {
        int32_t next = i + 1 == bytes.len ? to : qw_pda_node_new(p);
        uint8_t b = (uint8_t)bytes.ptr[i];
        qw_pda_bytes(p, from, b, b, next);
        from = next;
    }
}

static int compare_strings(const void *a, const void *b)
{
    const qw_str *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = n ? memcmp(x->ptr, y->ptr, n) : 0;
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

void qw_pda_literals(qw_pda *p, int32_t from, qw_str *strings, size_t n, int32_t to)
{
    if (n == 0) return;
    qsort(strings, n, sizeof *strings, compare_strings);
    // The path of the string before: path[d] is the node after d of its bytes.
    int32_t *path = NULL;
    size_t cap = 0, known = 0; // path[0 .. known] is valid
    for (size_t i = 0; i < n && qw_pda_ok(p); i++) {
        qw_str s = strings[i];
        if (i > 0 && qw_str_eq(s, strings[i - 1])) continue;
        size_t bytes;
        if (s.len + 1 > cap) {
            cap = s.len + 64;
            int32_t *grown =
                qw_mul_size(&bytes, cap, sizeof *path) ? qw_mem_realloc(path, bytes) : NULL;
            if (!grown) {
                qw_pda_fail_memory(p);
                break;
            }
            path = grown;
        }
        path[0] = from;
        size_t same = 0;
        while (i > 0 && same < known && same < s.len && s.ptr[same] == strings[i - 1].ptr[same])
            same++;
        for (size_t d = same; d < s.len && qw_pda_ok(p); d++) {
            uint8_t b = (uint8_t)s.ptr[d];
            path[d + 1] = qw_pda_node_new(p);
            qw_pda_bytes(p, path[d], b, b, path[d + 1]);
        }
        known = s.len;
        qw_pda_empty(p, path[s.len], to);
    }
    qw_mem_free(path);
}

void qw_pda_alias(qw_pda *p, int32_t node, int32_t as)
{
    if (qw_pda_ok(p)) p->nodes[node].alias = as;
}

// ---- finishing

typedef struct finisher {
    qw_pda *p;
    int32_t *in_first, *in_next; /* edges by target: lists through in_next */
    int32_t *from_of;            /* source of each edge */
    int32_t *call_first, *call_next;
    uint8_t *reaches;     /* node: it can come to its rule's end */
    uint8_t *is_nullable; /* node: it can come to the end without a byte */
    int32_t *queue;
} finisher;

static qw_status alloc_finisher(finisher *f, qw_pda *p, qw_error *err)
{
    size_t n = (size_t)p->n_nodes + 1, m = (size_t)p->n_edges + 1, r = (size_t)p->n_rules + 1;
    *f = (finisher){.p = p};
    f->in_first = qw_mem_array(n, sizeof *f->in_first);
    f->in_next = qw_mem_array(m, sizeof *f->in_next);
    f->from_of = qw_mem_array(m, sizeof *f->from_of);
    f->call_first = qw_mem_array(r, sizeof *f->call_first);
    f->call_next = qw_mem_array(m, sizeof *f->call_next);
    f->reaches = qw_mem_calloc(n, 1);
    f->is_nullable = qw_mem_calloc(n, 1);
    f->queue = qw_mem_array(n, sizeof *f->queue);
    if (f->in_first && f->in_next && f->from_of && f->call_first && f->call_next && f->reaches &&
        f->is_nullable && f->queue)
        return QW_OK;
    return qw_fail_memory(err, n + m, "a grammar");
}

static void release_finisher(finisher *f)
{
    qw_mem_free(f->in_first);
    qw_mem_free(f->in_next);
    qw_mem_free(f->from_of);
    qw_mem_free(f->call_first);
    qw_mem_free(f->call_next);
    qw_mem_free(f->reaches);
    qw_mem_free(f->is_nullable);
    qw_mem_free(f->queue);
}

static void link_edges(finisher *f)
{
    qw_pda *p = f->p;
    for (int32_t i = 0; i < p->n_nodes; i++) f->in_first[i] = -1;
    for (int32_t i = 0; i < p->n_rules; i++) f->call_first[i] = -1;
    for (int32_t i = 0; i < p->n_nodes; i++)
        for (int32_t e = p->nodes[i].first; e >= 0; e = p->edges[e].next) {
            const qw_pda_edge *edge = &p->edges[e];
            f->from_of[e] = i;
            f->in_next[e] = f->in_first[edge->to];
            f->in_first[edge->to] = e;
            if (edge->rule < 0) continue;
            f->call_next[e] = f->call_first[edge->rule];
            f->call_first[edge->rule] = e;
        }
}

// Mark every node from which its rule's end can be reached: by any edges, or (`nullable`) without a
// byte. A call counts once its rule's start is marked. Backwards from the ends; a rule whose start
// becomes marked wakes its callers.
static void mark(finisher *f, uint8_t *marked, bool nullable)
{
    qw_pda *p = f->p;
    int32_t n = 0;
    for (int32_t i = 0; i < p->n_nodes; i++)
        if (p->nodes[i].is_end) {
            marked[i] = 1;
            f->queue[n++] = i;
        }
    for (int32_t done = 0; done < n;) {
        int32_t node = f->queue[done++];
        for (int32_t e = f->in_first[node]; e >= 0; e = f->in_next[e]) {
            const qw_pda_edge *edge = &p->edges[e];
            if (marked[f->from_of[e]]) continue;
            if (edge->rule == QW_EDGE_BYTES && nullable) continue;
            if (edge->rule >= 0 && !marked[p->rules[edge->rule].start]) continue;
            marked[f->from_of[e]] = 1;
            f->queue[n++] = f->from_of[e];
        }
        int32_t rule = p->nodes[node].n; // that starts here, see qw_pda_finish
        if (rule < 0) continue;
        for (int32_t e = f->call_first[rule]; e >= 0; e = f->call_next[e])
            if (marked[p->edges[e].to] && !marked[f->from_of[e]]) {
                marked[f->from_of[e]] = 1;
                f->queue[n++] = f->from_of[e];
            }
    }
}

// Left recursion: a rule that comes back to itself before any byte would never end being entered.
// Depth first over "rule a may call rule b first", iteratively; colours 0 new, 1 open, 2 done.
typedef struct visit {
    int32_t rule;
    int32_t i_next; /* in the rule's list of first calls */
} visit;

typedef struct first_calls {
    int32_t *begin; /* [n_rules + 1] */
    int32_t *rules; /* called first, perhaps several times */
    int32_t n;
} first_calls;

// Rules that `rule` may call before any byte, appended to *out.
static bool collect_first_calls(finisher *f, int32_t rule, uint32_t *seen, uint32_t stamp,
                                int32_t **out, int32_t *n_out, int32_t *cap)
{
    qw_pda *p = f->p;
    int32_t n = 0;
    f->queue[n++] = p->rules[rule].start;
    seen[p->rules[rule].start] = stamp;
    while (n > 0) {
        int32_t node = f->queue[--n];
        for (int32_t e = p->nodes[node].first; e >= 0; e = p->edges[e].next) {
            const qw_pda_edge *edge = &p->edges[e];
            if (edge->rule == QW_EDGE_BYTES || !f->reaches[edge->to]) continue;
            bool goes_on = edge->rule == QW_EDGE_EMPTY;
            if (edge->rule >= 0) {
                int32_t start = p->rules[edge->rule].start;
                if (!f->reaches[start]) continue;
                goes_on = f->is_nullable[start];
                if (*n_out == *cap) {
                    int32_t want = *cap ? *cap * 2 : 256;
                    int32_t *grown = qw_mem_realloc(*out, (size_t)want * sizeof **out);
                    if (!grown) return false;
                    *out = grown;
                    *cap = want;
                }
                (*out)[(*n_out)++] = edge->rule;
            }
            if (goes_on && seen[edge->to] != stamp) {
                seen[edge->to] = stamp;
                f->queue[n++] = edge->to;
            }
        }
    }
    return true;
}

// A rule with a name, of those from `first` to the top of the stack, if there is one.
static int32_t named_in_cycle(const qw_pda *p, const visit *stack, int32_t depth, int32_t first)
{
    for (int32_t i = depth; i-- > 0;) {
        if (p->rules[stack[i].rule].name.ptr) return stack[i].rule;
        if (stack[i].rule == first) break;
    }
    return first;
}

static qw_status search_cycle(const qw_pda *p, const first_calls *calls, int32_t *cycle,
                              qw_error *err)
{
    qw_status st = QW_OK;
    uint8_t *colour = qw_mem_calloc((size_t)p->n_rules + 1, 1);
    visit *stack = qw_mem_array((size_t)p->n_rules + 1, sizeof *stack);
    *cycle = -1;
    if (!colour || !stack) st = qw_fail_memory(err, (size_t)p->n_rules, "a grammar");
    for (int32_t r = 0; r < p->n_rules && st == QW_OK && *cycle < 0; r++) {
        int32_t depth = 0;
        if (colour[r]) continue;
        stack[depth++] = (visit){r, calls->begin[r]};
        colour[r] = 1;
        while (depth > 0 && *cycle < 0) {
            visit *top = &stack[depth - 1];
            if (top->i_next == calls->begin[top->rule + 1]) {
                colour[top->rule] = 2;
                depth--;
                continue;
            }
            int32_t next = calls->rules[top->i_next++];
            if (colour[next] == 1) *cycle = named_in_cycle(p, stack, depth, next);
            if (colour[next]) continue;
            colour[next] = 1;
            stack[depth++] = (visit){next, calls->begin[next]};
        }
    }
    qw_mem_free(colour);
    qw_mem_free(stack);
    return st;
}

static qw_status find_left_recursion(finisher *f, int32_t *cycle, qw_error *err)
{
    qw_pda *p = f->p;
    first_calls calls = {.begin = qw_mem_array((size_t)p->n_rules + 2, sizeof(int32_t))};
    uint32_t *seen = qw_mem_calloc((size_t)p->n_nodes + 1, sizeof *seen);
    int32_t cap = 0;
    bool ok = calls.begin && seen;
    for (int32_t r = 0; r < p->n_rules && ok; r++) {
        calls.begin[r] = calls.n;
        ok = collect_first_calls(f, r, seen, (uint32_t)r + 1, &calls.rules, &calls.n, &cap);
    }
    qw_status st = ok ? QW_OK : qw_fail_memory(err, (size_t)p->n_nodes, "a grammar");
    if (ok) {
        calls.begin[p->n_rules] = calls.n;
        st = search_cycle(p, &calls, cycle, err);
    }
    qw_mem_free(calls.begin);
    qw_mem_free(calls.rules);
    qw_mem_free(seen);
    return st;
}

// Edges that lead somewhere, in the order of their nodes; bytes first, then the others.
static qw_status pack(finisher *f, qw_error *err)
{
    qw_pda *p = f->p;
    qw_pda_edge *packed = qw_mem_array((size_t)p->n_edges + 1, sizeof *packed);
    if (!packed) return qw_fail_memory(err, (size_t)p->n_edges, "a grammar");
    int32_t n = 0;
    for (int32_t i = 0; i < p->n_nodes; i++) {
        qw_pda_node *node = &p->nodes[i];
        int32_t first = n;
        for (int pass = 0; pass < 2; pass++)
            for (int32_t e = node->first; e >= 0; e = p->edges[e].next) {
                const qw_pda_edge *edge = &p->edges[e];
                if ((edge->rule == QW_EDGE_BYTES) != (pass == 0) || !f->reaches[edge->to]) continue;
                if (edge->rule >= 0 && !f->reaches[p->rules[edge->rule].start]) continue;
                packed[n++] = *edge;
            }
        node->first = first;
        node->n = n - first;
    }
    qw_mem_free(p->edges);
    p->edges = packed;
    p->n_edges = p->cap_edges = n;
    return QW_OK;
}

// Bytes between two neighbouring boundaries of edges are one class.
static void make_classes(qw_pda *p)
{
    bool begins[257] = {false};
    for (int32_t e = 0; e < p->n_edges; e++)
        if (p->edges[e].rule == QW_EDGE_BYTES)
            begins[p->edges[e].lo] = begins[p->edges[e].hi + 1] = true;
    int32_t c = 0;
    for (int b = 0; b < 256; b++) {
        if (b > 0 && begins[b]) c++;
        p->class_of[b] = (uint8_t)c;
    }
    p->n_classes = c + 1;
}

qw_status qw_pda_finish(qw_pda *p, int32_t root, qw_error *err)
{
    if (p->failed != QW_OK) {
        if (err) *err = p->error;
        return p->failed;
    }
    finisher f;
    int32_t cycle = -1;
    qw_status st = alloc_finisher(&f, p, err);
    if (st == QW_OK) {
        link_edges(&f);
        // Until edges are packed, n of a node is the rule that starts there.
        for (int32_t i = 0; i < p->n_nodes; i++) p->nodes[i].n = -1;
        for (int32_t r = 0; r < p->n_rules; r++) p->nodes[p->rules[r].start].n = r;
        mark(&f, f.reaches, false);
        mark(&f, f.is_nullable, true);
        if (!f.reaches[p->rules[root].start])
            st = qw_fail(err, QW_ERR_USAGE, "nothing matches this grammar");
    }
    if (st == QW_OK) st = find_left_recursion(&f, &cycle, err);
    if (st == QW_OK && cycle >= 0) {
        qw_str name = p->rules[cycle].name.ptr ? p->rules[cycle].name : QW_STR("?");
        st = qw_fail(err, QW_ERR_USAGE,
                     "rule '%.*s' is left-recursive: it may begin with itself; write the "
                     "repetition with * or on the right",
                     (int)(name.len < 60 ? name.len : 60), name.ptr);
    }
    if (st == QW_OK) st = pack(&f, err);
    if (st == QW_OK) make_classes(p);
    release_finisher(&f);
    return st;
}
