#include "format/bpe.h"

#include "base/mem.h"

enum { PLAIN_MAX = 48 }; // bytes; beyond this the queue is faster

static size_t slot_of(size_t n_slots, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key = (key ^ key >> 29) * 0x9E3779B97F4A7C15u;
    return (size_t)(key ^ key >> 32) & (n_slots - 1);
}

size_t qw_bpe_table_slots(size_t n)
{
    size_t n_slots = 4;
    while (n_slots / 3 * 2 <= n) n_slots *= 2; // n is far below SIZE_MAX: rules are in memory
    return n_slots;
}

void qw_bpe_table_put(qw_bpe_pair *slots, size_t n_slots, qw_bpe_pair pair)
{
    size_t i = slot_of(n_slots, pair.left, pair.right);
    while (slots[i].rank >= 0 && (slots[i].left != pair.left || slots[i].right != pair.right))
        i = (i + 1) & (n_slots - 1);
    slots[i] = pair;
}

const qw_bpe_pair *qw_bpe_table_find(const qw_bpe_table *t, int32_t left, int32_t right)
{
    size_t i = slot_of(t->n_slots, left, right);
    for (; t->slots[i].rank >= 0; i = (i + 1) & (t->n_slots - 1))
        if (t->slots[i].left == left && t->slots[i].right == right) return &t->slots[i];
    return NULL;
}

static int32_t rank_of(const qw_bpe_table *t, int32_t left, int32_t right)
{
    const qw_bpe_pair *pair = qw_bpe_table_find(t, left, right);
    return pair ? pair->rank : INT32_MAX;
}

size_t qw_bpe_merge_plain(const qw_bpe_table *t, qw_str piece, int32_t *ids, int32_t *ranks)
{
    // ranks[i] is the rank of (ids[i], ids[i + 1]).
    size_t n = piece.len;
    for (size_t i = 0; i < n; i++) ids[i] = t->byte_ids[(unsigned char)piece.ptr[i]];
    for (size_t i = 0; i + 1 < n; i++) ranks[i] = rank_of(t, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == INT32_MAX) break;
        ids[best] = qw_bpe_table_find(t, ids[best], ids[best + 1])->result;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
        if (best > 0) ranks[best - 1] = rank_of(t, ids[best - 1], ids[best]);
        if (best + 1 < n) ranks[best] = rank_of(t, ids[best], ids[best + 1]);
    }
    return n;
}

// A symbol of a long piece, in place of its first byte; merged ones drop out of the list.
typedef struct symbol {
    int32_t id;
    int32_t rank; // of the pair with the next symbol; INT32_MAX: no rule, no next, or dropped
    uint32_t prev, next;
} symbol;

// Priority queue of (rank << 32 | position), smallest first: a heap with four children per node.
// An entry whose rank is no longer that of its position is stale and skipped when it comes up: a
// pair once destroyed cannot come back, because symbols only grow.
typedef struct queue {
    uint64_t *entries;
    size_t n;
} queue;

static void sift_down(queue *q, size_t i)
{
    uint64_t moving = q->entries[i];
    for (;;) {
        size_t child = 4 * i + 1, best = child;
        if (child >= q->n) break;
        size_t end = child + 4 < q->n ? child + 4 : q->n;
        for (size_t k = child + 1; k < end; k++)
            if (q->entries[k] < q->entries[best]) best = k;
        if (q->entries[best] >= moving) break;
        q->entries[i] = q->entries[best];
        i = best;
    }
    q->entries[i] = moving;
}

static uint64_t queue_pop(queue *q)
{
    uint64_t top = q->entries[0];
    q->entries[0] = q->entries[--q->n];
    if (q->n > 0) sift_down(q, 0);
    return top;
}

static void queue_push(queue *q, uint64_t entry)
{
    size_t i = q->n++;
    while (i > 0 && q->entries[(i - 1) / 4] > entry) {
        q->entries[i] = q->entries[(i - 1) / 4];
        i = (i - 1) / 4;
    }
    q->entries[i] = entry;
}

static const uint32_t none = UINT32_MAX;

