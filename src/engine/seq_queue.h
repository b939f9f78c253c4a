#ifndef QW_ENGINE_SEQ_QUEUE_H
#define QW_ENGINE_SEQ_QUEUE_H

#include "engine/request.h"

/** Sequences in the order they came: a doubly linked list through qw_sequence.prev/next. */
typedef struct qw_seq_list {
    qw_sequence *head, *tail;
    int32_t n;
} qw_seq_list;

void qw_seq_list_push(qw_seq_list *l, qw_sequence *seq);
void qw_seq_list_remove(qw_seq_list *l, qw_sequence *seq);

/** True if `a` comes before `b`: by priority, then order, then child. A total order. */
bool qw_sequence_is_before(const qw_sequence *a, const qw_sequence *b);

/**
 * Sequences by qw_sequence_is_before: a binary heap, so that adding one, taking the first and
 * taking any other out costs O(log n) among however many.
 */
typedef struct qw_seq_heap {
    qw_sequence **items; /* [n]; each knows its place: heap_index */
    int32_t n, cap;
} qw_seq_heap;

void qw_seq_heap_release(qw_seq_heap *h);
/** Make room for n in all; pushing up to that many cannot fail. */
QW_MUST_CHECK qw_status qw_seq_heap_reserve(qw_seq_heap *h, int32_t n, qw_error *err);
void qw_seq_heap_push(qw_seq_heap *h, qw_sequence *seq);
void qw_seq_heap_remove(qw_seq_heap *h, qw_sequence *seq);
/** The first one, or NULL. */
static inline qw_sequence *qw_seq_heap_first(const qw_seq_heap *h)
{
    return h->n > 0 ? h->items[0] : NULL;
}
/** Test aid: assert the order and the places. */
void qw_seq_heap_check(const qw_seq_heap *h);

#endif
