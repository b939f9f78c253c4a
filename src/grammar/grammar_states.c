#include "grammar/grammar_states.h"

enum { SEEN_SIZE = 16384, MAX_WORK = 8192, FIRST_HEADS = 1024 };

_Static_assert((SEEN_SIZE & (SEEN_SIZE - 1)) == 0, "a power of two");
_Static_assert(MAX_WORK <= SEEN_SIZE / 2, "the set of seen items stays half empty");

static uint32_t mix(uint32_t h, uint32_t v)
{
    h ^= v;
    h *= 0x9E3779B1u;
    return h ^ h >> 15;
}

static bool grow(void **items, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) return true;
    size_t want = *cap * 2 > need ? *cap * 2 : need, bytes;
    void *grown = qw_mul_size(&bytes, want, size) ? qw_mem_realloc(*items, bytes) : NULL;
    if (!grown) return false;
    *items = grown;
    *cap = want;
    return true;
}

static int32_t fail_memory(qw_states *s)
{
    (void)qw_fail(&s->error, QW_ERR_NO_MEMORY,
                  "cannot allocate memory for the states of a grammar");
    return QW_CONFIG_FAILED;
}

static int32_t fail_ambiguous(qw_states *s)
{
    (void)qw_fail(&s->error, QW_ERR_USAGE,
                  "the grammar is too ambiguous: too many ways to read the same text");
    return QW_CONFIG_FAILED;
}

static uint32_t hash_stack(int32_t node, int32_t parent)
{
    return mix(mix(0x5bd1u, (uint32_t)node), (uint32_t)parent);
}

static uint32_t hash_items(const qw_state_item *items, size_t n, bool may_end)
{
    uint32_t h = may_end ? 77 : 11;
    for (size_t i = 0; i < n; i++)
        h = mix(mix(h, (uint32_t)items[i].node), (uint32_t)items[i].stack);
    return h;
}

// Twice the heads when the lists become long.
static void rehash_stacks(qw_states *s)
{
    size_t n = s->n_stack_heads * 2;
    int32_t *heads = qw_mem_array(n, sizeof *heads);
    if (!heads) return; // longer lists, no harm
    for (size_t i = 0; i < n; i++) heads[i] = -1;
    for (size_t i = 1; i < s->n_stacks; i++) {
        qw_state_stack *t = &s->stacks[i];
        uint32_t h = hash_stack(t->node, t->parent) & (uint32_t)(n - 1);
        t->hash_next = heads[h];
        heads[h] = (int32_t)i;
    }
    qw_mem_free(s->stack_heads);
    s->stack_heads = heads;
    s->n_stack_heads = n;
}

static void rehash_configs(qw_states *s)
{
    size_t n = s->n_config_heads * 2;
    int32_t *heads = qw_mem_array(n, sizeof *heads);
    if (!heads) return;
    for (size_t i = 0; i < n; i++) heads[i] = -1;
    for (size_t i = 0; i < s->n_configs; i++) {
        qw_state_config *c = &s->configs[i];
        uint32_t h = hash_items(s->items + c->first, (size_t)c->n, c->may_end) & (uint32_t)(n - 1);
        c->hash_next = heads[h];
        heads[h] = (int32_t)i;
    }
    qw_mem_free(s->config_heads);
    s->config_heads = heads;
    s->n_config_heads = n;
}

// The stack with `node` on top of `parent`; -1 when memory is short.
static int32_t push(qw_states *s, int32_t node, int32_t parent)
{
    uint32_t hash = hash_stack(node, parent);
    for (int32_t i = s->stack_heads[hash & (s->n_stack_heads - 1)]; i >= 0;
         i = s->stacks[i].hash_next)
        if (s->stacks[i].node == node && s->stacks[i].parent == parent) return i;
    void *items = s->stacks;
    if (s->n_stacks > INT32_MAX / 2 ||
        !grow(&items, &s->cap_stacks, s->n_stacks + 1, sizeof *s->stacks))
        return fail_memory(s);
    s->stacks = items;
    if (s->n_stacks > s->n_stack_heads) rehash_stacks(s);
    int32_t *head = &s->stack_heads[hash & (s->n_stack_heads - 1)];
    int32_t id = (int32_t)s->n_stacks++;
    s->stacks[id] =
        (qw_state_stack){.node = node, .parent = parent, .returned = -1, .hash_next = *head};
    *head = id;
    return id;
}

static bool is_before(qw_state_item a, qw_state_item b)
{
    return a.node != b.node ? a.node < b.node : a.stack < b.stack;
}

// Shell sort: the lists are short, mostly.
static void sort_items(qw_state_item *items, size_t n)
{
    for (size_t gap = n / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < n; i++) {
            qw_state_item item = items[i];
            size_t j = i;
            for (; j >= gap && is_before(item, items[j - gap]); j -= gap) items[j] = items[j - gap];
            items[j] = item;
        }
}