static void update_pair(const qw_bpe_table *t, symbol *symbols, queue *q, uint32_t i)
{
    symbol *s = &symbols[i];
    s->rank = s->next == none ? INT32_MAX : rank_of(t, s->id, symbols[s->next].id);
    if (s->rank != INT32_MAX) queue_push(q, (uint64_t)(uint32_t)s->rank << 32 | i);
}

static void merge_at(const qw_bpe_table *t, symbol *symbols, queue *q, uint32_t i)
{
    symbol *left = &symbols[i], *right = &symbols[left->next];
    left->id = qw_bpe_table_find(t, left->id, right->id)->result;
    left->next = right->next;
    right->rank = INT32_MAX;
    if (left->next != none) symbols[left->next].prev = i;
    if (left->prev != none) update_pair(t, symbols, q, left->prev);
    update_pair(t, symbols, q, i);
}

// Symbols, then queue entries: at most one entry per pair at first, and every merge removes one
// entry and one symbol and adds at most two entries.
static qw_status scratch_reserve(qw_bpe_scratch *s, size_t n, qw_error *err)
{
    if (n <= s->cap) return QW_OK;
    size_t cap = n + n / 4, size;
    if (!qw_mul_size(&size, cap, sizeof(symbol) + 2 * sizeof(uint64_t)))
        return qw_fail_memory(err, cap, "tokens of a long word");
    void *memory = qw_mem_alloc(size);
    if (!memory) return qw_fail_memory(err, size, "tokens of a long word");
    qw_mem_free(s->memory);
    s->memory = memory;
    s->cap = cap;
    return QW_OK;
}

void qw_bpe_scratch_release(qw_bpe_scratch *s)
{
    qw_mem_free(s->memory);
    *s = (qw_bpe_scratch){0};
}

qw_status qw_bpe_merge_queue(const qw_bpe_table *t, qw_str piece, qw_bpe_scratch *s, qw_ids *out,
                             qw_error *err)
{
    if (piece.len == 0) return QW_OK;
    qw_status st = scratch_reserve(s, piece.len, err);
    if (st != QW_OK) return st;
    symbol *symbols = s->memory;
    queue q = {.entries = (uint64_t *)(symbols + s->cap)};
    uint32_t n = (uint32_t)piece.len;
    for (uint32_t i = 0; i < n; i++)
        symbols[i] = (symbol){.id = t->byte_ids[(unsigned char)piece.ptr[i]],
                              .rank = INT32_MAX,
                              .prev = i > 0 ? i - 1 : none,
                              .next = i + 1 < n ? i + 1 : none};
    for (uint32_t i = 0; i + 1 < n; i++) {
        symbols[i].rank = rank_of(t, symbols[i].id, symbols[i + 1].id);
        if (symbols[i].rank != INT32_MAX)
            q.entries[q.n++] = (uint64_t)(uint32_t)symbols[i].rank << 32 | i;
    }
    for (size_t i = q.n / 4 + 1; i-- > 0;)
        if (i < q.n) sift_down(&q, i);
    size_t n_left = n;
    while (q.n > 0) {
        uint64_t top = queue_pop(&q);
        uint32_t i = (uint32_t)top;
        if ((uint64_t)(uint32_t)symbols[i].rank != top >> 32) continue;
        merge_at(t, symbols, &q, i);
        n_left--;
    }
    st = qw_ids_reserve(out, n_left, err);
    if (st != QW_OK) return st;
    for (uint32_t i = 0; i != none; i = symbols[i].next) out->data[out->len++] = symbols[i].id;
    return QW_OK;
}

qw_status qw_bpe_encode(const qw_bpe_table *t, qw_str piece, qw_bpe_scratch *s, qw_ids *out,
                        qw_error *err)
{
    if (piece.len > PLAIN_MAX) return qw_bpe_merge_queue(t, piece, s, out, err);
    int32_t ids[PLAIN_MAX], ranks[PLAIN_MAX];
    size_t n = qw_bpe_merge_plain(t, piece, ids, ranks);
    return qw_ids_append(out, ids, n, err);
}
