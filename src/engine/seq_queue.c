#include "engine/seq_queue.h"

#include "base/mem.h"

void qw_seq_list_push(qw_seq_list *l, qw_sequence *seq)
{
    seq->prev = l->tail;
    seq->next = NULL;
    if (l->tail)
        l->tail->next = seq;
    else
        l->head = seq;
    l->tail = seq;
    l->n++;
}

void qw_seq_list_remove(qw_seq_list *l, qw_sequence *seq)
{
    if (seq->prev)
        seq->prev->next = seq->next;
    else
        l->head = seq->next;
    if (seq->next)
        seq->next->prev = seq->prev;
    else
        l->tail = seq->prev;
    seq->prev = seq->next = NULL;
    l->n--;
}

bool qw_sequence_is_before(const qw_sequence *a, const qw_sequence *b)
{
    if (a->priority != b->priority) return a->priority < b->priority;
    if (a->order != b->order) return a->order < b->order;
    return a->child < b->child;
}

void qw_seq_heap_release(qw_seq_heap *h)
{
    qw_mem_free(h->items);
    *h = (qw_seq_heap){0};
}

qw_status qw_seq_heap_reserve(qw_seq_heap *h, int32_t n, qw_error *err)
{
    if (n <= h->cap) return QW_OK;
    int32_t cap = h->cap < 64 ? 64 : h->cap;
    while (cap < n) cap = cap < INT32_MAX / 2 ? 2 * cap : INT32_MAX;
    qw_sequence **items = qw_mem_realloc(h->items, (size_t)cap * sizeof *items);
    if (!items) return qw_fail_memory(err, (size_t)cap * sizeof *items, "the queue of requests");
    h->items = items;
    h->cap = cap;
    return QW_OK;
}

static void place(qw_seq_heap *h, int32_t i, qw_sequence *seq)
{
    h->items[i] = seq;
    seq->heap_index = i;
}

// Put `seq` at hole i or above it.
static void sift_up(qw_seq_heap *h, int32_t i, qw_sequence *seq)
{
    for (int32_t parent; i > 0; i = parent) {
        parent = (i - 1) / 2;
        if (!qw_sequence_is_before(seq, h->items[parent])) break;
        place(h, i, h->items[parent]);
    }
    place(h, i, seq);
}

// Put `seq` at hole i or below it.
static void sift_down(qw_seq_heap *h, int32_t i, qw_sequence *seq)
{
    for (int32_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && qw_sequence_is_before(h->items[child + 1], h->items[child]))
            child++;
        if (!qw_sequence_is_before(h->items[child], seq)) break;
        place(h, i, h->items[child]);
    }
    place(h, i, seq);
}

void qw_seq_heap_push(qw_seq_heap *h, qw_sequence *seq)
{
    QW_ASSERT(h->n < h->cap);
    h->n++;
    sift_up(h, h->n - 1, seq);
}

void qw_seq_heap_remove(qw_seq_heap *h, qw_sequence *seq)
{
    int32_t i = seq->heap_index;
    QW_ASSERT(i >= 0 && i < h->n && h->items[i] == seq);
    qw_sequence *last = h->items[--h->n];
    seq->heap_index = -1;
    if (last == seq) return;
    if (i > 0 && qw_sequence_is_before(last, h->items[(i - 1) / 2]))
        sift_up(h, i, last);
    else
        sift_down(h, i, last);
}

void qw_seq_heap_check(const qw_seq_heap *h)
{
    for (int32_t i = 0; i < h->n; i++) {
        QW_ASSERT(h->items[i]->heap_index == i);
        QW_ASSERT(i == 0 || !qw_sequence_is_before(h->items[i], h->items[(i - 1) / 2]));
    }
}