// The config of `items`, which are in order.
static int32_t intern(qw_states *s, const qw_state_item *items, size_t n, bool may_end)
{
    uint32_t hash = hash_items(items, n, may_end);
    for (int32_t i = s->config_heads[hash & (s->n_config_heads - 1)]; i >= 0;
         i = s->configs[i].hash_next) {
        const qw_state_config *c = &s->configs[i];
        if (c->n == (int32_t)n && c->may_end == may_end &&
            (n == 0 || memcmp(s->items + c->first, items, n * sizeof *items) == 0))
            return i;
    }
    size_t n_classes = (size_t)s->pda->n_classes;
    void *configs = s->configs, *all = s->items, *next = s->next;
    bool ok = s->n_configs < INT32_MAX / 2 && s->n_items < INT32_MAX / 2;
    if (ok && grow(&configs, &s->cap_configs, s->n_configs + 1, sizeof *s->configs))
        s->configs = configs;
    else
        ok = false;
    if (ok && grow(&all, &s->cap_items, s->n_items + n, sizeof *s->items))
        s->items = all;
    else
        ok = false;
    if (ok && grow(&next, &s->cap_next, (s->n_configs + 1) * n_classes, sizeof *s->next))
        s->next = next;
    else
        ok = false;
    if (!ok) return fail_memory(s);
    if (s->n_configs > s->n_config_heads) rehash_configs(s);
    int32_t *head = &s->config_heads[hash & (s->n_config_heads - 1)];
    int32_t id = (int32_t)s->n_configs++;
    s->configs[id] = (qw_state_config){
        .first = (int32_t)s->n_items, .n = (int32_t)n, .may_end = may_end, .hash_next = *head};
    *head = id;
    if (n) memcpy(s->items + s->n_items, items, n * sizeof *items);
    s->n_items += n;
    for (size_t i = 0; i < n_classes; i++) s->next[(size_t)id * n_classes + i] = -1;
    return id;
}

// ---- closure: what can be reached without reading

static void begin(qw_states *s)
{
    s->n_work = s->n_found = 0;
    s->ends = false;
    if (++s->stamp == 0) { // once in four billion
        memset(s->seen, 0, SEEN_SIZE * sizeof *s->seen);
        s->stamp = 1;
    }
}

// False when there are too many.
static bool add(qw_states *s, int32_t node, int32_t stack)
{
    uint32_t i = hash_stack(node, stack) & (SEEN_SIZE - 1);
    for (; s->seen[i].stamp == s->stamp; i = (i + 1) & (SEEN_SIZE - 1))
        if (s->seen[i].node == node && s->seen[i].stack == stack) return true;
    if (s->n_work == MAX_WORK || s->budget <= 0) return false;
    s->budget--;
    s->seen[i] = (qw_state_seen){node, stack, s->stamp};
    s->work[s->n_work++] = (qw_state_item){node, stack};
    return true;
}

// A node at which nothing is left to do but to return.
static bool only_returns(const qw_states *s, int32_t node)
{
    return s->pda->nodes[node].is_end && s->pda->nodes[node].n == 0;
}

static int32_t finish(qw_states *s)
{
    const qw_pda *p = s->pda;
    for (size_t done = 0; done < s->n_work; done++) {
        qw_state_item item = s->work[done];
        const qw_pda_node *node = &p->nodes[item.node];
        if (node->is_end && item.stack == QW_STACK_BOTTOM) {
            s->ends = true;
        } else if (node->is_end) {
            const qw_state_stack *t = &s->stacks[item.stack];
            if (!add(s, t->node, t->parent)) return fail_ambiguous(s);
        }
        if (node->n > 0 && p->edges[node->first].rule == QW_EDGE_BYTES) {
            if (s->n_found == QW_MAX_ITEMS) return fail_ambiguous(s);
            s->found[s->n_found++] = item;
        }
        for (int32_t e = node->first + node->n; e-- > node->first;) { // bytes come first
            const qw_pda_edge *edge = &p->edges[e];
            if (edge->rule == QW_EDGE_BYTES) break;
            if (edge->rule == QW_EDGE_EMPTY) {
                if (!add(s, edge->to, item.stack)) return fail_ambiguous(s);
                continue;
            }
            int32_t stack = item.stack; // a call at the end of a rule need not come back to it
            if (!only_returns(s, edge->to)) stack = push(s, edge->to, item.stack);
            if (stack < 0) return QW_CONFIG_FAILED;
            if (!add(s, p->rules[edge->rule].start, stack)) return fail_ambiguous(s);
        }
    }
    sort_items(s->found, s->n_found);
    return intern(s, s->found, s->n_found, s->ends);
}

int32_t qw_states_enter(qw_states *s, int32_t node, int32_t stack)
{
    begin(s);
    if (!add(s, node, stack)) return fail_ambiguous(s);
    return finish(s);
}

int32_t qw_states_return(qw_states *s, int32_t stack)
{
    qw_state_stack t = s->stacks[stack];
    if (t.returned >= 0) return t.returned;
    int32_t config = qw_states_enter(s, t.node, t.parent);
    if (config >= 0) s->stacks[stack].returned = config;
    return config;
}

int32_t qw_states_find_step(qw_states *s, int32_t config, int32_t class)
{
    const qw_pda *p = s->pda;
    const qw_state_config c = s->configs[config];
    int byte = 0;
    while (p->class_of[byte] != class) byte++;
    begin(s);
    for (int32_t i = 0; i < c.n; i++) {
        qw_state_item item = s->items[c.first + i];
        const qw_pda_node *node = &p->nodes[item.node];
        for (int32_t e = node->first; e < node->first + node->n; e++) {
            const qw_pda_edge *edge = &p->edges[e];
            if (edge->rule != QW_EDGE_BYTES) break;
            if (byte >= edge->lo && byte <= edge->hi && !add(s, edge->to, item.stack))
                return fail_ambiguous(s);
        }
    }
    int32_t to = finish(s);
    if (to >= 0) s->next[(size_t)config * (size_t)p->n_classes + (size_t) class] = to;
    return to;
}

// ---- tables

qw_status qw_states_init(qw_states *s, const qw_pda *pda, qw_error *err)
{
    *s = (qw_states){.pda = pda, .budget = INT64_MAX};
    s->n_stack_heads = s->n_config_heads = FIRST_HEADS;
    s->stack_heads = qw_mem_array(FIRST_HEADS, sizeof *s->stack_heads);
    s->config_heads = qw_mem_array(FIRST_HEADS, sizeof *s->config_heads);
    s->seen = qw_mem_calloc(SEEN_SIZE, sizeof *s->seen);
    s->work = qw_mem_array(MAX_WORK, sizeof *s->work);
    s->found = qw_mem_array(QW_MAX_ITEMS, sizeof *s->found);
    s->stacks = qw_mem_array(64, sizeof *s->stacks);
    s->cap_stacks = 64;
    if (!s->stack_heads || !s->config_heads || !s->seen || !s->work || !s->found || !s->stacks)
        goto fail;
    for (int i = 0; i < FIRST_HEADS; i++) s->stack_heads[i] = s->config_heads[i] = -1;
    s->stacks[s->n_stacks++] =
        (qw_state_stack){.node = -1, .parent = -1, .returned = -1, .hash_next = -1};
    if (intern(s, NULL, 0, false) != QW_CONFIG_DEAD) goto fail;
    for (int32_t i = 0; i < pda->n_classes; i++) s->next[i] = QW_CONFIG_DEAD;
    return QW_OK;
fail:
    qw_states_release(s);
    return qw_fail(err, QW_ERR_NO_MEMORY, "cannot allocate memory for the states of a grammar");
}

void qw_states_release(qw_states *s)
{
    qw_mem_free(s->stacks);
    qw_mem_free(s->configs);
    qw_mem_free(s->items);
    qw_mem_free(s->next);
    qw_mem_free(s->stack_heads);
    qw_mem_free(s->config_heads);
    qw_mem_free(s->seen);
    qw_mem_free(s->work);
    qw_mem_free(s->found);
    *s = (qw_states){0};
}

size_t qw_states_size(const qw_states *s)
{
    return s->cap_stacks * sizeof *s->stacks + s->cap_configs * sizeof *s->configs +
           s->cap_items * sizeof *s->items + s->cap_next * sizeof *s->next +
           (s->n_stack_heads + s->n_config_heads) * sizeof(int32_t) + SEEN_SIZE * sizeof *s->seen +
           (MAX_WORK + QW_MAX_ITEMS) * sizeof(qw_state_item);
}

// The stack of another table: from the first one that is known already, upwards.
static int32_t import_stack(qw_states *s, const qw_states *from, int32_t stack, int32_t *map)
{
    // Parents have smaller numbers, so the chain is turned round in place: map holds -2 - child
    // on the way down.
    int32_t at = stack, child = -1;
    while (map[at] < 0) {
        map[at] = -2 - child;
        child = at;
        at = from->stacks[at].parent;
    }
    int32_t known = map[at];
    while (child >= 0) {
        int32_t above = -2 - map[child];
        known = known < 0 ? known : push(s, from->stacks[child].node, known);
        map[child] = known < 0 ? -1 : known;
        child = above;
    }
    return known;
}

int32_t qw_states_import(qw_states *s, const qw_states *from, int32_t config, int32_t *map)
{
    const qw_state_config c = from->configs[config];
    s->n_found = 0;
    for (int32_t i = 0; i < c.n; i++) {
        qw_state_item item = from->items[c.first + i];
        item.stack = import_stack(s, from, item.stack, map);
        if (item.stack < 0) return QW_CONFIG_FAILED;
        s->found[s->n_found++] = item;
    }
    sort_items(s->found, s->n_found);
    return intern(s, s->found, s->n_found, c.may_end);
}
